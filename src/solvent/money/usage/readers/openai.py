"""OpenAI responses as JSONL: chat, Responses API, embeddings, images, transcription, video, batch output, streams.

Read as they stand, inside an application's own wrapper, or as lines of a batch's output file. Servers that
imitate OpenAI are read too; their provider is left open for the price lookup unless the line names it.
What it doesn't do: price built-in tools other than web search; their calls are reported as unknown keys.
Enter at `Reader`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from solvent.money.usage.readers.envelope import around, inner, provider_of, time_of
from solvent.money.usage.readers.openai_usage import openai_buckets
from solvent.money.usage.readers.outcome import (
    Fault,
    Outcome,
    Reading,
    Row,
    Skip,
    carries,
    finish,
    mapping,
    seconds_us,
    service_of,
)  # fmt: skip

NAME = "openai"

_OBJECTS = ("chat.completion", "chat.completion.chunk", "text_completion", "response", "list", "video")
_USAGE_KEYS = {"prompt_tokens", "completion_tokens", "input_tokens_details", "output_tokens_details",
               "input_token_details"}  # fmt: skip
_PATHS = (("response", "body"), ("response",), ("body",), ("completion",), ("result",))
_OURS = ("gpt-", "o1", "o3", "o4", "chatgpt", "text-embedding", "dall-e", "whisper", "tts-", "codex", "sora", "ft:",
         "computer-use", "omni-", "davinci", "babbage")  # fmt: skip
# Built-in tools that OpenAI bills by the call or the container, for which there is no bucket.
_BILLED_CALLS = {"file_search_call", "code_interpreter_call", "image_generation_call"}


def _response(record: dict[str, Any]) -> dict[str, Any]:
    """The vendor's own object: the record, or the one that it wraps."""
    if "usage" in record or "object" in record:
        return record
    return inner(record, *_PATHS) or record


def recognises(record: dict[str, Any]) -> bool:
    """Whether a record is an OpenAI response, a stream chunk of one, or a batch line."""
    if "custom_id" in record and "result" not in record and {"response", "error"} & record.keys():
        return True
    response = _response(record)
    usage = response.get("usage")
    if type(usage) is dict:
        if response.get("object") in _OBJECTS or usage.get("type") in ("duration", "tokens"):
            return True
        return not _USAGE_KEYS.isdisjoint(usage) and not {"usageDetails", "startTime", "resourceSpans"} & record.keys()
    if str(record.get("type", "")).startswith("response.") and type(record.get("response")) is dict:
        return True
    return response.get("object") in _OBJECTS and response.get("object") != "list"


class Reader:
    """One file of OpenAI responses."""

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
        buckets = self._buckets(record, response)
        if "output" in response:
            self._tools(response["output"], buckets)
        places = (record,) if record is response else (record, mapping(record.get("request")), response)
        found = around(places)
        tier = response.get("service_tier")
        found["service"] = "batch" if "custom_id" in record else service_of(tier, self.unknown_keys)
        ident = response.get("id")
        found["request_id"] = f"{NAME}:{ident}" if type(ident) is str and ident else None
        at = response.get("created")
        if at is None:
            at = response.get("created_at")
        found["at"] = time_of(places) if at is None else at
        model = response.get("model") or record.get("model") or mapping(record.get("request")).get("model")
        found["model"] = model
        found["provider"] = _provider(model, places, ident)
        return finish(self.reading, record, found, buckets)

    def _buckets(self, record: dict[str, Any], response: dict[str, Any]) -> dict[str, int]:
        usage = response.get("usage")
        if type(usage) is dict:
            buckets = openai_buckets(usage, self.unknown_keys)
            if "data" in response and _is_images(response) and not buckets.get("output_image_tok"):
                buckets["output_image_tok"] = buckets.pop("output_tok", 0)
            return buckets
        if response.get("object") == "video":
            if response.get("status") in ("completed", None):
                return {"output_video_us": seconds_us(response, "seconds")}
            raise Skip("a video that wasn't made (yet)")
        if _is_images(response):
            return {"output_images": len(response["data"])}
        if carries(record.get("error")) or carries(response.get("error")):
            raise Skip("an error response")
        kind = str(record.get("type", ""))
        if response.get("object") == "chat.completion.chunk" or kind.startswith("response."):
            raise Skip("a part of a stream without usage")
        raise Fault("no_usage", "a response without `usage`", "log streams with stream_options.include_usage = true")

    def _tools(self, output: Any, buckets: dict[str, int]) -> None:
        """Web searches are counted; other billed calls are reported, for no bucket holds them."""
        searches = 0
        for item in output if type(output) is list else ():
            kind = mapping(item).get("type")
            if kind == "web_search_call":
                searches += mapping(item.get("action")).get("type", "search") == "search"
            elif type(kind) is str and kind in _BILLED_CALLS:
                self.unknown_keys.append(f"output.{kind}")
        if searches:
            buckets["web_searches"] = max(searches, buckets.get("web_searches", 0))


def _is_images(response: dict[str, Any]) -> bool:
    data = response.get("data")
    if type(data) is not list or not data:
        return False
    return all(type(item) is dict and ("b64_json" in item or "url" in item) for item in data)


def _provider(model: Any, places: tuple[dict[str, Any], ...], ident: Any) -> str | None:
    """Who sends the bill: OpenAI for its own models, OpenRouter by its ids, else whom the line names, else unknown."""
    if type(ident) is str and ident.startswith("gen-"):
        return "openrouter"
    named = provider_of(places)
    if named is None and type(model) is str and model.startswith(_OURS):
        return "openai"
    return named
