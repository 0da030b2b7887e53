"""The break-even as a document (schema solvent.break-even/1), every number a figure with its interval and lineage.

Enter at `break_even_document`. Format: docs/reference/path.md.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from solvent import __version__
from solvent.choose.ages import aged
from solvent.choose.break_even.compare import Compared, compare
from solvent.choose.break_even.file import Named
from solvent.choose.break_even.streams import break_even_volume, electricity_share
from solvent.choose.economics import Array
from solvent.figure import Figure, Figures, Method, exact_text, weakest

SCHEMA = "solvent.break-even/1"
VOLUMES_MTOK = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
UTILISATIONS = (0.1, 0.5, 1.0)
PLACES = 10


def break_even_document(
    named: Named, mtok_per_month: float | None = None, source: str = "", as_of: date | None = None
) -> dict[str, Any]:
    """Every place at every volume, every machine against every API, and the seller's side.

    mtok_per_month: the product's own volume (millions of output tokens), with where it comes from.
    as_of: the day on which the places' ages are judged; None: today.
    """
    judged = as_of or datetime.now(UTC).date()
    compared = compare(named.places)
    maker = _Maker(named, compared)
    volumes = VOLUMES_MTOK if mtok_per_month is None else tuple(sorted({*VOLUMES_MTOK, mtok_per_month}))
    by_volume = [maker.volume(volume, own=volume == mtok_per_month) for volume in volumes]
    pairs = [maker.pair(machine, api, mtok_per_month) for machine in compared.machines for api in compared.apis]
    electricity = [maker.electricity(machine) for machine in compared.machines]
    seller = maker.seller()
    return {
        "schema": SCHEMA,
        "version": __version__,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "unit": "million tokens of output, with the input that comes with them",
        "horizon_months": compared.months,
        "as_of": judged.isoformat(),
        "volume": {"mtok_per_month": exact_text(mtok_per_month), "source": source} if mtok_per_month else None,
        "places": [
            {"id": t.id, "title": t.title, "kind": kind, "method": t.method, "source": t.source,
             "other_model": compared.is_other_model(t.id), **aged(t.date, judged).document()}
            for kind, tables in (("api", named.places.apis), ("subscription", named.places.subscriptions),
                                 ("machine", named.places.machines))
            for t in tables
        ],
        "by_volume": by_volume,
        "break_even": pairs,
        "electricity": electricity,
        "seller": seller,
        "figures": maker.figures.document(),
    }  # fmt: skip


class _Maker:
    def __init__(self, named: Named, compared: Compared) -> None:
        self.named, self.compared, self.figures = named, compared, Figures()
        places = named.places
        self.tables = {t.id: t for t in (*places.apis, *places.subscriptions, *places.machines)}

    def _add(
        self, name: str, label: str, draws: Array, how: tuple[str, str], who: tuple[str, ...], note: str = ""
    ) -> str:
        """A figure of draws; [0] is its value. Where that is infinite it is unknown, and the note says what that is.

        how: unit and formula.   who: the places that it is made of.
        """
        unit, formula = how
        value = float(draws[0])
        low, high = (float(x) for x in np.quantile(draws[1:], [0.05, 0.95], method="inverted_cdf"))
        known = [None if not np.isfinite(x) else _decimal(x) for x in (value, low, high)]
        tables = [self.tables[i] for i in who]
        # A cost over months is never better than a prediction, and no better than the weakest that it is made of.
        method: Method = weakest(["predicted", *(t.method for t in tables)])
        whole = known[0] is not None and known[1] is not None and known[2] is not None
        if whole:
            assert known[0] is not None and known[1] is not None and known[2] is not None
            known[1], known[2] = min(known[1], known[0]), max(known[2], known[0])
        source = "; ".join(f"{t.id}: {t.source}" for t in tables) + f" ({self.named.file})"
        self.figures.add(Figure(name, label, known[0], unit, method, source, formula, (), known[1] if whole else None,
                                known[2] if whole else None, 0.9 if whole else None, note=note))  # fmt: skip
        return name

    def volume(self, mtok: float, own: bool) -> dict[str, Any]:
        """The cost of a million tokens at each place, and which is cheapest in how many draws."""
        c, costs = self.compared, {}
        for place in self.tables:
            costs[place] = c.cost_usd_per_mtok(place, mtok)
        same = [place for place in self.tables if not c.is_other_model(place)]
        first = np.array([costs[place] for place in same]).argmin(axis=0)
        ids = {
            place: self._add(
                f"be_{place}_{mtok:g}_mtok_cost", f"Cost of a million tokens: {self.tables[place].title}, "
                f"{mtok:,.6g} million a month", costs[place],
                ("usd", f"cost of {c.months} months ÷ tokens; whole machines, paid for busy or idle"), (place,),
            )
            for place in self.tables
        }  # fmt: skip
        return {
            "mtok_per_month": exact_text(mtok), "own": own, "figures": ids,
            "cheapest": same[int(first[0])],
            "cheapest_share": {p: round(float(np.mean(first[1:] == i)), 4) for i, p in enumerate(same)},
        }  # fmt: skip

    def pair(self, machine: str, api: str, mtok: float | None) -> dict[str, Any]:
        """One machine against one API: the volume, whether one machine can serve it, and the month."""
        c, name = self.compared, f"be_{machine}_{api}"
        m, who = c.machines[machine], (machine, api)
        volume = np.broadcast_to(break_even_volume(c.comparable(api), m, c.growth, c.months), c.growth.shape)
        capacity = np.broadcast_to(np.asarray(m.mtok_per_month(), np.float64), c.growth.shape)
        once = ", once an open model does as well" if c.is_other_model(api) else ""
        title = f"{self.tables[machine].title} against {self.tables[api].title}{once}"
        ids = {
            "volume": self._add(f"{name}_volume", f"Volume at which it breaks even: {title}", volume,
                                ("mtok/month", "fixed cost ÷ (API's price − power) over the horizon"), who,
                                "never: a token costs more in power than at the API" if np.isinf(volume[0]) else ""),
            "capacity": self._add(f"{name}_capacity", f"What one can serve: {self.tables[machine].title}", capacity,
                                  ("mtok/month", "tokens an hour × usable share of the hours"), (machine,)),
        }  # fmt: skip
        reachable = float(np.mean(volume[1:] <= capacity[1:]))
        found: dict[str, Any] = {
            "machine": machine, "api": api, "figures": ids, "reaches": bool(volume[0] <= capacity[0]),
            "reaches_share": round(reachable, 4), "month": None,
        }  # fmt: skip
        if mtok is not None:
            month = c.break_even_month(machine, api, mtok)
            ids["month"] = self._add(f"{name}_month", f"Month in which it breaks even: {title}", month,
                                     ("months", "first month at whose end it has cost no more"), who,
                                     f"never within {c.months} months" if np.isinf(month[0]) else "")  # fmt: skip
            found["month"] = None if np.isinf(month[0]) else int(month[0])
            found["month_share"] = round(float(np.mean(np.isfinite(month[1:]))), 4)
            found |= self._paid_and_undone(machine, api, mtok, (name, title, ids))
        return found

    def _paid_and_undone(
        self, machine: str, api: str, mtok: float, named: tuple[str, str, dict[str, str]]
    ) -> dict[str, Any]:  # fmt: skip
        """The month in which an owned machine has paid for itself, and the one in which a break-even is undone."""
        c, (name, title, ids), who = self.compared, named, (machine, api)
        undone = c.undone_month(machine, api, mtok)
        ids["undone"] = self._add(
            f"{name}_undone", f"Month in which its break-even is undone: {title}", undone,
            ("months", "first month after it at whose end it has cost more again"), who,
            f"not within {c.months} months" if np.isinf(undone[0]) else "",
        )  # fmt: skip
        found: dict[str, Any] = {
            "undone": None if np.isinf(undone[0]) else int(undone[0]),
            "undone_share": round(float(np.mean(np.isfinite(undone[1:]))), 4),
        }
        if not c.is_rented(machine):
            paid = c.break_even_month(machine, api, mtok, sold=False)
            ids["paid"] = self._add(
                f"{name}_paid", f"Month in which it has paid for itself: {title}", paid,
                ("months", "first month at whose end all that was paid for it is no more than the API"), who,
                f"never within {c.months} months" if np.isinf(paid[0]) else "",
            )  # fmt: skip
            found["paid"] = None if np.isinf(paid[0]) else int(paid[0])
            found["paid_share"] = round(float(np.mean(np.isfinite(paid[1:]))), 4)
        return found

    def electricity(self, machine: str) -> dict[str, Any]:
        c = self.compared
        share = np.broadcast_to(np.asarray(electricity_share(c.machines[machine]), np.float64), c.growth.shape)
        return {
            "machine": machine,
            "figure": self._add(f"be_{machine}_electricity", f"Electricity's share of a busy hour: "
                                f"{self.tables[machine].title}", share,
                                ("share", "busy power × price ÷ what the hour costs"), (machine,)),
        }  # fmt: skip

    def seller(self) -> dict[str, Any] | None:
        table = self.named.places.seller
        if table is None:
            return None
        rows = [self._seller_row(table.machine, table.price, sunk) for sunk in (False, True)]
        return {"machine": table.machine, "price": table.price, "usd_per_kwh": table.usd_per_kwh[0], "rows": rows}

    def _seller_row(self, machine: str, price: str, sunk: bool) -> dict[str, Any]:
        """A seller who buys the machine for it, or has it already."""
        c, key, words = self.compared, *(("sunk", "bought already") if sunk else ("whole", "bought for it"))
        title, pays = self.tables[machine].title, c.seller_utilisation(sunk)
        costs = {
            f"{u:g}": self._add(
                f"be_seller_{key}_{u:g}_cost",
                f"Seller's cost of a million tokens: {title}, {words}, busy {u:.0%}",
                np.broadcast_to(c.seller_cost(u, sunk), c.growth.shape),
                ("usd", "(fixed an hour + utilisation × power) ÷ tokens"), (machine,),
            )
            for u in UTILISATIONS
        }  # fmt: skip
        name = self._add(
            f"be_seller_{key}_utilisation", f"Utilisation at which selling pays: {title}, {words}", pays,
            ("share", "fixed an hour ÷ (tokens an hour × price after the fee − power)"), (machine, price),
            "never: a token brings less than its power" if np.isinf(pays[0]) else "",
        )  # fmt: skip
        return {"sunk": sunk, "costs": costs, "pays": name, "pays_share": round(float(np.mean(pays[1:] <= 1)), 4)}


def _decimal(value: float) -> Decimal:
    return round(Decimal(repr(value)), PLACES)
