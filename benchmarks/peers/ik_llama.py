"""ik_llama.cpp, by its llama-bench: SOLVENT_BENCH_IK_LLAMA names the binary. repack: interleaves rows while loading."""

from __future__ import annotations

from typing import Any

from benchmarks.peers.llama_bench import cache_flags, run_bench, token_flags, version_of

BINARY = "SOLVENT_BENCH_IK_LLAMA"


def version() -> str | None:
    return version_of(BINARY, "ik_llama.cpp")


def run(job: dict[str, Any]) -> dict[str, Any]:
    # -gp times the generation alone, behind a prompt of the depth that it computes anew for every repetition.
    deep = ["-p", "0", "-n", "0", "-gp", f"{job['depth']},{job['n_tokens']}"]
    tokens = deep if job["kind"] == "decode" and job["depth"] else token_flags(job)
    return run_bench(BINARY, job, [*tokens, *cache_flags(job), "-rtr", str(int(job.get("repack", False)))])
