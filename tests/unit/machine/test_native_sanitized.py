"""Native code under the compiler's sanitizers, on random bytes and models: no step beyond an array, no undefined
operation, no two threads at one place at a time; and each sanitizer sees a fault of its kind when one is planted."""

from __future__ import annotations

import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kernel_programs import AVX2, AVX512_VNNI, IS_X86, NATIVE, ROOT, compile_with, found, with_fault

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.system() != "Linux", reason="sanitizers are run on Linux alone"),
]

KERNELS: dict[str, tuple[str, ...]] = {"scalar": (), "avx2": AVX2, "avx512_vnni": AVX512_VNNI}
STEP = (
    "activations",
    "attention",
    "codes",
    "file_rows",
    "head",
    "key_bias",
    "matrix",
    "pool",
    "rounding",
    "screen",
    "sequence",
    "step",
)
MEMORY, THREADS = "address,undefined", "thread"


def run(program: str, sanitizers: str, arguments: tuple[int, int], folder: Path, tree: Path = ROOT) -> tuple[int, str]:
    """A program of tests/native with all that it calls, built with sanitizers, run.   → status, what it said"""
    kernels = KERNELS if IS_X86 and program == "fuzz_kernels" else {"scalar": ()}
    flags = ("-g0", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all")
    # Sanitizers and inlining together take the compiler ten minutes a kernel set; without inlining it's ten seconds.
    sources = {
        **{tree / "native" / "kernels" / f"kernels_{name}.cpp": ("-O0", *own) for name, own in kernels.items()},
        **{tree / "native" / f"{name}.cpp": ("-O1",) for name in STEP},
        tree / "tests" / "native" / f"{program}.cpp": ("-O1",),
    }
    objects = [folder / f"{source.stem}.o" for source in sources]

    def make(source: Path, out: Path) -> None:
        compile_with(NATIVE, folder, *flags, *sources[source], "-c", source, "-o", out)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, sources, objects))
    compile_with(NATIVE, folder, *flags, *objects, "-pthread", "-o", folder / program)
    command = [str(folder / program), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1200, env={"TSAN_OPTIONS": "halt_on_error=1"}
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _compiler() -> None:
    found(NATIVE)


def test_no_kernel_leaves_its_arrays_or_what_is_defined(tmp_path: Path) -> None:
    """200,000 products or more where there are three kernel sets."""
    status, said = run("fuzz_kernels", MEMORY, (1, 34_000), tmp_path)
    assert status == 0, said
    assert "products by" in said


def test_no_step_leaves_its_arrays_or_what_is_defined(tmp_path: Path) -> None:
    status, said = run("step_threads", MEMORY, (1, 150), tmp_path)
    assert (status, said) == (0, "150 models\n")


def test_threads_of_a_step_touch_nothing_at_the_same_time(tmp_path: Path) -> None:
    status, said = run("step_threads", THREADS, (1, 60), tmp_path)
    assert (status, said) == (0, "60 models\n")


FAULTS = [
    ("fuzz_kernels", MEMORY, "native/kernels/lanes_math.inl", "if (n >= 16) return f_load(p);", "return f_load(p);"),
    (
        "fuzz_kernels",
        MEMORY,
        "native/kernels/quantise.inl",
        "i_round(f_max(f_min(v, f_set1(127.0f)), f_set1(-127.0f)))",
        "i_round(v)",
    ),
    (
        "fuzz_kernels",
        MEMORY,
        "native/kernels/gemv.inl",
        "any_panel<format, 2>(w, panel, x, t,",
        "any_panel<format, 2>(w, panel, x, 0,",
    ),
    (
        "step_threads",
        THREADS,
        "native/step.cpp",
        "feed_forward(thread, l);\n        meet();",
        "feed_forward(thread, l);",
    ),
    (
        "step_threads",
        THREADS,
        "native/step.cpp",
        "find_leaders(thread);\n        team_.barrier();",
        "find_leaders(thread);",
    ),
    (
        "step_threads",
        THREADS,
        "native/attention.cpp",
        "store_all(thread, layer);\n        team_.barrier();",
        "store_all(thread, layer);",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault[2].rsplit("/")[-1])
def test_a_planted_fault_is_seen(fault: tuple[str, str, str, str, str], tmp_path: Path) -> None:
    program, sanitizers, file, right, wrong = fault
    tree = with_fault(tmp_path / "tree", file, right, wrong)
    status, said = run(program, sanitizers, (1, 4000 if program == "fuzz_kernels" else 20), tmp_path, tree)
    assert status != 0, said
