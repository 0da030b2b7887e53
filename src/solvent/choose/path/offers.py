"""The step that a choice offers: to move from today's place to the cheapest plan that meets the needs.

Its cost is the plan's for today's demand against what the log was billed; machines in it are paid for also where use
falls. Its quality is the plan's score against that of today's model, on the metric of the needs; where nobody scored
one of them it is unknown. Enter at `steps_from_choice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from solvent.choose.offers.record import Range, exactly
from solvent.choose.path.derive import doing
from solvent.choose.path.file import MODEL_KEPT
from solvent.choose.path.step import Step
from solvent.figure import weakest

PLACE = "place"


def steps_from_choice(choice: Mapping[str, Any], statement: Mapping[str, Any]) -> tuple[Step, ...]:
    """The plan of a choice (schema solvent.choice/1) as one step; none where it found no plan, or there is no cost."""
    plan, figures = choice.get("plan"), choice["figures"]
    days, cost = statement.get("span", {}).get("days"), statement["figures"].get("cost_usd", {}).get("value")
    if plan is None or not days or not cost or float(cost) <= 0:
        return ()
    today_usd = float(cost) / float(days)
    figure = figures[plan["usd_per_day"]]
    value, low, high = (float(figure.get(key) or figure["value"]) / today_usd for key in ("value", "low", "high"))
    source = f"solvent choose: {choice['verdict']['line']}"
    names = [use["offer"] for use in plan["uses"]]
    machines = sum(float(figures[use["usd_per_day"]]["value"]) for use in plan["uses"] if use["kind"] != "api")
    quality, note = _quality(choice, statement)
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        Step(
            "chosen-mix", "offer", f"Move to the cheapest plan: {names[0]}{others}", source,
            {"all": Range(value, low, high, figure["method"], source)}, quality=quality, quality_note=note,
            fixed_share=min(machines / float(figure["value"]), 1.0) if float(figure["value"]) else 0.0,
            one_of=PLACE, **doing("offer") | {"date": str(choice.get("made_at", ""))[:10] or None},
        ),
    )  # fmt: skip


def _quality(choice: Mapping[str, Any], statement: Mapping[str, Any]) -> tuple[Range | None, str]:
    """Score of the plan, by share of the traffic, ÷ score of today's model; 1 where the plan runs the same model."""
    uses, today = choice["plan"]["uses"], models_of(statement)
    if all(plain_name(use["model"]) in today for use in uses):
        return exactly(1.0, "assumed", MODEL_KEPT), MODEL_KEPT
    scores = {use["offer"]: choice["figures"].get(f"offer.{use['offer']}.quality") for use in uses}
    known = {row["offer"]: row for row in (*uses, *choice["ranked"], *choice["excluded"])}
    ids = [f"offer.{name}.quality" for name, row in known.items() if plain_name(row["model"]) in today]
    ours = next((choice["figures"][name] for name in ids if name in choice["figures"]), None)
    found = [(sum(use["share_by_hour"]), scores[use["offer"]]) for use in uses]
    if ours is None or float(ours["value"]) <= 0 or any(score is None for _, score in found):
        return None, ""
    whole = sum(share for share, _ in found)
    value, low, high = (
        sum(share * float(score.get(key) or score["value"]) for share, score in found if score is not None)
        / whole / float(ours["value"])
        for key in ("value", "low", "high")
    )  # fmt: skip
    metric = choice.get("needs", {}).get("quality_metric") or "score"
    note = f"{metric} {value * float(ours['value']):.3g} against {float(ours['value']):.3g} today"
    method = weakest([ours["method"], *(score["method"] for _, score in found if score is not None)])
    sources = sorted({str(score["source"]) for _, score in found if score is not None})
    return Range(value, low, high, method, "; ".join(sources)), note


def models_of(statement: Mapping[str, Any]) -> set[str]:
    """Names of the models that the log ran, as it calls them and as their cards do."""
    tables = statement.get("tables", {})
    return {plain_name(row["model"]) for name in ("models", "prices") for row in tables.get(name, {}).get("rows", [])
            if row.get("model")}  # fmt: skip


def plain_name(name: object) -> str:
    """A model's name without its maker: deepseek-ai/DeepSeek-R1 and deepseek-r1 are one."""
    return str(name).rpartition("/")[2].lower()
