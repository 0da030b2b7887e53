"""The ledger keeps what it was told through torn lines, learns bias and width, and says its coverage."""

from __future__ import annotations

import math
import multiprocessing
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from solvent.choose.offers.record import Range
from solvent.choose.predict.ledger import MAX_LINE_BYTES, MIN_FOR_WIDTH, SCHEMA, Entry, Ledger
from solvent.errors import ChoiceError


def entry(name: str, value: float = 100.0, group: str = "gpu") -> Entry:
    return Entry(
        name, group, "output_tok_per_s", Range(value, value * 0.8, value * 1.25, "predicted", "test"), "2026-03-01"
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "deep" / "ledger.jsonl")


def test_what_was_kept_comes_back(ledger: Ledger) -> None:
    ledger.predict(entry("a"))
    ledger.predict(entry("b", 50.0))
    ledger.measure("a", 90.0, "2026-03-02")
    ledger.measure("a", 95.0, "2026-03-03")
    kept = Ledger(ledger.path).entries()
    assert list(kept) == ["a", "b"]
    assert kept["a"].measured == 95.0 and kept["b"].measured is None
    assert kept["b"].predicted.low == 40.0


def test_a_torn_line_is_skipped_counted_and_swallows_nothing(ledger: Ledger) -> None:
    ledger.predict(entry("a"))
    whole = ledger.path.read_bytes()
    for cut in range(1, len(whole)):
        ledger.path.write_bytes(whole + whole.replace(b'"a"', b'"t"')[:cut].rstrip(b"\n"))
        ledger.predict(entry("b"))
        kept = ledger.entries()
        assert "a" in kept and "b" in kept, cut
        # All of a line but its end of line is a whole line.
        assert ledger.n_torn == (0 if "t" in kept else 1), cut


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"null",
        b'{"schema":"solvent.prediction-ledger/1","event":"measured","id":"a","value":NaN}',
        b'{"schema":"solvent.prediction-ledger/1","event":"measured","id":"a","value":true}',
        b'{"schema":"solvent.prediction-ledger/1","event":"measured","id":"a","value":-1}',
        b'{"schema":"solvent.prediction-ledger/1","event":"predicted","id":"x","low":3,"value":2,"high":4}',
        b'{"schema":"other/1","event":"measured","id":"a","value":1}',
        b"\xff\xfe{",
        b"[" * 100_000,
    ],
)
def test_a_hostile_line_changes_nothing(line: bytes, ledger: Ledger) -> None:
    ledger.predict(entry("a"))
    with ledger.path.open("ab") as out:
        out.write(line + b"\n")
    kept = ledger.entries()
    assert list(kept) == ["a"] and kept["a"].measured is None and ledger.n_torn == 1


def test_what_can_not_be_is_refused(ledger: Ledger) -> None:
    ledger.predict(entry("a"))
    with pytest.raises(ChoiceError, match="there already"):
        ledger.predict(entry("a"))
    with pytest.raises(ChoiceError, match="no prediction 'z'"):
        ledger.measure("z", 1.0, "2026-03-01")
    for value in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ChoiceError, match="positive"):
            ledger.measure("a", value, "2026-03-01")


def test_a_bias_is_learned_and_one_measurement_does_not_carry_it_all(ledger: Ledger) -> None:
    ledger.predict(entry("a"))
    assert ledger.corrected(entry("q").predicted, "gpu", "output_tok_per_s") == entry("q").predicted
    ledger.measure("a", 150.0, "2026-03-02")
    # exp(log 1.5 / (1 + 2))
    assert ledger.standing("gpu", "output_tok_per_s").bias == pytest.approx(1.5 ** (1 / 3))
    for i in range(50):
        ledger.predict(entry(f"n{i}"))
        ledger.measure(f"n{i}", 150.0, "2026-03-02")
    assert ledger.standing("gpu", "output_tok_per_s").bias == pytest.approx(1.5, rel=0.02)
    assert ledger.standing("other", "output_tok_per_s").n_predicted == 0


def test_intervals_that_miss_are_stretched_until_they_cover(ledger: Ledger) -> None:
    ratios = [0.5, 2.0, 0.55, 1.8, 0.6, 1.7, 0.7, 1.4, 0.9, 1.1, 1.0, 1.0]
    for i, ratio in enumerate(ratios):
        ledger.predict(entry(f"n{i}"))
        ledger.measure(f"n{i}", 100.0 * ratio, "2026-03-02")
    standing = ledger.standing("gpu", "output_tok_per_s")
    assert standing.n_measured == len(ratios) >= MIN_FOR_WIDTH
    assert standing.share_covered == pytest.approx(4 / 12)
    assert standing.stretch > 2
    wide = ledger.corrected(entry("q").predicted, "gpu", "output_tok_per_s")
    assert sum(wide.low <= 100 * r <= wide.high for r in ratios) >= 0.9 * len(ratios)
    assert "corrected by 12 measurements" in wide.source


def writes_at_once(path: Path, barrier: Any, refused: Any) -> None:
    """In a process of its own: one prediction under an id that others take too."""
    mine = Ledger(path)
    barrier.wait()
    try:
        mine.predict(entry("same"))
    except ChoiceError:
        with refused.get_lock():
            refused.value += 1


def test_of_writers_of_one_id_at_once_one_is_kept_and_the_others_are_told(ledger: Ledger) -> None:
    ledger.predict(entry("first"))
    # Looking the id up takes long in a long file: the moment between a look and a write is then wide.
    with ledger.path.open("ab") as out:
        out.write(b"torn\n" * 20_000)
    context = multiprocessing.get_context("spawn")
    barrier, refused = context.Barrier(4), context.Value("i", 0)
    writers = [context.Process(target=writes_at_once, args=(ledger.path, barrier, refused)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    assert ledger.path.read_bytes().count(b'"same"') == 1
    assert refused.value == 3


def test_a_line_without_end_is_not_read_into_memory(ledger: Ledger) -> None:
    ledger.predict(entry("a"))
    with ledger.path.open("ab") as out:
        out.write(b"x" * 8 * MAX_LINE_BYTES + b"\n")
    ledger.predict(entry("b"))
    tracemalloc.start()
    kept = ledger.entries()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert list(kept) == ["a", "b"] and ledger.n_torn == 1
    # The longest event twice over: the line that is kept and the piece that is read; the line is eight.
    assert peak < 4 * MAX_LINE_BYTES


@pytest.mark.parametrize("number", ["1" + "0" * 400, "1e308", "1e-300", "0"])
def test_a_number_that_is_no_time_and_no_speed_is_skipped(number: str, ledger: Ledger) -> None:
    ledger.predict(entry("a"))
    with ledger.path.open("a", encoding="utf-8") as out:
        out.write(f'{{"schema":"{SCHEMA}","event":"measured","id":"a","value":{number}}}\n')
    assert ledger.entries()["a"].measured is None and ledger.n_torn == 1


def test_an_id_of_half_a_character_is_kept(ledger: Ledger) -> None:
    ledger.predict(entry("\ud800"))
    assert list(ledger.entries()) == ["\ud800"]


def test_a_ledger_that_is_a_folder_is_told_in_one_line(tmp_path: Path) -> None:
    for act in (lambda x: x.entries(), lambda x: x.predict(entry("a"))):
        with pytest.raises(ChoiceError, match="can't be opened"):
            act(Ledger(tmp_path))


def test_measurements_in_another_unit_are_refused_not_followed(ledger: Ledger) -> None:
    for i in range(MIN_FOR_WIDTH):
        ledger.predict(entry(f"n{i}"))
        ledger.measure(f"n{i}", 1e14 if i % 2 else 1e-10, "2026-03-02")
    with pytest.raises(ChoiceError, match="too far from its predictions"):
        ledger.corrected(entry("q").predicted, "gpu", "output_tok_per_s")


def test_a_prediction_that_states_no_interval_does_not_stretch_the_others(ledger: Ledger) -> None:
    for i in range(MIN_FOR_WIDTH):
        exact = Range(100.0, 100.0, 100.0, "predicted", "test")
        ledger.predict(Entry(f"n{i}", "gpu", "output_tok_per_s", exact, "2026-03-01"))
        ledger.measure(f"n{i}", 101.0, "2026-03-02")
    # 1% off, against a half-width of at least 1%.
    assert ledger.standing("gpu", "output_tok_per_s").stretch < 1.01
