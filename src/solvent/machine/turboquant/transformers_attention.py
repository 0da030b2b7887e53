"""The attention `solvent_turboquant` for transformers models: native on the codes of a TurboQuantCache, else `sdpa`.

Importing this file registers it, so that `attn_implementation="solvent_turboquant"` is known; `from solvent import
TurboQuantCache` does. Without a TurboQuantCache it is transformers' own sdpa in every respect.
Enter at `attention`. Source: docs/reference/turboquant-format.md.
"""

from __future__ import annotations

from typing import Any

from solvent.errors import EngineError
from solvent.machine.turboquant.transformers_cache import ATTENTION, PackedStates, TurboQuantCache

# Options with which attention isn't the softmax of scaled products, or doesn't see all tokens.
CHANGES_SCORES = ("dropout", "softcap", "s_aux", "position_bias", "sliding_window")

__all__ = ["TurboQuantCache", "attention"]


def attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any) -> tuple[Any, None]:
    """softmax(q Kᵀ · scaling + mask) V. query: (B, Hq, T, D).   → (B, T, Hq, D)

    Raises: EngineError (on codes: a mask that isn't causal with padding on the left, or what changes scores)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if isinstance(key, PackedStates):
        asked = [name for name in CHANGES_SCORES if options.get(name)]
        if asked:
            raise EngineError(ATTENTION, ", ".join(asked), "plain softmax", "set attn_implementation to 'sdpa'")
        scaling = options.get("scaling") or query.shape[-1] ** -0.5
        return key.layer.attend(key, query, attention_mask, scaling), None
    out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return out, None


def register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


register()
