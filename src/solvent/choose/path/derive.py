"""Steps that solvent finds in the statement itself: caching, an allowance, paid overage, higher prices.

What customers then do is assumed (assumptions.toml); what they cost and bring is the statement's. Enter at `derive`.
What it doesn't do: offers (`offers`), and formats or models: those are stated, or come from measurements.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from solvent.choose.economics import Economics
from solvent.choose.offers.record import Range, exactly
from solvent.choose.path.file import MODEL_KEPT, WEEKS_PER_MONTH
from solvent.choose.path.step import Step, Tail

_FILE = "assumptions.toml"
_WORDS = (("output_plural", "outputs"), ("output", "output"))


@cache
def _assumed() -> dict[str, Any]:
    return tomllib.loads((files("solvent.choose.path") / _FILE).read_text("utf-8"))


def derive(document: Mapping[str, Any], economics: Economics) -> tuple[Step, ...]:
    """What can be found in the statement; nothing that needs what it doesn't say."""
    found = [*_caching(document), *_tails(document, economics), *_prices(economics)]
    return tuple(found)


def _range(section: str, key: str) -> Range:
    value, low, high = (float(x) for x in _assumed()[section][key])
    return Range(value, low, high, "assumed", f"assumed: solvent's {_FILE}, [{section}]")


def doing(section: str) -> dict[str, Any]:
    """What a derived step takes to do: `effort_usd` and `months`; and the day on which that was assumed."""
    return {
        "date": _assumed()["date"].isoformat(),
        "effort_usd": float(_assumed()[section]["effort_usd"]),
        "months": float(_assumed()[section]["weeks"]) / WEEKS_PER_MONTH,
    }


def _kept() -> dict[str, Any]:
    return {"quality": exactly(1.0, "assumed", MODEL_KEPT), "quality_note": MODEL_KEPT}


def _caching(document: Mapping[str, Any]) -> list[Step]:
    """Prompt caching, from what an unbounded prefix cache could save; on the cost of uncached input alone."""
    figure = document["figures"].get("cache_could_save_usd", {})
    models = document.get("basis", {}).get("models", {})
    input_usd = sum(_number(model.get("usd", {}).get("input_tok", "0")) for model in models.values())
    if figure.get("value") is None or input_usd <= 0 or float(figure["value"]) <= 0:
        return []
    bound, part = min(float(figure["value"]) / input_usd, 1.0), _range("caching", "part")
    source = "statement: cache_could_save_usd, an upper bound; a real cache saves between none and all of it"
    factor = Range(1 - part.value * bound, 1 - part.high * bound, 1 - part.low * bound, "predicted", source)
    return [Step("prompt-caching", "caching", "Cache prompts' prefixes", source, {"input": factor}, **_kept(),
                 **doing("caching"))]  # fmt: skip


def _tails(document: Mapping[str, Any], economics: Economics) -> list[Step]:
    """An allowance, and paid use beyond it, at the use of a few customers of the tail.

    Only where revenue doesn't depend on use (the statement then has `allowance_for_policy`), and every customer's
    use is there.
    """
    use = sorted((n for _, _, n in economics.by_customer), reverse=True)
    compute, outputs = economics.compute_usd, economics.n_outputs
    if "allowance_for_policy" not in document["figures"] or len(use) < 2 or compute is None or outputs is None:
        return []
    name, one = (str(document["product"].get(key, word)) for key, word in _WORDS)
    usd = _rounded(compute.value / outputs.value / economics.policy_max_compute_per_value, 2)
    steps: list[Step] = []
    for share in _assumed()["allowance"]["hit_shares"]:
        n_hit = max(1, math.floor(share * len(use)))
        cap = _rounded(use[n_hit], 2) if n_hit < len(use) else 0.0
        n_over = sum(n > cap for n in use)
        if cap <= 0 or not n_over or any(s.tail and s.tail.outputs_per_month == cap for s in steps):
            continue
        per = "a month" if economics.per == "month" else "in the log's span"
        source = f"statement: use by customer; {n_over} of {len(use)} customers use more"
        steps.append(Step(
            f"allowance-{cap:.0f}", "allowance", f"Refuse use beyond {cap:,.0f} {name} per customer {per}", source,
            tail=Tail(cap, _range("allowance", "leave_share")), one_of="tail", **_kept(), **doing("allowance"),
        ))  # fmt: skip
        steps.append(Step(
            f"overage-{cap:.0f}", "overage", f"Charge ${usd:,.4g} for each {one} beyond {cap:,.0f} {per}",
            f"{source}; the price at which one {one} carries itself under the policy",
            tail=Tail(cap, _range("overage", "leave_share"), usd, _range("overage", "paid_share")), one_of="tail",
            **_kept(), **doing("overage"),
        ))  # fmt: skip
    return steps


def _prices(economics: Economics) -> list[Step]:
    if economics.revenue_usd is None or economics.revenue_usd.value <= 0:
        return []
    elasticity, steps = _range("price", "elasticity"), []
    for factor in _assumed()["price"]["factors"]:
        leave = Range(1 - factor**elasticity.value, 1 - factor**elasticity.high, 1 - factor**elasticity.low, "assumed",
                      elasticity.source + f", elasticity {elasticity.value:g}")  # fmt: skip
        steps.append(Step(
            f"price-{factor:g}", "price", f"Raise every price {100 * (factor - 1):.0f}%", leave.source,
            price_factor=exactly(factor, "assumed", "the step itself"), leave_share=leave, one_of="price", **_kept(),
            **doing("price"),
        ))  # fmt: skip
    return steps


def _rounded(value: float, digits: int) -> float:
    """To so many significant digits, for a number that people are told."""
    return value if value <= 0 else round(value, digits - 1 - math.floor(math.log10(value)))


def _number(text: str) -> float:
    above, _, below = str(text).partition("/")
    return float(above) / float(below) if below else float(above)
