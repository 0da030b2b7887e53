"""Rented and owned machines in an audit: reserved, idle hours paid for, shared over requests by their work."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from solvent.errors import PriceError
from solvent.money.audit.run import AuditOptions, run_audit
from solvent.money.project import load

PROJECT = """
[log]
start = 2026-01-05
end = 2026-01-06
[[offers]]
name = "two H100"
kind = "rented"
serves = ["my-llama"]
n_machines = {n}
usd_per_hour = 2.5
input_tok_per_s = 1000
output_tok_per_s = 100
source = "test"
date = 2026-01-01
"""
LOG = "timestamp,customer,model,prompt_tokens,completion_tokens\n"
# Work: a 1000/1000 + 100/100 = 2 s, b 4000/1000 + 200/100 = 6 s; c isn't on the machine.
ROWS = (
    "2026-01-05T01:00:00Z,a,my-llama,1000,100\n"
    "2026-01-05T02:00:00Z,b,my-llama,4000,200\n"
    "2026-01-05T03:00:00Z,c,gpt-4o,1000000,0\n"
)


def audit(tmp_path: Path, rows: str, n: int = 2) -> dict:  # type: ignore[type-arg]
    (tmp_path / "log.csv").write_text(LOG + rows)
    (tmp_path / "solvent.toml").write_text(PROJECT.format(n=n))
    return run_audit([tmp_path / "log.csv"], load(tmp_path / "solvent.toml"), AuditOptions())


def test_idle_hours_are_paid_for_and_shared_by_work(tmp_path: Path) -> None:
    """2 machines × 24 h × 2.50 = $120, whatever they did: a pays 2/8, b 6/8; c pays its list price of $2.50."""
    found = audit(tmp_path, ROWS)
    costs = {row["customer"]: Fraction(row["cost_usd"]) for row in found["tables"]["customers"]["rows"]}
    assert costs == {"a": 30, "b": 90, "c": Fraction("2.5")}
    assert Fraction(found["figures"]["cost_usd"]["value"]) == Fraction("122.5")
    assert found["figures"]["cost_usd"]["method"] == "assumed"
    machine = next(row for row in found["tables"]["prices"]["rows"] if row["card"] == "two H100")
    assert Fraction(machine["cost_usd"]) == 120
    assert any("0.00" in line and "busy" in line for line in machine["_lineage"])


def test_shares_that_dont_end_still_add_up(tmp_path: Path) -> None:
    """Three equal customers share $120: each gets exactly a third."""
    rows = "".join(f"2026-01-05T0{i}:00:00Z,c{i},my-llama,7,0\n" for i in range(3))
    found = audit(tmp_path, rows)
    assert [row["cost_usd"] for row in found["tables"]["customers"]["rows"]] == ["40"] * 3
    rows += "2026-01-05T09:00:00Z,c9,my-llama,7,0\n" * 4
    found = audit(tmp_path, rows)
    assert sum(Fraction(r["cost_share"]) for r in found["tables"]["customers"]["rows"]) == pytest.approx(1, abs=1e-15)
    assert found["figures"]["cost_usd"]["value"] == "120"


def test_more_work_than_the_machines_can_do_is_refused_with_numbers(tmp_path: Path) -> None:
    rows = "2026-01-05T01:00:00Z,a,my-llama,90000000,0\n"  # 90,000 s of work, 86,400 s in the day
    with pytest.raises(PriceError, match=r"n_machines = 2"):
        audit(tmp_path, rows, n=1)
    assert audit(tmp_path, rows, n=2)["figures"]["cost_usd"]["value"] == "120"


def test_costs_beside_compute_count_without_any_plan(tmp_path: Path) -> None:
    """[costs] without revenue: 3 requests at $0.10 are $0.30 of other cost, and revenue stays unknown."""
    (tmp_path / "log.csv").write_text(LOG + ROWS)
    (tmp_path / "solvent.toml").write_text(PROJECT.format(n=2) + "[costs]\nother_usd_per_request = 0.10\n")
    found = run_audit([tmp_path / "log.csv"], load(tmp_path / "solvent.toml"), AuditOptions())
    assert found["figures"]["other_cost_usd"]["value"] == "0.3"
    assert found["figures"]["revenue_usd"]["value"] is None and found["verdict"]["state"] == "unknown"


def test_a_machine_that_served_nothing_isnt_free(tmp_path: Path) -> None:
    with pytest.raises(PriceError, match=r"two H100.*paid for"):
        audit(tmp_path, "2026-01-05T03:00:00Z,c,gpt-4o,1000000,0\n")
