"""Everything that stress finds about one product, as the JSON-ready document "solvent.stress/1".

It computes through the other files of this room and words nothing but the one line of the verdict.
Enter at `document`. Format: docs/reference/scenarios.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from solvent import __version__
from solvent.choose.ages import STALE_AFTER_DAYS
from solvent.choose.economics import margin_usd, verdict
from solvent.choose.offers.record import exactly
from solvent.choose.stress.assumptions import ASSUMPTIONS, TODAY, combined, label_of, name_of
from solvent.choose.stress.figures import figure_id, stress_figures
from solvent.choose.stress.flips import BELIEVED, Flips, Told, flips
from solvent.choose.stress.further_figures import add_plan, add_together, add_turning, moved_by
from solvent.choose.stress.held import held
from solvent.choose.stress.notice import gap_of
from solvent.choose.stress.outcome import Model, Outcome
from solvent.choose.stress.product import Product, from_statement
from solvent.choose.stress.run import Result, alone, at_home, killer, structural_pairs, swings, together, turning_points
from solvent.choose.stress.scenario_file import LARGEST, Change, Scenario, ScenarioFile, SignalFile
from solvent.choose.stress.sensitivity import LEVEL, SEED, decided
from solvent.figure import Figures

if TYPE_CHECKING:
    from solvent.choose.stress.replan import Replan, Replanner

SCHEMA = "solvent.stress/1"
SHOWN_PAIRS = 5
SCENARIO_FIELDS = ("name", "title", "date", "source", "confidence", "confidence_method", "note")
SIGNAL_FIELDS = ("name", "headline", "date", "source", "confidence", "confidence_method", "checked", "note")
PER = {"month": "a month", "log": "in the log"}
PASSES = ("solvent", "thin")


@dataclass(frozen=True, slots=True)
class Options:
    """only: scenarios by name, all where empty.   combine: look at them together too.   since: what is news;
    None takes the statement's last day.   replanner: makes new plans, where offers were given.
    as_of: the day on which ages are judged, None: today.   stale_after_days: from when on something is stale."""

    only: tuple[str, ...] = ()
    combine: bool = True
    signals: SignalFile | None = None
    since: date | None = None
    replanner: Replanner | None = None
    as_of: date | None = None
    stale_after_days: int = STALE_AFTER_DAYS


def document(statement: Mapping[str, Any], file: ScenarioFile, options: Options) -> dict[str, Any]:
    """The stress of a statement under a file's scenarios. Raises: ReportError (not a statement)."""
    model = Model(from_statement(statement, file.power))
    product, base, file = model.product, model.at({}), at_home(file, model)
    per, made_at = product.economics.per, datetime.now(UTC)
    chosen = [s for s in file.scenarios if not options.only or s.name in options.only]
    results = [alone(model, scenario) for scenario in chosen]
    worst = killer(base, results)
    rows = [_row(model, s, r, base, options.replanner) for s, r in zip(chosen, results, strict=True)]
    plan = _replan(options.replanner.base(), model, {}) if options.replanner else None
    plan_killer, plan_line = _plan_line(plan, rows, per)
    keys = list(dict.fromkeys(key for result in results for key in result.values))
    found = flips(model, options.signals, options.since or product.as_of) if options.signals else None
    figures = stress_figures(statement, base, chosen, results, per)
    groups = _together(model, file, chosen, options.replanner, rows) if options.combine else []
    _plan_figures(figures, plan, rows, [row for row, _ in groups], per)
    points = turning_points(model, keys)
    told = _signals(found, options.signals, model, options.replanner) if found and options.signals else None
    judged = (options.as_of or made_at.date(), options.stale_after_days)
    whole: dict[str, Any] = _plain({
        "schema": SCHEMA,
        "version": __version__,
        "made_at": made_at.isoformat(timespec="seconds"),
        "product": dict(statement["product"]),
        "title": file.title,
        "as_of": product.as_of,
        "per": per,
        "policy": {"max_compute_per_value": product.economics.policy_max_compute_per_value},
        "base": _outcome(base),
        "base_figure": figure_id("base", "margin_usd"),
        "plan": plan,
        "plan_line": plan_line,
        "plan_killer": plan_killer,
        "splits_revenue": product.splits,
        "vendors": [{"vendor": vendor, "share": share} for vendor, share in product.vendors()],
        "electricity": _electricity(product),
        "line": _line(base, worst, per),
        **_passed(base, rows),
        "killer": worst.name if worst else None,
        "scenarios": rows,
        "together": [{**row, "figure": add_together(figures, r, per) if r.touches else None} for row, r in groups],
        "turning_points": [
            {**asdict(p), "label": label_of(p.key), "figures": ids} for p, ids in
            zip(points, add_turning(figures, points, {key: label_of(key) for key in keys}), strict=True)
        ],
        "tornado": [{**asdict(s), "label": label_of(s.key)} for s in swings(model, chosen)],
        "sensitivity": _sensitivity(model, chosen),
        "signals": told,
        "held": held(statement, chosen, options.signals.signals if options.signals else (), file.power, judged),
        "figures": figures.document(),
    })  # fmt: skip
    return whole


def _electricity(product: Product) -> dict[str, Any] | None:
    power = product.power
    if power is None:
        return None
    low, high = power.low * power.usd_per_kwh, power.high * power.usd_per_kwh
    own = product.owned_electricity()
    return {"share": power.share, "low": low, "high": high, "source": power.source, "owned_share": own}


def _passed(base: Outcome, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether the policy holds as things are and under every scenario alone; null where only offers could say.

    A scenario that takes a place away is judged by its new plan: none is no pass.
    """
    fails = [row["name"] for row in rows if row["touches"] and row["outcome"]["verdict"] not in PASSES]
    for row in rows:
        plan = row["replan"] if row["structural"] else None
        if plan is not None and (not plan["feasible"] or plan["verdict"] not in PASSES):
            fails.append(row["name"])
    open_ = [row["name"] for row in rows if row["needs_offers"]]
    holds = base.verdict in PASSES and not fails
    return {"passed": None if holds and open_ else holds, "fails": list(dict.fromkeys(fails)), "not_judged": open_}


def _plan_figures(
    figures: Figures, plan: dict[str, Any] | None, rows: Sequence[dict[str, Any]], groups: Sequence[dict[str, Any]],
    per: str,
) -> None:  # fmt: skip
    """Gives every new plan the ids of its figures, under `figures`."""
    keys = {row["name"]: [change["assumption"] for change in row["changes"]] for row in rows}
    if plan is not None:
        plan["figures"] = add_plan(figures, ("as_things_are", "as things are"), plan, (), per)
    for row in (*rows, *groups):
        if row["replan"]:
            name, of = (f"together_{row['name']}", row["of"]) if "of" in row else (row["name"], [row["name"]])
            moved = moved_by(figures, of, [key for one in of for key in keys.get(one, [])])
            row["replan"]["figures"] = add_plan(figures, (name, row["title"]), row["replan"], moved, per)


def _row(
    model: Model, scenario: Scenario, result: Result, base: Outcome, replanner: Replanner | None
) -> dict[str, Any]:
    """One scenario: what it moves, what comes of it, and the new plan where it asks for one."""
    vendors = model.product.vendors()
    plan = _plan_under(replanner, scenario, result, [vendor for vendor, _ in vendors]) if replanner else None
    barred = {vendors[0][0] if name == LARGEST and vendors else name for name in scenario.bars}
    margin, before = result.outcome.margin_usd, base.margin_usd
    capacity = scenario.freezes_capacity or scenario.power_cap_share is not None
    on_machines = replanner is not None or model.product.share("rented", "owned") > 0
    no_machine = {} if on_machines or not capacity else {"machines": "it runs on no machine of its own"}
    stops = sum(share for vendor, share in vendors if vendor in barred) if barred else None
    gap = gap_of(scenario, model.product.economics, stops)
    return {
        **{key: getattr(scenario, key) for key in SCENARIO_FIELDS},
        "changes": [_change(change) for change in scenario.changes],
        "untouched": {label_of(key): why for key, why in result.untouched.items()} | no_machine,
        "touches": result.touches,
        "figure": figure_id(result.name, "margin_usd") if result.touches else None,
        "structural": scenario.is_structural,
        "takes_away": _takes_away(scenario, model.product, barred),
        "needs_offers": scenario.is_structural and replanner is None and not no_machine,
        "notice_days": scenario.notice_days,
        "stops_share": stops,
        "gap": asdict(gap) if gap else None,
        "outcome": _outcome(result.outcome),
        "delta_usd": None if margin is None or before is None else margin - before,
        "margin_low_usd": result.margin_low_usd,
        "margin_high_usd": result.margin_high_usd,
        "flips": result.touches and result.outcome.verdict != base.verdict,
        "per_outcome_margin_usd": _per_outcome(model, result) if "seats" in result.values else None,
        "subscriber_pays_usd": _subscriber(model, result),
        "replan": _replan(plan, model, result.values) if plan else None,
    }


def _takes_away(scenario: Scenario, product: Product, barred: set[str]) -> bool:
    """Whether it takes a place from this product, as it runs today: no amount of the audit then says what comes."""
    on_machines = product.share("rented", "owned") > 0
    capacity = scenario.freezes_capacity or scenario.power_cap_share is not None
    barred_here = bool(barred & {vendor for vendor, _ in product.vendors()})
    return barred_here or bool(scenario.loses_regions) or (capacity and on_machines)


def _plan_under(replanner: Replanner, scenario: Scenario, result: Result, vendors: Sequence[str]) -> Replan | None:
    """The plan under a scenario; that of today where only revenue or the tail moves: the same demand, the same offers.

    What an equal open model would cost stands in the offers themselves, so such a scenario alone makes no plan.
    """
    plan = replanner.under(scenario, vendors)
    if plan is None and set(result.values) - {"parity_price"}:
        return replanner.base()
    return plan


def _plan_line(
    base: Mapping[str, Any] | None, rows: Sequence[Mapping[str, Any]], per: str
) -> tuple[str | None, str | None]:
    """(name, line) of the scenario that is worst with a new plan: one without any, else the one of least margin."""
    planned = [row for row in rows if row["replan"]]
    if base is None or not planned:
        return None, None
    stuck = [row for row in planned if not row["replan"]["feasible"]]
    start = "No plan meets the needs as things are"
    if base["feasible"]:
        start = f"With the offers given, margin is {_words(base['margin_usd'])} {PER[per]} as things are"
    if stuck:
        return stuck[0]["name"], f"{start}; “{stuck[0]['title']}” leaves no plan at all."
    known = [row for row in planned if row["replan"]["margin_usd"] is not None]
    if not known:
        return None, start + "."
    worst = min(known, key=lambda row: float(row["replan"]["margin_usd"]))
    return worst["name"], f"{start}; “{worst['title']}” takes it lowest, to {_words(worst['replan']['margin_usd'])}."


def _words(margin_usd: float | None) -> str:
    return "unknown" if margin_usd is None else _usd(margin_usd)


def _per_outcome(model: Model, result: Result) -> float | None:
    """The margin if today's revenue came by the output instead of the seat: revenue ÷ outputs × outputs'."""
    today, under = model.at({}), result.outcome
    if None in (today.revenue_usd, today.n_outputs, today.other_usd, under.n_outputs, under.compute_usd):
        return None
    assert today.revenue_usd is not None and today.n_outputs and today.other_usd is not None
    assert under.n_outputs is not None and under.compute_usd is not None
    grown = under.n_outputs / today.n_outputs
    return today.revenue_usd * grown - today.other_usd * grown - under.compute_usd


def _subscriber(model: Model, result: Result) -> float | None:
    """What a subscriber pays at list price for what no longer fits in the subscription."""
    compute, allowance = model.at({}).compute_usd, result.values.get("subscription_allowance")
    if compute is None or allowance is None:
        return None
    return compute * model.product.share("subscription") * max(0.0, 1.0 - allowance)


def _replan(plan: Replan, model: Model, values: Mapping[str, float]) -> dict[str, Any]:
    """A plan with the margin that it leaves, before what moving costs once, and how many months pay for that."""
    found: dict[str, Any] = {
        "feasible": plan.feasible, "lost": plan.lost, "compute_usd": plan.compute_usd, "lines": list(plan.lines),
        "uses": [{"offer": offer, "cost_share": share} for offer, share in plan.uses],
        "migration_usd": dict(zip(("value", "low", "high"), plan.migration_usd, strict=True))
        if plan.migration_usd else None,
        "margin_usd": None, "verdict": "unknown", "payback_months": None,
    }  # fmt: skip
    if plan.compute_usd is None:
        return found
    economics = model.economics(values)
    usd = exactly(plan.compute_usd, "predicted", "the cheapest mix of the offers")
    economics = replace(economics, compute_usd=usd)
    margin = margin_usd(economics)
    found |= {"margin_usd": margin, "verdict": verdict(economics)}
    if margin is not None and margin > 0 and plan.migration_usd:
        found["payback_months"] = plan.migration_usd[0] / margin
    return found


def _together(
    model: Model, file: ScenarioFile, chosen: Sequence[Scenario], replanner: Replanner | None,
    rows: Sequence[Mapping[str, Any]],
) -> list[tuple[dict[str, Any], Result]]:  # fmt: skip
    """Named groups, all at once, of the pairs the worst and the best; with offers, pairs that take places away.

    unplanned: of the group, those that take a place away, so that only a new plan says what they cost.
    apart: those that it leaves out because they move no amount.
    """
    results = together(model, file, chosen)
    groups = [r for r in results if "+" not in r.name]
    pairs = [r for r in results if "+" in r.name]
    shown = pairs if len(pairs) <= 2 * SHOWN_PAIRS else pairs[:SHOWN_PAIRS] + pairs[-SHOWN_PAIRS:]
    named = {frozenset(r.of) for r in groups + shown}
    lost = structural_pairs(model, chosen) if replanner else []
    takes = [row["name"] for row in rows if row["takes_away"]]
    return [
        ({"name": r.name, "title": r.title, "of": list(r.of), "touches": r.touches, "outcome": _outcome(r.outcome),
          "margin_low_usd": r.margin_low_usd, "margin_high_usd": r.margin_high_usd,
          "unplanned": [name for name in r.of if name in takes],
          "apart": [name for name in takes if name not in r.of] if r.name in ("all", "all-adverse") else [],
          "replan": _replan_together(model, file, r, replanner) if replanner else None}, r)
        for r in groups + shown + [pair for pair in lost if frozenset(pair.of) not in named]
    ]  # fmt: skip


def _replan_together(model: Model, file: ScenarioFile, result: Result, replanner: Replanner) -> dict[str, Any] | None:
    """The new plan of a group of the file, or of a pair that takes places away; None for the others."""
    from solvent.choose.stress.replan import merged

    scenarios = [file.named(name) for name in result.of]
    structural = [scenario.is_structural for scenario in scenarios]
    named = result.name in {group.name for group in file.together}
    if not any(structural) or not (named or all(structural)):
        return None
    plan = replanner.under(merged(scenarios), [vendor for vendor, _ in model.product.vendors()])
    return _replan(plan, model, result.values) if plan else None


def _sensitivity(model: Model, chosen: Sequence[Scenario]) -> dict[str, Any] | None:
    found = decided(model, chosen)
    if not found:
        return None
    outputs = {
        of: {
            "mean": s.mean, "low": s.low, "high": s.high, "n_samples": s.n_samples, "decides": list(s.leaders()),
            "indices": [{**asdict(index), "label": label_of(index.key)} for index in s.indices],
        }
        for of, s in found.items()
    }  # fmt: skip
    return {"seed": SEED, "level": LEVEL, "of": outputs}


def _signals(found: Flips, file: SignalFile, model: Model, replanner: Replanner | None) -> dict[str, Any]:
    plan = _replan(replanner.base(), model, {}) if replanner else None
    return {
        "title": file.title, "since": found.since, "believed_from": BELIEVED, "base": found.base.verdict,
        "told": [_told(told, model, (replanner, plan)) for told in found.told],
        "plan_verdict": plan["verdict"] if plan else None,
        "plan_margin_usd": plan["margin_usd"] if plan else None,
        "together": _outcome(found.together),
        "together_of": [told.signal.name for told in found.told if told.counts],
        "smallest": list(found.smallest),
        "smallest_outcome": _outcome(found.smallest_outcome) if found.smallest_outcome else None,
        "exhaustive": found.exhaustive,
    }  # fmt: skip


def _told(told: Told, model: Model, planned: tuple[Replanner | None, Mapping[str, Any] | None]) -> dict[str, Any]:
    """One headline; with offers, what it makes of the cheapest plan, which may rest on what the product doesn't."""
    signal, (replanner, before) = told.signal, planned
    plan = replanner.at(combined((c.key, c.value) for c in signal.changes)) if replanner and told.is_news else None
    replan = _replan(plan, model, told.values) if plan else None
    return {
        **{key: getattr(signal, key) for key in SIGNAL_FIELDS},
        "changes": [_change(change) for change in signal.changes],
        "untouched": {label_of(key): why for key, why in told.untouched.items()},
        "is_news": told.is_news, "counts": told.counts, "flips": told.flips, "touches": bool(told.values),
        "states": list(told.states), "outcome": _outcome(told.outcome), "replan": replan,
        "flips_plan": bool(replan and before and replan["verdict"] != before["verdict"]),
    }  # fmt: skip


def _change(change: Change) -> dict[str, Any]:
    low, high = change.ends
    return {
        "assumption": change.key, "label": label_of(change.key), "way": ASSUMPTIONS[name_of(change.key)].way,
        "today": TODAY[ASSUMPTIONS[name_of(change.key)].way], "value": change.value, "low": low, "high": high,
    }  # fmt: skip


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome)


def _line(base: Outcome, worst: Result | None, per: str) -> str:
    """Which scenario kills the margin, in one line."""
    if base.margin_usd is None:
        return "The margin isn't known, so no scenario can be said to kill it; compute under each is shown."
    now = f"Margin is {_usd(base.margin_usd)} {PER[per]}"
    if worst is None or worst.outcome.margin_usd is None:
        return f"{now}; no scenario alone takes it lower" + (", below zero." if base.margin_usd < 0 else " than zero.")
    says = f"“{worst.title}” takes it to {_usd(worst.outcome.margin_usd)}"
    if base.margin_usd < 0:
        return f"{now}, below zero before anything happens; {says}, the lowest of all."
    return f"{now}; {says}: the scenario that kills it most."


def _usd(value: float) -> str:
    return f"{'−' if value < 0 else ''}${abs(value):,.0f}"


def _plain(node: Any) -> Any:
    """JSON-ready: days as text, infinity (no such price today) as null, floats to ten digits."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_plain(value) for value in node]
    if isinstance(node, date):
        return node.isoformat()
    if isinstance(node, float):
        return float(f"{node:.10g}") if math.isfinite(node) else None
    return node
