"""Small statements for the tests of stress: a product whose every number can be checked by hand.

Four customers over a whole month (30.4375 days), so that amounts of the log are amounts of the month.
"""

from __future__ import annotations

from typing import Any

DAYS = "30.4375"
# customer: outputs, compute, subscription, by output
CUSTOMERS = {
    "a": (100, 10.0, 20.0, 0.0),
    "b": (300, 30.0, 20.0, 30.0),
    "c": (600, 90.0, 20.0, 60.0),
    "d": (0, 0.0, 20.0, 0.0),
}


def statement(limit: float = 0.5, provider: str = "openai", reserved: bool = False, **changes: Any) -> dict[str, Any]:
    """Compute 130, revenue 170, refunds 2, fees 3, other 5: margin 30; compute per value 0.7647."""
    rows = []
    for name, (n, cost, flat, use) in CUSTOMERS.items():
        lines = [f"subscription: 20 USD/month × 1 months = {flat} USD"]
        lines += [f"outputs: {n} outputs × 0.1 USD = {use} USD"] if use else []
        rows.append({
            "customer": name, "n_outputs": str(n), "cost_usd": str(cost), "revenue_usd": str(flat + use),
            "_revenue_lineage": lines,
        })  # fmt: skip
    compute, revenue = 130.0, 170.0

    def figure(value: float, **more: Any) -> dict[str, Any]:
        return {"label": "x", "value": str(value), "unit": "usd", "method": "measured", "source": "log", **more}

    document: dict[str, Any] = {
        "schema": "solvent.statement/1",
        "product": {"name": "a product", "output": "answer"},
        "span": {"start": "2026-02-01T00:00:00+00:00", "end": "2026-03-03T10:30:00+00:00", "days": DAYS},
        "accounting": {"rows_in": 1000, "priced": 1000, "unpriced": 0, "rejected": 0, "duplicates": 0},
        "verdict": {"state": "insolvent", "title": "t", "line": "l", "passed": False,
                    "policy": {"text": "p", "limit": str(limit)}, "left_out": ""},
        "figures": {
            "cost_usd": figure(compute), "revenue_usd": figure(revenue), "refunds_usd": figure(2.0),
            "fees_usd": figure(3.0), "other_cost_usd": figure(5.0), "margin_usd": figure(30.0),
            "customer_value_usd": figure(revenue, inputs=["revenue_usd"]), "n_outputs": figure(1000),
            "n_customers": figure(4), "cost_per_value": figure(compute / revenue),
        },
        "tables": {
            "customers": {"rows": rows, "n_rows": 4, "shown": 4, "columns": [{"key": "customer"}]},
            "prices": {"rows": [{
                "card": "card", "provider": provider, "service": "reserved" if reserved else "standard",
                "cost_usd": str(compute),
            }]},
        },
        "basis": {"models": {"m": {"usd": {"input_tok": "30", "output_tok": "100"}}}},
    }  # fmt: skip
    return {**document, **changes}
