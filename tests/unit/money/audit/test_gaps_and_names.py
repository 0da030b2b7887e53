"""One refusal lists everything, and a hashed name stands nowhere in the names of features."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from solvent.money.audit.pseudonym import Hidden, pseudonymiser
from solvent.money.audit.run import Incomplete


def test_what_times_without_a_zone_hide_is_listed_with_them(audit: Callable) -> None:
    with pytest.raises(Incomplete) as refused:
        audit("at,model,prompt_tok,completion_tok\n2026-01-01 10:00:00,dear,5,1\n2026-01-01 10:00:00,m,-5,1\n")
    text = "\n".join(refused.value.lines)
    assert "zone" in text and "dear" in text and "negative" in text
    assert str(refused.value).startswith("audit: 2 rows")


def test_a_log_without_a_model_says_so_beside_its_missing_zone(audit: Callable) -> None:
    with pytest.raises(Incomplete) as refused:
        audit("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,4808,10\n")
    zone, model = refused.value.lines
    assert "a time without a zone" in zone and model.startswith("unpriced: 1 requests") and "model" in model


def test_customers_are_hashed_within_features(audit: Callable) -> None:
    rows = [
        {"customer": "acme", "feature": "acme-chat", "prompt_tok": 5},
        {"customer": "ann", "feature": "planner", "prompt_tok": 5},
    ]
    found = audit(rows, hash_key=b"k")
    features = {row["feature"] for row in found["tables"]["features"]["rows"]}
    assert features == {pseudonymiser(b"k")("acme") + "-chat", "planner"}
    assert "acme" not in str(dict(found))
    assert any("1 names of features" in note for note in found["notes"])


def test_the_longest_name_is_hidden_and_short_ones_are_left() -> None:
    hide = Hidden(["acme", "acme-corp", "chat", "ann"], lambda name: f"<{len(name)}>")
    assert hide("x-acme-corp/acme/chat/planner") == "x-<9>/<4>/<4>/planner"
    assert hide("") == "" and hide("acm") == "acm"
