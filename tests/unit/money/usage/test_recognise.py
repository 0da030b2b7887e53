"""A log's format is told from its content; flat ones are handed on, unknown ones are named by their keys alone."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import duckdb
import pytest

from solvent.errors import LogError
from solvent.money.usage.recognise import recognise
from solvent.money.usage.sources import find


def told(path: Path) -> tuple[str, str]:
    found = recognise(find([path])[0])
    return found.format_name, found.kind


FLAT = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n",
    "clients": "timestamp,client,model,input_tokens,output_tokens,reasoning_tokens\n2025-04-07T00:00:01Z,c,m,1,2,3\n",
    "csv": "when;tokens\n2025-01-01;5\n",
    "mooncake": '{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}\n',
    "jsonl": '{"ts": "2025-01-01T00:00:00Z", "prompt_tokens": 5, "completion_tokens": 7, "model": "m"}\n',
}


@pytest.mark.parametrize("name", FLAT)
@pytest.mark.parametrize("packed", [False, True])
def test_flat_logs(name: str, packed: bool, tmp_path: Path) -> None:
    content = FLAT[name].encode()
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(content) if packed else content)
    assert told(path) == (name, "flat")


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "log"
    duckdb.connect().execute(f"COPY (SELECT 1 AS tokens) TO '{path}' (FORMAT parquet)")
    assert told(path) == ("parquet", "flat")


def test_the_majority_decides(tmp_path: Path, repo: Path) -> None:
    golden = repo / "tests" / "golden" / "usage"
    few = (golden / "openai.jsonl").read_text("utf-8").splitlines()[:2]
    many = (golden / "claude_code.jsonl").read_text("utf-8").splitlines()
    path = tmp_path / "log"
    path.write_text("\n".join([*few, "{broken", *many]))
    assert told(path) == ("claude_code", "nested")


def test_a_document_longer_than_the_sample_is_read(tmp_path: Path, repo: Path) -> None:
    line = (repo / "tests/golden/usage/otel.jsonl").read_text("utf-8").splitlines()[0]
    document = json.loads(line)
    document["resourceSpans"] *= 600
    path = tmp_path / "log"
    path.write_text(json.dumps(document, indent=1))
    assert path.stat().st_size > 1 << 20
    assert told(path) == ("otel", "nested")


def test_the_unknown_is_named_by_its_keys_never_its_values(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('{"question": "SECRET", "answer": "SECRET"}\n' * 3)
    with pytest.raises(LogError) as error:
        recognise(find([path])[0])
    text = str(error.value)
    assert "question, answer" in text and "claude_code" in text and "SECRET" not in text


@pytest.mark.parametrize(
    "content", [b"{broken\n", b"just prose\n", b"\x00\x01\x02\x03\x04", b"\xff\xff,\xff\n", b"   \n", b"[1, 2]"]
)
def test_what_is_no_log_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(LogError):
        recognise(find([path])[0])


@pytest.mark.parametrize("content", [b"\x1f\x8bnonsense", b"\x28\xb5\x2f\xfdnonsense"])
def test_a_compressed_file_that_isnt_one_is_told(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(LogError):
        recognise(find([path])[0])
