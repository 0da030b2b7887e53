"""The tables of a statement: customers, features, models, days, and the rates that priced them.

Rows repeat exact totals as text; a row's `_lineage` says how its cost came about, rate by rate.
Enter at `dimension_table`, `price_table`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from operator import itemgetter
from typing import Any, NamedTuple

from solvent.figure import Method, exact_text
from solvent.money.audit.contributions import customer_lines
from solvent.money.audit.figures import ratio
from solvent.money.audit.pricing import Pricing, UsedRate
from solvent.money.audit.totals import Key, Total
from solvent.money.prices.offer import cost_shares
from solvent.money.revenue.lines import RevenueLine
from solvent.records import BUCKET_BY_NAME

MAX_ROWS = 20_000
MAX_ROWS_WITH_LINEAGE = 2_000
MAX_LINES = 12
NOBODY = "(none)"
TIMES = ("day", "hour")

Row = dict[str, Any]


def row_name(value: Any) -> str:
    """The name of a row: its value, NOBODY where it is unknown; a value that happens to be NOBODY is quoted."""
    if value is None:
        return NOBODY
    return f'"{NOBODY}"' if value == NOBODY else str(value)


@dataclass(frozen=True, slots=True)
class MoneyOf:
    """The revenue side of one row; None where it isn't known. line: the customer's, for its lineage."""

    revenue_usd: Fraction | None = None
    deductions_usd: Fraction = Fraction(0)
    plan: str | None = None
    line: RevenueLine | None = None

    @property
    def net_usd(self) -> Fraction | None:
        """Revenue less refunds: what a gross margin is a share of."""
        refunds = self.line.refunds_usd if self.line is not None else Fraction(0)
        return None if self.revenue_usd is None else self.revenue_usd - refunds

    def margin_usd(self, cost_usd: Fraction | None) -> Fraction | None:
        if self.revenue_usd is None or cost_usd is None:
            return None
        return self.revenue_usd - self.deductions_usd - cost_usd


@dataclass(frozen=True, slots=True)
class Shape:
    """What a dimension's table shows. cost_method: the method of its costs; money_method: of its revenue."""

    label: str
    key: str
    cost_method: Method
    money_method: Method | None = None
    with_plan: bool = False
    with_buckets: tuple[str, ...] = ()


def dimension_table(
    shape: Shape,
    rows: Mapping[str, Total],
    whole: Total,
    money: Mapping[str, MoneyOf],
    lineage: Mapping[str, list[str]],
) -> dict[str, Any]:
    """A table with one row per value, costliest first; days and hours in their order."""
    by_cost = sorted(rows.items(), key=lambda item: (-item[1].cost_usd, item[0]))
    ordered = sorted(rows.items()) if shape.key in TIMES else by_cost
    shown = ordered if len(ordered) <= MAX_ROWS else _worth_showing(ordered, money)
    table_rows = [_row(shape, name, total, whole, money.get(name, MoneyOf())) for name, total in shown]
    for row in table_rows[:MAX_ROWS_WITH_LINEAGE]:
        if lines := lineage.get(row[shape.key]):
            row["_lineage"] = lines
        if (line := money.get(row[shape.key], MoneyOf()).line) is not None:
            row |= customer_lines(line)
    return {
        "label": shape.label,
        "columns": _columns(shape),
        "rows": table_rows,
        "n_rows": len(ordered),
        "shown": len(table_rows),
    }


def _worth_showing(ordered: list[tuple[str, Total]], money: Mapping[str, MoneyOf]) -> list[tuple[str, Total]]:
    """The costliest half and, of the rest, those who lose most."""
    half = MAX_ROWS // 2
    rest = sorted(
        ordered[half:], key=lambda item: money.get(item[0], MoneyOf()).margin_usd(item[1].cost_usd) or Fraction(0)
    )
    return ordered[:half] + sorted(rest[:half], key=lambda item: (-item[1].cost_usd, item[0]))


def _row(shape: Shape, name: str, total: Total, whole: Total, money: MoneyOf) -> Row:
    cost = total.cost_usd if total.n_priced or not total.n_requests else None
    row: Row = {shape.key: name}
    if shape.with_plan:
        row["plan"] = money.plan
    row["n_requests"] = str(total.n_requests)
    row["n_outputs"] = exact_text(total.n_outputs)
    row["cost_usd"] = exact_text(cost)
    if shape.money_method is not None:
        whole_cost = total.whole_cost_usd
        margin = None if whole_cost is None else money.margin_usd(whole_cost)
        row["revenue_usd"] = exact_text(money.revenue_usd)
        row["margin_usd"] = exact_text(margin)
        row["gross_margin"] = exact_text(ratio(margin, money.net_usd))
    row["cost_per_output_usd"] = exact_text(ratio(cost, total.n_priced_outputs))
    row["cost_share"] = exact_text(ratio(cost, whole.cost_usd))
    if total.n_unpriced:
        row["n_unpriced"] = str(total.n_unpriced)
    for bucket in shape.with_buckets:
        row[bucket] = str(total.buckets.get(bucket, 0))
    return row


def _columns(shape: Shape) -> list[dict[str, str]]:
    rates = "count × price over the requests of this row, at the rates in table prices"
    columns = [_column(shape.key, shape.label.rstrip("s"), "text", "measured", "", "request log")]
    if shape.with_plan:
        columns.append(_column("plan", "Plan", "text", "assumed", "", "solvent.toml [revenue]"))
    columns += [
        _column("n_requests", "Requests", "count", "measured", "", "request log, duplicates dropped"),
        _column("n_outputs", "Outputs", "count", "measured", "", "request log, grouped by the project's rule"),
        _column("cost_usd", "Compute", "usd", shape.cost_method, rates, "request log × rate cards"),
    ]
    if shape.money_method is not None:
        columns += [
            _column(
                "revenue_usd",
                "Revenue",
                "usd",
                shape.money_method,
                "plan prices prorated to the span",
                "solvent.toml [revenue]",
            ),
            _column(
                "margin_usd",
                "Margin",
                "usd",
                shape.money_method,
                "revenue_usd − refunds − payment fees − other cost − cost_usd",
                "derived",
            ),
            _column(
                "gross_margin",
                "Margin share",
                "share",
                shape.money_method,
                "margin_usd ÷ (revenue_usd − refunds)",
                "derived",
            ),
        ]
    columns += [
        _column(
            "cost_per_output_usd", "Cost per output", "usd/output", shape.cost_method, "cost_usd ÷ n_outputs", "derived"
        ),
        _column(
            "cost_share", "Share of compute", "share", shape.cost_method, "cost_usd ÷ cost_usd of the whole", "derived"
        ),
        *(
            _column(
                b,
                BUCKET_BY_NAME[b].label.capitalize(),
                "µs" if b.endswith("_us") else "tok",
                "measured",
                "",
                "request log",
            )
            for b in shape.with_buckets
        ),
    ]
    return columns


def _column(key: str, label: str, unit: str, method: str, formula: str, source: str) -> dict[str, str]:
    return {"key": key, "label": label, "unit": unit, "method": method, "formula": formula, "source": source}


def lineage_lines(
    by_rate: Mapping[Key, Total], rates: Sequence[UsedRate], name: Callable[[Any], str]
) -> dict[str, list[str]]:
    """For every first key: how its cost came about, the largest parts first. by_rate: totals by (key, rate_no)."""
    prices = (price for used in rates for price in (*used.usd_per_unit.values(), used.usd_per_request))
    scale = math.lcm(*(price.denominator for price in prices))
    scaled = [_scaled(used, scale) for used in rates]
    parts: dict[str, list[_Part]] = {}
    for (key, rate_no), total in by_rate.items():
        if rate_no is not None and rate_no >= 0:
            parts.setdefault(name(key), []).extend(_parts(rates[rate_no], scaled[rate_no], scale, total))
    lines = {}
    words: dict[tuple[int, str | None], tuple[str, str]] = {}
    for key, found in parts.items():
        found.sort(key=itemgetter(0), reverse=True)
        lines[key] = [_line(part, Fraction(part.cost) / scale, words) for part in found[:MAX_LINES]]
        if len(found) > MAX_LINES:
            rest = Fraction(sum(part.cost for part in found[MAX_LINES:])) / scale
            lines[key].append(f"{len(found) - MAX_LINES} smaller parts = {_usd(rest)} USD")
    return lines


class _Part(NamedTuple):
    """One product of a row's cost: a bucket at a rate, a call price (bucket None), or a share of a machine.

    cost: over a scale at which every price is an integer, since thousands of parts are sorted and few are shown.
    """

    cost: int | Fraction
    used: UsedRate
    bucket: str | None
    units: int


def _scaled(used: UsedRate, scale: int) -> dict[str | None, int]:
    """Bucket → its price over `scale`; None: the price of a call."""
    return {None: int(used.usd_per_request * scale), **{b: int(usd * scale) for b, usd in used.usd_per_unit.items()}}


def _parts(used: UsedRate, prices: Mapping[str | None, int], scale: int, total: Total) -> Iterable[_Part]:
    if used.offer is not None:
        yield _Part(total.cost_usd * scale, used, None, total.n_requests)
        return
    for name, count in total.buckets.items():
        if count:
            yield _Part(count * prices[name], used, name, count)
    if used.usd_per_request:
        yield _Part(total.n_requests * prices[None], used, None, total.n_requests)


def _line(part: _Part, cost_usd: Fraction, words: dict[tuple[int, str | None], tuple[str, str]]) -> str:
    """The product in words: count × price = cost, and the card. words: what is the same for a bucket at a rate."""
    key = (id(part.used), part.bucket)
    said = words.get(key)
    if said is None:
        said = words[key] = _words(part.used, part.bucket)
    return f"{part.units:,} {said[0]} = {_usd(cost_usd)} USD{said[1]}"


def _words(used: UsedRate, name: str | None) -> tuple[str, str]:
    """What stands between the count and the cost, and after it."""
    if used.offer is not None:
        return f"requests on machine {used.offer.name}, by share of its work", ""
    assert used.rate is not None
    card = used.rate.card
    where = f" ({card.provider}/{card.model}, {used.rate.service}, {card.source})"
    if name is None:
        return f"requests × {_usd(used.usd_per_request)} USD", where
    bucket = BUCKET_BY_NAME[name]
    parent = bucket.falls_back_to if name in used.fallbacks else None
    borrowed = f" (priced as {BUCKET_BY_NAME[parent].label})" if parent else ""
    price = used.usd_per_unit[name] * bucket.units_per_price
    unit = bucket.price.split("usd_per_", 1)[-1]
    return f"{bucket.label}{borrowed} × {_usd(price)} USD per {unit}", where


def _usd(value: Fraction) -> str:
    return exact_text(value, 12) or "0"


def price_table(pricing: Pricing, by_rate: Mapping[Key, Total]) -> dict[str, Any]:
    """One row per rate that priced something: the card, its dates and its prices. by_rate: totals by (rate_no,)."""
    rows = []
    shown: dict[str, None] = {}
    for (rate_no,), total in sorted(by_rate.items(), key=lambda item: -item[1].cost_usd):
        if rate_no is None or rate_no < 0:
            continue
        used = pricing.rates[rate_no]
        rows.append(_offer_row(pricing, rate_no, total) if used.offer else _rate_row(used, total, shown))
    columns = [
        _column("card", "Rate", "text", "priced", "", ""),
        _column("provider", "Provider", "text", "priced", "", ""),
        _column("model", "Model", "text", "priced", "", ""),
        _column("service", "Service", "text", "priced", "", ""),
        _column("valid", "Valid", "text", "priced", "", ""),
        _column("source", "Source", "text", "priced", "", ""),
        _column("dated", "Dated", "text", "priced", "", ""),
        _column("n_requests", "Requests", "count", "measured", "", "request log"),
        _column("cost_usd", "Compute", "usd", "priced", "Σ count × price", "request log × this rate"),
    ]
    columns += [_column(key, price_label(key), "usd", "priced", "", "rate card") for key in shown]
    return {"label": "Prices used", "columns": columns, "rows": rows, "n_rows": len(rows), "shown": len(rows)}


def price_label(key: str) -> str:
    """ "input_usd_per_mtok" → "Input, $ per Mtok"."""
    what, _, unit = key.partition("usd_per_")
    words = what.rstrip("_").replace("_", " ").capitalize() or "Calls"
    return f"{words}, $ per {unit.replace('_', ' ').replace('mtok', 'Mtok').replace('mchar', 'Mchar')}"


def _rate_row(used: UsedRate, total: Total, shown: dict[str, None]) -> Row:
    assert used.rate is not None
    card = used.rate.card
    since = card.valid_from.isoformat() if card.valid_from else "…"
    until = card.valid_to.isoformat() if card.valid_to else "…"
    row: Row = {
        "card": card.id,
        "provider": card.provider,
        "model": card.model,
        "service": used.rate.service,
        "valid": f"{since} to {until}" if used.rate.dated else "no dates: any day",
        "source": card.source,
        "dated": "yes" if used.rate.dated else "no",
        "n_requests": str(total.n_requests),
        "cost_usd": exact_text(total.cost_usd),
    }
    for key, price in used.rate.prices.items():
        row[key] = exact_text(price)
        shown[key] = None
    notes = [used.rate.note] if used.rate.note else []
    notes += [
        f"{BUCKET_BY_NAME[b].label} is priced as {BUCKET_BY_NAME[parent].label}: the card has no price of its own"
        for b in used.fallbacks
        if total.buckets.get(b) and (parent := BUCKET_BY_NAME[b].falls_back_to)
    ]
    if card.url:
        notes.append(f"card: {card.url}")
    if notes:
        row["_lineage"] = notes
    return row


def _offer_row(pricing: Pricing, rate_no: int, total: Total) -> Row:
    offer = pricing.rates[rate_no].offer
    assert offer is not None
    busy, cost = pricing.offer_usage[rate_no]
    shares = {f"_{part}_share": exact_text(share) for part, share in cost_shares(offer).items()}
    return {
        "card": offer.name,
        "provider": offer.kind,
        "model": ", ".join(offer.serves),
        "service": "reserved",
        "valid": offer.date.isoformat(),
        "source": offer.source,
        "dated": "yes",
        "n_requests": str(total.n_requests),
        "cost_usd": exact_text(total.cost_usd),
        "_lineage": [
            f"{offer.n_machines} × {offer.kind} machine reserved for the span = {_usd(cost)} USD, idle hours paid for",
            f"busy {float(100 * busy):.2f}% of the reserved time",
        ],
        **shares,
    }
