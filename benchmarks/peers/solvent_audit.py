"""solvent: the whole audit, from the log to the statement with revenue. Exact."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def version() -> str | None:
    from solvent import __version__

    return f"solvent {__version__}"


def run(job: dict[str, Any]) -> dict[str, Any]:
    from solvent.money.audit.run import AuditOptions, run_audit
    from solvent.money.project import load

    document = run_audit([job["log"]], load(Path(job["project"])), AuditOptions(threads=job["threads"]))
    accounting = document["accounting"]
    assert accounting["balanced"] and not accounting["unpriced"] and not accounting["rejected"], accounting
    return {"rows": accounting["rows_in"], "duplicates": accounting["duplicates"], "exact": True,
            "total_usd": _cost(document), "n_customers": document["tables"]["customers"]["n_rows"]}  # fmt: skip


def _cost(document: dict[str, Any]) -> str:
    """The cost from the basis of later comparisons: every unit with its exact price."""
    figure = (
        next(f for f in document["figures"] if f["id"] == "cost_usd")
        if isinstance(document["figures"], list)
        else document["figures"]["cost_usd"]
    )
    return str(figure["value"])
