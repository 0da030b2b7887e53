"""The picker on a random model: a budget is met, a smaller one takes more bytes, one that can't be met says so; and
what was picked is remembered."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import engine_models
import pytest

from solvent.errors import EngineError
from solvent.machine import native
from solvent.machine.engine import models, pick_cache, picked_file
from solvent.machine.engine.load import load
from solvent.machine.engine.model import Model
from solvent.machine.engine.pick_cache import CacheBudget, Picked
from solvent.machine.turboquant.cache_format import CacheFormat, bits_per_element

pytestmark = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")

TOKENS = [(7 * i + i * i) % 271 for i in range(256)]


@cache
def model() -> Model:
    file = engine_models.tiny("llama", "f32", context=256)
    return Model(file, models.config(file), threads=1)


def picked(budget: float) -> Picked:
    return pick_cache.pick_cache(model(), TOKENS, budget, window_tok=128)


def divergence(format: CacheFormat) -> float:
    return pick_cache._Reference(model(), TOKENS, 128).mean_kl(format)


def test_a_budget_is_met_and_a_smaller_one_takes_more_bytes() -> None:
    coarse, fine = divergence(CacheFormat(((2, 2),))), divergence(CacheFormat(((8, 8),)))
    assert fine < coarse
    budgets = (2 * coarse, (fine * coarse) ** 0.5, 1.5 * fine)
    found = [picked(budget) for budget in budgets]
    assert found[0].format.bits == ((2, 2), (2, 2))
    assert found[0].bits_per_element < found[1].bits_per_element < found[2].bits_per_element
    for one, budget in zip(found, budgets, strict=True):
        assert one.mean_kl <= budget == one.budget_kl and one.mean_kl == pytest.approx(divergence(one.format))
        assert one.n_scored == 128 and one.window_tok == 128 and one.floor_kl == pytest.approx(fine)
        assert one.bits_per_element == bits_per_element(one.format, 64) and 6 <= one.n_tried <= 11
    # A bit less for the costlier half doesn't meet the budget: something is left unsaved only where it must be.
    (keys, values), *others = found[1].format.bits
    finer = CacheFormat(((keys - 1, values - 1), *((k - 1, v - 1) for k, v in others)))
    assert divergence(finer) > budgets[1]


def test_a_budget_that_cannot_be_met_says_what_it_would_take() -> None:
    fine = divergence(CacheFormat(((8, 8),)))
    with pytest.raises(EngineError, match=f"8 bits everywhere stray by {fine:.4g}; expected a budget") as caught:
        picked(fine / 2)
    # What is said is met, however it was rounded, and no more than 1.5% above.
    said = float(caught.value.expected.split()[-1])
    assert fine <= said < 1.015 * fine and picked(said).mean_kl <= said


@pytest.mark.parametrize(
    ("budget", "n", "window_tok", "said"),
    [
        (0.0, 256, 128, "budget: 0 nats"),
        (-1.0, 256, 128, "budget: -1 nats"),
        (float("nan"), 256, 128, "budget: nan"),
        (0.1, 100, 128, "text: 100 tokens; expected at least 128, a window"),
        (0.1, 256, 1, "window: 1 tokens; expected 2 to"),
    ],
)
def test_what_makes_no_sense_is_refused(budget: float, n: int, window_tok: int, said: str) -> None:
    with pytest.raises(EngineError, match=said):
        pick_cache.pick_cache(model(), TOKENS[:n], budget, window_tok=window_tok)


TEXT = "the quick brown fox jumps over the lazy dog; " * 8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SOLVENT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return engine_models.write(engine_models.tiny("llama", "f32", context=256), tmp_path / "tiny.gguf")


def test_a_pick_is_remembered_for_the_model_and_the_question(folder: Path, path: Path) -> None:
    budget = CacheBudget(0.05, TEXT, 128)
    first = load(path, cache=budget, threads=1)
    assert first.picked is not None and first.picked_now and first.model.cache == first.picked.format
    assert first.model.new_sequence(8).cache == first.picked.format
    again = load(path, cache=budget, threads=1)
    assert again.picked == first.picked and not again.picked_now and again.picked_file == first.picked_file
    assert again.document()["cache_picked"]["mean_kl"] == first.picked.mean_kl
    for other in (CacheBudget(0.06, TEXT, 128), CacheBudget(0.05, TEXT + "!", 128), CacheBudget(0.05, TEXT, 64)):
        assert load(path, cache=other, threads=1).picked_now
    assert len(list((folder / "picked-caches").iterdir())) == 4


@pytest.mark.parametrize(
    "damage", ["", "[]", "{", '{"schema": 1}', "null", "nan", "bits", "layers", "[" * 100_000, "huge"]
)
def test_a_damaged_note_is_measured_again(damage: str, folder: Path, path: Path) -> None:
    budget = CacheBudget(0.05, TEXT, 128)
    first = load(path, cache=budget, threads=1)
    assert first.picked is not None and first.picked_file is not None
    whole = json.loads(first.picked_file.read_text())
    text = damage
    if damage == "nan":
        whole["picked"]["mean_kl"] = float("nan")
    elif damage == "bits":
        whole["picked"]["format"]["bits"] = [[4.0, 4]] * 2
    elif damage == "layers":
        whole["picked"]["format"]["bits"] = [[4, 4]] * 3
    elif damage == "huge":
        whole["picked"]["n_tried"] = 1e400
    if damage in ("nan", "bits", "layers", "huge"):
        text = json.dumps(whole)
    first.picked_file.write_text(text)
    again = load(path, cache=budget, threads=1)
    assert again.picked_now and again.picked == first.picked
    assert json.loads(first.picked_file.read_text())["picked"]["mean_kl"] == first.picked.mean_kl


def test_where_nothing_can_be_written_nothing_is_remembered(folder: Path, path: Path) -> None:
    folder.write_text("a file, no folder")
    one = load(path, cache=CacheBudget(0.05, TEXT, 128), threads=1)
    assert one.picked is not None and one.picked_now and one.picked_file is None


def test_a_full_disk_leaves_no_part_of_a_note(folder: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = load(path, cache=CacheBudget(0.05, TEXT, 128), threads=1)
    assert one.picked is not None and one.picked_file is not None
    one.picked_file.unlink()

    def full(self: Path, text: str, encoding: str) -> None:
        self.write_bytes(text[:10].encode())
        raise OSError("no space")

    monkeypatch.setattr(Path, "write_text", full)
    assert not picked_file.remember(one.picked_file, one.picked)
    assert list(one.picked_file.parent.iterdir()) == []


def test_the_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SOLVENT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert picked_file.folder() == Path.home() / ".cache" / "solvent"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert picked_file.folder() == Path("/x/solvent")


def test_the_text_that_comes_along_is_long_enough() -> None:
    """Two windows of 1,024 tokens by a tokeniser of 5.5 characters a token, which is more than any here has."""
    assert len(CacheBudget().text_or_own()) > 2 * 1024 * 5.5
