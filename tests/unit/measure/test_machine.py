"""Fingerprints: what they hold, and which results they let be compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from solvent.errors import MeasureError
from solvent.measure.machine import HARDWARE, differences, fingerprint, require_same_machine, same_machine

CPUINFO = """processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R)   Platinum 8481C
stepping\t: 8
flags\t\t: fpu avx2 fma hypervisor avx512f avx512_vnni amx_int8 rtm

processor\t: 1
model name\t: another
"""


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    proc, sys = tmp_path / "proc", tmp_path / "sys"
    proc.mkdir()
    sys.mkdir()
    (proc / "cpuinfo").write_text(CPUINFO, "utf-8")
    (proc / "meminfo").write_text("MemTotal:       24588472 kB\nMemFree: 1 kB\n", "utf-8")
    return proc, sys


def test_a_fingerprint_holds_what_decides_a_measurement(trees: tuple[Path, Path]) -> None:
    found = fingerprint(*trees)
    assert found["cpu"] == "Intel(R) Xeon(R) Platinum 8481C (cpu family 6, model 143, stepping 8)"
    assert found["features"] == ["avx2", "fma", "avx512f", "avx512_vnni", "amx_int8"]
    assert found["memory_gib"] == 23 and found["virtual"] is True and found["gpus"] == []
    assert set(HARDWARE) < set(found)
    json.dumps(found, allow_nan=False)


def test_gpus_are_named(trees: tuple[Path, Path]) -> None:
    proc, sys = trees
    card = proc / "driver/nvidia/gpus/0000:01:00.0"
    card.mkdir(parents=True)
    (card / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 1\n", "utf-8")
    amd = sys / "class/drm/card0/device"
    amd.mkdir(parents=True)
    (amd / "vendor").write_text("0x1002\n", "utf-8")
    (amd / "device").write_text("0x74a1\n", "utf-8")
    assert fingerprint(proc, sys)["gpus"] == ["NVIDIA H200", "AMD 0x74a1"]
    assert fingerprint(proc, sys)["id"] != fingerprint(proc, sys / "none")["id"]


def test_software_may_differ_and_hardware_not(trees: tuple[Path, Path]) -> None:
    one = fingerprint(*trees)
    assert same_machine(one, {**one, "python": "3.99", "kernel": "7"})
    for key in HARDWARE:
        other = {**one, key: "something else"}
        assert not same_machine(one, other)
        assert len(differences(one, other)) == 1 and differences(one, other)[0].startswith(key)
        with pytest.raises(MeasureError, match=f"results of two machines.*{key}"):
            require_same_machine(one, other)
    require_same_machine(one, dict(one))


def test_what_is_not_known_is_like_nothing(tmp_path: Path) -> None:
    blind: dict[str, Any] = {**fingerprint(tmp_path, tmp_path), "cpu": None}
    assert blind["features"] is None
    assert not same_machine(blind, dict(blind))
    assert not same_machine({}, {})
    with pytest.raises(MeasureError, match="isn't known well enough"):
        require_same_machine(blind, dict(blind))


def test_this_machine_is_itself() -> None:
    assert same_machine(fingerprint(), fingerprint())
    assert fingerprint()["n_cores"] >= 1
