"""The break-even on a terminal: what a million tokens cost where, which machine pays against which API, and the seller.

It formats the document "solvent.break-even/1" and computes nothing. Enter at `break_even_lines`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from solvent.report.hostile import visible
from solvent.report.numerals import decimal, grouped, money, percent, significant

PLAIN_WIDTH = 100
_CELL = 14


def break_even_lines(document: Mapping[str, Any], width: int = PLAIN_WIDTH) -> list[str]:
    """The lines of a break-even document."""
    titles = {place["id"]: visible(place["title"]) for place in document["places"]}
    months = document["horizon_months"]
    what = (
        f"What a million tokens cost by volume (million tokens a month), over {months} months, whole machines paid for "
        "busy or idle; below it the 90% interval; * the cheapest that runs the model"
    )
    lines = textwrap.wrap(what, width)
    lines += ["", *_by_volume(document, titles, width)]
    for pair in document["break_even"]:
        lines += ["", *textwrap.wrap(pair_line(document, pair), width)]
    shares = [f"{titles[e['machine']]} {_share(document['figures'][e['figure']])}" for e in document["electricity"]]
    lines += ["", *textwrap.wrap("Electricity's share of a busy hour: " + "; ".join(shares) + ".", width)]
    if document["seller"]:
        for row in document["seller"]["rows"]:
            lines += ["", *textwrap.wrap(seller_line(document, row), width)]
    if age := age_line(document):
        lines += ["", *textwrap.wrap(age, width)]
    return lines


def _by_volume(document: Mapping[str, Any], titles: Mapping[str, str], width: int) -> list[str]:
    """A row for each place, a column for each volume; * marks the cheapest that runs the same model."""
    figures = document["figures"]
    name = max(len(title) for title in titles.values()) + 1
    columns = _fitting(document["by_volume"], max(1, (width - name) // _CELL))
    lines = ["".ljust(name) + "".join(f"{_mtok(c['mtok_per_month']):>{_CELL - 1}} " for c in columns)]
    for place, title in titles.items():
        cells = [figures[column["figures"][place]] for column in columns]
        stars = ["*" if column["cheapest"] == place else " " for column in columns]
        costs = [f"{_usd(c['value']):>{_CELL - 1}}{star}" for c, star in zip(cells, stars, strict=True)]
        lines.append((title.ljust(name) + "".join(costs)).rstrip())
        lines.append(("".ljust(name) + "".join(f"{short_spread(c):>{_CELL - 1}} " for c in cells)).rstrip())
    return lines


def _fitting(columns: Sequence[Mapping[str, Any]], n: int) -> list[Mapping[str, Any]]:
    """So many columns: the product's own volume, and of the others the larger ones, in order."""
    kept = sorted(range(len(columns)), key=lambda i: (not columns[i]["own"], -i))[:n]
    return [columns[i] for i in sorted(kept)]


def pair_line(document: Mapping[str, Any], pair: Mapping[str, Any]) -> str:
    """One machine against one API in a sentence."""
    figures, ids = document["figures"], pair["figures"]
    volume, capacity = figures[ids["volume"]], figures[ids["capacity"]]
    title = visible(volume["label"]).partition(": ")[2]
    if volume["value"] is None:
        return f"{title}: never; {volume['note'].partition(': ')[2]}."
    said = f"{title}: breaks even at {_amount(volume)} million tokens a month"
    can = f"one can serve {_amount(capacity)} million"
    sure = _percent(pair["reaches_share"])
    verb = "can" if pair["reaches"] else "can't"
    line = f"{said}; {can}, so it {verb} pay (it does in {sure} of draws)."
    if "month" in ids:
        month = pair["month"]
        when = f"in month {month}" if month is not None else "not within the horizon"
        line += f" At this product's volume: {when}{_paid_and_undone(pair)}."
    return line


def _paid_and_undone(pair: Mapping[str, Any]) -> str:
    """When an owned machine has paid for itself without being sold, and when a break-even is undone."""
    said = ""
    if "paid" in pair and pair["month"] is not None:
        when = f"in month {pair['paid']}" if pair["paid"] is not None else "not within the horizon"
        said += f", could it be sold for what it is worth; paid for in full, {when}"
    if pair.get("undone") is not None:
        said += f"; undone in month {pair['undone']}, as the API's price falls"
    return said


def age_line(document: Mapping[str, Any]) -> str:
    """Which places' numbers are stale or undated; empty where none are."""
    found = [f"{visible(place['title'])} ({visible(place['date'] or 'undated')})" for place in document["places"]
             if place.get("age") in ("stale", "undated")]  # fmt: skip
    return f"Stale or undated on {visible(document['as_of'])}: {'; '.join(found)}." if found else ""


def seller_line(document: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The seller's side in a sentence."""
    figures, seller = document["figures"], document["seller"]
    titles = {place["id"]: visible(place["title"]) for place in document["places"]}
    costs = ", ".join(f"{_amount(figures[name])} busy {_percent(u)}" for u, name in row["costs"].items())
    pays = figures[row["pays"]]
    value = decimal(pays["value"])
    when = "never pays" if value is None or value > 1 else f"pays from {_share(pays)} utilisation"
    share = decimal(str(row.get("pays_share", 1)))
    if value is not None and value <= 1 and share is not None and share < 1:
        when += f" (it never does in {_percent(1 - share)} of draws)"
    whose = "that is there anyway" if row["sunk"] else "bought for it"
    machine, price, power = titles[seller["machine"]], titles[seller["price"]], f"${seller['usd_per_kwh']:g} per kWh"
    return (
        f"Selling from a machine {whose} ({machine}), power at {power}: a million tokens cost "
        f"{costs}; at the price that others ask ({price}) it {when}."
    )


def _usd(value: Any) -> str:
    number = decimal(value)
    return "unknown" if number is None else money(number) if number < 100 else f"${grouped(number, 0)}"


def short_spread(figure: Mapping[str, Any]) -> str:
    """'0.16 to 0.91': the interval to two digits, for a narrow column."""
    if figure.get("low") is None:
        return ""
    return f"{_short(figure['low'])} to {_short(figure['high'])}"


def _short(value: Any) -> str:
    number = decimal(value)
    return "?" if number is None else significant(number, 2)


def _amount(figure: Mapping[str, Any]) -> str:
    number, usd = decimal(figure["value"]), "$" if figure["unit"].startswith("usd") else ""
    if number is None:
        return "unknown"
    spread = short_spread(figure)
    return f"{usd}{significant(number, 3)}" + (f" ({spread})" if spread else "")


def _share(figure: Mapping[str, Any]) -> str:
    value, low, high = (decimal(figure.get(key)) for key in ("value", "low", "high"))
    if value is None:
        return "unknown"
    spread = f" ({percent(low)} to {percent(high)})" if low is not None and high is not None else ""
    return percent(value) + spread


def _mtok(value: Any) -> str:
    number = decimal(value)
    return "" if number is None else significant(number, 3)


def _percent(share: object) -> str:
    number = decimal(str(share))
    return "unknown" if number is None else percent(number).replace(".0%", "%")
