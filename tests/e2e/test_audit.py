"""`solvent audit` as a user runs it: what it prints where, and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HEADER = "at,customer,model,prompt_tok,completion_tok\n"
GOOD = "".join(f"2026-01-0{d}T10:00:00Z,{c},m,1000000,0\n" for d in (1, 2) for c in ("Acme & Söhne", "Bolt"))
PROJECT = """
[prices]
prefer = ["own"]
[[rates]]
model = "m"
input_usd_per_mtok = 1
output_usd_per_mtok = 2
[log]
start = 2026-01-01
end = 2026-02-01
[revenue]
default_plan = "pro"
[revenue.plans.pro]
usd_per_month = {price}
"""
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def solvent(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
        source = str(Path(__file__).parents[2] / "src")
        return subprocess.run(
            [sys.executable, "-m", "solvent", *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": source, **env},
        )

    return solvent


def log(folder: Path, more: str = "", price: str = "100") -> None:
    (folder / "log.csv").write_text(HEADER + GOOD + more)
    (folder / "p.toml").write_text(PROJECT.format(price=price))


def statement(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_json_is_one_document_on_stdout(run: Run, tmp_path: Path) -> None:
    log(tmp_path)
    done = run("audit", "log.csv", "--project", "p.toml", "--json")
    assert statement(done)["schema"] == "solvent.statement/1"
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""


def test_gaps_are_listed_at_once_and_exit_2(run: Run, tmp_path: Path) -> None:
    log(tmp_path, "short\n2026-01-03T10:00:00Z,c,m,-1,0\n2026-01-03T10:00:00Z,c,nobody-sells-this,1,0\n")
    done = run("audit", "log.csv", "--project", "p.toml", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    listed = done.stderr.splitlines()
    assert any("missing columns (log.csv:6)" in line for line in listed)
    assert any("a negative count (prompt_tok) (log.csv:7)" in line for line in listed)
    assert any("unpriced: 1 requests: no source lists nobody-sells-this; add [[rates]]" in line for line in listed)
    assert (
        listed[-1].startswith("solvent: audit: 3 rows or keys that can't be counted")
        and "--allow-missing" in listed[-1]
    )
    assert len(listed) == 4


def test_allow_missing_says_in_the_verdict_what_was_left_out(run: Run, tmp_path: Path) -> None:
    log(tmp_path, "short\n2026-01-03T10:00:00Z,c,nobody-sells-this,1,0\n")
    done = run("audit", "log.csv", "--project", "p.toml", "--json", "--allow-missing")
    assert "1 unpriced and 1 rejected of 6 rows (33.3%)" in statement(done)["verdict"]["line"]


@pytest.mark.parametrize(("price", "state", "code"), [("100", "solvent", 0), ("1", "insolvent", 1)])
def test_check_turns_the_verdict_into_an_exit_code(run: Run, tmp_path: Path, price: str, state: str, code: int) -> None:
    log(tmp_path, price=price)
    done = run("audit", "log.csv", "--project", "p.toml", "--json", "--check")
    assert (json.loads(done.stdout)["verdict"]["state"], done.returncode) == (state, code)
    assert run("audit", "log.csv", "--project", "p.toml", "--json").returncode == 0


def test_check_fails_where_the_verdict_is_unknown(run: Run, tmp_path: Path) -> None:
    log(tmp_path)
    (tmp_path / "p.toml").write_text(PROJECT.format(price=1).split("[revenue]")[0])
    done = run("audit", "log.csv", "--project", "p.toml", "--json", "--check")
    assert (json.loads(done.stdout)["verdict"]["passed"], done.returncode) == (None, 1)


def test_hashed_names_are_stable_under_one_key_and_stand_nowhere_in_clear(run: Run, tmp_path: Path) -> None:
    log(tmp_path, "2026-01-03T10:00:00Z,Bolt,m,-1,0\n2026-01-03T10:00:00Z,Bolt,nobody-sells-this,1,0\n")
    words = ("audit", "log.csv", "--project", "p.toml", "--json", "--hash-customers", "--allow-missing")
    outputs = [run(*words, SOLVENT_HASH_KEY=key) for key in ("k", "k", "other")]
    names = [{row["customer"] for row in statement(o)["tables"]["customers"]["rows"]} for o in outputs]
    assert names[0] == names[1]
    assert not names[0] & names[2]
    assert all("Bolt" not in o.stdout + o.stderr and "Acme" not in o.stdout + o.stderr for o in outputs)
    unkeyed = run(*words)
    assert "SOLVENT_HASH_KEY isn't set" in unkeyed.stderr


def test_compare_says_what_changed(run: Run, tmp_path: Path) -> None:
    log(tmp_path)
    (tmp_path / "old.json").write_text(run("audit", "log.csv", "--project", "p.toml", "--json").stdout)
    (tmp_path / "log.csv").write_text(HEADER + GOOD + GOOD.replace("T10", "T11"))
    new = statement(run("audit", "log.csv", "--project", "p.toml", "--json", "--compare", "old.json"))
    changes = {row["cause"]: row["delta_usd"] for row in new["tables"]["changes"]["rows"]}
    assert changes == {"volume": "4", "mix": "0", "usage per output": "0", "price": "0", "all of it": "4"}
    (tmp_path / "old.json").write_text("{}")
    done = run("audit", "log.csv", "--project", "p.toml", "--compare", "old.json")
    assert done.returncode == 2 and "old.json: not a statement" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "log.csv", "--project", "p.toml"),
        ("audit", "log.csv", "--project", "p.toml", "--check"),
        ("audit", "log.csv", "--project", "p.toml", "--json"),
        ("explain", "r.json"),
        ("explain", "r.json", "gross_margin"),
        ("prices", "claude-sonnet-4-5"),
    ],
    ids=" ".join,
)
def test_a_reader_that_goes_away_is_no_failed_check(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    log(tmp_path)
    assert run("audit", "log.csv", "--project", "p.toml", "-o", "r.json").returncode == 0
    reader, writer = os.pipe()
    os.close(reader)
    source = str(Path(__file__).parents[2] / "src")
    with os.fdopen(writer, "wb") as closed:
        command = [sys.executable, "-m", "solvent", *words]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"} | {"PYTHONPATH": source}
        done = subprocess.run(command, cwd=tmp_path, stdout=closed, stderr=subprocess.PIPE, env=env, timeout=60)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("name", ["claude_code", "codex"])
def test_a_subscription_against_list_price(run: Run, repo: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "sessions"
    folder.mkdir()
    (folder / "s.jsonl").write_bytes((repo / f"tests/golden/usage/{name}.jsonl").read_bytes())
    found = statement(run("audit", "sessions", "--subscription", "200", "--json"))
    accounting = found["accounting"]
    assert accounting["balanced"] and accounting["priced"] > 0
    figures = found["figures"]
    assert float(figures["cost_usd"]["value"]) > 0
    days = float(found["span"]["days"])
    assert days == int(days) >= 1 and found["verdict"]["title"].startswith("Use ")
    months = days / 30.4375
    assert float(figures["revenue_usd"]["value"]) == pytest.approx(200 * months)
    assert {row["customer"] for row in found["tables"]["customers"]["rows"]} == {"you"}
    assert found["tables"]["features"]["rows"] and found["tables"]["days"]["rows"] and found["tables"]["models"]["rows"]
    assert "SENTINEL" not in json.dumps(found)


@pytest.mark.parametrize(
    "words",
    [
        ("audit", "nothing-here.csv"),
        ("audit", "log.csv", "--project", "nothing.toml"),
        ("audit", "log.csv", "--as-of", "soon"),
        ("audit", "log.csv", "--by", "colour"),
        ("audit", "log.csv", "--subscription", "-1"),
        ("audit", "log.csv", "--format", "xml"),
        ("audit", "empty.csv"),
        ("audit", "header.csv"),
        ("audit", "."),
        ("audit", "log.csv", "--project", "bad.toml"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(run: Run, tmp_path: Path, words: tuple[str, ...]) -> None:
    log(tmp_path)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "header.csv").write_text(HEADER)
    (tmp_path / "bad.toml").write_text("[log]\nzone = 'Mars/Base'\n")
    if words == ("audit", "."):
        (tmp_path / "other.jsonl").write_text('{"hello":"world"}\n')
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("solvent: ")


@pytest.mark.parametrize(("name", "n"), [("clients-day", 74_416), ("azure-code", 8_819)])
def test_the_examples_add_up(run: Run, repo: Path, name: str, n: int) -> None:
    folder = repo / "examples" / name
    (requests,) = folder.glob("requests.*")
    found = statement(run("audit", str(requests), "--project", str(folder / "solvent.toml"), "--json"))
    assert found["accounting"]["rows_in"] == found["accounting"]["priced"] == n
    assert found["figures"]["cost_usd"]["method"] == found["figures"]["revenue_usd"]["method"] == "assumed"
    assert found["verdict"]["state"] in ("solvent", "thin", "insolvent")
