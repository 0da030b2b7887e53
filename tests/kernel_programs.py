"""Programs that run native kernels outside Python: built for a processor, a table of kernels and flags, and run there.

tests/native/kernel_bits.cpp prints a checksum of every operation's bits. Where a compiler or an emulator is missing,
the test is skipped and says which. Not here: which programs must agree. Enter at kernel_bits().
"""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# As CMakeLists.txt compiles every file: without contraction, so that floats round where the code says.
EVERYWHERE = (
    "-std=c++17",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-strict-aliasing",
)
GCC_12_HEADERS = ("-Wno-maybe-uninitialized", "-Wno-uninitialized")
AVX2 = ("-mavx2", "-mfma", "-mf16c")
AVX512_VNNI = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq", "-mavx512vnni")
AMX_INT8 = (*AVX512_VNNI, "-mavx512vbmi", "-mamx-tile", "-mamx-int8")
ASIMDDP = ("-march=armv8.2-a+dotprod",)
NATIVE, ARM = "g++", "aarch64-linux-gnu-g++"
QEMU = "qemu-aarch64-static"
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


@dataclass(frozen=True)
class Build:
    """A table of kernels: its feature's word, the compiler, and flags of the kernels and of the whole program."""

    feature: str
    compiler: str = NATIVE
    kernel_flags: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    tree: Path = ROOT


def found(tool: str) -> str:
    """The path of a tool; skips the test where it is missing."""
    path = shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} isn't installed")
    return path


def compile_with(compiler: str, folder: Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        [found(compiler), *EVERYWHERE, *GCC_12_HEADERS, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr


def kernel_object(build: Build, folder: Path) -> Path:
    """The compiled kernels alone."""
    out = folder / f"kernels_{build.feature}.o"
    source = build.tree / "native" / "kernels" / f"kernels_{build.feature}.cpp"
    compile_with(build.compiler, folder, *build.kernel_flags, *build.flags, "-c", source, "-o", out)
    return out


def kernel_bits(build: Build, most_tokens: int, folder: Path) -> str:
    """What kernel_bits prints of that build: a line for each operation, size and checksum; "" where it fails."""
    program = folder / f"bits_{build.feature}"
    sources = [build.tree / "tests" / "native" / name for name in ("kernel_bits.cpp", *build.sources)]
    table = f"-DTABLE=kernels_{build.feature}"
    whole = ("-static",) if build.compiler == ARM else ()
    compile_with(
        build.compiler, folder, *build.flags, *whole, table, *sources, kernel_object(build, folder), "-o", program
    )
    return run_program(build.compiler, program, str(most_tokens))


def run_program(compiler: str, program: Path, *arguments: str, cpu: str = "max") -> str:
    """Standard output, on an emulated CPU where the program is for another; "" where it fails."""
    emulator = [found(QEMU), "-cpu", cpu] if compiler == ARM and platform.machine() != "aarch64" else []
    done = subprocess.run([*emulator, str(program), *arguments], capture_output=True, text=True, timeout=300)
    return done.stdout if done.returncode == 0 else ""


def with_fault(tree: Path, file: str, right: str, wrong: str) -> Path:
    """A copy of the sources, with one piece of text replaced wherever it stands in one file."""
    for folder in ("native", "tests/native"):
        shutil.copytree(ROOT / folder, tree / folder)
    text = (tree / file).read_text("utf-8")
    assert right in text, f"{file} holds no {right!r}"
    (tree / file).write_text(text.replace(right, wrong), "utf-8")
    return tree
