"""The product under any set of steps: compute, revenue, margin and quality over seeded draws.

Draw 0 is the point estimate; the others draw every range and, where the statement names its customers, other
customers like them. Each step draws from a stream of its own, so that adding one leaves the others' draws alone.
Enter at `build` and `Model.outcome`. The formulas: docs/reference/path.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from solvent.choose.economics import Array, Economics, resampled
from solvent.choose.path.draws import Drawer
from solvent.choose.path.step import PARTS, Step, Tail, Terms

# Of the bootstrap: draws × customers.
MAX_WEIGHTS = 100_000_000
_PART_OF = {"input_tok": "input", "input_image_tok": "input", "input_audio_tok": "input", "input_video_tok": "input",
            "cache_read_tok": "cache", "cache_write_5m_tok": "cache", "cache_write_1h_tok": "cache",
            "output_tok": "output", "reasoning_tok": "reasoning"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outcome:
    """A month under a set of steps, per draw; [0] is the point estimate.

    shortfall_usd: what is missing to the policy (of compute, or of margin where that is more); ≤ 0: it holds.
    """

    revenue_usd: Array
    compute_usd: Array
    margin_usd: Array
    value_usd: Array
    outputs: Array
    quality: Array
    shortfall_usd: Array

    def ratio(self) -> Array:
        """Compute per dollar of customer value."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.compute_usd / self.value_usd

    def probability(self, quality_floor: float) -> float:
        """Share of the draws in which the policy and the quality floor hold."""
        met = (self.shortfall_usd[1:] <= 0) & (self.quality[1:] >= quality_floor)
        return float(np.count_nonzero(met) / len(met))


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over customers, per draw: those within an allowance, and of those beyond it the part inside and beyond."""

    compute_usd: Array
    compute_inside_usd: Array
    compute_beyond_usd: Array
    revenue_usd: Array
    revenue_hit_usd: Array
    outputs: Array
    outputs_inside: Array
    outputs_beyond: Array


@dataclass(frozen=True, slots=True)
class Model:
    """Everything that is drawn once; `outcome` combines it.

    parts: share of compute by part.   factors: step → part → (D,) factor.   price, stay, quality: step → (D,).
    tails: step → (compute_usd, revenue_usd, outputs) with that step.   given_up: step → share of customer value.
    fixed: step → share of its cost that doesn't fall below today's demand.
    """

    economics: Economics
    parts: Mapping[str, float]
    base: tuple[Array, Array, Array]
    factors: Mapping[str, Mapping[str, Array]]
    price: Mapping[str, Array]
    stay: Mapping[str, Array]
    quality: Mapping[str, Array]
    tails: Mapping[str, tuple[Array, Array, Array]]
    given_up: Mapping[str, float]
    fixed: Mapping[str, float]

    def outcome(self, ids: Iterable[str]) -> Outcome:
        """The month with these steps.

        compute = Σ part share × Π factors × use;  use = tail × stay, its fixed share at least today's;
        revenue = tail × Π price × stay;
        other = what follows revenue × revenue ÷ today's + the rest;  margin = revenue − other − compute.
        Exactness: no order matters: every effect is a factor, or a sum over customers that one step decides.
        """
        ids = tuple(ids)
        tail = next((self.tails[i] for i in ids if i in self.tails), self.base)
        compute, revenue, outputs = tail
        stay, quality, price = (_product(table, ids, len(compute)) for table in (self.stay, self.quality, self.price))
        mix = np.zeros(len(compute))
        for part, share in self.parts.items():
            mix += share * _product({i: f[part] for i, f in self.factors.items() if part in f}, ids, len(compute))
        compute, revenue, outputs = compute * stay, revenue * price * stay, outputs * stay
        # Machines that were bought or rented for today's demand are paid for, also where less is asked of them.
        fixed = max((self.fixed.get(i, 0.0) for i in ids), default=0.0)
        compute = mix * ((1 - fixed) * compute + fixed * np.maximum(compute, self.base[0][0]))
        e = self.economics
        assert e.other_cost_usd is not None
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.where(self.base[1] > 0, revenue / self.base[1], 1.0)
        other = e.other_cost_usd.value * (e.follows_revenue * change + 1 - e.follows_revenue)
        margin = revenue - other - compute
        value = revenue
        if not e.value_is_revenue:
            assert e.customer_value_usd is not None
            value = e.customer_value_usd.value * outputs / self.base[2][0]
        floor = e.policy_min_gross_margin or 0.0
        net = revenue - (e.refunds_usd or 0.0) * change
        shortfall = np.maximum(compute - e.policy_max_compute_per_value * value, floor * np.maximum(net, 0.0) - margin)
        return Outcome(revenue, compute, margin, value, outputs, quality, shortfall)


def build(economics: Economics, parts: Mapping[str, float], steps: Sequence[Step], terms: Terms) -> Model:
    """Draws everything. Steps that act on the tail need `by_customer`; `screen` sorts out the others before."""
    n = terms.n_draws + 1
    base, sums = _customer_draws(economics, [s.tail for s in steps if s.tail is not None], terms)
    factors: dict[str, Mapping[str, Array]] = {}
    price: dict[str, Array] = {}
    stay: dict[str, Array] = {}
    quality: dict[str, Array] = {}
    tails: dict[str, tuple[Array, Array, Array]] = {}
    given_up: dict[str, float] = {}
    for step in steps:
        drawer = Drawer(step.id, n, terms.seed)
        share = np.ones(n) if step.share is None else drawer.share("share", step.share)
        drawn = {key: drawer.draw(f"cost.{key}", r) for key, r in step.cost.items()}
        factors[step.id] = {
            part: 1 - share * (1 - drawn[key]) for part in PARTS if (key := _factor_key(part, drawn)) is not None
        }
        kept = np.ones(n) if step.quality is None else np.clip(drawer.draw("quality", step.quality), 0, None)
        quality[step.id] = 1 - share * (1 - kept)
        if step.price_factor is not None:
            price[step.id] = drawer.draw("price", step.price_factor)
        if step.leave_share is not None:
            stay[step.id] = 1 - drawer.share("leave", step.leave_share)
        lost = 1.0 - float(stay[step.id][0]) if step.id in stay else 0.0
        # Of each dollar that those who stay now pay, 1 − 1 ÷ factor buys nothing new.
        dearer = max(1 - 1 / float(price[step.id][0]), 0.0) if step.id in price else 0.0
        hit = lost + (1 - lost) * dearer
        if step.tail is not None:
            tails[step.id], refused = _tail(step.tail, sums.pop(0), drawer)
            hit = hit + (1 - hit) * refused
        kept_point = min(float(quality[step.id][0]), 1.0)
        given_up[step.id] = 1 - kept_point * (1 - min(hit, 1.0))
    fixed = {step.id: step.fixed_share for step in steps if step.fixed_share}
    return Model(economics, parts, base, factors, price, stay, quality, tails, given_up, fixed)


def cost_parts(document: Mapping[str, Any]) -> dict[str, float] | None:
    """Share of compute by part, from the statement's basis; None where it isn't said."""
    usd = dict.fromkeys(PARTS, 0.0)
    for model in document.get("basis", {}).get("models", {}).values():
        for bucket, amount in model.get("usd", {}).items():
            usd[_PART_OF.get(bucket, "other")] += _number(amount)
    total = sum(usd.values())
    return {part: amount / total for part, amount in usd.items()} if total > 0 else None


def _number(text: str) -> float:
    """An exact fraction in text, such as 32771647/800000."""
    above, _, below = str(text).partition("/")
    return float(above) / float(below) if below else float(above)


def _factor_key(part: str, drawn: Mapping[str, Array]) -> str | None:
    if part in drawn:
        return part
    if part == "reasoning" and "output" in drawn:
        return "output"
    return "all" if "all" in drawn else None


def _product(table: Mapping[str, Array], ids: Sequence[str], n: int) -> Array:
    result = np.ones(n)
    for name in ids:
        if name in table:
            result = result * table[name]
    return result


def _customer_draws(
    economics: Economics, tails: Sequence[Tail], terms: Terms
) -> tuple[tuple[Array, Array, Array], list[_Sums]]:
    """Today's compute, revenue and outputs per draw, and the sums that each tail step needs; same customers in all."""
    e = economics
    assert e.compute_usd is not None and e.revenue_usd is not None and e.n_outputs is not None
    point = np.array([e.compute_usd.value, e.revenue_usd.value, e.n_outputs.value])
    if len(e.by_customer) < 2:
        drawer = Drawer("today", terms.n_draws + 1, terms.seed)
        drawn = [drawer.draw(name, r) for name, r in
                 (("compute", e.compute_usd), ("revenue", e.revenue_usd), ("outputs", e.n_outputs))]  # fmt: skip
        return (drawn[0], drawn[1], drawn[2]), []
    table = np.array([[compute or 0.0, revenue or 0.0, n] for revenue, compute, n in e.by_customer])
    columns = [table, *(_columns(table, tail.outputs_per_month) for tail in tails)]
    wide = np.concatenate(columns, axis=1)
    # Of very many customers fewer draws, used again: their sums hardly vary.
    n = min(terms.n_draws, max(500, MAX_WEIGHTS // len(table)))
    drawn_sums = np.resize(resampled(wide, n, terms.seed), (terms.n_draws, wide.shape[1]))
    sums = np.concatenate([wide.sum(axis=0, keepdims=True), drawn_sums])
    # What belongs to no customer (rounding, unnamed rows) stays with the whole.
    whole = sums[:, :3] + (point - table.sum(axis=0))
    groups = [_Sums(*(sums[:, 3 + 8 * k + j] for j in range(8))) for k in range(len(tails))]
    return (whole[:, 0], whole[:, 1], whole[:, 2]), groups


def _columns(table: Array, cap: float) -> Array:
    """Per customer, the eight amounts of `_Sums`."""
    compute, revenue, n = table.T
    hit = n > cap
    inside = np.where(hit, cap / np.where(n > 0, n, 1.0), 1.0)
    return np.column_stack([
        np.where(hit, 0.0, compute), np.where(hit, compute * inside, 0.0), np.where(hit, compute * (1 - inside), 0.0),
        np.where(hit, 0.0, revenue), np.where(hit, revenue, 0.0),
        np.where(hit, 0.0, n), np.where(hit, cap, 0.0), np.where(hit, n - cap, 0.0),
    ])  # fmt: skip


def _tail(tail: Tail, sums: _Sums, drawer: Drawer) -> tuple[tuple[Array, Array, Array], float]:
    """(compute, revenue, outputs) with this allowance, and the share of customer value that is refused or leaves.

    A customer's value is taken to be its revenue: of one who is served a tenth of what it asked, nine tenths are lost.
    """
    gone = drawer.share("tail.leave", tail.leave_share)
    paid = np.zeros(drawer.n) if tail.paid_share is None else drawer.share("tail.paid", tail.paid_share)
    price = tail.usd_per_output or 0.0
    stay = 1 - gone
    compute = sums.compute_usd + stay * (sums.compute_inside_usd + paid * sums.compute_beyond_usd)
    revenue = sums.revenue_usd + stay * (sums.revenue_hit_usd + paid * sums.outputs_beyond * price)
    outputs = sums.outputs + stay * (sums.outputs_inside + paid * sums.outputs_beyond)
    asked = sums.outputs_inside[0] + sums.outputs_beyond[0]
    served = (sums.outputs_inside[0] + paid[0] * sums.outputs_beyond[0]) / asked if asked > 0 else 1.0
    before = sums.revenue_usd[0] + sums.revenue_hit_usd[0]
    refused = sums.revenue_hit_usd[0] * (1 - stay[0] * served) / before if before > 0 else 0.0
    return (compute, revenue, outputs), float(refused)
