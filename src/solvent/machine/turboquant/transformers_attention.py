"""The attention `solvent_turboquant` for transformers models: on the codes of a TurboQuantCache, else as `sdpa`.

Importing this file registers it, so that `attn_implementation="solvent_turboquant"` is known; `from solvent import
TurboQuantCache` does. Without a TurboQuantCache it is transformers' own sdpa in every respect.
Enter at `attention`. Source: docs/reference/turboquant-format.md.
"""

from __future__ import annotations

from typing import Any

from solvent.machine.turboquant.transformers_cache import ATTENTION, PackedStates, TurboQuantCache

__all__ = ["TurboQuantCache", "attention"]


def attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **options: Any) -> tuple[Any, None]:
    """softmax(q Kᵀ · scaling + mask) V. query: (B, Hq, T, D).   → (B, T, Hq, D)"""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if isinstance(key, PackedStates):
        key, value = key.layer.decoded()
    out, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    return out, None


def register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(ATTENTION, attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)


register()
