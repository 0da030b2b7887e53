"""What an output costs in each modality, in one table with lineage: measured here, priced by vendors, told by others.

What it doesn't do: measure (tools/measure_modalities.py did), or say that outputs of two models are as good.
Enter at `modality_figures`. The page: docs/reference/modalities.md.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solvent.errors import MeasureError
from solvent.figure import Figure, Figures

DATA = Path(__file__).parent / "data"
# Of a general-purpose cloud machine with two cores, and of electricity; both are assumptions that a caller replaces.
DEFAULT_USD_PER_HOUR = 0.10
# Threads kept busy by others: less than this leaves a machine of two cores nearly whole.
BUSY_LOAD = 0.3


@dataclass(frozen=True, slots=True)
class Row:
    """One model's cost an output.   usd, joules: ids in the figures, None where nothing is known.   by: whose word."""

    modality: str
    unit: str
    model: str
    by: str
    usd: str | None
    joules: str | None


@dataclass(frozen=True, slots=True)
class Modalities:
    """The table and its figures.   machine: the fingerprint of the machine that measured."""

    rows: tuple[Row, ...]
    figures: Figures
    machine: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        rows = [{name: getattr(row, name) for name in Row.__slots__} for row in self.rows]
        return {
            "schema": "solvent.modality-table/1", "machine": dict(self.machine), "rows": rows,
            "figures": self.figures.document(),
        }  # fmt: skip


def modality_figures(usd_per_hour: float = DEFAULT_USD_PER_HOUR) -> Modalities:
    """Dollars and joules of an output of every model known.   usd_per_hour: of the machine that measured, busy or idle.

    Measured: seconds an output × dollars an hour. Where only joules were published: joules ÷ watts × a GPU's price.
    Raises: MeasureError (a price that isn't above 0)"""
    if not 0 < usd_per_hour < 1e6:
        raise MeasureError("usd_per_hour", str(usd_per_hour), "dollars an hour, above 0")
    here = json.loads((DATA / "modalities-here.json").read_text("utf-8"))
    with (DATA / "modalities.toml").open("rb") as file:
        others = tomllib.load(file)
    figures = Figures()
    figures.add(
        Figure(
            "machine.usd_per_hour", "an hour of the machine that measured", usd_per_hour, "USD/h", "assumed", "given"
        )
    )
    gpu = others["gpu"]
    figures.add(Figure("gpu.usd_per_hour", "an hour of a GPU", gpu["usd_per_hour"], "USD/h", "claimed", gpu["source"]))
    figures.add(
        Figure("gpu.watts", "power of a GPU at work", gpu["watts"], "W", "assumed", gpu["source"], "", (),
               gpu["watts_low"], gpu["watts_high"], 0.9)
    )  # fmt: skip
    units = others["units"]
    busy = "; other programs ran meanwhile, so times are upper bounds" if here["load_before"] > BUSY_LOAD else ""
    rows = [_here(figures, row, units, (here["date"], busy)) for row in here["rows"]]
    rows += [_other(figures, row, units, gpu) for row in others["row"]]
    order = list(units)
    rows.sort(key=lambda row: order.index(row.modality))
    return Modalities(tuple(rows), figures, here["machine"])


def _here(figures: Figures, row: Mapping[str, Any], units: Mapping[str, str], when: tuple[str, str]) -> Row:
    """A row measured here: cost = seconds · price of the machine.   when: the day, and what else ran."""
    date, busy = when
    modality, model = str(row["modality"]), str(row["model"])
    start = f"{modality}.{model}"
    source = f"solvent measure on this project's machine: {row['how']}; {row['n_answers']} answers"
    value, low, high = row["seconds_s"]
    figures.add(
        Figure(f"{start}.seconds", f"seconds, {model}", value, f"s/{units[modality]}", "measured", source, "", (),
               low, high, 0.95, date)
    )  # fmt: skip
    price = float(figures["machine.usd_per_hour"].value or 0) / 3600
    figures.add(
        Figure(f"{start}.usd", f"cost, {model}", value * price, f"USD/{units[modality]}", "assumed", source,
               "seconds · dollars an hour", (f"{start}.seconds", "machine.usd_per_hour"), low * price, high * price,
               0.95, date, f"measured time, assumed price; the machine never idle{busy}")
    )  # fmt: skip
    joules, low_j, high_j = row["joules"]
    if joules is None:
        return Row(modality, units[modality], model, "measured here", f"{start}.usd", None)
    figures.add(
        Figure(f"{start}.joules", f"energy, {model}", joules, f"J/{units[modality]}", row["joules_method"], source,
               "", (), low_j, high_j, 0.9, date)
    )  # fmt: skip
    return Row(modality, units[modality], model, "measured here", f"{start}.usd", f"{start}.joules")


def _other(figures: Figures, row: Mapping[str, Any], units: Mapping[str, str], gpu: Mapping[str, Any]) -> Row:
    """A row of somebody else: its dollars, or dollars from its joules, or joules alone."""
    modality, model, unit = str(row["modality"]), str(row["model"]), units[str(row["modality"])]
    start, note = f"{modality}.{model}", row.get("note", "")
    by = "a vendor's price" if row["method"] == "priced" else "told by others"
    joules_id = usd_id = None
    if "joules" in row:
        joules_id = f"{start}.joules"
        figures.add(
            Figure(joules_id, f"energy, {model}", row["joules"], f"J/{unit}", row["method"], row["source"], "", (),
                   row.get("joules_low"), row.get("joules_high"), None, None, note)
        )  # fmt: skip
    if "usd" in row:
        usd_id = f"{start}.usd"
        figures.add(
            Figure(usd_id, f"cost, {model}", row["usd"], f"USD/{unit}", row["method"], row["source"], "", (),
                   row.get("usd_low"), row.get("usd_high"), None, None, note)
        )  # fmt: skip
    elif joules_id is not None:
        usd_id, by = f"{start}.usd", "energy told by others, price from it"
        per_joule = gpu["usd_per_hour"] / 3600
        low, high = row.get("joules_low", row["joules"]), row.get("joules_high", row["joules"])
        figures.add(
            Figure(usd_id, f"cost, {model}", row["joules"] / gpu["watts"] * per_joule, f"USD/{unit}", "assumed",
                   row["source"], "joules ÷ watts · dollars an hour", (joules_id, "gpu.watts", "gpu.usd_per_hour"),
                   low / gpu["watts_high"] * per_joule, high / gpu["watts_low"] * per_joule, 0.9, None, note)
        )  # fmt: skip
    return Row(modality, unit, model, by, usd_id, joules_id)
