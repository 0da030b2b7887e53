"""Problems are grouped, counted exactly and bounded."""

from __future__ import annotations

import pytest

from solvent.money.usage.problems import MAX_EXAMPLES, MAX_GROUPS_PER_KIND, REST, Problem, Problems


def test_groups_count_exactly_and_keep_the_first_examples() -> None:
    problems = Problems()
    for line in range(1, 101):
        problems.add("malformed", "not JSON", "a.jsonl", line)
    problems.add("negative", "`x` is negative", "b.jsonl", 3, "repair it", 7)
    assert problems.document() == [
        {"kind": "malformed", "detail": "not JSON", "n": 100, "fix": "",
         "examples": [f"a.jsonl:{line}" for line in range(1, MAX_EXAMPLES + 1)]},
        {"kind": "negative", "detail": "`x` is negative", "n": 7, "fix": "repair it", "examples": ["b.jsonl:3"]},
    ]  # fmt: skip
    assert problems.lines()[0].startswith("100 × malformed: not JSON (a.jsonl:1, ")
    assert (problems.n(), problems.n("negative"), problems.n("empty")) == (107, 7, 0)


def test_a_hostile_log_cant_grow_the_groups() -> None:
    problems = Problems()
    for i in range(3 * MAX_GROUPS_PER_KIND):
        problems.add("unknown_key", f"key {i}", "a", i)
    problems.add("empty", "no rows", "a")
    assert len(problems.groups) == MAX_GROUPS_PER_KIND + 2
    assert problems.n("unknown_key") == 3 * MAX_GROUPS_PER_KIND
    assert problems.groups["unknown_key", REST].n == 2 * MAX_GROUPS_PER_KIND


def test_merging_parts_adds_counts() -> None:
    one, two = Problems(), Problems()
    for line in range(1, 4):
        one.add("negative", "d", "a", line)
        two.add("negative", "d", "b", line)
    two.add("bad_time", "e", "b", 9, "fix", 2)
    one.merge(two)
    assert one.n("negative") == 6 and one.n("bad_time") == 2
    assert one.groups["negative", "d"].examples == ["a:1", "a:2", "a:3", "b:1", "b:2"]


def test_control_characters_dont_reach_a_terminal() -> None:
    problems = Problems()
    problems.note(Problem("unknown_key", "a\n.jsonl", 1, "\x1b[31m"))
    assert "\x1b" not in problems.lines()[0] and "\n" not in problems.lines()[0]
    assert "\x1b" not in str(Problem("unknown_key", "a", 0, "\x1b[31m"))


def test_an_unheard_of_kind_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        Problems().add("strange", "d", "a")  # type: ignore[arg-type]
