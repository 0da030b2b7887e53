"""Flat logs are taken in whole: what is wrong is counted and placed exactly, whatever layout, packing or damage."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
import zstandard

from solvent.errors import LogError
from solvent.money.project import Log, Output
from solvent.money.usage.cells import Grid
from solvent.money.usage.intake import Intake, Reading, take_in

HEADER = "at,customer,model,prompt_tok,completion_tok\n"
GOOD = "2026-01-01T00:00:00Z,c,m,100,10\n"
JSON = '{"at":"2026-01-01T00:00:00Z","customer":"c","model":"m","prompt_tok":100,"completion_tok":10}\n'
Take = Callable[..., Intake]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """take({name: content}, log=Log(…)) writes the files and takes them in; tables stay in `take.con`."""
    con = duckdb.connect()

    def run(files: dict[str, str | bytes], log: Log | None = None, format_name: str | None = None) -> Intake:
        paths = []
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(path)
        return take_in(con, paths, Reading(log or Log(), Output(), Grid(), format_name), lambda text, share: None)

    run.con = con  # type: ignore[attr-defined]
    return run


def places(intake: Intake) -> dict[str, list[str]]:
    """Detail → file:line of its examples, by the file's own name."""
    return {f"{g.kind}: {g.detail}": [e.rsplit("/", 1)[-1] for e in g.examples] for g in intake.problems}


def sums(take: Take, intake: Intake) -> tuple[int, int, int]:
    """(prompt, cached, output) tokens of the accepted rows."""
    row = take.con.execute(  # type: ignore[attr-defined]
        f"SELECT sum(input_tok), sum(cache_read_tok), sum(output_tok) FROM {intake.partial.name}_cells"
    ).fetchone()
    return tuple(int(value) for value in row)  # type: ignore[return-value]


BAD = {
    "2026-01-01T00:00:00Z,c,m,-5,1": "negative: a negative count (prompt_tok)",
    "2026-01-01T00:00:00Z,c,m,1.5,1": "malformed: not a whole number (prompt_tok)",
    "2026-01-01T00:00:00Z,c,m,999999999,1": "absurd: more than any request uses (prompt_tok)",
    "2026-01-01T00:00:00Z,c,m,,1": "no_usage: no count (prompt_tok)",
    "2026-01-01T00:00:00Z,c,,5,1": "no_model: no model",
    "2026-01-01T00:00:00,c,m,5,1": "missing_zone: a time without a zone",
    "yesterday at 10:00:00Z,c,m,5,1": "bad_time: a time that can't be read",
    ",c,m,5,1": "bad_time: no time",
    "1999-01-01T00:00:00Z,c,m,5,1": "bad_time: a time before 2015 or after 2099",
    "a,b": "malformed: missing columns",
    "a,b,c,d,e,f,g": "malformed: too many columns",
}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("way", ["", ".gz", ".zst"])
def test_every_kind_of_problem_is_found_in_one_pass_on_its_line(take: Take, end: str, bom: bytes, way: str) -> None:
    lines = [HEADER.strip(), "", GOOD.strip(), '2026-01-01T00:00:00Z,"two', 'lines",m,100,10', ""]
    expected = {}
    for bad, problem in BAD.items():
        lines += [bad, "", GOOD.strip()]
        expected[problem] = [f"log.csv{way}:{len(lines) - 2}"]
    data = bom + end.join([*lines, ""]).encode()
    data = {"": data, ".gz": gzip.compress(data), ".zst": zstandard.compress(data)}[way]
    intake = take({f"log.csv{way}": data})
    assert places(intake) == expected
    assert (intake.rows_in, intake.rejected, intake.accepted) == (2 + 2 * len(BAD), len(BAD), 2 + len(BAD))


def test_lines_of_jsonl_count_blank_ones(take: Take) -> None:
    lines = ["", JSON.strip(), "  ", "not json", JSON.strip(), "\t", "[1]", "", JSON.replace("100", "-1").strip()]
    intake = take({"log.jsonl": "\n".join(lines)})
    assert places(intake) == {
        "malformed: not a row with the mapped columns": ["log.jsonl:4", "log.jsonl:7"],
        "negative: a negative count (prompt_tok)": ["log.jsonl:9"],
    }
    assert (intake.rows_in, intake.rejected) == (5, 3)


def test_rows_of_parquet_are_numbered(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    duckdb.execute(
        "COPY (SELECT TIMESTAMPTZ '2026-01-01 00:00:00Z' AS at, 'm' AS model,"
        f" CASE WHEN i IN (7, 4999) THEN -1 ELSE 5 END AS prompt_tok, 1 AS completion_tok FROM range(5000) t(i))"
        f" TO '{path}' (ROW_GROUP_SIZE 2048)"
    )
    intake = take({"log.parquet": path.read_bytes()})
    assert places(intake) == {"negative: a negative count (prompt_tok)": ["log.parquet:8", "log.parquet:5000"]}


def test_counts_are_exact_where_examples_end(take: Take) -> None:
    intake = take({"log.csv": HEADER + GOOD + "2026-01-01T00:00:00Z,c,m,-5,1\n" * 12 + "short\n" * 9})
    assert {g.detail: (g.n, len(g.examples)) for g in intake.problems} == {
        "a negative count (prompt_tok)": (12, 5),
        "missing columns": (9, 5),
    }
    assert (intake.rows_in, intake.rejected) == (22, 21)


# ---------------------------------------------------------------------- broken quotes and line endings


@pytest.mark.parametrize(
    "broken", ['2026-01-01T00:00:00Z,"a"b,m,5,1', '2026-01-01T00:00:00Z,"open,m,5,1', '1,1,1,1,"open']
)
def test_a_broken_quote_takes_no_other_line_with_it(take: Take, broken: str) -> None:
    after = GOOD * 3 + '2026-01-01T00:00:00Z,"x,y",m,100,10\n'
    intake = take({"log.csv": HEADER + GOOD + broken + "\n" + after + "2026-01-01T00:00:00Z,c,m,-5,1\n"})
    assert (intake.rows_in, intake.accepted, intake.rejected) == (7, 5, 2)
    assert places(intake) == {
        "malformed: broken quotes": ["log.csv:3"],
        "negative: a negative count (prompt_tok)": ["log.csv:8"],
    }


def test_line_endings_may_be_mixed(take: Take) -> None:
    intake = take({"log.csv": HEADER + GOOD.replace("\n", "\r\n") + GOOD + "x\r\n" + GOOD})
    assert (intake.rows_in, intake.accepted) == (4, 3)
    assert places(intake) == {"malformed: missing columns": ["log.csv:4"]}


def test_text_that_is_not_utf8_is_rejected_where_it_is_read(take: Take) -> None:
    intake = take({"log.csv": HEADER.encode() + b"2026-01-01T00:00:00Z,\xff\xfe,m,5,1\n" + GOOD.encode()})
    assert (intake.rows_in, intake.accepted) == (2, 1)
    assert places(intake) == {"malformed: invalid encoding": ["log.csv:2"]}


# ---------------------------------------------------------------------- files that are laid out differently


def test_each_csv_file_is_read_by_its_own_header(take: Take) -> None:
    intake = take(
        {
            "a.csv": HEADER + GOOD,
            "b.csv": "completion_tok,at,prompt_tok,model,customer\n7,2026-01-01T00:00:00Z,1000,m,c\n",
            "c.csv": "time;client;model;input_tokens;output_tokens;cached_tokens\n2026-01-01T00:00:00Z;c;m;5;3;2\n",
        }
    )
    assert sums(take, intake) == (100 + 1000 + 3, 2, 10 + 7 + 3)


def test_csv_jsonl_and_parquet_are_read_together(take: Take, tmp_path: Path) -> None:
    path = tmp_path / "made"
    duckdb.execute(
        "COPY (SELECT TIMESTAMPTZ '2026-01-01 00:00:00Z' AS at, 'm' AS model, 5 AS prompt_tok, 1 AS completion_tok)"
        f" TO '{path}' (FORMAT parquet)"
    )
    intake = take({"a.csv": HEADER + GOOD, "b.jsonl": JSON, "c.parquet": path.read_bytes()})
    assert intake.rows_in == 3
    assert sums(take, intake) == (205, 0, 21)


def test_parquet_files_may_differ_in_types_and_names(take: Take, tmp_path: Path) -> None:
    files = {}
    for name, columns in {
        "a": "'m' AS model, 5 AS prompt_tok, 1 AS completion_tok",
        "b": "'m' AS model, 1.5 AS prompt_tok, '7' AS completion_tok",
        "c": "'m' AS model, 10 AS input_tokens, 4 AS cached_tokens, 1 AS output_tokens",
    }.items():
        duckdb.execute(
            f"COPY (SELECT TIMESTAMPTZ '2026-01-01 00:00:00Z' AS at, {columns}) TO '{tmp_path}/x' (FORMAT parquet)"
        )
        files[f"{name}.parquet"] = (tmp_path / "x").read_bytes()
    intake = take(files)
    assert sums(take, intake) == (5 + 6, 4, 2)
    assert places(intake) == {"malformed: not a whole number (prompt_tok)": ["b.parquet:1"]}


def test_jsonl_files_may_name_things_differently(take: Take) -> None:
    intake = take(
        {
            "a.jsonl": JSON,
            "b.jsonl": JSON.replace("prompt_tok", "input_tokens")
            .replace("completion_tok", "output_tokens")
            .replace("}", ',"cached_tokens":30}'),
        }
    )
    assert sums(take, intake) == (170, 30, 20)
    assert not intake.problems


@pytest.mark.parametrize("way", ["", ".gz"])
def test_a_key_that_a_newer_writer_adds_is_seen(take: Take, way: str) -> None:
    text = (JSON * 15_000 + JSON.replace("}", ',"cached_tokens":40}') * 15_000).encode()
    intake = take({f"log.jsonl{way}": gzip.compress(text, 1) if way else text})
    assert sums(take, intake) == (15_000 * 160, 15_000 * 40, 300_000)


def test_a_file_of_another_format_is_named(take: Take) -> None:
    openai = '{"id":"x","object":"chat.completion","model":"m","usage":{"prompt_tokens":1}}\n'
    with pytest.raises(LogError, match=r"b\.jsonl: a log of the format openai, while .*a\.csv is csv"):
        take({"a.csv": HEADER + GOOD, "b.jsonl": openai})
    with pytest.raises(LogError, match=r"b\.csv: a log of the format csv"):
        take({"a.jsonl": openai, "b.csv": HEADER + GOOD})
    with pytest.raises(LogError, match=r"b\.csv: neither"):
        take({"a.csv": HEADER + GOOD, "b.csv": "hello\n"})


def test_columns_that_differ_in_case_alone_stay_apart(take: Take) -> None:
    intake = take({"a.csv": "At,at,model,prompt_tok,completion_tok\n2026-01-01T00:00:00Z,x,m,5,1\n"})
    assert intake.accepted == 1


def test_one_name_twice_is_refused(take: Take) -> None:
    with pytest.raises(LogError, match="the column 'at' twice"):
        take({"a.csv": "at,at,model,prompt_tok,completion_tok\nx,x,m,5,1\n"})


def test_files_with_the_same_broken_line_count_it_once_each(take: Take) -> None:
    intake = take({"a.csv": HEADER + GOOD + "x\n", "b.csv.gz": gzip.compress((HEADER + GOOD + "x\n").encode())})
    assert (intake.rows_in, intake.rejected) == (4, 2)
    assert places(intake) == {"malformed: missing columns": ["a.csv:3", "b.csv.gz:3"]}


# ---------------------------------------------------------------------- ids


def test_an_empty_id_is_no_id(take: Take) -> None:
    intake = take({"log.jsonl": JSON.replace("}", ',"id":""}') * 3 + JSON.replace("}", ',"id":"7"}') * 3})
    assert (intake.rows_in, intake.duplicates, intake.accepted) == (6, 2, 4)


# ---------------------------------------------------------------------- damage


@pytest.mark.parametrize("way", ["gz", "zst"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_what_comes_before_a_cut_is_counted_and_the_cut_is_told(take: Take, way: str, kind: str) -> None:
    rows = [f"2026-01-01T00:00:00Z,c{i * 7919 % 9973},m,{i},10\n" for i in range(20_000)]
    if kind == "jsonl":
        rows = [JSON.replace('"c"', f'"c{i * 7919 % 9973}"').replace("100", str(i)) for i in range(20_000)]
    text = ((HEADER if kind == "csv" else "") + "".join(rows)).encode()
    packed = gzip.compress(text) if way == "gz" else zstandard.compress(text)
    intake = take({f"log.{kind}.{way}": packed[: len(packed) // 2]})
    n = intake.accepted
    assert 1_000 < n < 19_000
    assert (intake.rows_in, intake.rejected) == (n + 1, 1)
    assert sums(take, intake)[0] == n * (n - 1) // 2
    assert places(intake) == {"truncated: the compressed file is cut off or damaged": [f"log.{kind}.{way}"]}


@pytest.mark.parametrize("way", [gzip.compress, zstandard.compress])
def test_packed_files_put_end_to_end_are_read_whole(take: Take, way: Callable[[bytes], bytes]) -> None:
    intake = take({"log.jsonl.packed": way((JSON * 4).encode()) + way((JSON * 5).encode())})
    assert intake.accepted == 9


def test_an_empty_log_is_refused(take: Take) -> None:
    with pytest.raises(LogError, match="empty"):
        take({"a.csv": ""})
    assert take({"a.csv": HEADER}).rows_in == 0


def test_a_struct_without_the_key_is_refused(take: Take, tmp_path: Path) -> None:
    duckdb.execute(
        "COPY (SELECT {t: TIMESTAMPTZ '2026-01-01 00:00:00Z', p: 1} AS u, 'm' AS model)"
        f" TO '{tmp_path}/x' (FORMAT parquet)"
    )
    data = (tmp_path / "x").read_bytes()
    assert take({"a.parquet": data}, Log(columns={"at": "u.t", "prompt_tok": "u.p"})).accepted == 1
    with pytest.raises(LogError, match="zzz"):
        take({"a.parquet": data}, Log(columns={"at": "u.zzz", "prompt_tok": "u.p"}))


def test_a_folder_named_like_a_column_replaces_nothing(take: Take) -> None:
    intake = take({"customer=evil/model=free/log.csv": HEADER + GOOD})
    row = take.con.execute(f"SELECT customer, model FROM {intake.partial.name}_cells").fetchone()  # type: ignore[attr-defined]
    assert row == ("c", "m")
