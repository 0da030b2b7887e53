"""Rows in = priced + unpriced + duplicates + rejected, on generated logs of every kind, counted here in plain Python.

The generator writes each record knowing what must become of it, so it needs no reader; nothing of the pipeline is
shared but the log itself. 150 logs run always, 10,000 under `slow`.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
import zstandard

from solvent.money.audit.pricing import price_cells
from solvent.money.audit.totals import totals
from solvent.money.prices.catalogue import load
from solvent.money.prices.own import OwnRate
from solvent.money.project import Log, Output
from solvent.money.usage.cells import Grid
from solvent.money.usage.intake import Reading, take_in

PRICED, UNPRICED, REJECTED, NOTHING, NOT_A_REQUEST = "priced", "unpriced", "rejected", "nothing", "not a request"
MODELS = {"gpt-5": PRICED, "claude-sonnet-4-5": PRICED, "my-model": PRICED, "no-such-model": UNPRICED}
START = datetime(2026, 3, 1, tzinfo=UTC)
NAMES = ("acme", "ç'\"; drop", "a,b", "x\ny", "<b>", "=1+1", "", "\U0001f600", "o'neil", "{}", "\\", "a\tb")
COLUMNS = (
    "timestamp",
    "request_id",
    "customer",
    "model",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "note",
)


@dataclass
class Expected:
    """What must become of the records, counted as they are written. by_id: accepted rows with one id, each with its
    fate, customer, model and instant: copies of one request, or of several that contradict each other."""

    counts: Counter[str] = field(default_factory=Counter)
    by_id: dict[str, list[tuple[str, str, str, datetime]]] = field(default_factory=dict)

    def add(
        self, fate: str, request_id: str | None = None, customer: str = "", model: str = "", at: datetime = START
    ) -> None:
        if request_id and fate in (PRICED, UNPRICED):
            self.by_id.setdefault(request_id, []).append((fate, customer, model, at))
        else:
            self.counts[fate] += 1

    def accounting(self) -> dict[str, int]:
        counts = Counter(self.counts)
        duplicates = 0
        for copies in self.by_id.values():
            fates, customers, models, instants = zip(*copies, strict=True)
            apart = max(instants) - min(instants) > timedelta(days=1)
            if apart or len({*customers} - {""}) > 1 or len({*models}) > 1:
                counts[REJECTED] += len(copies)
            else:
                counts[fates[0]] += 1
                duplicates += len(copies) - 1
        found = {
            "priced": counts[PRICED],
            "unpriced": counts[UNPRICED],
            "rejected": counts[REJECTED],
            "duplicates": duplicates,
            "not_requests": counts[NOT_A_REQUEST],
        }
        return {"rows_in": sum(found.values()) - found["not_requests"], **found}


def time_text(rng: random.Random, near: datetime | None = None) -> tuple[str, datetime]:
    """A time as some log writes it, and the instant that it means; at most 20 hours after `near`."""
    at = (near or START) + timedelta(seconds=rng.randrange(3_600 * 20 if near else 86_400 * 40))
    at += timedelta(microseconds=rng.choice([0, 1, 999_999]))
    whole = at.replace(microsecond=0)
    return rng.choice(
        [
            (at.isoformat(), at),
            (at.isoformat().replace("+00:00", "Z"), at),
            (whole.strftime("%Y-%m-%d %H:%M:%S+05:30"), whole - timedelta(hours=5, minutes=30)),
            (str(int(at.timestamp())), whole),
            (str(int(at.timestamp()) * 1000), whole),
            (f"{at.timestamp():.3f}", at),
            (str(int(at.timestamp()) * 10**9), whole),
        ]
    )


BAD_TIMES = (
    "",
    "yesterday",
    "2026-03-01 10:00:00",
    "2026-03-01",
    "1999-01-01T00:00:00Z",
    "2101-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "infinity",
    "-1",
    "nan",
    "10:00:00Z",
)
BAD_COUNTS = ("-5", "1.5", "abc", "100000001", "inf", "-inf", "nan", "1e9", "0x10", "true", "1 000", "--1", "9" * 40)
ODD_COUNTS = ("0", "7", "12.0", "1e3", " 5 ", "00012", "100000000")


Ids = dict[str, tuple[str, str, datetime]]


def cells(rng: random.Random, expected: Expected, ids: Ids) -> dict[str, str]:
    """One record of plain columns, its fate noted. Of an id that comes again mostly the same request, not always."""
    request_id = rng.choice(["", f"r{rng.randrange(10**9)}", f"r{rng.randrange(8)}"])
    customer, model = rng.choice(NAMES), rng.choice(list(MODELS))
    text, at = time_text(rng)
    if request_id and rng.random() < 0.9:
        before = ids.setdefault(request_id, (customer, model, START + timedelta(days=rng.randrange(30))))
        customer, model = rng.choice([before[0], before[0], ""]), before[1]
        text, at = time_text(rng, before[2])
    prompt = rng.choice(["0", "5", "1000000", *ODD_COUNTS[:4]])
    row = {
        "timestamp": text,
        "request_id": request_id,
        "customer": customer,
        "model": model,
        "prompt_tokens": prompt,
        "completion_tokens": rng.choice(ODD_COUNTS),
        "cached_tokens": rng.choice(["", "0"]),
        "note": rng.choice(["", "x", "a\n\nb"]),
    }
    fate = MODELS[model]
    fault = rng.random()
    if fault < 0.08:
        row["timestamp"], fate = rng.choice(BAD_TIMES), REJECTED
    elif fault < 0.2:
        row[rng.choice(["prompt_tokens", "completion_tokens", "cached_tokens"])] = rng.choice(BAD_COUNTS)
        fate = REJECTED
    elif fault < 0.24:
        row[rng.choice(["prompt_tokens", "completion_tokens", "model"])], fate = "", REJECTED
    elif fault < 0.28:
        row["cached_tokens"], fate = "1000001", REJECTED
    expected.add(fate, request_id, customer, model, at)
    return row


def csv_cell(rng: random.Random, value: str, delimiter: str) -> str:
    if any(c in value for c in ('"', "\n", "\r", delimiter)) or value != value.strip() or rng.random() < 0.1:
        return '"' + value.replace('"', '""') + '"'
    return value


def csv_log(rng: random.Random, expected: Expected) -> tuple[str, bytes]:
    delimiter, end = rng.choice([",", ",", ";", "\t", "|"]), rng.choice(["\n", "\n", "\r\n"])
    columns = rng.sample(COLUMNS, len(COLUMNS))
    lines = [delimiter.join(columns)]
    ids: Ids = {}
    for _ in range(rng.randrange(1, 30)):
        kind = rng.random()
        if kind < 0.05:
            lines.append("")
        elif kind < 0.12:
            broken, fate = bad_csv_line(rng, delimiter, len(columns))
            expected.add(fate)
            lines.append(broken)
        else:
            row = cells(rng, expected, ids)
            lines.append(delimiter.join(csv_cell(rng, row[c], delimiter) for c in columns))
    mixed = rng.random() < 0.1
    text = "".join(line + (rng.choice(["\n", "\r\n"]) if mixed else end) for line in lines)
    if rng.random() < 0.2 and lines[-1]:
        text = text.rstrip("\r\n") if not lines[-1].endswith(("\n", "\r")) else text
    return "csv", (b"\xef\xbb\xbf" if rng.random() < 0.2 else b"") + text.encode("utf-8", "surrogateescape")


def bad_csv_line(rng: random.Random, delimiter: str, n: int) -> tuple[str, str]:
    """A line that isn't a row: too few cells, too many, text after a quote, a quote that never closes, not UTF-8."""
    filler = ["1"] * n
    return rng.choice(
        [
            delimiter.join(filler[: n - 2]),
            delimiter.join([*filler, "1", "1"]),
            "x",
            "   ",
            delimiter.join(['"a"b', *filler[1:]]),
            delimiter.join([*filler[1:], '"open']),
            delimiter.join(["\udcff", *filler[1:]]) if n else "",
            delimiter.join(["\udcc3("] * n),
        ]
    ), REJECTED


def jsonl_log(rng: random.Random, expected: Expected) -> tuple[str, bytes]:
    ids: Ids = {}
    lines = [json.dumps({**dict.fromkeys(COLUMNS), **as_json(rng, cells(rng, expected, ids))})]
    for _ in range(rng.randrange(0, 30)):
        kind = rng.random()
        if kind < 0.06:
            lines.append(rng.choice(["", "  ", "\t"]))
        elif kind < 0.16:
            expected.add(REJECTED)
            lines.append(
                rng.choice(
                    [
                        "not json",
                        "[1,2]",
                        "5",
                        "null",
                        '"text"',
                        "{}",
                        '{"a":1}',
                        '{"model":"gpt-5"',
                        '{"prompt_tokens":5}',
                        "\udcff",
                        "{} {}",
                        '{"model":"\\ud800"}',
                        "{'model':1}",
                    ]
                )
            )
        else:
            lines.append(json.dumps(as_json(rng, cells(rng, expected, ids)), ensure_ascii=rng.random() < 0.5))
    end = rng.choice(["\n", "\n", "\r\n"])
    text = end.join(lines) + rng.choice(["", end])
    return "jsonl", text.encode("utf-8", "surrogateescape")


def as_json(rng: random.Random, row: dict[str, str]) -> dict[str, Any]:
    """The row with numbers as numbers here and there, and empty values as null, empty text or nothing at all."""
    found: dict[str, Any] = {}
    for name, text in row.items():
        value: Any = text
        if (
            name.endswith("tokens")
            and text.removeprefix("-").isdigit()
            and not text.startswith("00")
            and rng.random() < 0.7
        ):
            value = int(text)
        elif name.endswith("tokens") and text in ("1.5", "12.0", "1e3", "1e9"):
            value = float(text)
        if text == "":
            empty = [None, "", ...] if not name.endswith(("tokens", "timestamp")) else [None, ...]
            value = rng.choice(empty)
        if value is not ...:
            found[name] = value
    return found


def parquet_log(rng: random.Random, expected: Expected) -> tuple[str, bytes]:
    ids: Ids = {}
    rows = [cells(rng, expected, ids) for _ in range(rng.randrange(1, 25))]
    path = Path(scratch) / "made.parquet"
    with duckdb.connect() as con:
        con.execute("CREATE TABLE t (" + ", ".join(f"{c} VARCHAR" for c in COLUMNS) + ")")
        con.executemany(
            "INSERT INTO t VALUES (" + ", ".join("?" * len(COLUMNS)) + ")",
            [[None if r[c] == "" else r[c] for c in COLUMNS] for r in rows],
        )
        con.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    return "parquet", path.read_bytes()


def nested(rng: random.Random, expected: Expected, wrap: Callable[..., dict[str, Any]]) -> Iterator[str]:
    """Lines of a vendor's responses. The first is sound, so that the format is recognised."""
    model_of: dict[str, str] = {}
    for i in range(rng.randrange(1, 20)):
        kind = rng.random() if i else 1.0
        if kind < 0.05:
            yield ""
        elif kind < 0.1:
            expected.add(REJECTED)
            yield rng.choice(["not json", '"text"', "[5]", "null", "7"])
        else:
            ident = rng.choice([f"x{rng.randrange(10**9)}", f"x{rng.randrange(6)}"])
            model = model_of.setdefault(ident, rng.choice(["gpt-5", "claude-sonnet-4-5", "no-such-model"]))
            fault = rng.random() if i else 1.0
            usage: dict[str, Any] = {"in": rng.choice([0, 5, 1000, 12.0]), "out": rng.choice([1, 7, 100_000_000])}
            fate = MODELS[model]
            if fault < 0.15:
                usage[rng.choice(["in", "out"])] = rng.choice([-1, 1.5, 100_000_001, "abc", True, 10**40, [], {}])
                fate = REJECTED
            elif fault < 0.2:
                model, fate = "", REJECTED
            at = (
                rng.choice(["2026-03-01", "2026-03-01T00:00:00", "1999-01-01T00:00:00Z"])
                if 0.2 <= fault < 0.25
                else ("2026-03-01T10:00:00Z")
            )
            fate = REJECTED if 0.2 <= fault < 0.25 else fate
            expected.add(fate, ident)
            yield json.dumps(wrap(ident, model, at, usage))


def openai(ident: str, model: str, at: str, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ident,
        "object": "chat.completion",
        "created_at": at,
        "model": model,
        "usage": {"prompt_tokens": usage["in"], "completion_tokens": usage["out"]},
    }


def anthropic(ident: str, model: str, at: str, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": ident,
        "type": "message",
        "role": "assistant",
        "model": model,
        "timestamp": at,
        "usage": {"input_tokens": usage["in"], "output_tokens": usage["out"]},
    }


def claude_code(ident: str, model: str, at: str, usage: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "assistant",
        "uuid": "u",
        "sessionId": "s",
        "timestamp": at,
        "message": anthropic(ident, model, at, usage),
    }


def vendor_log(rng: random.Random, expected: Expected) -> tuple[str, bytes]:
    lines = list(nested(rng, expected, rng.choice([openai, anthropic, claude_code])))
    if '"sessionId"' in lines[0]:
        for _ in range(rng.randrange(3)):
            lines.insert(1, json.dumps({"type": "user", "uuid": "u", "sessionId": "s", "message": {"content": "hi"}}))
            expected.add(NOT_A_REQUEST)
    return "jsonl", ("\n".join(lines) + "\n").encode()


def packed(rng: random.Random, name: str, data: bytes) -> tuple[str, bytes]:
    way = rng.random()
    if way < 0.1 and name != "parquet":
        return name + ".gz", gzip.compress(data, 1)
    if way < 0.2 and name != "parquet":
        return name + ".zst", zstandard.compress(data)
    return name, data


KINDS = (csv_log, csv_log, jsonl_log, jsonl_log, vendor_log, vendor_log, parquet_log)
scratch = ""


@pytest.fixture(scope="module")
def market() -> tuple[Any, Grid]:
    """Prices of three models; the fourth has none."""
    rates = [
        OwnRate(model=m, input_usd_per_mtok=1, output_usd_per_mtok=2) for m, fate in MODELS.items() if fate == PRICED
    ]
    catalogue = load(("own",), rates)
    return catalogue, Grid()


def audited(con: duckdb.DuckDBPyConnection, paths: list[Path], market: tuple[Any, Grid]) -> dict[str, int]:
    catalogue, grid = market
    intake = take_in(con, paths, Reading(Log(), Output(), grid), lambda text, share: None)
    pricing = price_cells(con, f"{intake.partial.name}_cells", catalogue, intake.grid)
    whole = totals(con, pricing, ())[()]
    listed = sum(g.n for g in intake.problems if g.kind != "unknown_key")
    assert listed == intake.rejected, f"{listed} problems listed, {intake.rejected} rows rejected"
    return {
        "rows_in": intake.rows_in,
        "priced": whole.n_priced,
        "unpriced": whole.n_unpriced,
        "rejected": intake.rejected,
        "duplicates": intake.duplicates,
        "not_requests": intake.not_requests,
    }


def check(seeds: range, folder: Path, market: tuple[Any, Grid]) -> None:
    global scratch
    scratch = str(folder)
    with duckdb.connect() as con:
        con.execute("SET preserve_insertion_order=false")
        for seed in seeds:
            rng = random.Random(seed)
            expected = Expected()
            kind = rng.choice(KINDS)
            ending, data = packed(rng, *kind(rng, expected))
            path = folder / f"log.{ending}"
            path.write_bytes(data)
            found = audited(con, [path], market)
            assert found == expected.accounting(), f"seed {seed}, {kind.__name__}: {data[:3000]!r}"
            path.unlink()


def test_every_row_is_accounted_for(tmp_path: Path, market: tuple[Any, Grid]) -> None:
    check(range(150), tmp_path, market)


@pytest.mark.slow
def test_every_row_of_ten_thousand_logs_is_accounted_for(tmp_path: Path, market: tuple[Any, Grid]) -> None:
    check(range(10_000), tmp_path, market)


def test_a_row_that_goes_missing_is_noticed(
    tmp_path: Path, market: tuple[Any, Grid], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison above can fail: a generator that promises one row more is caught."""
    add = Expected.add
    monkeypatch.setattr(Expected, "add", lambda self, *a: (add(self, *a), add(self, *a))[0])
    with pytest.raises(AssertionError, match="seed"):
        check(range(1), tmp_path, market)
