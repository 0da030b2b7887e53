"""customers.csv: who is on which plan, since when, with how many seats.

It reads and checks hostile input: bounded in size, every fault of the file told at once with its line.
Money in it is in USD (the project file's currencies convert only the project file).
Enter at `read_customers`. Columns: docs/reference/revenue.md.
"""

from __future__ import annotations

import csv
import io
import re
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path

from solvent.errors import RevenueError
from solvent.money.revenue.model import MAX_AMOUNT, MAX_SEATS

COLUMNS = ("customer", "plan", "seats", "started", "ended", "outcomes", "usd_per_month")
REQUIRED = ("customer", "plan")
MAX_BYTES = 64 << 20
MAX_NAME = 1024
MAX_PROBLEMS = 20
MAX_OUTCOMES = 10**12
_COUNT = re.compile(r"[0-9]{1,13}")
_AMOUNT = re.compile(r"[0-9]{1,13}(\.[0-9]{1,18})?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """One customer of customers.csv. None: the file doesn't say."""

    customer: str
    plan: str
    line: int
    seats: int | None = None
    started: date | None = None
    ended: date | None = None
    outcomes: int | None = None
    usd_per_month: Decimal | None = None


def read_customers(path: Path, plans: Collection[str]) -> dict[str, CustomerRow]:
    """The rows of customers.csv by customer.

    Raises: RevenueError with all faults and their lines: missing or unknown column, unknown plan, a customer twice,
    a count, date or amount that isn't one.
    """
    records = _records(_decoded(path), path)
    first = next(records, None)
    if first is None:
        raise RevenueError(path.name, "the file is empty", f"a header such as {','.join(REQUIRED)}", "add the header")
    header = _header(first[1], path)
    rows: dict[str, CustomerRow] = {}
    problems: list[str] = []
    for line, cells in records:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            problems.append(f"line {line}: {len(cells)} cells under {len(header)} columns")
            continue
        row = _row(dict(zip(header, cells, strict=True)), line, plans, problems)
        if row is None:
            continue
        if row.customer in rows:
            problems.append(
                f"line {line}: customer {_shown(row.customer)} is there already, on line {rows[row.customer].line}"
            )
        else:
            rows[row.customer] = row
    if problems:
        _refuse(path, problems, plans)
    return rows


def _refuse(path: Path, problems: list[str], plans: Collection[str]) -> None:
    shown = " | ".join(problems[:MAX_PROBLEMS])
    more = f" | and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
    names = list(plans)
    known = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
    raise RevenueError(path.name, shown + more, f"customers on these plans: {known or 'none'}", "correct these lines")


def _decoded(path: Path) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise RevenueError(path.name, "not a file", "a CSV file")
        if status.st_size > MAX_BYTES:
            raise RevenueError(path.name, f"{status.st_size} bytes", f"at most {MAX_BYTES} bytes")
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "no such path"
        fix = "put it beside the project file or correct [revenue] customers"
        raise RevenueError(path.name, f"can't be read ({why})", fix=fix) from None
    if len(raw) > MAX_BYTES:
        raise RevenueError(path.name, f"more than {MAX_BYTES} bytes", f"at most {MAX_BYTES} bytes")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise RevenueError(f"{path.name}:{line}", "not UTF-8 text", fix="save it as CSV in UTF-8") from None


def _records(content: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line on which the record starts, its cells)."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise RevenueError(f"{path.name}:{line}", f"not CSV: {error}", fix="correct the quotes of this line") from None


def _header(cells: list[str], path: Path) -> list[str]:
    names = [cell.strip() for cell in cells]
    faults = []
    if missing := [name for name in REQUIRED if name not in names]:
        separator = "; the cells are separated by semicolons, not commas" if len(names) == 1 and ";" in names[0] else ""
        faults.append(f"no column {' or '.join(missing)}{separator}")
    if unknown := [name for name in names if name not in COLUMNS and not name.startswith("_")]:
        faults.append("unknown column " + ", ".join(_shown(name) for name in unknown[:MAX_PROBLEMS]))
    if twice := sorted({name for name in names if names.count(name) > 1 and name in COLUMNS}):
        faults.append(f"column {', '.join(twice)} twice")
    if faults:
        fix = "rename or remove it; a column that is to be ignored starts with _"
        raise RevenueError(f"{path.name}:1", " | ".join(faults), "the columns " + ", ".join(COLUMNS), fix)
    return names


def _row(cells: dict[str, str], line: int, plans: Collection[str], problems: list[str]) -> CustomerRow | None:
    n_before = len(problems)
    customer, plan = cells["customer"], cells["plan"].strip()
    if not customer.strip() or customer != customer.strip() or len(customer) > MAX_NAME:
        problems.append(f"line {line}: customer {_shown(customer)} is empty, too long or has spaces around it")
    if plan not in plans:
        problems.append(f"line {line}: unknown plan {_shown(plan)}")
    row = CustomerRow(
        customer,
        plan,
        line,
        _count(cells, "seats", MAX_SEATS, line, problems),
        _day(cells, "started", line, problems),
        _day(cells, "ended", line, problems),
        _count(cells, "outcomes", MAX_OUTCOMES, line, problems),
        _amount(cells, "usd_per_month", line, problems),
    )
    if row.started and row.ended and row.ended < row.started:
        problems.append(f"line {line}: ended {row.ended} is before started {row.started}")
    return row if len(problems) == n_before else None


def _count(cells: dict[str, str], column: str, limit: int, line: int, problems: list[str]) -> int | None:
    cell = cells.get(column, "").strip()
    if not cell:
        return None
    if _COUNT.fullmatch(cell) and int(cell) <= limit:
        return int(cell)
    problems.append(f"line {line}: {column} {_shown(cell)} is not a whole number from 0 to {limit}")
    return None


def _day(cells: dict[str, str], column: str, line: int, problems: list[str]) -> date | None:
    cell = cells.get(column, "").strip()
    if not cell:
        return None
    try:
        if _DAY.fullmatch(cell):
            return date.fromisoformat(cell)
    except ValueError:
        pass
    problems.append(f"line {line}: {column} {_shown(cell)} is not a date such as 2026-11-01")
    return None


def _amount(cells: dict[str, str], column: str, line: int, problems: list[str]) -> Decimal | None:
    cell = cells.get(column, "").strip()
    if not cell:
        return None
    if _AMOUNT.fullmatch(cell) and Decimal(cell) <= MAX_AMOUNT:
        return Decimal(cell)
    problems.append(f"line {line}: {column} {_shown(cell)} is not an amount in USD such as 19.00")
    return None


def _shown(cell: str) -> str:
    return repr(cell if len(cell) <= 40 else cell[:39] + "…")
