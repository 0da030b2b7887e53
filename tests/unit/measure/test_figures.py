"""Figures from hand-made timestamps: every definition by its own arithmetic; unknown stays unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from solvent.errors import MeasureError
from solvent.figure import Figure, Figures
from solvent.measure.compare import compare
from solvent.measure.figures import Measured, add_figures, faults, totals
from solvent.measure.metrics import Slo, of_answer
from solvent.measure.money import Hourly, PerToken, add_hourly, add_per_token
from solvent.measure.result import SCHEMA, About, read_result, result_document
from solvent.measure.run import Point
from solvent.report.measure_text import measurement_lines

MACHINE = {"cpu": "a", "n_cores": 2, "features": [], "memory_gib": 8, "gpus": [], "os": "Linux", "architecture": "x"}


def sample(i: int = 0, **fields: Any) -> dict[str, Any]:
    """Sent at i, first token 0.5 s later, three more after 0.1, 0.1 and 0.2 s."""
    at_s = float(i)
    chunk_s = [at_s + 0.5, at_s + 0.6, at_s + 0.7, at_s + 0.9]
    usual = {
        "session": 0, "request_id": f"r{i:06d}", "scheduled_s": None, "started_s": at_s, "sent_s": at_s,
        "chunk_s": chunk_s, "chunk_tok": [1] * 4, "done_s": at_s + 1.0, "prompt_tok": 10, "output_tok": 4,
        "n_outputs": 1.0, "error": None, "notes": [], "retry_after_s": None,
    }  # fmt: skip
    return {**usual, **fields}


def figures_of(samples: list[dict[str, Any]], slo: Slo | None = None, concurrency: int | None = 1) -> Figures:
    figures = Figures()
    add_figures(figures, Measured(samples, "a test", "2026-11-21", slo, concurrency))
    return figures


def test_one_answers_numbers() -> None:
    found = of_answer(sample())
    assert found is not None
    assert found.latency_s == pytest.approx(0.9) and found.ttft_s == pytest.approx(0.5)
    assert found.tpot_s == pytest.approx(0.4 / 3) and found.tpot_total_s == pytest.approx(0.9 / 4)
    assert found.gaps_s == pytest.approx((0.1, 0.1, 0.2)) and found.gaps_per_tok_s == pytest.approx((0.1, 0.1, 0.2))


def test_a_piece_of_two_tokens_is_two_short_gaps_and_of_unknown_ones_none() -> None:
    two = of_answer(sample(chunk_tok=[1, 1, 2, 1], output_tok=5))
    assert two is not None and two.gaps_per_tok_s == pytest.approx((0.1, 0.05, 0.2))
    unknown = of_answer(sample(chunk_tok=[None] * 4, output_tok=7))
    assert unknown is not None and unknown.gaps_per_tok_s is None and unknown.tpot_s == pytest.approx(0.4 / 6)


def test_what_an_answer_does_not_say_is_unknown() -> None:
    uncounted = of_answer(sample(output_tok=None))
    assert uncounted is not None and uncounted.tpot_s is None and uncounted.tpot_total_s is None
    whole = of_answer(sample(chunk_s=[0.9], chunk_tok=[4], notes=["not_streamed: in one piece"]))
    assert whole is not None and whole.ttft_s is None and whole.tpot_s is None and whole.latency_s == 0.9
    command = of_answer(sample(chunk_s=[], chunk_tok=[], output_tok=None))
    assert command is not None and command.latency_s == 1.0 and command.ttft_s is None
    assert of_answer(sample(error="timeout: late")) is None and of_answer(sample(done_s=None)) is None


def test_figures_of_equal_answers() -> None:
    figures = figures_of([sample(i) for i in range(20)])
    assert figures["time_to_first_token.p50"].value == pytest.approx(0.5)
    assert figures["inter_token_latency.p90"].value == pytest.approx(0.2)
    assert figures["inter_token_latency.mean"].value == pytest.approx(0.4 / 3)
    assert figures["time_per_output_token.mean"].value == pytest.approx(0.4 / 3)
    assert figures["time_per_output_token_total.mean"].value == pytest.approx(0.225)
    # From the first sending at 0 to the last end at 20 s: 80 tokens, 20 answers.
    assert figures["output_token_throughput"].value == pytest.approx(4.0)
    assert figures["request_throughput"].value == pytest.approx(1.0)
    for figure in figures.by_id.values():
        assert figure.method == "measured" and figure.source == "a test" and figure.date == "2026-11-21"
        assert figure.low is None or figure.low <= figure.value <= figure.high  # type: ignore[operator]


@pytest.mark.parametrize("concurrency", [None, 1])
def test_rates_agree_whichever_way_they_are_resampled(concurrency: int | None) -> None:
    samples = [sample(i, output_tok=4 + i % 3, chunk_tok=[1, 1, 1, 1 + i % 3]) for i in range(20)]
    figures = figures_of(samples, concurrency=concurrency)
    n_tok = sum(4 + i % 3 for i in range(20))
    assert figures["output_token_throughput"].value == pytest.approx(n_tok / 20)
    low, high = figures["output_token_throughput"].low, figures["output_token_throughput"].high
    assert low is not None and high is not None and low < n_tok / 20 < high


def test_sessions_do_not_count_the_time_between_them() -> None:
    later = [sample(i, session=1) for i in range(5)]
    for one in later:
        for key in ("sent_s", "started_s", "done_s"):
            one[key] += 1e6
        one["chunk_s"] = [at + 1e6 for at in one["chunk_s"]]
    samples = [sample(i) for i in range(5)] + later
    assert totals(samples)["window_s"] == pytest.approx(10.0)
    for concurrency in (None, 1):
        assert figures_of(samples, concurrency=concurrency)["output_token_throughput"].value == pytest.approx(4.0)


def test_failed_answers_are_counted_by_name_and_their_tokens_are_not_delivered() -> None:
    samples = [sample(i) for i in range(10)] + [
        sample(10, error="died_midstream: after 3 pieces"),
        sample(11, error="http_429: slow down"),
        sample(12, error="http_429: slow down", done_s=None),
        sample(13, notes=["wrong_token_count: 12, 4", "no_end: x"]),
    ]
    assert faults(samples) == {
        "died_midstream": 1, "http_429": 2, "note:wrong_token_count": 1, "note:no_end": 1,
    }  # fmt: skip
    figures = figures_of(samples)
    assert figures["failed_requests"].value == 3 and figures["failed_requests"].note.startswith("died_midstream 1")
    assert figures["output_token_throughput"].value == pytest.approx(44 / 14)


def test_an_uncounted_answer_makes_the_rate_unknown_not_smaller() -> None:
    figures = figures_of([sample(i) for i in range(10)] + [sample(10, output_tok=None, chunk_tok=[None] * 4)])
    assert figures["output_token_throughput"].value is None
    assert "1 of 11" in figures["output_token_throughput"].note
    assert figures["request_throughput"].value is not None and totals([sample(output_tok=None)])["output_tok"] is None


def test_nothing_answered_is_no_figure_of_zero() -> None:
    figures = figures_of([sample(i, error="timeout: late") for i in range(3)])
    for name in ("output_token_throughput", "request_throughput", "time_to_first_token.p50", "request_latency.p50"):
        assert figures[name].value is None
    assert figures["failed_requests"].value == 3


def test_goodput() -> None:
    slow = [at + 0.3 for at in sample(2)["chunk_s"]]
    samples = [sample(0), sample(1), sample(2, chunk_s=slow), sample(3, error="timeout: late")]
    figures = figures_of(samples, Slo.of(["ttft=0.6,itl=0.15"]))
    assert figures["good_request_fraction"].value == 0.5
    assert figures["goodput"].value == pytest.approx(2 / 4.0)
    just = Slo.of(["ttft=0.5", "itl=0.134", "latency=0.91"])
    assert just is not None and just.met(of_answer(sample())) and not Slo.of(["itl=0.133"]).met(of_answer(sample()))  # type: ignore[union-attr, arg-type]
    assert not just.met(of_answer(sample(output_tok=None, chunk_tok=[None] * 4)))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["ttft", "ttft=x", "ttft=0", "speed=1", "ttft=-1", "ttft=nan", ""])
def test_a_wrong_objective_is_refused(text: str) -> None:
    with pytest.raises(MeasureError, match="--slo"):
        Slo.of([text])


# ---------------------------------------------------------------- money


def test_an_hour_over_what_it_makes() -> None:
    figures = figures_of([sample(i) for i in range(20)])
    add_hourly(figures, Hourly(3.6, "a bill", "2026-11-01"))
    # 3.6 USD an hour are 0.001 a second; 4 tokens and 1 output a second.
    per_mtok, per_output = figures["usd_per_mtok_output"], figures["cost_per_output_usd"]
    assert per_mtok.value == pytest.approx(250.0) and per_output.value == pytest.approx(0.001)
    assert per_mtok.inputs == ("output_token_throughput", "usd_per_hour") and per_mtok.method == "priced"
    varied = figures_of([sample(i, output_tok=4 + i % 3, chunk_tok=[1, 1, 1, 1 + i % 3]) for i in range(20)])
    add_hourly(varied, Hourly(3.6, "a bill"))
    rate, cost = varied["output_token_throughput"], varied["usd_per_mtok_output"]
    assert rate.low is not None and rate.high is not None and rate.high > rate.low
    assert cost.low == pytest.approx(1000 / float(rate.high)) and cost.high == pytest.approx(1000 / float(rate.low))


def test_a_price_per_token_over_what_was_used() -> None:
    figures, samples = Figures(), [sample(i) for i in range(12)]
    metrics = add_figures(figures, Measured(samples, "s", "d"))
    add_per_token(figures, PerToken(2.0, 5.0, "a card"), metrics, "s")
    assert figures["cost_per_output_usd"].value == pytest.approx((10 * 2 + 4 * 5) / 1e6)
    uncounted = Figures()
    metrics = add_figures(uncounted, Measured([*samples, sample(12, prompt_tok=None)], "s", "d"))
    add_per_token(uncounted, PerToken(2.0, 5.0, "a card"), metrics, "s")
    assert uncounted["cost_per_output_usd"].value is None


def test_no_rate_has_no_price() -> None:
    figures = Figures()
    for name in ("output_token_throughput", "output_throughput"):
        figures.add(Figure(name, name, None, "x", "measured", "s"))
    add_hourly(figures, Hourly(1.0, "a bill"))
    assert figures["usd_per_mtok_output"].value is None and figures["cost_per_output_usd"].value is None


# ---------------------------------------------------------------- the document


def document(samples: list[dict[str, Any]], **machine: Any) -> dict[str, Any]:
    plan = {
        "target": {"name": "a model"}, "workload": {"kind": "fixed", "input_tok": 10, "output_tok": 4},
        "load": {"concurrency": 1},
    }  # fmt: skip
    about = About(plan, {**MACHINE, **machine}, "2026-11-21T10:00:00+00:00", hourly=Hourly(3.6, "a bill"))
    return result_document([Point(1, samples, 0, None)], about)


def test_the_document_holds_samples_and_figures_and_is_read_back(tmp_path: Path) -> None:
    made = document([sample(i) for i in range(20)])
    assert made["schema"] == SCHEMA and len(made["samples"]) == 20 and made["samples"][0]["chunk_s"][0] == 0.5
    assert made["figures"]["peak_memory_bytes"]["value"] is None, "unknown, not zero"
    assert made["figures"]["energy_per_output_token"]["value"] is None
    path = tmp_path / "a.json"
    path.write_text(json.dumps(made, allow_nan=False), "utf-8")
    assert read_result(path) == made
    text = "\n".join(measurement_lines(made))
    assert "time to first token" in text and "cost per output" in text and "unknown" in text


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"{}", b"\xff", b'{"schema": "solvent.measurement/2"}', b'{"schema": "solvent.measurement/1"}',
        b'{"schema": "solvent.measurement/1", "machine": {}, "workload": {}, "load": {}, "target": {},'
        b' "figures": {"a": {"value": "nonsense"}}}',
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(MeasureError, match=r"a\.json"):
        read_result(path)


def test_a_comparison_tells_change_from_noise() -> None:
    before = document([sample(i) for i in range(20)])
    faster = document([sample(i, chunk_s=[at - 0.2 for at in sample(i)["chunk_s"]]) for i in range(20)])
    rows = {row["id"]: row for row in compare(before, faster)["rows"]}
    assert rows["time_to_first_token.mean"]["ratio"] == pytest.approx(0.6)
    assert rows["time_to_first_token.mean"]["apart"] is True
    same = {row["id"]: row for row in compare(before, before)["rows"]}
    assert same["time_to_first_token.mean"]["apart"] is False and same["peak_memory_bytes"]["ratio"] is None
    text = "\n".join(measurement_lines({**faster, "comparison": compare(before, faster)}))
    assert "within the intervals" in text and "the same machine" in text


def test_results_of_two_machines_are_compared_only_when_asked() -> None:
    before, after = document([sample(0)]), document([sample(0)], memory_gib=64)
    with pytest.raises(MeasureError, match="memory_gib 8 / 64"):
        compare(before, after)
    found = compare(before, after, across_machines=True)
    assert found["same_machine"] is False
    assert "ANOTHER MACHINE" in "\n".join(measurement_lines({**after, "comparison": found}))


def test_a_ratio_that_no_number_holds_is_none() -> None:
    before, after = document([sample(0)]), document([sample(0)])
    before["figures"]["request_latency.mean"]["value"] = "1e-320"
    del before["figures"]["failed_requests"]["value"]
    rows = {row["id"]: row for row in compare(before, after)["rows"]}
    assert rows["request_latency.mean"]["ratio"] is None and rows["failed_requests"]["old"] is None
