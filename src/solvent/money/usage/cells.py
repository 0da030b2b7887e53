"""Cells: a log summed into the pieces within which every price is constant.

A cell is one customer × feature × provider × model × service × UTC day × off-peak slot × context tier × mask of
used buckets. Its counts are exact integers, so the price of a cell is one exact product, and the scan of the log
never sees a price: repricing needs no second look at the log.
Deduplication in two rounds, so that parts of a log can be read anywhere: (1) every part gives the hashes of its
request ids; hashes seen twice are contested; (2) every part sums its uncontested rows and hands over the
contested ones, of which the last snapshot counts. Hashes only select: equality is decided on the ids, and rows of one
id that can't be one request are rejected, all of them (`rows_at_odds`).
Enter at `Part`, then `merge`, then `settle`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from solvent.money.usage.relation import DIMENSIONS, Relation, literal, one_row
from solvent.records import BUCKET_BY_NAME, BUCKET_NAMES, MAX_COUNT, bucket_limit

if TYPE_CHECKING:
    import duckdb

Hashes = npt.NDArray[np.uint64]
Edges = tuple[int, ...]
Model = tuple[str | None, str]

# Rows whose id hashes are held and sorted at once: 16M × 8 B, and DuckDB's own copy.
HASHES_AT_ONCE = 16_000_000
# Below this many customers, resampling customers says nothing; time blocks are resampled instead.
MIN_CUSTOMERS_TO_RESAMPLE = 10
BLOCK_S = 300
# Snapshots and retries of one request lie this close together; the same id later is another request.
SAME_REQUEST_S = 86_400
# The problem of rows whose id is also that of another request.
AT_ODDS = "same_id"
# A model's name without what writers of one call add or leave out: a vendor's prefix, a date.
_BARE_MODEL = r"regexp_replace(lower(model), '^.*/|[-@](\d{4}-\d\d-\d\d|\d{8})$', '', 'g')"
# Rows in which models are looked for before the scan; a model that isn't among them gets the whole grid.
ROWS_SAMPLED, MODELS_AT_MOST = 100_000, 200


def _last_resort(name: str) -> str:
    while (parent := BUCKET_BY_NAME[name].falls_back_to) is not None:
        name = parent
    return name


# Buckets without a fallback price, each with the buckets that may borrow it: whether any was used decides
# whether a request can be priced at all.
FAMILIES: dict[str, tuple[str, ...]] = {
    last: tuple(n for n in BUCKET_NAMES if _last_resort(n) == last)
    for last in BUCKET_NAMES
    if BUCKET_BY_NAME[last].falls_back_to is None
}
MASKED: tuple[str, ...] = tuple(FAMILIES)

KEY_TYPES = {
    **dict.fromkeys(DIMENSIONS, "VARCHAR"),
    "day": "DATE",
    "slot": "SMALLINT",
    "tier": "SMALLINT",
    "mask": "INTEGER",
}
KEYS: tuple[str, ...] = tuple(KEY_TYPES)


@dataclass(frozen=True, slots=True)
class Grid:
    """Where prices can change: context lengths and minutes of the UTC day (see `Catalogue.boundaries`).

    of_model: (provider, model) → the prompt_tok and minutes at which that model's price changes, some of those above.
    A model keeps to its own: a slot or tier that doesn't touch its price would only split its cells.
    """

    prompt_tok: tuple[int, ...] = ()
    minutes: tuple[int, ...] = ()
    of_model: Callable[[str | None, str], tuple[Edges, Edges]] | None = field(default=None, compare=False)

    def hourly(self) -> Grid:
        """The grid with a slot for every hour too, so that a short log can be shown hour by hour."""
        return Grid(self.prompt_tok, tuple(sorted({*self.minutes, *range(60, 1440, 60)})))

    def is_hourly(self) -> bool:
        """Whether every slot lies within one hour."""
        return {*range(60, 1440, 60)} <= {*self.minutes}

    def minute(self, slot: int) -> int:
        """The first minute of a slot; the prices are the same through all of it."""
        return self.minutes[slot - 1] if slot else 0

    def prompt(self, tier: int) -> int:
        """The shortest prompt of a tier."""
        return self.prompt_tok[tier - 1] + 1 if tier else 0


@dataclass(frozen=True, slots=True)
class Grouping:
    """How requests make outputs: by an id, by a gap in a customer's requests, or a stated ratio (then neither)."""

    by_id: bool = False
    gap_s: int | None = None


@dataclass(slots=True)
class Partial:
    """What one part of a log comes to; tables live in the connection under `name`_….

    Views: cells (KEYS, n, buckets; a key may stand in several rows), contested (canonical rows), outputs (keys, n),
    times (gap rule).   Tables: blocks (sums per BLOCK_S), prefixes (blocks of prompts, how often each was read).
    Views fill in the buckets that the log doesn't have: zeros that were stored once took most of the memory.
    """

    name: str
    n_accepted: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    first: datetime | None = None
    last: datetime | None = None
    buckets: tuple[str, ...] = ()


class Part:
    """A part of a log in a connection: gives its id hashes, then its partial."""

    def __init__(
        self, con: duckdb.DuckDBPyConnection, relation: Relation, grid: Grid, grouping: Grouping, n_rows_at_most: int
    ) -> None:
        self.con = con
        self.relation = relation
        self.grid = grid
        self.grouping = grouping
        self.n_rows_at_most = n_rows_at_most
        self._hash_table: str | None = None

    def hashes(self, share: int = 0, of: int = 1) -> Hashes:
        """Sorted hashes of the request ids of this part (those with hash % of = share), repeats kept.

        Ids of rejected rows are among them: a contested id too many costs time, never a count.
        """
        if not self.relation.has_request_id:
            return np.empty(0, np.uint64)
        where = f"WHERE h % {of} = {share}" if of > 1 else ""
        hashes = np.asarray(self.con.execute(f"SELECT h FROM {self._hashed()} {where}").fetchnumpy()["h"], np.uint64)
        hashes.sort()
        return hashes

    def n_hashes_at_most(self) -> int:
        """How many hashes there can be; of a text log, where only its size is known before, how many there are."""
        if not self.relation.has_request_id:
            return 0
        if self.relation.columnar or self.n_rows_at_most <= HASHES_AT_ONCE:
            return self.n_rows_at_most
        return int(one_row(self.con, f"SELECT count(*) FROM {self._hashed()}")[0])

    def _hashed(self) -> str:
        """What gives the hashes. Every share is a pass, so a text log is parsed once into a table that may spill."""
        rows = f"SELECT hash(request_id) AS h FROM ({self.relation.sql}) WHERE request_id IS NOT NULL"
        if self.relation.columnar or self.n_rows_at_most <= HASHES_AT_ONCE:
            return f"({rows})"
        if self._hash_table is None:
            self._hash_table = f"hashes_{id(self):x}"
            self.con.execute(f"CREATE OR REPLACE TEMP TABLE {self._hash_table} AS {rows}")
        return self._hash_table

    def forget_hashes(self) -> None:
        if self._hash_table is not None:
            self.con.execute(f"DROP TABLE {self._hash_table}")
            self._hash_table = None

    def partial(self, name: str, contested: Hashes) -> Partial:
        """Sums the part; rows whose id hash is in `contested` are handed over instead."""
        result = Partial(name, buckets=self.relation.buckets)
        kept = f"({self.relation.sql})"
        clash = ""
        if contested.size:
            self.con.register("contested_hashes", {"h": contested})
            self.con.execute(f"CREATE OR REPLACE TEMP TABLE {name}_hashes AS SELECT h FROM contested_hashes")
            self.con.unregister("contested_hashes")
            clash = f"request_id IS NOT NULL AND hash(request_id) IN (SELECT h FROM {name}_hashes)"
            kept = f"(SELECT * FROM {kept} WHERE problem IS NOT NULL OR NOT ({clash}))"
        where = f"problem IS NULL AND {clash}" if clash else "false"
        self.con.execute(
            f"CREATE OR REPLACE TEMP TABLE {name}_clashing AS SELECT * FROM ({self.relation.sql}) WHERE {where}"
        )
        _view(self.con, f"{name}_contested", f"SELECT * FROM {canonical(self.relation, f'{name}_clashing')}")
        sum_rows(self.con, self.relation, kept, result, self.grid, self.grouping)
        return result


def contested_hashes(parts: Sequence[Part]) -> Hashes:
    """The id hashes that occur more than once over all parts, in shares small enough for the memory."""
    n = sum(part.n_hashes_at_most() for part in parts)
    if n < 2:
        return np.empty(0, np.uint64)
    of = -(-n // HASHES_AT_ONCE)
    found = []
    for share in range(of):
        pools = [part.hashes(share, of) for part in parts]
        pool = pools[0] if len(pools) == 1 else np.concatenate(pools)
        if len(pools) > 1:
            pool.sort()
        found.append(np.unique(pool[1:][pool[1:] == pool[:-1]]))
    for part in parts:
        part.forget_hashes()
    return np.concatenate(found)


def canonical(relation: Relation, source: str) -> str:
    """The rows of `source` with every canonical column: constants and absent buckets filled in."""
    picked = [
        '"at"',
        "request_id" if relation.has_request_id else "CAST(NULL AS VARCHAR) AS request_id",
        "output_id" if relation.has_output_id else "CAST(NULL AS VARCHAR) AS output_id",
    ]
    for dimension in DIMENSIONS:
        fixed = f"CAST({literal(relation.constants.get(dimension))} AS VARCHAR) AS {dimension}"
        picked.append(dimension if dimension in relation.dimensions else fixed)
    picked += [b if b in relation.buckets else f"CAST(0 AS BIGINT) AS {b}" for b in BUCKET_NAMES]
    picked.append("prefix_blocks" if relation.has_prefix_blocks else "CAST(NULL AS BIGINT[]) AS prefix_blocks")
    return f"(SELECT {', '.join(picked)} FROM {source})"


def full_relation(sql: str, buckets: tuple[str, ...] = BUCKET_NAMES, *, prefixes: bool = True) -> Relation:
    """A relation over rows that already have every canonical column, none of them rejected."""
    sql = f"SELECT *, CAST(NULL AS VARCHAR) AS problem FROM ({sql})"
    return Relation(
        sql, DIMENSIONS, {}, buckets, has_request_id=True, has_output_id=True, has_prefix_blocks=prefixes, columnar=True
    )


def sum_rows(
    con: duckdb.DuckDBPyConnection, relation: Relation, rows: str, result: Partial, grid: Grid, grouping: Grouping
) -> None:
    """Fills the tables of `result` from `rows` in one scan; rows with a problem are only counted."""
    name = result.name
    # Cells and blocks are joined by their keys, so both take the same ones: models that are sampled may differ.
    keys = _keys(relation, grid, _models(con, relation) if grid.of_model else Models())
    _sum_cells(con, relation, rows, name, keys)
    (n_accepted,) = one_row(con, f"SELECT coalesce(sum(n), 0) FROM {name}_raw WHERE problem IS NULL")
    result.n_accepted = int(n_accepted)
    result.first, result.last = _first_and_last(con, relation, rows, name)
    rejected = con.execute(f"SELECT problem, sum(n) FROM {name}_raw WHERE problem IS NOT NULL GROUP BY 1").fetchall()
    result.rejected = {problem: int(n) for problem, n in rejected}
    accepted = f"(SELECT * FROM {rows} WHERE problem IS NULL)"
    _group_outputs(con, relation, accepted, name, grouping)
    _sum_blocks(con, relation, accepted, name, keys)
    _sum_prefixes(con, relation, accepted, name)


@dataclass(frozen=True, slots=True)
class Models:
    """Models of a relation, as (provider, model). complete: there are no others; else they are those of a sample."""

    found: tuple[Model, ...] = ()
    complete: bool = False


def _models(con: duckdb.DuckDBPyConnection, relation: Relation) -> Models:
    """The models, all of them where a column can be read alone, else those of the first rows.

    Alone, a column's texts come from its dictionary, a quarter of what pairs cost; so every provider is taken to sell
    every model, unless those are too many.
    """
    names = _dimensions(relation)
    if relation.columnar:
        providers, models = (
            [row[0] for row in con.execute(f"SELECT DISTINCT {names[d]} FROM ({relation.sql}) ORDER BY ALL").fetchall()]
            for d in ("provider", "model")
        )
        if len(providers) * len(models) <= MODELS_AT_MOST:
            return Models(tuple((p, m) for p in providers for m in models if m is not None), complete=True)
    rows = f"SELECT {names['provider']} AS p, {names['model']} AS m FROM ({relation.sql})"
    rows += "" if relation.columnar else f" LIMIT {ROWS_SAMPLED}"
    found = con.execute(f"SELECT DISTINCT p, m FROM ({rows}) ORDER BY ALL LIMIT {MODELS_AT_MOST}").fetchall()
    complete = relation.columnar and len(found) < MODELS_AT_MOST
    return Models(tuple((provider, model) for provider, model in found if model is not None), complete)


def _dimensions(relation: Relation) -> dict[str, str]:
    """Dimension → SQL over a canonical row; constants are literals and cost the scan nothing."""
    return {
        d: d if d in relation.dimensions else f"CAST({literal(relation.constants.get(d))} AS VARCHAR)"
        for d in DIMENSIONS
    }


def _keys(relation: Relation, grid: Grid, models: Models) -> dict[str, str]:
    """Key → SQL over a canonical row."""
    keys = _dimensions(relation)
    keys["day"] = 'CAST("at" AS DATE)'
    by_tier: dict[Edges, list[Model]] = {}
    by_slot: dict[Edges, list[Model]] = {}
    if grid.of_model is not None:
        for model in models.found:
            tiers, slots = grid.of_model(*model)
            by_tier.setdefault(tiers, []).append(model)
            by_slot.setdefault(slots, []).append(model)
    complete = models.complete and grid.of_model is not None
    prompt = " + ".join(b for b in relation.buckets if BUCKET_BY_NAME[b].prompt) or "0"
    minute = '(hour("at") * 60 + minute("at"))'
    keys["slot"] = _step_by_model(_Steps(minute, "<", grid.minutes), keys, by_slot, complete)
    keys["tier"] = _step_by_model(_Steps(f"({prompt})", "<=", grid.prompt_tok), keys, by_tier, complete)
    bits = " + ".join(
        f"CAST({' + '.join(used)} > 0 AS INTEGER) * {1 << i}"
        for i, family in enumerate(FAMILIES.values())
        if (used := [b for b in family if b in relation.buckets])
    )
    keys["mask"] = f"CAST({bits} AS INTEGER)" if bits else "CAST(0 AS INTEGER)"
    return keys


@dataclass(frozen=True, slots=True)
class _Steps:
    """Steps of a value on a grid: number 0 where `value below grid[0]`, and so on. Fewer edges keep the numbers."""

    value: str
    below: str
    grid: Edges

    def sql(self, edges: Edges) -> str:
        numbers = [0, *(self.grid.index(edge) + 1 for edge in edges)]
        cases = " ".join(
            f"WHEN {self.value} {self.below} {edge} THEN {n}" for edge, n in zip(edges, numbers, strict=False)
        )
        return f"CASE {cases} ELSE {numbers[-1]} END" if cases else "0"


def _step_by_model(
    steps: _Steps, keys: Mapping[str, str], by_edges: Mapping[Edges, Sequence[Model]], complete: bool
) -> str:
    """The step of each row by the edges of its model; a model that wasn't found takes the whole grid."""
    own = {edges: models for edges, models in by_edges.items() if set(edges) <= set(steps.grid)}
    complete = complete and len(own) == len(by_edges)
    whole = "0" if complete else steps.sql(steps.grid)
    if complete:
        own.pop((), None)
    cases = [f"WHEN {_is_one_of(keys, models)} THEN {steps.sql(edges)}" for edges, models in own.items()]
    first = min((edges[0] for edges in own if edges), default=None) if complete else next(iter(steps.grid), None)
    if cases and first is not None:
        # Most rows lie below every edge: no name is compared for them.
        cases.insert(0, f"WHEN {steps.value} {steps.below} {first} THEN 0")
    return f"CAST({f'CASE {{}} ELSE {whole} END'.format(' '.join(cases)) if cases else whole} AS SMALLINT)"


def _is_one_of(keys: Mapping[str, str], models: Sequence[Model]) -> str:
    by_provider: dict[str | None, list[str]] = {}
    for provider, model in models:
        by_provider.setdefault(provider, []).append(model)
    provider_is, model_in = f"{keys['provider']} IS NOT DISTINCT FROM", f"{keys['model']} IN"
    return " OR ".join(
        f"({provider_is} {literal(provider)} AND {model_in} ({', '.join(map(literal, names))}))"
        for provider, names in by_provider.items()
    )


def _sum_cells(
    con: duckdb.DuckDBPyConnection, relation: Relation, rows: str, name: str, keys: Mapping[str, str]
) -> None:
    fixed = {k for k, sql in keys.items() if k in DIMENSIONS and k not in relation.dimensions}
    varying = [k for k in KEYS if k not in fixed]
    sums = ", ".join(f"CAST({_sum(b)} AS HUGEINT) AS {b}" for b in relation.buckets)
    # Counts of a rejected row may be anything, too large to be added among them.
    counted = {k: f"CASE WHEN problem IS NULL THEN {keys[k]} END" for k in ("slot", "tier", "mask")}
    picked = ", ".join(f"{counted.get(k, keys[k])} AS {k}" for k in varying)
    times = "" if relation.columnar else ' min("at") AS first, max("at") AS last,'
    inner = (
        f"SELECT problem, {picked}, count(*) AS n,{times} {sums} FROM {rows}"
        f" GROUP BY {', '.join(str(i + 1) for i in range(len(varying) + 1))}"
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name}_raw AS {inner}")
    outer = [f"{keys[k]} AS {k}" if k in fixed else k for k in KEYS]
    outer += ["n", *(b if b in relation.buckets else f"CAST(0 AS HUGEINT) AS {b}" for b in BUCKET_NAMES)]
    _view(con, f"{name}_cells", f"SELECT {', '.join(outer)} FROM {name}_raw WHERE problem IS NULL")


def _first_and_last(
    con: duckdb.DuckDBPyConnection, relation: Relation, rows: str, name: str
) -> tuple[datetime | None, datetime | None]:
    """The first and last time of the accepted rows. Where a column can be read alone, it is looked up in the first and
    last day: a tenth of what it costs to keep both times for every cell."""
    accepted = "problem IS NULL"
    if not relation.columnar:
        first, last = one_row(con, f"SELECT min(first), max(last) FROM {name}_raw WHERE {accepted}")
        return first, last
    day, last_day = one_row(con, f"SELECT min(day), max(day) FROM {name}_raw WHERE {accepted}")
    if day is None:
        return None, None
    until, since = day + timedelta(days=1), last_day
    (first,) = one_row(con, f'SELECT min("at") FROM {rows} WHERE "at" < TIMESTAMP \'{until}\' AND {accepted}')
    (last,) = one_row(con, f'SELECT max("at") FROM {rows} WHERE "at" >= TIMESTAMP \'{since}\' AND {accepted}')
    return first, last


def _sum(bucket: str) -> str:
    """The exact sum of a bucket. Where no log can overflow 63 bits (9.2e10 rows of MAX_COUNT each), the sum that
    doesn't watch for it: it takes a fifth off the scan. Rows with a problem may wrap; their sums aren't read."""
    return f"sum_no_overflow({bucket})" if bucket_limit(bucket) <= MAX_COUNT else f"sum({bucket})"


def _view(con: duckdb.DuckDBPyConnection, name: str, sql: str) -> None:
    con.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS {sql}")


def _group_outputs(
    con: duckdb.DuckDBPyConnection, relation: Relation, rows: str, name: str, grouping: Grouping
) -> None:
    full = canonical(relation, rows)
    dims = ", ".join(DIMENSIONS)
    empty = "" if grouping.by_id else "LIMIT 0"
    con.execute(
        f'CREATE OR REPLACE TEMP TABLE {name}_outputs AS SELECT {dims}, CAST("at" AS DATE) AS day, output_id,'
        f" count(*) AS n FROM {full} GROUP BY ALL {empty}"
    )
    empty = "" if grouping.gap_s else "LIMIT 0"
    con.execute(f'CREATE OR REPLACE TEMP TABLE {name}_times AS SELECT {dims}, "at" FROM {full} {empty}')


def _sum_blocks(
    con: duckdb.DuckDBPyConnection, relation: Relation, rows: str, name: str, keys: Mapping[str, str]
) -> None:
    """Sums per time block, kept only where there are too few customers to resample."""
    (n_customers,) = one_row(
        con,
        f"SELECT count(DISTINCT customer) FROM (SELECT customer FROM {name}_cells UNION ALL"
        f" SELECT customer FROM {name}_contested)",
    )
    few = n_customers < MIN_CUSTOMERS_TO_RESAMPLE
    picked = ", ".join(f"{keys[k]} AS {k}" for k in KEYS if k not in ("customer", "feature"))
    sums = ", ".join(
        f"CAST(sum({b}) AS HUGEINT) AS {b}" if b in relation.buckets else f"CAST(0 AS HUGEINT) AS {b}"
        for b in BUCKET_NAMES
    )
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {name}_blocks AS SELECT {picked},"
        f' epoch_us("at") // {BLOCK_S * 1_000_000} AS block, count(*) AS n, {sums}'
        f" FROM {rows} {'' if few else 'WHERE false'} GROUP BY ALL"
    )


def _sum_prefixes(con: duckdb.DuckDBPyConnection, relation: Relation, rows: str, name: str) -> None:
    """How often each block of a prompt was read, by model: what an unbounded prefix cache would have kept."""
    if not relation.has_prefix_blocks:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {name}_prefixes (provider VARCHAR, model VARCHAR, block BIGINT, n BIGINT)"
        )
        return
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {name}_prefixes AS SELECT provider, model, block, count(*) AS n FROM"
        f" (SELECT provider, model, unnest(prefix_blocks) AS block FROM {canonical(relation, rows)}) GROUP BY ALL"
    )


def merge(con: duckdb.DuckDBPyConnection, name: str, partials: Iterable[Partial]) -> Partial:
    """One partial from several, in any order and grouping: sums add, contested rows and keys are put together."""
    parts = list(partials)
    result = Partial(name)
    buckets = ", ".join(f"CAST(sum({b}) AS HUGEINT) AS {b}" for b in BUCKET_NAMES)
    block_keys = ", ".join(k for k in KEYS if k not in ("customer", "feature"))

    def union(kind: str) -> str:
        return "(" + " UNION ALL ".join(f"SELECT * FROM {p.name}_{kind}" for p in parts) + ")"

    for kind in ("cells", "contested", "outputs", "times"):
        _view(con, f"{name}_{kind}", f"SELECT * FROM {union(kind)}")
    count = "CAST(sum(n) AS BIGINT) AS n"
    keys = {"blocks": f"{block_keys}, block", "prefixes": "provider, model, block"}
    for kind, sums in (("blocks", f"{count}, {buckets}"), ("prefixes", count)):
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE {name}_{kind} AS SELECT {keys[kind]}, {sums} FROM {union(kind)} GROUP BY ALL"
        )
    for part in parts:
        result.n_accepted += part.n_accepted
        for problem, n in part.rejected.items():
            result.rejected[problem] = result.rejected.get(problem, 0) + n
    result.buckets = tuple(b for b in BUCKET_NAMES if any(b in part.buckets for part in parts))
    result.first = min((p.first for p in parts if p.first), default=None)
    result.last = max((p.last for p in parts if p.last), default=None)
    return result


def rows_at_odds(con: duckdb.DuckDBPyConnection, name: str, within_s: int | None) -> int:
    """Makes `name`_odd, the ids of contested rows that can't be one request. → how many rows have such an id.

    Rows of one id are one request where they name one customer, one model and lie within `within_s` of each other;
    a row that names no customer agrees with all. The rule looks at all rows of an id at once, so that it doesn't
    depend on their order. None: the ids are the vendor's own, and copies are written anew at any later time.
    """
    apart = "" if within_s is None else f' OR max(epoch_us("at")) - min(epoch_us("at")) > {within_s * 1_000_000}'
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {name}_odd AS SELECT request_id, count(*) AS n FROM {name}_contested GROUP BY 1"
        f" HAVING count(DISTINCT customer) > 1 OR count(DISTINCT {_BARE_MODEL}) > 1{apart}"
    )
    return int(one_row(con, f"SELECT coalesce(sum(n), 0) FROM {name}_odd")[0])


def settle(
    con: duckdb.DuckDBPyConnection,
    partial: Partial,
    grid: Grid,
    grouping: Grouping,
    within_s: int | None = SAME_REQUEST_S,
) -> tuple[Partial, int]:
    """Decides the contested rows and adds the winners. → (partial without contested rows, duplicates dropped).

    Rows whose id is that of several requests are rejected, since nobody knows which of them are copies: they are
    counted in `rejected` under AT_ODDS. Of the other rows with one id, the last snapshot counts: the one with the
    most output, then the most tokens, then by every other column, so that the choice doesn't depend on the order of
    the files.
    """
    name = partial.name
    row = one_row(con, f"SELECT count(*) FROM {name}_contested")
    n_contested = int(row[0])
    if not n_contested:
        return partial, 0
    n_at_odds = rows_at_odds(con, name, within_s)
    buckets = partial.buckets
    total = " + ".join(buckets) or "0"
    made = " + ".join(b for b in ("output_tok", "reasoning_tok") if b in buckets) or "0"
    texts = (*DIMENSIONS, "output_id")
    order = f'{made} DESC, {total} DESC, "at", ' + ", ".join(
        f"{c} NULLS LAST" for c in (*texts, *buckets, "prefix_blocks")
    )
    won = f"{name}_won"
    picked = ", ".join(('"at"', "request_id", *texts, *buckets, "prefix_blocks"))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE {won}_rows AS SELECT {picked} FROM {name}_contested"
        + (f" WHERE request_id NOT IN (SELECT request_id FROM {name}_odd)" if n_at_odds else "")
        + f" QUALIFY row_number() OVER (PARTITION BY request_id ORDER BY {order}) = 1"
    )
    none_left = f"SELECT * FROM {name}_contested WHERE false"
    _view(con, f"{won}_contested", none_left)
    winners = Partial(won, buckets=buckets)
    relation = full_relation(f"SELECT * FROM {won}_rows", buckets)
    sum_rows(con, relation, f"({relation.sql})", winners, grid, grouping)
    merged = merge(con, f"{name}_settled", [partial, winners])
    if n_at_odds:
        merged.rejected[AT_ODDS] = n_at_odds
    _view(con, f"{merged.name}_contested", none_left)
    return merged, n_contested - n_at_odds - winners.n_accepted
