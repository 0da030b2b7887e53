"""bitnet.cpp, by the llama-bench of its llama.cpp: SOLVENT_BENCH_BITNET_CPP names the binary. Empty cache only."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.llama_bench import cache_flags, run_bench, token_flags, version_of

BINARY = "SOLVENT_BENCH_BITNET_CPP"


def version() -> str | None:
    return version_of(BINARY, "bitnet.cpp")


def run(job: dict[str, Any]) -> dict[str, Any]:
    if job["depth"]:
        raise RuntimeError("its llama-bench can't time a decode behind a filled cache")
    return run_bench(BINARY, job, [*token_flags(job), *cache_flags(job)])
