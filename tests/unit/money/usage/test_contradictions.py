"""What looks like a copy or a part and may be neither: told and left out, never silently dropped or priced."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from solvent.errors import LogError
from solvent.money.project import Log, Output
from solvent.money.usage.cells import Grid
from solvent.money.usage.intake import Intake, Reading, take_in

HEADER = "at,id,customer,model,prompt_tok,completion_tok\n"
FIRST = "2026-01-01T00:00:00Z,7,ann,m,100,10\n"
Take = Callable[..., Intake]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    con = duckdb.connect()

    def run(name: str, text: str, log: Log | None = None) -> Intake:
        path = tmp_path / name
        path.write_text(text)
        return take_in(con, [path], Reading(log or Log(), Output(), Grid()), lambda text, share: None)

    return run


def outcome(intake: Intake) -> tuple[int, int, int]:
    assert sum(g.n for g in intake.problems) == intake.rejected
    return intake.accepted, intake.duplicates, intake.rejected


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("2026-01-01T00:00:05Z,7,ann,m,100,20", (1, 1, 0)),
        ("2026-01-02T00:00:00Z,7,,m-2026-01-01,100,20", (1, 1, 0)),
        ("2026-01-02T00:00:00.000001Z,7,ann,m,100,20", (0, 0, 2)),
        ("2026-01-01T00:00:05Z,7,bob,m,100,20", (0, 0, 2)),
        ("2026-01-01T00:00:05Z,7,ann,other,100,20", (0, 0, 2)),
    ],
)
def test_one_id_is_one_request_only_where_customer_model_and_day_agree(
    take: Take, second: str, expected: tuple[int, int, int]
) -> None:
    intake = take("log.csv", HEADER + FIRST + second + "\n")
    assert outcome(intake) == expected
    if expected[2]:
        (group,) = intake.problems
        assert (group.kind, group.detail) == (
            "contradiction",
            "the same request id with another customer, model or day",
        )
        assert [e.rsplit("/", 1)[-1] for e in group.examples] == ["log.csv:2", "log.csv:3"]


def test_ids_that_arent_unique_can_be_set_aside(take: Take) -> None:
    intake = take("log.csv", HEADER + FIRST + FIRST.replace("ann", "bob"), Log(columns={"request_id": ""}))
    assert outcome(intake) == (2, 0, 0)


def test_the_same_response_id_of_another_model_contradicts_in_a_nested_log_too(take: Take) -> None:
    usage = {"usage": {"prompt_tokens": 5, "completion_tokens": 1}, "object": "chat.completion"}
    lines = [json.dumps({"id": "x", "created": 1767225600, "model": m, **usage}) for m in ("gpt-5", "gpt-4o")]
    assert outcome(take("log.jsonl", "\n".join(lines))) == (0, 0, 2)


CLAUDE = "at,model,input_tokens,output_tokens,cached_tokens\n2026-01-01T00:00:00Z,claude-sonnet-4-5,100,10,40\n"


def test_cached_tokens_of_claude_under_a_general_name_are_asked_for(take: Take) -> None:
    intake = take("log.csv", CLAUDE + CLAUDE.splitlines()[1].replace(",40", ",0"))
    assert outcome(intake) == (1, 0, 1)
    (group,) = intake.problems
    assert group.kind == "ambiguous"
    assert 'prompt_tok = "input_tokens"' in group.fix and 'input_tok = "input_tokens"' in group.fix
    assert group.examples[0].endswith("log.csv:2")


@pytest.mark.parametrize("target", ["prompt_tok", "input_tok"])
def test_a_stated_meaning_of_the_input_settles_it(take: Take, target: str) -> None:
    assert outcome(take("log.csv", CLAUDE, Log(columns={target: "input_tokens"}))) == (1, 0, 0)


def test_cached_tokens_of_others_are_inside_as_before(take: Take) -> None:
    assert outcome(take("log.csv", CLAUDE.replace("claude-sonnet-4-5", "gpt-5"))) == (1, 0, 0)


def test_mapped_columns_make_a_flat_log_of_json_that_no_format_knows(take: Take) -> None:
    line = json.dumps({"when": "2026-01-01T00:00:00Z", "llm": {"name": "m", "n_in": 5, "n_out": 1}}) + "\n"
    columns = {"at": "when", "model": "llm.name", "prompt_tok": "llm.n_in", "completion_tok": "llm.n_out"}
    assert outcome(take("log.jsonl", line, Log(columns=columns))) == (1, 0, 0)
    with pytest.raises(LogError, match="unknown format"):
        take("log.jsonl", line, Log(columns={"model": "llm.name"}))
