"""solvent's own client, its arrivals as the system stamped them; kernel=false in the case takes the reader's clock."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.ticks import run_client


def version() -> str | None:
    from solvent import __version__

    return f"solvent {__version__}"


def run(job: dict[str, Any]) -> dict[str, Any]:
    from solvent.measure.http import wire

    if not job.get("kernel", True):
        wire._ask_for_stamps = lambda sock: 0
    return run_client(job, _client)


def _client(url: str, n_streams: int, n_tokens: int) -> tuple[list[list[float]], dict[str, Any]]:
    from solvent.measure.http.target import HttpTarget
    from solvent.measure.load import Load, run_load
    from solvent.measure.target import Answer, Request

    target = HttpTarget.of(url, {"model": "m"})
    answers: list[Answer] = []

    def take(answer: Answer) -> bool:
        answers.append(answer)
        return True

    requests = [Request(f"r{i:06d}", None, str(i), 1, n_tokens) for i in range(n_streams)]
    watch = asyncio.run(run_load(target, iter(requests), Load(n_streams, n_streams), time.perf_counter, take))
    faults = [answer.error for answer in answers if answer.error]
    if faults or any(answer.output_tok != n_tokens for answer in answers):
        raise SystemExit(f"bench: an answer failed: {faults[:1]}")
    answers.sort(key=lambda answer: answer.request_id)
    return [answer.chunk_s for answer in answers], {"stamps": target.stamps, "client": watch.document()}
