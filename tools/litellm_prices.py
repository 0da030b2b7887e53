"""Derives data/litellm-prices.json.gz, the compact table of price facts, from LiteLLM's price file.

    python tools/litellm_prices.py WHEEL_OR_JSON [--version V] --date YYYY-MM-DD [--out FILE]

Takes the `litellm` wheel, or its model_prices_and_context_window_backup.json with --version. Keeps of every model
its provider, mode, source address, deprecation date and every field that states a price, numbers as decimal text
exactly as the source writes them; leaves out context lengths, abilities and regions. The same source gives the same
bytes. Written by hand: nothing; a change of mapping belongs in money/prices/litellm.py.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import re
import zipfile
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

MEMBER = "litellm/model_prices_and_context_window_backup.json"
OUT = Path(__file__).resolve().parents[1] / "src/solvent/money/prices/data/litellm-prices.json.gz"
SCHEMA = "solvent.litellm-prices/1"
KEEP = ("litellm_provider", "mode", "source", "deprecation_date")
PRICE = re.compile(r"cost|pricing|uplift_multiplier")
NOT_MODELS = ("sample_spec", "fallback_generalizations")


class Written(str):
    """A number as the source wrote it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the litellm wheel, or its price JSON")
    parser.add_argument("--version", help="version of litellm; taken from the wheel's name where it is a wheel")
    parser.add_argument("--date", required=True, type=date.fromisoformat, help="the day on which the source was taken")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    version = args.version or wheel_version(args.source)
    table = derive(read_source(args.source), version, args.date)
    args.out.write_bytes(packed(table))
    print(f"{args.out}: {table['n_rows']} models, {args.out.stat().st_size:,} bytes, {table['left_out']}")


def wheel_version(path: Path) -> str:
    match = re.match(r"litellm-([^-]+)-", path.name)
    if match is None:
        raise SystemExit(f"{path}: not a wheel of litellm; give --version")
    return match[1]


def read_source(path: Path) -> bytes:
    """The bytes of the price file."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(MEMBER)
    return path.read_bytes()


def derive(source: bytes, version: str, taken: date) -> dict[str, Any]:
    """The table: a head that says what it is derived from, and `rows`: name → facts."""
    raw = json.loads(source, parse_float=Written, parse_int=Written)
    rows = {}
    left_out: Counter[str] = Counter()
    for name, facts in raw.items():
        if name in NOT_MODELS:
            left_out[name] += 1
            continue
        rows[name] = {key: _texts(value) for key, value in facts.items() if key in KEEP or PRICE.search(key)}
        left_out["other fields"] += len(facts) - len(rows[name])
    return {
        "schema": SCHEMA,
        "derived_from": {
            "package": "litellm",
            "version": version,
            "file": MEMBER,
            "sha256": hashlib.sha256(source).hexdigest(),
            "taken": taken.isoformat(),
            "licence": "MIT",
            "copyright": "Copyright (c) 2023 Berri AI",
        },
        "n_rows": len(rows),
        "left_out": dict(sorted(left_out.items())),
        "rows": dict(sorted(rows.items())),
    }


def _texts(value: Any) -> Any:
    """Numbers as plain decimal text; anything that is no number, text, list or table is refused."""
    if isinstance(value, Written):
        Decimal(value)
        return str(value)
    if isinstance(value, list):
        return [_texts(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _texts(entry) for key, entry in sorted(value.items())}
    if value is None or isinstance(value, str | bool):
        return value
    raise SystemExit(f"a price that is {value!r}")


def packed(table: dict[str, Any]) -> bytes:
    """The table as gzip without a time stamp."""
    text = json.dumps(table, ensure_ascii=False, separators=(",", ":"), sort_keys=False)
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0, compresslevel=9) as packer:
        packer.write(text.encode("utf-8"))
    return buffer.getvalue()


if __name__ == "__main__":
    main()
