"""No reader is brought down by what a log holds, and none makes a row that isn't valid or loses a token."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvent.errors import LogError
from solvent.money.usage.readers.outcome import NotARequest, Outcome, Reading, Reject
from solvent.money.usage.recognise import FORMATS, SPENDLOGS_TABLE, recognise
from solvent.money.usage.sources import Malformed, find, records
from solvent.records import BUCKET_NAMES, REQUEST_COLUMNS, SERVICES, bucket_limit

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "usage"
FIRST_BUCKET = len(REQUEST_COLUMNS) - len(BUCKET_NAMES)
N_TEXTS = FIRST_BUCKET - 1

scalars = (
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.integers(0, 5000) | st.floats()
    | st.text(max_size=12) | st.sampled_from(["message", "GENERATION", "2026-01-01T00:00:00Z", "\ud800", "12", "-1"])
)  # fmt: skip
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def golden_records(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (GOLDEN / f"{name}.jsonl").read_text("utf-8").splitlines()]


def mutated(draw: st.DrawFn, value: Any, depth: int = 0) -> Any:
    """The value with a few of its nodes replaced, dropped or renamed."""
    fate = draw(st.integers(0, 24))
    if depth and fate == 0:
        return draw(anything)
    if isinstance(value, dict):
        return {
            draw(st.text(max_size=5)) if draw(st.integers(0, 40)) == 0 else k: mutated(draw, v, depth + 1)
            for k, v in value.items() if draw(st.integers(0, 30))
        }  # fmt: skip
    if isinstance(value, list):
        return [mutated(draw, v, depth + 1) for v in value]
    return value


@st.composite
def hostile(draw: st.DrawFn, name: str) -> list[dict[str, Any]]:
    """Records near those of a format: mutants of golden ones, and objects of anything under their keys."""
    examples = golden_records(name)
    found: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(1, 4))):
        example = draw(st.sampled_from(examples))
        if draw(st.integers(0, 4)):
            found.append(mutated(draw, example))
        else:
            found.append(
                draw(st.dictionaries(st.sampled_from(sorted(example)) | st.text(max_size=5), anything, max_size=6))
            )
    return found


def check(outcome: Outcome) -> None:
    if isinstance(outcome, (Reject, NotARequest)):
        return
    assert isinstance(outcome, tuple) and len(outcome) == len(REQUEST_COLUMNS)
    at, service = outcome[0], outcome[FIRST_BUCKET - 1]
    assert type(at) is int and 1_420_070_400_000_000 <= at < 4_102_444_800_000_000
    assert service is None or service in SERVICES
    for text in outcome[1:N_TEXTS]:
        assert text is None or (type(text) is str and 0 < len(text) <= 700 and text.encode())
    assert outcome[list(REQUEST_COLUMNS).index("model")]
    for name, n in zip(BUCKET_NAMES, outcome[FIRST_BUCKET:], strict=True):
        assert type(n) is int and 0 <= n <= bucket_limit(name)


def never_falls(name: str) -> Callable[[Any], None]:
    def run(batch: list[dict[str, Any]]) -> None:
        reader = FORMATS[name]("file.jsonl", Reading(constants={"at": "2026-01-01T00:00:00Z"}))
        for line, record in enumerate(batch, 1):
            for outcome in reader.feed(record, line):
                check(outcome)
        for outcome in reader.finish():
            check(outcome)
        assert all(type(key) is str and len(key) <= 90 for key in reader.unknown_keys)

    return run


@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {SPENDLOGS_TABLE}))
@given(data=st.data())
def test_no_record_brings_a_reader_down(name: str, data: st.DataObject) -> None:
    never_falls(name)(data.draw(hostile(name)))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FORMATS.keys() - {SPENDLOGS_TABLE}))
@settings(max_examples=3000)
@given(data=st.data())
def test_no_record_brings_a_reader_down_for_long(name: str, data: st.DataObject) -> None:
    never_falls(name)(data.draw(hostile(name)))


@given(st.dictionaries(st.text(max_size=8), anything, max_size=5))
def test_recognising_never_falls(record: dict[str, Any]) -> None:
    from solvent.money.usage.recognise import _format_of

    _format_of(record)


def read_bytes(content: bytes, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"log{suffix}"
        path.write_bytes(content)
        try:
            (file,) = find([path])
        except LogError:
            assert not content
            return
        for line, record in records(file):
            assert line >= 1 and (isinstance(record, Malformed) or type(record) is dict)
        with contextlib.suppress(LogError):
            recognise(file)


def damaged(draw: st.DrawFn) -> bytes:
    """The bytes of a golden log, packed or not, cut, spliced or with bytes changed."""
    import gzip

    import zstandard

    content = (GOLDEN / f"{draw(st.sampled_from(sorted(FORMATS.keys() - {SPENDLOGS_TABLE})))}.jsonl").read_bytes()
    packers: list[Callable[[bytes], bytes]] = [bytes, gzip.compress, zstandard.compress]
    content = draw(st.sampled_from(packers))(content)
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(content)))
        content = content[:at] + draw(st.binary(max_size=6)) + content[at + draw(st.integers(0, 6)) :]
    return content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content


@given(st.binary(max_size=200) | st.text('[]{}",:\\ \n01ae', max_size=80).map(str.encode) | st.composite(damaged)())
def test_no_bytes_bring_the_sources_down(content: bytes) -> None:
    read_bytes(content, ".jsonl")


@pytest.mark.slow
@settings(max_examples=5000)
@given(st.binary(max_size=400) | st.text('[]{}",:\\ \n01ae', max_size=300).map(str.encode) | st.composite(damaged)())
def test_no_bytes_bring_the_sources_down_for_long(content: bytes) -> None:
    read_bytes(content, ".jsonl")


counts = st.integers(0, 10_000)


@given(counts, counts, counts, counts, counts, counts)
def test_openai_buckets_add_up_to_prompt_and_completion(
    text: int, cached: int, audio: int, image: int, visible: int, reasoning: int
) -> None:
    prompt, completion = text + cached + audio + image, visible + reasoning
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
             "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": audio, "image_tokens": image},
             "completion_tokens_details": {"reasoning_tokens": reasoning}}  # fmt: skip
    record = {"object": "chat.completion", "created": 1768816800, "model": "m", "usage": usage}
    (row,) = FORMATS["openai"]("f", Reading()).feed(record, 1)
    assert isinstance(row, tuple)
    found = dict(zip(BUCKET_NAMES, row[FIRST_BUCKET:], strict=True))
    assert sum(found.values()) == prompt + completion
    assert found["cache_read_tok"] == cached and found["reasoning_tok"] == reasoning
    assert found["input_audio_tok"] == audio and found["input_image_tok"] == image


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=8), st.data())
def test_codex_differences_add_up_to_the_last_counter(calls: list[tuple[int, int]], data: st.DataObject) -> None:
    lines: list[dict[str, Any]] = [{"type": "turn_context", "payload": {"model": "m"}}]
    total_in = total_out = 0
    for given_tok, made_tok in calls:
        total_in, total_out = total_in + given_tok, total_out + made_tok
        info = {"total_token_usage": {"input_tokens": total_in, "output_tokens": total_out}}
        event = {
            "timestamp": "2026-01-01T00:00:00Z",
            "type": "event_msg",
            "payload": {"type": "token_count", "info": info},
        }
        lines += [event] * data.draw(st.integers(1, 3))
    reader = FORMATS["codex"]("f", Reading())
    rows = [outcome for line in lines for outcome in reader.feed(line, 1) if isinstance(outcome, tuple)]
    sums = [sum(column) for column in zip(*(row[FIRST_BUCKET:] for row in rows), strict=True)] or [0] * len(
        BUCKET_NAMES
    )
    found = dict(zip(BUCKET_NAMES, sums, strict=True))
    assert (found["input_tok"], found["output_tok"]) == (total_in, total_out)
