"""Can we afford to run it? What one output of an AI product costs, and what would make it pay."""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

# Name → the module that has it; imported when it is first asked for, so that `import solvent` stays light.
LAZY = {
    "load": "solvent.machine.engine.load",
    "TurboQuantCache": "solvent.machine.turboquant.transformers_attention",
}


def __getattr__(name: str) -> Any:
    if name in LAZY:
        import importlib

        return getattr(importlib.import_module(LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *LAZY]
