"""Picked cache formats in the user's cache folder: measuring takes a minute, and the same model asked the same gets the
same.

A file per model (its fingerprint) and question (budget, window, text, rounded head, method). The folder is
SOLVENT_CACHE_DIR, else XDG_CACHE_HOME/solvent, else ~/.cache/solvent; deleting a file there has it measured again.
What can't be read as such a file is measured again too; where nothing can be written, nothing is remembered.
Enter at `recall` and `remember`.
"""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from solvent import __version__
from solvent.errors import EngineError
from solvent.machine.engine.head import BITS
from solvent.machine.engine.pick_cache import CacheBudget, Picked
from solvent.machine.turboquant.cache_format import format_of

if TYPE_CHECKING:
    from solvent.machine.engine.model import Model

SCHEMA = "solvent.picked-cache/1"
MAX_BYTES = 1 << 20
NUMBERS = ("budget_kl", "mean_kl", "floor_kl", "bits_per_element")
COUNTS = ("n_scored", "window_tok", "n_tried")


def place(model: Model, budget: CacheBudget, window_tok: int) -> Path:
    """The file of a model and a question."""
    rounded = model.head if model.head in BITS else None
    asked = json.dumps([SCHEMA, __version__, budget.kl, window_tok, budget.text_or_own(), rounded])
    import hashlib  # OpenSSL comes with it, 3 MB that a model needn't take

    question = hashlib.blake2b(asked.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return folder() / "picked-caches" / f"{model.fingerprint}-{question}.json"


def folder() -> Path:
    own, shared = os.environ.get("SOLVENT_CACHE_DIR"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(shared) if shared else Path(os.path.expanduser("~")) / ".cache") / "solvent"


def recall(path: Path, model: Model) -> Picked | None:
    """What was picked, or None where no such file is."""
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(MAX_BYTES))
        if document["schema"] != SCHEMA:
            return None
        found = document["picked"]
        format = format_of(found["format"], str(path)).of_layers(model.config.n_layers)
        numbers = [float(found[name]) for name in NUMBERS]
        counts = [int(found[name]) for name in COUNTS]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError, EngineError):
        return None
    if not all(math.isfinite(number) and number >= 0 for number in (*numbers, *counts)):
        return None
    # In the order of Picked's fields.
    return Picked(format, numbers[0], numbers[1], numbers[2], numbers[3], counts[0], counts[1], counts[2])


def remember(path: Path, picked: Picked) -> bool:
    """Writes what was picked. → whether that was possible"""
    text = json.dumps({"schema": SCHEMA, "picked": picked.document()}, indent=1) + "\n"
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, "utf-8")
        partial.replace(path)
    except OSError:
        return False
    finally:
        # Gone where it became the file; there where the disk was full, or Ctrl-C came between.
        with suppress(OSError):
            partial.unlink(missing_ok=True)
    return True
