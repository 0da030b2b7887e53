"""Runs a llama-bench (llama.cpp's own, or a fork's) and reads its samples: the same tokens, threads and cache for each.

Its clock covers the tokens alone, after loading and one warm-up run; every decoded token computes all logits, none is
sampled. Where a build's binary is, an environment variable says: nothing of a peer is in this repository.
Source: llama.cpp, tools/llama-bench.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any


def version_of(variable: str, name: str) -> str | None:
    """name, with how it was built where `<variable>_BUILD` says so; None: the variable names no file."""
    binary = os.environ.get(variable)
    if not binary or not Path(binary).is_file():
        return None
    build = os.environ.get(f"{variable}_BUILD")
    return f"{name} ({build})" if build else name


def run_bench(variable: str, job: dict[str, Any], flags: list[str]) -> dict[str, Any]:
    """One process of llama-bench. flags: what the peer wants beside model, threads and repetitions.

    Raises: RuntimeError (it failed, or measured something else than asked)."""
    command = [os.environ[variable], "-m", job["model"], "-t", str(job["threads"]), "-r", str(job["repetitions"])]
    done = subprocess.run([*command, "-o", "json", *flags], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} {' '.join(flags)}: {done.stderr[-1500:]}")
    tests = json.loads(done.stdout[done.stdout.index("[\n") :])
    if len(tests) != 1 or len(tests[0]["samples_ts"]) != job["repetitions"]:
        raise RuntimeError(f"{command[0]} measured {len(tests)} tests, or not {job['repetitions']} times")
    test = tests[0]
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # Forks count a table that is also the head twice; a file can't hold more tensors than bytes.
    model_bytes = min(int(test["model_size"]), Path(job["model"]).stat().st_size)
    return {"rates": test["samples_ts"], "model_bytes": model_bytes, "peak_bytes": peak_bytes}


def token_flags(job: dict[str, Any]) -> list[str]:
    """-p and -n for a prefill or a decode at an empty cache."""
    n_tokens = str(job["n_tokens"])
    return ["-p", n_tokens, "-n", "0"] if job["kind"] == "prefill" else ["-p", "0", "-n", n_tokens]


def cache_flags(job: dict[str, Any]) -> list[str]:
    """Type of keys and values, and flash attention, off where the case doesn't ask for it."""
    cache = job.get("cache", "f16")
    return ["-ctk", cache, "-ctv", cache, "-fa", str(int(job.get("flash_attention", False)))]
