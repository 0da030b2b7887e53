"""The statement of tiny logs against arithmetic done by hand."""

from __future__ import annotations

import json
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from solvent.money.audit.run import AuditOptions, Incomplete, pseudonymiser, run_audit
from solvent.money.project import load

F = Fraction
# 1 USD per million tokens in, 0.1 cached, 10 out: round numbers, and the user's own, so that no catalogue matters.
RATES = """
[[rates]]
model = "m"
input_usd_per_mtok = 1
cache_read_usd_per_mtok = 0.1
cache_write_5m_usd_per_mtok = 1.25
output_usd_per_mtok = 10
source = "test"
"""
SPAN = "[log]\nstart = 2026-01-01\nend = 2026-01-31T10:30:00Z\n"  # 30.4375 days: exactly one month
PLANS = """
[revenue]
customers = "customers.csv"
[revenue.plans.pro]
usd_per_month = 20
[revenue.plans.free]
usd_per_month = 0
"""
HEADER = "timestamp,customer,feature,model,prompt_tokens,cached_tokens,completion_tokens\n"
# Cost: ann 4M in (1M of it cached) = 3 + 0.1, 0.5M out = 5 → 8.1; bob 40M in = 40; both in one month.
ROWS = "2026-01-02T00:00:00Z,ann,chat,m,4000000,1000000,500000\n2026-01-03T00:00:00Z,bob,search,m,40000000,0,0\n"


def audited(folder: Path, rows: str = ROWS, project: str = SPAN + PLANS + RATES, **options: Any) -> dict[str, Any]:
    (folder / "log.csv").write_text(HEADER + rows)
    (folder / "customers.csv").write_text("customer,plan\nann,pro\nbob,pro\nidle,pro\n")
    (folder / "solvent.toml").write_text(project)
    return run_audit([folder / "log.csv"], load(folder / "solvent.toml"), AuditOptions(**options))


def value(statement: dict[str, Any], figure: str) -> Fraction | None:
    text = statement["figures"][figure]["value"]
    return None if text is None else Fraction(text)


def rows_of(statement: dict[str, Any], table: str, column: str) -> dict[str, Any]:
    name = statement["tables"][table]["columns"][0]["key"]
    return {row[name]: row[column] and Fraction(row[column]) for row in statement["tables"][table]["rows"]}


def test_margin_per_customer_with_one_who_pays_and_asks_nothing(tmp_path: Path) -> None:
    found = audited(tmp_path)
    assert value(found, "cost_usd") == F("48.1") and value(found, "revenue_usd") == 60
    assert rows_of(found, "customers", "margin_usd") == {"ann": F("11.9"), "bob": -20, "idle": 20}
    assert value(found, "margin_usd") == F("11.9")
    assert value(found, "gross_margin") == pytest.approx(F("11.9") / 60, abs=1e-17)
    assert value(found, "losing_customers_share") == pytest.approx(F(1, 3), abs=1e-17)
    assert value(found, "cost_per_value") == pytest.approx(F("48.1") / 60, abs=1e-17)
    assert value(found, "cost_per_output_usd") == F("24.05") and found["verdict"]["state"] == "insolvent"
    assert rows_of(found, "features", "cost_usd") == {"chat": F("8.1"), "search": 40}
    # The worst 5% of three customers are 0.15 of bob.
    assert value(found, "cvar_loss_usd") == 20


def test_caching_saved_what_the_reads_would_have_cost_less_what_writes_cost_more(tmp_path: Path) -> None:
    """1M read at 0.1 instead of 1 saves 0.90."""
    assert value(audited(tmp_path), "cache_saved_usd") == F("0.9")


def test_break_even_put_back_breaks_even(tmp_path: Path) -> None:
    found = audited(tmp_path)
    factor = value(found, "price_factor_for_policy")
    assert factor == pytest.approx(F("48.1") / 6, abs=1e-15)  # 48.1 ÷ 0.10 = 481 of revenue, from 60
    dearer = audited(tmp_path, project=SPAN + PLANS.replace("= 20", "= 160.4") + RATES)
    assert value(dearer, "cost_per_value") == pytest.approx(F("0.09995842"), abs=1e-7)
    even = value(found, "price_factor_for_zero_margin")
    assert even == pytest.approx(F("48.1") / 60, abs=1e-15)
    assert value(found, "cost_per_output_for_policy") == 3  # 0.10 × 60 ÷ 2
    assert value(found, "cost_per_output_for_zero_margin") == 30


def test_unknown_customers_have_no_revenue_and_no_margin(tmp_path: Path) -> None:
    found = audited(tmp_path, ROWS + "2026-01-04T00:00:00Z,eve,chat,m,1000000,0,0\n")
    assert rows_of(found, "customers", "margin_usd")["eve"] is None
    assert "revenue of 1 customer, unknown" in found["verdict"]["left_out"]
    assert value(found, "losing_customers_share") == pytest.approx(F(1, 3), abs=1e-17)


def test_everything_unpriced_is_listed_at_once_and_left_out_only_when_told(tmp_path: Path) -> None:
    rows = ROWS + "2026-01-04T00:00:00Z,ann,chat,nobody-knows,1,0,1\n2026-01-04T00:00:00Z,ann,chat,m,-5,0,1\n"
    with pytest.raises(Incomplete) as gaps:
        audited(tmp_path, rows)
    text = "\n".join(gaps.value.lines)
    assert "nobody-knows" in text and "log.csv:5" in text and "negative" in text
    found = audited(tmp_path, rows, allow_missing=True)
    accounting = found["accounting"]
    assert accounting["rows_in"] == 4 and (accounting["priced"], accounting["unpriced"], accounting["rejected"]) == (
        2,
        1,
        1,
    )
    assert "1 unpriced and 1 rejected of 4 rows" in found["verdict"]["line"]
    assert value(found, "cost_usd") == F("48.1") and "lower bound" in found["figures"]["cost_usd"]["note"]


def test_names_are_hashed_everywhere_and_alike_under_one_key(tmp_path: Path) -> None:
    found = audited(tmp_path, hash_key=b"key")
    text = json.dumps(found)
    assert not any(f'"{name}"' in text or f" {name} " in text for name in ("ann", "bob", "idle"))
    shown = {row["customer"] for row in found["tables"]["customers"]["rows"]}
    assert shown == {pseudonymiser(b"key")(name) for name in ("ann", "bob", "idle")}
    assert pseudonymiser(b"other")("ann") not in shown


def test_as_of_reprices_at_one_day(tmp_path: Path) -> None:
    dated = RATES.replace('source = "test"', 'source = "test"\nvalid_to = 2026-02-01')
    later = dated.replace("= 1\n", "= 2\n").replace("valid_to = 2026-02-01", "valid_from = 2026-02-01")
    project = SPAN + PLANS + dated + later
    assert value(audited(tmp_path, project=project), "cost_usd") == F("48.1")
    # Input at 2 from February: ann 6 + 0.1 + 5, bob 80.
    assert value(audited(tmp_path, project=project, as_of=date(2026, 2, 1)), "cost_usd") == F("91.1")


def test_declared_value_takes_the_place_of_revenue(tmp_path: Path) -> None:
    found = audited(tmp_path, project=SPAN + RATES + '[value]\nusd_per_output = 500\nsource = "survey"\n')
    assert value(found, "customer_value_usd") == 1000 and value(found, "cost_per_value") == F("0.0481")
    assert found["verdict"]["state"] in ("solvent", "thin") and value(found, "revenue_usd") is None


def test_compare_says_why(tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(audited(tmp_path)))
    doubled = audited(tmp_path, ROWS + ROWS.replace("2026-01-0", "2026-01-1"), compare=tmp_path / "old.json")
    effects = {row["cause"]: F(row["delta_usd"]) for row in doubled["tables"]["changes"]["rows"]}
    assert effects == {"volume": F("48.1"), "mix": 0, "usage per output": 0, "price": 0, "all of it": F("48.1")}


@pytest.mark.parametrize(
    ("output", "n"),
    [("", 3), ('by = "conv"\n', 2), ("gap_minutes = 10\n", 2), ("requests_per_output = 1.5\n", 2)],
)
def test_outputs_by_id_by_gap_and_by_ratio(tmp_path: Path, output: str, n: int) -> None:
    """Three requests of one customer: 0:00 and 0:05 in conversation 1, 1:00 in conversation 2."""
    (tmp_path / "log.csv").write_text(
        "timestamp,customer,model,prompt_tokens,completion_tokens,conv\n"
        + "".join(f"2026-01-02T0{t}:00Z,a,m,10,1,{c}\n" for t, c in (("0:00", 1), ("0:05", 1), ("1:00", 2)))
    )
    (tmp_path / "solvent.toml").write_text(SPAN + RATES + "[output]\n" + output)
    found = run_audit([tmp_path / "log.csv"], load(tmp_path / "solvent.toml"), AuditOptions())
    assert value(found, "n_outputs") == n
    assert found["figures"]["n_outputs"]["method"] == (
        "assumed" if "ratio" in output or "per_output" in output else "measured"
    )


def test_unpriced_requests_dilute_no_figure_and_pass_no_check(tmp_path: Path) -> None:
    """One priced request of $1 and 99 without a price: $1 a request, not one cent; nothing is known to be solvent."""
    rows = "2026-01-02T00:00:00Z,ann,chat,m,1000000,0,0\n" + "2026-01-02T00:00:00Z,bob,chat,secret,1,0,1\n" * 99
    found = audited(tmp_path, rows, allow_missing=True)
    assert value(found, "cost_per_request_usd") == 1 and value(found, "cost_per_output_usd") == 1
    assert rows_of(found, "customers", "margin_usd") == {"ann": 19, "bob": None, "idle": 20}
    assert value(found, "losing_customers_share") == 0
    assert found["verdict"]["passed"] is None and found["verdict"]["state"] == "unknown"


def test_a_stated_zone_is_an_assumption(tmp_path: Path) -> None:
    """Off-peak hours and dated prices depend on it."""
    plain, stated = (audited(tmp_path, project=SPAN + zone + PLANS + RATES) for zone in ("", 'zone = "UTC"\n'))
    assert plain["figures"]["cost_usd"]["method"] == "priced"
    assert stated["figures"]["cost_usd"]["method"] == "assumed"


def test_few_customers_over_many_days_have_intervals_too(tmp_path: Path) -> None:
    """Blocks of time are resampled; the log is too long to be kept by the hour. Their keys are those of the cells."""
    rows = "".join(f"2026-01-{d:02d}T{d % 24:02d}:00:00Z,ann,chat,m,{d * 100_000},0,0\n" for d in range(2, 30))
    found = audited(tmp_path, rows)["figures"]["cost_per_output_usd"]
    assert F(found["low"]) < F(found["value"]) < F(found["high"])
