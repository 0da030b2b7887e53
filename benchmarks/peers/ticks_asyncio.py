"""A client of asyncio's own streams, as most load generators in Python read: a line, then the clock."""

from __future__ import annotations

import asyncio
import json
import platform
import time
from typing import Any

from benchmarks.ticks import run_client


def version() -> str | None:
    return f"Python {platform.python_version()}"


def run(job: dict[str, Any]) -> dict[str, Any]:
    return run_client(job, _client)


def _client(url: str, n_streams: int, n_tokens: int) -> tuple[list[list[float]], dict[str, Any]]:
    port = int(url.split(":")[2].split("/")[0])

    async def all_of_them() -> list[list[float]]:
        return list(await asyncio.gather(*(_one(port, i) for i in range(n_streams))))

    return asyncio.run(all_of_them()), {"stamps": "reader"}


async def _one(port: int, i: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"messages": [{"role": "user", "content": str(i)}]}).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    arrived_s = []
    while line := await reader.readline():
        now_s = time.perf_counter()
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if event["choices"] and event["choices"][0]["delta"].get("content"):
                arrived_s.append(now_s)
    writer.close()
    return arrived_s
