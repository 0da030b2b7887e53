"""OpenAI's usage object, as OpenAI, its many imitators and LiteLLM write it, in disjoint buckets.

Prompt tokens hold the cached, written, audio and image ones; completion tokens hold reasoning, audio, image and
predicted ones (rejected predictions are billed). `text_tokens` is no part to add: some vendors count cached
tokens in it, some don't. xAI, and Google's compatible endpoint, put reasoning beside completion: `total_tokens` tells.
What it doesn't do: find the usage in a log line (`openai`, `litellm`). Enter at `openai_buckets`.
"""

from __future__ import annotations

from typing import Any

from solvent.money.usage.readers.outcome import Fault, count, mapping, note_unknown, seconds_us

KNOWN = frozenset({
    "prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens",
    "prompt_tokens_details", "completion_tokens_details", "input_tokens_details", "output_tokens_details",
    "input_token_details", "output_token_details", "type", "seconds", "prompt_audio_seconds",
    # The same count under another name: DeepSeek, Moonshot, LiteLLM for Anthropic.
    "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "cached_tokens",
    "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation",
    # What others say it cost, how long it took, where it ran: neither counts nor prices.
    "cost", "cost_details", "is_byok", "cost_in_usd_ticks", "queue_time", "prompt_time", "completion_time",
    "total_time", "service_tier", "search_context_size", "num_search_queries", "server_tool_use",
})  # fmt: skip
KNOWN_IN = frozenset({
    "cached_tokens", "cached_tokens_details", "audio_tokens", "image_tokens", "video_tokens", "text_tokens",
    "cache_write_tokens", "cache_creation_tokens", "cache_creation_token_details", "web_search_requests",
})  # fmt: skip
KNOWN_OUT = frozenset({
    "reasoning_tokens", "audio_tokens", "image_tokens", "text_tokens",
    "accepted_prediction_tokens", "rejected_prediction_tokens",
})  # fmt: skip
_KNOWN_SPLIT = frozenset({"text_tokens", "audio_tokens", "image_tokens"})
_KNOWN_WRITES = frozenset({"ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"})
_KNOWN_TOOLS = frozenset({"web_search_requests", "web_fetch_requests"})
# Usage of nothing but these needs no details read: the many small requests of a log.
_PLAIN = frozenset({"prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens",
                    "service_tier"})  # fmt: skip
_ALIASES = frozenset({"cached_tokens", "prompt_cache_hit_tokens", "prompt_cache_miss_tokens", "cache_read_input_tokens",
                      "cache_creation_input_tokens", "cache_creation"})  # fmt: skip
_WRITTEN = frozenset({"cache_write_tokens", "cache_creation_tokens", "cache_creation_token_details"})
_SEARCHED = frozenset({"server_tool_use", "num_search_queries"})
_NONE: dict[str, Any] = {}


def openai_buckets(usage: dict[str, Any], unknown: list[str], path: str = "usage") -> dict[str, int]:
    """Disjoint buckets of one usage object; zero buckets may be absent.

    Raises: Fault (no counts, a part larger than its whole, a total that no reading explains).
    """
    if not usage.keys() <= KNOWN:
        note_unknown(unknown, usage, KNOWN, path)
    if usage.get("type") == "duration":
        return {"input_audio_us": seconds_us(usage, "seconds")}
    prompt = _either(usage, "prompt_tokens", "input_tokens")
    if prompt is None:
        raise Fault("no_usage", f"`{path}` has no token counts")
    completion = _either(usage, "completion_tokens", "output_tokens") or 0
    buckets: dict[str, int] = {}
    extra = usage.keys() - _PLAIN
    if extra:
        inside = _details(usage, "prompt_tokens_details", "input_tokens_details", "input_token_details")
        outside = _details(usage, "completion_tokens_details", "output_tokens_details", "output_token_details")
        if not inside.keys() <= KNOWN_IN:
            note_unknown(unknown, inside, KNOWN_IN, f"{path}.prompt_tokens_details")
        if not outside.keys() <= KNOWN_OUT:
            note_unknown(unknown, outside, KNOWN_OUT, f"{path}.completion_tokens_details")
        _input(usage, inside, prompt, buckets, unknown)
        _output(usage, outside, prompt, completion, buckets)
        if not _SEARCHED.isdisjoint(extra) or "web_search_requests" in inside:
            _searches(usage, inside, buckets, unknown)
        if "prompt_audio_seconds" in extra and type(usage["prompt_audio_seconds"]) is not dict:
            buckets["input_audio_us"] = seconds_us(usage, "prompt_audio_seconds")
    else:
        _check_total(usage, prompt, completion, 0)
        buckets["input_tok"] = prompt
        buckets["output_tok"] = completion
    return buckets


def _either(usage: dict[str, Any], first: str, second: str) -> int | None:
    """The count under one of two names; both with different counts is a contradiction."""
    a = usage.get(first)
    if type(a) is int and a >= 0 and second not in usage:
        return a
    a = count(usage, first) if a is not None else None
    b = count(usage, second) if usage.get(second) is not None else None
    if a is None or b is None:
        return b if a is None else a
    # LiteLLM fills in the pair that the vendor didn't send with zeros.
    if a != b and a and b:
        raise Fault("contradiction", f"`{first}` and `{second}` differ")
    return max(a, b)


def _details(usage: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in names:
        details = usage.get(name)
        if type(details) is dict:
            return details
    return _NONE


def _same(values: list[int], what: str) -> int:
    """One count told under several names: the names that hold something must agree."""
    told = {v for v in values if v}
    if len(told) > 1:
        raise Fault("contradiction", f"two counts of {what} differ")
    return told.pop() if told else 0


def _input(
    usage: dict[str, Any], inside: dict[str, Any], prompt: int, buckets: dict[str, int], unknown: list[str]
) -> None:
    cached = count(inside, "cached_tokens")
    writes = hour = 0
    if not _ALIASES.isdisjoint(usage) or not _WRITTEN.isdisjoint(inside):
        cached = _same([cached, count(usage, "cached_tokens"), count(usage, "prompt_cache_hit_tokens"),
                        count(usage, "cache_read_input_tokens")], "cached tokens")  # fmt: skip
        miss = count(usage, "prompt_cache_miss_tokens")
        if miss and cached + miss != prompt:
            raise Fault("contradiction", "cache hits and misses don't add up to the prompt")
        writes, hour = _writes(usage, inside, unknown)
    if cached + writes > prompt:
        raise Fault("contradiction", "more tokens cached than the prompt has")
    if writes:
        buckets["cache_write_5m_tok"] = writes - hour
        buckets["cache_write_1h_tok"] = hour
    get = inside.get
    if get("audio_tokens") or get("image_tokens") or get("video_tokens"):
        modal = (count(inside, "audio_tokens"), count(inside, "image_tokens"), count(inside, "video_tokens"))
        split_prompt(prompt - cached - writes, cached, modal, _split(inside, unknown), buckets)
    else:
        buckets["input_tok"] = prompt - cached - writes
        buckets["cache_read_tok"] = cached


def _split(inside: dict[str, Any], unknown: list[str]) -> tuple[int, int, int] | None:
    """Audio, image and video among the cached tokens, where the vendor tells."""
    split = inside.get("cached_tokens_details")
    if split is None or type(split) is not dict:
        return None
    note_unknown(unknown, split, _KNOWN_SPLIT, "usage.cached_tokens_details")
    return count(split, "audio_tokens"), count(split, "image_tokens"), 0


def split_prompt(
    uncached: int, cached: int, modal: tuple[int, int, int],
    cached_modal: tuple[int, int, int] | None, buckets: dict[str, int],
) -> None:  # fmt: skip
    """Splits a prompt by modality, cached and not.   modal: audio, image, video tokens, cached ones included.

    Where the vendor doesn't say which modalities were cached, as little as possible is taken for cached: the
    tokens that don't fit into the uncached part. Of those, video and image go first: chat caches hold no audio.
    Exactness: input + cache reads + modalities = uncached + cached, always.
    """
    if modal == (0, 0, 0):
        buckets["input_tok"] = uncached
        buckets["cache_read_tok"] = cached
        return
    audio, image, video = modal
    if cached_modal is None:
        over = max(0, audio + image + video - uncached)
        c_video = min(over, video)
        c_image = min(over - c_video, image)
        c_audio = over - c_video - c_image
    else:
        c_audio, c_image, c_video = cached_modal
    rest = uncached - (audio - c_audio) - (image - c_image) - (video - c_video)
    if c_audio + c_image + c_video > cached or rest < 0 or c_audio > audio or c_image > image or c_video > video:
        raise Fault("contradiction", "more audio, image and video tokens than the prompt has")
    buckets["input_tok"] = rest
    buckets["cache_read_tok"] = cached - c_audio
    buckets["cache_read_audio_tok"] = c_audio
    buckets["input_audio_tok"] = audio - c_audio
    buckets["input_image_tok"] = image - c_image
    buckets["input_video_tok"] = video - c_video


def _writes(usage: dict[str, Any], inside: dict[str, Any], unknown: list[str]) -> tuple[int, int]:
    """Tokens written to a cache, and those among them that stay an hour."""
    total = _same([count(inside, "cache_write_tokens"), count(inside, "cache_creation_tokens"),
                   count(usage, "cache_creation_input_tokens")], "tokens written to the cache")  # fmt: skip
    split = inside.get("cache_creation_token_details") or usage.get("cache_creation")
    return cache_writes(total, split, unknown)


def cache_writes(total: int, split: Any, unknown: list[str]) -> tuple[int, int]:
    """(all cache writes, those of an hour) from a total and its split by lifetime; without a split all are 5 min.

    Raises: Fault (the split doesn't add up to a total that is there).
    """
    if type(split) is not dict:
        return total, 0
    note_unknown(unknown, split, _KNOWN_WRITES, "usage.cache_creation")
    five, hour = count(split, "ephemeral_5m_input_tokens"), count(split, "ephemeral_1h_input_tokens")
    if not total or not five + hour:
        return total or five + hour, hour
    if five + hour != total:
        raise Fault("contradiction", "cache writes of 5 minutes and 1 hour don't add up to their total")
    return total, hour


def _output(
    usage: dict[str, Any], outside: dict[str, Any], prompt: int, completion: int, buckets: dict[str, int]
) -> None:
    reasoning = count(outside, "reasoning_tokens") if "reasoning_tokens" in outside else 0
    if _check_total(usage, prompt, completion, reasoning):
        completion += reasoning
    audio = count(outside, "audio_tokens") if outside.get("audio_tokens") else 0
    image = count(outside, "image_tokens") if outside.get("image_tokens") else 0
    rest = completion - reasoning - audio - image
    if rest < 0:
        raise Fault("contradiction", "more reasoning, audio and image tokens than the completion has")
    buckets["output_tok"] = rest
    buckets["reasoning_tok"] = reasoning
    if audio or image:
        buckets["output_audio_tok"] = audio
        buckets["output_image_tok"] = image


def _check_total(usage: dict[str, Any], prompt: int, completion: int, reasoning: int) -> bool:
    """Whether the total says that reasoning stands beside the completion. Raises: Fault (nothing explains it)."""
    total = usage.get("total_tokens")
    if total is None or total == prompt + completion:
        return False
    if reasoning and total == prompt + completion + reasoning:
        return True
    count(usage, "total_tokens")
    raise Fault("contradiction", "`total_tokens` isn't the sum of its parts")


def _searches(usage: dict[str, Any], inside: dict[str, Any], buckets: dict[str, int], unknown: list[str]) -> None:
    tools = mapping(usage.get("server_tool_use"))
    if tools:
        note_unknown(unknown, tools, _KNOWN_TOOLS, "usage.server_tool_use")
    n = max(count(tools, "web_search_requests"), count(inside, "web_search_requests"),
            count(usage, "num_search_queries"))  # fmt: skip
    if n:
        buckets["web_searches"] = n
