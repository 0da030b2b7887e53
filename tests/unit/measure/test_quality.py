"""Quality sets: reading, scoring against a brute-force sum, few-shot packing, pairs, needles, own scores, figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import product
from math import comb, isnan, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from solvent.errors import MeasureError
from solvent.measure.quality.few_shot import pack
from solvent.measure.quality.figures import own_figures, quality_figures, text_figures
from solvent.measure.quality.items import Item, ItemSet, read_items, shots
from solvent.measure.quality.needle import needle_items
from solvent.measure.quality.own_scores import compare_scores, read_scores
from solvent.measure.quality.paired import accuracy_difference, compare, difference, mcnemar, mean, share
from solvent.measure.quality.score_set import ItemScore, SetScore, outcome, score_set
from solvent.measure.quality.scorer import Ending, Scorer

CHOICES = [
    {"query": "Question: Which of these flies?", "choices": ["a stone", "a swift"], "gold": 1},
    {"query": "The cup fell, therefore", "choices": ["it broke.", "it sang."], "gold": 0},
]


def written(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


class Sequence_:
    """The tokens of a made-up model's text."""

    def __init__(self, context: int) -> None:
        self.context = context
        self.tokens: list[int] = []

    @property
    def n_tokens(self) -> int:
        return len(self.tokens)

    def truncate(self, n_tokens: int) -> None:
        assert 0 <= n_tokens <= len(self.tokens)
        del self.tokens[n_tokens:]


class Model:
    """Logits that depend on every token so far, and bytes as tokens."""

    def __init__(self) -> None:
        self.table = np.random.default_rng(0).normal(size=(64, 256)).astype(np.float32)
        self.n_extended = 0

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        row: NDArray[np.float32] = self.table[sum((i + 1) * t for i, t in enumerate(tokens)) % 64] * 3
        return row

    def extend(self, sequence: Sequence_, tokens: Sequence[int], logits: str) -> NDArray[np.float32]:
        rows = []
        for token in tokens:
            sequence.tokens.append(token)
            rows.append(self.logits(sequence.tokens))
        assert sequence.n_tokens <= sequence.context
        self.n_extended += len(tokens)
        return {"last": rows[-1], "all": np.array(rows), "none": np.empty((0, 256), np.float32)}[logits]

    def logprob(self, context: str, ending: str) -> float:
        """The definition, a token at a time, from the start."""
        tokens = list((context + ending).encode())
        total = 0.0
        for at in range(len(context.encode()), len(tokens)):
            values = self.logits(tokens[:at]).astype(np.float64)
            total += float(values[tokens[at]] - np.log(np.exp(values).sum()))
        return total


def encode(text: str) -> list[int]:
    return list(text.encode())


def scorer(context: int = 4096) -> tuple[Model, Scorer]:
    model = Model()
    return model, Scorer(model, Sequence_(context), encode)


# --- reading ----------------------------------------------------------------------------------------------------------


def test_both_layouts_are_read(tmp_path: Path) -> None:
    choice = read_items(written(tmp_path / "a.jsonl", CHOICES))
    assert choice.kind == "choice" and choice.name == "a"
    assert choice.items[0] == Item("a:1", "Question: Which of these flies?\nAnswer:", (" a stone", " a swift"), 1)
    assert choice.items[1].context == "The cup fell, therefore"
    ends = read_items(written(tmp_path / "b.jsonl", [{"context": "to be or not to ", "continuation": "be"}] * 3), 2)
    assert ends.kind == "continuation" and len(ends.items) == 2
    assert ends.items[1] == Item("b:2", "to be or not to", (" be",), 0)
    assert ends.items[0].text == "to be or not to be"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"query": "q", "choices": ["a"], "gold": 0}, "a.jsonl:1 `choices`"),
        ({"query": "q", "choices": ["a", ""], "gold": 0}, "no text"),
        ({"query": "q", "choices": ["a", 3], "gold": 0}, "no text"),
        ({"query": "q", "choices": ["a", "b"], "gold": 2}, "0 to 1"),
        ({"query": "q", "choices": ["a", "b"], "gold": True}, "`gold`"),
        ({"query": "q", "choices": ["a", "b"]}, "`gold`"),
        ({"choices": ["a", "b"], "gold": 0}, "`query`: missing"),
        ({"question": "q", "answer": "a"}, "keys answer, question"),
        ({"context": "c", "continuation": "\ud800"}, "surrogate"),
        ([1], "a list"),
    ],
)
def test_a_bad_row_is_named(row: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=said):
        read_items(written(tmp_path / "a.jsonl", [row]))


def test_files_that_are_no_sets_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n{not json\n")
    with pytest.raises(MeasureError, match=r"a\.jsonl:2"):
        read_items(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b"[" * 100_000)
    with pytest.raises(MeasureError, match="not JSON"):
        read_items(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_bytes(b"\n")
    with pytest.raises(MeasureError, match="no item"):
        read_items(tmp_path / "a.jsonl")
    with pytest.raises(MeasureError, match="can't be read"):
        read_items(tmp_path)
    with pytest.raises(MeasureError, match="one kind"):
        read_items(written(tmp_path / "a.jsonl", [*CHOICES, {"context": "c", "continuation": "d"}]))


# --- scoring ----------------------------------------------------------------------------------------------------------


def test_scores_are_the_sums_of_the_definition() -> None:
    model, made = scorer()
    context = "Question: what?\nAnswer:"
    endings = [" a", " three words long", " " + "x" * 300]
    for found, ending in zip(made.score(context, endings), endings, strict=True):
        # Float32 logits in both; sums of up to 301 float64 terms of at most 20: 301 · 20 · 2^-52 ≈ 1e-12.
        assert found.logprob == pytest.approx(model.logprob(context, ending), abs=1e-9)
        assert found.n_tok == found.n_bytes == len(ending)
    assert made.score(context, [" three words lonh"])[0].logprob != pytest.approx(
        model.logprob(context, " three words long"), abs=1e-9
    )


def test_a_prefix_is_read_once() -> None:
    model, made = scorer()
    shared = "x" * 500
    made.score(f"{shared} one", [" a", " b"])
    before = model.n_extended
    fresh = scorer()[1].score(f"{shared} two", [" c", " d"])
    assert made.score(f"{shared} two", [" c", " d"]) == fresh
    assert model.n_extended - before <= 4 + 2
    assert made.score("y", [" c"]) == scorer()[1].score("y", [" c"])
    assert made.score(f"{shared} two", [" c", " d"]) == fresh


def test_greedy_is_what_the_model_would_write() -> None:
    model, made = scorer()
    model.table[:, :32] = -50
    model.table[:, 127:] = -50
    tokens = encode("start")
    for _ in range(5):
        tokens.append(int(model.logits(tokens).argmax()))
    ending = bytes(tokens[5:]).decode()
    right, wrong = made.score("start", [ending, ending[:-1] + ("!" if ending[-1] != "!" else "?")])
    assert right.greedy and not wrong.greedy
    # Wrong at first, and from then on what the model would write; longer than a piece.
    tokens = encode("start")
    tokens.append(int(np.argsort(model.logits(tokens))[-2]))
    for _ in range(200):
        tokens.append(int(model.logits(tokens).argmax()))
    for n_tok in (5, 200):
        assert not made.score("start", [bytes(tokens[5 : 5 + n_tok]).decode()])[0].greedy


def test_a_context_that_does_not_fit_and_an_empty_one_are_refused() -> None:
    with pytest.raises(MeasureError, match="12 tokens"):
        scorer(10)[1].score("0123456789", [" a"])
    assert scorer(11)[1].score("0123456789", [" a"])
    with pytest.raises(MeasureError, match="no token stands before"):
        scorer()[1].score("", [" a"])


def test_an_ending_that_changes_the_tokens_before_it_starts_earlier() -> None:
    def merging(text: str) -> list[int]:
        return list(text.replace("er", "\x01").encode())

    model = Model()
    (found,) = Scorer(model, Sequence_(99), merging).score("wate", ["r"])
    assert found.n_tok == 1
    assert found.logprob == pytest.approx(model.logprob("wat", "\x01"), abs=1e-9)


def test_right_is_the_likeliest_ending_and_per_byte_the_likeliest_a_byte() -> None:
    item = Item("i", "c", (" a", " longer"), 1)
    found = outcome(item, "choice", [Ending(-4.0, False, 1, 2), Ending(-7.0, False, 3, 7)])
    assert (found.right, found.right_per_byte, found.margin) == (False, True, -3.0)
    tie = outcome(item, "choice", [Ending(-4.0, False, 1, 2), Ending(-4.0, False, 3, 7)])
    assert not tie.right
    end = outcome(Item("i", "c", (" a",), 0), "continuation", [Ending(-4.0, True, 1, 2)])
    assert (end.right, end.right_per_byte, end.margin) == (True, None, None)


def test_a_set_is_scored_after_its_examples(tmp_path: Path) -> None:
    model, made = scorer()
    items = read_items(written(tmp_path / "a.jsonl", CHOICES))
    examples = shots([Item("e", "Question: Is it?\nAnswer:", (" yes",), 0)])
    seen: list[tuple[int, int]] = []
    found = score_set(made, items, "v", examples, lambda done, all_: seen.append((done, all_)))
    assert seen == [(1, 2), (2, 2)] and found.n_shots == 1
    for score, item in zip(found.scores, items.items, strict=True):
        expected = [model.logprob(examples + item.context, ending) for ending in item.endings]
        assert score.gold_logprob == pytest.approx(expected[item.gold], abs=1e-9)
        assert score.right == (int(np.argmax(expected)) == item.gold)


# --- examples and needles ---------------------------------------------------------------------------------------------


def test_examples_fill_the_tokens_and_are_not_asked() -> None:
    items = ItemSet("s", "continuation", tuple(Item(f"s:{i}", f"context {i}", (f" end{i}",), 0) for i in range(50)))
    text, left = pack(items, encode, 200)
    assert 150 < len(encode(text)) <= 200
    assert len(left.items) == 50 - text.count("\n\n")
    assert all(item.text not in text for item in left.items)
    assert pack(items, encode, 200) == (text, left) != pack(items, encode, 200, seed=1)
    assert pack(items, encode, 0) == ("", items)
    for n_tok, said in ((5, "room for at least one"), (10**6, "all 50 items")):
        with pytest.raises(MeasureError, match=said):
            pack(items, encode, n_tok)


def test_needles_stand_at_their_depths_and_fit() -> None:
    text = "".join(f"This is sentence {i} of a long and quiet book. " for i in range(2000))
    items = needle_items(text, encode, 4000, n_haystacks=3, depths=(0.0, 0.5, 1.0))
    assert len(items.items) == 9 and items.kind == "continuation"
    contexts = {item.context.split("\n\nWhat")[0] for item in items.items}
    assert len(contexts) == 3
    for item, depth in zip(items.items, (0.0, 0.5, 1.0) * 3, strict=True):
        assert 3000 < len(encode(item.text)) <= 4000
        number = item.endings[0].strip()
        assert item.context.count(number) == 1 and len(number) == 6
        assert abs(item.context.index(number) / len(item.context) - depth) < 0.15
        name = item.context.rsplit("number of ", 1)[1].removesuffix(" is")
        assert f"The secret number of {name} is {number}." in item.context
    assert needle_items(text, encode, 4000, 3, (0.0, 0.5, 1.0)) == items
    with pytest.raises(MeasureError, match="more text"):
        needle_items(text[:9000], encode, 4000, 3)
    with pytest.raises(MeasureError, match="room for the needles"):
        needle_items(text, encode, 300)
    with pytest.raises(MeasureError, match="depths"):
        needle_items(text, encode, 4000, depths=(1.5,))


# --- pairs ------------------------------------------------------------------------------------------------------------


def made_set(rights: Sequence[bool], logprobs: Sequence[float], variant: str = "v") -> SetScore:
    rows = enumerate(zip(rights, logprobs, strict=True))
    return SetScore(
        "s", "choice", variant, tuple(ItemScore(f"s:{i}", right, right, p, 10, p / 2) for i, (right, p) in rows)
    )


def test_pairs_see_what_levels_hide() -> None:
    random = np.random.default_rng(1)
    base = random.normal(-20, 10, 400)
    rights = random.random(400) < 0.5
    shifted = compare(made_set(rights, base - 0.1, "small"), made_set(rights, base, "whole"))
    assert shifted.accuracy_difference.value == 0
    assert shifted.accuracy_difference.low < 0 < shifted.accuracy_difference.high < 0.01
    assert shifted.logprob_difference.value == pytest.approx(-0.1)
    assert shifted.logprob_difference.high < -0.099
    level = mean(list(base))
    assert level.high - level.low > 1
    assert shifted.margin_difference is not None and shifted.margin_difference.value == pytest.approx(-0.05)


def test_mcnemar_is_the_binomial_tail() -> None:
    for b, c in product(range(6), range(6)):
        n = b + c
        expected = sum(comb(n, i) / 2**n for i in range(n + 1) if abs(i - n / 2) >= abs(b - n / 2)) if n else 1.0
        assert mcnemar(b, c) == pytest.approx(expected), (b, c)
    assert mcnemar(0, 5000) < 1e-300


def test_intervals_cover_as_often_as_they_say() -> None:
    """Nominal 95%: of 400 draws 380 ± 4.4 · 3 are expected to be covered; one that is half as wide covers ≈ 67%."""
    random = np.random.default_rng(2)
    covered = narrow = 0
    for _ in range(400):
        cells = random.multinomial(150, [0.1, 0.06, 0.84])
        found = accuracy_difference(int(cells[0]), int(cells[1]), 150)
        covered += found.low <= 0.04 <= found.high
        middle, half = (found.low + found.high) / 2, (found.high - found.low) / 4
        narrow += middle - half <= 0.04 <= middle + half
    assert 366 <= covered <= 394
    assert narrow < 320


def test_a_bootstrap_is_as_wide_as_the_standard_error() -> None:
    values = np.random.default_rng(3).normal(0, 1, 500)
    found = difference(list(values), [0.0] * 500)
    expected = 2 * 1.96 * values.std() / 500**0.5
    # 10,000 resamples: a quantile's own error is below 2%.
    assert found.high - found.low == pytest.approx(expected, rel=0.05)
    assert found == difference(list(values), [0.0] * 500) != difference(list(values), [0.0] * 500, seed=1)
    few = difference([1.0, 2.0, 4.0], [0.0, 0.0, 1.0])
    # Mean 2, s = 1, n = 3: 2 ± 4.3027 · 1 / √3.
    assert (few.low, few.high) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)
    for bad in (([], []), ([1.0], [1.0]), ([1.0, 2.0, 3.0], [1.0, 2.0])):
        with pytest.raises(MeasureError):
            difference(*bad)


def test_a_share_has_wilsons_interval() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), 857–872, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for n_right, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
                                  (1, 29, 0.0061, 0.1718)):  # fmt: skip
        found = share(n_right, n)
        assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)
    assert share(20, 20).low < 0.9 and share(20, 20).high == 1
    with pytest.raises(MeasureError):
        share(0, 0)


def test_sets_that_are_not_the_same_are_not_paired() -> None:
    one = made_set([True, False], [-1, -2])
    with pytest.raises(MeasureError, match="the same items"):
        compare(one, made_set([True], [-1]))
    with pytest.raises(MeasureError, match="the same items"):
        compare(one, SetScore("s", "choice", "w", one.scores, n_shots=3))


# --- own scores and figures -------------------------------------------------------------------------------------------

CSV = "item,variant,score\n1,old,3.5\n2,old,4\n3,old,1\n1,new,3.0\n2,new,4\n"


def test_own_scores_are_paired(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(CSV, "utf-8")
    rows = [dict(zip(("item", "variant", "score"), line.split(","), strict=True)) for line in CSV.split()[1:]]
    same = read_scores(written(tmp_path / "mine.jsonl", [{**row, "score": float(row["score"])} for row in rows]))
    assert read_scores(tmp_path / "mine.csv") == same
    found = compare_scores(same, "new", "old")
    assert found.mean.value == 3.5 and found.difference.value == -0.25 and found.only_one == 1
    figures = own_figures("mine", found)
    assert figures["quality.mine.score_difference"].method == "claimed"
    with pytest.raises(MeasureError, match="no variant 'newer'; expected one of new, old"):
        compare_scores(same, "newer", "old")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item,score\n1,2\n", "columns item, score"),
        ("item,variant,score\n1,a,nan\n", "mine.csv:2 `score`"),
        ("item,variant,score\n1,a,1e999\n", "`score`"),
        ("item,variant,score\n1,a,\n", "leave the row out"),
        ("item,variant,score\n1,a,2\n1,a,3\n", "a second time"),
        ("item,variant,score\n1,a\n", "other length"),
        ("item,variant,score\n1,a,2,3\n", "other length"),
        ("item,variant,score\n,a,2\n", "`item`"),
        ("item,variant,score\n", "no score"),
        ('item,variant,score\n"1,a,2\n', "not CSV"),
    ],
)
def test_bad_scores_are_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(text, "utf-8")
    with pytest.raises(MeasureError, match=said):
        read_scores(tmp_path / "mine.csv")


@pytest.mark.parametrize("line", ['{"item": 1}', "3", '{"item": 1, "variant": "a", "score": true}', "{", "[" * 99999])
def test_bad_score_lines_are_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(line + "\n", "utf-8")
    with pytest.raises(MeasureError, match=r"mine\.jsonl:1"):
        read_scores(tmp_path / "mine.jsonl")


def test_figures_carry_intervals_and_lineage() -> None:
    this = made_set([True] * 30 + [False] * 10, [-2.0] * 40, "tq4")
    other = made_set([True] * 32 + [False] * 8, [-1.0] * 40, "f16")
    found = quality_figures([this], [other], "2026-03-01")
    accuracy = found["quality.s.accuracy"]
    assert accuracy.value == 0.75 and accuracy.low is not None and float(accuracy.low) < 0.75 and accuracy.level == 0.95
    lost = found["quality.s.accuracy_difference"]
    assert lost.value == -0.05 and "0 / 2" in lost.note and "tq4 against f16" in lost.source
    assert found["quality.s.gold_nats_per_byte"].value == pytest.approx(0.2)
    assert found["quality.s.logprob_difference"].value == -1.0
    assert {figure.method for figure in found.values()} == {"measured"}
    assert set(quality_figures([this])) < set(found)


def test_text_metrics_become_figures() -> None:
    document = {"perplexity": 20.0, "mean_nll": log(20), "standard_error": 0.01, "n_predicted": 99, "window": 10}
    found = text_figures("wiki", "tq4", [document, {"mean_kl": 0.01, "n_predicted": 99, "window": 10}])
    assert set(found) == {"quality.wiki.perplexity", "quality.wiki.mean_kl"}
    perplexity = found["quality.wiki.perplexity"]
    assert float(perplexity.low or 0) == pytest.approx(20 * np.exp(-0.0196))
    assert found["quality.wiki.mean_kl"].low is None
    unknown = text_figures("w", "v", [{**document, "standard_error": float("nan")}])["quality.w.perplexity"]
    assert unknown.low is None and not isnan(float(unknown.value or 0))
