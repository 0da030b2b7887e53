"""Writes the table of docs/reference/modalities.md from the data: .venv/bin/python tools/docs_modalities.py"""

from __future__ import annotations

from pathlib import Path

from solvent.figure import Figure
from solvent.measure.modalities import DEFAULT_USD_PER_HOUR, modality_figures

PAGE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "modalities.md"
START, END = "<!-- table -->", "<!-- end of table -->"


def short(value: object) -> str:
    return f"{float(str(value)):.3g}" if 1e-4 <= float(str(value)) < 1000 else f"{float(str(value)):,.2g}"


def cell(figure: Figure | None) -> str:
    if figure is None or figure.value is None:
        return "unknown"
    text = short(figure.value)
    if figure.low is not None and figure.high is not None:
        text += f" ({short(figure.low)} to {short(figure.high)})"
    return text


def table() -> str:
    found = modality_figures()
    lines = ["| modality, unit | model | USD | joules | how it is known | source |", "|---|---|---|---|---|---|"]
    for row in found.rows:
        usd = found.figures[row.usd] if row.usd else None
        joules = found.figures[row.joules] if row.joules else None
        one = usd or joules
        assert one is not None
        source = one.source + (f"; {one.note}" if one.note else "")
        lines.append(
            f"| {row.modality}, {row.unit} | {row.model} | {cell(usd)} | {cell(joules)} | {row.by} | {source} |"
        )
    cpu, n = found.machine["cpu"], found.machine["n_cores"]
    lines.append(f"\nMeasured on {cpu}, {n} cores, at an assumed ${DEFAULT_USD_PER_HOUR:.2f} an hour.")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its table written again."""
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
