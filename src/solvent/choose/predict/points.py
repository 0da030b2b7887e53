"""The measured serving points, and the groups that no fold of a test may split.

5,221 rows of aiconfigurator-core's silicon sample, put into one layout by tools/serving_points.py.
Some measurements are listed two or three times, also under two names of one model: they share a `measurement`.
What it doesn't do: say what fits (`fits`) or learn (`surrogate`). Enter at `serving_points`.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from solvent.choose.predict.shapes import Accelerator, ModelShape, accelerator, model_shape

SOURCE = "aiconfigurator-core 0.12.0, systems/silicon_sample.csv"


@dataclass(frozen=True, slots=True)
class Setup:
    """One way to serve one model, and the load on it: closed loop, `concurrency` requests in flight on one replica.

    n_gpus: of the replica.   replicated_attention: each GPU has its own sequences (data-parallel attention).
    expert_gpus: GPUs that experts are spread over whole (1: every expert is cut over all GPUs).
    held_steps: decoding steps for which the server's settings may hold a request back before its prompt is read
    (SGLang's scheduler-recv-interval, TensorRT-LLM's batch_wait_timeout_iters); 0: it looks at every step.
    speculative: drafts tokens and checks them, so that a step gives more than one.
    backend, release, date: "" where not known."""

    model: ModelShape
    gpu: Accelerator
    weight_format: str
    n_gpus: int
    replicated_attention: bool
    expert_gpus: int
    isl_tok: int
    osl_tok: int
    concurrency: float
    backend: str = ""
    release: str = ""
    date: str = ""
    prefill_gpus: int = 0
    decode_gpus: int = 0
    held_steps: float = 0.0
    speculative: bool = False

    @property
    def wide_attention(self) -> bool:
        """fp4 and int4 recipes of expert models narrow the experts only; attention and dense layers stay bf16."""
        return self.model.experts > 0 and self.weight_format in ("fp4", "int4")


@dataclass(frozen=True, slots=True)
class Point:
    """A measured row: what was served and how long it took.

    ttft_s: time to first token; tpot_s: time per output token after it (both as published: one number a row)."""

    id: str
    source: str
    mode: Literal["agg", "disagg"]
    setup: Setup
    ttft_s: float
    tpot_s: float

    @property
    def latency_s(self) -> float:
        """TTFT + (osl − 1) · TPOT: what one request takes, from sent to its last token."""
        return self.ttft_s + (self.setup.osl_tok - 1) * self.tpot_s

    @property
    def output_tok_per_s(self) -> float:
        """concurrency · osl / latency: a closed loop keeps that many requests in flight (Little's law)."""
        return self.setup.concurrency * self.setup.osl_tok / self.latency_s

    @property
    def measurement(self) -> tuple[float, float, int, int]:
        """What rows share that list one measurement: times to 10 µs, as the coarsest source rounds them."""
        return (round(self.ttft_s, 5), round(self.tpot_s, 5), self.setup.isl_tok, self.setup.osl_tok)

    @property
    def model_and_gpu(self) -> str:
        """Fold key: models of one shape count as one, or a model's twin would stay in the training set."""
        return f"{self.setup.model.family} on {self.setup.gpu.name}"

    @property
    def family(self) -> str:
        """Fold key: a whole model, on every GPU."""
        return self.setup.model.family

    @property
    def gpu(self) -> str:
        """Fold key: a whole GPU, with every model."""
        return self.setup.gpu.name

    @property
    def configuration(self) -> str:
        """Fold key: model × GPU × backend and release × format × layout; lengths, load and day vary within."""
        s = self.setup
        layout = f"{s.n_gpus}/{int(s.replicated_attention)}/{s.expert_gpus}/{s.prefill_gpus}/{s.decode_gpus}"
        return f"{self.model_and_gpu}, {s.backend} {s.release}, {s.weight_format}, {layout}"


@cache
def serving_points() -> tuple[Point, ...]:
    """Every row, in the order of the source."""
    import zstandard

    packed = files("solvent.choose").joinpath("data", "serving-points.csv.zst").read_bytes()
    text = zstandard.ZstdDecompressor().decompress(packed).decode("utf-8")
    return tuple(_point(row) for row in csv.DictReader(io.StringIO(text)))


def _point(row: dict[str, str]) -> Point:
    setup = Setup(
        model=model_shape(row["model"]),
        gpu=accelerator(row["system"]),
        weight_format=row["format"],
        n_gpus=int(row["n_gpus"]),
        replicated_attention=row["replicated_attention"] == "1",
        expert_gpus=int(row["expert_gpus"]),
        isl_tok=int(row["isl_tok"]),
        osl_tok=int(row["osl_tok"]),
        concurrency=float(row["concurrency"]),
        backend=row["backend"],
        release=row["release"],
        date=row["date"],
        prefill_gpus=int(row["prefill_gpus"]),
        decode_gpus=int(row["decode_gpus"]),
        held_steps=float(row["held_steps"]),
        speculative=row["speculative"] == "1",
    )
    mode: Literal["agg", "disagg"] = "agg" if row["mode"] == "agg" else "disagg"
    return Point(row["id"], row["source"], mode, setup, float(row["ttft_s"]), float(row["tpot_s"]))


def fold_groups(points: tuple[Point, ...] | list[Point], key: str) -> list[str]:
    """A group label for each point: its `key` (a fold key of `Point`), joined where measurements are.

    Two groups that list the same measurement become one, so that no fold sees in training what it is tested on."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    first: dict[tuple[float, float, int, int], str] = {}
    for point in points:
        group = root(getattr(point, key))
        other = root(first.setdefault(point.measurement, group))
        parent[max(group, other)] = min(group, other)
    return [root(getattr(point, key)) for point in points]
