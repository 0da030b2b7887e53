"""The logs that the benchmarks read: made by one SQL query, the same bytes for the same shape and DuckDB version.

A product with a heavy tail of customers, four features, seven models, over 60 days in which prices change three
times. Prompts are log-normal with 2% beyond 150,000 tokens, so that context tiers are paid; two rows in five read
a cache; three models reason; one row in eight is a batch. Nothing in it was measured.
Enter at `make_log`, `write_project`, `write_prices`.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

START, END = date(2026, 7, 15), date(2026, 9, 13)
DAYS = (END - START).days
# (provider, model, whether it reasons). Prices of the last three change on 30 July, 30 July and 21 August 2026.
MODELS = (
    ("openai", "gpt-5", True),
    ("google", "gemini-2.5-pro", True),
    ("anthropic", "claude-sonnet-4-5", False),
    ("anthropic", "claude-opus-4-6", False),
    ("openai", "gpt-5.6-luna", True),
    ("openai", "gpt-5.6-terra", True),
    ("openai", "gpt-5.6-sol", True),
)
# Each feature with the model that nine in ten of its requests go to; the tenth goes to any.
FEATURES = {"chat": "gpt-5.6-luna", "review": "claude-sonnet-4-5", "search": "gemini-2.5-pro", "agent": "gpt-5.6-sol"}
COLUMNS = (
    "timestamp",
    "customer",
    "feature",
    "provider",
    "model",
    "service_tier",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "reasoning_tokens",
)
PLANS = {"starter": 20, "team": 99, "business": 499}
EXTENSIONS = {"parquet": "parquet", "jsonl": "jsonl", "jsonl.gz": "jsonl.gz", "csv": "csv"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a log is like. duplicate_share: rows that repeat an earlier request's id, as retries do."""

    n_rows: int
    kind: str = "parquet"
    n_customers: int = 1_000
    ids: bool = True
    duplicate_share: float = 0.0
    batch_share: float = 0.125

    def stem(self) -> str:
        ids = f"ids{round(100 * self.duplicate_share)}" if self.ids else "noids"
        batch = "" if self.batch_share else "-standard"
        return f"{self.n_rows}-{self.n_customers}-{ids}{batch}"

    def columns(self) -> tuple[str, ...]:
        return (*COLUMNS, "request_id") if self.ids else COLUMNS


def rows_sql(shape: Shape) -> str:
    """The rows. u1…u9 are uniform on [0, 1): hashes of the row's number, so any part can be made alone."""
    first = (
        f"CASE WHEN i > 6 AND u9 < {shape.duplicate_share} THEN i - i % 7 - 1 ELSE i END"
        if shape.duplicate_share
        else "i"
    )
    uniform = ", ".join(f"(hash(i * 16 + {k}) >> 11) / 9007199254740992.0 AS u{k}" for k in range(1, 10))
    normal = "sqrt(-2 * ln(1 - {0})) * cos(6.283185307179586 * {1})"
    models = ", ".join(f"'{model}'" for _, model, _ in MODELS)
    providers = ", ".join(f"'{provider}'" for provider, _, _ in MODELS)
    reasons = ", ".join(str(reasoning).lower() for _, _, reasoning in MODELS)
    features = ", ".join(f"'{feature}'" for feature in FEATURES)
    ids = ", 'req_' || substr(md5(CAST(i AS VARCHAR)), 1, 24) AS request_id" if shape.ids else ""
    span_us = DAYS * 86_400_000_000
    main = ", ".join(str([model for _, model, _ in MODELS].index(model)) for model in FEATURES.values())
    n_models, n_features = len(MODELS), len(FEATURES)
    return f"""
    SELECT make_timestamp(epoch_us(TIMESTAMP '{START}') + (i * {span_us}::HUGEINT // {shape.n_rows + 1})::BIGINT)
        AS "timestamp"{ids},
      'customer-' || lpad(CAST(c AS VARCHAR), 6, '0') AS customer, ([{features}])[f + 1] AS feature,
      ([{providers}])[m + 1] AS provider, ([{models}])[m + 1] AS model,
      CASE WHEN u5 < {shape.batch_share} THEN 'batch' ELSE 'default' END AS service_tier, prompt AS prompt_tokens,
      CASE WHEN u6 < 0.4 THEN CAST(floor(prompt * u7 / 128) * 128 AS INTEGER) ELSE 0 END AS cached_tokens,
      completion AS completion_tokens,
      CASE WHEN ([{reasons}])[m + 1] AND u8 < 0.6 THEN CAST(floor(completion * u8) AS INTEGER) ELSE 0 END
        AS reasoning_tokens
    FROM (SELECT *,
        CASE WHEN u2 < 0.9 THEN ([{main}])[f + 1] ELSE CAST(floor(u2 * 1000) AS BIGINT) % {n_models} END AS m,
        CAST(CASE WHEN u4 < 0.02 THEN 150000 + 12500000 * u4
             ELSE least(149999, 20 + exp(7.3 + 1.3 * {normal.format("u4", "u5")})) END AS INTEGER) AS prompt,
        CAST(least(32000, 1 + exp(5.4 + {normal.format("u6", "u3")})) AS INTEGER) AS completion
      FROM (SELECT *,
          CAST(CASE WHEN u3 < 0.8 THEN hash(c) ELSE CAST(u3 * 1000 AS UBIGINT) END % {n_features} AS BIGINT) AS f
        FROM (SELECT *, CAST(floor({shape.n_customers} * u1 * u1 * u1) AS BIGINT) AS c
          FROM (SELECT i, {uniform} FROM (SELECT {first} AS i FROM (
            SELECT i, (hash(i * 16 + 9) >> 11) / 9007199254740992.0 AS u9 FROM range(1, {shape.n_rows + 1}) r(i)))))))
    """


def make_log(shape: Shape, folder: Path, threads: int = 2) -> Path:
    """The log's path; it is made where it isn't there yet, under a temporary name until it is whole."""
    import duckdb

    path = folder / f"{shape.stem()}.{EXTENSIONS[shape.kind]}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"part-{os.getpid()}-{path.name}")
    rows = rows_sql(shape)
    if shape.kind == "parquet":
        how = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880"
    elif shape.kind == "csv":
        how = "FORMAT csv, HEADER, TIMESTAMPFORMAT '%Y-%m-%dT%H:%M:%S.%fZ'"
    else:
        how = "FORMAT json" + (", COMPRESSION gzip" if shape.kind.endswith(".gz") else "")
        time = """strftime("timestamp", '%Y-%m-%dT%H:%M:%S.%fZ') AS "timestamp\""""
        rows = f'SELECT {time}, * EXCLUDE ("timestamp") FROM ({rows})'
    with duckdb.connect(config={"threads": threads, "memory_limit": "3GB"}) as con:
        con.execute("SET preserve_insertion_order=true")
        con.execute(f"COPY ({rows}) TO '{partial}' ({how})")
    partial.rename(path)
    return path


def write_project(shape: Shape, folder: Path) -> Path:
    """A project file that prices and sells what the log holds: every customer on a plan, fees, refunds."""
    path = folder / f"{shape.stem()}.toml"
    customers = folder / f"{shape.stem()}-customers.csv"
    plans = list(PLANS)
    lines = [f"customer-{i:06d},{plans[i % 3]}" for i in range(shape.n_customers)]
    customers.write_text("customer,plan\n" + "\n".join(lines) + "\n", "utf-8")
    text = [
        'schema = "solvent.project/1"',
        "[log]",
        'zone = "UTC"',
        f"start = {START}",
        f"end = {END}",
        "[costs]",
        "payment_fee_share = 0.029",
        "refund_share = 0.01",
        "[revenue]",
        f'customers = "{customers.name}"',
        'source = "made up for the benchmark"',
    ]
    text += [f"[revenue.plans.{name}]\nusd_per_month = {usd}" for name, usd in PLANS.items()]
    path.write_text("\n".join(text) + "\n", "utf-8")
    return path


def write_prices(folder: Path) -> Path:
    """The dated prices of the models, as a table that a user of SQL would keep: one row per span and context tier."""
    from solvent.money.audit.pricing import unit_prices
    from solvent.money.prices.card import Unpriced
    from solvent.money.prices.catalogue import load

    catalogue = load()
    edges = (*catalogue.boundaries().prompt_tok, 10**9)
    rows = []
    for provider, model, _ in MODELS:
        for service, name in (("standard", "default"), ("batch", "batch")):
            for day_no in range(DAYS):
                day = date.fromordinal(START.toordinal() + day_no)
                above = -1
                for edge in edges:
                    rate = catalogue.rate(provider, model, day, 0, service, above + 1)
                    assert not isinstance(rate, Unpriced) and not rate.card.windows, f"{model} {service} {day}: {rate}"
                    prices, _ = unit_prices(rate)
                    usd = {
                        b: str(prices[b].numerator * (10**12 // prices[b].denominator))
                        for b in ("input_tok", "cache_read_tok", "output_tok", "reasoning_tok")
                    }
                    assert all(10**12 % prices[b].denominator == 0 for b in usd)
                    rows.append(
                        {
                            "model": model,
                            "service_tier": name,
                            "day": day.isoformat(),
                            "above": above,
                            "upto": edge,
                            **usd,
                        }
                    )
                    above = edge
    merged = _merged(rows)
    path = folder / "prices.json"
    path.write_text(json.dumps(merged, indent=0), "utf-8")
    return path


def _merged(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Neighbouring tiers, then neighbouring days, of equal prices become one row: valid_from ≤ day < valid_to."""
    names = ("input_tok", "cache_read_tok", "output_tok", "reasoning_tok")
    tiers: list[dict[str, object]] = []
    for row in rows:
        last = tiers[-1] if tiers else {}
        same = all(last.get(k) == row[k] for k in ("model", "service_tier", "day", *names))
        if same and last["upto"] == row["above"]:
            last["upto"] = row["upto"]
        else:
            tiers.append(dict(row))
    spans: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for row in tiers:
        key = tuple(row[k] for k in ("model", "service_tier", "above", "upto", *names))
        day = date.fromisoformat(str(row.pop("day")))
        found = spans.setdefault(key, [])
        after = date.fromordinal(day.toordinal() + 1).isoformat()
        if found and found[-1]["valid_to"] == day.isoformat():
            found[-1]["valid_to"] = after
        else:
            found.append({**row, "valid_from": day.isoformat(), "valid_to": after})
    return [row for found in spans.values() for row in found]


def describe(shape: Shape, path: Path) -> dict[str, object]:
    """What the raw results say about a log."""
    return {**asdict(shape), "bytes": path.stat().st_size, "columns": list(shape.columns())}
