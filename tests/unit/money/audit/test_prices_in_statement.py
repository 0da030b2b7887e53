"""What each kind of price comes to in a statement: tiers at their edge, services, hours, units that aren't tokens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from fractions import Fraction as F
from typing import Any

import pytest

from solvent.errors import PriceError
from solvent.money.audit.run import Incomplete

Audit = Callable[..., Any]
MTOK = 1_000_000


def rate(**prices: Any) -> dict[str, Any]:
    return {"model": "m", **prices}


TEXT = rate(input_usd_per_mtok=1, output_usd_per_mtok=2)


@pytest.mark.parametrize(("prompt_tok", "usd"), [(200_000, F("0.2")), (200_001, F(200_001 * 3, MTOK))])
def test_a_tier_begins_above_its_edge_and_holds_for_the_whole_request(audit: Audit, prompt_tok: int, usd: F) -> None:
    rates = [TEXT, rate(above_prompt_tok=200_000, input_usd_per_mtok=3)]
    assert audit([{"prompt_tok": prompt_tok}], {"rates": rates}).value("cost_usd") == usd


def test_cached_tokens_count_toward_the_tier_and_are_priced_in_it(audit: Audit) -> None:
    rates = [
        rate(input_usd_per_mtok=1, cache_read_usd_per_mtok="0.1", output_usd_per_mtok=2),
        rate(above_prompt_tok=200_000, input_usd_per_mtok=3, cache_read_usd_per_mtok="0.3"),
    ]
    found = audit([{"prompt_tok": 300_000, "cached_tokens": 200_000}], {"rates": rates})
    assert found.value("cost_usd") == F(3, 10) + F("0.06")
    assert found.value("cache_saved_usd") == F(2, 10) * (3 - F(3, 10))


@pytest.mark.parametrize(
    ("at", "usd"),
    [
        ("16:29:59.999999", 1),
        ("16:30:00", F(1, 4)),
        ("23:59:59", F(1, 4)),
        ("00:29:59", F(1, 4)),
        ("00:30:00", 1),
    ],
)
def test_off_peak_hours(audit: Audit, at: str, usd: F) -> None:
    rates = [TEXT, rate(hours_utc="16:30-00:30", input_usd_per_mtok="0.25")]
    found = audit([{"prompt_tok": MTOK, "at": f"2026-01-02T{at}Z"}], {"rates": rates})
    assert found.value("cost_usd") == usd


def test_hours_are_utc_whatever_zone_the_log_is_in(audit: Audit) -> None:
    rates = [TEXT, rate(hours_utc="16:30-00:30", input_usd_per_mtok="0.25")]
    rows = [{"prompt_tok": MTOK, "at": "2026-01-02T17:00:00"}, {"prompt_tok": MTOK, "at": "2026-01-02T17:31:00"}]
    found = audit(rows, {"rates": rates, "log": {"zone": "Europe/Berlin"}})
    assert found.value("cost_usd") == 1 + F(1, 4)


def test_services_have_prices_of_their_own_and_never_borrow(audit: Audit) -> None:
    rates = [TEXT, rate(service="batch", input_usd_per_mtok="0.5"), rate(service="flex", input_usd_per_mtok="0.6")]
    rows = [{"prompt_tok": MTOK, "service_tier": tier} for tier in ("", "default", "batch", "FLEX")]
    assert audit(rows, {"rates": rates}).value("cost_usd") == 2 + F("0.5") + F("0.6")
    with pytest.raises(Incomplete) as refused:
        audit([{"prompt_tok": MTOK, "service_tier": "priority"}], {"rates": rates})
    assert "has no priority price" in refused.value.lines[0]


@pytest.mark.parametrize(
    ("column", "count", "price", "usd"),
    [
        ("output_images", 3, {"output_usd_per_image": "0.04"}, F("0.12")),
        ("input_chars", 2500, {"input_usd_per_mchar": 15}, F("0.0375")),
        ("input_audio_s", "90.5", {"input_audio_usd_per_hour": "0.36"}, F("90.5") * F("0.36") / 3600),
        ("output_video_s", 10, {"output_video_usd_per_s": "0.10"}, F(1)),
        ("web_searches", 7, {"web_search_usd_per_1k": 10}, F("0.07")),
    ],
)
def test_units_that_are_not_tokens(audit: Audit, column: str, count: Any, price: dict[str, Any], usd: F) -> None:
    text = f"at,model,{column}\n2026-01-02T10:00:00Z,m,{count}\n"
    assert audit(text, {"rates": [rate(**price)]}).value("cost_usd") == usd
    with pytest.raises(Incomplete, match="1 rows"):
        audit(text, {"rates": [TEXT]})


def test_a_price_for_the_call_itself(audit: Audit) -> None:
    rates = [rate(input_usd_per_mtok=1, output_usd_per_mtok=2, usd_per_1k_requests=5)]
    assert audit([{"prompt_tok": MTOK}] * 3, {"rates": rates}).value("cost_usd") == 3 + F("0.015")


def test_dated_prices_follow_the_day_of_each_request_unless_told(audit: Audit) -> None:
    rates = [
        rate(valid_to=date(2026, 1, 3), input_usd_per_mtok=1),
        rate(valid_from=date(2026, 1, 3), input_usd_per_mtok=4),
    ]
    rows = [{"prompt_tok": MTOK, "at": "2026-01-02T23:59:59.999Z", "completion_tok": ""} for _ in range(2)]
    rows += [{"prompt_tok": MTOK, "at": "2026-01-03T00:00:00Z"}]
    text = "at,model,prompt_tok\n" + "".join(f"{r['at']},m,{MTOK}\n" for r in rows)
    assert audit(text, {"rates": rates}).value("cost_usd") == 6
    assert audit(text, {"rates": rates}, as_of=date(2026, 1, 1)).value("cost_usd") == 3
    found = audit(text, {"rates": rates}, as_of=date(2026, 6, 1))
    assert found.value("cost_usd") == 12
    assert any("2026-06-01" in note for note in found["notes"])


def test_other_currencies_by_the_dated_rate_of_the_project(audit: Audit) -> None:
    currency = [{"code": "EUR", "usd": "1.25", "date": date(2026, 1, 1), "source": "the bank"}]
    rates = [{"model": "m", "input_usd_per_mtok": "2.00 EUR", "output_usd_per_mtok": 1}]
    found = audit([{"prompt_tok": MTOK}], {"rates": rates, "currency": currency})
    assert found.value("cost_usd") == F(5, 2)
    assert any("2.00 EUR" in a["text"] and "the bank" in a["text"] for a in found["assumptions"])


def test_cache_writes_cost_more_than_they_are_input(audit: Audit) -> None:
    rates = [
        rate(
            input_usd_per_mtok=4,
            output_usd_per_mtok=8,
            cache_read_usd_per_mtok="0.4",
            cache_write_5m_usd_per_mtok=5,
            cache_write_1h_usd_per_mtok=8,
        )
    ]
    row = {
        "at": "2026-01-02T10:00:00Z",
        "input_tok": 0,
        "cache_read_tok": MTOK,
        "cache_write_5m_tok": MTOK,
        "cache_write_1h_tok": MTOK,
    }
    text = ",".join(["model", "output_tok", *row]) + "\n" + ",".join(["m", "0", *map(str, row.values())]) + "\n"
    found = audit(text, {"rates": rates})
    assert found.value("cost_usd") == F("0.4") + 5 + 8
    assert found.value("cache_saved_usd") == (4 - F("0.4")) - (5 - 4) - (8 - 4)


def test_prefix_blocks_that_come_again_could_be_kept(audit: Audit) -> None:
    # Blocks read: 1 2 3 | 1 2 4 | 9 | 1: eight, of which 1, 2, 3, 4, 9 are the first of their kind.
    blocks = ("[1,2,3]", "[1,2,4]", "[9]", "[1]")
    lines = [f'{i}000,1536,1,"{b}"' for i, b in enumerate(blocks)]
    text = "timestamp,input_length,output_length,hash_ids\n" + "\n".join(lines) + "\n"
    rates = [rate(input_usd_per_mtok=1, output_usd_per_mtok=2, cache_read_usd_per_mtok="0.1")]
    log = {"constants": {"at": "2026-01-02T00:00:00Z", "model": "m"}}
    found = audit(text, {"rates": rates, "log": log})
    assert found.value("prefix_hit_share") == F(3, 8)
    assert found.value("cache_could_save_usd") == F(3 * 512, MTOK) * F("0.9")
    assert found["span"]["start"] == "2026-01-02T00:00:00+00:00"
    assert found["span"]["end"] == "2026-01-02T00:00:03+00:00"


def test_hourly_rows_only_where_slots_are_hours(audit: Audit) -> None:
    rows = [{"prompt_tok": MTOK, "at": f"2026-01-02T{h:02d}:15:00Z"} for h in (3, 16, 23)]
    found = audit(rows)
    assert [row["hour"] for row in found["tables"]["hours"]["rows"]] and found.cell(
        "hours", "2026-01-02 16:00", "cost_usd"
    ) == 1


def test_hashing_hides_names_that_the_project_states(audit: Audit) -> None:
    import json

    secret = "Acme Incorporated"
    project = {"log": {"constants": {"customer": secret}}}
    text = "at,model,prompt_tok,completion_tok\n2026-01-02T10:00:00Z,m,1,1\n2026-01-03T10:00:00Z,m,-1,1\n"
    found = audit(text, project, hash_key=b"k", allow_missing=True)
    assert secret not in json.dumps(found)
    nameless = {"revenue": {"unnamed_customer": secret, "default_plan": "p", "plans": {"p": {"usd_per_month": 1}}}}
    text = "at,model,prompt_tok,completion_tok\n2026-01-02T10:00:00Z,m,1,1\n2026-01-03T10:00:00Z,m,1,1\n"
    found = audit(text, nameless, hash_key=b"k")
    assert secret not in json.dumps(found)
    assert secret in json.dumps(audit(text, nameless))


def test_cache_writes_without_an_input_price_leave_the_saving_unknown(audit: Audit) -> None:
    rates = [rate(cache_write_1h_usd_per_mtok=8, output_usd_per_mtok=2)]
    found = audit("at,model,cache_write_1h_tok,output_tok\n2026-01-02T10:00:00Z,m,1000000,0\n", {"rates": rates})
    assert (found.value("cost_usd"), found.value("cache_saved_usd")) == (8, None)


@pytest.mark.parametrize(
    "speeds", [("0.1234567890123456789012345678901", "3.333333333333333333333"), ("1e12", "1e-20")]
)
def test_a_machine_with_absurd_digits_is_refused(audit: Audit, speeds: tuple[str, str]) -> None:
    offer = {
        "name": "x",
        "kind": "rented",
        "serves": ["m"],
        "usd_per_hour": 2,
        "source": "s",
        "date": date(2026, 1, 1),
        "input_tok_per_s": speeds[0],
        "output_tok_per_s": speeds[1],
    }
    with pytest.raises(PriceError, match=r"offer x: .*round them"):
        audit([{"prompt_tok": 5}, {"prompt_tok": 5, "at": "2026-01-03T00:00:00Z"}], {"offers": [offer]})
