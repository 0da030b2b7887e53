"""Changes model files at random and reads them: each must end in a model or in one clear error, at once and in bounds.

`python tools/fuzz_model_files.py --executions 1000000` starts from tests/fuzz/corpus, whose files stand for every
error that was ever reached, and changes them: bits, numbers at their limits, cuts, repeats, splices of two files.
A file that another line of code refuses joins the pool. `--keep` writes the pool back, smallest file for each kind.
A fault is any other exception, a tensor that isn't where it says, over a second of processor time, over a gibibyte.
"""

from __future__ import annotations

import argparse
import random
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from solvent.errors import EngineError, ModelFileError
from solvent.machine.engine import models, quants
from solvent.machine.engine.gguf import read_gguf
from solvent.machine.engine.hf_config import metadata_of, rope_factors
from solvent.machine.engine.hf_tokeniser import tokeniser_metadata
from solvent.machine.engine.json_file import Fields, parse_object
from solvent.machine.engine.llama2c import read_llama2c, read_tokeniser
from solvent.machine.engine.model_file import ModelFile
from solvent.machine.engine.safetensors_file import read_header
from solvent.machine.engine.tokeniser import Tokeniser

CORPUS = Path(__file__).resolve().parents[1] / "tests" / "fuzz" / "corpus"
SLOWEST_S = 1.0
MEMORY_BYTES = 1 << 30
LIMITS = [0, 1, 2, 7, 8, 31, 32, 33, 64, 127, 128, 255, 256, 65_535, 65_536, 1 << 20, 1 << 24, (1 << 31) - 1, 1 << 31]
LIMITS += [(1 << 32) - 1, 1 << 32, 1 << 40, (1 << 62) + 3, (1 << 63) - 1, 1 << 63, (1 << 64) - 32, (1 << 64) - 1]
WORDS = [
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"9" * 30,
    b"0.5",
    b"4096",
    b'"\\ud800"',
    b"[[1]]",
]


def gguf(data: bytes) -> str:
    mapped = np.frombuffer(data, np.uint8)
    model = read_gguf(Path("a.gguf"), mapped)
    whole(model, mapped)
    return judged(model)


def llama2c(data: bytes) -> str:
    mapped = np.frombuffer(data, np.uint8)
    model = read_llama2c(Path("/nowhere/a.bin"), mapped)
    whole(model, mapped)
    return judged(model)


def llama2c_tokeniser(data: bytes) -> str:
    Tokeniser.from_metadata(read_tokeniser(Path("tok512.bin"), data, 300))
    return "a tokeniser"


def safetensors(data: bytes) -> str:
    mapped = np.frombuffer(data, np.uint8)
    for entry in read_header(Path("a.safetensors"), mapped).values():
        assert np.shares_memory(entry.data, mapped) and len(entry.data) > 0
    return "a header"


def config(data: bytes) -> str:
    fields = Fields("config.json", parse_object(data, "config.json"))
    metadata_of(fields)
    rope_factors(fields)
    return "a configuration"


def tokeniser(data: bytes) -> str:
    """tokenizer.json in a folder of its own; its neighbours are missing."""
    folder = Path(own_folder().name)
    (folder / "tokenizer.json").write_bytes(data)
    metadata = tokeniser_metadata(folder, Fields("config.json", {"eos_token_id": 1}), 96)
    tokens = Tokeniser.from_metadata(metadata) if metadata else None
    if tokens is not None:
        tokens.encode("the cab")
    return "a tokeniser"


@cache
def own_folder() -> tempfile.TemporaryDirectory[str]:
    """In memory where the system has such a place; gone when the program ends."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None)


# By a corpus file's suffix.
READERS: dict[str, Callable[[bytes], str]] = {
    ".gguf": gguf, ".llama2c": llama2c, ".tok": llama2c_tokeniser, ".safetensors": safetensors,
    ".config": config, ".tokenizer": tokeniser,
}  # fmt: skip


def whole(model: ModelFile, mapped: np.ndarray) -> None:
    """Every tensor is its own bytes, as many as its type and shape say."""
    for name, tensor in model.tensors.items():
        assert name == tensor.name and len(tensor.data) == quants.n_bytes(tensor.type, tensor.shape)
        assert np.shares_memory(tensor.data, mapped) and not tensor.data.flags.writeable


def judged(model: ModelFile) -> str:
    """What the layers above make of a file that could be read."""
    for value in model.metadata.values():
        if not isinstance(value, str | int | float | np.ndarray):
            list(value)
    models.config(model)
    if "tokenizer.ggml.model" in model.metadata:
        made = Tokeniser.from_metadata(model.metadata)
        made.decode(made.encode("the cab", bos=False))
        return "a model that tokenises"
    return "a model"


def outcome(suffix: str, data: bytes) -> str:
    """The kind of end that a file comes to: what it became, or the line that refused it and the one that called it."""
    try:
        return READERS[suffix](data)
    except (ModelFileError, EngineError) as error:
        frames = traceback.extract_tb(error.__traceback__)[-2:]
        return " ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames)


def changed(data: bytes, other: bytes, draw: random.Random) -> bytes:
    """One to four changes, most of them in the header's first kilobytes."""
    out = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        at = draw.randrange(min(len(out), draw.choice((64, 1024, 1 << 20))) or 1)
        kind = draw.randrange(8)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << draw.randrange(8)
        elif kind == 1 and out:
            out[at % len(out)] = draw.randrange(256)
        elif kind in (2, 3):
            size = draw.choice((1, 2, 4, 8))
            out[at : at + size] = (draw.choice(LIMITS) & ((1 << 8 * size) - 1)).to_bytes(size, "little")
        elif kind == 4:
            del out[at : at + draw.choice((1, 4, 8, 40, 1 << 20))]
        elif kind == 5:
            out[at:at] = out[at : at + draw.choice((1, 8, 40))] * draw.choice((1, 2, 9))
        elif kind == 6:
            start = draw.randrange(len(other) or 1)
            out[at : at + draw.choice((0, 8, 40))] = other[start : start + draw.choice((8, 40, 200))]
        else:
            number = re.search(rb'-?\d+\.?\d*|"[^"]*"', bytes(out[at : at + 200]))
            span = (at + number.start(), at + number.end()) if number else (at, at)
            out[span[0] : span[1]] = draw.choice(WORDS)
    return bytes(out)


@dataclass
class Run:
    """Executions done, kinds of end seen, and the file that stands for each."""

    n_executions: int = 0
    slowest_s: float = 0.0
    pool: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def execute(self, suffix: str, data: bytes) -> bool:
        """Reads one file; whether its end is of a new kind, or it is smaller than the one that stood for it.

        Raises: AssertionError (a fault; the file is kept as fault.* in the working directory)."""
        start = time.process_time()
        try:
            key = suffix, outcome(suffix, data)
        except Exception as error:
            kept = Path(f"fault{suffix}")
            kept.write_bytes(data)
            raise AssertionError(f"{type(error).__name__}: {error} (kept as {kept})") from error
        self.slowest_s = max(self.slowest_s, time.process_time() - start)
        assert self.slowest_s < SLOWEST_S, f"{self.slowest_s:.1f} s: {data[:200]!r}"
        self.n_executions += 1
        if key in self.pool and len(self.pool[key]) <= len(data):
            return False
        self.pool[key] = data
        return True


def corpus(folder: Path = CORPUS) -> list[tuple[str, bytes]]:
    return [(path.suffix, path.read_bytes()) for path in sorted(folder.iterdir()) if path.suffix in READERS]


def fuzz(n_executions: int, seed: int, suffixes: set[str]) -> Run:
    """The corpus, then changed files, so many in all.   Raises: AssertionError (a fault)."""
    run, draw = Run(), random.Random(seed)
    files: dict[str, list[bytes]] = {suffix: [] for suffix in sorted(suffixes)}
    for suffix, data in corpus():
        if suffix in suffixes:
            run.execute(suffix, data)
            files[suffix].append(data)
    while run.n_executions < n_executions:
        suffix = draw.choice(list(files))
        data = changed(draw.choice(files[suffix]), draw.choice(files[suffix]), draw)
        if run.execute(suffix, data):
            files[suffix].append(data)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", choices=list(READERS), help="one kind of file; may be repeated")
    parser.add_argument("--keep", action="store_true", help="write the pool to the corpus")
    arguments = parser.parse_args()
    # An allocation that no file of a few kilobytes justifies ends in MemoryError, which is a fault.
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES + 4 * resource.getpagesize(), resource.RLIM_INFINITY))
    start = time.perf_counter()
    run = fuzz(arguments.executions, arguments.seed, set(arguments.only or READERS))
    took_s = time.perf_counter() - start
    print(
        f"{run.n_executions} executions in {took_s:.0f} s ({run.n_executions / took_s:.0f} a second), no fault; "
        f"{len(run.pool)} kinds of end; slowest {run.slowest_s * 1e3:.0f} ms",
        file=sys.stderr,
    )
    if arguments.keep:
        CORPUS.mkdir(parents=True, exist_ok=True)
        for old in CORPUS.iterdir():
            old.unlink()
        for number, ((suffix, _), data) in enumerate(sorted(run.pool.items())):
            (CORPUS / f"{number:03}{suffix}").write_bytes(data)


if __name__ == "__main__":
    main()
