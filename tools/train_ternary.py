"""Trains a ternary model from the start, beside its float twin, and writes both as GGUF.

Same sizes, data, order of batches and number of steps; what differs (graph, learning rate, dropout) is written into
`training.json` beside the models, with the losses along the way. Needs the extra `train` (torch), which is why it is
a tool: nothing under src/ imports torch. One thread, fixed seeds; about eleven minutes a model on one core.

  python tools/train_ternary.py TEXT OUT [--steps 1500] [--only ternary|float|control]

TEXT may be a .zst. Enter at `main`. Source: arXiv:2402.17764 (BitNet b1.58); the network: tools/ternary_net.py.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ternary_net import GRAPHS, Layer, Network, Shape, ternary_codes
from ternary_table import USD_PER_CORE_HOUR, held_out_start, read_text, table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn import functional

from solvent.machine.engine.gguf_write import write_gguf
from solvent.machine.engine.model_file import Tensor
from solvent.machine.engine.quantise import quantise

END = "<|endoftext|>"
NORMAL, CONTROL = 1, 3
EVALUATE_EVERY = 250
NORMS = ("attn_norm", "attn_sub_norm", "ffn_norm", "ffn_sub_norm")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What each model may have of its own, chosen by short runs: a float network of this size learns a text of a
    megabyte by heart and wants dropout; ternary codes flip only at larger steps, and their noise is dropout enough."""

    peak_rate: float
    dropout: float


@dataclass(frozen=True, slots=True)
class Budget:
    """What all of them get."""

    steps: int = 1500
    batch: int = 16
    warmup_steps: int = 50
    weight_decay: float = 0.1
    seed: int = 1


RECIPES = {"ternary": Recipe(6e-3, 0.0), "float": Recipe(4e-3, 0.2), "control": Recipe(4e-3, 0.2)}
TWINS = ("ternary", "float")


@dataclass(frozen=True, slots=True)
class Text:
    """Tokens of both parts, and the bytes that the held-out part decodes to."""

    train: torch.Tensor
    held_out: torch.Tensor
    held_out_bytes: int


@dataclass(frozen=True, slots=True)
class Trained:
    network: Network
    curve: list[dict[str, float]]
    cpu_s: float


def tokeniser_of(text: str, n_vocab: int) -> Tokenizer:
    """Byte-level BPE with GPT-2's pre-tokeniser, so that any reader of GGUF's "gpt2" model reads it."""
    tokeniser = Tokenizer(models.BPE())
    tokeniser.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokeniser.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokeniser.train_from_iterator([text], trainer)
    assert tokeniser.get_vocab_size() == n_vocab, f"{tokeniser.get_vocab_size()} tokens from this text"
    return tokeniser


def split_text(text: str, tokeniser: Tokenizer) -> Text:
    """The last tenth is held out; the tokeniser too has seen only the rest."""
    cut = held_out_start(text)
    train, held_out = (torch.tensor(tokeniser.encode(part).ids) for part in (text[:cut], text[cut:]))
    return Text(train, held_out, len(text[cut:].encode()))


def batches(tokens: torch.Tensor, budget: Budget, context: int) -> Iterator[torch.Tensor]:
    """(batch, context + 1) windows at random places; the same for all models."""
    generator = torch.Generator().manual_seed(budget.seed)
    for _ in range(budget.steps):
        starts = torch.randint(len(tokens) - context, (budget.batch,), generator=generator)
        yield torch.stack([tokens[start : start + context + 1] for start in starts.tolist()])


def rate_at(step: int, budget: Budget, peak: float) -> float:
    """Linear warm-up, then a cosine to a hundredth of the peak."""
    if step < budget.warmup_steps:
        return peak * (step + 1) / budget.warmup_steps
    done = (step - budget.warmup_steps) / max(1, budget.steps - budget.warmup_steps)
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def train(shape: Shape, text: Text, budget: Budget, kind: str, recipe: Recipe) -> Trained:
    """The trained network, its losses along the way, and the seconds of processor time that it took."""
    torch.manual_seed(budget.seed)
    network = Network(shape, GRAPHS[kind], recipe.dropout)
    matrices = [p for p in network.parameters() if p.dim() > 1]
    gains = [p for p in network.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": budget.weight_decay}, {"params": gains, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)
    curve: list[dict[str, float]] = []
    recent, started = [], time.process_time()
    for step, batch in enumerate(batches(text.train, budget, shape.context)):
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, budget, recipe.peak_rate)
        logits = network(batch[:, :-1], torch.bfloat16)
        loss = functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        recent.append(loss.item())
        if (step + 1) % EVALUATE_EVERY == 0 or step + 1 == budget.steps:
            held_out = held_out_nats_per_byte(network, text)
            curve.append({"step": step + 1, "train_nats_per_tok": sum(recent) / len(recent),
                          "held_out_nats_per_byte": held_out})  # fmt: skip
            print(kind, json.dumps(curve[-1]), f"{time.process_time() - started:.0f} s", file=sys.stderr, flush=True)
            recent.clear()
    return Trained(network.eval(), curve, time.process_time() - started)


@torch.no_grad()
def held_out_nats_per_byte(network: Network, text: Text) -> float:
    """−Σ ln p(token | those before it in its window) / bytes, in float32, over windows that follow each other."""
    network.eval()
    context = network.shape.context
    n_windows = (len(text.held_out) - 1) // context
    inputs = text.held_out[: n_windows * context].view(-1, context)
    targets = text.held_out[1 : n_windows * context + 1].view(-1, context)
    nats = sum(
        float(functional.cross_entropy(network(x).flatten(0, 1), y.flatten(), reduction="sum"))
        for x, y in zip(inputs.split(16), targets.split(16), strict=True)
    )
    network.train()
    # The windows leave out less than one context at the end; the bytes of what is counted, pro rata by tokens.
    return nats / (text.held_out_bytes * n_windows * context / len(text.held_out))


def metadata(network: Network, tokeniser: Tokenizer, kind: str) -> dict[str, Any]:
    """GGUF's keys: BitNet for the ternary model, Llama for the twin, so that llama.cpp loads the twin."""
    shape = network.shape
    architecture = "bitnet-b1.58" if network.graph.bitnet else "llama"
    sizes = {
        "context_length": shape.context,
        "embedding_length": shape.width,
        "block_count": shape.n_layers,
        "feed_forward_length": shape.ff_width,
        "attention.head_count": shape.n_heads,
        "attention.head_count_kv": shape.n_kv_heads,
        "attention.layer_norm_rms_epsilon": shape.norm_eps,
        "rope.dimension_count": shape.head_size,
        "rope.freq_base": shape.rope_base,
        "vocab_size": shape.n_vocab,
    }
    described = json.loads(tokeniser.to_str())["model"]
    tokens = sorted(described["vocab"], key=described["vocab"].__getitem__)
    return {
        "general.architecture": architecture,
        "general.name": f"solvent tiny Shakespeare, {kind}",
        "general.license": "apache-2.0",
        **{f"{architecture}.{key}": value for key, value in sizes.items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array([CONTROL if token == END else NORMAL for token in tokens], np.int32),
        "tokenizer.ggml.merges": [" ".join(pair) for pair in described["merges"]],
        "tokenizer.ggml.bos_token_id": tokens.index(END),
        "tokenizer.ggml.eos_token_id": tokens.index(END),
        "tokenizer.ggml.add_bos_token": False,
    }


def tensors_of(network: Network) -> list[Tensor]:
    """Norms in F32, embedding in F16, projections in TQ2_0 (codes exactly, scale in half precision) or F16."""
    found = [tensor("token_embd", network.token_embd, "f16")]
    for number, layer in enumerate(network.layers):
        assert isinstance(layer, Layer)
        for name, weight in layer.named_parameters():
            kind = "f32" if name in NORMS else "tq2_0" if network.graph.ternary else "f16"
            if not network.graph.bitnet and name in ("attn_q", "attn_k"):
                weight = adjacent_pairs(weight, network.shape.head_size)
            found.append(tensor(f"blk.{number}.{name}", weight, kind))
    return [*found, tensor("output_norm", network.output_norm, "f32")]


def tensor(name: str, weight: torch.Tensor, kind: str) -> Tensor:
    values = weight.detach()
    if kind == "tq2_0":
        codes, scale = ternary_codes(values)
        values = codes * scale
    data = quantise(values.numpy().astype(np.float32), kind, name)
    return Tensor(f"{name}.weight", kind, tuple(weight.shape), data)


def adjacent_pairs(weight: torch.Tensor, head_size: int) -> torch.Tensor:
    """Rows of each head reordered: GGUF's Llama turns rows 2i and 2i + 1 together, this network i and i + d/2."""
    n_heads = len(weight) // head_size
    return weight.view(n_heads, 2, head_size // 2, -1).transpose(1, 2).reshape(weight.shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=Budget().steps)
    parser.add_argument("--only", choices=list(RECIPES), action="append")
    given = parser.parse_args()
    torch.set_num_threads(1)
    shape, budget, words = Shape(), Budget(steps=given.steps), read_text(given.text)
    tokeniser = tokeniser_of(words[: held_out_start(words)], shape.n_vocab)
    text = split_text(words, tokeniser)
    given.out.mkdir(parents=True, exist_ok=True)
    for kind in given.only or TWINS:
        trained = train(shape, text, budget, kind, RECIPES[kind])
        if kind != "control":
            # The control has no name in GGUF: BitNet's graph with float weights; only its loss is kept.
            write_gguf(
                given.out / f"{kind}.gguf", metadata(trained.network, tokeniser, kind), tensors_of(trained.network)
            )
        note(given.out / "training.json", kind, budget, trained)
    if all((given.out / f"{kind}.gguf").exists() for kind in TWINS):
        print(table(given.out, words, USD_PER_CORE_HOUR))


def note(path: Path, kind: str, budget: Budget, trained: Trained) -> None:
    """Adds a run to the record of all."""
    record = json.loads(path.read_text("utf-8")) if path.exists() else {"schema": "solvent.training/1", "models": {}}
    record["models"][kind] = {
        "graph": asdict(GRAPHS[kind]),
        "shape": asdict(trained.network.shape),
        "recipe": asdict(RECIPES[kind]),
        "budget": asdict(budget),
        "n_parameters": sum(p.numel() for p in trained.network.parameters()),
        "cpu_s": round(trained.cpu_s, 1),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "curve": trained.curve,
    }
    path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
