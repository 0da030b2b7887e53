"""What each reader does at the edges: unknown keys, contradictions, times, tiers, names, broken fields."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from solvent.money.usage.readers import anthropic, claude_code, codex, gemini, langfuse, litellm, openai, otel
from solvent.money.usage.readers.outcome import NotARequest, Outcome, Reading, Reject
from solvent.money.usage.readers.times import BadTime, at_us
from solvent.records import MAX_COUNT, REQUEST_COLUMNS

COLUMNS = tuple(REQUEST_COLUMNS)
FIVE = {"completion_tokens": 5}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CHAT = {"id": "c", "object": "chat.completion", "created": 1768816800, "model": "gpt-4o", "usage": USAGE}
TWO = {"input_tokens": 1, "output_tokens": 2}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "model": "claude-x", "timestamp": "2026-01-19T10:00:00Z",
           "usage": TWO}  # fmt: skip
GEMINI: dict[str, Any] = {"candidates": [], "modelVersion": "gemini-2.5-flash", "createTime": "2026-01-19T10:00:00Z",
          "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}}  # fmt: skip


def feed(module: Any, *records: dict[str, Any], reading: Reading | None = None) -> tuple[list[Outcome], list[str]]:
    reader = module.Reader("log.jsonl", reading or Reading())
    found = [outcome for record in records for outcome in reader.feed(record, 1)]
    return [*found, *reader.finish()], reader.unknown_keys


def only(module: Any, record: dict[str, Any], reading: Reading | None = None) -> Outcome:
    (outcome,), _ = feed(module, record, reading=reading)
    return outcome


def row(module: Any, record: dict[str, Any], reading: Reading | None = None) -> dict[str, Any]:
    outcome = only(module, record, reading)
    assert isinstance(outcome, tuple), outcome
    return dict(zip(COLUMNS, outcome, strict=True))


def kind(module: Any, record: dict[str, Any], reading: Reading | None = None) -> str:
    outcome = only(module, record, reading)
    assert isinstance(outcome, Reject), outcome
    return outcome.kind


@pytest.mark.parametrize(
    ("usage", "why"),
    [
        ({**FIVE, "prompt_tokens": 10, "total_tokens": 16}, "contradiction"),
        ({**FIVE, "prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 11}}, "contradiction"),
        ({**FIVE, "prompt_tokens": 10, "completion_tokens_details": {"reasoning_tokens": 6}}, "contradiction"),
        ({**FIVE, "prompt_tokens": 10, "prompt_tokens_details": {"audio_tokens": 11}}, "contradiction"),
        ({**FIVE, "prompt_tokens": 10, "input_tokens": 11}, "contradiction"),
        ({**FIVE, "prompt_tokens": 10, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 5}, "contradiction"),
        ({"prompt_tokens": -1, "completion_tokens": 5}, "negative"),
        ({"prompt_tokens": 10, "completion_tokens": -5}, "negative"),
        ({"prompt_tokens": MAX_COUNT + 1, "completion_tokens": 0}, "absurd"),
        ({"prompt_tokens": 10**40, "completion_tokens": 0}, "absurd"),
        ({"prompt_tokens": 1.5, "completion_tokens": 0}, "malformed"),
        ({"prompt_tokens": "many", "completion_tokens": 0}, "malformed"),
        ({"prompt_tokens": True, "completion_tokens": 0}, "malformed"),
        ({"prompt_tokens": float("nan"), "completion_tokens": 0}, "malformed"),
        ({"prompt_tokens": [1], "completion_tokens": 0}, "malformed"),
        ({"completion_tokens": 5}, "no_usage"),
        ({"type": "duration", "seconds": -1}, "negative"),
        ({"type": "duration", "seconds": "long"}, "malformed"),
        ({"type": "duration", "seconds": 8 * 86_400}, "absurd"),
    ],
)  # fmt: skip
def test_an_openai_usage_that_cant_be_is_rejected(usage: dict[str, Any], why: str) -> None:
    assert kind(openai, CHAT | {"usage": usage}) == why


def test_the_largest_count_is_accepted() -> None:
    assert row(openai, CHAT | {"usage": {"prompt_tokens": MAX_COUNT, "completion_tokens": 0}})["input_tok"] == MAX_COUNT


def test_whole_floats_are_counts() -> None:
    assert row(openai, CHAT | {"usage": {"prompt_tokens": 10.0, "completion_tokens": 5}})["input_tok"] == 10


def used(module: Any, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """A record of the vendor whose usage holds these keys too."""
    if module is gemini:
        return module, GEMINI | {"usageMetadata": {**GEMINI["usageMetadata"], **changes}}
    return module, (
        CHAT | {"usage": {**USAGE, **changes}} if module is openai else MESSAGE | {"usage": {**TWO, **changes}}
    )


UNKNOWN: list[tuple[tuple[Any, dict[str, Any]], str]] = [
    (used(openai, num_sources_used=3), "usage.num_sources_used"),
    (used(openai, prompt_tokens_details={"smell_tokens": 2}), "usage.prompt_tokens_details.smell_tokens"),
    (used(openai, completion_tokens_details={"x": 1}), "usage.completion_tokens_details.x"),
    ((openai, CHAT | {"service_tier": "scale"}), "service_tier"),
    ((openai, CHAT | {"output": [{"type": "file_search_call"}]}), "output.file_search_call"),
    (used(anthropic, speed="fast"), "usage.speed"),
    (used(anthropic, inference_geo="us"), "usage.inference_geo"),
    (used(anthropic, server_tool_use={"code_runs": 1}), "usage.server_tool_use.code_runs"),
    (used(anthropic, cache_creation={"ephemeral_1d_tokens": 5}), "usage.cache_creation.ephemeral_1d_tokens"),
    (used(gemini, dreamTokenCount=1), "usageMetadata.dreamTokenCount"),
    (used(gemini, trafficType="PROVISIONED_THROUGHPUT"), "usageMetadata.trafficType"),
]


@pytest.mark.parametrize(("used_by", "key"), UNKNOWN, ids=[case[1] for case in UNKNOWN])
def test_an_unknown_key_that_carries_something_is_reported(used_by: tuple[Any, dict[str, Any]], key: str) -> None:
    (outcome,), unknown = feed(*used_by)
    assert isinstance(outcome, tuple) and unknown == [key]


@pytest.mark.parametrize("nothing", [0, None, "", {}, [], {"x": 0}, [None], False])
def test_an_unknown_key_that_carries_nothing_isnt(nothing: Any) -> None:
    assert feed(openai, CHAT | {"usage": USAGE | {"new_tokens": nothing}})[1] == []


def test_modalities_by_the_vendors_own_split_of_the_cache() -> None:
    details = {"cached_tokens": 60, "audio_tokens": 50, "image_tokens": 20, "text_tokens": 30,
               "cached_tokens_details": {"audio_tokens": 40, "image_tokens": 5, "text_tokens": 15}}  # fmt: skip
    found = row(
        openai, CHAT | {"usage": {"prompt_tokens": 100, "completion_tokens": 0, "prompt_tokens_details": details}}
    )
    # 100 − 60 = 40 uncached: 10 audio, 15 image, 15 text; of the 60 cached 40 are audio.
    assert (found["input_tok"], found["input_audio_tok"], found["input_image_tok"]) == (15, 10, 15)
    assert (found["cache_read_tok"], found["cache_read_audio_tok"]) == (20, 40)


def test_openai_cache_writes_are_inside_the_prompt() -> None:
    usage = {
        "prompt_tokens": 100,
        "completion_tokens": 0,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
    }
    found = row(openai, CHAT | {"usage": usage})
    assert (found["input_tok"], found["cache_read_tok"], found["cache_write_5m_tok"]) == (10, 60, 30)


def test_deepseek_names_are_the_same_count() -> None:
    usage = USAGE | {
        "prompt_cache_hit_tokens": 4,
        "prompt_cache_miss_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    found = row(openai, CHAT | {"usage": usage, "model": "deepseek-chat"})
    assert (found["input_tok"], found["cache_read_tok"], found["provider"]) == (6, 4, None)


def test_dall_e_counts_images() -> None:
    record = {"created": 1768816800, "data": [{"url": "u"}, {"url": "v"}], "model": "dall-e-3"}
    assert row(openai, record)["output_images"] == 2


def test_providers_of_openai_lookalikes() -> None:
    assert row(openai, CHAT)["provider"] == "openai"
    assert row(openai, CHAT | {"provider": "Azure"})["provider"] == "azure"
    assert row(openai, CHAT | {"id": "gen-1", "provider": "Anthropic"})["provider"] == "openrouter"
    assert row(openai, CHAT | {"model": "llama-3"})["provider"] is None


def test_prose_under_user_is_not_a_customer() -> None:
    assert row(openai, {"user": "Tell me a secret", "response": CHAT})["customer"] is None
    assert row(openai, {"user": "u-1", "response": CHAT})["customer"] == "u-1"
    assert row(openai, {"metadata": {"customer": "Acme Corp"}, "response": CHAT})["customer"] == "Acme Corp"


def test_anthropic_compaction_runs_are_added() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "iterations": [
        {"type": "compaction", "input_tokens": 1000, "output_tokens": 50, "cache_read_input_tokens": 7},
        {"type": "message", "input_tokens": 10, "output_tokens": 5}]}  # fmt: skip
    found = row(anthropic, MESSAGE | {"usage": usage})
    assert (found["input_tok"], found["output_tok"], found["cache_read_tok"]) == (1010, 55, 7)


@pytest.mark.parametrize(
    ("usage", "want"),
    [
        ({"cache_creation_input_tokens": 5}, (5, 0)),
        ({"cache_creation_input_tokens": 5, "cache_creation": {}}, (5, 0)),
        ({"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": 0}}, (5, 0)),
        ({"cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3}}, (2, 3)),
        ({"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 5}}, (0, 5)),
        ({"cache_creation_input_tokens": None, "cache_creation": None}, (0, 0)),
    ],
)  # fmt: skip
def test_anthropic_cache_writes_by_lifetime(usage: dict[str, Any], want: tuple[int, int]) -> None:
    found = row(anthropic, MESSAGE | {"usage": {"input_tokens": 1, "output_tokens": 1, **usage}})
    assert (found["cache_write_5m_tok"], found["cache_write_1h_tok"]) == want


def test_anthropic_contradictions() -> None:
    split = {"cache_creation_input_tokens": 5, "cache_creation": {"ephemeral_1h_input_tokens": 4}}
    assert kind(anthropic, MESSAGE | {"usage": {"input_tokens": 1, "output_tokens": 1, **split}}) == "contradiction"
    thinking = {"input_tokens": 1, "output_tokens": 1, "output_tokens_details": {"thinking_tokens": 2}}
    assert kind(anthropic, MESSAGE | {"usage": thinking}) == "contradiction"


def test_an_open_stream_is_counted_once_at_the_end() -> None:
    start = {"type": "message_start", "timestamp": 1768816800, "message": MESSAGE}
    delta = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}}
    found, _ = feed(anthropic, start, delta, start)
    assert [outcome[COLUMNS.index("output_tok")] for outcome in found if isinstance(outcome, tuple)] == [9, 2]
    assert MESSAGE["usage"] == {"input_tokens": 1, "output_tokens": 2}
    (lost,), _ = feed(anthropic, delta)
    assert isinstance(lost, Reject) and lost.kind == "no_usage"


def test_bedrock_and_vertex_ids_name_the_provider() -> None:
    assert row(anthropic, MESSAGE | {"id": "msg_bdrk_1"})["provider"] == "aws"
    assert row(anthropic, MESSAGE | {"id": "msg_vrtx_1"})["provider"] == "google"


def test_gemini_contradictions() -> None:
    for change in ({"cachedContentTokenCount": 11}, {"totalTokenCount": 14}, {"thoughtsTokenCount": 6}):
        assert kind(gemini, GEMINI | {"usageMetadata": GEMINI["usageMetadata"] | change}) == "contradiction"


def test_gemini_3_searches_are_billed_by_the_query() -> None:
    candidates = [{"groundingMetadata": {"webSearchQueries": ["a", "b"]}}]
    assert row(gemini, GEMINI | {"candidates": candidates, "modelVersion": "gemini-3-pro"})["web_searches"] == 2
    assert row(gemini, GEMINI | {"candidates": candidates})["web_searches"] == 1


def spendlog(**changes: Any) -> dict[str, Any]:
    return {"request_id": "r", "call_type": "acompletion", "prompt_tokens": 10, "completion_tokens": 5,
            "total_tokens": 15, "startTime": "2026-01-19T10:00:00Z", "model": "gpt-4o", **changes}  # fmt: skip


def test_litellm_rows_of_a_csv_are_text() -> None:
    reader = litellm.TableReader("", Reading(zone=ZoneInfo("UTC")))
    text = {k: str(v) for k, v in spendlog(startTime="2026-01-19 10:00:00.5").items()}
    usage = (
        '{"usage_object": {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}}'
    )
    (outcome,) = reader.feed({**text, "metadata": usage, "request_tags": '["a", "b"]', "end_user": ""}, 1)
    assert isinstance(outcome, tuple)
    found = dict(zip(COLUMNS, outcome, strict=True))
    assert (found["input_tok"], found["cache_read_tok"], found["feature"], found["customer"]) == (6, 4, "a", None)
    assert found["at"] == 1768816800_500000
    (bad,) = reader.feed({**text, "metadata": "{"}, 1)
    assert isinstance(bad, Reject) and bad.kind == "malformed"


def test_litellm_old_rows_without_the_cache_in_the_prompt() -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 108, "cache_read_input_tokens": 60,
             "cache_creation_input_tokens": 40}  # fmt: skip
    found = row(litellm, spendlog(prompt_tokens=3, total_tokens=108, metadata={"usage_object": usage}))
    assert (found["input_tok"], found["cache_read_tok"], found["cache_write_5m_tok"]) == (3, 60, 40)


def test_litellm_contradictions_and_failures() -> None:
    usage = {"usage_object": {"prompt_tokens": 11, "completion_tokens": 5}}
    assert kind(litellm, spendlog(metadata=usage)) == "contradiction"
    failed = spendlog(status="failure", prompt_tokens=0, completion_tokens=0, total_tokens=0)
    assert isinstance(only(litellm, failed), NotARequest)
    # A call that failed after the model had answered is on the vendor's bill.
    assert row(litellm, spendlog(status="failure"))["output_tok"] == 5
    assert row(litellm, spendlog(model="openai/gpt-4o", custom_llm_provider="openai"))["model"] == "gpt-4o"


def test_claude_code_knows_its_lines() -> None:
    line = {"type": "assistant", "sessionId": "s", "uuid": "u", "requestId": "q", "timestamp": "2026-01-19T10:00:00Z",
            "cwd": "/home/a/shop", "message": MESSAGE}  # fmt: skip
    found = row(claude_code, line)
    assert (found["request_id"], found["customer"], found["feature"]) == ("claude_code:m:q", "you", "shop")
    synthetic = line | {"message": MESSAGE | {"model": "<synthetic>"}}
    assert isinstance(only(claude_code, synthetic), NotARequest)
    assert kind(claude_code, line | {"message": {"model": "claude-x"}}) == "no_usage"
    assert kind(claude_code, line | {"timestamp": "2026-01-19T10:00:00"}) == "missing_zone"
    stated = row(claude_code, line, Reading(constants={"customer": "team"}))
    assert stated["customer"] == "team"


def token_count(total: int | None, last: int | None, at: str = "2026-09-07T00:00:00Z") -> dict[str, Any]:
    def usage(n: int | None) -> Any:
        return None if n is None else {"input_tokens": n, "cached_input_tokens": 0, "output_tokens": n // 10}

    info = {"total_token_usage": usage(total), "last_token_usage": usage(last)}
    return {"timestamp": at, "type": "event_msg", "payload": {"type": "token_count", "info": info}}


MODEL = {"type": "turn_context", "payload": {"model": "gpt-5-codex"}}


@pytest.mark.parametrize(
    ("events", "want"),
    [
        ([(100, 100), (250, 150)], [100, 150]),
        ([(100, 100), (100, 100), (100, 100)], [100]),
        # An event in between was lost: the counter still knows.
        ([(100, 100), (450, 150)], [100, 350]),
        # A resumed session goes on from its earlier total, or starts again.
        ([(1000, 100)], [100]),
        ([(1000, 1000), (300, 300)], [1000, 300]),
        ([(100, 100), (250, 250)], [100, 250]),
        ([(None, 10), (None, 10)], [10, 10]),
        ([(100, None), (250, None)], [100, 150]),
        ([(None, None), (0, 0)], []),
    ],
)
def test_codex_counters(events: list[tuple[int | None, int | None]], want: list[int]) -> None:
    found, _ = feed(codex, MODEL, *(token_count(*event) for event in events))
    assert [outcome[COLUMNS.index("input_tok")] for outcome in found if isinstance(outcome, tuple)] == want


def test_codex_copies_of_a_session_share_ids_and_forks_dont() -> None:
    def ids(*sessions: str) -> list[Any]:
        metas = [{"type": "session_meta", "payload": {"id": session}} for session in sessions]
        found, _ = feed(codex, *metas, MODEL, token_count(100, 100), token_count(250, 150))
        return [outcome[COLUMNS.index("request_id")] for outcome in found if isinstance(outcome, tuple)]

    assert ids("a") == ids("a") and len(set(ids("a"))) == 2
    assert not set(ids("a")) & set(ids("b"))
    # A fork's file opens with its own session and goes on with its parent's lines.
    assert ids("fork", "a") == ids("a")


def test_codex_old_sessions_name_no_model() -> None:
    (outcome,), _ = feed(codex, token_count(100, 100))
    assert isinstance(outcome, Reject) and outcome.kind == "no_model" and "constants" in outcome.fix
    (stated,), _ = feed(codex, token_count(100, 100), reading=Reading(constants={"model": "gpt-5"}))
    assert isinstance(stated, tuple)
    (printed,), _ = feed(codex, {"type": "turn.completed", "usage": {"input_tokens": 1}})
    assert isinstance(printed, Reject)


def test_langfuse_units_and_traces() -> None:
    record = {"id": "o", "traceId": "t", "type": "generation", "startTime": "2026-01-19T10:00:00Z", "model": "tts"}
    assert row(langfuse, record | {"usage": {"input": 12, "unit": "CHARACTERS"}})["input_chars"] == 12
    assert row(langfuse, record | {"usage": {"output": 2, "unit": "IMAGES"}})["output_images"] == 2
    assert kind(langfuse, record | {"usage": {"output": 2, "unit": "REQUESTS"}}) == "no_usage"
    assert isinstance(only(langfuse, record | {"level": "ERROR"}), NotARequest)
    assert row(langfuse, record | {"usageDetails": '{"input": 3, "output": 1, "total": 4}'})["input_tok"] == 3
    assert isinstance(only(langfuse, {"id": "t", "observations": []}), NotARequest)


def span(**attributes: Any) -> dict[str, Any]:
    named = {key.replace("__", "."): value for key, value in attributes.items()}
    base = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    return {"traceId": "t", "spanId": "s", "startTimeUnixNano": "1768816800000000000", "attributes": base | named}


U = "gen_ai__usage__"


def test_otel_stated_inclusion_wins() -> None:
    record = span(**{f"{U}input_tokens": 100, f"{U}output_tokens": 5, f"{U}cache_read__input_tokens": 40})
    assert row(otel, record)["input_tok"] == 60
    assert row(otel, record, Reading(constants={"cached": "beside"}))["input_tok"] == 100
    over = span(**{f"{U}input_tokens": 10, f"{U}output_tokens": 5, f"{U}cache_read__input_tokens": 40})
    assert kind(otel, over) == "contradiction"
    assert row(otel, over, Reading(constants={"cached": "beside"}))["cache_read_tok"] == 40


def test_otel_names_that_disagree_and_keys_nobody_knows() -> None:
    assert kind(otel, span(**{f"{U}input_tokens": 1, f"{U}prompt_tokens": 2})) == "contradiction"
    (outcome,), unknown = feed(otel, span(**{f"{U}input_tokens": 1, f"{U}taste_tokens": 2}))
    assert isinstance(outcome, tuple) and unknown == ["gen_ai.usage.taste_tokens"]


def test_otel_columns_name_attributes() -> None:
    record = span(**{f"{U}input_tokens": 1, "shop__tenant": "acme"})
    assert row(otel, record, Reading(columns={"customer": "shop.tenant"}))["customer"] == "acme"


def test_openinference_names_are_read() -> None:
    record = {"context": {"trace_id": "t", "span_id": "s"}, "start_time": "2026-01-19T10:00:00Z", "attributes": {
        "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o", "llm.token_count.prompt": 10,
        "llm.token_count.completion": 5, "llm.token_count.total": 15,
        "llm.token_count.prompt_details.cache_read": 4}}  # fmt: skip
    assert otel.recognises(record)
    assert (row(otel, record)["input_tok"], row(otel, record)["cache_read_tok"]) == (6, 4)


def test_columns_and_constants_of_the_project() -> None:
    record = {"who": {"org": 42}, "response": CHAT}
    reading = Reading(
        columns={"customer": "who.org", "service": "tier"}, constants={"feature": "chat", "model": "never"}
    )
    found = row(openai, record | {"tier": "batch"}, reading)
    assert (found["customer"], found["service"], found["feature"], found["model"]) == ("42", "batch", "chat", "gpt-4o")


def test_a_message_without_a_time_takes_the_stated_one() -> None:
    timeless = {k: v for k, v in MESSAGE.items() if k != "timestamp"}
    assert kind(anthropic, timeless) == "bad_time"
    stated = Reading(default_at=datetime(2026, 1, 19, 10, tzinfo=UTC))
    assert row(anthropic, timeless, stated)["at"] == 1768816800_000000


def test_names_are_bounded_and_valid() -> None:
    assert kind(openai, {"customer": "x", "response": CHAT | {"model": "m" * 600}}) == "malformed"
    assert kind(openai, CHAT | {"model": "\ud800"}) == "malformed"
    assert kind(openai, CHAT | {"model": ["gpt"]}) == "malformed"
    assert kind(openai, CHAT | {"model": None}) == "no_model"


NOON = 1768824000_000000  # 2026-01-19T12:00:00Z


@pytest.mark.parametrize(
    "value",
    ["2026-01-19T12:00:00Z", "2026-01-19 12:00:00+00:00", "2026-01-19T13:00:00+01:00", "2026-01-19 12:00:00 UTC",
     "2026-01-19T12:00:00.000000000Z", "2026-01-19 12:00:00 +0000", 1768824000, 1768824000.0, 1768824000000,
     1768824000000000, 1768824000000000000, "1768824000", "1768824000000000000"],
)  # fmt: skip
def test_times_with_a_zone(value: Any) -> None:
    assert at_us(value, None) == NOON


def test_times_without_a_zone_take_the_stated_one_or_none() -> None:
    assert at_us("2026-01-19 13:00:00", ZoneInfo("Europe/Berlin")) == NOON
    # In summer Berlin is two hours ahead: the zone's own rule counts, not a fixed offset.
    assert at_us("2026-07-19 14:00:00", ZoneInfo("Europe/Berlin")) == at_us("2026-07-19T12:00:00Z", None)
    with pytest.raises(BadTime) as error:
        at_us("2026-01-19 13:00:00", None)
    assert error.value.kind == "missing_zone"


@pytest.mark.parametrize("value", ["yesterday", "", "9" * 100, -1, 1e30, float("nan"), float("inf"), True, [], {},
                                   "9999-12-31T23:59:59-14:00x"])  # fmt: skip
def test_times_that_cant_be_read(value: Any) -> None:
    with pytest.raises(BadTime):
        at_us(value, None)


@pytest.mark.parametrize("created", [0, 1_400_000_000, 4_102_444_800])
def test_times_before_2015_and_after_2100_are_rejected(created: int) -> None:
    assert kind(openai, CHAT | {"created": created}) == "bad_time"
