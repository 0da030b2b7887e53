"""Products on AMX tiles, three ways: tiles in plain C++ anywhere; the compiled instructions, carried out by a signal
handler where the CPU lacks them; and the CPU's own where it has them. All have the bits of plain C++."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import engine_models
import numpy as np
import pytest
from kernel_products import multiply, random_matrix, random_x
from kernel_programs import AMX_INT8, IS_X86, Build, kernel_bits, kernel_object, with_fault

from solvent.machine import native
from solvent.machine.engine.quants import TYPES

HERE = native.kernels() if native.available() else ()
# Four tiles of 16 tokens at once, each rest of them, and each rest of a tile.
MOST_TOKENS = 70
# Reads and writes beyond any array end the program.
IN_PLAIN_CPP = Build("amx_int8", flags=("-O1", "-fsanitize=address"))
COMPILED = Build("amx_int8", kernel_flags=AMX_INT8, flags=("-DBEFORE=software_tiles",), sources=("software_tiles.cpp",))
FAULTS = {
    "offset": ("native/kernels/gemm_amx_int8.inl", "out[i] - offset", "out[i]"),
    "the weights' rows": (
        "native/kernels/gemm_amx_int8.inl",
        "of[kWeights] = {depth / 4,",
        "of[kWeights] = {depth / 8,",
    ),
    "half a block": ("native/kernels/gemm_amx_int8.inl", "+ half * depth) * kRows", ") * kRows"),
    "tokens left over": ("native/kernels/gemm_amx_int8.inl", "n_tokens % kTokenTile", "(n_tokens + 1) % kTokenTile"),
    "old sums": ("native/kernels/gemm_amx_int8.inl", "tiles.zero<sums_tile>();", ""),
    "order of operands": ("native/lanes/tiles.hpp", "data_[a][m][4 * k + i]", "data_[a][k][4 * m + i]"),
}


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
    # TDPBSSD: VEX.128.F2.0F38.W0 5E; LDTILECFG: VEX.128.NP.0F38.W0 49 with vvvv unused.
    assert code.count(b"\xc4\xe2\x53\x5e") >= 8
    assert b"\xc4\xe2\x78\x49" in code


@pytest.mark.slow
@pytest.mark.skipif("amx_int8" in HERE, reason="this CPU runs the instructions itself")
@pytest.mark.skipif("avx512_vnni" not in HERE, reason="this CPU lacks what the kernels need beside tiles")
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


def test_tiles_are_preferred_where_the_cpu_has_them() -> None:
    assert "amx_int8" not in HERE or HERE[:3] == ("avx512vbmi", "avx512_vnni", "amx_int8")
    assert ("amx_int8" in HERE) == ({"amx_tile", "amx_int8", "avx512_vnni", "avx2"} <= set(native.cpu_features()))
