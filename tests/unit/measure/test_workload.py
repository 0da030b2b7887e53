"""Shapes, arrivals and traces: the same requests every time, times kept, bad rows named."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from solvent.errors import MeasureError
from solvent.measure.prompts import WORDS, PromptWriter
from solvent.measure.trace import Row, read_trace
from solvent.measure.workload import Shape, poisson, traced

AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:04.0000000,300,7
2023-11-16 18:17:03.9799600,4808,10
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}
{"timestamp": 3052, "input_length": 7, "output_length": 2, "hash_ids": []}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "trace"
    path.write_text(text, "utf-8")
    return path


def test_azure(tmp_path: Path) -> None:
    rows = read_trace(write(tmp_path, AZURE))
    assert [(row.input_tok, row.output_tok) for row in rows] == [(4808, 10), (300, 7)], "by arrival"
    # Doubles at 1.7e9 s are 2.4e-7 apart.
    assert rows[1].at_s - rows[0].at_s == pytest.approx(0.02004, abs=1e-6)
    assert len(read_trace(write(tmp_path, AZURE), 1)) == 1


def test_mooncake(tmp_path: Path) -> None:
    assert read_trace(write(tmp_path, MOONCAKE)) == [Row(0.0, 6758, 500), Row(3.052, 7, 2)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "header"),
        ("a,b,c\n1,2,3\n", "header"),
        (AZURE.splitlines()[0] + "\n", "no request"),
        (AZURE + "yesterday,1,2\n", "trace:4: TIMESTAMP"),
        (AZURE + "2023-11-16 18:17:03,-1,2\n", "trace:4"),
        (AZURE + "2023-11-16 18:17:03,1\n", "2 columns"),
        (AZURE + "2023-11-16 18:17:03,0,2\n", "trace:4"),
        (MOONCAKE + "{nonsense\n", "trace:3"),
        (MOONCAKE + '{"timestamp": -5, "input_length": 1, "output_length": 1}\n', "trace:3: timestamp"),
        (MOONCAKE + '{"timestamp": 5, "output_length": 1}\n', "trace:3"),
        (MOONCAKE + '{"timestamp": 1e999, "input_length": 1, "output_length": 1}\n', "trace:3"),
        (MOONCAKE + f'{{"timestamp": {10**400}, "input_length": 1, "output_length": 1}}\n', "trace:3"),
    ],
)
def test_a_bad_row_is_named(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(MeasureError, match=said):
        read_trace(write(tmp_path, text))


def test_bytes_that_are_no_text_and_no_file(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    with pytest.raises(MeasureError, match="can't be read"):
        read_trace(path)
    path.write_bytes(AZURE.encode() + b"\xff\xfe")
    with pytest.raises(MeasureError, match="UTF-8"):
        read_trace(path)


def test_arrival_times_are_kept_scaled_or_left_out() -> None:
    rows = [Row(100.0, 5, 2), Row(101.0, 6, 3), Row(104.0, 7, 4)]
    assert [one.at_s for one in traced(rows)] == [0.0, 1.0, 4.0]
    assert [one.at_s for one in traced(rows, rate_scale=2)] == [0.0, 0.5, 2.0]
    assert [one.at_s for one in traced(rows, closed=True)] == [None] * 3
    assert [(one.prompt_tok, one.max_output_tok) for one in traced(rows)] == [(5, 2), (6, 3), (7, 4)]
    with pytest.raises(MeasureError, match="--rate-scale"):
        traced(rows, rate_scale=0)


def test_a_shape_gives_the_same_requests_every_time() -> None:
    shape = Shape(100, 50, 0.5, seed=3)
    first, again = list(islice(shape.requests(), 50)), list(islice(shape.requests(), 50))
    assert first == again and len({one.id for one in first}) == 50
    assert first != list(islice(Shape(100, 50, 0.5, seed=4).requests(), 50))
    assert {(one.prompt_tok, one.max_output_tok) for one in islice(Shape(8, 4).requests(), 9)} == {(8, 4)}


def test_log_normal_lengths_have_their_median_and_spread() -> None:
    logs = np.log([Shape(1000, 1000, 0.5, seed=1).lengths(i)[0] / 1000 for i in range(4000)])
    # Standard errors: of the median 1.25·0.5/√4000 = 0.0099, of the spread 0.5/√8000 = 0.0056; four of each.
    assert abs(float(np.median(logs))) < 0.04 and abs(float(logs.std()) - 0.5) < 0.023
    wrong = np.log([Shape(1000, 1000, 0.53, seed=1).lengths(i)[0] / 1000 for i in range(4000)])
    assert abs(float(wrong.std()) - 0.5) >= 0.023, "a spread just beyond is seen"


@pytest.mark.parametrize("arguments", [(0, 1), (1, 0), (1, 1, -0.1), (1, 1, 3.0), (1, 1, float("nan"))])
def test_lengths_outside_their_range_are_refused(arguments: tuple[float, ...]) -> None:
    with pytest.raises(MeasureError):
        Shape(*arguments)  # type: ignore[arg-type]


def test_poisson_arrivals() -> None:
    due = [one.at_s or 0.0 for one in poisson(Shape(1, 1).requests(), 10.0, 4000, seed=5)]
    gaps = np.diff(due)
    # The mean gap is 0.1 s with a standard error of 0.1/√4000 = 0.0016; four of them. Exponential: σ = mean.
    assert abs(gaps.mean() - 0.1) < 0.0064 and abs(gaps.std() - 0.1) < 0.01 and (gaps > 0).all()
    with pytest.raises(MeasureError, match="--rate"):
        poisson(Shape(1, 1).requests(), 0.0, 1, 0)


def test_prompts_have_their_length_and_no_common_beginning() -> None:
    def pieces(text: str) -> int:
        # A tokeniser that needs two tokens for a long word.
        return sum(1 + (len(word) > 5) for word in text.split())

    made = [PromptWriter(pieces).write(f"r{i}", 200) for i in range(20)]
    assert all(199 <= pieces(text) <= 200 for text in made)
    assert len({text[:40] for text in made}) == 20
    assert len(PromptWriter().write("r", 33).split()) == 33 and len(set(WORDS)) == len(WORDS) > 50
