"""Anthropic's usage object in disjoint buckets: cache reads and writes stand beside `input_tokens`.

Thinking tokens are inside `output_tokens`; compaction runs stand outside and are added; web fetches are free.
What it doesn't do: find the usage in a log line (`anthropic`, `claude_code`). Enter at `anthropic_buckets`.
"""

from __future__ import annotations

from typing import Any

from solvent.money.usage.readers.openai_usage import cache_writes
from solvent.money.usage.readers.outcome import Fault, count, mapping, note_unknown

KNOWN = frozenset({
    "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "cache_creation",
    "server_tool_use", "service_tier", "speed", "inference_geo", "iterations", "output_tokens_details",
})  # fmt: skip
_KNOWN_TOOLS = frozenset({"web_search_requests", "web_fetch_requests"})
_KNOWN_OUT = frozenset({"thinking_tokens"})
# Speeds and places that the list price covers; others cost more, by a factor that no bucket holds.
_PLAIN_SPEEDS = (None, "", "standard")
_PLAIN_GEOS = (None, "", "not_available", "global")


def anthropic_buckets(usage: dict[str, Any], unknown: list[str]) -> dict[str, int]:
    """Disjoint buckets of one usage object. Raises: Fault (no counts, parts that contradict their total)."""
    if "input_tokens" not in usage and "output_tokens" not in usage:
        raise Fault("no_usage", "`usage` has no token counts")
    if not usage.keys() <= KNOWN:
        note_unknown(unknown, usage, KNOWN, "usage")
    if usage.get("speed") not in _PLAIN_SPEEDS:
        unknown.append("usage.speed")
    if usage.get("inference_geo") not in _PLAIN_GEOS:
        unknown.append("usage.inference_geo")
    buckets = _tokens(usage, unknown)
    tools = usage.get("server_tool_use")
    if type(tools) is dict:
        note_unknown(unknown, tools, _KNOWN_TOOLS, "usage.server_tool_use")
        searches = count(tools, "web_search_requests")
        if searches:
            buckets["web_searches"] = searches
    if usage.get("iterations"):
        _add_iterations(usage["iterations"], buckets, unknown)
    return buckets


def _tokens(usage: dict[str, Any], unknown: list[str]) -> dict[str, int]:
    writes, hour = cache_writes(count(usage, "cache_creation_input_tokens"), usage.get("cache_creation"), unknown)
    output = count(usage, "output_tokens")
    details = usage.get("output_tokens_details")
    thinking = 0
    if type(details) is dict:
        note_unknown(unknown, details, _KNOWN_OUT, "usage.output_tokens_details")
        thinking = count(details, "thinking_tokens")
        if thinking > output:
            raise Fault("contradiction", "more thinking tokens than output tokens")
    return {
        "input_tok": count(usage, "input_tokens"), "cache_read_tok": count(usage, "cache_read_input_tokens"),
        "cache_write_5m_tok": writes - hour, "cache_write_1h_tok": hour,
        "output_tok": output - thinking, "reasoning_tok": thinking,
    }  # fmt: skip


def _add_iterations(iterations: Any, buckets: dict[str, int], unknown: list[str]) -> None:
    """Compaction runs are billed and not in the top-level counts; the message's own runs are."""
    for run in iterations if type(iterations) is list else ():
        kind = mapping(run).get("type", "message")
        if kind == "compaction":
            for name, n in _tokens(run, unknown).items():
                buckets[name] += n
        elif kind != "message":
            unknown.append("usage.iterations.type")


def provider_of_id(ident: Any) -> str | None:
    """Who serves the model, by the prefix of the message's id: Amazon Bedrock, Google Vertex, Anthropic."""
    if type(ident) is not str:
        return None
    if ident.startswith("msg_bdrk_"):
        return "aws"
    return "google" if ident.startswith("msg_vrtx_") else None
