"""The product as stress sees it: a month's economics, who runs it, and which revenue follows use.

Read from an audit statement (choose.economics), with what its tables say about vendors, modalities and plans. What a
statement doesn't say is unknown: revenue whose parts aren't in the report can't be split into what follows use and
what doesn't. It applies no scenario. Enter at `from_statement`; `grouped` makes it small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from solvent.choose.economics import Economics
from solvent.choose.economics import from_statement as economics_of
from solvent.choose.stress.scenario_file import Power
from solvent.choose.stress.statement_check import check_numbers
from solvent.errors import ReportError

Array: TypeAlias = npt.NDArray[np.float64]
PartKind = Literal["api", "subscription", "rented", "owned"]
# Heads of the parts that a customer's revenue is made of (docs/reference/revenue.md), by what makes them move.
RECURRING = ("subscription", "seats", "minimum commitment")
BY_USE = ("overage", "outputs", "requests", "input tokens", "cached input tokens", "output tokens", "credits",
          "outcomes", "advertising")  # fmt: skip
CONVERTING = ("conversions", "free tier")
# A residual value may take off more than what is left to pay; no more than this many times.
MAX_SHARE = 1e6
OWN_SHARES = ("_residual_share", "_electricity_share")
_PART = re.compile(r"^(?P<head>[^:]+): .* = (?P<usd>-?\d+(?:\.\d+)?) USD(?: \(.*\))?$")
_NARROWING = re.compile(r"[\[\],]")
_BUCKET_MODALITY = (("video", "video"), ("image", "image"), ("audio", "speech"), ("chars", "speech"))


@dataclass(frozen=True, slots=True)
class Part:
    """A share of compute with one kind, vendor and modality.

    residual_share: what the residual value takes off capital, electricity_share: what electricity is, both as shares
    of the part's cost; None where nobody says what an owned machine was made of.
    """

    kind: PartKind
    vendor: str
    modality: str
    share: float
    residual_share: float | None = None
    electricity_share: float | None = None


@dataclass(frozen=True, slots=True)
class Product:
    """Arrays are by customer, (C,), USD or outputs a month; the last row is what no customer is named for.

    counts: how many customers a row stands for (`grouped`); None: one each.
    recurring, by_use, converting: revenue by what moves it; all NaN where `splits` is false.
    """

    name: str
    output: str
    economics: Economics
    parts: tuple[Part, ...]
    outputs: Array
    compute_usd: Array
    recurring_usd: Array
    by_use_usd: Array
    converting_usd: Array
    splits: bool
    power: Power | None
    as_of: date | None
    has_customers: bool
    counts: Array | None = None

    def vendors(self) -> list[tuple[str, float]]:
        """Vendors by their share of compute, the largest first."""
        shares: dict[str, float] = {}
        for part in self.parts:
            shares[part.vendor] = shares.get(part.vendor, 0.0) + part.share
        return sorted(shares.items(), key=lambda item: (-item[1], item[0]))

    def share(self, *kinds: PartKind) -> float:
        """Share of compute that runs on these kinds of place."""
        return sum(part.share for part in self.parts if part.kind in kinds)

    def owned_electricity(self) -> float | None:
        """What electricity is of its own machines' cost; None where it owns none, or nobody says."""
        known = [(part.share, part.electricity_share) for part in self.parts if part.electricity_share is not None]
        whole = sum(share for share, _ in known)
        return sum(share * electricity for share, electricity in known) / whole if whole else None


def grouped(product: Product, n_groups: int) -> Product:
    """The product with customers of like use put together: for many states at once over many customers.

    Sums stay; a tilt moves a group as if its customers were alike.
    """
    n = len(product.outputs)
    if n <= n_groups:
        return product
    order = np.argsort(product.outputs[:-1], kind="stable")
    # The heaviest half of the groups are single customers: there the tail is decided.
    single = n_groups // 2
    light = np.array_split(order[: n - 1 - single], n_groups - single)
    parts = [*(part for part in light if len(part)), *(order[i : i + 1] for i in range(n - 1 - single, n - 1))]
    parts.append(np.array([n - 1]))

    def sums(values: Array) -> Array:
        return np.array([values[part].sum() for part in parts])

    return replace(
        product, outputs=sums(product.outputs), compute_usd=sums(product.compute_usd),
        recurring_usd=sums(product.recurring_usd), by_use_usd=sums(product.by_use_usd),
        converting_usd=sums(product.converting_usd), counts=np.array([float(len(part)) for part in parts]),
    )  # fmt: skip


def from_statement(document: Mapping[str, Any], power: Power | None = None) -> Product:
    """The product of an audit statement. Raises: ReportError (no statement, or one whose numbers aren't numbers)."""
    check_numbers(document)
    economics = economics_of(document)
    try:
        return _product(document, economics, power)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise ReportError("statement", f"tables that can't be read: {fault}", "a report of `solvent audit`") from None


def _product(document: Mapping[str, Any], economics: Economics, power: Power | None) -> Product:
    rows = document["tables"].get("customers", {}).get("rows", [])
    by_customer = economics.by_customer
    whole_usd = economics.compute_usd.value if economics.compute_usd else 0.0
    n_outputs = economics.n_outputs.value if economics.n_outputs else 0.0
    revenue_usd = economics.revenue_usd.value if economics.revenue_usd else 0.0
    named = np.array([[r or 0.0, c or 0.0, n] for r, c, n in by_customer] or np.zeros((0, 3)))
    rest = np.array([revenue_usd, whole_usd, n_outputs]) - named.sum(axis=0)
    # Rounding leaves a crumb where every customer is named; it is no customer.
    rest[np.abs(rest) < 1e-9 * np.array([revenue_usd, whole_usd, n_outputs]).clip(1e-300)] = 0.0
    table = np.vstack([named, rest.clip(0.0)])
    split = [
        _split(row.get("_revenue_lineage"), revenue) for row, (revenue, _, _) in zip(rows, by_customer, strict=False)
    ]
    known = economics.revenue_usd is not None and bool(split) and None not in split and not rest[0]
    shares = np.array([s or (0.0, 0.0, 0.0) for s in split] + [(0.0, 0.0, 0.0)]) if known else np.zeros((1, 3)) * np.nan
    product = document["product"]
    revenue = [table[:, 0] * shares[:, i] if known else np.full(len(table), np.nan) for i in range(3)]
    names = str(product.get("name", "this product")), str(product.get("output", "output"))
    return Product(
        *names, economics, tuple(_parts(document)), table[:, 2], table[:, 1], revenue[0], revenue[1], revenue[2],
        known, power, _as_of(document), len(by_customer) > 1,
    )  # fmt: skip


def _split(lines: Sequence[str] | None, revenue_usd: float | None) -> tuple[float, float, float] | None:
    """Shares of a customer's revenue that recur, follow use, rest on conversion; None where a part isn't known."""
    if not revenue_usd:
        return (0.0, 0.0, 0.0) if revenue_usd == 0 else None
    sums = [Fraction(0), Fraction(0), Fraction(0)]
    for line in lines or ():
        match = _PART.match(line)
        kinds = [
            i for i, heads in enumerate((RECURRING, BY_USE, CONVERTING)) if match and match["head"].startswith(heads)
        ]
        if match is None or not kinds:
            return None
        sums[kinds[0]] += Fraction(match["usd"])
    total = sum(sums, Fraction(0))
    return None if not total else (float(sums[0] / total), float(sums[1] / total), float(sums[2] / total))


def _parts(document: Mapping[str, Any]) -> Iterable[Part]:
    """Compute by place: the rows of the prices table by kind and vendor, each shared out over modalities."""
    subscribed = str(document["product"].get("name", "")).endswith("USD subscription")
    costs: dict[tuple[PartKind, str], float] = {}
    made_of: dict[tuple[PartKind, str], Mapping[str, Any]] = {}
    for row in document["tables"].get("prices", {}).get("rows", []):
        kind: PartKind = "subscription" if subscribed else "api"
        if row.get("service") == "reserved" and row.get("provider") in ("rented", "owned"):
            kind = row["provider"]
        vendor = str(row["card"] if kind in ("rented", "owned") else row.get("provider") or "unknown")
        # Brackets and commas narrow the key of an assumption.
        vendor = _NARROWING.sub("_", vendor)
        costs[kind, vendor] = costs.get((kind, vendor), 0.0) + float(row["cost_usd"])
        made_of[kind, vendor] = row
    total = sum(costs.values())
    modalities = _modalities(document.get("basis", {}))
    if not total:
        yield Part("subscription" if subscribed else "api", "unknown", "text", 1.0)
        return
    for (kind, vendor), usd in sorted(costs.items(), key=lambda item: -item[1]):
        for modality, share in modalities.items():
            if usd * share:
                own = [_optional_share(made_of[kind, vendor].get(name)) for name in OWN_SHARES]
                yield Part(kind, vendor, modality, usd / total * share, *own)


def _optional_share(text: Any) -> float | None:
    """A share of a machine's cost; none below zero, and none that makes the cost of an hour negative when it goes."""
    number = None if text is None else float(text)
    if number is not None and not 0 <= number <= MAX_SHARE:
        raise ValueError(f"a part of a machine's cost is {text!r} of it")
    return number


def _modalities(basis: Mapping[str, Any]) -> dict[str, float]:
    """Shares of compute by modality, from cost by bucket; all text where the statement doesn't say."""
    costs: dict[str, Fraction] = {}
    for use in basis.get("models", {}).values():
        for bucket, usd in use.get("usd", {}).items():
            modality = next((m for word, m in _BUCKET_MODALITY if word in bucket), "text")
            costs[modality] = costs.get(modality, Fraction(0)) + Fraction(usd)
    total = sum(costs.values(), Fraction(0))
    return {m: float(usd / total) for m, usd in costs.items() if usd} if total else {"text": 1.0}


def _as_of(document: Mapping[str, Any]) -> date | None:
    """The day on which the span of the statement ends: what is reported later is news to it."""
    end = str(document.get("span", {}).get("end") or "")[:10]
    return date.fromisoformat(end) if end else None
