"""Commands as targets: what they get, how outputs are counted, and everything that can go wrong with them."""

from __future__ import annotations

import asyncio
import io
import os
import struct
import sys
import tempfile
import time
import wave
from pathlib import Path
from typing import Any

import pytest

from solvent.errors import MeasureError
from solvent.measure.adapter import OutputTable, count, read_adapter, wav_seconds
from solvent.measure.command_target import CommandTarget
from solvent.measure.target import Answer, Request

REQUEST = Request("r1", None, "say 'this' and \"that\"\nplease", None, None)
STAYS = """
import json, sys
for line in sys.stdin:
    {work}
    print(json.dumps([1.0, len(json.loads(line)["text"])]), flush=True)
"""


def wav(seconds: float, rate: int = 8000) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(b"\0\0" * int(rate * seconds))
    return stream.getvalue()


def target(tmp_path: Path, program: str, more: str = "", output: str = 'count = "characters"') -> CommandTarget:
    (tmp_path / "program.py").write_text(program, "utf-8")
    (tmp_path / "adapter.toml").write_text(
        f'name = "made up"\ncommand = [{sys.executable!r}, "{{folder}}/program.py", "{{prompt}}", "{{output}}"]\n'
        f"{more}\n[output]\n{output}\n",
        "utf-8",
    )
    return CommandTarget.of(tmp_path / "adapter.toml")


def asked(made: CommandTarget, *requests: Request) -> list[Answer]:
    async def run() -> list[Answer]:
        return list(await asyncio.gather(*(made.answer(one, time.monotonic) for one in requests or (REQUEST,))))

    return asyncio.run(run())


def test_a_prompt_is_one_argument_whatever_it_holds(tmp_path: Path) -> None:
    (answer,) = asked(target(tmp_path, "import sys; print(sys.argv[1])"))
    assert answer.error is None and answer.text.strip() == REQUEST.prompt
    assert answer.n_outputs == len(REQUEST.prompt or "")
    assert answer.done_s is not None and answer.sent_s <= answer.done_s == answer.chunk_s[0]
    assert answer.output_tok is None and answer.prompt_tok is None


def test_a_prompt_goes_to_stdin(tmp_path: Path) -> None:
    made = target(tmp_path, "import sys; print(sys.stdin.read())", 'stdin = "<{prompt}> {{}}"', 'count = "words"')
    (answer,) = asked(made)
    assert answer.text.strip() == f"<{REQUEST.prompt}> {{}}" and answer.n_outputs == 6


def test_a_file_is_counted_in_seconds_of_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = f"import sys; open(sys.argv[2], 'wb').write(bytes.fromhex({wav(1.5).hex()!r}))"
    output = 'count = "wav_seconds"\nfrom = "file"\nsuffix = ".wav"\nunit = "minute"\nper_output = 60'
    (answer,) = asked(target(tmp_path, program, "", output))
    assert answer.error is None and answer.n_outputs == pytest.approx(1.5 / 60)
    assert not list(tmp_path.glob("solvent-*"))


def test_a_program_that_stays_is_started_once(tmp_path: Path) -> None:
    program = "open(__file__ + '.starts', 'a').write('x')\n" + STAYS.format(work="pass")
    line = "stays = true\nstdin = '{{\"text\": {prompt_json}}}'"
    made = target(tmp_path, program, line, 'count = "vectors"')
    answers = asked(made, *(Request(f"r{i}", None, "x" * i, None, None) for i in range(5)))
    assert [answer.error for answer in answers] == [None] * 5
    assert [answer.n_outputs for answer in answers] == [1.0] * 5
    assert (tmp_path / "program.py.starts").read_text() == "x"


def test_a_program_that_stays_and_dies_is_an_error_and_starts_again(tmp_path: Path) -> None:
    work = "if 'bad' in line: sys.exit('out of luck')"
    line = "stays = true\nstdin = '{{\"text\": {prompt_json}}}'"
    made = target(tmp_path, STAYS.format(work=work), line, 'count = "vectors"')

    async def run() -> list[Answer]:
        return [await made.answer(Request("r", None, text, None, None), time.monotonic) for text in ("a", "bad", "b")]

    first, second, third = asyncio.run(run())
    assert first.error is None and third.error is None
    assert second.error == "ended: out of luck" and second.n_outputs is None and second.done_s is None


@pytest.mark.parametrize(
    ("program", "more", "output", "error"),
    [
        ("import sys; sys.exit('no memory')", "", 'count = "one"', "exit 1: no memory"),
        ("import time; time.sleep(60)", "timeout_s = 0.3", 'count = "one"', "timeout: longer than 0.3 s"),
        ("while True: print('x' * 999)", "", 'count = "one"\nmax_bytes = 5000', "output: more than 5000 bytes"),
        ("", "", 'count = "one"', "output: nothing was written"),
        ("print('RIFF')", "", 'count = "wav_seconds"', "output: no WAV"),
        ("print('<html>')", "", 'count = "images"', "output: no PNG"),
        ("print(0)", "", 'count = "number"', "output: 0.0 made"),
        ("print('many')", "", 'count = "number"', "output: no number"),
        ("print('[1, NaN]')", "", 'count = "vectors"', "output: no vector of finite numbers"),
        ("import sys; sys.stdout.buffer.write(b'\\xff')", "", 'count = "words"', "output: 'utf-8'"),
        ("pass", "", 'count = "one"\nfrom = "file"', "output: no file was written"),
    ],
)
def test_what_goes_wrong_is_the_answers_error(program: str, more: str, output: str, error: str, tmp_path: Path) -> None:
    (answer,) = asked(target(tmp_path, program, more, output))
    assert answer.error is not None and answer.error.startswith(error)
    assert answer.n_outputs is None and answer.done_s is None and not answer.chunk_s


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('name = "a"\ncommand = ["./no-such-program"]\n[output]\ncount = "one"\n', "utf-8")
    (answer,) = asked(CommandTarget.of(tmp_path / "a.toml"))
    assert answer.error == "start: ./no-such-program: No such file or directory"


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="no process groups")
def test_a_timeout_kills_what_the_command_started(tmp_path: Path) -> None:
    program = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stdout=-3, stderr=-3)\n"
        "open(__file__ + '.pid', 'w').write(str(child.pid))\ntime.sleep(60)"
    )
    asked(target(tmp_path, program, "timeout_s = 2"))
    pid = int((tmp_path / "program.py.pid").read_text())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]:
            return
        time.sleep(0.02)
    pytest.fail("the command's child lives on")


def test_a_late_answer_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfor line in sys.stdin:\n    n = int(line)\n"
        "    time.sleep(2 if n == 1 else 0)\n    print('x' * n, flush=True)\n"
    )
    made = target(tmp_path, program, "stays = true\nstdin = '{prompt}'\ntimeout_s = 1")

    async def run() -> list[Answer]:
        return [await made.answer(Request("r", None, n, None, None), time.monotonic) for n in ("3", "1", "5")]

    first, second, third = asyncio.run(run())
    assert (first.n_outputs, third.n_outputs) == (3, 5) and (second.error or "").startswith("timeout")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "`name` is missing"),
        ('name = "a"\ncomand = ["b"]\n[output]\ncount = "one"\n', "is `command` meant?"),
        ('name = "a"\ncommand = []\n[output]\ncount = "one"\n', "`command`"),
        ('name = "a"\ncommand = ["b"]\n[output]\ncount = "tokens"\n', "`output.count`"),
        ('name = "a"\ncommand = ["b", "{promt}"]\n[output]\ncount = "one"\n', r"is \{prompt\} meant"),
        ('name = "a"\ncommand = ["{prompt.__class__}"]\n[output]\ncount = "one"\n', "prompt.__class__"),
        ('name = "a"\ncommand = ["{prompt:>99999999}"]\n[output]\ncount = "one"\n', "with a format"),
        ('name = "a"\ncommand = ["{"]\n[output]\ncount = "one"\n', "braces"),
        ('name = "a"\ncommand = ["b"]\ntimeout_s = -1\n[output]\ncount = "one"\n', "`timeout_s`"),
        ('name = "a"\ncommand = ["b"]\ntimeout_s = 1e999999999\n[output]\ncount = "one"\n', "timeout_s"),
        ('name = "a"\ncommand = ["b"]\nstays = true\n[output]\ncount = "one"\n', "the line that asks"),
        ('name = "a"\ncommand = ["b"]\n[output]\ncount = "one"\nfrom = "file"\n', r"no \{output\}"),
        ("name = ", "not TOML"),
    ],
)
def test_a_bad_adapter_is_named(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text, "utf-8")
    with pytest.raises(MeasureError, match=said):
        read_adapter(tmp_path / "a.toml")


def test_sound_is_counted_by_its_samples_and_not_by_its_header() -> None:
    whole = wav(2.0)
    assert wav_seconds(whole) == 2.0
    # A stream's header says 4 GiB; what is there is what counts.
    claimed = whole[:40] + struct.pack("<I", 0xFFFFFFF0) + whole[44:]
    assert wav_seconds(claimed) == pytest.approx(2.0)
    for bad in (b"", whole[:30], wav(0.0)):
        with pytest.raises(ValueError):
            wav_seconds(bad)


@pytest.mark.parametrize(
    ("what", "content", "expected"),
    [
        ("vectors", b"[[1, 2], [3, 4.5]]", 2),
        ("vectors", b"[1, 2]\n[3, 4]\n\n[5, 6]", 3),
        ("lines", b"a\nb\n", 2),
        ("images", b"\x89PNG\r\n\x1a\n...", 1),
        ("one", b"x", 1),
        ("number", b" 2.5\n", 2.5),
        ("characters", "größe\n".encode(), 5),
    ],
)
def test_outputs_are_counted(what: Any, content: bytes, expected: float) -> None:
    assert count(OutputTable(count=what), content) == expected
    assert count(OutputTable(count=what, per_output=4), content) == expected / 4


def test_the_adapters_that_ship_can_be_read(repo: Path) -> None:
    paths = sorted((repo / "examples" / "targets").glob("*.toml"))
    assert len(paths) >= 3
    for path in paths:
        made = CommandTarget.of(path)
        assert made.document()["unit"] and made.adapter.model
