"""The work, the prices and the memory of a measurement from the command line's words. Enter at `work_of`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from solvent.cli.measure_target import Wired, token_counter
from solvent.errors import MeasureError
from solvent.measure.target import Request


@dataclass(frozen=True, slots=True)
class Work:
    """requests: by the prefix of their ids.   about: the workload as fields.   timed: each has its time."""

    requests: Callable[[str], Iterator[Request]]
    about: dict[str, Any]
    timed: bool


def work_of(options: dict[str, Any], wired: Wired, n_requests: int) -> Work:
    """The workload: a trace, else a shape, at a rate or in a closed loop.

    options: trace, rate_scale, closed, rate, input_tok, output_tok, spread, seed, sweep, tokeniser."""
    from solvent.measure.prompts import PromptWriter
    from solvent.measure.workload import Shape, poisson, traced

    write = PromptWriter(token_counter(options["tokeniser"])).write if wired.text else None
    if options["trace"] and options["rate"] is not None:
        raise MeasureError("--rate", "a trace beside it", "one of both", "--rate-scale plays a trace faster or slower")
    timed = options["rate"] is not None or (options["trace"] and not options["closed"])
    if timed and options["sweep"]:
        raise MeasureError("--sweep", "requests with times of their own", "a closed loop", "add --closed to a trace")
    if options["trace"]:
        from solvent.measure.trace import read_trace

        path = options["trace"]
        rows = read_trace(path, n_requests)
        made = traced(rows, rate_scale=options["rate_scale"], closed=options["closed"], write_prompt=write)
        about = {"kind": "trace", "trace": path.name, "rate_scale": options["rate_scale"], "closed": options["closed"]}
        return Work(_renamed(made), about, not options["closed"])
    shape = Shape(options["input_tok"], options["output_tok"], options["spread"], options["seed"])
    if options["rate"] is None:
        return Work(lambda prefix: shape.requests(prefix, write), shape.document(), False)
    due = poisson(shape.requests("r", write), options["rate"], n_requests, options["seed"])
    return Work(_renamed(due), {**shape.document(), "rate_per_s": options["rate"]}, True)


def _renamed(requests: list[Request]) -> Callable[[str], Iterator[Request]]:
    return lambda prefix: (replace(one, id=prefix + one.id.lstrip("r")) for one in requests)


def hourly_of(usd_per_hour: float | None, offer: str | None, project: Path | None) -> Any:
    """The price of an hour of the machine: as stated, or of one machine of an offer of the project file."""
    from solvent.measure.money import Hourly

    if usd_per_hour is not None:
        if not 0 < usd_per_hour < 1e9:
            raise MeasureError("--usd-per-hour", str(usd_per_hour), "dollars an hour, above 0")
        return Hourly(usd_per_hour, "--usd-per-hour", datetime.now(UTC).date().isoformat(), "assumed")
    if offer is None:
        return None
    from solvent.money.prices.offer import usd_per_hour_total
    from solvent.money.project import load

    path = project or Path("solvent.toml")
    offers = {one.name: one for one in load(path).project.offers}
    if offer not in offers:
        raise MeasureError("--offer", repr(offer), "one of " + (", ".join(offers) or f"none in {path}"))
    one = offers[offer]
    return Hourly(float(usd_per_hour_total(one) / one.n_machines), f"offer {offer!r}: {one.source}", str(one.date))


def per_token_of(text: str | None) -> Any:
    """The price of tokens from INPUT,OUTPUT dollars per million."""
    from solvent.measure.money import PerToken

    if text is None:
        return None
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        first = second = -1.0
    if not (0 <= first < 1e9 and 0 <= second < 1e9):
        raise MeasureError("--usd-per-mtok", repr(text), "INPUT,OUTPUT dollars per million tokens, such as 0.5,1.5")
    return PerToken(first, second, "--usd-per-mtok", datetime.now(UTC).date().isoformat())


def peak_memory_bytes(own_process: bool, server_pid: int | None) -> int | None:
    """The most resident memory of this process or of the server's; None where neither is meant or readable."""
    if not own_process and server_pid is None:
        return None
    pid = "self" if own_process else str(server_pid)
    try:
        lines = Path(f"/proc/{pid}/status").read_text("ascii", "replace").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError):
        typer.echo(f"solvent: no peak memory of process {pid} here", err=True)
        return None
