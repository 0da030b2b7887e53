"""Measurements beside each other: what is kept of each, in which unit, and that what is unknown stays away."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from solvent.errors import MeasureError
from solvent.measure.side_by_side import side_by_side
from solvent.report.measured_text import measured_lines, row_name


def figure(value: str | None, unit: str, **more: Any) -> dict[str, Any]:
    return {"label": "x", "value": value, "unit": unit, "method": "measured", "source": "s", **more}


def result(**figures: Any) -> dict[str, Any]:
    return {
        "schema": "solvent.measurement/1", "started_at": "2026-11-21T10:00:00+00:00", "concurrency": 1,
        "target": {"name": "models/tiny.gguf", "kind": "engine", "weight_format": "q4_1", "cache_format": "tq4",
                   "cache_bytes_per_tok": 6000.5},
        "workload": {"kind": "fixed", "input_tok": 1000, "output_tok": 24},
        "machine": {"cpu": "c", "n_cores": 2}, "totals": {"answers": 3}, "figures": figures,
    }  # fmt: skip


def value(document: dict[str, Any], key: str, part: str = "value") -> Decimal:
    return Decimal(document["figures"][document["rows"][0]["figures"][key]][part])


def test_tokens_a_second_are_the_reciprocal_and_the_ends_trade_places() -> None:
    mean = figure("0.005", "s", low="0.004", high="0.01", level=0.95)
    found = side_by_side([result(**{"time_per_output_token.mean": mean})])
    assert [value(found, "decode_tok_per_s", part) for part in ("low", "value", "high")] == [100, 200, 250]


def test_a_thousand_outputs_cost_a_thousand_times_one_and_memory_is_in_megabytes() -> None:
    found = side_by_side(
        [result(cost_per_output_usd=figure("0.0000123", "USD/output"), peak_memory_bytes=figure("250000000", "B"))]
    )
    assert value(found, "usd_per_thousand") == Decimal("0.0123")
    assert value(found, "memory_mb") == 250


def test_the_cache_holds_tokens_in_and_out() -> None:
    assert value(side_by_side([result()]), "cache_mb") == Decimal("6000.5") * 1024 / 1_000_000
    other = result()
    other["target"] |= {"cache_full_precision_tok": 512, "cache_full_precision_bytes_per_tok": 23_040}
    found = side_by_side([other])
    assert value(found, "cache_mb") == (Decimal("6000.5") * 512 + 23_040 * 512) / 1_000_000
    assert "23040 of 512" in found["figures"][found["rows"][0]["figures"]["cache_mb"]]["source"]
    other["target"]["cache_full_precision_tok"] = 5000  # more than there are
    assert value(side_by_side([other]), "cache_mb") == Decimal(23_040) * 1024 / 1_000_000
    other["workload"] = {"kind": "trace"}
    assert "cache_mb" not in side_by_side([other])["rows"][0]["figures"]


def test_activations_of_another_type_are_in_the_name() -> None:
    other = result()
    other["target"]["activations"] = "int16"
    rows = side_by_side([result(), other])["rows"]
    assert [row_name(row) for row in rows] == ["tiny q4_1, tq4 cache", "tiny q4_1, int16 activations, tq4 cache"]


def test_what_nobody_measured_has_no_figure_and_is_a_dash() -> None:
    found = side_by_side([result(peak_memory_bytes=figure(None, "B"), goodput=figure("1", "requests/s"))])
    assert set(found["rows"][0]["figures"]) == {"cache_mb"}
    assert list(measured_lines(found))[1].split()[-4:] == ["–", "6.14", "–", "–"]


def test_scores_are_found_by_their_ending_whatever_the_text_is_called() -> None:
    scored = {"quality.a.b.mean_kl": figure("0.02", "nats"), "quality.a.b.perplexity": figure("31", "choices")}
    found = side_by_side([result(**scored)])
    assert value(found, "mean_kl") == Decimal("0.02") and value(found, "perplexity") == 31


def test_each_row_has_figures_of_its_own() -> None:
    found = side_by_side([result(peak_memory_bytes=figure(text, "B")) for text in ("1000000", "2000000")])
    assert [found["figures"][row["figures"]["memory_mb"]]["value"] for row in found["rows"]] == ["1.000000", "2.000000"]


def test_another_document_is_refused() -> None:
    with pytest.raises(MeasureError, match="measurement 2"):
        side_by_side([result(), {**result(), "schema": "solvent.choice/1"}])


def test_a_result_with_less_in_it_gives_what_it_has_and_a_broken_one_is_refused() -> None:
    least = {key: part for key, part in result().items() if key in ("schema", "target", "figures")}
    (row,) = side_by_side([least])["rows"]
    assert row["answers"] is None and row["date"] is None and row["figures"] == {}
    for broken in ({"target": None}, {"figures": []}, {"figures": {"peak_memory_bytes": figure("lots", "B")}}):
        with pytest.raises(MeasureError, match="don't fit"):
            side_by_side([{**result(), **broken}])
    with pytest.raises(MeasureError, match="a machine"):
        side_by_side([{**result(), "machine": "mine"}])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"name": "a/tiny.gguf", "weight_format": "q4_1", "cache_format": "tq4"}, "tiny q4_1, tq4 cache"),
        ({"name": "tiny-q8_0.gguf", "weight_format": "q8_0", "cache_format": "f16"}, "tiny-q8_0, f16 cache"),
        (
            {"name": "t.gguf", "weight_format": "q4_1", "cache_format": "f16", "activations": "int16"},
            "t q4_1, int16 activations, f16 cache",
        ),
        ({"name": "t.gguf", "weight_format": "q4_1", "cache_format": None, "activations": None}, "t q4_1"),
        ({"name": "http://127.0.0.1/v1", "weight_format": None, "cache_format": None}, "v1"),
    ],
)
def test_a_row_is_named_by_model_and_formats(row: dict[str, Any], said: str) -> None:
    assert row_name(row) == said
