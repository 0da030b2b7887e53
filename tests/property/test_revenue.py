"""Laws of attributed revenue over random plans, costs, customers and spans, all of them exact."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from solvent.errors import RevenueError
from solvent.money.revenue.attribute import Attribution, CustomerUsage, Span, attribute
from solvent.money.revenue.customers import read_customers
from solvent.money.revenue.model import Costs, RevenueModel
from solvent.money.revenue.scale import price_response

START = datetime(2026, 11, 1, tzinfo=UTC)
NAMES = ("ann", "bob", "cy", "dee")
BUCKETS = ("input_tok", "cache_read_tok", "cache_write_1h_tok", "output_tok", "reasoning_tok", "output_images")

usd = st.decimals(0, 500, places=4)
price = st.decimals("0.0001", 500, places=4)
shares = st.decimals(0, 1, places=4)
samples = st.integers(1, 200).flatmap(
    lambda n: st.one_of(
        st.fixed_dictionaries({"share": shares}),
        st.fixed_dictionaries({"trials": st.just(n), "successes": st.integers(0, n)}),
    )
)


def also(record: st.SearchStrategy[dict[str, Any]], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(record, st.fixed_dictionaries(fields)).map(lambda both: {**both[0], **both[1]})


@st.composite
def allowances(draw: st.DrawFn) -> list[dict[str, Any]]:
    made = []
    for of in draw(
        st.lists(st.sampled_from(["outputs", "requests", "tokens", "output_tokens"]), max_size=2, unique=True)
    ):
        beyond = draw(st.sampled_from(["charge", "stop", "free"]))
        allowance = {"of": of, "per_month": draw(st.integers(0, 10_000)), "beyond": beyond}
        allowance |= {"per": draw(st.sampled_from(["customer", "seat"])), "rollover": draw(st.booleans())}
        if beyond == "charge":
            allowance["overage_usd_per_mtok" if of.endswith("tokens") else "overage_usd_per_unit"] = draw(usd)
        made.append(allowance)
    return made


recurring = {key: usd for key in ("usd_per_year", "usd_per_seat_month", "usd_per_seat_year")}
by_use = {
    "usd_per_output": usd,
    "usd_per_request": usd,
    "tokens": st.fixed_dictionaries(
        {"usd_per_mtok_input": usd, "usd_per_mtok_output": usd}, optional={"usd_per_mtok_cached": usd}
    ),
    "outcome": also(samples, usd_per_outcome=usd),
}
stepped = {
    "minimum_usd_per_month": usd,
    "allowances": allowances(),
    "credits": st.fixed_dictionaries(
        {"usd_per_credit": usd, "credits_per_output": price, "included_per_month": usd},
        optional={"credits_per_mtok_input": usd},
    ),
}
market = {
    "ads": st.fixed_dictionaries({"impressions_per_output": usd, "fill_share": shares, "cpm_usd": usd}),
    "conversion": also(samples, usd_per_conversion=usd, per=st.sampled_from(["output", "request"])),
}
taken_off = {"cut_share": shares, "payment_fees": st.booleans()}
linear_plans = st.fixed_dictionaries(
    {"seats": st.integers(0, 50), "usd_per_month": usd}, optional={**recurring, **by_use, **market, **taken_off}
)
plans = st.fixed_dictionaries(
    {"seats": st.integers(0, 50), "usd_per_month": usd},
    optional={**recurring, **by_use, **stepped, **market, **taken_off},
)
free_plans = st.fixed_dictionaries({"free_tier": also(samples, paid_plan=st.just("pro"))}, optional=market)
costs = st.fixed_dictionaries(
    {},
    optional={
        "payment_fee_share": shares,
        "payment_fee_usd_per_charge": usd,
        "charges_per_month": st.integers(0, 9),
        "refund_share": shares,
        "other_usd_per_output": usd,
        "other_usd_per_request": usd,
        "other_usd_per_customer_month": usd,
        "other_usd_per_month": usd,
    },
).map(Costs.model_validate)
counts = st.integers(0, 10**7)
uses = st.builds(
    CustomerUsage,
    st.none(),
    st.integers(1, 10_000),
    st.one_of(st.integers(0, 10_000), st.fractions(0, 500, max_denominator=7)),
    st.dictionaries(st.sampled_from(BUCKETS), counts),
)
usages = st.dictionaries(st.sampled_from(NAMES), uses, max_size=4).map(
    lambda usage: {name: replace(used, customer=name) for name, used in usage.items()}
)
spans = st.integers(1, 120 * 86_400).map(lambda s: span(START, s))


def span(start: datetime, seconds: int) -> Span:
    return Span(start, start + timedelta(seconds=seconds), Fraction(seconds, 86_400))


@st.composite
def models(draw: st.DrawFn, paid: st.SearchStrategy[dict[str, Any]] = plans) -> RevenueModel:
    """A model with two paid plans and a free one; some customers are named, some are in a mix, some are nobody's."""
    revenue: dict[str, Any] = {"plans": {"pro": draw(paid), "max": draw(paid), "free": draw(free_plans)}}
    names = st.sampled_from(["pro", "max", "free"])
    share = draw(shares)
    revenue["segments"] = [
        {"customers": ["ann", "zoe"], "plan": draw(names)},
        {"customers": "b*", "mix": {"pro": share, "free": 1 - share}},
        {
            "customers": "c*",
            "plan": draw(names),
            "started": draw(st.dates(START.date(), (START + timedelta(90)).date())),
        },
    ]
    if draw(st.booleans()):
        revenue["default_plan"] = draw(names)
    return RevenueModel.model_validate(revenue)


def run(model: RevenueModel, off: Costs, usage: dict[str, CustomerUsage], over: Span) -> Attribution:
    return attribute(model, off, usage, over, Path())


@given(models(), costs, usages, spans)
def test_every_customer_is_accounted_for_and_every_amount_is_exact(
    model: RevenueModel, off: Costs, usage: dict[str, CustomerUsage], over: Span
) -> None:
    result = run(model, off, usage, over)
    assert sorted([*result.lines, *result.unknown]) == sorted(usage)
    assert not set(result.idle) & set(usage)
    assert result.complete == (not result.unknown)
    lines = list(result.all_lines())
    for line in lines:
        assert type(line.revenue_usd) is Fraction and line.revenue_usd == sum(part.usd for part in line.parts)
        assert all(part.usd >= 0 for part in line.parts)
        assert line.net_usd == line.net_scaling_usd + line.net_fixed_usd
        assert 0 <= line.refunds_usd <= line.revenue_usd and line.fees_usd >= 0 and line.other_cost_usd >= 0
        assert (line.low_usd is None) == (line.high_usd is None)
        if line.low_usd is not None and line.high_usd is not None:
            assert 0 <= line.low_usd <= line.high_usd
    if lines:
        assert result.revenue_usd == sum(line.revenue_usd for line in lines)
    else:
        assert result.revenue_usd is None
    assert result.fees_usd == sum(line.fees_usd for line in lines)
    assert result.refunds_usd == sum(line.refunds_usd for line in lines)


@given(models(), costs, usages, spans)
def test_customers_apart_earn_what_they_earn_together(
    model: RevenueModel, off: Costs, usage: dict[str, CustomerUsage], over: Span
) -> None:
    together = run(model, off, usage, over)
    for name, used in usage.items():
        alone = run(model, off, {name: used}, over)
        assert alone.lines.get(name) == together.lines.get(name)
        assert (name in alone.unknown) == (name in together.unknown)


@given(models(linear_plans), costs, usages, st.integers(1, 10**6), st.integers(1, 10**6), st.data())
def test_recurring_and_use_based_revenue_adds_up_over_adjacent_spans(
    model: RevenueModel, off: Costs, usage: dict[str, CustomerUsage], first_s: int, second_s: int, data: st.DataObject
) -> None:
    model = model.model_copy(update={"segments": tuple(s.model_copy(update={"started": None}) for s in model.segments)})
    first, second = span(START, first_s), span(START + timedelta(seconds=first_s), second_s)
    early, late = {}, {}
    for name, used in usage.items():
        n_early = data.draw(st.integers(0, used.n_requests))
        outputs = Fraction(used.n_outputs) * n_early / used.n_requests
        tok = {k: data.draw(st.integers(0, v)) for k, v in used.buckets.items()}
        early[name] = CustomerUsage(name, n_early, outputs, tok)
        rest = {k: v - tok[k] for k, v in used.buckets.items()}
        late[name] = CustomerUsage(name, used.n_requests - n_early, used.n_outputs - outputs, rest)
    whole = run(model, off, usage, span(START, first_s + second_s))
    a, b = run(model, off, early, first), run(model, off, late, second)
    # A flat fee per charge starts with the first cent, so only the shares of the fees add up over any split.
    for name, line in whole.lines.items():
        assert line.revenue_usd == a.lines[name].revenue_usd + b.lines[name].revenue_usd
        assert line.refunds_usd == a.lines[name].refunds_usd + b.lines[name].refunds_usd
        assert line.other_cost_usd == a.lines[name].other_cost_usd + b.lines[name].other_cost_usd
        assert line.net_scaling_usd == a.lines[name].net_scaling_usd + b.lines[name].net_scaling_usd
    assert whole.unallocated_other_cost_usd == a.unallocated_other_cost_usd + b.unallocated_other_cost_usd


OWN_PRICES = ("usd_per_", "overage_usd_", "minimum_usd_")
NOT_OURS = ("ads", "conversion")


def times(node: Any, factor: Decimal) -> Any:
    """The tables of a plan with every price of the product's own multiplied."""
    if isinstance(node, dict):
        return {
            k: v if k in NOT_OURS else v * factor if k.startswith(OWN_PRICES) and v is not None else times(v, factor)
            for k, v in node.items()
        }
    return [times(v, factor) for v in node] if isinstance(node, list | tuple) else node


@given(models(), costs, usages, spans, st.decimals("0.01", 9, places=2))
def test_revenue_at_other_prices_is_the_line_that_scale_gives(
    model: RevenueModel, off: Costs, usage: dict[str, CustomerUsage], over: Span, factor: Decimal
) -> None:
    tables = model.model_dump()
    dearer = RevenueModel.model_validate({**tables, "plans": times(tables["plans"], factor)})
    now, then = run(model, off, usage, over), run(dearer, off, usage, over)
    response, f = price_response(now.all_lines()), Fraction(factor)
    assert response.revenue_usd(f) == (then.revenue_usd or 0)
    assert response.net_usd(f) == sum(line.net_usd for line in then.all_lines())
    if factor >= 1:
        assert (then.revenue_usd or 0) >= (now.revenue_usd or 0)
    found = response.factor_for_net(response.net_usd(f))
    assert found == f or response.net_scaling_usd <= 0


@given(
    st.lists(st.sampled_from(["usd_per_month", "usd_per_output", "minimum_usd_per_month"]), min_size=1), usages, price
)
def test_a_price_that_rises_never_lowers_revenue(
    keys: list[str], usage: dict[str, CustomerUsage], more: Decimal
) -> None:
    def revenue(rise: Decimal) -> Fraction:
        plan = {key: 5 + rise for key in keys}
        model = RevenueModel.model_validate({"default_plan": "p", "plans": {"p": plan}})
        return run(model, Costs(), usage, span(START, 86_400)).revenue_usd or Fraction(0)

    assert revenue(more) >= revenue(Decimal(0))


cells = st.one_of(
    st.sampled_from(["ann", "bob", "pro", "free", "3", "-3", "2026-01-02", "2026-13-40", "=1+1", "19.00 EUR", "1e99"]),
    st.text(max_size=12),
)
headers = st.lists(
    st.sampled_from(["customer", "plan", "seats", "started", "ended", "outcomes", "usd_per_month", "_x", "odd"]),
    max_size=7,
)


@given(headers, st.lists(st.lists(cells, max_size=7), max_size=8), st.sampled_from([",", ";", '","', "\n"]))
def test_any_table_gives_rows_or_one_line_of_faults(
    tmp_path_factory: Any, header: list[str], rows: list[list[str]], comma: str
) -> None:
    text = "\n".join(comma.join(row) for row in [header, *rows])
    check_file(tmp_path_factory.mktemp("csv"), text.encode("utf-8", "surrogatepass"))


@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_one_line_of_faults(tmp_path_factory: Any, content: bytes) -> None:
    check_file(tmp_path_factory.mktemp("csv"), b"customer,plan\n" + content)


def check_file(folder: Path, content: bytes) -> None:
    path = folder / "customers.csv"
    path.write_bytes(content)
    try:
        rows = read_customers(path, ("pro", "free"))
    except RevenueError as error:
        assert "\n" not in str(error) and "customers.csv" in str(error)
    else:
        assert all(row.plan in ("pro", "free") and (row.seats or 0) >= 0 for row in rows.values())
