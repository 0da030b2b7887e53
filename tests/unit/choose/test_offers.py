"""Offers from TOML: prices, speeds, memory, hours, needs and demand; and what a hostile or mistyped file is told."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from solvent.choose.offers import memory, read
from solvent.choose.offers.check_needs import checked
from solvent.choose.offers.demand import from_statement
from solvent.choose.offers.needs import Needs
from solvent.choose.offers.read import Market, read_offers
from solvent.choose.offers.record import Offer, Range
from solvent.choose.offers.screen import at_bad_ends, reasons_against, screened
from solvent.errors import ChoiceError
from solvent.money.prices.catalogue import Catalogue, load
from solvent.money.prices.own import OwnRate

DAY = date(2026, 11, 1)
HEAD = 'date = 2026-11-01\nsource = "test"\n'
MACHINE = HEAD + "input_tok_per_s = 1000\noutput_tok_per_s = 100\n"
RENTED = '[[choices]]\nid = "m"\nkind = "rented"\nmodel = "x"\nusd_per_hour = 2\n' + MACHINE


def no_catalogue() -> Catalogue:
    raise AssertionError("no rate card was needed")


def offers(tmp_path: Path, text: str, market: Market | None = None) -> list[Offer]:
    path = tmp_path / "offers.toml"
    path.write_text(text, "utf-8")
    return read_offers(path).offers(market or Market(no_catalogue, DAY))


def test_a_rented_machine_takes_its_price_from_the_table_of_rentals(tmp_path: Path) -> None:
    text = (
        f'[[choices]]\nid = "m"\nkind = "rented"\nmodel = "x"\ngpu = "h100_sxm"\nn_gpus = 8\nclass = "index"\n{MACHINE}'
    )
    (offer,) = offers(tmp_path, text)
    assert offer.usd_per_hour is not None and offer.watts is not None
    found = (offer.usd_per_hour.low, offer.usd_per_hour.value, offer.usd_per_hour.high)
    assert found == pytest.approx((8 * 1.70, 8 * 2.35, 8 * 2.95))
    assert offer.watts.value == 8 * 1730
    assert "SemiAnalysis" in offer.usd_per_hour.source and "2026-03-01" in offer.usd_per_hour.source


def test_an_owned_machine_costs_what_docs_reference_offers_says(tmp_path: Path) -> None:
    # docs/reference/offers.md: the workstation there costs 0.546597 USD an hour, with 240 USD a year beside.
    text = (
        '[[choices]]\nid = "w"\nkind = "workstation"\nmodel = "x"\ncapital_usd = 9000\nresidual_usd = 1500\n'
        "life_years = 4\nwatts = 900\npue = 1.2\nusd_per_kwh = 0.22\noperator_share = 0.15\n" + MACHINE
    )
    (offer,) = offers(tmp_path, text)
    assert offer.usd_per_hour is not None
    assert offer.usd_per_hour.value == pytest.approx(0.546597 - 240 / 8766, abs=5e-7)
    half = offers(tmp_path, text + 'hours_utc = "08-20"\n')[0]
    assert half.usd_per_hour is not None and half.hours == tuple(range(8, 20))
    power = 0.9 * 1.2 * 0.22 * 1.15
    # Used in half the hours, each hour carries twice the capital and the same power.
    assert half.usd_per_hour.value - power == pytest.approx(2 * (offer.usd_per_hour.value - power))


def test_hardware_that_may_lose_its_value_makes_the_bad_end_dearer(tmp_path: Path) -> None:
    text = (
        '[[choices]]\nid = "w"\nkind = "owned"\nmodel = "x"\ncapital_usd = 8766\nlife_years = 1\nwatts = 0.001\n'
        "usd_per_kwh = 0.1\nresidual_usd = { value = 4383, low = 0, high = 4383 }\n" + MACHINE
    )
    (offer,) = offers(tmp_path, text)
    assert offer.usd_per_hour is not None
    assert offer.usd_per_hour.value == pytest.approx(0.5, rel=1e-6)
    assert at_bad_ends(offer).usd_per_hour.value == pytest.approx(1.0, rel=1e-6)  # type: ignore[union-attr]


def test_two_measured_loads_give_both_speeds(tmp_path: Path) -> None:
    # r = 20,000, w = 2,000: at 1,024 in for 1,024 out a second holds 1/(1/20000 + 1/2000) output tokens, and so on.
    loads = {isl: 1 / ((isl / 1024) / 20_000 + 1 / 2_000) for isl in (1024, 8192)}
    rows = ",".join(f"{{input_tok = {i}, output_tok = 1024, output_tok_per_s = {o!r}}}" for i, o in loads.items())
    text = f'[[choices]]\nid = "m"\nkind = "rented"\nmodel = "x"\nusd_per_hour = 1\n{HEAD}points = [{rows}]\n'
    (offer,) = offers(tmp_path, text)
    assert offer.input_tok_per_s is not None and offer.output_tok_per_s is not None
    assert (offer.input_tok_per_s.value, offer.output_tok_per_s.value) == pytest.approx((20_000, 2_000))
    same = rows.replace("8192", "1024")
    with pytest.raises(ChoiceError, match="loads of different mixes"):
        offers(tmp_path, text.replace(rows, same))


def test_variants_are_offers_that_share_the_machines(tmp_path: Path) -> None:
    text = RENTED + (
        'n_machines_max = 3\n[[choices.variants]]\nweight_format = "fp8"\nbatch = 8\n'
        '[[choices.variants]]\nweight_format = "fp4"\noutput_tok_per_s = 150\n'
    )
    first, second = offers(tmp_path, text)
    assert [first.id, second.id] == ["m/fp8-8", "m/fp4-150"]
    assert first.pool == second.pool == "m"
    assert second.output_tok_per_s is not None and second.output_tok_per_s.value == 150


def test_idle_devices_are_paid_by_the_hour_and_slower_by_their_availability(tmp_path: Path) -> None:
    text = RENTED.replace('"rented"', '"fleet"') + 'availability = 0.5\nhours_utc = "22-06"\nn_machines_max = 100\n'
    (offer,) = offers(tmp_path, text)
    assert offer.billed == "hour" and offer.hours == (0, 1, 2, 3, 4, 5, 22, 23)
    assert offer.output_tok_per_s is not None and offer.output_tok_per_s.value == 50


def test_an_api_takes_the_rate_card_of_the_day_and_hours_of_their_own(tmp_path: Path) -> None:
    rows = [
        {"model": "m", "source": "test", "input_usd_per_mtok": "1", "output_usd_per_mtok": "4"},
        {"model": "m", "source": "test", "hours_utc": "16:30-00:30", "input_usd_per_mtok": "0.5",
         "output_usd_per_mtok": "2"},
    ]  # fmt: skip
    catalogue = load(("own",), [OwnRate.model_validate(row) for row in rows])
    text = f'[[choices]]\nid = "a"\nkind = "api"\nmodel = "m"\n{HEAD}'
    found = {offer.id: offer for offer in offers(tmp_path, text, Market(lambda: catalogue, DAY, 1000))}
    # The hours in which the price changes, 0 and 16, count at the dearer one.
    assert sorted(found) == ["a@0-17", "a@17-24"]
    assert found["a@17-24"].price_usd_per_mtok == {"input": 0.5, "output": 2.0}
    assert found["a@0-17"].hours == tuple(range(17))


def test_an_unpriced_api_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    text = f'[[choices]]\nid = "a"\nkind = "api"\nmodel = "no-such-model"\n{HEAD}'
    with pytest.raises(ChoiceError, match="no source lists no-such-model") as caught:
        offers(tmp_path, text, Market(lambda: load(("own",)), DAY))
    assert "[[rates]]" in str(caught.value) and "choices.a" in str(caught.value)


@pytest.mark.parametrize(
    ("model", "weights", "cache", "n_gpus", "gib", "fits"),
    [
        # 671e9 parameters, one byte each, are 624.9 GiB: more than 8 × 80 GB have beside cache and runtime.
        ("deepseek-ai/DeepSeek-R1", "fp8", "fp8", 8, (641, 680), False),
        ("deepseek-ai/DeepSeek-R1", "nvfp4", "fp8", 8, (366, 400), True),
        # 32.8e9 parameters of two bytes: 61 GiB.
        ("qwen3-32b", "bf16", "fp8", 1, (61, 80), True),
    ],
)
def test_physics_counts_every_byte(
    model: str, weights: str, cache: str, n_gpus: int, gib: tuple[float, float], fits: bool
) -> None:
    sequence = 9216 if n_gpus == 8 else 1024
    needed = memory.needed_bytes(model, weights, cache, 64 if n_gpus == 8 else 1, sequence, n_gpus)
    there = memory.available_bytes("h100_sxm", n_gpus)
    assert needed is not None and there is not None
    assert gib[0] < needed / 2**30 < gib[1]
    assert (needed <= there) is fits


def test_bytes_of_the_cache_grow_with_batch_context_and_bits() -> None:
    def needed(cache: str, batch: int, tokens: int) -> int:
        found = memory.needed_bytes("llama-3.1-8b", "bf16", cache, batch, tokens)
        assert found is not None
        return found

    # 32 layers × 8 KV heads × 128 × 2 values of 2 bytes: 131,072 bytes a token, and half of that at 8 bits.
    one = needed("bf16", 1, 2000) - needed("bf16", 1, 1000)
    assert one == pytest.approx(1000 * 131_072, abs=2)
    assert needed("bf16", 2, 2000) - needed("bf16", 2, 1000) == pytest.approx(2 * one, abs=2)
    assert needed("fp8", 1, 2000) - needed("fp8", 1, 1000) == pytest.approx(one / 2, abs=2)
    assert memory.needed_bytes("no-such-model", "bf16", "bf16", 1, 1000) is None


def test_unknown_never_passes_a_need(tmp_path: Path) -> None:
    (offer,) = offers(tmp_path, RENTED)
    assert reasons_against(offer, Needs()) == []
    needs = Needs(ttft_s=1, itl_s=1, quality_floor=0.1, context_tok=1, regions=("eu",), power_cap_w=1)
    assert [reason.need for reason in reasons_against(offer, needs)] == [
        "ttft_s", "itl_s", "quality_floor", "context_tok", "regions", "power_cap_w",
    ]  # fmt: skip
    lines = [reason.line for reason in reasons_against(offer, needs)]
    assert all("unknown" in line or "nobody" in line for line in lines), lines


def test_a_score_on_another_metric_is_no_score(tmp_path: Path) -> None:
    quality = '[[choices.quality]]\nmetric = "arc_easy"\nvalue = 0.9\nmethod = "claimed"\nsource = "s"\n'
    (offer,) = offers(tmp_path, RENTED + quality)
    (reason,) = reasons_against(offer, Needs(quality_floor=0.5, quality_metric="gpqa_diamond"))
    assert reason.line == "its gpqa_diamond is unknown (known: arc_easy 0.9); at least 0.5 is needed"
    assert reasons_against(offer, Needs(quality_floor=0.5, quality_metric="arc_easy")) == []


def test_a_missing_speed_or_price_leaves_an_offer_out(tmp_path: Path) -> None:
    text = f'[[choices]]\nid = "m"\nkind = "rented"\nmodel = "x"\nusd_per_hour = 2\n{HEAD}'
    passed, out = screened(offers(tmp_path, text), Needs())
    assert passed == [] and [reason.line for reason in out[0][1]] == ["unknown: how fast it is"]


OWNED = (
    f'[[choices]]\nid = "o"\nkind = "owned"\nmodel = "x"\n{MACHINE}'
    "capital_usd = 10\nlife_years = 1\nwatts = 5\nusd_per_kwh = 0.1\n"
)
FAULTS: list[tuple[str, str]] = [
    ("[[choices]]\nid = 1\n", "choices"),
    (RENTED.replace("usd_per_hour", "usd_per_hours"), "is `usd_per_hour` meant?"),
    (RENTED.replace('"rented"', '"rent"'), "one of api, rented, owned, workstation, fleet"),
    (RENTED.replace("usd_per_hour = 2", "usd_per_hour = -2"), "greater than or equal to 0"),
    (RENTED.replace("usd_per_hour = 2", "usd_per_hour = nan"), "NaN"),
    (RENTED.replace("usd_per_hour = 2", "usd_per_hour = 1e999999999"), "numbers below 1e18"),
    (RENTED.replace("usd_per_hour = 2", "usd_per_hour = 1e17"), "less than or equal to 1000000000000"),
    (RENTED.replace("output_tok_per_s = 100", "output_tok_per_s = 0"), "tokens per second above 0"),
    (RENTED.replace("usd_per_hour = 2", "usd_per_hour = { value = 2, low = 3 }"), "low ≤ value ≤ high"),
    (RENTED + RENTED, "an id that stands twice"),
    (RENTED + 'hours_utc = "8-8"\n', "hours from 0 to 24"),
    (RENTED + 'measurement = "m.json"\n', "leave one"),
    (RENTED.replace("usd_per_hour = 2", 'gpu = "h100_sxm"\nclass = "cheap"'), "for h100_sxm one of"),
    (RENTED.replace("usd_per_hour = 2", 'gpu = "h1000"\nclass = "index"'), "gpu 'h1000'"),
    (f'[[choices]]\nid = "o"\nkind = "owned"\nmodel = "x"\n{MACHINE}', "capital_usd, life_years, watts, usd_per_kwh"),
    (
        f'[[choices]]\nid = "a"\nkind = "api"\nmodel = "x"\n{HEAD}price_usd_per_mtok = {{ inputs = 1 }}\n',
        "`input` meant",
    ),
    ("[needs]\nttft = 1\n", "is `ttft_s` meant?"),
    ("[needs]\nquality_floor = 1.5\n", "less than or equal to 1"),
    ("[demand]\noutputs_per_day = 5\n", "a stated day needs"),
    ("[demand]\nby_hour = [1, 2]\n", "at least 24"),
    ("not toml", "not TOML"),
    (RENTED.replace("usd_per_hour = 2", "usd_per_hour = true"), "a number is expected"),
    (RENTED.replace("usd_per_hour = 2", 'usd_per_hour = "2"'), "a number is expected"),
    (RENTED + "n_machines_max = true\n", "a number is expected"),
    (RENTED.replace("usd_per_hour = 2", "price_usd_per_mtok = { input = true }"), "a number is expected"),
    (RENTED + "n_machines_max = 10000000000\n", "less than or equal to 1000000000"),
    (RENTED + "n_machines_max = 1.5\n", "integer"),
    ('[needs]\nttft_s = "1"\n', "a number is expected"),
    ("[demand]\nby_hour = [" + "true, " * 24 + "]\n", "a number is expected"),
    (
        RENTED + 'quality = [{ metric = "q", value = 0.5, low = 0.9, method = "measured", source = "s" }]\n',
        "low ≤ value",
    ),
    (
        RENTED + "quality = [" + '{ metric = "q", value = 0.5, method = "measured", source = "s" }, ' * 2 + "]\n",
        "two scores on q",
    ),
    (OWNED + 'billed = "hour"\n', "paid for, used or not"),
    (OWNED + "residual_usd = { value = 5, high = 100 }\n", "residual_usd 100; expected at most capital_usd 10"),
]


@pytest.mark.parametrize(("text", "told"), FAULTS)
def test_a_fault_is_told_in_one_line(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ChoiceError) as caught:
        offers(tmp_path, text)
    line = str(caught.value)
    assert told in line and "\n" not in line and "offers.toml" in line, line


def test_more_offers_than_are_allowed_are_told_before_all_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[object] = []
    real = read._offer
    monkeypatch.setattr(read, "_offer", lambda *words: made.append(words) or real(*words))
    monkeypatch.setattr(read, "MAX_OFFERS", 3)
    variants = "variants = [" + ", ".join(f'{{ id = "{k}" }}' for k in range(50)) + "]\n"
    with pytest.raises(ChoiceError, match="more than 3 offers"):
        offers(tmp_path, RENTED + variants)
    assert len(made) == 4


def test_whoever_sells_under_another_name_is_barred_too(tmp_path: Path) -> None:
    text = f'[[choices]]\nid = "a"\nkind = "api"\nmodel = "x"\n{HEAD}price_usd_per_mtok = {{ input = 1, output = 2 }}\n'
    (unnamed,) = offers(tmp_path, text)
    (provided,) = offers(tmp_path, text + 'provider = "Acme "\n')
    barred = Needs(barred_vendors=("acme",))
    assert [reason.line for reason in reasons_against(provided, barred)] == ["Acme is barred"]
    (reason,) = reasons_against(unnamed, barred)
    assert reason.line == "nobody says who serves it, and vendors are barred"
    (machine,) = offers(tmp_path, RENTED + 'region = "EU"\n')
    assert reasons_against(machine, barred) == []
    assert reasons_against(machine, Needs(regions=("eu",))) == []
    assert reasons_against(machine, Needs(regions=("us",))) != []


def test_a_stated_day_and_its_factor(tmp_path: Path) -> None:
    path = tmp_path / "offers.toml"
    path.write_text(
        "[demand]\noutputs_per_day = 240\ninput_tok_per_output = 10\noutput_tok_per_output = 2\nfactor = 2\n", "utf-8"
    )
    demand = read_offers(path).demand(None)
    assert [hour.outputs for hour in demand.hours] == pytest.approx([20.0] * 24)
    assert demand.total().input_tok == pytest.approx(4800)
    assert demand.method == "assumed" and "flat" in demand.note
    path.write_text("", "utf-8")
    with pytest.raises(ChoiceError, match="no demand"):
        read_offers(path).demand(None)


def statement(**changes: Any) -> dict[str, Any]:
    model = {"model": "m", "n_outputs": "30", "input_tok": "300", "cache_read_tok": "60", "output_tok": "90"}
    hours = [{"hour": "2026-11-01 08:00", "n_outputs": "10"}, {"hour": "2026-11-02 09:00", "n_outputs": "20"}]
    base = {
        "schema": "solvent.statement/1",
        "span": {"days": "2", "start": "2026-11-01T00:00:00+00:00"},
        "product": {"output": "reply"},
        "tables": {"models": {"rows": [model | {"reasoning_tok": "30"}]}, "hours": {"rows": hours}},
    }
    return base | changes


def test_the_demand_of_a_statement_is_a_mean_day_by_hour() -> None:
    demand = from_statement(statement())
    assert demand.hours[8].outputs == pytest.approx(5) and demand.hours[9].outputs == pytest.approx(10)
    total = demand.total()
    assert (total.outputs, total.input_tok, total.cache_read_tok, total.output_tok) == pytest.approx((15, 150, 30, 60))
    assert demand.output == "reply" and demand.method == "measured"
    flat = from_statement(statement(tables={"models": statement()["tables"]["models"]}))
    assert flat.hours[0].outputs == pytest.approx(15 / 24) and flat.method == "assumed" and "flat" in flat.note


@pytest.mark.parametrize(
    "broken",
    [
        {"span": {"days": "0"}},
        {"span": {}},
        {"tables": {"models": {"rows": []}}},
        {"tables": {"models": {"rows": [{"n_outputs": "nan", "input_tok": "1"}]}}},
        {"tables": {"models": {"rows": [{"n_outputs": "5", "input_tok": "-1"}]}}},
        {"tables": {**statement()["tables"], "hours": {"rows": [{"hour": "x", "n_outputs": "1"}]}}},
    ],
)
def test_a_statement_without_a_day_is_told(broken: dict[str, Any]) -> None:
    with pytest.raises(ChoiceError) as caught:
        from_statement(statement(**broken))
    assert "\n" not in str(caught.value)


def result(**figures: str | None) -> dict[str, Any]:
    values = {"output_token_throughput": "50", "time_to_first_token.mean": "1", "request_latency.mean": "4",
              "time_to_first_token.p90": "1.5", "inter_token_latency.p90": "0.02"}  # fmt: skip
    rows = {name: {"value": value} for name, value in (values | figures).items()}
    rows["output_token_throughput"] |= {"low": "40", "high": "55"}
    whole = {key: {} for key in ("machine", "target", "workload", "load")}
    return {
        "schema": "solvent.measurement/1",
        **whole,
        "figures": rows,
        "totals": {"prompt_tok": 600, "output_tok": 150},
    }


def test_a_measurement_becomes_a_speed(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps(result()), "utf-8")
    text = f'[[choices]]\nid = "m"\nkind = "rented"\nmodel = "x"\nusd_per_hour = 1\n{HEAD}measurement = "m.json"\n'
    (offer,) = offers(tmp_path, text)
    read, write = offer.input_tok_per_s, offer.output_tok_per_s
    assert read is not None and write is not None and offer.ttft_s is not None
    # A quarter of the time went to reading 200 tok/s, three quarters to writing 50 tok/s.
    assert (read.value, write.value) == pytest.approx((800, 200 / 3))
    assert 200 / read.value + 50 / write.value == pytest.approx(1)
    assert (write.low, write.high) == pytest.approx((160 / 3, 220 / 3)) and write.method == "measured"
    assert offer.ttft_s.value == 1.5
    (tmp_path / "m.json").write_text(json.dumps(result(**{"time_to_first_token.mean": None})), "utf-8")
    with pytest.raises(ChoiceError, match="measurement without them"):
        offers(tmp_path, text)


PREDICTED = (
    '[[choices]]\nid = "p"\nkind = "rented"\nmodel = "gpt-oss-120b"\nweight_format = "mxfp4"\nusd_per_hour = 2\n'
    'predict = { system = "h100_sxm", n_gpus = 2, isl_tok = 1000, osl_tok = 500, concurrency = 32 }\n' + HEAD
)


def test_a_prediction_becomes_a_speed_with_its_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from solvent.choose.predict import serving

    asked: list[Any] = []

    def predicted(*words: Any) -> serving.Prediction:
        asked.append(words)
        found = (Range(v, v * 0.8, v * 1.2, "predicted", "leans") for v in (3000.0, 0.5, 0.01))
        return serving.Prediction(*found, regime="family", leans_on=("row 1",))

    monkeypatch.setattr(serving, "predict_serving", predicted)
    (offer,) = offers(tmp_path, PREDICTED)
    model, system, weights, parallel, load_, backend = asked[0]
    assert (model, system, weights, backend) == ("gpt-oss-120b", "h100_sxm", "fp4", "vllm")
    assert (parallel.n_gpus, load_.isl_tok, load_.osl_tok, load_.concurrency) == (2, 1000, 500, 32)
    read, write = offer.input_tok_per_s, offer.output_tok_per_s
    assert read is not None and write is not None and offer.ttft_s is not None
    # 0.5 s of 0.5 + 500 · 0.01 go to reading; the rates at the predicted mix take the whole second.
    assert 6000 / read.value + 3000 / write.value == pytest.approx(1)
    assert write.value == pytest.approx(3000 / (1 - 0.5 / 5.5)) and write.method == "predicted"
    assert (write.low / write.value, write.high / write.value) == pytest.approx((0.8, 1.2))
    with pytest.raises(ChoiceError, match=r"is `system` meant\?"):
        offers(tmp_path, PREDICTED.replace("system", "systems"))


@pytest.mark.slow
def test_a_real_prediction_becomes_a_speed(tmp_path: Path) -> None:
    (offer,) = offers(tmp_path, PREDICTED)
    assert offer.output_tok_per_s is not None
    assert 1_000 < offer.output_tok_per_s.value < 10_000 and offer.output_tok_per_s.method == "predicted"
    with pytest.raises(ChoiceError, match="no prediction"):
        offers(tmp_path, PREDICTED.replace("h100_sxm", "h1000"))


def test_the_data_files_are_dated_and_sourced() -> None:
    from solvent.choose.offers.rentals import table

    for entry in table():
        assert entry["usd_per_hour"] > 0 and entry["source"] and re.fullmatch(r"\d{4}-\d\d-\d\d", str(entry["date"]))
    keys = [(entry["gpu"], entry["class"], entry["date"]) for entry in table()]
    assert len(keys) == len(set(keys))


SCORE = '[[choices.quality]]\nmetric = "arc_easy"\nvalue = 0.6\nmethod = "claimed"\nsource = "s"\n'
SCORED = RENTED + 'vendor = "Lambda"\nregion = "eu-west"\n' + SCORE


@pytest.mark.parametrize(
    ("needs", "says"),
    [
        (Needs(barred_vendors=("lamda",)), r"offers: needs.barred_vendors: 'lamda'.*write 'Lambda'"),
        (Needs(regions=("eu-wst",)), r"offers: needs.regions: 'eu-wst'.*write 'eu-west'"),
    ],
)
def test_a_need_that_nearly_names_something_is_told(tmp_path: Path, needs: Needs, says: str) -> None:
    found = offers(tmp_path, SCORED)
    with pytest.raises(ChoiceError, match=says):
        checked(needs, found, "offers")


def test_a_need_may_name_what_no_offer_has(tmp_path: Path) -> None:
    found = offers(tmp_path, SCORED)
    for needs in (Needs(barred_vendors=("LAMBDA", "openai"), regions=("EU-WEST", "us")), Needs(quality_floor=0.5)):
        assert checked(needs, found, "offers") is needs


def test_a_floor_over_several_scores_asks_which(tmp_path: Path) -> None:
    found = offers(tmp_path, SCORED + SCORED.replace('"m"', '"n"').replace("arc_easy", "piqa"))
    with pytest.raises(ChoiceError, match=r"needs.quality_floor: 0.5 on no metric.*arc_easy, piqa; .*quality_metric"):
        checked(Needs(quality_floor=0.5), found, "offers")
    assert checked(Needs(quality_floor=0.5, quality_metric="piqa"), found, "offers")


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """As editors on Windows write it."""
    assert offers(tmp_path, "\ufeff" + RENTED)[0].id == "m"
