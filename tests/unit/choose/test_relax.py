"""What has to relax where nothing fits: the least change, and the fewest needs, against exhaustive search."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from solvent.choose.mix.plan import Infeasible, Plan
from solvent.choose.mix.solve import cheapest_mix, plan_or_none
from solvent.choose.offers.demand import Demand, Hour
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.record import Offer, exactly

NOTHING = Hour(0, 0, 0, 0)
NUMBERS = ("ttft_s", "itl_s", "quality_floor", "context_tok", "power_cap_w", "budget_usd_per_day", "headroom")
AT_LEAST = ("quality_floor", "context_tok", "headroom")
NAMES = (*NUMBERS, "regions", "barred_vendors")
# Caps and headroom are told to a millionth; what is this much stricter must fail.
STRICTER = 1e-5


def small_case(seed: int) -> tuple[list[Offer], Demand, Needs]:
    rng = random.Random(seed)
    offers = []
    for i in range(rng.randint(2, 4)):
        offer = Offer(
            f"o{i}", "rented", rng.choice(["v", "w"]), rng.choice(["eu", "us", None]), "m", "", "", 1,
            rng.choice([None, 1000, 4000, 16000]), "2026-11-01", "t",
            ttft_s=rng.choice([None, exactly(rng.uniform(0.1, 2), "claimed", "t")]),
            itl_s=exactly(rng.uniform(0.01, 0.2), "claimed", "t"), quality=exactly(rng.random(), "claimed", "t"),
        )  # fmt: skip
        if rng.random() < 0.4:
            offer = replace(offer, kind="api", price_usd_per_mtok={"input": rng.uniform(50, 900), "output": 1.0})
        else:
            offer = replace(
                offer, usd_per_hour=exactly(rng.uniform(0.5, 2), "priced", "t"), billed=rng.choice(["day", "hour"]),
                input_tok_per_s=exactly(rng.uniform(0.4, 1.5), "measured", "t"), hours=(0, 1),
                output_tok_per_s=exactly(1e9, "measured", "t"), n_machines_max=rng.choice([1, 2, 3]),
                watts=exactly(rng.choice([300.0, 450.0, 700.0]), "claimed", "t"),
            )  # fmt: skip
        offers.append(offer)
    hours = [Hour(1, 3600 * rng.uniform(0.3, 2), 0, 0) for _ in range(2)]
    needs = Needs(
        ttft_s=rng.choice([None, rng.uniform(0.05, 1)]), itl_s=rng.choice([None, rng.uniform(0.01, 0.1)]),
        quality_floor=rng.choice([None, rng.random()]), context_tok=rng.choice([None, 2000, 8000]),
        regions=rng.choice([(), ("eu",), ("eu", "us")]), barred_vendors=rng.choice([(), ("v",), ("v", "w")]),
        budget_usd_per_day=rng.choice([None, rng.uniform(0.5, 6)]), power_cap_w=rng.choice([None, 400.0, 800.0]),
        headroom=rng.choice([0.0, 0.0, 0.3]),
    )  # fmt: skip
    return offers, Demand((*hours, *[NOTHING] * 22), "assumed", "t"), needs


def passes(offer: Offer, needs: Needs) -> bool:
    """From the definition: unknown never passes."""
    late = [(offer.ttft_s, needs.ttft_s), (offer.itl_s, needs.itl_s)]
    if any(most is not None and (found is None or found.value > most) for found, most in late):
        return False
    if needs.quality_floor is not None and (offer.quality is None or offer.quality.value < needs.quality_floor):
        return False
    if needs.context_tok is not None and (offer.context_tok is None or offer.context_tok < needs.context_tok):
        return False
    return (not needs.regions or offer.region in needs.regions) and offer.vendor not in needs.barred_vendors


def exists(offers: Sequence[Offer], demand: Demand, needs: Needs) -> bool:
    """Whether any counts of any offers meet every need: by trying all."""
    left = [offer for offer in offers if passes(offer, needs)]
    machines = [offer for offer in left if not offer.is_api]
    api_usd = [min((o.price_usd_per_mtok["input"] * demand.hours[h].input_tok / 1e6 for o in left if o.is_api),  # type: ignore[index]
                   default=None) for h in (0, 1)]  # fmt: skip
    slots = [(o, (0, 1)) if o.billed == "day" else (o, (h,)) for o in machines
             for h in ((0,) if o.billed == "day" else (0, 1))]  # fmt: skip
    for counts in itertools.product(*(range((o.n_machines_max or 0) + 1) for o, _ in slots)):
        usd = sum(n * len(hours) * o.usd_per_hour.value for n, (o, hours) in zip(counts, slots, strict=True))  # type: ignore[union-attr]
        for h in (0, 1):
            here = [(n, o) for n, (o, hours) in zip(counts, slots, strict=True) if h in hours]
            speed = sum(n * o.input_tok_per_s.value for n, o in here)  # type: ignore[union-attr]
            short = max(0.0, 1 - (1 - needs.headroom) * speed * 3600 / demand.hours[h].input_tok)
            watts = sum(n * o.watts.value for n, o in here)  # type: ignore[union-attr]
            if needs.power_cap_w is not None and watts > needs.power_cap_w * (1 + 1e-12):
                break
            if short > 1e-9 and api_usd[h] is None:
                break
            usd += short * (api_usd[h] or 0.0) if short > 1e-9 else 0.0
        else:
            if needs.budget_usd_per_day is None or usd <= needs.budget_usd_per_day * (1 + 1e-9):
                return True
    return False


def without(needs: Needs, names: Sequence[str]) -> Needs:
    nothing: dict[str, object] = {"regions": (), "barred_vendors": (), "headroom": 0.0}
    return replace(needs, **{name: nothing.get(name) for name in names})  # type: ignore[arg-type]


def stated(needs: Needs) -> list[str]:
    return [name for name in NAMES if getattr(needs, name) not in (None, (), 0.0)]


def stricter(name: str, value: float) -> float:
    if name == "context_tok":
        return value + 1
    return value * (1 + STRICTER) if name in AT_LEAST else value * (1 - STRICTER)


def check_least(offers: Sequence[Offer], demand: Demand, needs: Needs, name: str, enough: object) -> None:
    """That much is enough, the others as they stand, and what is a little stricter is not."""
    if enough is None:
        return
    if name == "regions":
        assert exists(offers, demand, replace(needs, regions=(*needs.regions, str(enough))))
    elif name == "barred_vendors":
        rest = tuple(vendor for vendor in needs.barred_vendors if vendor != enough)
        assert exists(offers, demand, replace(needs, barred_vendors=rest))
    else:
        assert isinstance(enough, int | float)
        assert exists(offers, demand, replace(needs, **{name: enough}))
        assert not exists(offers, demand, replace(needs, **{name: stricter(name, enough)})), (name, enough)


@pytest.mark.parametrize("block", range(4))
def test_what_is_told_to_relax_is_enough_and_least_and_nothing_is_left_out(block: int) -> None:
    alone = together = 0
    for seed in range(block * 50, block * 50 + 50):
        offers, demand, needs = small_case(seed)
        result = cheapest_mix(offers, demand, needs, gap=0.0)
        assert isinstance(result, Plan) == exists(offers, demand, needs), seed
        if isinstance(result, Plan):
            continue
        names = stated(needs)
        enough_alone = {name for name in names if exists(offers, demand, without(needs, [name]))}
        assert {one.need for one in result.relaxations} == enough_alone, seed
        for one in result.relaxations:
            check_least(offers, demand, needs, one.need, one.enough)
            alone += 1
        if enough_alone or not exists(offers, demand, without(needs, names)):
            assert not result.together
            continue
        dropped = [one.need for one in result.together]
        assert exists(offers, demand, without(needs, dropped))
        smaller = itertools.combinations(names, len(dropped) - 1)
        assert not any(exists(offers, demand, without(needs, some)) for some in smaller), seed
        # Each is the least with those before it at what was enough and those after it dropped.
        relaxed = without(needs, dropped)
        for one in result.together:
            asked = replace(relaxed, **{one.need: getattr(needs, one.need)})
            check_least(offers, demand, asked, one.need, one.enough)
            if isinstance(one.enough, int | float):
                relaxed = replace(relaxed, **{one.need: one.enough})
        together += 1
    assert alone >= 8 and together > 3


def test_the_least_cap_is_the_watts_of_a_plan_to_the_last_watt() -> None:
    def machine(name: str, speed: float, watts: float) -> Offer:
        offer = Offer(name, "rented", "v", "eu", "m", "", "", 1, None, "2026-11-01", "t")
        return replace(
            offer, usd_per_hour=exactly(1.0, "priced", "t"), input_tok_per_s=exactly(speed, "measured", "t"),
            output_tok_per_s=exactly(1e9, "measured", "t"), watts=exactly(watts, "claimed", "t"),
        )  # fmt: skip

    # 2.3 machine-hours: fast, fast, slow is 2.5 at 1,650 W; three fast 2,100; two slow and one fast only 2.0.
    demand = Demand((Hour(1, 3600 * 2.3, 0, 0), *[NOTHING] * 23), "assumed", "t")
    offers = [machine("fast", 1.0, 700.0), machine("slow", 0.5, 250.0)]
    result = cheapest_mix(offers, demand, Needs(power_cap_w=1000.0))
    assert isinstance(result, Infeasible)
    # Five slow ones: 2.5 at 1,250 W.
    assert [(one.need, one.enough) for one in result.relaxations] == [("power_cap_w", 1250.0)]
    limited = [offers[0], replace(offers[1], n_machines_max=2)]
    result = cheapest_mix(limited, demand, Needs(power_cap_w=1000.0))
    assert isinstance(result, Infeasible)
    assert [(one.need, one.enough) for one in result.relaxations] == [("power_cap_w", 1650.0)]


def test_a_budget_between_the_least_cost_and_the_gap_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from solvent.choose.mix import solve

    def machine(name: str, usd: float, n: int) -> Offer:
        offer = Offer(name, "rented", "v", "eu", "m", "", "", 1, None, "2026-11-01", "t")
        return replace(
            offer, usd_per_hour=exactly(usd, "priced", "t"), input_tok_per_s=exactly(1.0, "measured", "t"),
            output_tok_per_s=exactly(1e9, "measured", "t"), billed="hour", n_machines_max=n,
        )  # fmt: skip

    offers = [machine("a", 1.0, 1), machine("b", 1.0004, 1)]
    demand = Demand((Hour(1, 3600.0, 0, 0), *[NOTHING] * 23), "assumed", "t")
    real = solve._nominal_plan

    def lazy(usable: Sequence[Offer], day: Demand, needs: Needs, gap: float, limit_s: float) -> Plan | None:
        # Within the gap, and not the cheapest: a solver may stop there.
        if gap == 0.0:
            return real(usable, day, needs, gap, limit_s)
        plan = real([offer for offer in usable if offer.id == "b"], day, needs, gap, limit_s)
        return None if plan is None else replace(plan, bound_usd_per_day=1.0)

    monkeypatch.setattr(solve, "_nominal_plan", lazy)
    plan = plan_or_none(offers, demand, Needs(budget_usd_per_day=1.0002))
    assert plan is not None and plan.usd_per_day == 1.0
    assert plan_or_none(offers, demand, Needs(budget_usd_per_day=0.9999)) is None
