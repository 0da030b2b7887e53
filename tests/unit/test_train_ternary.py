"""The training tool: its quantisers against NumPy, its gradients, and that what it writes is what it trained."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.model_file import open_model
from solvent.machine.engine.models import config as config_of
from solvent.machine.engine.quants import dequantise
from solvent.machine.engine.reference import forward, quantised_activations
from solvent.machine.engine.tokeniser import Tokeniser
from solvent.machine.ternary.rounding import absmean, round_to_ternary

torch = pytest.importorskip("torch")
WORDS = "To be, or not to be, that is the question: whether 'tis nobler in the mind to suffer. " * 40


@pytest.fixture(scope="module")
def tool() -> Any:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
    try:
        return importlib.import_module("train_ternary")
    finally:
        del sys.path[0]


@pytest.fixture(scope="module")
def net(tool: Any) -> Any:
    return sys.modules["ternary_net"]


def test_weights_and_activations_are_rounded_as_the_engine_rounds_them(net: Any) -> None:
    torch.manual_seed(1)
    w, x = torch.randn(32, 256), torch.randn(5, 256)
    codes, scale = net.ternary_codes(w)
    # The two means are summed in different orders, so the scale agrees to float32's rounding, and codes but at ties.
    assert float(scale) == pytest.approx(float(absmean([w.numpy()])), rel=1e-6)
    assert np.array_equal(codes.numpy(), np.sign(round_to_ternary(w.numpy(), absmean([w.numpy()]))))
    q, step = net.int8_codes(x)
    ours, inverse = quantised_activations(x.numpy())
    assert np.array_equal(q.numpy(), ours) and np.allclose(step.numpy() * inverse, 1, rtol=1e-6)


def test_the_product_is_that_of_the_rounded_values(net: Any) -> None:
    torch.manual_seed(2)
    w, v, x = torch.randn(16, 256), torch.randn(8, 256) * 3, torch.randn(5, 256)
    y = net.TernaryProduct.apply(torch.float32, x, w, v)
    (cw, sw), (cv, sv), (q, step) = net.ternary_codes(w), net.ternary_codes(v), net.int8_codes(x)
    wanted = torch.cat([q.double() @ (cw.double() * sw).T, q.double() @ (cv.double() * sv).T], 1) * step
    # The sums are exact; two scales multiply them, each rounding once (2⁻²⁴), in one order here, in another there.
    assert torch.allclose(y.double(), wanted, rtol=4 * 2.0**-24, atol=0)
    assert not torch.allclose(y.double(), wanted * (1 + 6 * 2.0**-24), rtol=4 * 2.0**-24, atol=0)


def test_gradients_pass_both_quantisers_straight_through(net: Any) -> None:
    """d/dx = dy·W̃ and d/dW = dyᵀ·x̃: of the rounded values, as if rounding were the identity."""
    torch.manual_seed(3)
    w, x = torch.randn(16, 256, requires_grad=True), torch.randn(5, 256, requires_grad=True)
    dy = torch.randn(5, 16)
    net.TernaryProduct.apply(torch.float32, x, w).backward(dy)
    (codes, scale), (q, step) = net.ternary_codes(w.detach()), net.int8_codes(x.detach())
    assert torch.allclose(x.grad, dy @ (codes * scale), atol=1e-4)
    assert torch.allclose(w.grad, dy.T @ (q * step), atol=1e-4)
    assert not torch.allclose(x.grad, dy @ w.detach(), atol=1e-1)


@pytest.mark.parametrize("kind", ["ternary", "float"])
def test_what_is_written_is_what_was_trained(tool: Any, net: Any, kind: str, tmp_path: Path) -> None:
    """A few steps of a small shape; then the file, through the reference, gives the network's own logits.

    The embedding is first rounded to the half precision in which it is written. What then differs: float32 sums in
    another order, and scales (ternary) or weights (float) in half precision, 2⁻¹¹ of them: at logits of 4 within
    0.002. An int8 code at a tie may flip, which moves a sum by one part in 127 of one activation: ten times that."""
    shape = net.Shape(n_vocab=290, n_layers=1, n_heads=2, n_kv_heads=1, head_size=128, ff_width=256, context=32)
    tokeniser = tool.tokeniser_of(WORDS, shape.n_vocab)
    text = tool.split_text(WORDS, tokeniser)
    budget = tool.Budget(steps=4, batch=2, warmup_steps=1)
    trained = tool.train(shape, text, budget, kind, tool.Recipe(4e-3, 0.1))
    assert trained.curve[-1]["step"] == 4 and 0 < trained.curve[-1]["held_out_nats_per_byte"] < 6
    network = trained.network
    network.token_embd.data = network.token_embd.data.half().float()
    path = tmp_path / "model.gguf"
    write_gguf(path, tool.metadata(network, tokeniser, kind), tool.tensors_of(network))
    file = open_model(path)
    ids = Tokeniser.from_metadata(file.metadata).encode(WORDS)[:24]
    assert ids == tokeniser.encode(WORDS).ids[:24]
    with torch.no_grad():
        wanted = network(torch.tensor([ids]))[0].numpy()
    weights = {name: dequantise(tensor) for name, tensor in file.tensors.items()}
    logits = forward(config_of(file), weights, ids)
    assert np.abs(logits - wanted).max() < {"ternary": 0.02, "float": 0.002}[kind] < np.abs(wanted).max() / 100
    # The other order of rotated pairs is no rounding.
    config = config_of(file)
    other = "halves" if config.rope_pairs == "adjacent" else "adjacent"
    unlike = forward(dataclasses.replace(config, rope_pairs=other), weights, ids)
    assert np.abs(unlike - logits).max() > 10 * np.abs(logits - wanted).max()


def test_both_twins_see_the_same_batches_in_the_same_order(tool: Any) -> None:
    tokens = torch.arange(1000)
    first, again = (list(tool.batches(tokens, tool.Budget(steps=3), 16)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert first[0].shape == (16, 17) and not torch.equal(first[0], first[1])


def test_the_rate_warms_up_and_ends_low(tool: Any) -> None:
    budget = tool.Budget(steps=100, warmup_steps=10)
    rates = [tool.rate_at(step, budget, 1.0) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1.0 and rates[-1] < 0.02


def test_the_held_out_tenth_is_not_trained_on(tool: Any) -> None:
    words = "abc " * 100 + "xyz " * 11
    text = tool.split_text(words, tool.tokeniser_of(words[: tool.held_out_start(words)], 260))
    assert tool.held_out_start(words) == int(len(words) * 0.9)
    assert text.held_out_bytes == len(words) - tool.held_out_start(words)
