"""Files, globs, folders, compression, and JSON in every shape a log comes in, damaged ones too."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
import zstandard

from solvent.errors import LogError
from solvent.money.usage import sources
from solvent.money.usage.sources import Malformed, find, records

TEXT = 'a "quoted" [ { } ] \\ ü'
DOCUMENTS: list[dict[str, Any]] = [{"n": i, "text": TEXT, "deep": {"list": [1, {"x": None}]}} for i in range(5)]


def read(path: Path) -> list[tuple[int, Any]]:
    (file,) = find([path])
    return list(records(file))


def write(tmp_path: Path, content: bytes | str, name: str = "log.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def jsonl(documents: list[dict[str, Any]] = DOCUMENTS, end: str = "\n") -> str:
    return "".join(json.dumps(d) + end for d in documents)


SHAPES = {
    "jsonl": jsonl(),
    "no newline at the end": jsonl()[:-1],
    "crlf": jsonl(end="\r\n"),
    "blank lines": "\n\n" + jsonl(end="\n \n\t\n"),
    "bom": "\ufeff" + jsonl(),
    "array on one line": json.dumps(DOCUMENTS),
    "array, an element a line": "[\n" + ",\n".join(json.dumps(d) for d in DOCUMENTS) + "\n]\n",
    "array that opens with its first element": "[" + ",\n".join(json.dumps(d) for d in DOCUMENTS) + "]",
    "pretty array": json.dumps(DOCUMENTS, indent=2),
    "pretty array, tabs": json.dumps(DOCUMENTS, indent="\t"),
    "pretty documents": "\n".join(json.dumps(d, indent=2) for d in DOCUMENTS),
    "pretty documents glued": "".join(json.dumps(d, indent=1) for d in DOCUMENTS),
    "several on a line": " ".join(json.dumps(d) for d in DOCUMENTS),
    "arrays as lines": json.dumps(DOCUMENTS[:2]) + "\n" + json.dumps(DOCUMENTS[2:]) + "\n",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_records(shape: str, tmp_path: Path) -> None:
    assert [record for _, record in read(write(tmp_path, SHAPES[shape]))] == DOCUMENTS


def test_lines_are_numbered_from_one(tmp_path: Path) -> None:
    assert [line for line, _ in read(write(tmp_path, "\n" + jsonl()))] == [2, 3, 4, 5, 6]
    pretty = write(tmp_path, "\n".join(json.dumps({"n": i}, indent=2) for i in range(3)), "pretty.json")
    assert [line for line, _ in read(pretty)] == [1, 4, 7]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
def test_compression_is_told_by_content(pack: Any, tmp_path: Path) -> None:
    path = write(tmp_path, pack(jsonl().encode()), "log.txt")
    assert [record for _, record in read(path)] == DOCUMENTS
    two_frames = write(tmp_path, pack(jsonl().encode()) + pack(jsonl().encode()), "two")
    assert [record for _, record in read(two_frames)] == DOCUMENTS * 2


def compressible(n: int) -> bytes:
    # Random enough that the compressed form is long and its cut falls amid the records.
    import random

    rng = random.Random(7)
    return b"".join(json.dumps({"n": i, "r": rng.getrandbits(256)}).encode() + b"\n" for i in range(n))


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor().compress], ids=["gzip", "zstd"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.999])
def test_a_truncated_file_keeps_what_came_before_and_says_so(pack: Any, share: float, tmp_path: Path) -> None:
    # zstd frames hold blocks of 128 KiB, so the log is longer than several.
    packed = pack(compressible(20_000))
    found = read(write(tmp_path, packed[: int(len(packed) * share)]))
    kept = [record for _, record in found if isinstance(record, dict)]
    assert [record["n"] for record in kept] == list(range(len(kept)))
    assert len(kept) > 20_000 * share * 0.5
    line, last = found[-1]
    assert isinstance(last, Malformed) and last.kind == "truncated"
    assert line == len(kept) + 1
    assert sum(isinstance(record, Malformed) for _, record in found) == 1


def test_damaged_compression_is_a_problem(tmp_path: Path) -> None:
    for pack in (gzip.compress, zstandard.ZstdCompressor().compress):
        packed = bytearray(pack(compressible(20_000)))
        packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\xff" * 64
        assert any(isinstance(r, Malformed) and r.kind == "truncated" for _, r in read(write(tmp_path, bytes(packed))))


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        ('{"a": 1', "never closes"), ('{"a": "b', "not JSON"), ("hello", "not JSON"), ("123", "not a JSON object"),
        ("null", "not a JSON object"), ('{"a": 1} trailing', "something after"), ('{"a": tru}', "not JSON"),
        ("[" * 3000 + "]" * 3000, "nested too deeply"), ('{"a":' * 3000 + "1" + "}" * 3000, "nested too deeply"),
    ],
)  # fmt: skip
def test_a_bad_line_is_one_problem_and_its_neighbours_are_read(line: str, detail: str, tmp_path: Path) -> None:
    found = read(write(tmp_path, '{"n": 1}\n' + line + '\n{"n": 2}\n{"n": 3}\n'))
    good = [record["n"] for _, record in found if isinstance(record, dict) and "n" in record]
    bad = [(number, record) for number, record in found if isinstance(record, Malformed)]
    assert good == [1, 2, 3]
    assert len(bad) == 1 and bad[0][0] == 2 and detail in bad[0][1].detail


def test_invalid_utf8_is_a_problem(tmp_path: Path) -> None:
    found = read(write(tmp_path, b'{"n": 1}\n{"a": "\xff\xfe"}\n{"n": 2}\n'))
    assert [r for _, r in found if isinstance(r, dict)] == [{"n": 1}, {"n": 2}]
    assert found[1] == (2, Malformed("malformed", "not UTF-8"))


def test_what_python_writes_is_read(tmp_path: Path) -> None:
    found = read(write(tmp_path, '{"p": NaN, "n": 1}\n{"p": "\\ud800", "n": 2}\n{"p": -Infinity, "n": 3}\n'))
    assert [record["n"] for _, record in found] == [1, 2, 3]


def test_huge_integers_and_duplicate_keys_are_read(tmp_path: Path) -> None:
    found = read(write(tmp_path, '{"n": ' + "9" * 30 + '}\n{"n": 1, "n": 2}\n{"n": ' + "9" * 5000 + "}\n"))
    assert [r for _, r in found[:2]] == [{"n": 10**30 - 1}, {"n": 2}]
    assert isinstance(found[2][1], Malformed)


def test_a_document_cut_off_is_truncated(tmp_path: Path) -> None:
    whole = json.dumps(DOCUMENTS, indent=2)
    found = read(write(tmp_path, whole[: len(whole) // 2]))
    assert isinstance(found[-1][1], Malformed) and found[-1][1].kind == "truncated"
    torn = read(write(tmp_path, '[\n{"n": 1},\n{"n": 2},\n'))
    assert [r for _, r in torn[:2]] == [{"n": 1}, {"n": 2}]
    assert torn[2] == (1, Malformed("truncated", "the file ends before its array closes"))


def test_utf16_is_told(tmp_path: Path) -> None:
    found = read(write(tmp_path, '{"n": 1}'.encode("utf-16")))
    assert len(found) == 1 and "UTF-16" in found[0][1].detail


def test_lines_and_documents_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_LINE_BYTES", 100)
    monkeypatch.setattr(sources, "MAX_DOCUMENT_BYTES", 300)
    long = json.dumps({"x": "y" * 150})
    found = read(write(tmp_path, '{"n": 1}\n' + long + '\n{"n": 2}\n'))
    assert [type(r) for _, r in found] == [dict, Malformed, dict] and found[1][0] == 2
    # The first line may be a document of its own, up to the larger bound.
    assert read(write(tmp_path, long + "\n"))[0][1] == {"x": "y" * 150}
    assert isinstance(read(write(tmp_path, json.dumps({"x": "y" * 400})))[0][1], Malformed)
    pretty = json.dumps({f"k{i}": "y" * 50 for i in range(20)}, indent=2)
    assert any(isinstance(r, Malformed) and "larger" in r.detail for _, r in read(write(tmp_path, pretty)))


def test_folders_are_searched_deep_sorted_and_once(tmp_path: Path) -> None:
    for name in ("b/2.jsonl", "b/1.jsonl.gz", "a/z.json", "a/readme.md", "a/empty.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("" if "empty" in name else "{}")
    os.symlink(tmp_path, tmp_path / "a" / "loop")
    os.symlink(tmp_path / "b" / "2.jsonl", tmp_path / "c.jsonl")
    os.symlink(tmp_path / "nowhere", tmp_path / "broken.jsonl")
    found = [file.path.name for file in find([tmp_path, tmp_path / "b", tmp_path / "b" / "2.jsonl"])]
    assert sorted(found) == sorted({"c.jsonl", "z.json", "1.jsonl.gz"})
    assert found == [file.path.name for file in find([tmp_path])]


def test_globs_and_odd_names(tmp_path: Path) -> None:
    for name in ("x1.jsonl", "x2.jsonl", "[odd].jsonl"):
        (tmp_path / name).write_text("{}")
    assert [f.path.name for f in find([str(tmp_path / "x*.jsonl")])] == ["x1.jsonl", "x2.jsonl"]
    assert [f.path.name for f in find([str(tmp_path / "[odd].jsonl")])] == ["[odd].jsonl"]
    assert [f.path.name for f in find([str(tmp_path / "**" / "x?.jsonl")])] == ["x1.jsonl", "x2.jsonl"]


def test_what_isnt_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    told = {
        "nothing.jsonl": "No such file", "*.parquet": "can't be read", "folder": "no log file",
        "empty.jsonl": "empty", "pipe": "not a regular file", "a\0b": "can't be read",
    }  # fmt: skip
    for given, said in told.items():
        with pytest.raises(LogError, match=said):
            find([str(tmp_path / given)])
    with pytest.raises(LogError):
        find([])
