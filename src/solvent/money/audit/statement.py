"""The statement: the exact totals of a log put beside its revenue, as the document that every report is drawn from.

Enter at `Audit.document`. Format: docs/reference/statement.md. Computing is elsewhere in this room; here it meets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

from solvent import __version__
from solvent.figure import Figures, Method, exact_text, weakest
from solvent.money.audit.compare import CostBasis, ModelUse, basis_document
from solvent.money.audit.figures import Basis, Money, statement_figures
from solvent.money.audit.pricing import Pricing
from solvent.money.audit.subscription import days_text, of_subscription
from solvent.money.audit.tables import NOBODY, MoneyOf, Shape, dimension_table, lineage_lines, price_table, row_name
from solvent.money.audit.totals import OutputRule, Total, count_outputs, totals, unpriced_requests
from solvent.money.audit.uncertainty import Intervals, block_intervals, customer_intervals
from solvent.money.audit.verdict import LeftOut, decide
from solvent.money.project import LoadedProject
from solvent.money.revenue.lines import Attribution, CustomerUsage, Span
from solvent.money.usage.cells import MIN_CUSTOMERS_TO_RESAMPLE
from solvent.money.usage.intake import HOURLY_DAYS, Intake
from solvent.money.usage.problems import Group

if TYPE_CHECKING:
    import duckdb

SCHEMA = "solvent.statement/1"
DIMENSIONS = {"customer": "customers", "feature": "features", "model": "models", "day": "days"}
TAIL_FIGURES = ("cost_gini", "cvar_loss_usd", "losing_customers_share")
HEADLINE = (
    "cost_per_value",
    "gross_margin",
    "margin_usd",
    "cost_usd",
    "cost_per_month_usd",
    "cost_per_output_usd",
    "losing_customers_share",
    "top_10_percent_cost_share",
)


@dataclass(slots=True)
class Parts:
    """Everything that was computed before the statement is put together."""

    con: duckdb.DuckDBPyConnection
    loaded: LoadedProject
    intake: Intake
    pricing: Pricing
    span: Span | None
    rule: OutputRule
    attribution: Attribution
    value_usd: Fraction | None
    value_source: str
    by: str = "customer"
    name_customer: Callable[[str], str] = field(default=lambda name: name)
    name_feature: Callable[[str], str] = field(default=lambda name: name)


class Audit:
    """The totals of one audit, computed once each and on demand."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.project = parts.loaded.project

    # ------------------------------------------------------------------ totals

    @cached_property
    def whole(self) -> Total:
        return self._totals(())[()]

    @cached_property
    def customers(self) -> dict[str, Total]:
        return self._named("customer")

    def _totals(self, by: tuple[str, ...]) -> dict[Any, Total]:
        p = self.parts
        found = totals(p.con, p.pricing, by)
        for key, n in count_outputs(p.con, p.pricing, p.intake.partial, p.rule, by).items():
            found.setdefault(key, Total()).n_outputs = n
        return found

    def _named(self, dimension: str) -> dict[str, Total]:
        return {self._name(dimension)(key[0]): total for key, total in self._totals((dimension,)).items()}

    def _name(self, dimension: str) -> Callable[[Any], str]:
        if dimension == "customer":
            return lambda value: self._shown(row_name(value))
        if dimension == "feature":
            return lambda value: self.parts.name_feature(row_name(value))
        return row_name

    def _shown(self, name: str) -> str:
        """A customer's name as the report shows it: pseudonymous where that was asked for."""
        return name if name == NOBODY else self.parts.name_customer(name)

    @cached_property
    def money_by_customer(self) -> dict[str, MoneyOf]:
        """Revenue, and what is taken off it beside compute, by customer as shown."""
        a = self.parts.attribution
        return {
            self._shown(key): MoneyOf(
                line.revenue_usd, line.refunds_usd + line.fees_usd + line.other_cost_usd, line.plan, line
            )
            for key, line in {**a.lines, **a.idle}.items()
        }

    # ------------------------------------------------------------------ how far it may be relied on

    @cached_property
    def cost_method(self) -> Method:
        """Priced; assumed where the project states what the log doesn't hold, or states the prices."""
        log = self.project.log
        methods: list[Method] = ["priced"]
        stated = log.constants or log.assumed or log.zone
        if stated or self.project.prices.aliases or self.project.prices.default_provider:
            methods.append("assumed")
        for used in self.parts.pricing.rates:
            methods.append("assumed" if used.offer is not None or used.rate is None else used.rate.method)
        return weakest(methods)

    @cached_property
    def money(self) -> Money:
        p, a = self.parts, self.parts.attribution
        methods = [line.method for line in a.all_lines()] or ["assumed"]
        return Money(
            a.revenue_usd,
            a.refunds_usd,
            a.fees_usd,
            a.other_cost_usd,
            p.value_usd,
            a.low_usd,
            a.high_usd,
            weakest(methods),
            p.value_source,
        )

    def intervals(self) -> Intervals:
        """95% bootstrap intervals of the ratios, over customers or, where those are too few, over time blocks."""
        p = self.parts
        if len(self.customers) >= MIN_CUSTOMERS_TO_RESAMPLE:
            return customer_intervals(self.customers, self.money_by_customer, self.money, self.whole)
        return block_intervals(p.con, p.intake.partial, p.pricing, self.whole, self.money)

    # ------------------------------------------------------------------ the document

    def figures(self) -> tuple[Figures, Any]:
        log, rates = self.project.log, self.parts.pricing.rates
        by_rate = totals(self.parts.con, self.parts.pricing, ("rate_no",))

        def cost_of(select: Callable[[Any], bool]) -> Fraction:
            return sum(
                (t.cost_usd for (no,), t in by_rate.items() if no is not None and no >= 0 and select(rates[no])),
                Fraction(0),
            )

        money = self.money_by_customer
        margins = [
            margin
            for name in {**self.customers, **money}
            if (margin := money.get(name, MoneyOf()).margin_usd(self.customers.get(name, Total()).whole_cost_usd))
            is not None
        ]
        named = [t for name, t in self.customers.items() if name != NOBODY or len(self.customers) == 1]
        costs = [cost for total in named if (cost := total.known_cost_usd) is not None]
        basis = Basis(
            self.whole,
            self.money,
            len(named),
            costs,
            margins,
            self.cost_method,
            "request log × rate cards"
            + (
                f"; {', '.join(sorted({*log.constants, *log.assumed}))} stated by the project"
                if log.constants or log.assumed
                else ""
            ),
            cost_of(lambda u: u.rate is not None and not u.rate.dated and u.rate.method == "priced"),
            cost_of(lambda u: u.rate is None or u.rate.method == "assumed"),
            self.whole.n_unpriced + self.parts.intake.rejected,
            len(self.parts.attribution.unknown) if self.parts.attribution.lines else 0,
            self.project.product.plural(),
            self._rule_text(),
            "measured" if self.parts.rule.requests_per_output == 1 else "assumed",
            self.parts.span.months if self.parts.span and self.parts.span.days else None,
            self.intervals(),
        )
        return statement_figures(basis)

    def _rule_text(self) -> str:
        rule, output = self.parts.rule, self.project.output
        if rule.by_id:
            return f"requests grouped by {output.by}"
        if rule.gap_s is not None:
            return f"a customer's requests at most {rule.gap_s // 60} minutes apart are one output"
        if rule.requests_per_output != 1:
            return f"solvent.toml: {rule.requests_per_output} requests make one output"
        return "one request is one output"

    def tables(self) -> dict[str, Any]:
        p = self.parts
        buckets = p.pricing.used_buckets
        tables: dict[str, Any] = {}
        for dimension, name in DIMENSIONS.items():
            rows = self._with_idle() if dimension == "customer" else self._named(dimension)
            if dimension == "feature" and set(rows) <= {NOBODY}:
                continue
            with_money = dimension == "customer" and bool(p.attribution.lines)
            shape = Shape(
                name.capitalize(),
                dimension,
                self.cost_method,
                self.money.method if with_money else None,
                with_money,
                buckets if dimension == "model" else (),
            )
            lineage = (
                lineage_lines(totals(p.con, p.pricing, (dimension, "rate_no")), p.pricing.rates, self._name(dimension))
                if len(rows) <= 5_000
                else {}
            )
            tables[name] = dimension_table(
                shape, rows, self.whole, self.money_by_customer if with_money else {}, lineage
            )
        if p.span is not None and p.span.days <= HOURLY_DAYS and p.intake.grid.is_hourly():
            tables["hours"] = dimension_table(
                Shape("Hours", "hour", self.cost_method), self._hours(), self.whole, {}, {}
            )
        tables["prices"] = price_table(p.pricing, totals(p.con, p.pricing, ("rate_no",)))
        return tables

    def _hours(self) -> dict[str, Total]:
        """Totals by hour (UTC), for a log of few days. Outputs that aren't requests can't be placed by the hour."""
        rule = self.parts.rule
        hours: dict[str, Total] = {}
        per_request = None if rule.by_id or rule.gap_s is not None else 1 / Fraction(rule.requests_per_output)
        for (day, slot), total in totals(self.parts.con, self.parts.pricing, ("day", "slot")).items():
            name = f"{day.isoformat()} {self.parts.intake.grid.minute(slot) // 60:02d}:00"
            hour = hours.setdefault(name, Total())
            hour.n_priced += total.n_priced
            hour.n_unpriced += total.n_unpriced
            hour.cost_usd += total.cost_usd
            hour.n_outputs += total.n_requests * per_request if per_request else 0
        return hours

    def _with_idle(self) -> dict[str, Total]:
        """Customers with requests, and those who pay without making one."""
        return {**{name: Total() for name in self.money_by_customer}, **self.customers}

    def basis(self) -> CostBasis:
        """What a later audit needs to say why the cost changed."""
        p = self.parts
        models: dict[str, tuple[int, dict[str, Fraction], dict[str, Fraction]]] = {}
        for (model, rate_no), total in totals(p.con, p.pricing, ("model", "rate_no")).items():
            if rate_no is None or rate_no < 0:
                continue
            n, units, usd = models.get(model or NOBODY, (0, {}, {}))
            used = p.pricing.rates[rate_no]
            if used.offer is not None:
                _add(units, usd, "machine", Fraction(total.n_requests), total.cost_usd)
            else:
                for bucket, count in total.buckets.items():
                    if count:
                        _add(units, usd, bucket, Fraction(count), count * used.usd_per_unit[bucket])
                if used.usd_per_request:
                    _add(units, usd, "request", Fraction(total.n_requests), total.n_requests * used.usd_per_request)
            models[model or NOBODY] = (n + total.n_priced, units, usd)
        return CostBasis(
            self.whole.n_outputs,
            {name: ModelUse(*use) for name, use in sorted(models.items())},
            self.whole.n_unpriced + p.intake.rejected,
        )

    def document(self) -> dict[str, Any]:
        """The statement as JSON-ready fields."""
        p, product = self.parts, self.project.product
        figures, tail = self.figures()
        return {
            "schema": SCHEMA,
            "version": __version__,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "product": {"name": product.name, "output": product.output, "output_plural": product.plural()},
            "by": p.by,
            "span": self._span(),
            "accounting": self._accounting(),
            "left_out": self._left_out(),
            "verdict": self._verdict(figures),
            "headline": [i for i in self._headline() if figures[i].value is not None],
            "tables": self.tables(),
            "tail": {
                "of": "cost",
                "lorenz": [[exact_text(x, 6), exact_text(y, 6)] for x, y in tail.lorenz] if tail else [],
                "figures": [i for i in figures.by_id if i.startswith("top_") or i in TAIL_FIGURES],
            },
            "break_even": [],
            "assumptions": self._assumptions(),
            "notes": list(p.intake.notes),
            "basis": basis_document(self.basis()),
            "figures": figures,
        }

    def _headline(self) -> tuple[str, ...]:
        """For a subscription, a month at list price comes first: it stands against the price paid."""
        if self.parts.loaded.subscription_usd_per_month is None:
            return HEADLINE
        return tuple(dict.fromkeys(("cost_per_month_usd", *HEADLINE)))

    def _accounting(self) -> dict[str, int | bool]:
        """Where every row went; that they add up is checked here, whatever the log."""
        intake, whole = self.parts.intake, self.whole
        parts = {
            "priced": whole.n_priced,
            "unpriced": whole.n_unpriced,
            "duplicates": intake.duplicates,
            "rejected": intake.rejected,
        }
        balanced = intake.rows_in == sum(parts.values())
        assert balanced, f"{intake.rows_in} rows don't add up: {parts}"
        return {"rows_in": intake.rows_in, **parts, "not_requests": intake.not_requests, "balanced": balanced}

    def _verdict(self, figures: Figures) -> dict[str, Any]:
        p, intake = self.parts, self.parts.intake
        unknown = len(p.attribution.unknown) if p.attribution.lines else 0
        left = LeftOut(
            self.whole.n_unpriced, intake.rejected, intake.rows_in, unknown, intake.problems.n("unknown_key")
        )
        value, cost = figures["customer_value_usd"].value, figures["cost_usd"].value
        nothing = value == 0 and bool(cost)
        ratio, margin = figures["cost_per_value"], figures["gross_margin"]
        verdict = decide(self.project.policy, ratio, margin, left, brings_nothing=nothing)
        usd_per_month = p.loaded.subscription_usd_per_month
        return verdict if usd_per_month is None else of_subscription(verdict, figures, usd_per_month, p.span)

    def _span(self) -> dict[str, Any]:
        span, log = self.parts.span, self.project.log
        return {
            "start": span.start.isoformat() if span else None,
            "end": span.end.isoformat() if span else None,
            "days": exact_text(span.days) if span else None,
            "zone": log.zone or "as the log states",
            "zone_source": self.parts.loaded.source() if log.zone else "request log",
            "source": self._span_source(),
        }

    def _span_source(self) -> str:
        if self.project.log.start or self.project.log.end:
            return self.parts.loaded.source()
        if self.parts.loaded.subscription_usd_per_month is not None:
            return "whole days, from that of the first request to that of the last"
        return "first and last request"

    def _left_out(self) -> list[dict[str, Any]]:
        p = self.parts
        rows = [_rejected_row(group) for group in p.intake.problems]
        for reason, n in unpriced_requests(p.con, p.pricing):
            rows.append(
                {"kind": "unpriced", "reason": reason.reason, "where": reason.detail, "n": n, "fix": reason.fix}
            )
        if p.intake.duplicates:
            rows.append(
                {
                    "kind": "duplicate",
                    "reason": "the same request id again",
                    "where": "request log",
                    "n": p.intake.duplicates,
                    "fix": "",
                }
            )
        return sorted(rows, key=lambda row: (-int(row.get("n", 0)), str(row)))

    def _assumptions(self) -> list[dict[str, Any]]:
        p, log = self.parts, self.project.log
        source = p.loaded.source()
        texts = [
            (f"{name} = {self._constant(name, value)!r}", f"{source} [log.constants]")
            for name, value in log.constants.items()
        ]
        texts += [(f"{name}: {why}", f"{source} [log.assumed]") for name, why in log.assumed.items()]
        texts += [(f"times without a zone are {log.zone}", f"{source} [log]")] if log.zone else []
        texts += [
            (f"{a} is priced as {b}", f"{source} [prices.aliases]") for a, b in self.project.prices.aliases.items()
        ]
        texts += [(text, source) for text in p.loaded.conversions]
        if p.loaded.subscription_usd_per_month is not None and p.span is not None:
            days = f"{days_text(p.span)} on which the log lies, whole days in UTC"
            texts.append((f"The subscription is prorated to the {days}.", "--subscription"))
        unnamed = self.project.revenue.unnamed_customer or NOBODY
        texts += [(text.replace(unnamed, self._shown(unnamed)), said_by) for text, said_by in p.attribution.assumptions]
        return [{"text": text, "source": origin, "figures": []} for text, origin in texts]

    def _constant(self, name: str, value: str | int) -> str | int:
        """A constant of the log as the report shows it."""
        if name == "feature":
            return self.parts.name_feature(str(value))
        return self._shown(str(value)) if name == "customer" else value


def _rejected_row(group: Group) -> dict[str, Any]:
    """A group of problems as a row of `left_out`; a key that isn't understood rejects no row."""
    kind = "unknown key" if group.kind == "unknown_key" else "rejected"
    return {
        "kind": kind,
        "reason": f"{group.kind.replace('_', ' ')}: {group.detail}",
        "where": ", ".join(group.examples),
        "n": group.n,
        "fix": group.fix,
    }


def _add(units: dict[str, Fraction], usd: dict[str, Fraction], key: str, count: Fraction, cost: Fraction) -> None:
    units[key] = units.get(key, Fraction(0)) + count
    usd[key] = usd.get(key, Fraction(0)) + cost


def customer_usage(rows: Mapping[Any, Total]) -> dict[str, CustomerUsage]:
    """What `money.revenue` asks for, by the customer's row name."""
    return {row_name(name): CustomerUsage(name, t.n_requests, t.n_outputs, t.buckets) for (name,), t in rows.items()}
