"""From a file's tables to the outcome: who is named, who is only listed, readings, units."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from solvent.errors import ClaimsError
from solvent.money.claims.check import Result, check
from solvent.money.claims.contract import Effort
from solvent.money.claims.document import document
from solvent.money.claims.file import parse


def claim(value: Any, **more: Any) -> dict[str, Any]:
    return {"value": value, "source": "somebody", **more}


def result(claims: dict[str, Any], *says: str | dict[str, Any]) -> Result:
    relations = [{"says": s} if isinstance(s, str) else s for s in says]
    return check(parse({"schema": "solvent.claims/1", "claims": claims, "relations": relations}, "a.toml"))


def changed(found: Result) -> list[tuple[str, ...]]:
    return [candidate.correction.claims() for candidate in found.candidates]


CLIP = {
    "usd_per_clip": claim(130),
    "clips": claim(11_300_000),
    "usd": claim(15_000_000),
}


def test_one_relation_alone_names_nobody() -> None:
    found = result(CLIP, "clips * usd_per_clip = usd")
    assert found.state == "inconsistent" and found.named is None
    assert set(changed(found)) == {("usd_per_clip",), ("clips",), ("usd",)}


def test_candidates_come_by_the_size_of_their_change() -> None:
    # Each has to change about a hundredfold; whose own range is widest has to change least.
    found = result({**CLIP, "usd": claim(15_000_000, tolerance={"percent": 50})}, "clips * usd_per_clip = usd")
    sizes = [candidate.correction.size for candidate in found.candidates]
    assert sizes == sorted(sizes, key=lambda size: size or 0) and changed(found)[-1] == ("usd",)


def test_a_second_relation_through_each_other_claim_names_the_odd_one() -> None:
    more = {"users": claim(4_500_000), "each": claim("2.5"), "days": claim(180), "lifetime": claim("2.7e9")}
    found = result(CLIP | more, "clips * usd_per_clip = usd", "users * each = clips", "usd * days = lifetime")
    assert found.named is not None and found.named.correction.claims() == ("usd_per_clip",)
    [change] = found.named.correction.changes
    assert change.slip == -2 and change.low <= Decimal("1.3") <= change.high


def test_a_definition_is_never_corrected() -> None:
    claims = {"km": claim(5), "m": claim(500), "m_per_km": {"value": 1000, "kind": "definition"}}
    assert set(changed(result(claims, "km * m_per_km = m"))) == {("km",), ("m",)}
    claims["m"] |= {"kind": "definition"}
    found = result(claims, "km * m_per_km = m")
    assert found.named is not None and found.named.correction.claims() == ("km",)


def test_definitions_that_contradict_leave_no_correction() -> None:
    found = result({"a": {"value": 1, "kind": "definition"}, "b": claim(3)}, "a = 2", "b = 3")
    assert found.state == "inconsistent" and found.candidates == () and found.complete


def test_two_errors_take_a_pair() -> None:
    claims = {"a": claim("10.0"), "b": claim("20.0"), "c": claim("1.0"), "d": claim("2.0"), "e": claim("9.0")}
    found = result(claims, "a = c", "b = d", "e = 9")
    assert {frozenset(names) for names in changed(found)} == {
        frozenset(pair) for pair in (("a", "b"), ("a", "d"), ("b", "c"), ("c", "d"))
    }
    assert found.named is None


def test_a_pair_is_named_where_it_is_the_only_one() -> None:
    claims = {name: claim(value) for name, value in {"a": "10.0", "b": "20.0", "c": "1.0", "d": "2.0"}.items()}
    found = result(claims, "a = 1", "b = 2", "c = 1", "d = 2", "a * b = 2")
    assert found.named is not None and found.named.correction.claims() == ("a", "b")


def test_more_than_three_errors_are_not_guessed_at() -> None:
    claims = {name: claim("10.0") for name in "abcd"}
    found = result(claims, *(f"{name} = 1" for name in "abcd"))
    assert found.candidates == () and found.named is None
    assert result({**claims, "d": claim("1.0")}, *(f"{name} = 1" for name in "abcd")).named is not None


@pytest.mark.parametrize("says", ["a = b", "b >= a", "b = a * 1", "a ≈ b"])
def test_the_smallest_excess_over_what_is_stated_is_found(says: str) -> None:
    """a allows up to 1.05; b begins there, or a hair above it."""
    for b, state in (("1.05", "consistent"), ("1.0500000001", "inconsistent")):
        claims = {"a": claim("1.0"), "b": claim([b, "2"])}
        relation: dict[str, Any] = {"says": says.replace(">=", "<=")}
        if "≈" in says:
            relation["within"] = "0%"
        assert result(claims, relation).state == state


@pytest.mark.parametrize(
    ("tolerance", "edge"),
    [({"digits": 2}, "135"), ({"plus_minus": "7"}, "137"), ({"percent": 10}, "143"), ("exact", "130"), (None, "135")],
)
def test_every_tolerance_has_its_edge(tolerance: Any, edge: str) -> None:
    for excess, state in (("0", "consistent"), ("1e-9", "inconsistent")):
        other = claim(str(Decimal(edge) + Decimal(excess)), tolerance="exact")
        claims = {"a": claim(130, **({"tolerance": tolerance} if tolerance else {})), "b": other}
        assert result(claims, "a = b").state == state


def test_units_that_differ_are_an_error_found_whatever_the_numbers() -> None:
    claims = {"day": claim(30, unit="clips/day"), "month": claim(30, unit="clips/month"), "x": claim(1)}
    found = result(claims, "day = month", "x = 1")
    assert found.state == "inconsistent" and found.candidates == () and found.consistent() is False
    rows = document(found)["relations"]
    assert [row["status"] for row in rows] == ["units", "holds"]
    assert rows[0]["unit_fault"] == "clip/day on the left, clip/month on the right"


VARIANTS = {
    "bits": {
        "source": "s",
        "tolerance": "exact",
        "variants": [{"reads": "of 16", "value": 16}, {"reads": "of 32", "value": 32}],
    },
    "kept": {
        "source": "s",
        "tolerance": "exact",
        "variants": [{"reads": "3 bits", "value": 3}, {"reads": "4 bits", "value": 4}],
    },
    "times": claim(8, headline=True),
}


def test_readings_multiply_and_tell_which_hold() -> None:
    found = result(VARIANTS, "bits / kept = times")
    assert found.state == "depends" and found.consistent() is True and len(found.readings) == 4
    holding = [dict(r.reading.choice) for r in found.readings if r.state == "holds"]
    assert holding == [{"bits": "of 32", "kept": "4 bits"}]
    rows = {(v["claim"], v["reads"]): v for v in document(found)["readings"]["by_variant"]}
    assert rows["bits", "of 16"]["n_holding"] == 0
    assert rows["bits", "of 16"]["headline"] == {"low": "4", "high": "5.333333333333333333"}


def test_claims_in_step_share_one_choice() -> None:
    step = VARIANTS | {
        "kept": {
            "source": "s",
            "varies_with": "bits",
            "variants": [{"reads": "of 16", "value": 2}, {"reads": "of 32", "value": 4}],
        }
    }
    found = result(step, "bits / kept = times")
    assert [dict(r.reading.choice) for r in found.readings] == [{"bits": "of 16"}, {"bits": "of 32"}]
    assert found.state == "consistent"


def test_a_relation_can_belong_to_a_reading_and_idle_choices_dont_multiply() -> None:
    claims = VARIANTS | {"what": {"kind": "assumed", "variants": [{"reads": "store"}, {"reads": "clock"}]}}
    found = result(
        claims,
        {"says": "bits / kept = times", "when": {"what": "store"}},
        {"says": "times = 2", "when": {"what": "clock"}},
    )
    assert len(found.readings) == 5
    [clock] = [r for r in found.readings if dict(r.reading.choice) == {"what": "clock"}]
    assert clock.state == "fails" and len(clock.reading.relations) == 1


def test_where_no_reading_holds_the_correction_names_its_reading() -> None:
    found = result(VARIANTS | {"times": claim(100)}, "bits / kept = times", "times = 100", "times >= 99")
    assert found.state == "inconsistent"
    assert set(changed(found)) == {("bits",), ("kept",)}
    for candidate in found.candidates:
        assert candidate.n_readings == 4 and set(candidate.reading.choice) & {("bits", "of 32"), ("kept", "3 bits")}


def test_a_search_cut_short_is_undecided_not_consistent() -> None:
    file = parse({"schema": "solvent.claims/1", "claims": CLIP, "relations": [{"says": "clips = usd / 2"}]}, "a.toml")
    found = check(file, Effort(0))
    assert found.state == "undecided" and found.consistent() is None


def test_too_many_readings_are_refused() -> None:
    variants = [{"reads": str(n), "value": n} for n in range(1, 11)]
    for n_claims, expected in ((4, "readings"), (5, "combinations")):
        claims = {f"c{n}": {"source": "s", "variants": variants} for n in range(n_claims)}
        with pytest.raises(ClaimsError, match=expected):
            result(claims, " + ".join(claims) + " = 1")


def test_the_witness_is_part_of_the_outcome() -> None:
    found = document(result({"a": claim("1.0"), "b": claim("1.04")}, "a = b"))
    assert found["consistent"] is True and found["witness"]["a"] == found["witness"]["b"]
    assert "1.035" <= found["witness"]["a"] <= "1.045"


def test_claims_that_no_relation_checks_are_told() -> None:
    found = document(result({"a": claim(1), "b": claim(2)}, "a = 1"))
    assert [found["claims"][name]["checked"] for name in "ab"] == [True, False]
