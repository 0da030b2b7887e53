"""The native core, if this installation has it, and what the CPU lets it use.

solvent installs without a compiler; then `available()` is false and everything that needs no kernel works.
What it doesn't do: the arithmetic (native/).
"""

from __future__ import annotations

import os
from types import ModuleType

from solvent.errors import KernelError


def available() -> bool:
    """Whether the compiled extension is there and loads."""
    return isinstance(_extension(), ModuleType)


def extension() -> ModuleType:
    """The compiled extension.   Raises: KernelError (it isn't built or doesn't load)"""
    found = _extension()
    if isinstance(found, ImportError):
        raise KernelError(
            "native kernels",
            f"not in this installation ({found})",
            "the compiled extension solvent.machine._native",
            "install a C++17 compiler, then install solvent again with SOLVENT_REQUIRE_NATIVE=1 to see what fails",
        )
    return found


def cpu_features() -> tuple[str, ...]:
    """Words, as lscpu prints them, of the vector features that this CPU has and its system permits.

    Exactness: a feature whose registers the operating system doesn't save is left out.
    Raises: KernelError (the extension isn't built or doesn't load)."""
    words: tuple[str, ...] = extension().cpu_features()
    return words


def kernels() -> tuple[str, ...]:
    """Names of the kernels that this CPU can run, best first; "scalar" is always the last.

    Raises: KernelError (the extension isn't built or doesn't load)."""
    names: tuple[str, ...] = extension().kernel_names()
    return names


def kernel(name: str | None = None) -> str:
    """The kernels to run: the ones named, else those of SOLVENT_KERNEL, else the best of this CPU.

    Raises: KernelError (not on this CPU)."""
    runnable = kernels()
    asked = name or os.environ.get("SOLVENT_KERNEL") or runnable[0]
    if asked not in runnable:
        where = "kernel" if name else "SOLVENT_KERNEL"
        raise KernelError(where, repr(asked), f"one that this CPU can run: {', '.join(runnable)}")
    return asked


def packs_fives(name: str | None = None) -> bool:
    """Whether ternary weights of one scale a matrix lie five to a byte where those kernels run, else four: `kernel`'s.

    Raises: KernelError (not on this CPU).   Source: docs/reference/weight-panels.md"""
    fives: bool = extension().packs_fives(kernel(name))
    return fives


def _extension() -> ModuleType | ImportError:
    try:
        from solvent.machine import _native
    except ImportError as error:
        return error
    return _native
