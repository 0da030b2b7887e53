"""The `solvent` command: finds the subcommand, runs it, and turns a fault into one line and an exit code.

Exit codes: 0 done, 1 the check or verdict failed, 2 bad input, 70 a bug of ours, 130 interrupted, 141 the
reader of a pipe went away, 143 terminated. Each command lives in its own module, imported only when it is called.
Enter at `main`; a new command is one line in `COMMANDS`.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from difflib import get_close_matches
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from solvent import __version__
from solvent.cli.process import Terminated, ended_by_sigterm, hold_closed_streams
from solvent.cli.values import PlainCommand
from solvent.errors import SolventError, printable

BAD_INPUT, OUR_BUG, INTERRUPTED, PIPE_CLOSED, TERMINATED = 2, 70, 130, 141, 143

# Name → where its function is, and its line in `solvent --help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("solvent.cli.init:command", "Recognise a request log and write a solvent.toml to fill in."),
    "demo": ("solvent.cli.demo:command", "Audit a real log under an example product, ending in a report."),
    "audit": ("solvent.cli.audit:command", "From a request log to a margin: cost, revenue, verdict."),
    "prices": ("solvent.cli.prices:command", "Rate cards with their history; where the catalogues conflict."),
    "claims": ("solvent.cli.claims:command", "Check published numbers against each other."),
    "choose": ("solvent.cli.choose:command", "The cheapest mix of offers that meets the needs, idle hours paid for."),
    "stress": ("solvent.cli.stress:command", "Which scenario kills the margin, and which headline flips the verdict."),
    "convert": ("solvent.cli.convert:command", "Write a model in another number format, and say what that did to it."),
    "run": ("solvent.cli.run:command", "Run a model on this machine: a prompt in, a reply streamed out."),
    "measure": ("solvent.cli.measure:command", "Speed, memory, energy and cost per output of a model or a server."),
    "explain": ("solvent.cli.explain:command", "Follow a number of a report back to where it came from."),
}
SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
PLAIN: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None}


class LazyGroup(TyperGroup):
    """A group that lists commands from the table and imports one only to run it or show its help."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            near = get_close_matches(cmd_name, COMMANDS, n=1)
            ctx.fail(f"No such command {cmd_name!r}" + (f". Did you mean {near[0]!r}?" if near else ""))
        place, summary = COMMANDS[cmd_name]
        module_name, function_name = place.split(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise
            ctx.fail(f"The command {cmd_name!r} isn't in this version")
        function, one = getattr(module, function_name), typer.Typer(**PLAIN)
        one.command(cmd_name, cls=PlainCommand, short_help=summary, context_settings=SETTINGS)(function)
        return typer.main.get_command(one)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


app = typer.Typer(cls=LazyGroup, context_settings=SETTINGS, **PLAIN)


def _answer(ctx: typer.Context, param: typer.CallbackParam, wanted: bool) -> None:
    if wanted:
        typer.echo(f"solvent {__version__}" if param.name == "version" else ctx.get_help())
        raise typer.Exit


# --help is here too, since Typer's own has pydantic look at it: see values.py.
AT_ONCE: dict[str, Any] = {"callback": _answer, "is_eager": True}


@app.callback(invoke_without_command=True)
def solvent(
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.", **AT_ONCE)] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a fault; works anywhere.")] = False,
    help_: Annotated[bool, typer.Option("--help", "-h", help="Show this message and exit.", **AT_ONCE)] = False,
) -> None:
    """Can we afford to run it? What one output of an AI product costs, and what would make it pay."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help(), err=True)
        raise typer.Exit(BAD_INPUT)


def main(argv: list[str] | None = None) -> int:
    """Runs one command line and returns its exit code."""
    words = sys.argv[1:] if argv is None else list(argv)
    end = words.index("--") if "--" in words else len(words)
    debug = "--debug" in words[:end]
    words = [word for word in words[:end] if word != "--debug"] + words[end:]
    hold_closed_streams()
    try:
        with ended_by_sigterm():
            code = _run(words)
            sys.stdout.flush()
    except Terminated:
        return _tell("terminated", TERMINATED)
    except (KeyboardInterrupt, typer.Abort):
        return _tell("interrupted", INTERRUPTED)
    except BrokenPipeError:
        # What is still buffered would raise again at interpreter exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        if debug:
            traceback.print_exc()
        return _tell(*_fault(error))
    return code


def _run(words: list[str]) -> int:
    command = typer.main.get_command(app)
    try:
        with command.make_context("solvent", words) as ctx:
            command.invoke(ctx)
    except typer.Exit as stop:
        return stop.exit_code
    return 0


def _fault(error: Exception) -> tuple[str, int]:
    """What to tell the user about an exception, and the exit code."""
    if isinstance(error, SolventError):
        return str(error), BAD_INPUT
    if isinstance(error, typer.TyperException):
        ctx = getattr(error, "ctx", None)
        help_command = f"{ctx.command_path if ctx else 'solvent'} --help"
        return f"{error.format_message().rstrip('.')}; see `{help_command}`", BAD_INPUT
    if isinstance(error, OSError):
        return f"{error.filename or 'input or output'}: {error.strerror or error}", BAD_INPUT
    return f"a bug: {type(error).__name__}: {error}; --debug shows where, please report it", OUR_BUG


def _tell(line: str, code: int) -> int:
    print(f"solvent: {printable(' '.join(line.split()))}", file=sys.stderr)
    return code
