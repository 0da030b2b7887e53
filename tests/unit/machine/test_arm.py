"""Kernels for 64-bit ARM, cross-compiled and run by an emulator: all bits are those of plain C++ here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from kernel_programs import (
    ARM,
    ASIMDDP,
    AVX2,
    IS_X86,
    ROOT,
    Build,
    compile_with,
    kernel_bits,
    kernel_object,
    run_program,
    with_fault,
)

from solvent.machine import native

pytestmark = pytest.mark.slow
ASIMD = Build("asimd", ARM)
ASIMD_DOT = Build("asimddp", ARM, ASIMDDP)
# A tile of tokens of every kernel set, twice, and one: full tiles, and every rest.
MOST_TOKENS = 17
FAULTS = {
    "correction": (ASIMD, "asimd.hpp", "dupq_n_s32(128 *", "dupq_n_s32(127 *"),
    # Two products of −128 by −128 are no 16-bit number.
    "pairs in 16 bits": (
        ASIMD,
        "asimd.hpp",
        "vpaddlq_s16(vmull_high_s8(s, x))",
        "vmovl_s16(vget_low_s16(vpaddq_s16(vmull_high_s8(s, x), vdupq_n_s16(0))))",
    ),
    "signed codes": (ASIMD_DOT, "asimddp.hpp", "less_128(w.part[i])", "vreinterpretq_s8_u8(w.part[i])"),
    "ties": (ASIMD_DOT, "asimd.inl", "vcvtnq_s32_f32", "vcvtaq_s32_f32"),
    "no number": (
        ASIMD_DOT,
        "asimd.inl",
        "vbslq_f32(vcltq_f32(a.part[i], b.part[i]), a.part[i], b.part[i])",
        "vminq_f32(a.part[i], b.part[i])",
    ),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What plain C++ prints on this machine."""
    text = kernel_bits(Build("scalar"), MOST_TOKENS, tmp_path_factory.mktemp("plain"))
    assert len(text.splitlines()) > 300
    return text


@pytest.mark.skipif(not IS_X86 or "avx2" not in native.kernels(), reason="this CPU doesn't run the avx2 kernels")
def test_avx2_has_the_bits_of_plain_cpp(plain: str, tmp_path: Path) -> None:
    assert kernel_bits(Build("avx2", kernel_flags=AVX2), MOST_TOKENS, tmp_path) == plain


@pytest.mark.parametrize("build", [Build("scalar", ARM), ASIMD, ASIMD_DOT], ids=lambda build: build.feature)
def test_arm_has_the_bits_of_plain_cpp(build: Build, plain: str, tmp_path: Path) -> None:
    assert kernel_bits(build, MOST_TOKENS, tmp_path) == plain


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_arm_lanes_is_seen(fault: str, plain: str, tmp_path: Path) -> None:
    build, file, right, wrong = FAULTS[fault]
    tree = with_fault(tmp_path / "tree", f"native/lanes/{file}", right, wrong)
    assert kernel_bits(dataclasses.replace(build, tree=tree), MOST_TOKENS, tmp_path) != plain


def test_the_best_kernels_of_each_arm_cpu_come_first(tmp_path: Path) -> None:
    """The dot product came with version 8.2: Cortex-A53 lacks it, Cortex-A76 has it."""
    program = tmp_path / "arm_dispatch"
    kernels = [kernel_object(build, tmp_path) for build in (ASIMD_DOT, ASIMD, Build("scalar", ARM))]
    sources = [ROOT / "native/cpu.cpp", ROOT / "native/dispatch.cpp", ROOT / "tests/native/arm_dispatch.cpp"]
    compile_with(ARM, tmp_path, "-static", "-DSOLVENT_ARM_KERNELS", *sources, *kernels, "-o", program)
    assert run_program(ARM, program, cpu="cortex-a53").split() == ["asimd", "scalar"]
    for cpu in ("cortex-a76", "max"):
        assert run_program(ARM, program, cpu=cpu).split() == ["asimddp", "asimd", "scalar"]
