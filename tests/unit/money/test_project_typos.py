"""A mistyped key of the project file is named, with the key that it may have meant."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest

from solvent.errors import ProjectError
from solvent.money.project import parse

PLAN = "[revenue.plans.pro]\nusd_per_month = 20\n"


@pytest.mark.parametrize(
    ("text", "key", "meant"),
    [
        ("[prodct]\nname = 'x'", "prodct", "product"),
        ("[revenue]\ndefault_plam = 'pro'\n" + PLAN, "revenue.default_plam", "default_plan"),
        (PLAN.replace("month", "mnth"), "revenue.plans.pro.usd_per_mnth", "usd_per_month"),
        ("[policy]\nmax_compute_per_valu = 0.2", "policy.max_compute_per_valu", "max_compute_per_value"),
        ("[[rates]]\nmodel = 'x'\ninput_usd_per_mtk = 1", "input_usd_per_mtk", "input_usd_per_mtok"),
    ],
)
def test_a_typo_is_named_with_what_it_may_have_meant(text: str, key: str, meant: str) -> None:
    with pytest.raises(ProjectError) as caught:
        parse(tomllib.loads(text, parse_float=Decimal), Path("solvent.toml"))
    line = str(caught.value)
    assert f"{key}` is no key of this file; is `{meant}` meant?" in line
    assert "Extra inputs" not in line


def test_a_key_like_no_other_is_named_alone() -> None:
    with pytest.raises(ProjectError, match=r"`zzzzqq` is no key of this file$"):
        parse({"zzzzqq": 1}, Path("solvent.toml"))
