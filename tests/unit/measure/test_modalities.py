"""The table of cost per output: units, lineage, arithmetic, and the page that shows it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from solvent.errors import MeasureError
from solvent.measure.modalities import modality_figures


def test_every_modality_is_there_with_lineage() -> None:
    found = modality_figures()
    here = {row.modality for row in found.rows if row.by == "measured here"}
    assert here == {"text", "embeddings", "speech out", "speech in"}
    assert {row.modality for row in found.rows} - here == {"images", "video", "music"}
    for row in found.rows:
        assert row.usd or row.joules
        for name in filter(None, (row.usd, row.joules)):
            figure = found.figures[name]
            assert figure.source and figure.unit.endswith(row.unit)
            assert figure.value is not None and float(figure.value) > 0
            if figure.low is not None and figure.high is not None:
                assert float(figure.low) <= float(figure.value) <= float(figure.high)
        if row.modality in ("images", "video", "music"):
            assert row.by != "measured here"


def test_measured_costs_are_seconds_times_the_machines_price() -> None:
    dear, cheap = modality_figures(0.36), modality_figures(0.036)
    for row in dear.rows:
        if row.by != "measured here":
            continue
        seconds = dear.figures[f"{row.modality}.{row.model}.seconds"]
        assert seconds.method == "measured"
        usd = dear.figures[str(row.usd)]
        assert float(usd.value or 0) == pytest.approx(float(seconds.value or 0) * 1e-4)
        assert float(cheap.figures[str(row.usd)].value or 0) == pytest.approx(float(usd.value or 0) / 10)
        assert usd.method == "assumed" and set(usd.inputs) == {seconds.id, "machine.usd_per_hour"}
    for bad in (0.0, -1.0, float("nan")):
        with pytest.raises(MeasureError):
            modality_figures(bad)


def test_published_joules_become_dollars_by_a_stated_power() -> None:
    found = modality_figures().figures
    flux = found["images.FLUX.1-dev on H100 or B200.usd"]
    # 7,150 J at 550 W are 13 s of a GPU at $2 an hour.
    assert float(flux.value or 0) == pytest.approx(13 * 2 / 3600)
    assert float(flux.low or 0) == pytest.approx(6700 / 700 * 2 / 3600)
    assert flux.method == "assumed" and "gpu.watts" in flux.inputs


def test_the_document_is_whole() -> None:
    document = modality_figures().document()
    assert document["schema"] == "solvent.modality-table/1"
    named = {row[key] for row in document["rows"] for key in ("usd", "joules") if row[key]}
    assert named <= set(document["figures"])


def test_the_page_shows_the_data(repo: Path) -> None:
    path = repo / "tools" / "docs_modalities.py"
    spec = importlib.util.spec_from_file_location("docs_modalities", path)
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    sys.modules["docs_modalities"] = module
    spec.loader.exec_module(module)
    text = module.PAGE.read_text("utf-8")
    assert module.page(text) == text, "`make docs` writes it again"
    assert module.page(text.replace("Piper", "Viper")) == text
