"""Puts measurements, a choice, a break-even, a stress and a path into a statement, so that one report holds them all.

Their figures join the statement's, whose own go first; so a number of theirs opens its lineage like any other.
It computes nothing. Enter at `attach`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Key in the statement → schema of the document, in the order in which a report shows them; the path comes last.
SCHEMAS = {
    "measured": "solvent.measured/1",
    "choice": "solvent.choice/1",
    "places": "solvent.break-even/1",
    "stress": "solvent.stress/1",
    "path": "solvent.path/1",
}


def attach(statement: Mapping[str, Any], *documents: Mapping[str, Any]) -> dict[str, Any]:
    """The statement with these documents in it, each under its key of `SCHEMAS`.

    A figure that the statement has too stays the statement's: both name the same number. A document of the same schema
    that was there before goes with its figures, whose names are kept under "attached".
    """
    keys = {schema: key for key, schema in SCHEMAS.items()}
    whole, figures = dict(statement), dict(statement["figures"])
    names = {key: list(own) for key, own in statement.get("attached", {}).items()}
    for document in documents:
        assert document["schema"] in keys, f"{document['schema']} goes into no report"
        key = keys[document["schema"]]
        for name in names.pop(key, []):
            figures.pop(name, None)
        names[key] = [name for name in document.get("figures", {}) if name not in figures]
        figures |= {name: document["figures"][name] for name in names[key]}
        whole[key] = {part: value for part, value in document.items() if part != "figures"}
    return {**whole, "figures": figures, "attached": names}
