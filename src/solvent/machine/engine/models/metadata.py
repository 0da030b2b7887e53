"""Keys of a model file's metadata, read with their bounds: what is missing, mistyped or absurd is an error.

Nothing here trusts the file: every value has a type and a range, and the error names the key. Keys that would
change the graph in a way that the engine doesn't compute are refused rather than ignored.
Enter at `Keys`. Source of the names: the GGUF specification, "Standardized key-value pairs".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from solvent.errors import ModelFileError

if TYPE_CHECKING:
    from solvent.machine.engine.model_file import ModelFile

MISSING = object()
LONGEST_SHOWN = 60


def shown(value: Any) -> str:
    """A value of the file as it may stand in an error: short, whatever it is."""
    if isinstance(value, bool | int | float):
        return repr(value)[: 2 * LONGEST_SHOWN]
    if isinstance(value, tuple) and len(value) <= 8:
        return f"({', '.join(shown(item) for item in value)})"
    if isinstance(value, str):
        return repr(value) if len(value) <= LONGEST_SHOWN else f"a string of {len(value)} characters"
    return f"a {type(value).__name__}"


def architecture(file: ModelFile, known: tuple[str, ...]) -> str:
    """general.architecture, which must be one of `known`."""
    value = file.metadata.get("general.architecture", MISSING)
    if not isinstance(value, str) or value not in known:
        found = "missing" if value is MISSING else shown(value)
        raise ModelFileError(f"{file.path.name}: general.architecture", found, f"one of {', '.join(known)}")
    return value


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one architecture in one file: `integer("block_count", …)` reads llama.block_count."""

    file: ModelFile
    architecture: str

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number in low … high; `default` where the file doesn't say.

        Raises: ModelFileError (missing without a default, not a whole number, out of range)."""
        value = self._value(key, default)
        expected = f"a whole number from {low} to {high}"
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fault(key, shown(value), expected)
        return value

    def real(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A finite number in low … high; `default` where the file doesn't say. Raises: ModelFileError, as `integer`."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.fault(key, shown(value), f"a number from {low:g} to {high:g}")
        return float(value)

    def only(self, key: str, allowed: tuple[Any, ...], why: str) -> None:
        """Refuses a key whose value isn't one of `allowed`, since the engine doesn't compute what it asks for."""
        value = self._value(key, allowed[0])
        if not isinstance(value, bool | int | float | str) or value not in allowed:
            raise self.fault(key, shown(value), f"{' or '.join(repr(v) for v in allowed)} ({why})")

    def fault(self, key: str, found: str, expected: str) -> ModelFileError:
        return ModelFileError(f"{self.file.path.name}: {self._name(key)}", found, expected)

    def _name(self, key: str) -> str:
        return f"{self.architecture}.{key}"

    def _value(self, key: str, default: Any) -> Any:
        value = self.file.metadata.get(self._name(key), default)
        if value is None:
            raise self.fault(key, "missing", "a value")
        return value
