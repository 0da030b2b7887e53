"""CPU detection, against what the operating system reports."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from solvent.errors import KernelError
from solvent.machine import native

CPUINFO = Path("/proc/cpuinfo")
X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
# The kernel listed these long before any that solvent supports; newer words an old kernel may not know.
OLD_WORDS = {"avx2", "fma", "avx512f", "avx512bw", "avx512vl", "asimd"}
needs_extension = pytest.mark.skipif(not native.available(), reason="the native extension isn't built here")
needs_cpuinfo = pytest.mark.skipif(not CPUINFO.exists(), reason="no /proc/cpuinfo here")


def cpuinfo_words() -> set[str]:
    key = "flags" if X86 else "Features"
    for line in CPUINFO.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return set(value.split())
    return set()


def known_words() -> set[str]:
    from solvent.machine import _native

    return set(_native.feature_words())


@needs_extension
@needs_cpuinfo
def test_every_known_feature_that_the_system_lists_is_detected() -> None:
    # The system lists AMX also where this process may not use it.
    expected = {word for word in cpuinfo_words() & known_words() if not word.startswith("amx_")}
    assert expected <= set(native.cpu_features())


@needs_extension
@needs_cpuinfo
def test_no_feature_is_detected_that_the_system_does_not_have() -> None:
    assert set(native.cpu_features()) & OLD_WORDS <= cpuinfo_words()


@needs_extension
def test_features_of_two_architectures_never_mix() -> None:
    arm = {word for word in known_words() if word.startswith("asimd")}
    assert arm and known_words() - arm
    assert not set(native.cpu_features()) & (arm if X86 else known_words() - arm)


@needs_extension
def test_a_wider_feature_never_comes_without_its_base() -> None:
    features = set(native.cpu_features())
    if any(word.startswith("avx512") for word in features):
        assert {"avx512f", "avx2", "fma"} <= features
    if features & {"amx_int8", "amx_bf16"}:
        assert "amx_tile" in features


@needs_extension
def test_detection_is_stable_and_in_the_order_of_the_table() -> None:
    from solvent.machine import _native

    features = native.cpu_features()
    assert features == native.cpu_features()
    assert [word for word in _native.feature_words() if word in features] == list(features)


def test_without_the_extension_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import solvent.machine

    monkeypatch.setitem(sys.modules, "solvent.machine._native", None)
    monkeypatch.delattr(solvent.machine, "_native", raising=False)
    assert not native.available()
    with pytest.raises(KernelError, match="compiler"):
        native.cpu_features()
