"""LiteLLM's SpendLogs: rows of the proxy's table as JSONL, or as CSV rows whose JSON columns are text.

`prompt_tokens` holds cache reads and writes, for Anthropic too; the split is in `metadata.usage_object`. Where
that is missing (old versions) all of the prompt counts as uncached. A hit in LiteLLM's own cache costs nothing:
the row stays, its buckets are zero.
What it doesn't do: take over LiteLLM's `spend`. Enter at `Reader`, or `TableReader` for CSV rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from solvent.money.usage.readers.openai_usage import openai_buckets
from solvent.money.usage.readers.outcome import (
    Fault,
    Outcome,
    Reading,
    Row,
    Skip,
    count,
    finish,
    mapping,
    service_of,
)  # fmt: skip

NAME = "litellm"

_MARKS = frozenset({"request_id", "call_type"})
_ANTHROPIC_ONLY = frozenset({"inference_geo", "speed", "iterations", "service_tier"})
MAX_JSON_CHARS = 4 << 20
# Calls of the proxy's own endpoints that run no model, unless they bring a finished batch's usage.
_NO_MODEL_CALLS = ("list_batches", "retrieve_batch", "alist_batches", "aretrieve_batch", "afile_content", "afile_list",
                   "afile_retrieve", "afile_delete", "acreate_file", "health")  # fmt: skip


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is a row of LiteLLM_SpendLogs."""
    return record.keys() >= _MARKS and ("spend" in record or "prompt_tokens" in record)


class Reader:
    """One file of SpendLogs."""

    def __init__(self, label: str, reading: Reading) -> None:
        self.reading = reading
        self.unknown_keys: list[str] = []

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        return (self.outcome(record),)

    def finish(self) -> Iterable[Outcome]:
        return ()

    def outcome(self, record: dict[str, Any]) -> Outcome:
        """What one row of the table comes to."""
        try:
            return self._row(record)
        except Fault as fault:
            return fault.reject
        except Skip as skip:
            return skip.outcome

    def _row(self, record: dict[str, Any]) -> Row:
        metadata = mapping(_parsed(record.get("metadata")))
        usage = mapping(_parsed(metadata.get("usage_object")))
        failed = record.get("status") == "failure" or metadata.get("status") == "failure"
        cached = str(record.get("cache_hit")).lower() == "true"
        if cached:
            buckets: dict[str, int] = {}
        else:
            buckets = self._buckets(record, usage, failed)
        ident, tier = record.get("request_id"), usage.get("service_tier")
        if tier is None:
            tier = metadata.get("service_tier")
        model = record.get("model") or record.get("model_group")
        found: dict[str, Any] = {
            "request_id": f"{NAME}:{ident}" if type(ident) is str and ident else None,
            "at": record.get("startTime") or record.get("start_time") or record.get("starttime"),
            "customer": _first(record.get("end_user"), record.get("team_id"), record.get("user")),
            "feature": _first_tag(record.get("request_tags")),
            "provider": _provider(record.get("custom_llm_provider"), model),
            "model": _bare(model, record.get("custom_llm_provider")),
            "service": "batch" if "batch" in str(record.get("call_type", "")) else service_of(tier, self.unknown_keys),
        }
        return finish(self.reading, record, found, buckets)

    def _buckets(self, record: dict[str, Any], usage: dict[str, Any], failed: bool) -> dict[str, int]:
        top = {key: record.get(key) for key in ("prompt_tokens", "completion_tokens", "total_tokens")}
        if not usage:
            usage = {key: count(top, key) for key, value in top.items() if value is not None}
        if not any(count(usage, key) for key in ("prompt_tokens", "completion_tokens", "input_tokens")):
            if failed:
                raise Skip("a failed call without usage")
            if record.get("call_type") in _NO_MODEL_CALLS:
                raise Skip("a call that asks nothing of a model")
        if not usage:
            raise Fault("no_usage", "a row without token counts")
        for key in ("prompt_tokens", "completion_tokens"):
            if usage.get(key) is not None and top[key] is not None and count(usage, key) != count(top, key):
                raise Fault("contradiction", f"`{key}` of the row and of its usage_object differ")
        usage = self._inclusive({k: v for k, v in usage.items() if k not in _ANTHROPIC_ONLY or self._matters(k, v)})
        return openai_buckets(usage, self.unknown_keys, "usage_object")

    def _matters(self, key: str, value: Any) -> bool:
        """Anthropic's own keys, which LiteLLM hands through: plain values say nothing, others are reported."""
        plain = value in (None, "", "standard", "not_available", "global") or key in ("iterations", "service_tier")
        return not plain

    def _inclusive(self, usage: dict[str, Any]) -> dict[str, Any]:
        """Old versions logged Anthropic's prompt without its cache; then, and only then, the total shows it."""
        read, written = count(usage, "cache_read_input_tokens"), count(usage, "cache_creation_input_tokens")
        prompt, completion = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
        if (read or written) and usage.get("total_tokens") == prompt + completion + read + written:
            return {**usage, "prompt_tokens": prompt + read + written}
        return usage


class TableReader(Reader):
    """One CSV file of SpendLogs: cells are text, JSON columns too, and an empty cell is no value."""

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        return (self.outcome({key: value or None for key, value in record.items()}),)


def _parsed(value: Any) -> Any:
    """A JSON column: an object as it stands, text parsed; anything unreadable is a fault."""
    if type(value) is not str or not value.strip():
        return value
    if len(value) > MAX_JSON_CHARS:
        raise Fault("malformed", f"a JSON column longer than {MAX_JSON_CHARS} characters")
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Fault("malformed", "a JSON column can't be read") from None


def _first(*values: Any) -> Any:
    return next((value for value in values if type(value) in (str, int) and value != ""), None)


def _first_tag(tags: Any) -> str | None:
    """The first request tag that isn't LiteLLM's own note on the client program."""
    tags = _parsed(tags)
    for tag in tags if type(tags) is list else ():
        if type(tag) is str and tag and not tag.lower().startswith("user-agent:"):
            return tag
    return None


def _provider(named: Any, model: Any) -> str | None:
    if type(named) is str and named:
        return named.lower()
    return model.split("/", 1)[0].lower() if type(model) is str and "/" in model else None


def _bare(model: Any, provider: Any) -> Any:
    """The model without the provider in front of it, where that is the row's own provider."""
    if type(model) is str and type(provider) is str and provider and model.startswith(provider + "/"):
        return model[len(provider) + 1 :]
    return model
