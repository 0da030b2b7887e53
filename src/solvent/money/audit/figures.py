"""The figures of a statement, each with its formula and the figures it came from.

Everything is computed once, here, from exact totals; tables and reports only repeat it.
Enter at `statement_figures`. The list of ids is in docs/reference/statement.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from solvent.figure import Figure, Figures, Method, Number, exact_text, weakest
from solvent.money.audit.tail import Spread, cvar_loss, spread
from solvent.money.audit.totals import Total

# Figures per unit of what was priced, and figures that a missing revenue changes.
PER_UNIT = ("cost_per_output_usd", "cost_per_request_usd")
OF_REVENUE = ("revenue_usd", "margin_usd", "gross_margin", "customer_value_usd", "cost_per_value",
              "revenue_per_output_usd", "margin_per_output_usd")  # fmt: skip
TOP_SHARES = (Fraction(1, 100), Fraction(5, 100), Fraction(10, 100))


@dataclass(frozen=True, slots=True)
class Money:
    """Exact revenue side of the whole; None where it isn't known."""

    revenue_usd: Fraction | None
    refunds_usd: Fraction
    fees_usd: Fraction
    other_cost_usd: Fraction
    value_usd: Fraction | None
    low_usd: Fraction | None = None
    high_usd: Fraction | None = None
    method: Method = "assumed"
    value_source: str = "revenue"
    source: str = "solvent.toml [revenue]"


@dataclass(slots=True)
class Basis:
    """What the figures are computed from, and how far each side may be relied on."""

    whole: Total
    money: Money
    n_customers: int
    customer_costs: Sequence[Fraction]
    customer_margins: Sequence[Fraction]
    cost_method: Method
    cost_source: str
    undated_cost_usd: Fraction
    assumed_cost_usd: Fraction
    n_left_out: int
    n_unknown_customers: int
    output_name: str
    output_rule: str
    output_method: Method
    months: Fraction | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


def statement_figures(basis: Basis) -> tuple[Figures, Spread | None]:
    """All figures, and the spread of cost over customers that the tail table draws."""
    figures = Figures()
    maker = _Maker(figures, basis)
    maker.counts()
    maker.money()
    maker.value()
    maker.reliance()
    maker.per_output()
    tail = maker.tail()
    return figures, tail


def ratio(part: Fraction | None, whole: Fraction | int | None) -> Fraction | None:
    """part ÷ whole; unknown where either is unknown or the whole is zero."""
    return None if part is None or not whole else Fraction(part) / whole


class _Maker:
    def __init__(self, figures: Figures, basis: Basis) -> None:
        self.figures = figures
        self.basis = basis
        m = basis.money
        net = None if m.revenue_usd is None else m.revenue_usd - m.refunds_usd
        whole = basis.whole
        self.cost_usd = whole.cost_usd if whole.n_priced or not basis.n_left_out else None
        self.net_usd = net
        self.margin_usd = None
        if net is not None and self.cost_usd is not None:
            self.margin_usd = net - m.fees_usd - self.cost_usd - m.other_cost_usd

    def add(self, figure_id: str, label: str, value: Number | None, unit: str, formula: str, inputs: Sequence[str] = (),
            ) -> Figure:  # fmt: skip
        """A derived figure: its method is the weakest of its inputs' methods."""
        method = weakest(self.figures[i].method for i in inputs)
        low, high = self.basis.intervals.get(figure_id, (None, None))
        return self.figures.add(
            Figure(
                figure_id,
                label,
                value,
                unit,
                method,
                "derived",
                formula,
                tuple(inputs),
                low,
                high,
                0.95 if low is not None else None,
                note=self._note(figure_id, value),
            )
        )

    def base(self, figure_id: str, label: str, value: Number | None, unit: str, method: Method, source: str,
             ) -> Figure:  # fmt: skip
        """A figure that comes straight from the log, the cards or the project."""
        low, high = self.basis.intervals.get(figure_id, (None, None))
        return self.figures.add(
            Figure(
                figure_id,
                label,
                value,
                unit,
                method,
                source,
                low=low,
                high=high,
                level=0.95 if low is not None else None,
                note=self._note(figure_id, value),
            )
        )

    def _note(self, figure_id: str, value: Number | None) -> str:
        if value is None:
            return "unknown, which isn't zero"
        b = self.basis
        if b.n_left_out and figure_id in PER_UNIT:
            return f"of the requests that have a price, without {b.n_left_out:,} rows that haven't or couldn't be read"
        notes = []
        if b.n_left_out and ("cost" in figure_id or "margin" in figure_id):
            bound = "an upper" if "margin" in figure_id else "a lower"
            notes.append(f"without {b.n_left_out:,} rows that couldn't be priced or read: {bound} bound")
        if b.n_unknown_customers and figure_id in OF_REVENUE:
            notes.append(f"without the revenue of {b.n_unknown_customers:,} customers, which isn't known")
        return "; ".join(notes)

    def counts(self) -> None:
        whole, b = self.basis.whole, self.basis
        self.base("n_requests", "Requests", whole.n_requests, "count", "measured", "request log, duplicates dropped")
        outputs = whole.n_outputs
        count = int(outputs) if outputs.denominator == 1 else outputs
        self.base("n_outputs", b.output_name.capitalize(), count, "count", b.output_method, b.output_rule)
        self.base("n_customers", "Customers", b.n_customers, "count", "measured", "request log")

    def money(self) -> None:
        b, m = self.basis, self.basis.money
        self.base("cost_usd", "Compute", self.cost_usd, "usd", b.cost_method, b.cost_source)
        level = 0.95 if m.low_usd is not None else None
        self.figures.add(
            Figure(
                "revenue_usd",
                "Revenue",
                m.revenue_usd,
                "usd",
                m.method,
                m.source,
                low=m.low_usd,
                high=m.high_usd,
                level=level,
                note=self._note("revenue_usd", m.revenue_usd),
            )
        )
        known = m.revenue_usd is not None
        costs = "solvent.toml [costs]"
        self.base("refunds_usd", "Refunds", m.refunds_usd if known else None, "usd", "assumed", costs)
        self.base("fees_usd", "Payment fees", m.fees_usd if known else None, "usd", "assumed", costs)
        self.base("other_cost_usd", "Other cost of goods", m.other_cost_usd, "usd", "assumed", costs)
        self.add(
            "margin_usd",
            "Margin",
            self.margin_usd,
            "usd",
            "revenue_usd − refunds_usd − fees_usd − cost_usd − other_cost_usd",
            ("revenue_usd", "refunds_usd", "fees_usd", "cost_usd", "other_cost_usd"),
        )
        self.add(
            "gross_margin",
            "Gross margin",
            ratio(self.margin_usd, self.net_usd),
            "share",
            "margin_usd ÷ (revenue_usd − refunds_usd)",
            ("margin_usd", "revenue_usd", "refunds_usd"),
        )

    def value(self) -> None:
        """Customer value and the policy's figure."""
        m = self.basis.money
        if m.value_source == "revenue":
            self.add("customer_value_usd", "Customer value", m.value_usd, "usd", "revenue_usd", ("revenue_usd",))
        else:
            self.base("customer_value_usd", "Customer value", m.value_usd, "usd", "assumed", m.value_source)
        self.add(
            "cost_per_value",
            "Compute per dollar of customer value",
            ratio(self.cost_usd, m.value_usd),
            "usd/usd",
            "cost_usd ÷ customer_value_usd",
            ("cost_usd", "customer_value_usd"),
        )

    def reliance(self) -> None:
        """The pace of compute, and how much of it rests on what."""
        b, cost = self.basis, self.cost_usd
        self.figures.add(
            Figure(
                "cost_per_month_usd",
                "Compute per month, at this pace",
                ratio(cost, b.months),
                "usd/month",
                weakest([b.cost_method, "predicted"]),
                "derived",
                "cost_usd ÷ months of the span; a month is 365.25 ÷ 12 days",
                ("cost_usd",),
            )
        )
        self.add(
            "undated_cost_share",
            "Compute priced by cards without dates",
            ratio(b.undated_cost_usd, cost),
            "share",
            "cost at undated cards ÷ cost_usd",
            ("cost_usd",),
        )
        self.add(
            "assumed_cost_share",
            "Compute priced by the project's own statement",
            ratio(b.assumed_cost_usd, cost),
            "share",
            "cost at the project's own rates and machines ÷ cost_usd",
            ("cost_usd",),
        )

    def per_output(self) -> None:
        whole, m = self.basis.whole, self.basis.money
        n = whole.n_outputs
        self.add(
            "cost_per_output_usd",
            "Cost per output",
            ratio(self.cost_usd, whole.n_priced_outputs),
            "usd/output",
            "cost_usd ÷ n_outputs",
            ("cost_usd", "n_outputs"),
        )
        self.add(
            "cost_per_request_usd",
            "Cost per request",
            ratio(self.cost_usd, whole.n_priced),
            "usd/request",
            "cost_usd ÷ n_requests",
            ("cost_usd", "n_requests"),
        )
        self.add(
            "revenue_per_output_usd",
            "Revenue per output",
            ratio(m.revenue_usd, n),
            "usd/output",
            "revenue_usd ÷ n_outputs",
            ("revenue_usd", "n_outputs"),
        )
        self.add(
            "margin_per_output_usd",
            "Margin per output",
            ratio(self.margin_usd, n),
            "usd/output",
            "margin_usd ÷ n_outputs",
            ("margin_usd", "n_outputs"),
        )

    def tail(self) -> Spread | None:
        b = self.basis
        tail = spread(b.customer_costs, TOP_SHARES)
        for share in TOP_SHARES:
            percent = int(share * 100)
            top = share * len(b.customer_costs)
            # Of few customers the top share is a part of one: the label says so, lest it read as a whole customer.
            part = f" ({exact_text(top, 2)} of one customer)" if tail and top < 1 else ""
            self.add(
                f"top_{percent}_percent_cost_share",
                f"Share of compute by the top {percent}% of customers{part}",
                tail.top[share] if tail else None,
                "share",
                f"compute of the costliest {percent}% of customers (boundary customer counted by its part) ÷ cost_usd",
                ("cost_usd", "n_customers"),
            )
        self.add(
            "cost_gini",
            "Gini coefficient of compute over customers",
            tail.gini if tail else None,
            "ratio",
            "1 − 2 × area under the Lorenz curve",
            ("cost_usd", "n_customers"),
        )
        margins = b.customer_margins
        losing = Fraction(sum(1 for margin in margins if margin < 0), len(margins)) if margins else None
        self.add(
            "losing_customers_share",
            "Customers who lose money",
            losing,
            "share",
            "customers with a margin below zero ÷ customers with known revenue",
            ("margin_usd", "n_customers"),
        )
        loss = cvar_loss(margins)
        self.add(
            "cvar_loss_usd",
            "Mean loss on the worst 5% of customers" + ("; below zero: they earn" if loss and loss < 0 else ""),
            loss,
            "usd",
            "mean of −margin over the worst 5% of customers, the boundary customer counted by its part",
            ("margin_usd", "n_customers"),
        )
        return tail
