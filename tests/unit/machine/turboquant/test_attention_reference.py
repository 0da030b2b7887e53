"""Attention on codes against attention on what they decode to, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from solvent.machine.turboquant.attention_reference import attend, int8_codes, scores
from solvent.machine.turboquant.centring import PackedHeads
from solvent.machine.turboquant.reference import Code
from solvent.machine.turboquant.rotation import rotate


@pytest.mark.parametrize("head_size", [64, 80, 128])
@pytest.mark.parametrize(("bits", "trellis"), [(2, True), (3, False), (4, True), (8, False)])
def test_attention_on_codes_is_attention_on_what_they_stand_for(bits: int, trellis: bool, head_size: int) -> None:
    random = np.random.default_rng(bits)
    vectors = random.standard_normal((2, 2, 300, head_size)).astype(np.float32)
    vectors[0] += 5 * random.standard_normal((2, 1, head_size)).astype(np.float32)
    keys = PackedHeads(Code(bits, head_size, trellis), 2, centred=True)
    values = PackedHeads(Code(bits, head_size, trellis, unbiased=False), 2, centred=False)
    keys.append(vectors[0])
    values.append(vectors[1])
    query = random.standard_normal(head_size).astype(np.float32) / np.float32(np.sqrt(head_size))
    for head in range(2):
        logits = keys.vectors()[head].astype(float) @ query
        weights = np.exp(logits - logits.max())
        weights /= weights.sum()
        # A query rounded to max/127 errs by at most half a step an element, times the key less its centre.
        residual = np.linalg.norm(keys.rotated(0, 300)[head] - keys.token_centres(0, 300)[head], axis=1)
        step = np.abs(rotate(query)).max() / 127
        off = np.abs(scores(query, keys, head) - logits)
        assert (off < residual * step / 2 * np.sqrt(head_size) + 1e-5).all()
        assert off.max() > 0
        # Weights are rounded to 1/127 of the largest of 32, and move by the scores' error: 2 % of the output's size.
        wanted = weights @ values.vectors()[head]
        found = attend(query, keys, values, head)
        assert np.linalg.norm(found - wanted) < 0.03 * np.linalg.norm(wanted)
        # The planted fault: one of 300 tokens forgotten, the one with the most weight.
        without = weights.copy()
        without[weights.argmax()] = 0
        fault = without / without.sum() @ values.vectors()[head]
        assert np.linalg.norm(fault - wanted) > 0.03 * np.linalg.norm(wanted)


def test_int8_codes() -> None:
    codes, unit = int8_codes(np.array([1.0, -2.54, 0.01, 0.03], np.float32))
    assert codes.tolist() == [50, -127, 0, 2] or codes.tolist() == [50, -127, 1, 2]
    assert unit == pytest.approx(0.02)
    assert int8_codes(np.zeros(4, np.float32))[1] == 0.0
