"""The result of a choice as one JSON-ready document (schema solvent.choice/1), every number a figure with lineage.

What it doesn't do: choose, or print. The shares and machines of each hour are the plan's decisions, no measurements:
they stand as plain numbers. Enter at `choice_document`; its fields are in docs/reference/choice.md.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from solvent import __version__
from solvent.choose.mix.draws import N_DRAWS
from solvent.choose.mix.frontier import AXES, Axis, FrontierPoint
from solvent.choose.mix.plan import Infeasible, Plan, Relaxation
from solvent.choose.mix.rank import Ranked
from solvent.choose.mix.relax import dollars
from solvent.choose.mix.robust import Budget, Robust, usd_at, use_usd_at
from solvent.choose.offers.demand import Demand
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, Range
from solvent.choose.offers.screen import Reason
from solvent.figure import Figure, Figures, Method, weakest

SCHEMA = "solvent.choice/1"
LEVEL = 0.9
MAX_ROWS = 200
_RANGES = (
    ("usd_per_hour", "USD for an hour of one machine", "usd/h"),
    ("input_tok_per_s", "tokens that one machine reads a second", "tok/s"),
    ("output_tok_per_s", "tokens that one machine writes a second", "tok/s"),
    ("ttft_s", "time to first token", "s"),
    ("itl_s", "inter-token latency", "s"),
    ("quality", "quality", "score"),
    ("watts", "watts of one machine", "W"),
)
_AXIS_UNITS = {"ttft_s": "s", "itl_s": "s", "quality_floor": "score", "power_cap_w": "W"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """All that a choice found out."""

    offers: Sequence[Offer]
    demand: Demand
    needs: Needs
    robust: Robust
    ranked: Sequence[Ranked]
    excluded: Sequence[tuple[Offer, Sequence[Reason]]]
    frontiers: dict[Axis, tuple[FrontierPoint, ...]]


def choice_document(chosen: Chosen, source: str) -> dict[str, Any]:
    """The document; rows of offers beyond MAX_ROWS are counted, not listed."""
    figures = Figures()
    _demand(figures, chosen.demand)
    plan = _headline(chosen.robust)
    for offer in _named(chosen, plan):
        _offer(figures, offer)
    return {
        "schema": SCHEMA,
        "version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source,
        "output": chosen.demand.output,
        "demand": {"source": chosen.demand.source, "date": chosen.demand.date, "note": chosen.demand.note},
        "needs": _needs(chosen.needs),
        "verdict": _verdict(chosen, plan),
        "plan": _plan(figures, chosen, plan) if plan is not None else None,
        "robust": _robust(figures, chosen),
        "relax": _relax(chosen.robust),
        "ranked": [_ranked(figures, one, chosen.demand) for one in chosen.ranked[:MAX_ROWS]],
        "excluded": [_excluded(offer, reasons) for offer, reasons in chosen.excluded[:MAX_ROWS]],
        "n_offers": len(chosen.offers),
        "n_ranked": len(chosen.ranked),
        "n_excluded": len(chosen.excluded),
        "frontiers": {axis: _frontier(figures, axis, chosen) for axis in AXES if chosen.frontiers.get(axis)},
        "figures": figures.document(),
    }


def _headline(robust: Robust) -> Plan | None:
    """The plan that holds at the bad ends where there is one, else the one at the point values."""
    return next((plan for plan in (robust.bad, robust.point) if isinstance(plan, Plan)), None)


def _named(chosen: Chosen, plan: Plan | None) -> list[Offer]:
    """Offers whose figures the document needs, at their own values."""
    ids = {use.offer.id for use in plan.uses} if plan else set()
    ids |= {one.offer.id for one in chosen.ranked[:MAX_ROWS]}
    ids |= {offer.id for offer, _ in chosen.excluded[:MAX_ROWS]}
    return [offer for offer in chosen.offers if offer.id in ids]


def _demand(figures: Figures, demand: Demand) -> None:
    day = demand.total()
    parts = (
        ("outputs", demand.output, day.outputs),
        ("input_tok", "tokens read uncached", day.input_tok),
        ("cache_read_tok", "tokens that a cache holds", day.cache_read_tok),
        ("output_tok", "tokens written, reasoning too", day.output_tok),
    )
    for key, label, value in parts:
        unit = f"{'outputs' if key == 'outputs' else 'tok'}/day"
        text = f"{label} a day"
        figures.add(
            Figure(
                f"demand.{key}",
                text,
                value,
                unit,
                demand.method,
                demand.source,
                date=demand.date,
                note=demand.note,
            )
        )


def _offer(figures: Figures, offer: Offer) -> None:
    for key, price in (offer.price_usd_per_mtok or {}).items():
        name = f"offer.{offer.id}.{key}_usd_per_mtok"
        figures.add(Figure(name, f"{key} tokens", price, "usd/Mtok", "priced", offer.source, date=offer.date))
    for key, label, unit in _RANGES:
        found: Range | None = getattr(offer, key)
        if found is not None:
            named = f"{label}: {offer.quality_metric}" if key == "quality" and offer.quality_metric else label
            figures.add(
                Figure(
                    f"offer.{offer.id}.{key}",
                    named,
                    found.value,
                    unit,
                    found.method,
                    found.source,
                    low=found.low,
                    high=found.high,
                    level=LEVEL,
                    date=offer.date,
                )
            )


def _inputs(figures: Figures, offer: Offer) -> tuple[str, ...]:
    """The offer's figures that a cost is made of, with the demand's."""
    mine = re.compile(rf"offer\.{re.escape(offer.id)}\.(\w+_usd_per_mtok|usd_per_hour|\w+put_tok_per_s)")
    parts = tuple(name for name in figures.by_id if mine.fullmatch(name))
    return (*parts, "demand.input_tok", "demand.cache_read_tok", "demand.output_tok")


def _method(figures: Figures, inputs: Sequence[str]) -> Method:
    return weakest(figures[name].method for name in inputs)


def _derived(figures: Figures, name: str, label: str, value: float | None, unit: str, inputs: tuple[str, ...]) -> str:
    """Adds a figure computed from others; returns its id."""
    figures.add(Figure(name, label, value, unit, _method(figures, inputs), "choice", inputs=inputs))
    return name


def _verdict(chosen: Chosen, plan: Plan | None) -> dict[str, Any]:
    if plan is None:
        point = chosen.robust.point
        assert isinstance(point, Infeasible)
        return {"state": "none", "passed": False, "line": point.line}
    usd = usd_at(plan, {offer.id: offer for offer in chosen.offers})
    price = f"{dollars(usd)} USD/day"
    if plan.outputs:
        price += f", {usd / plan.outputs:.6f} USD/{chosen.demand.output}"
    names = ", ".join(use.offer.id for use in plan.uses[:4]) + (" …" if len(plan.uses) > 4 else "")
    if plan is chosen.robust.bad:
        return {"state": "plan", "passed": True, "line": f"{names}: {price}; {_holds(chosen.needs.n_bad_ends)}"}
    ends = "the bad 90% ends" if chosen.needs.n_bad_ends is None else f"{chosen.needs.n_bad_ends} bad 90% ends"
    return {"state": "fragile", "passed": False, "line": f"{names}: {price}; doesn't hold at {ends}"}


def _holds(n_bad: int | None) -> str:
    """What a plan of a budget promises."""
    if n_bad is None:
        return "holds at the bad 90% ends"
    if n_bad == 0:
        return "holds at the point values; no bad end was asked about"
    return f"holds with any {n_bad} choice{'s' if n_bad > 1 else ''} at the bad 90% ends"


def _needs(needs: Needs) -> dict[str, Any]:
    return {key: getattr(needs, key) for key in Needs.__slots__ if getattr(needs, key) not in (None, (), "")}


def _plan(figures: Figures, chosen: Chosen, plan: Plan) -> dict[str, Any]:
    by_id = {offer.id: offer for offer in chosen.offers}
    uses = []
    for use in plan.uses:
        offer = by_id[use.offer.id]
        inputs = _inputs(figures, offer)
        low, value, high = (use_usd_at(use, offer, end) for end in ("low", "value", "high"))
        name = f"plan.use.{offer.id}.usd_per_day"
        formula = "API share × price × tokens" if offer.is_api else "machines × hours paid × USD per hour"
        figures.add(
            Figure(
                name,
                f"{offer.id} a day",
                value,
                "usd/day",
                _method(figures, inputs),
                "choice",
                formula,
                inputs,
                low,
                high,
                LEVEL,
            )
        )
        uses.append(_use_row(use.machines, use.share, use.idle_share, offer, name))
    parts = tuple(f"plan.use.{use.offer.id}.usd_per_day" for use in plan.uses)
    low, value, high = (usd_at(plan, by_id, end) for end in ("low", "value", "high"))
    method = _method(figures, parts)
    figures.add(
        Figure(
            "plan.usd_per_day",
            "the plan a day",
            value,
            "usd/day",
            method,
            "choice",
            "sum of its offers",
            parts,
            low,
            high,
            LEVEL,
        )
    )
    per_output = value / plan.outputs if plan.outputs else None
    per = ("plan.usd_per_day", "demand.outputs")
    _derived(figures, "plan.cost_per_output_usd", "cost per output", per_output, "usd/output", per)
    _derived(figures, "plan.gap", "what another plan could save at most", plan.gap, "share", ("plan.usd_per_day",))
    _derived(figures, "plan.idle_share", "paid capacity that idles", plan.idle_share, "share", parts)
    watts = tuple(name for use in plan.uses if (name := f"offer.{use.offer.id}.watts") in figures.by_id)
    _derived(figures, "plan.watts_peak", "watts of the machines that run at once", plan.watts_peak, "W", watts)
    keys = ("usd_per_day", "cost_per_output_usd", "gap", "idle_share", "watts_peak")
    return {key: f"plan.{key}" for key in keys} | {"robust": plan is chosen.robust.bad, "uses": uses}


def _use_row(
    machines: tuple[int, ...], share: tuple[float, ...], idle: float | None, offer: Offer, figure: str
) -> dict[str, Any]:
    about = {"offer": offer.id, "kind": offer.kind, "model": offer.model, "vendor": offer.vendor}
    hours = {"machines_by_hour": list(machines), "share_by_hour": [round(one, 9) for one in share]}
    return about | {"usd_per_day": figure, "idle_share": idle} | hours


def _robust(figures: Figures, chosen: Chosen) -> dict[str, Any]:
    """Figures of the plan at the point values, the price of holding at the bad ends, and how often each holds."""
    robust, rows = chosen.robust, dict[str, Any]()
    inputs = ("plan.usd_per_day",) if "plan.usd_per_day" in figures.by_id else ("demand.outputs",)
    if isinstance(robust.point, Plan):
        label = "the cheapest plan if every value were its point value"
        rows["point_usd_per_day"] = _derived(
            figures, "point.usd_per_day", label, robust.point.usd_per_day, "usd/day", inputs
        )
    if robust.price_usd_per_day is not None:
        label = "what holding at the bad ends costs, at point prices"
        rows["price_usd_per_day"] = _derived(
            figures, "robust.price_usd_per_day", label, robust.price_usd_per_day, "usd/day", inputs
        )
    for key, share in (("point_holds", robust.point_holds), ("robust_holds", robust.bad_holds)):
        if share is not None:
            label = f"share of {N_DRAWS:,} draws in which every hour is served and every need met"
            rows[key] = _derived(figures, f"robust.{key}", label, share, "share", inputs)
    if isinstance(robust.bad, Infeasible):
        rows["line"] = robust.bad.line
    rows["budgets"] = [_budget(figures, one, inputs) for one in robust.budgets]
    return rows


def _budget(figures: Figures, one: Budget, inputs: tuple[str, ...]) -> dict[str, Any]:
    """A plan with so many offers at their bad ends: what it costs at point prices, and how often it doesn't hold."""
    name = f"robust.budget.{'all' if one.n_bad is None else one.n_bad}"
    ends = "all choices" if one.n_bad is None else f"any {one.n_bad} choices"
    usd = _derived(figures, f"{name}.usd_per_day", f"a plan for {ends} at bad ends", one.usd_per_day, "usd/day", inputs)
    label = f"share of {N_DRAWS:,} draws in which that plan fails"
    fails = _derived(figures, f"{name}.fails", label, 1 - one.holds, "share", inputs)
    bound = {"n_uncertain": one.n_uncertain, "hour_fails_at_most": one.beyond}
    return {"n_bad_ends": one.n_bad, "usd_per_day": usd, "fails": fails} | bound


def _relax(robust: Robust) -> dict[str, Any]:
    """What would have to give way: for any plan at all, else for one that holds at the bad ends."""
    for of, result in (("point", robust.point), ("bad ends", robust.bad)):
        if isinstance(result, Infeasible):
            alone, together = ([_relaxation(one) for one in found] for found in (result.relaxations, result.together))
            return {"of": of, "line": result.line, "alone": alone, "together": together}
    return {}


def _relaxation(one: Relaxation) -> dict[str, Any]:
    return {"need": one.need, "wanted": one.wanted, "enough": one.enough, "line": one.line}


def _ranked(figures: Figures, one: Ranked, demand: Demand) -> dict[str, Any]:
    offer, day = one.offer, demand.total()
    inputs = _inputs(figures, offer)
    usd = _derived(figures, f"ranked.{offer.id}.usd_per_day", "alone a day", one.usd_per_day, "usd/day", inputs)
    served = day.outputs * one.share
    per = one.usd_per_day / served if served else None
    name = f"ranked.{offer.id}.cost_per_output_usd"
    output = _derived(figures, name, "alone, per output", per, "usd/output", (usd, "demand.outputs"))
    about = {
        "offer": offer.id,
        "kind": offer.kind,
        "model": offer.model,
        "vendor": offer.vendor,
        "region": offer.region,
    }
    formats = {"weight_format": offer.weight_format, "cache_format": offer.cache_format, "batch": offer.batch}
    alone = {"share": one.share, "n_machines": one.n_machines, "idle_share": one.idle_share, "watts": one.watts}
    return about | formats | alone | {"usd_per_day": usd, "cost_per_output_usd": output}


def _excluded(offer: Offer, reasons: Sequence[Reason]) -> dict[str, Any]:
    rows = [{"need": reason.need, "line": reason.line, "at": reason.at} for reason in reasons]
    return {"offer": offer.id, "kind": offer.kind, "model": offer.model, "vendor": offer.vendor, "reasons": rows}


def _frontier(figures: Figures, axis: Axis, chosen: Chosen) -> list[dict[str, Any]]:
    rows = []
    for k, point in enumerate(chosen.frontiers[axis]):
        plan = point.plan
        inputs = ("demand.input_tok", "demand.cache_read_tok", "demand.output_tok")
        named = [i for use in plan.uses for i in _inputs(figures, use.offer)]
        used = tuple(dict.fromkeys([*named, *inputs]))
        label = f"the cheapest plan at {axis} {point.at:g} {_AXIS_UNITS[axis]}"
        name = _derived(figures, f"frontier.{axis}.{k}.usd_per_day", label, plan.usd_per_day, "usd/day", used)
        offers = [use.offer.id for use in plan.uses]
        rows.append({"at": point.at, "usd_per_day": name, "watts": plan.watts_peak, "offers": offers})
    return rows
