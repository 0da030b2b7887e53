"""Puts a choice, a break-even, a stress and a path into a statement, so that one report holds them all.

Their figures join the statement's, whose own go first; so a number of theirs opens its lineage like any other.
It computes nothing. Enter at `attach`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Key in the statement → schema of the document, in the order in which a report shows them; the path comes last.
SCHEMAS = {
    "choice": "solvent.choice/1",
    "places": "solvent.break-even/1",
    "stress": "solvent.stress/1",
    "path": "solvent.path/1",
}


def attach(statement: Mapping[str, Any], *documents: Mapping[str, Any]) -> dict[str, Any]:
    """The statement with these documents in it, each under its key of `SCHEMAS`.

    A figure that the statement has too stays the statement's: both name the same number.
    """
    keys = {schema: key for key, schema in SCHEMAS.items()}
    whole, figures = dict(statement), dict(statement["figures"])
    for document in documents:
        assert document["schema"] in keys, f"{document['schema']} goes into no report"
        for name, figure in document.get("figures", {}).items():
            figures.setdefault(name, figure)
        whole[keys[document["schema"]]] = {key: part for key, part in document.items() if key != "figures"}
    whole["figures"] = figures
    return whole
