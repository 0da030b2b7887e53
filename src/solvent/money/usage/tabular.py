"""Flat logs (CSV, JSONL, Parquet) as a relation of canonical requests: one SQL query, no Python per row.

Every count is checked in the query: a negative, fractional or absurd count, a time that can't be read or
has no zone, a part larger than its whole make the row's `problem`, which rejects the row and is counted.
Counts are read as text or DOUBLE and compared with their floor: DuckDB casts '1.5' to 2 without a word.
What it doesn't do: guess columns (`columns`), aggregate (`cells`), say where a bad row is (`locate`).
Enter at `FlatLog.relation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from solvent.errors import LogError
from solvent.money.usage.columns import CACHED, INCLUSIVE, SECONDS, TEXTS, ColumnMap
from solvent.money.usage.relation import DIMENSIONS, Relation, identifier, literal
from solvent.money.usage.sources import Compression
from solvent.records import BUCKET_BY_NAME, BUCKET_NAMES, MAX_COUNT, bucket_limit

MAX_LINE_BYTES = 32 << 20
EARLIEST, LATEST = "2015-01-01", "2100-01-01"
_ZONED = r":[0-9.]+ ?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?|UTC|GMT|[A-Za-z_]+/[A-Za-z_/+-]+)$"
_SERVICES = {
    "standard": ("standard", "default", "auto", "on_demand", "on-demand", "standard_only"),
    "batch": ("batch", "batches"),
    "flex": ("flex",),
    "priority": ("priority", "fast"),
}
_PROMPT_PARTS = tuple(n for n in BUCKET_NAMES if BUCKET_BY_NAME[n].prompt and n != "input_tok")
_ANTHROPIC = ("claude", "anthropic")
_COMPLETION_PARTS = ("reasoning_tok", "output_audio_tok", "output_image_tok")


@dataclass(frozen=True, slots=True)
class FlatLog:
    """A flat log and how to read it.

    kind: csv, jsonl or parquet.   types: column → DuckDB type (Parquet; text elsewhere).
    zone: IANA zone of times without one; None rejects them.   start, end: the span that the project declares.
    names: path of a copy → name of its original.
    """

    paths: tuple[str, ...]
    kind: str
    map: ColumnMap
    types: dict[str, str]
    zone: str | None = None
    delimiter: str = ","
    header: tuple[str, ...] = ()
    start: datetime | None = None
    end: datetime | None = None
    compression: Compression = "none"
    names: Mapping[str, str] = field(default_factory=dict)

    def relation(self) -> Relation:
        """The canonical requests of this log."""
        return self._relation(self._scan(self.paths))

    def located(self, path: str) -> str:
        """The rows of one file with `row_no` (from 1) and `problem`, for messages that say where."""
        number = "file_row_number + 1" if self.kind == "parquet" else "row_number() OVER ()"
        return self._canonical(self._scan((path,), f"{number} AS row_no, "), ("row_no",))

    def name(self, path: str) -> str:
        """How messages call a file: its own name where `path` is a copy of it."""
        return self.names.get(path, path)

    # ------------------------------------------------------------------ the query, inside out

    def _scan(self, paths: Sequence[str], first: str = "") -> str:
        raw = first + ", ".join(f"{sql} AS {identifier(name)}" for name, sql in self._raws().items())
        if self.kind == "parquet":
            # A folder called customer=x is no column: it would replace the file's own.
            option = "file_row_number" if first else "union_by_name"
            options = f"hive_partitioning=false, {option}={'true' if first or len(paths) > 1 else 'false'}"
            return f"SELECT {raw} FROM read_parquet({path_list(paths)}, {options})"
        if self.kind == "csv":
            return f"SELECT {raw} FROM {self._read_csv(paths)}"
        return f"SELECT {raw} FROM {self._read_json(paths)}"

    def _read_json(self, paths: Sequence[str]) -> str:
        paths_in = [self._path(source) for source in self.map.columns.values()]
        tops = sorted({path[0] for path in paths_in})
        if len({top.casefold() for top in tops}) < len(tops):
            raise LogError(paths[0], f"keys that differ in case alone among {tops}", "keys that differ otherwise")
        nested = {path[0] for path in paths_in if len(path) > 1} | {self.map.columns.get("prefix_blocks", "")}
        columns = ", ".join(f"{literal(top)}: {literal('JSON' if top in nested else 'VARCHAR')}" for top in tops)
        return (
            f"read_json({path_list(paths)}, format='newline_delimited', ignore_errors=true, hive_partitioning=false,"
            f" compression={literal(self.compression)}, maximum_object_size={MAX_LINE_BYTES}, columns={{{columns}}})"
        )

    def _read_csv(self, paths: Sequence[str]) -> str:
        """Columns by place, since names may differ in case alone. Rejects are stored: after a broken quote,
        `ignore_errors` would lose the rest of the file, without a word."""
        columns = ", ".join(f"c{i}: 'VARCHAR'" for i in range(len(self.header)))
        return (
            f"read_csv({path_list(paths)}, auto_detect=false, header=true, delim={literal(self.delimiter)}, quote='\"',"
            f" escape='\"', max_line_size={MAX_LINE_BYTES}, store_rejects=true, hive_partitioning=false,"
            f" compression={literal(self.compression)}, columns={{{columns}}})"
        )

    def structure_check(self) -> str:
        """A scan that counts the rows and fills DuckDB's table of lines that aren't CSV rows; only CSV has such lines.

        It reads every mapped column: a cell that isn't UTF-8 is found by whoever reads it.
        """
        cells = ", ".join(f"count({sql})" for sql in self._raws().values())
        return f"SELECT count(*), {cells} FROM {self._read_csv(self.paths)}"

    def _raws(self) -> dict[str, str]:
        return {"raw_" + target: self._raw(target, source) for target, source in self.map.columns.items()}

    def _raw(self, target: str, source: str) -> str:
        path = self._path(source)
        if self.kind == "csv":
            return f"c{self.header.index(source)}"
        if self.kind == "jsonl" and len(path) > 1:
            return f"{identifier(path[0])} ->> {literal(_json_path(path[1:]))}"
        column = ".".join(map(identifier, path))
        if self.kind == "jsonl" or target == "prefix_blocks" or (len(path) == 1 and self._as_it_is(target, source)):
            return column
        return f"CAST({column} AS VARCHAR)"

    def _as_it_is(self, target: str, source: str) -> bool:
        """Whether a Parquet column already has a type that its target can be computed from."""
        kind = self.types[source]
        if kind == "VARCHAR" or target in TEXTS:
            return kind == "VARCHAR"
        number = _is_integer(kind) or kind in ("FLOAT", "DOUBLE") or kind.startswith("DECIMAL")
        return number or (target == "at" and _is_time(kind))

    def _path(self, source: str) -> tuple[str, ...]:
        """A column of the log as it stands, else a descent along the dots."""
        return (source,) if source in self.types else tuple(source.split("."))

    def _relation(self, scan: str) -> Relation:
        columns, constants = self.map.columns, self.map.constants
        varying = tuple(d for d in DIMENSIONS if d in columns)
        fixed = {d: (str(constants[d]) if d in constants else None) for d in DIMENSIONS if d not in columns}
        if fixed.get("service") is None and "service" in fixed:
            fixed["service"] = "standard"
        return Relation(
            self._canonical(scan, ()),
            varying,
            fixed,
            self.map.buckets(),
            has_request_id="request_id" in columns,
            has_output_id="output_id" in columns,
            has_prefix_blocks="prefix_blocks" in columns,
            columnar=self.kind == "parquet",
        )

    def _canonical(self, scan: str, keep: tuple[str, ...]) -> str:
        counts = [t for t in (*self.map.columns, *self.map.constants) if t in (*BUCKET_NAMES, *INCLUSIVE, *SECONDS)]
        typed = [f'{self._at()} AS "at"', *(f"{self._count(t)} AS {identifier('n_' + t)}" for t in counts)]
        typed += [f"raw_{t}" for t in self.map.columns]
        typed += list(keep)
        inner = f"SELECT {', '.join(typed)} FROM ({scan})"
        picked = ['"at"', *(self._text(t) for t in TEXTS if t in self.map.columns)]
        picked += [f"{sql} AS {name}" for name, sql in self._bucket_sql().items()]
        if "prefix_blocks" in self.map.columns:
            picked.append(self._blocks())
        picked.append(f"{self._problem(counts)} AS problem")
        picked += list(keep)
        return f"SELECT {', '.join(picked)} FROM ({inner})"

    # ------------------------------------------------------------------ one column each

    def _at(self) -> str:
        """The row's time in UTC: text, epoch seconds/milli/microseconds, native timestamps, or an offset."""
        if "at_offset_ms" in self.map.columns:
            base = self.map.constants.get("at", "")
            offset = "TRY_CAST(raw_at_offset_ms AS DOUBLE)"
            later = f"{_utc(literal(str(base)))} + to_microseconds(CAST({offset} * 1000 AS BIGINT))"
            return f"CASE WHEN {offset} BETWEEN 0 AND 3.2e12 THEN {later} END"
        if "at" not in self.map.columns:
            return _utc(literal(str(self.map.constants.get("at", ""))))
        kind = self._kind("at")
        if kind in ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "DATE") and self.zone in (None, "UTC"):
            return "TRY_CAST(raw_at AS TIMESTAMP)"
        if _is_time(kind):
            return "make_timestamp(epoch_us(TRY_CAST(raw_at AS TIMESTAMPTZ)))"
        number = "TRY_CAST(raw_at AS DOUBLE)"
        epoch = (
            f"CASE WHEN {number} < 1e11 THEN {number} * 1e6 WHEN {number} < 1e14 THEN {number} * 1e3"
            f" WHEN {number} < 1e17 THEN {number} WHEN {number} < 1e20 THEN {number} / 1e3 END"
        )
        if kind != "VARCHAR":
            return f"make_timestamp(TRY_CAST({epoch} AS BIGINT))"
        return f"make_timestamp(coalesce(epoch_us(TRY_CAST(raw_at AS TIMESTAMPTZ)), TRY_CAST({epoch} AS BIGINT)))"

    def _without_zone(self) -> str | None:
        """True where the row's time has no zone and the project states none; None where that can't be."""
        if self.zone is not None:
            return None
        if "at" not in self.map.columns:
            return None
        kind = self._kind("at")
        if kind == "VARCHAR":
            return f"NOT regexp_matches(raw_at, {literal(_ZONED)}) AND TRY_CAST(raw_at AS DOUBLE) IS NULL"
        return "true" if _is_time(kind) and "ZONE" not in kind else None

    def _kind(self, target: str) -> str:
        """The DuckDB type of a target's raw value."""
        source = self.map.columns[target]
        as_it_is = self.kind == "parquet" and self._raw(target, source) == identifier(source)
        return self.types[source] if as_it_is else "VARCHAR"

    def _count(self, target: str) -> str:
        """The count as a number that can still be wrong; `_problem` judges it."""
        if target in self.map.constants:
            return f"TRY_CAST({literal(str(self.map.constants[target]))} AS DOUBLE)"
        if target in SECONDS:
            return f"TRY_CAST(raw_{target} AS DECIMAL(24,6)) * 1000000"
        if _is_integer(self._kind(target)):
            return f"TRY_CAST(raw_{target} AS {'HUGEINT' if 'HUGE' in self._kind(target) else 'BIGINT'})"
        return f"TRY_CAST(raw_{target} AS DOUBLE)"

    def _text(self, target: str) -> str:
        if target == "service":
            return f"{self._service()} AS service"
        # An empty text names nobody: as an id it would make one request of all that have none.
        return f"nullif(raw_{target}, '') AS {target}"

    def _service(self) -> str:
        """The service that the row names; standard where it names none, NULL where nobody knows it."""
        # One function of one column: DuckDB computes it once for each text of a dictionary, and on plain text it beats
        # a list of eleven names, which becomes a join.
        pairs = {"": "standard", **{name: service for service, names in _SERVICES.items() for name in names}}
        entries = ", ".join(f"{literal(name)}: {literal(service)}" for name, service in pairs.items())
        return f"(MAP {{{entries}}})[lower(concat(raw_service))]"

    def _bucket_sql(self) -> dict[str, str]:
        """Disjoint buckets from the mapped counts: an inclusive count minus the parts that are also mapped."""
        present = {*self.map.columns, *self.map.constants}
        sql = {}
        for name in self.map.buckets():
            seconds = next((s for s, us in SECONDS.items() if us == name and s in present), None)
            if name == "input_tok" and "prompt_tok" in present:
                value = " - ".join(["n_prompt_tok", *(_part(p) for p in _PROMPT_PARTS if p in present)])
            elif name == "output_tok" and "completion_tok" in present:
                value = " - ".join(["n_completion_tok", *(_part(p) for p in _COMPLETION_PARTS if p in present)])
            else:
                value = f"coalesce(n_{seconds or name}, 0)"
            sql[name] = f"TRY_CAST({value} AS BIGINT)"
        return sql

    def _blocks(self) -> str:
        kind = self.types.get(self.map.columns["prefix_blocks"], "VARCHAR")
        return (
            "raw_prefix_blocks AS prefix_blocks"
            if kind.endswith("[]")
            else ("TRY_CAST(raw_prefix_blocks AS BIGINT[]) AS prefix_blocks")
        )

    def _problem(self, counts: list[str]) -> str:
        """The first fault of the row as text, or NULL. The order is that of what a user would mend first."""
        present = {*self.map.columns, *self.map.constants}
        faults = [(" AND ".join(f"raw_{t} IS NULL" for t in self.map.columns), "malformed")]
        time = (
            "raw_at"
            if "at" in self.map.columns
            else ("raw_at_offset_ms" if "at_offset_ms" in self.map.columns else None)
        )
        if time:
            faults.append((f"{time} IS NULL", "no_time"))
        stated = "at" in self.map.columns or "at" in self.map.constants
        faults.append(('"at" IS NULL', "bad_time" if stated else "no_day"))
        without_zone = self._without_zone()
        if without_zone:
            faults.append((without_zone, "missing_zone"))
        faults.append((f"\"at\" < TIMESTAMP '{EARLIEST}' OR \"at\" >= TIMESTAMP '{LATEST}'", "absurd_time"))
        for bound, sign in ((self.start, "<"), (self.end, ">=")):
            if bound is not None:
                faults.append(
                    (f'"at" {sign} TIMESTAMP {literal(bound.replace(tzinfo=None).isoformat(" "))}', "outside_span")
                )
        if "model" in self.map.columns:
            faults.append(("raw_model IS NULL OR raw_model = ''", "no_model"))
        if "service" in self.map.columns:
            faults.append((f"{self._service()} IS NULL", "unknown_service"))
        for target in counts:
            faults += self._count_faults(target)
        faults += self._unclear_cache()
        for whole, parts in (("prompt_tok", _PROMPT_PARTS), ("completion_tok", _COMPLETION_PARTS)):
            inside = [p for p in parts if p in present]
            if whole in present and inside:
                faults.append(
                    (f"n_{whole} < " + " + ".join(map(_part, inside)), f"contradiction: {whole} < {' + '.join(inside)}")
                )
        cases = " ".join(f"WHEN {condition} THEN {literal(name)}" for condition, name in faults)
        return f"CASE {cases} END"

    def _unclear_cache(self) -> list[tuple[str, str]]:
        """Cached tokens of Anthropic's models, under names that don't say whether they are inside the input."""
        if self.map.unclear_input is None:
            return []
        anthropic = []
        for target in ("model", "provider"):
            if target in self.map.columns:
                anthropic += [f"contains(lower(raw_{target}), {literal(word)})" for word in _ANTHROPIC]
            elif any(word in str(self.map.constants.get(target, "")).lower() for word in _ANTHROPIC):
                anthropic.append("true")
        if not anthropic:
            return []
        cached = " + ".join(_part(c) for c in CACHED if c in self.map.columns or c in self.map.constants)
        return [(f"{cached} > 0 AND ({' OR '.join(anthropic)})", f"ambiguous_cache: {self.map.unclear_input}")]

    def _count_faults(self, target: str) -> list[tuple[str, str]]:
        limit = bucket_limit(SECONDS.get(target, target)) if target not in INCLUSIVE else MAX_COUNT
        value = f"n_{target}"
        faults = []
        if target in self.map.columns:
            if target in (*INCLUSIVE, "input_tok", "output_tok"):
                faults.append((f"raw_{target} IS NULL", f"no_usage: {target}"))
            faults.append((f"raw_{target} IS NOT NULL AND {value} IS NULL", f"not_a_count: {target}"))
        faults += [(f"{value} < 0", f"negative: {target}"), (f"{value} > {limit}", f"absurd: {target}")]
        if target not in self.map.columns or not _is_integer(self._kind(target)):
            faults.append((f"{value} <> floor({value})", f"not_a_count: {target}"))
        return faults


def _part(name: str) -> str:
    return f"coalesce(n_{name}, 0)"


def _json_path(path: tuple[str, ...]) -> str:
    return "$" + "".join("." + '"' + part.replace('"', "") + '"' for part in path)


def path_list(paths: Sequence[str]) -> str:
    """The paths as an SQL list; DuckDB takes a path for a glob, so the signs of one are bracketed."""
    escaped = ("".join(f"[{c}]" if c in "*?[" else c for c in path) for path in paths)
    return "[" + ", ".join(map(literal, escaped)) + "]"


def _utc(text: str) -> str:
    return f"make_timestamp(epoch_us(TRY_CAST({text} AS TIMESTAMPTZ)))"


def _is_time(kind: str) -> bool:
    return kind.startswith(("TIMESTAMP", "DATE"))


def _is_integer(kind: str) -> bool:
    return kind in (
        "TINYINT",
        "SMALLINT",
        "INTEGER",
        "BIGINT",
        "UTINYINT",
        "USMALLINT",
        "UINTEGER",
        "UBIGINT",
        "HUGEINT",
        "UHUGEINT",
    )
