"""The formulas of a stressed month, each against arithmetic by hand."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import numpy as np
import pytest
from stress_statements import statement

from solvent.choose.economics import from_statement as economics_of
from solvent.choose.economics import margin_usd, verdict
from solvent.choose.path.run import path_document
from solvent.choose.stress.outcome import Model, Outcome
from solvent.choose.stress.product import from_statement, grouped
from solvent.choose.stress.scenario_file import Power
from solvent.errors import ReportError

POWER = Power(kwh_per_usd=0.34, low=0.34, high=0.87, usd_per_kwh=0.10, source="s")
# 64-bit floats, a few dozen operations on numbers of three digits: 1e-12 relative is thousands of roundings.
EXACT = 1e-12


def model(**changes: object) -> Model:
    return Model(from_statement(statement(**changes), POWER))  # type: ignore[arg-type]


def test_nothing_moved_is_the_statement() -> None:
    found, economics = model().at({}), economics_of(statement())
    assert found.margin_usd == pytest.approx(30.0, rel=EXACT) == margin_usd(economics)
    assert (found.revenue_usd, found.compute_usd, found.other_usd) == pytest.approx((170.0, 130.0, 10.0), rel=EXACT)
    assert found.cost_per_value == pytest.approx(130 / 170, rel=EXACT)
    assert found.verdict == verdict(economics) == "insolvent"


@pytest.mark.parametrize(
    ("values", "revenue", "compute", "other"),
    [
        ({"api_price": 2.0}, 170, 260, 10),
        ({"parity_price": 0.25}, 170, 32.5, 10),
        ({"api_price": 2.0, "parity_price": 0.25}, 170, 32.5, 10),
        ({"api_price": 0.1, "parity_price": 0.25}, 170, 13, 10),
        # 80 by the month stay, 90 by the output double; half of what isn't compute follows revenue.
        ({"usage": 2.0}, 260, 260, 5 + 5 * 260 / 170),
        ({"customers": 3.0}, 510, 390, 30),
        ({"seats": 0.5}, 130, 130, 5 + 5 * 130 / 170),
        # 3.4% of what a machine costs, tripled: the rise is 6.8%.
        ({"power_price": 3.0}, 170, 130 * 1.068, 10),
        ({"log": 1.5}, 170, 195, 10),
    ],
)
def test_a_change_does_what_its_formula_says(
    values: dict[str, float], revenue: float, compute: float, other: float
) -> None:
    found = model().at(values)
    assert (found.revenue_usd, found.compute_usd, found.other_usd) == pytest.approx(
        (revenue, compute, other), rel=EXACT
    )
    assert found.margin_usd == pytest.approx(revenue - compute - other, rel=1e-11)


def test_a_heavier_tail_moves_use_to_the_heavy_and_their_cost_and_revenue_with_it() -> None:
    weights = [100.0**1.5, 300.0**1.5, 600.0**1.5]
    n = [1000 * w / sum(weights) for w in weights]
    compute = n[0] * 0.1 + n[1] * 0.1 + n[2] * 0.15
    found = model().at({"tail": 0.5})
    assert found.compute_usd == pytest.approx(compute, rel=EXACT)
    assert found.revenue_usd == pytest.approx(80 + n[1] * 0.1 + n[2] * 0.1, rel=EXACT)
    assert found.n_outputs == pytest.approx(1000, rel=EXACT)


def test_a_vendor_or_modality_that_isnt_there_is_not_moved() -> None:
    m = model()
    assert m.at({"api_price[openai]": 2.0}).compute_usd == pytest.approx(260, rel=EXACT)
    assert m.at({"api_price[anthropic]": 2.0}).compute_usd == pytest.approx(130, rel=EXACT)
    assert m.moves("api_price[openai, text]") is None
    assert m.moves("api_price[video]") == "none of its compute is video"


def test_part_of_the_compute_is_video() -> None:
    m = model(basis={"models": {"m": {"usd": {"output_video_us": "30", "output_tok": "70"}}}})
    assert m.at({"api_price[video]": 100.0}).compute_usd == pytest.approx(130 * (0.3 * 100 + 0.7), rel=EXACT)


def test_rent_moves_who_rents_and_nobody_else() -> None:
    rented = model(provider="rented", reserved=True)
    assert rented.at({"rental_price": 0.5}).compute_usd == pytest.approx(65, rel=EXACT)
    assert rented.at({"machine_output": 2.0}).compute_usd == pytest.approx(65, rel=EXACT)
    assert rented.moves("api_price") and model().moves("rental_price") and model().moves("residual_value")


@pytest.mark.parametrize("lines", [[], ["something new: 3 × 4 = 20.0 USD"], ["no part of a sum"]])
def test_revenue_that_cant_be_split_is_unknown_where_use_moves(lines: list[str]) -> None:
    document = copy.deepcopy(statement())
    document["tables"]["customers"]["rows"][2]["_revenue_lineage"] = lines
    m = Model(from_statement(document))
    assert m.at({"usage": 2.0}).margin_usd is None
    assert m.at({"usage": 2.0}).compute_usd == pytest.approx(260, rel=EXACT)
    assert m.at({"usage": 2.0}).verdict == "unknown"
    assert m.at({"api_price": 2.0}).margin_usd == pytest.approx(-100, rel=EXACT)
    assert m.at({"customers": 2.0}).margin_usd == pytest.approx(60, rel=EXACT)


def test_unknown_revenue_stays_unknown_and_compute_is_told() -> None:
    document = statement()
    for name in ("revenue_usd", "customer_value_usd", "cost_per_value", "margin_usd"):
        document["figures"][name]["value"] = None
    found = Model(from_statement(document)).at({"api_price": 2.0})
    assert found.margin_usd is None and found.verdict == "unknown"
    assert found.compute_usd == pytest.approx(260, rel=EXACT)


def test_value_that_isnt_revenue_follows_outputs() -> None:
    document = statement()
    document["figures"]["customer_value_usd"] = {
        **document["figures"]["customer_value_usd"],
        "value": "500",
        "inputs": [],
    }
    m = Model(from_statement(document))
    assert m.at({"usage": 2.0}).cost_per_value == pytest.approx(130 / 500, rel=EXACT)
    assert m.at({"seats": 0.5}).cost_per_value == pytest.approx(130 / 500, rel=EXACT)


def test_the_policy_turns_where_the_ratio_crosses_its_line() -> None:
    m = model(limit=0.8)
    assert m.at({}).verdict in ("solvent", "thin")
    just, over = 0.8 * 170 / 130, 0.8 * 170 / 130 * 1.000001
    assert m.at({"api_price": just * 0.999999}).verdict != "insolvent"
    assert m.at({"api_price": over}).verdict == "insolvent"


def test_a_report_that_is_no_statement_is_refused() -> None:
    with pytest.raises(ReportError, match="schema"):
        from_statement({"schema": "solvent.lineage/1"})
    broken = statement(tables={"prices": {"rows": [{"card": "c", "provider": "p", "cost_usd": "many"}]}})
    with pytest.raises(ReportError, match="many"):
        from_statement(broken)


def test_an_outcome_is_finite_wherever_it_is_known() -> None:
    found = model().at({"api_price": 1e6, "usage": 1e6, "tail": 4.0, "seats": 1e-6})
    assert isinstance(found, Outcome)
    assert all(v is None or isinstance(v, str) or math.isfinite(v) for v in (found.margin_usd, found.cost_per_value))


def test_many_customers_put_together_keep_their_sums_and_almost_their_tail() -> None:
    random = np.random.default_rng(1)
    outputs = random.pareto(1.1, 5_000) * 10 + 1
    rows = [
        {"customer": str(i), "n_outputs": str(n), "cost_usd": str(n * 0.01 * (1 + i % 3)), "revenue_usd": "20",
         "_revenue_lineage": ["subscription: 20 USD/month × 1 months = 20 USD"]}
        for i, n in enumerate(outputs)
    ]  # fmt: skip
    document = statement()
    document["tables"]["customers"] = {"rows": rows, "n_rows": 5_000, "shown": 5_000, "columns": []}
    whole = {
        "cost_usd": sum(float(row["cost_usd"]) for row in rows),
        "revenue_usd": 100_000,
        "n_outputs": outputs.sum(),
    }
    for name, value in whole.items():
        document["figures"][name]["value"] = str(value)
    product = from_statement(document)
    small = grouped(product, 256)
    assert len(small.outputs) <= 257 < len(product.outputs) and grouped(small, 300) is small
    for values in ({}, {"usage": 3.0, "seats": 0.5}):
        one, two = Model(product).at(values), Model(small).at(values)
        assert (one.compute_usd, one.revenue_usd) == pytest.approx((two.compute_usd, two.revenue_usd), rel=1e-9)
    # The heaviest 128 are alone in their groups; what is lost is the spread within groups of the light.
    for tilt in (-0.5, 0.3, 1.0):
        exact, near = (Model(p).at({"tail": tilt}).compute_usd for p in (product, small))
        assert near == pytest.approx(exact, rel=1e-3)


def test_a_subscription_has_its_power_inside_and_a_smaller_one_serves_less() -> None:
    m = model(product={"name": "a 200 USD subscription", "output": "reply"})
    assert m.moves("power_price") and m.moves("api_price") and m.moves("subscription_allowance") is None
    assert m.at({"subscription_allowance": 0.25}).compute_usd == pytest.approx(32.5, rel=EXACT)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (("figures", "cost_usd", "value"), "1e999", "figures.cost_usd.value"),
        (("figures", "revenue_usd", "value"), "-5", "figures.revenue_usd.value"),
        (("figures", "cost_usd", "value"), "nan", "figures.cost_usd.value"),
        (("figures", "cost_usd", "method"), "guessed", "figures.cost_usd.method"),
        (("tables", "customers", "rows", 1, "n_outputs"), "many", "rows.1.n_outputs"),
        (("tables", "customers", "rows", 1, "cost_usd"), "1e300", "rows.1.cost_usd"),
        (("tables", "prices", "rows", 0, "cost_usd"), "", "prices.rows.0.cost_usd"),
        (("span", "days"), "1e-320", "span.days"),
        (("verdict", "policy"), [], "shape"),
        (("tables", "customers"), [], "shape"),
    ],
)
def test_a_number_that_cant_be_computed_with_is_named(place: tuple[Any, ...], value: object, said: str) -> None:
    document = copy.deepcopy(statement())
    node: Any = document
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    with pytest.raises(ReportError, match=re.escape(said)):
        from_statement(document)


def test_a_vendors_name_cant_narrow_what_it_isnt() -> None:
    m = model(provider="a[b], c")
    assert m.product.vendors() == [("a_b__ c", 1.0)] and m.moves("api_price[a_b__ c]") is None


def owned(residual: str | None = "0.4", electricity: str = "0.3", **changes: Any) -> dict[str, Any]:
    """The product on a machine of its own, of whose cost the statement says what it is made of."""
    document = statement(reserved=True, provider="owned", **changes)
    shares = {"_electricity_share": electricity, "_residual_share": residual}
    document["tables"]["prices"]["rows"][0] |= shares
    return document


def test_a_machine_of_ones_own_loses_what_it_sells_for_and_pays_for_its_own_electricity() -> None:
    m = Model(from_statement(owned(), POWER))
    assert m.moves("residual_value") is None and m.moves("rental_price") == "it rents no machine"
    # Residual halved: half of 40% of 130 comes back. Electricity tripled: twice 30% of 130, not [power]'s 3.4%.
    assert m.at({"residual_value": 0.5}).compute_usd == pytest.approx(130 * 1.2, rel=EXACT)
    assert m.at({"power_price": 3.0}).compute_usd == pytest.approx(130 * 1.6, rel=EXACT)
    assert m.product.owned_electricity() == pytest.approx(0.3)
    # Without [power] the statement's own share still counts; without a residual there is none to lose.
    bare = Model(from_statement(owned(residual=None)))
    assert bare.moves("power_price") is None
    assert bare.moves("residual_value") == "nobody says what its own machines sell for"
    assert model().product.owned_electricity() is None


@pytest.mark.parametrize("share", ["nan", "-0.1", "1e9", "x", [1]])
def test_a_share_that_is_none_is_refused(share: Any) -> None:
    with pytest.raises(ReportError, match="audit"):
        from_statement(owned(electricity=share))


@pytest.mark.parametrize("usd", ["1/0", "x", "-1", "nan", "1/2/3", None, [1], "9" * 2000, "<b>"])
@pytest.mark.parametrize("compute", [from_statement, path_document])
def test_a_basis_that_is_none_is_named(usd: Any, compute: Any) -> None:
    document = statement()
    document["verdict"]["policy"]["text"] = "p"
    document["basis"]["models"]["m"]["usd"]["input_tok"] = usd
    if usd is None:
        document["basis"]["models"] = {"m": "none"}
    with pytest.raises(ReportError, match="report: ") as raised:
        compute(document)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 400
    document["basis"]["models"] = {"m": {"usd": {"input_tok": "1/3", "output_tok": "100"}}}
    compute(document)
