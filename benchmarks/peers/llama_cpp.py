"""llama.cpp, by its own llama-bench: SOLVENT_BENCH_LLAMA_CPP names the binary."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.llama_bench import cache_flags, run_bench, token_flags, version_of

BINARY = "SOLVENT_BENCH_LLAMA_CPP"


def version() -> str | None:
    return version_of(BINARY, "llama.cpp")


def run(job: dict[str, Any]) -> dict[str, Any]:
    depth = ["-d", str(job["depth"])] if job["depth"] else []
    return run_bench(BINARY, job, [*token_flags(job), *depth, *cache_flags(job)])
