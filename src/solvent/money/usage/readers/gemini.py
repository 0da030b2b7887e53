"""Gemini responses as JSONL (`usageMetadata`, or `usage_metadata` as the Python SDK dumps it), single or streamed.

`promptTokenCount` holds the cached tokens; tool-use prompt and thoughts stand beside prompt and candidates.
Chunks of a stream repeat `responseId` with growing counts: the last snapshot counts once duplicates are dropped.
What it doesn't do: price provisioned throughput. Enter at `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from solvent.money.usage.readers.envelope import around, inner, time_of
from solvent.money.usage.readers.openai_usage import split_prompt
from solvent.money.usage.readers.outcome import (
    Fault,
    Outcome,
    Reading,
    Row,
    Skip,
    carries,
    count,
    finish,
    mapping,
    note_unknown,
    service_of,
)  # fmt: skip

NAME = "gemini"

_COUNTS = ("promptTokenCount", "cachedContentTokenCount", "candidatesTokenCount", "responseTokenCount",
           "thoughtsTokenCount", "toolUsePromptTokenCount", "totalTokenCount")  # fmt: skip
_DETAILS = ("promptTokensDetails", "cacheTokensDetails", "candidatesTokensDetails", "responseTokensDetails",
            "toolUsePromptTokensDetails")  # fmt: skip
KNOWN = frozenset((*_COUNTS, *_DETAILS, "trafficType", "serviceTier"))
_PATHS = (("response",), ("body",), ("response", "body"), ("result",), ("completion",))
_TRAFFIC = {"ON_DEMAND": "standard", "ON_DEMAND_PRIORITY": "priority", "ON_DEMAND_FLEX": "flex"}
# DOCUMENT is billed as text; anything else that we don't know is reported.
_TEXT_LIKE = ("TEXT", "DOCUMENT", "MODALITY_UNSPECIFIED", None)


def _usage(response: dict[str, Any]) -> Any:
    usage = response.get("usageMetadata")
    return response.get("usage_metadata") if usage is None else usage


def _response(record: dict[str, Any]) -> dict[str, Any]:
    if _usage(record) is not None or "candidates" in record:
        return record
    return inner(record, *_PATHS) or record


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is a Gemini response or wraps one."""
    response = _response(record)
    usage = mapping(_usage(response))
    if usage:
        return any(camel(key) in KNOWN for key in usage)
    return "candidates" in response and ("modelVersion" in response or "model_version" in response)


def camel(key: str) -> str:
    """prompt_token_count → promptTokenCount; a key in camel case stays as it is."""
    if "_" not in key:
        return key
    head, *rest = key.split("_")
    return head + "".join(part.capitalize() for part in rest)


class Reader:
    """One file of Gemini responses."""

    def __init__(self, label: str, reading: Reading) -> None:
        self.reading = reading
        self.unknown_keys: list[str] = []

    def feed(self, record: dict[str, Any], line: int) -> Iterable[Outcome]:
        try:
            return (self._row(record),)
        except Fault as fault:
            return (fault.reject,)
        except Skip as skip:
            return (skip.outcome,)

    def finish(self) -> Iterable[Outcome]:
        return ()

    def _row(self, record: dict[str, Any]) -> Row:
        response = _response(record)
        usage = _usage(response)
        if type(usage) is not dict or not usage:
            if carries(record.get("error")) or carries(response.get("error")):
                raise Skip("an error response")
            raise Fault("no_usage", "a response without `usageMetadata`")
        if any("_" in key for key in usage):
            usage = {camel(key): value for key, value in usage.items()}
        places = (record,) if record is response else (record, mapping(record.get("request")), response)
        model = response.get("modelVersion") or response.get("model_version") or record.get("model")
        if type(model) is str:
            model = model.rsplit("models/", 1)[-1]
        buckets = gemini_buckets(usage, self.unknown_keys)
        searches = _searches(response, model)
        if searches:
            buckets["web_searches"] = searches
        found = around(places)
        ident = response.get("responseId") or response.get("response_id")
        found["request_id"] = f"{NAME}:{ident}" if type(ident) is str else None
        found["at"] = response.get("createTime") or response.get("create_time") or time_of(places)
        found["model"] = model
        found["provider"] = "google"
        found["service"] = self._service(record, response, usage)
        return finish(self.reading, record, found, buckets)

    def _service(self, record: dict[str, Any], response: dict[str, Any], usage: dict[str, Any]) -> str | None:
        """Batch by the shape of a batch's output lines, else what the response says."""
        if record is not response and ("processed_time" in record or record.keys() <= {"key", "response", "error"}):
            return "batch"
        traffic = usage.get("trafficType")
        if traffic is not None and traffic.__class__ is str and traffic in _TRAFFIC:
            return _TRAFFIC[traffic]
        if carries(traffic) and traffic != "TRAFFIC_TYPE_UNSPECIFIED":
            self.unknown_keys.append("usageMetadata.trafficType")
            return None
        return service_of(usage.get("serviceTier"), self.unknown_keys, "usageMetadata.serviceTier")


def gemini_buckets(usage: dict[str, Any], unknown: list[str]) -> dict[str, int]:
    """Disjoint buckets of one usageMetadata in camel case.

    Raises: Fault (no counts, more cached than prompt, a total that no reading explains).
    """
    if not usage.keys() <= KNOWN:
        note_unknown(unknown, usage, KNOWN, "usageMetadata")
    if all(usage.get(key) is None for key in _COUNTS):
        raise Fault("no_usage", "`usageMetadata` has no token counts")
    prompt, cached = count(usage, "promptTokenCount"), count(usage, "cachedContentTokenCount")
    tool, thoughts = count(usage, "toolUsePromptTokenCount"), count(usage, "thoughtsTokenCount")
    candidates = max(count(usage, "candidatesTokenCount"), count(usage, "responseTokenCount"))
    if cached > prompt:
        raise Fault("contradiction", "more tokens cached than the prompt has")
    candidates = _beside(usage, prompt + tool, candidates, thoughts)
    modal = _modal(usage, "promptTokensDetails", unknown)
    tool_modal = _modal(usage, "toolUsePromptTokensDetails", unknown)
    split = _modal(usage, "cacheTokensDetails", unknown) if usage.get("cacheTokensDetails") else None
    buckets: dict[str, int] = {}
    both = (modal[0] + tool_modal[0], modal[1] + tool_modal[1], modal[2] + tool_modal[2])
    split_prompt(prompt - cached + tool, cached, both, split, buckets)
    details = "candidatesTokensDetails" if usage.get("candidatesTokensDetails") else "responseTokensDetails"
    audio, image, video = _modal(usage, details, unknown)
    if video:
        unknown.append(f"usageMetadata.{details}.VIDEO")
    if audio + image > candidates:
        raise Fault("contradiction", "more audio and image tokens than the candidates have")
    buckets["output_tok"] = candidates - audio - image
    buckets["output_audio_tok"] = audio
    buckets["output_image_tok"] = image
    buckets["reasoning_tok"] = thoughts
    return buckets


def _beside(usage: dict[str, Any], prompt: int, candidates: int, thoughts: int) -> int:
    """Candidates without thoughts; older endpoints counted thoughts among them, and the total tells.

    Raises: Fault (nothing explains the total).
    """
    total = usage.get("totalTokenCount")
    if total is None or total == prompt + candidates + thoughts:
        return candidates
    if total == prompt + candidates and thoughts <= candidates:
        return candidates - thoughts
    count(usage, "totalTokenCount")
    raise Fault("contradiction", "`totalTokenCount` isn't the sum of its parts")


def _modal(usage: dict[str, Any], key: str, unknown: list[str]) -> tuple[int, int, int]:
    """Audio, image and video tokens of a list of modality counts."""
    sums = {"AUDIO": 0, "IMAGE": 0, "VIDEO": 0}
    details = usage.get(key)
    for entry in details if type(details) is list else ():
        entry = mapping(entry)
        modality = entry.get("modality")
        n = count(entry, "tokenCount" if "tokenCount" in entry else "token_count")
        if type(modality) is str and modality in sums:
            sums[modality] += n
        elif n and modality not in _TEXT_LIKE:
            unknown.append(f"usageMetadata.{key}.modality")
    return sums["AUDIO"], sums["IMAGE"], sums["VIDEO"]


def _searches(response: dict[str, Any], model: Any) -> int:
    """Grounding with Google Search: billed by the query from Gemini 3 on, by the prompt before."""
    candidates = response.get("candidates")
    queries = 0
    for candidate in candidates if type(candidates) is list else ():
        grounding = mapping(mapping(candidate).get("groundingMetadata") or mapping(candidate).get("grounding_metadata"))
        asked = grounding.get("webSearchQueries") or grounding.get("web_search_queries")
        queries += len(asked) if type(asked) is list else 0
    by_prompt = type(model) is str and model.startswith(("gemini-1", "gemini-2"))
    return min(queries, 1) if by_prompt else queries
