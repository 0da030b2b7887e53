"""The path as a document (schema solvent.path/1): steps in order, those not taken with the reason, and every figure.

Levels are rounded once and effects are their differences, so that the waterfall adds up to the last digit shown.
Enter at `document`. Format: docs/reference/path.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

import numpy as np

from solvent import __version__
from solvent.choose.ages import aged
from solvent.choose.economics import Array, Economics
from solvent.choose.path.model import Model, Outcome
from solvent.choose.path.screen import Screened
from solvent.choose.path.search import Found, price_usd
from solvent.choose.path.step import KIND_WORDS, Step, Terms
from solvent.choose.path.wording import line, not_taken, short, title
from solvent.figure import Figure, Figures, Method, exact_text, weakest

SCHEMA = "solvent.path/1"
LEVEL = 0.90
# A customer with this share of compute or more makes the draws over customers too narrow: where the shares are as
# unequal as that, tools/customer_interval_coverage.py finds two thirds of the intervals to hold the truth.
HEAVY = 0.10
State = Literal["already", "reached", "not reached", "unknown"]
# Figures of the statement that a path leans on, taken over with their lineage.
FROM_STATEMENT = ("cost_usd", "revenue_usd", "refunds_usd", "fees_usd", "other_cost_usd", "margin_usd",
                  "customer_value_usd", "n_outputs", "n_customers")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that was computed; `state` and the outcomes along the way, the first of them today's."""

    economics: Economics
    terms: Terms
    model: Model
    screened: Screened
    steps: tuple[Step, ...]
    found: Found
    along: tuple[Outcome, ...]

    @property
    def state(self) -> State:
        if not self.found.reached:
            return "not reached"
        return "reached" if self.found.order else "already"

    def taken(self) -> tuple[Step, ...]:
        by_id = {step.id: step for step in self.steps}
        return tuple(by_id[name] for name in self.found.order)


def document(statement: Mapping[str, Any], result: Result, as_of: date) -> dict[str, Any]:
    """The path as JSON-ready fields. as_of: the day on which ages are judged."""
    maker = _Maker(statement, result)
    maker.today()
    taken = [maker.taken(place, step) for place, step in enumerate(result.taken(), 1)]
    maker.end()
    others = [maker.other(step) for step in result.steps if step.id not in result.found.order]
    e, terms, found = result.economics, result.terms, result.found
    end = result.along[-1]
    return {
        "schema": SCHEMA,
        "version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "product": dict(statement["product"]),
        "per": e.per,
        "policy": {
            "text": statement["verdict"]["policy"]["text"],
            "max_compute_per_value": e.policy_max_compute_per_value,
            "min_gross_margin": e.policy_min_gross_margin,
            "probability": terms.probability,
            "quality_floor": terms.quality_floor,
            "horizon_months": terms.horizon_months,
        },
        "verdict": {
            "state": result.state,
            "title": title(result.state),
            "short": short(result.state, terms, found),
            "line": line(result.state, e, terms, found, (result.along[0], end)),
        },
        "search": {"n_sets": found.n_sets, "exact": found.exact, "draws": terms.n_draws, "seed": terms.seed},
        "headline": list(maker.headline),
        "steps": [*taken, *others],
        "waterfall": maker.waterfall(),
        "figures": maker.figures.document(),
        "as_of": as_of.isoformat(),
        "assumptions": _assumptions(result, as_of),
        "not_tried": _not_tried(result),
        "notes": _notes(statement, result, as_of),
    }


def unknown_document(statement: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The document where no path can be computed, because the statement doesn't know enough."""
    return {
        "schema": SCHEMA,
        "version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "product": dict(statement["product"]),
        "per": "month",
        "policy": {"text": statement["verdict"]["policy"]["text"]},
        "verdict": {"state": "unknown", "title": title("unknown"), "line": why},
        "search": {},
        "headline": [],
        "steps": [],
        "waterfall": [],
        "figures": {},
        "as_of": None,
        "assumptions": [],
        "not_tried": [],
        "notes": [],
    }


class _Maker:
    """Adds the figures one after the other; ids start with `path_`."""

    def __init__(self, statement: Mapping[str, Any], result: Result) -> None:
        self.statement, self.result, self.figures = statement, result, Figures()
        self.headline: list[str] = []
        self.unit = "usd/month" if result.economics.per == "month" else "usd"
        self.bars: list[dict[str, Any]] = []
        peak = max(float(np.max(np.abs([o.margin_usd[0] for o in result.along]))), 0.0)
        # As `report` writes dollars: cents, and none from a million up.
        self.quantum = Decimal(1) if peak >= 999_999 else Decimal("0.01")
        self.method: Method = "measured"
        for name in FROM_STATEMENT:
            fields = statement["figures"].get(name)
            if fields is not None:
                self._copied(name, fields)

    def _copied(self, name: str, fields: Mapping[str, Any]) -> None:
        numbers = {key: None if fields.get(key) is None else Decimal(fields[key]) for key in ("value", "low", "high")}
        self.figures.add(Figure(
            name, fields["label"], numbers["value"], fields["unit"], fields["method"],
            fields.get("source") or "statement", low=numbers["low"], high=numbers["high"], level=fields.get("level"),
            note=fields.get("note", ""),
        ))  # fmt: skip
        self.method = weakest([self.method, fields["method"]])

    def _level(self, outcome: Outcome) -> Decimal:
        return Decimal(repr(float(outcome.margin_usd[0]))).quantize(self.quantum)

    def _add(
        self, name: str, label: str, value: Decimal, draws: Array | None, formula: str,
        of: tuple[str, str, tuple[str, ...], Method | None] = ("", "", (), None),
    ) -> str:  # fmt: skip
        """A figure with the 5% and 95% points of its draws. of: unit, source, inputs, method beside the inputs'."""
        unit, source, inputs, method = of
        inputs = tuple(i for i in inputs if i in self.figures.by_id)
        methods = [self.figures[i].method for i in inputs] + ([method] if method else [])
        low = high = None
        if draws is not None and np.all(np.isfinite(draws)):
            ends = [Decimal(repr(float(x))) for x in np.quantile(draws[1:], [0.05, 0.95])]
            # An estimate of both tails can miss a value that lies outside; the interval then reaches to it.
            low, high = min(ends[0], value), max(ends[1], value)
        self.figures.add(Figure(name, label, value, unit or self.unit, weakest(methods), source or "derived", formula,
                                inputs, low, high, LEVEL if low is not None else None))  # fmt: skip
        return name

    def today(self) -> None:
        r, first = self.result, self.result.along[0]
        base = ("revenue_usd", "refunds_usd", "fees_usd", "other_cost_usd", "cost_usd")
        level = self._level(first)
        how = "margin_usd ÷ months of the span" if r.economics.per == "month" else "margin_usd"
        self._add("path_margin_today_usd", "Margin today", level, first.margin_usd, how, ("", "", base, None))
        self.headline.append("path_margin_today_usd")
        self.bars.append(_bar("today", "Margin today", level, level, "path_margin_today_usd"))

    def taken(self, place: int, step: Step) -> dict[str, Any]:
        r = self.result
        before, after = r.along[place - 1], r.along[place]
        level, previous = self._level(after), self._level(before)
        ids = self._of_step(
            step, level - previous, after.margin_usd - before.margin_usd, "margin after − margin before"
        )
        last = "path_margin_today_usd" if place == 1 else f"path_{r.found.order[place - 2]}_margin_usd"
        ids["margin"] = self._add(
            f"path_{step.id}_margin_usd", f"Margin after: {step.title}", level, after.margin_usd,
            "margin before + effect", ("", "", (last, ids["effect"]), None),
        )  # fmt: skip
        ids["cost_per_value"] = self._add(
            f"path_{step.id}_cost_per_value", f"Compute per dollar of customer value after: {step.title}",
            _decimal(after.ratio()[0]), after.ratio(), "compute ÷ customer value, with the steps so far",
            ("usd/usd", "", (ids["effect"],), None),
        )  # fmt: skip
        probability = after.probability(r.terms.quality_floor)
        ids["probability"] = self._add(
            f"path_{step.id}_probability", f"Probability that the policy holds after: {step.title}",
            _decimal(probability), None, f"draws that meet policy and quality floor ÷ {r.terms.n_draws} draws",
            ("share", "seeded draws", (ids["effect"],), None),
        )  # fmt: skip
        self.bars.append(_bar(step.id, step.title, previous, level, ids["effect"]))
        return {**self._entry(step, ids), "taken": True, "place": place, "why": ""}

    def other(self, step: Step) -> dict[str, Any]:
        """A step that isn't taken: its effect alone, where it can be said, and why it isn't."""
        r, ids = self.result, {}
        if step.id in {s.id for s in r.screened.shown}:
            alone, today = r.model.outcome((step.id,)), r.along[0]
            effect = self._level(alone) - self._level(today)
            ids = self._of_step(
                step, effect, alone.margin_usd - today.margin_usd, "margin with this step alone − today's"
            )
            if effect <= 0 and step.id not in r.screened.barred:
                return {**self._entry(step, ids), "taken": False, "place": None, "barred": False,
                        "why": "saves nothing: alone it makes the margin no better"}  # fmt: skip
        why = r.screened.barred.get(step.id) or not_taken(step, r.taken(), r.found)
        return {**self._entry(step, ids), "taken": False, "place": None, "why": why,
                "barred": step.id in r.screened.barred}  # fmt: skip

    def _of_step(self, step: Step, effect: Decimal, draws: Array, formula: str) -> dict[str, str]:
        r, method = self.result, step.method() if step.ranges() else "assumed"
        lean = ("path_margin_today_usd", *(("n_customers",) if step.tail else ()))
        ids = {"effect": self._add(f"path_{step.id}_effect_usd", step.title, effect, draws, formula,
                                   ("", step.source, lean, method))}  # fmt: skip
        if step.quality is not None:
            kept = r.model.quality[step.id]
            ids["quality"] = self._add(
                f"path_{step.id}_quality", f"Share of today's quality kept by: {step.title}", _decimal(kept[0]),
                kept if np.ptp(kept) > 0 else None, "1 − share of the traffic × (1 − quality kept)",
                ("share", step.quality.source, (), step.quality.method),
            )  # fmt: skip
        alone = price_usd(r.model, {step.id: step}, frozenset([step.id]), r.terms)
        ids["price"] = self._add(
            f"path_{step.id}_price_usd", f"Price of: {step.title}", _decimal(alone, 2), None,
            f"effort + {r.terms.horizon_months:g} months × customer value × share given up "
            f"({r.model.given_up[step.id]:.1%})", ("usd", step.source, ("customer_value_usd",), "assumed"),
        )  # fmt: skip
        return ids

    def _entry(self, step: Step, ids: Mapping[str, str]) -> dict[str, Any]:
        return {
            "id": step.id, "kind": step.kind, "title": step.title, "method": step.method() if step.ranges() else "",
            "source": step.source, "date": step.date, "one_of": step.one_of, "needs": list(step.needs),
            "quality_note": step.quality_note, "note": step.note, "effort_usd": exact_text(step.effort_usd),
            "months": round(step.months, 2), "figures": dict(ids),
        }  # fmt: skip

    def end(self) -> None:
        """What the path comes to."""
        r, end = self.result, self.result.along[-1]
        effects = tuple(f"path_{name}_effect_usd" for name in r.found.order)
        level, inputs = self._level(end), ("path_margin_today_usd", *effects)
        names = [self._add("path_margin_usd", "Margin after the path" if effects else "Margin", level, end.margin_usd,
                           "margin today + effects of the steps", ("", "", inputs, None))]  # fmt: skip
        asked = Decimal(repr(float(end.margin_usd[0] + end.shortfall_usd[0]))).quantize(self.quantum)
        how = "margin after the path + what is missing to the policy"
        after = ("", "", ("path_margin_usd",), None)
        self._add("path_policy_margin_usd", "Margin that the policy asks for", asked, None, how, after)
        ratio = end.ratio()
        names.append(self._add("path_cost_per_value", "Compute per dollar of customer value", _decimal(ratio[0]), ratio,
                               "compute ÷ customer value, with every step", ("usd/usd", "", inputs, None)))  # fmt: skip
        # A draw of few customers may hold none with an output: its cost is unknown, and so is the interval.
        with np.errstate(divide="ignore", invalid="ignore"):
            per_output = end.compute_usd / end.outputs
        names.append(self._add("path_cost_per_output_usd", "Cost per output", _decimal(per_output[0]), per_output,
                               "compute ÷ outputs, with every step",
                               ("usd/output", "", (*inputs, "n_outputs"), None)))  # fmt: skip
        names.append(self._add(
            "path_probability", "Probability that the policy holds", _decimal(r.found.probability), None,
            f"draws that meet policy and quality floor ÷ {r.terms.n_draws} draws",
            ("share", "seeded draws", inputs, None),
        ))  # fmt: skip
        names.append(self._add("path_quality", "Share of today's quality kept", _decimal(end.quality[0]),
                               end.quality if np.ptp(end.quality) > 0 else None, "Π of the steps' quality",
                               ("share", "", effects, None)))  # fmt: skip
        self._add("path_price_usd", f"Price of the path over {r.terms.horizon_months:g} months",
                  _decimal(r.found.price_usd, 2), None,
                  "efforts + value given up + what is lost on the way", ("usd", "", effects, "assumed"))  # fmt: skip
        if r.state == "not reached" and np.isfinite(r.found.miss_usd):
            names.append(self._add(
                "path_miss_usd", f"Missing to the policy, at {r.terms.probability:.0%} probability",
                _decimal(r.found.miss_usd, 2), None, "the shortfall that so many draws stay within",
                ("", "seeded draws", inputs, None),
            ))  # fmt: skip
        self.headline += [*names, "path_price_usd"] if effects else names[1:]
        if effects:
            self.bars.append(_bar("end", "Margin after the path", level, level, "path_margin_usd"))

    def waterfall(self) -> list[dict[str, Any]]:
        return self.bars


def _narrow(e: Economics) -> str:
    """Where few customers carry much of the compute: others like them can't show one heavier than those seen."""
    compute = [usd for _, usd, _ in e.by_customer if usd is not None]
    whole = sum(compute)
    if len(compute) < 2 or whole <= 0 or max(compute) < HEAVY * whole:
        return ""
    return (
        f"One of {len(compute):,} customers causes {max(compute) / whole:.0%} of compute. Others like them are drawn "
        "from these alone, so one heavier still is never drawn: the intervals are too narrow, and the probability too "
        "sure."
    )


def _bar(name: str, label: str, start: Decimal, end: Decimal, figure: str) -> dict[str, Any]:
    """One bar: from the level before to the level after; totals stand on zero."""
    total = name in ("today", "end")
    return {"id": name, "label": label, "from": "0" if total else exact_text(start), "to": exact_text(end),
            "total": total, "figure": figure}  # fmt: skip


def _decimal(value: float, places: int = 12) -> Decimal:
    return round(Decimal(repr(float(value))), places)


def _assumptions(result: Result, as_of: date) -> list[dict[str, Any]]:
    """Every range that isn't a point of the steps that are taken: what it is, its method, source, date and age."""
    found = []
    for step in result.taken():
        age = aged(step.date, as_of, result.terms.stale_after_days).document()
        for what, r in step.named_ranges():
            if r.low < r.high:
                text = f"{step.title}: {what} {r.value:.3g}, 90% interval {r.low:.3g} to {r.high:.3g}"
                found.append({"text": text, "method": r.method, "source": r.source, **age, "figures": []})
    return found


def _not_tried(result: Result) -> list[str]:
    """Kinds of step that nobody stated and nothing here found, in words: a path says what it didn't look at."""
    kinds = {step.kind for step in result.steps}
    return [words for kind, words in KIND_WORDS.items() if kind not in kinds]


def _notes(statement: Mapping[str, Any], result: Result, as_of: date) -> list[str]:
    e, after = result.economics, result.terms.stale_after_days
    notes = []
    if missing := _not_tried(result):
        notes.append(f"Not tried, since no step states it: {', '.join(missing)}.")
    for state, words in (("stale", f"older than {after:,} days on {as_of.isoformat()}"), ("undated", "undated")):
        of = [step.title for step in result.taken() if aged(step.date, as_of, after).state == state]
        if of:
            notes.append(f"What these steps rest on is {words}: {'; '.join(of)}.")
    log = aged(str(statement.get("span", {}).get("end") or "") or None, as_of, after)
    if log.state == "stale":
        notes.append(
            f"The audit's log ends on {log.date}, {log.age_days:,} days before {as_of.isoformat()}: prices and use may "
            "have moved since."
        )
    if narrow := _narrow(e):
        notes.append(narrow)
    if len(e.by_customer) < 2:
        notes.append("The statement doesn't hold every customer, so other customers weren't drawn: the intervals are "
                     "too narrow, and no step acts on the tail.")  # fmt: skip
    if not result.found.exact:
        notes.append(f"More sets of steps than could be looked at: {result.found.n_sets:,} were, the most promising "
                     "first, so a cheaper path may exist.")  # fmt: skip
    if e.left_out:
        notes.append(f"As the verdict, the path doesn't cover what was {e.left_out}.")
    if e.per == "log":
        notes.append("The log's span isn't known, so amounts are those of the log and not of a month.")
    return notes


def outcomes_along(model: Model, order: Sequence[str]) -> tuple[Outcome, ...]:
    """Today and after each step."""
    return tuple(model.outcome(order[:n]) for n in range(len(order) + 1))
