"""The native kernels, if this installation has them, and what the CPU lets them use.

solvent installs without a compiler; then `available()` is false and everything that needs no kernel works.
What it doesn't do: choose a kernel.
"""

from __future__ import annotations

from types import ModuleType

from solvent.errors import KernelError


def available() -> bool:
    """Whether the compiled extension is there and loads."""
    return isinstance(_extension(), ModuleType)


def cpu_features() -> tuple[str, ...]:
    """Words, as lscpu prints them, of the vector features that this CPU has and its system permits.

    Exactness: a feature whose registers the operating system doesn't save is left out.
    Raises: KernelError (the extension isn't built or doesn't load)."""
    extension = _extension()
    if isinstance(extension, ImportError):
        raise KernelError(
            "native kernels",
            f"not in this installation ({extension})",
            "the compiled extension solvent.machine._native",
            "install a C++17 compiler, then install solvent again with SOLVENT_REQUIRE_NATIVE=1 to see what fails",
        )
    words: tuple[str, ...] = extension.cpu_features()
    return words


def _extension() -> ModuleType | ImportError:
    try:
        from solvent.machine import _native
    except ImportError as error:
        return error
    return _native
