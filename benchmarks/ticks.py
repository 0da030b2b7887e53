"""How well a client sees the ticks of a server that ticks exactly. Enter at `run_client`, which a load peer calls.

Errors are those of the gaps between tokens: against the period (what the server should do) and against the server's
own sendings (what it did), so that a server that was late isn't blamed on the client.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

SERVER = Path(__file__).parent / "ticking_server.py"
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999, "max": 1.0}
# url, number of streams, number of tokens → arrivals of each stream in its order, and notes
Client = Callable[[str, int, int], tuple[list[list[float]], dict[str, Any]]]


def run_client(job: dict[str, Any], client: Client) -> dict[str, Any]:
    """One sample: the client on the last core, the server on the first."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[-1]})
    words = [str(job["n_streams"]), str(job["n_tokens"]), str(job["rate_per_s"]), str(cores[0] if cores else -1)]
    # A session of its own: Linux shares a core between sessions first, and the spinning server is no part of ours.
    server = subprocess.Popen(
        [sys.executable, str(SERVER), *words], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert server.stdout is not None
    url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
    cpu_s, start_s = time.process_time(), time.perf_counter()
    arrived_s, notes = client(url, job["n_streams"], job["n_tokens"])
    cpu_share = (time.process_time() - cpu_s) / (time.perf_counter() - start_s)
    told = json.loads(server.stdout.readline())
    server.stdout.close()
    server.wait()
    period_s = 1 / job["rate_per_s"]
    gaps_s = [[b - a for a, b in pairwise(one)] for one in arrived_s]
    sent_gaps_s = [[b - a for a, b in pairwise(one)] for one in told["sent_s"]]
    if [len(one) for one in gaps_s] != [job["n_tokens"] - 1] * job["n_streams"]:
        raise SystemExit("bench: a stream lost tokens")
    against_sent = [abs(x - y) for a, b in zip(gaps_s, sent_gaps_s, strict=True) for x, y in zip(a, b, strict=True)]
    return {
        "error_s": quantiles([abs(gap - period_s) for one in gaps_s for gap in one]),
        "client_error_s": quantiles(against_sent),
        "server_late_s": quantiles(told["late_s"]),
        "server_error_s": quantiles([abs(gap - period_s) for one in sent_gaps_s for gap in one]),
        "n_gaps": sum(map(len, gaps_s)),
        "cpu_share": cpu_share,
        **notes,
    }


def quantiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {name: ordered[max(0, -int(-q * len(ordered) // 1) - 1)] for name, q in QUANTILES.items()}
