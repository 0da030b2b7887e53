"""Counting bugs that users of other tools met, as logs with the right answer derived by hand.

Each case names the public report it comes from. The numbers are theirs where they published them.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from solvent.money.usage.readers import anthropic, claude_code, gemini, langfuse, litellm, openai, otel
from solvent.money.usage.readers.outcome import NotARequest, Outcome, Reading, RecordReader, Reject
from solvent.records import REQUEST_COLUMNS

AT = "2026-01-19T10:00:00Z"
COLUMNS = tuple(REQUEST_COLUMNS)


def outcomes(module: Any, *records: dict[str, Any], reading: Reading | None = None) -> list[Outcome]:
    reader: RecordReader = module.Reader("log.jsonl", reading or Reading())
    found = [outcome for line, record in enumerate(records, 1) for outcome in reader.feed(record, line)]
    found += reader.finish()
    assert not reader.unknown_keys
    return found


def buckets(outcome: Outcome) -> dict[str, int]:
    """The buckets of a row that aren't zero."""
    assert isinstance(outcome, tuple), outcome
    return {name: n for name, n in zip(COLUMNS, outcome, strict=True) if name.endswith(("_tok", "_us")) and n}


def chat(usage: dict[str, Any], model: str = "gpt-4o") -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion", "created": 1768816800, "model": model, "usage": usage}


def generation(usage: dict[str, int]) -> dict[str, Any]:
    return {"id": "o", "traceId": "t", "type": "GENERATION", "startTime": AT, "model": "m", "usageDetails": usage}


def test_litellm_14849_text_tokens_hold_the_cached_ones() -> None:
    # Prompt 262,960 with 257,955 cached: 5,005 uncached. At $1.25, $0.625 and $10 per million the request costs
    # 0.00625625 + 0.161221875 + 0.01744 = $0.184918125; $0.7642 was billed by adding all text tokens.
    usage = {"total_tokens": 264704, "prompt_tokens": 262960, "completion_tokens": 1744,
             "prompt_tokens_details": {"text_tokens": 262960, "cached_tokens": 257955},
             "completion_tokens_details": {"reasoning_tokens": 0}}  # fmt: skip
    row = {"request_id": "r", "call_type": "acompletion", "prompt_tokens": 262960, "completion_tokens": 1744,
           "startTime": AT, "model": "gemini-2.5-pro", "metadata": {"usage_object": usage}}  # fmt: skip
    found = buckets(outcomes(litellm, row)[0])
    assert found == {"input_tok": 5005, "cache_read_tok": 257955, "output_tok": 1744}
    prices = {"input_tok": Fraction("1.25"), "cache_read_tok": Fraction("0.625"), "output_tok": Fraction(10)}
    assert sum(n * prices[name] for name, n in found.items()) / 10**6 == Fraction("0.184918125")


def test_litellm_18599_reasoning_without_text_tokens() -> None:
    # 977 completion tokens, 768 of them reasoning: the other 209 were not billed at all.
    usage = {"prompt_tokens": 17, "completion_tokens": 977, "total_tokens": 994,
             "completion_tokens_details": {"reasoning_tokens": 768, "text_tokens": None}}  # fmt: skip
    assert buckets(outcomes(openai, chat(usage))[0]) == {"input_tok": 17, "output_tok": 209, "reasoning_tok": 768}


def test_litellm_37407_cached_tokens_span_the_image() -> None:
    # 1,319 text and 1,142 image tokens, 2,432 of the 2,461 cached: 29 uncached. At most 29 can be image, so text,
    # image and cache can't all be billed in full.
    usage = {"prompt_tokens": 2461, "completion_tokens": 303, "total_tokens": 2764,
             "prompt_tokens_details": {"text_tokens": 1319, "image_tokens": 1142, "cached_tokens": 2432}}  # fmt: skip
    found = buckets(outcomes(openai, chat(usage, "grok-4"))[0])
    assert found == {"cache_read_tok": 2432, "input_image_tok": 29, "output_tok": 303}
    assert found["cache_read_tok"] + found["input_image_tok"] == 2461


def test_litellm_11364_prompt_holds_cache_reads_and_writes_of_anthropic() -> None:
    # 98,805 − 66,360 − 32,435 = 10 uncached; 5,120 − 1,710 = 3,410.
    usage = {"total_tokens": 103925, "prompt_tokens": 98805, "completion_tokens": 5120,
             "prompt_tokens_details": {"cached_tokens": 66360, "cache_creation_tokens": 32435},
             "cache_read_input_tokens": 66360, "cache_creation_input_tokens": 32435,
             "completion_tokens_details": {"reasoning_tokens": 1710}}  # fmt: skip
    row = {"request_id": "r", "call_type": "acompletion", "spend": 0.04708, "startTime": AT,
           "model": "claude-opus-4-5", "metadata": {"usage_object": usage}}  # fmt: skip
    assert buckets(outcomes(litellm, row)[0]) == {
        "input_tok": 10, "cache_read_tok": 66360, "cache_write_5m_tok": 32435, "output_tok": 3410,
        "reasoning_tok": 1710,
    }  # fmt: skip


def test_litellm_14874_cached_tokens_of_a_prompt_are_not_billed_twice() -> None:
    # 2,739 tokens with 2,634 cached leave 105; `text_tokens` repeats the whole prompt.
    usage = {"prompt_tokens": 2739, "completion_tokens": 5, "total_tokens": 2744,
             "prompt_tokens_details": {"text_tokens": 2739, "cached_tokens": 2634}}  # fmt: skip
    found = buckets(outcomes(openai, chat(usage, "grok-3"))[0])
    assert found == {"input_tok": 105, "cache_read_tok": 2634, "output_tok": 5}


def test_agenta_5711_a_cached_prompt_is_not_6_times_too_dear() -> None:
    # 25,978 prompt tokens, 24,540 cached. At $0.30 and $0.03 per million: 1,438 × 0.30 + 24,540 × 0.03 = $0.0011676;
    # all at full price gives $0.0077934, 6.67 times as much.
    usage = {"promptTokenCount": 25978, "cachedContentTokenCount": 24540, "totalTokenCount": 25978}
    response = {"usageMetadata": usage,
                "modelVersion": "gemini-2.5-flash", "responseId": "g", "createTime": AT, "candidates": []}  # fmt: skip
    found = buckets(outcomes(gemini, response)[0])
    assert found == {"input_tok": 1438, "cache_read_tok": 24540}
    usd = (found["input_tok"] * Fraction("0.30") + found["cache_read_tok"] * Fraction("0.03")) / 10**6
    assert round(Fraction("0.0077934") / usd, 2) == Fraction("6.67")


def test_langfuse_4590_input_holds_cache_reads() -> None:
    # 62,394 + 214 = 62,608, so the 60,024 cached tokens are among the 62,394.
    usage = {"input": 62394, "output": 214, "total": 62608, "input_cache_read": 60024, "output_reasoning": 0}
    found = buckets(outcomes(langfuse, generation(usage))[0])
    assert found == {"input_tok": 2370, "cache_read_tok": 60024, "output_tok": 214}


def test_langfuse_10592_a_total_that_counts_the_cache_twice() -> None:
    # Input 17,903 holds 17,817 cached tokens, but the total was summed over both: 35,720 + 10. Nothing in the record
    # tells it from disjoint counts; the project's word does, and gives the 86 that were new.
    usage = {"input": 17903, "input_cached_tokens": 17817, "output": 10, "total": 35730}
    told = outcomes(langfuse, generation(usage), reading=Reading(constants={"cached": "inside"}))
    assert buckets(told[0]) == {"input_tok": 86, "cache_read_tok": 17817, "output_tok": 10}
    apart = outcomes(langfuse, generation(usage), reading=Reading(constants={"cached": "beside"}))
    assert buckets(apart[0])["input_tok"] == 17903


def test_langfuse_codex_plugin_22_cache_reads_inside_under_anthropics_name() -> None:
    # 117,231 + 225 = 117,456: 117,231 − 115,584 = 1,647 uncached.
    usage = {"input": 117231, "cache_read_input_tokens": 115584, "output": 225, "total": 117456}
    found = buckets(outcomes(langfuse, generation(usage))[0])
    assert found == {"input_tok": 1647, "cache_read_tok": 115584, "output_tok": 225}


def test_langfuse_2112_a_hit_in_the_applications_own_cache_costs_nothing() -> None:
    record = generation({"input": 500, "output": 200, "total": 700}) | {"metadata": {"cache_hit": True}}
    assert buckets(outcomes(langfuse, record)[0]) == {}
    row = {"request_id": "r", "call_type": "acompletion", "prompt_tokens": 500, "completion_tokens": 200,
           "startTime": AT, "model": "m", "cache_hit": "True"}  # fmt: skip
    assert buckets(outcomes(litellm, row)[0]) == {}


def test_litellm_26919_cache_writes_inside_the_input_sent_to_langfuse() -> None:
    # 5,700 prompt tokens, 5,000 read and 600 written; the reads were taken out of the input, the writes were not:
    # 700 + 5,000 + 50 = 5,750 is the total, so 100 are new. Beside, the total would be 6,350.
    usage = {
        "input": 700,
        "cache_read_input_tokens": 5000,
        "cache_creation_input_tokens": 600,
        "output": 50,
        "total": 5750,
    }
    assert buckets(outcomes(langfuse, generation(usage))[0]) == {
        "input_tok": 100, "cache_read_tok": 5000, "cache_write_5m_tok": 600, "output_tok": 50,
    }  # fmt: skip


def test_dust_20989_input_that_may_or_may_not_hold_the_cache_is_not_guessed() -> None:
    usage = {"input": 9844, "cache_read_input_tokens": 9842, "output": 10}
    (outcome,) = outcomes(langfuse, generation(usage))
    assert isinstance(outcome, Reject) and "cached = " in outcome.fix


def test_dust_28388_hour_writes_do_not_vanish() -> None:
    # All 1,273 written tokens stay an hour: dearer than five minutes, and never nothing.
    usage = {"input_tokens": 2, "cache_creation_input_tokens": 1273, "cache_read_input_tokens": 0, "output_tokens": 113,
             "cache_creation": {"ephemeral_1h_input_tokens": 1273, "ephemeral_5m_input_tokens": 0}}  # fmt: skip
    message = {"id": "msg", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "usage": usage}
    want = {"input_tok": 2, "cache_write_1h_tok": 1273, "output_tok": 113}
    assert buckets(outcomes(anthropic, message | {"timestamp": AT})[0]) == want
    line = {"type": "assistant", "sessionId": "s", "timestamp": AT, "message": message}
    assert buckets(outcomes(claude_code, line)[0]) == want


def test_litellm_9812_written_tokens_stand_beside_the_input() -> None:
    # 3 + 12,304 written + 550 out at $3, $3.75 and $15 per million = $0.054399; billed twice it was $0.091311.
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": 12304,
        "cache_read_input_tokens": 0,
        "output_tokens": 550,
    }
    message = {"id": "m", "type": "message", "role": "assistant", "model": "c", "usage": usage, "timestamp": AT}
    found = buckets(outcomes(anthropic, message)[0])
    assert found == {"input_tok": 3, "cache_write_5m_tok": 12304, "output_tok": 550}
    usd = 3 * Fraction(3) + 12304 * Fraction("3.75") + 550 * Fraction(15)
    assert usd / 10**6 == Fraction("0.054399")


def test_xai_reasoning_stands_beside_the_completion() -> None:
    # 100 + 20 + 300 = 420: leaving the 300 out bills a fraction, subtracting them from 20 gives less than nothing.
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 420,
             "completion_tokens_details": {"reasoning_tokens": 300}}  # fmt: skip
    found = buckets(outcomes(openai, chat(usage, "grok-4"))[0])
    assert found == {"input_tok": 100, "output_tok": 20, "reasoning_tok": 300}


def test_gemini_thoughts_beside_and_inside_the_candidates() -> None:
    # 8 + 9 + 107 = 124: beside. An endpoint that counts them among 116 candidates has the same total, 8 + 116.
    def response(candidates: int) -> dict[str, Any]:
        usage = {"promptTokenCount": 8, "candidatesTokenCount": candidates, "thoughtsTokenCount": 107,
                 "totalTokenCount": 124}  # fmt: skip
        return {"candidates": [], "usageMetadata": usage, "modelVersion": "gemini-2.5-pro", "createTime": AT}

    want = {"input_tok": 8, "output_tok": 9, "reasoning_tok": 107}
    assert buckets(outcomes(gemini, response(9))[0]) == want
    assert buckets(outcomes(gemini, response(116))[0]) == want


def test_agno_9538_a_total_without_the_cache_beside_it() -> None:
    # Anthropic's own counts: 10 new, 1,000 read, 200 written, 5 out, and a total of 15 that forgot the cache.
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.system": "anthropic", "gen_ai.request.model": "claude",
                  "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5, "gen_ai.usage.total_tokens": 15,
                  "gen_ai.usage.cache_read.input_tokens": 1000,
                  "gen_ai.usage.cache_creation.input_tokens": 200}  # fmt: skip
    span = {"traceId": "t", "spanId": "s", "startTimeUnixNano": "1768816800000000000", "attributes": attributes}
    assert buckets(outcomes(otel, span)[0]) == {
        "input_tok": 10, "cache_read_tok": 1000, "cache_write_5m_tok": 200, "output_tok": 5,
    }  # fmt: skip


def test_an_agent_span_that_sums_its_calls_is_not_counted_again() -> None:
    def span(ident: str, operation: str) -> dict[str, Any]:
        attributes = {"gen_ai.operation.name": operation, "gen_ai.provider.name": "openai", "gen_ai.request.model": "m",
                      "gen_ai.usage.input_tokens": 811, "gen_ai.usage.output_tokens": 92}  # fmt: skip
        return {"traceId": "t", "spanId": ident, "startTimeUnixNano": 1768816800000000000, "attributes": attributes}

    parent_and_call = outcomes(otel, span("a", "chat"), span("b", "invoke_agent"))
    assert [type(o) for o in parent_and_call] == [tuple, NotARequest]
    # Alone, its usage must not be lost without a word.
    alone = outcomes(otel, span("b", "invoke_agent"))
    assert [type(o) for o in alone] == [NotARequest, Reject]


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_of_a_span_share_their_id(copies: int) -> None:
    attributes = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m", "gen_ai.usage.input_tokens": 1}
    span = {"traceId": "t", "spanId": "s", "startTimeUnixNano": 1768816800000000000, "attributes": attributes}
    found = outcomes(otel, *[span] * copies)
    assert {row[COLUMNS.index("request_id")] for row in found if isinstance(row, tuple)} == {"otel:t:s"}
    assert len(found) == copies
