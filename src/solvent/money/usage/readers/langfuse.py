"""Langfuse exports: observations (API, blob storage, UI) as JSONL or JSON, or traces that hold their observations.

Only generations and embeddings are requests; spans, events, agents and tools are their parents. Langfuse means
usage types to be disjoint, but many integrations send an `input` that holds its cached part: the total tells
which; where nothing tells, the record is rejected and the project file must say it.
What it doesn't do: take over Langfuse's costs, read input or output. Enter at `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import msgspec

from solvent.money.usage.readers.outcome import (
    Fault,
    NotARequest,
    Outcome,
    Reading,
    Row,
    Skip,
    carries,
    count,
    finish,
    mapping,
    service_of,
)  # fmt: skip

NAME = "langfuse"

_TYPES = ("GENERATION", "EMBEDDING", "SPAN", "EVENT", "AGENT", "TOOL", "CHAIN", "RETRIEVER", "EVALUATOR", "GUARDRAIL")
_REQUESTS = ("GENERATION", "EMBEDDING")
_BASE_IN = ("input", "prompt_tokens", "input_tokens", "promptTokens")
_BASE_OUT = ("output", "completion_tokens", "output_tokens", "completionTokens")
_TOTAL = ("total", "total_tokens", "totalTokens")
# Usage type → bucket, by side. Text and predicted tokens are plain input and output under another name.
PARTS_IN = {
    "input_cached_tokens": "cache_read_tok", "input_cached": "cache_read_tok", "input_cache_read": "cache_read_tok",
    "cache_read_input_tokens": "cache_read_tok", "cache_read": "cache_read_tok", "cached_tokens": "cache_read_tok",
    "input_cache_creation": "cache_write_5m_tok", "cache_creation_input_tokens": "cache_write_5m_tok",
    "input_cache_write": "cache_write_5m_tok", "cache_creation": "cache_write_5m_tok",
    "input_cache_creation_5m": "cache_write_5m_tok", "input_cache_creation_1h": "cache_write_1h_tok",
    "input_audio_tokens": "input_audio_tok", "input_audio": "input_audio_tok",
    "input_image_tokens": "input_image_tok", "input_image": "input_image_tok",
    "input_text_tokens": "input_tok", "input_text": "input_tok",
}  # fmt: skip
PARTS_OUT = {
    "output_reasoning_tokens": "reasoning_tok", "output_reasoning": "reasoning_tok",
    "reasoning_tokens": "reasoning_tok", "reasoning": "reasoning_tok",
    "output_audio_tokens": "output_audio_tok", "output_audio": "output_audio_tok",
    "output_image_tokens": "output_image_tok", "output_text_tokens": "output_tok", "output_text": "output_tok",
    "output_accepted_prediction_tokens": "output_tok", "output_rejected_prediction_tokens": "output_tok",
}  # fmt: skip
KNOWN = frozenset((*_BASE_IN, *_BASE_OUT, *_TOTAL, *PARTS_IN, *PARTS_OUT))
_PRICES = frozenset({"unit", "inputCost", "outputCost", "totalCost", "input_cost", "output_cost", "total_cost"})
_MAX_JSON_CHARS = 1 << 20


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is an observation or a trace of Langfuse."""
    if type(record.get("observations")) is list and ("id" in record or "data" in record):
        return True
    kind = record.get("type")
    if not (type(kind) is str and kind.upper() in _TYPES):
        return False
    return bool({"traceId", "trace_id", "usageDetails", "usage_details", "parentObservationId"} & record.keys())


class Reader:
    """One file of observations or traces."""

    def __init__(self, label: str, reading: Reading) -> None:
        self.reading = reading
        self.unknown_keys: list[str] = []

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        for key in ("observations", "data"):
            held = record.get(key)
            if type(held) is list and "usageDetails" not in record:
                inside = [self._outcome(mapping(entry), record) for entry in held]
                return inside or [NotARequest("a trace without observations")]
        return (self._outcome(record, {}),)

    def finish(self) -> Iterable[Outcome]:
        return ()

    def _outcome(self, record: dict[str, Any], trace: dict[str, Any]) -> Outcome:
        kind = record.get("type")
        if type(kind) is not str or kind.upper() not in _REQUESTS:
            if type(record.get("observations")) is list:
                return Fault("malformed", "traces inside traces").reject
            return NotARequest("an observation that isn't a model call")
        try:
            return self._row(record, trace)
        except Fault as fault:
            return fault.reject
        except Skip as skip:
            return skip.outcome

    def _row(self, record: dict[str, Any], trace: dict[str, Any]) -> Row:
        def either(camel: str, snake: str) -> Any:
            value = record.get(camel)
            return record.get(snake) if value is None else value

        metadata = mapping(_parsed(record.get("metadata")))
        settings = mapping(_parsed(record.get("modelParameters")))
        hit = metadata.get("cache_hit") in (True, "True", "true")
        buckets = {} if hit else self._buckets(record, either)
        ident, trace_id = record.get("id"), either("traceId", "trace_id") or trace.get("id")
        found = {
            "request_id": f"{NAME}:{ident}" if type(ident) is str and ident else None,
            "output_id": trace_id if type(trace_id) is str else None,
            "at": either("startTime", "start_time"),
            "customer": either("userId", "user_id") or trace.get("userId") or trace.get("user_id"),
            "feature": either("traceName", "trace_name") or trace.get("name") or record.get("name"),
            "provider": None,
            "model": record.get("model") or either("providedModelName", "provided_model_name"),
            "service": service_of(settings.get("service_tier"), self.unknown_keys),
        }
        return finish(self.reading, record, found, buckets)

    def _buckets(self, record: dict[str, Any], either: Any) -> dict[str, int]:
        usage = mapping(_parsed(either("usageDetails", "usage_details")))
        old = mapping(_parsed(record.get("usage")))
        if not carries(usage):
            usage = {k: v for k, v in old.items() if k not in _PRICES}
        if not carries(usage):
            flat = {k: record.get(k) for k in ("promptTokens", "completionTokens", "totalTokens")}
            usage = {k: v for k, v in flat.items() if v is not None}
        unit = old.get("unit") or record.get("unit")
        if unit not in (None, "", "TOKENS"):
            return _units(usage, unit)
        if not carries(usage):
            if record.get("level") == "ERROR":
                raise Skip("a failed call without usage")
            raise Fault("no_usage", "a generation without usage")
        return usage_type_buckets(usage, self.unknown_keys, self.reading)


def _parsed(value: Any) -> Any:
    """A JSON column as it stands, or parsed where an export wrote it as text; anything else is left alone."""
    if type(value) is not str or value[:1] != "{" or len(value) > _MAX_JSON_CHARS:
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Fault("malformed", "a JSON column can't be read") from None


def _units(usage: dict[str, Any], unit: Any) -> dict[str, int]:
    """Old observations counted in another unit than tokens."""
    given, made = count(usage, "input"), count(usage, "output")
    if unit == "CHARACTERS" and not made:
        return {"input_chars": given}
    if unit == "IMAGES" and not given:
        return {"output_images": made or count(usage, "total")}
    if unit == "SECONDS" and not made:
        return {"input_audio_us": given * 1_000_000}
    raise Fault("no_usage", "usage in a unit that no bucket holds")


def usage_type_buckets(usage: dict[str, Any], unknown: list[str], reading: Reading) -> dict[str, int]:
    """Disjoint buckets of usage types whose `input` and `output` may hold their parts or stand beside them.

    Of the readings (inside or beside, for input and output) the one that gives the total is taken.
    Raises: Fault (no reading gives the total, or several do that differ).
    """
    for key in usage.keys() - KNOWN:
        if carries(usage[key]):
            unknown.append(f"usageDetails.{key}"[:80])
    base_in, base_out = _one(usage, _BASE_IN), _one(usage, _BASE_OUT)
    total = next((usage[key] for key in _TOTAL if usage.get(key) is not None), None)
    parts_in = {key: count(usage, key) for key in PARTS_IN if key in usage}
    parts_out = {key: count(usage, key) for key in PARTS_OUT if key in usage}
    sum_in, sum_out = sum(parts_in.values()), sum(parts_out.values())
    written = sum(n for key, n in parts_in.items() if PARTS_IN[key].startswith("cache_write"))
    ways_in = _ways(base_in, sum_in, written, reading.constants.get("cached"))
    ways_out = _ways(base_out, sum_out, 0, reading.constants.get("reasoning"))
    # What the project states also explains a total that is Langfuse's own sum of everything, parts counted twice.
    everything = base_in + sum_in + base_out + sum_out
    stated = bool({"cached", "reasoning"} & reading.constants.keys()) and total == everything
    fits = [
        (a, b) for a, b in product(ways_in, ways_out)
        if total is None or stated or a + sum_in + b + sum_out == total
    ]  # fmt: skip
    if len(fits) != 1:
        open_ = "can't tell whether `input` and `output` hold their parts"
        what = open_ if fits else "`total` isn't the sum of its parts"
        raise Fault("contradiction", what, 'add [log.constants] cached = "inside" (or "beside") and reasoning likewise')
    buckets = {"input_tok": fits[0][0], "output_tok": fits[0][1]}
    for names, parts in ((PARTS_IN, parts_in), (PARTS_OUT, parts_out)):
        for key, n in parts.items():
            buckets[names[key]] = buckets.get(names[key], 0) + n
    return buckets


def _ways(base: int, parts: int, written: int, stated: Any) -> list[int]:
    """What of a base count is left once its parts are out: base − parts (inside), base (beside).

    LiteLLM takes cache reads out of the input that it sends here and leaves the writes in: base − written.
    """
    if not parts or stated == "beside":
        return [base]
    inside = [base - parts] if parts <= base else []
    if stated == "inside" and inside:
        return inside
    half = [base - written] if 0 < written < parts and written <= base else []
    return [*inside, *half, base]


def _one(usage: dict[str, Any], names: tuple[str, ...]) -> int:
    """A count under one of several names; the names that hold something must agree."""
    told = {n for n in (count(usage, name) for name in names) if n}
    if len(told) > 1:
        raise Fault("contradiction", f"`{names[0]}` under two names differs")
    return told.pop() if told else 0
