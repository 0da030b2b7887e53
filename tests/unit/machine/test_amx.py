"""Products on AMX tiles, three ways: tiles in plain C++ anywhere; the compiled instructions, carried out by a signal
handler where the CPU lacks them; and the CPU's own where it has them. All have the bits of plain C++."""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path

import engine_models
import numpy as np
import pytest
from kernel_products import multiply, random_matrix, random_x
from kernel_programs import (
    AMX_INT8,
    AVX2,
    AVX512_VNNI,
    IS_X86,
    NATIVE,
    ROOT,
    Build,
    compile_with,
    kernel_bits,
    kernel_object,
    run_program,
    with_fault,
)

from solvent.machine import native
from solvent.machine.engine.quants import TYPES

HERE = native.kernels() if native.available() else ()
# Four tiles of 16 tokens at once, each rest of them, and each rest of a tile.
MOST_TOKENS = 70
# Reads and writes beyond any array end the program.
IN_PLAIN_CPP = Build("amx_int8", flags=("-O1", "-fsanitize=address"))
COMPILED = Build("amx_int8", kernel_flags=AMX_INT8, flags=("-DBEFORE=software_tiles",), sources=("software_tiles.cpp",))
GEMM, TILES = "native/kernels/gemm_amx_int8.inl", "native/lanes/tiles.hpp"
FAULTS = {
    "offset": (GEMM, "b_minus<offset>(quad<bits>(codes, j))", "quad<bits>(codes, j)"),
    "the weights' rows": (GEMM, "{depth / 4, kTileBytes}", "{depth / 8, kTileBytes}"),
    "half a block": (GEMM, "static_cast<size_t>(s) * depth * kRows", "static_cast<size_t>(s / halves) * depth * kRows"),
    "tokens left over": (GEMM, "t - token, first", "0, first"),
    "ternary tokens left over": (GEMM, "kRows * (t - last_token)", "kRows * (t - n_whole * kTokenTile)"),
    "old sums": (GEMM, "tiles.zero<kSums + i.value>();", ""),
    "sums on their way": (GEMM, "totals[s % 4]", "totals[s % 2]"),
    "order of operands": (TILES, "data_[a][m][4 * k + i]", "data_[a][k][4 * m + i]"),
}
EVERY_X86 = {
    "scalar": (),
    "avx2": AVX2,
    "avx_vnni": (*AVX2, "-mavxvnni"),
    "avx512_vnni": AVX512_VNNI,
    "avx512vbmi": (*AVX512_VNNI, "-mavx512vbmi"),
    "amx_int8": AMX_INT8,
}
NEEDED = {"avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512vbmi"}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    text = kernel_bits(Build("scalar"), MOST_TOKENS, tmp_path_factory.mktemp("plain"))
    assert len(text.splitlines()) > 300
    return text


@pytest.mark.slow
def test_tiles_in_plain_cpp_have_the_bits_of_plain_cpp(plain: str, tmp_path: Path) -> None:
    assert kernel_bits(IN_PLAIN_CPP, MOST_TOKENS, tmp_path) == plain


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_on_the_way_to_the_tiles_is_seen(fault: str, plain: str, tmp_path: Path) -> None:
    build = dataclasses.replace(IN_PLAIN_CPP, flags=(), tree=with_fault(tmp_path / "tree", *FAULTS[fault]))
    assert kernel_bits(build, MOST_TOKENS, tmp_path) != plain


@pytest.mark.slow
@pytest.mark.skipif(not IS_X86, reason="only an x86-64 compiler knows the instructions")
def test_the_kernels_compile_for_tiles(tmp_path: Path) -> None:
    code = kernel_object(dataclasses.replace(COMPILED, flags=()), tmp_path).read_bytes()
    # TDPBSSD: VEX.128.F2.0F38.W0 5E, tile 6 or 7 in vvvv; LDTILECFG: VEX.128.NP.0F38.W0 49 with vvvv unused.
    assert len(re.findall(rb"\xc4\xe2[\x43\x4b]\x5e", code)) >= 8
    assert b"\xc4\xe2\x78\x49" in code


@pytest.mark.slow
@pytest.mark.skipif("amx_int8" in HERE, reason="this CPU runs the instructions itself")
@pytest.mark.skipif("avx512vbmi" not in HERE, reason="this CPU lacks what the kernels need beside tiles")
def test_the_compiled_instructions_have_the_bits_of_plain_cpp(plain: str, tmp_path: Path) -> None:
    assert kernel_bits(COMPILED, MOST_TOKENS, tmp_path) == plain


@pytest.mark.skipif("amx_int8" not in HERE, reason="this CPU doesn't run the amx_int8 kernels")
@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in ("f32", "f16", "bf16")])
def test_the_cpus_tiles_give_each_token_alone_in_every_bit(kind: str) -> None:
    per_block = max(TYPES[kind][0], 4)
    tensor = random_matrix(kind, 36, -(-1100 // per_block) * per_block)
    x = random_x(MOST_TOKENS, tensor.shape[1])
    for per_token in {False, kind in engine_models.TERNARY}:
        alone = multiply(tensor, x, "scalar", 1, per_token=per_token)
        for n_together in range(2, MOST_TOKENS + 1):
            together = multiply(tensor, x, "amx_int8", n_together, per_token=per_token)
            assert np.array_equal(together, alone), n_together


@pytest.mark.slow
@pytest.mark.skipif("amx_int8" not in HERE, reason="this CPU doesn't run the amx_int8 kernels")
def test_threads_signals_and_children_keep_their_tiles(tmp_path: Path) -> None:
    kernels = [kernel_object(Build(feature, kernel_flags=flags), tmp_path) for feature, flags in EVERY_X86.items()]
    sources = [ROOT / "native/cpu.cpp", ROOT / "native/dispatch.cpp", ROOT / "tests/native/tile_threads.cpp"]
    program = tmp_path / "tile_threads"
    compile_with(NATIVE, tmp_path, "-DSOLVENT_X86_KERNELS", "-pthread", *sources, *kernels, "-o", program)
    assert run_program(NATIVE, program, "20").endswith("all right\n")


@pytest.mark.skipif(not IS_X86 or sys.platform != "linux", reason="signal frames are those of Linux on x86-64")
def test_what_runs_only_where_tiles_are_still_compiles(tmp_path: Path) -> None:
    compile_with(NATIVE, tmp_path, "-fsyntax-only", ROOT / "tests/native/tile_threads.cpp")


@pytest.mark.skipif(not IS_X86, reason="which x86 kernels come first")
def test_tiles_come_first_where_cpu_and_system_have_them(tmp_path: Path) -> None:
    program = tmp_path / "x86_dispatch"
    sources = [ROOT / "native/dispatch.cpp", ROOT / "tests/native/x86_dispatch.cpp"]
    compile_with(NATIVE, tmp_path, "-DSOLVENT_X86_KERNELS", *sources, "-o", program)
    below = ["avx512vbmi", "avx512_vnni", "avx2", "scalar"]
    assert run_program(NATIVE, program, *NEEDED, "amx_tile", "amx_int8").split() == ["amx_int8", *below]
    # Without the system's permission neither word is there.
    assert run_program(NATIVE, program, *NEEDED).split() == below
    for missing in sorted(NEEDED):
        assert "amx_int8" not in run_program(NATIVE, program, *(NEEDED - {missing}), "amx_tile", "amx_int8").split()


def test_tiles_are_preferred_where_the_cpu_has_them() -> None:
    assert "amx_int8" not in HERE or HERE[0] == "amx_int8"
    assert ("amx_int8" in HERE) == ({"amx_tile", "amx_int8", *NEEDED} <= set(native.cpu_features()))
