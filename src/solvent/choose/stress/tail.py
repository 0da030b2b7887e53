"""A heavier tail: the same outputs, shared out more unequally over the same customers.

Enter at `tilted`; `top_share` says how unequal it is.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def tilted(outputs: Array, tilt: Array, counts: Array | None = None) -> Array:
    """n'ᵢ = Σn · nᵢ^(1+t) ÷ Σ nⱼ^(1+t): t > 0 gives to the heavy, t = −1 makes all who use it alike, t = 0 is today.

    outputs: (C,) ≥ 0.   tilt: (S,) ≥ −1.   → (S, C). Who used nothing goes on using nothing.
    counts: (C,), where a row is that many customers alike and `outputs` is of all of them; None: one each.
    Exactness: the sum over customers is that of `outputs` to C roundings of 64-bit floats (relative 1.2e-16 each).
    """
    total = outputs.sum()
    if total <= 0:
        return np.broadcast_to(outputs, (len(tilt), len(outputs)))
    used = outputs > 0
    each = np.where(used, outputs, 1.0) / (np.ones_like(outputs) if counts is None else counts)
    # Relative to the largest, so that no power overflows.
    logs = np.log(each / each[used].max())
    weights = np.where(used, np.exp(np.outer(1.0 + tilt, logs)), 0.0) * (1.0 if counts is None else counts)
    shared: Array = total * weights / weights.sum(axis=1, keepdims=True)
    return shared


def top_share(outputs: Array, part: float = 0.10) -> float:
    """Share of all outputs that the heaviest `part` of customers cause, the boundary customer counted by its part."""
    ordered = np.sort(outputs)[::-1]
    n, total = part * len(ordered), ordered.sum()
    whole = int(n)
    edge = (n - whole) * ordered[whole] if whole < len(ordered) else 0.0
    return float((ordered[:whole].sum() + edge) / total) if total else 0.0
