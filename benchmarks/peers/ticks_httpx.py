"""A client of httpx, the library that several load generators are built on: aiter_lines, then the clock."""

from __future__ import annotations

import asyncio
import importlib
import json
import time
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of
from typing import Any

from benchmarks.ticks import run_client

NAMES = ("httpx", "httpx2")


def _installed() -> str | None:
    for name in NAMES:
        try:
            version_of(name)
        except PackageNotFoundError:
            continue
        return name
    return None


def version() -> str | None:
    name = _installed()
    return f"{name} {version_of(name)}" if name else None


def run(job: dict[str, Any]) -> dict[str, Any]:
    return run_client(job, _client)


def _client(url: str, n_streams: int, n_tokens: int) -> tuple[list[list[float]], dict[str, Any]]:
    httpx = importlib.import_module(_installed() or "httpx")

    async def one(client: Any, i: int) -> list[float]:
        arrived_s = []
        body = {"messages": [{"role": "user", "content": str(i)}]}
        async with client.stream("POST", f"{url}/chat/completions", json=body) as response:
            async for line in response.aiter_lines():
                now_s = time.perf_counter()
                if line.startswith("data: {"):
                    event = json.loads(line[6:])
                    if event["choices"] and event["choices"][0]["delta"].get("content"):
                        arrived_s.append(now_s)
        return arrived_s

    async def all_of_them() -> list[list[float]]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(timeout=120, limits=limits, trust_env=False) as client:
            return list(await asyncio.gather(*(one(client, i) for i in range(n_streams))))

    return asyncio.run(all_of_them()), {"stamps": "reader"}
