"""One developer's subscription against list price: prorated to whole days, and said in a developer's words."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from solvent.money.audit.run import AuditOptions, run_audit
from solvent.money.project import subscription_project
from solvent.money.revenue.lines import DAYS_PER_MONTH


def reply(n: int, at: str, model: str = "claude-sonnet-4-5-20250929", output_tok: int = 1_000) -> dict[str, Any]:
    usage = {"input_tokens": 1_000, "output_tokens": output_tok}
    message = {"id": f"msg_{n}", "type": "message", "role": "assistant", "model": model, "usage": usage, "content": []}
    return {
        "type": "assistant",
        "uuid": f"u{n}",
        "sessionId": "s",
        "requestId": f"req_{n}",
        "cwd": "/home/ann/shop",
        "timestamp": at,
        "message": message,
    }


def audited(folder: Path, *replies: dict[str, Any], usd: str = "200") -> dict[str, Any]:
    (folder / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in replies))
    options = AuditOptions(allow_missing=True, threads=1)
    return run_audit([folder / "s.jsonl"], subscription_project(Decimal(usd)), options)


@pytest.mark.parametrize(
    "times", [["2026-10-01T09:00:00Z"], ["2026-10-01T09:00:00Z", "2026-10-01T09:00:07Z"]], ids=["one", "two"]
)
def test_a_few_replies_cover_one_day_not_the_seconds_between_them(tmp_path: Path, times: list[str]) -> None:
    found = audited(tmp_path, *(reply(n, at) for n, at in enumerate(times)))
    assert found["span"]["days"] == "1" and found["span"]["start"] == "2026-10-01T00:00:00+00:00"
    revenue = Fraction(found["figures"]["revenue_usd"]["value"])
    assert abs(revenue - 200 / DAYS_PER_MONTH) <= Fraction(1, 2 * 10**18)
    assert found["verdict"]["state"] == "solvent"
    texts = [a["text"] for a in found["assumptions"]]
    assert "The subscription is prorated to the 1 day on which the log lies, whole days in UTC." in texts


def test_the_verdict_says_list_price_against_the_price_paid(tmp_path: Path) -> None:
    # 1,000 tok at 3 USD/Mtok + 2,000,000 tok at 15 USD/Mtok = 30.003 USD a day, two days.
    days = ("2026-10-01T09:00:00Z", "2026-10-02T09:00:00Z")
    found = audited(tmp_path, *(reply(n, at, output_tok=2_000_000) for n, at in enumerate(days)), usd="100")
    verdict = found["verdict"]
    assert (verdict["state"], verdict["passed"], verdict["title"]) == ("insolvent", False, "Use above the price paid")
    cost = float(Fraction(found["figures"]["cost_usd"]["value"]))
    pace = cost / 2 * float(DAYS_PER_MONTH)
    for part in (
        f"the use of 2 days would cost ${cost:,.2f}",
        "share of that time is $6.57",
        f"${pace:,.2f} a month, {pace / 100:.3g} times the $100.00 paid.",
    ):
        assert part in verdict["line"]
    assert found["headline"][0] == "cost_per_month_usd" and len(set(found["headline"])) == len(found["headline"])
    assert verdict["policy"]["figure"] == "cost_per_value"


def test_what_was_left_out_stays_in_the_line(tmp_path: Path) -> None:
    found = audited(tmp_path, reply(1, "2026-10-01T09:00:00Z"), reply(2, "2026-10-01T10:00:00Z", model="no-such-model"))
    assert "left out: 1 unpriced of 2 rows" in found["verdict"]["line"] and "paid" in found["verdict"]["line"]


def test_use_without_any_known_price_has_no_verdict(tmp_path: Path) -> None:
    found = audited(tmp_path, reply(1, "2026-10-01T09:00:00Z", model="no-such-model"))
    assert (found["verdict"]["state"], found["verdict"]["title"]) == ("unknown", "Unknown")
