"""The outcome of `solvent claims` in words and tables; it formats the document and computes nothing.

The verdict comes first, one paragraph with numbers and sources; then relations, corrections, readings, sources.
Texts of the file are shown with controls escaped and never taken for markup.
Enter at `verdict` (the paragraph) and `print_claims` (all of it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from solvent.report.hostile import visible
from solvent.report.numerals import decimal, human, money, significant

Document = Mapping[str, Any]
MAX_LISTED, MAX_READINGS = 12, 4
DIGITS = 4
_TITLES = {
    "consistent": ("All of it can be true", "bold green"),
    "depends": ("True in some readings only", "bold yellow"),
    "inconsistent": ("Not all of it can be true", "bold red"),
    "undecided": ("Undecided", "bold yellow"),
}
_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def verdict(document: Document) -> str:
    """What the check found, in one paragraph."""
    sentences = {
        "consistent": _consistent,
        "depends": _depends,
        "inconsistent": _inconsistent,
        "undecided": _undecided,
    }[document["state"]](document)
    return visible(" ".join([*sentences, *_unchecked(document)]))


def print_claims(document: Document, console: Console) -> None:
    """Prints the verdict, then the tables that it rests on."""
    title, style = _TITLES[document["state"]]
    _say(Text.assemble((title, style), ("  " + visible(document["title"]), "bold")), console)
    if document["question"]:
        _say(Text(visible(document["question"]), style="italic"), console)
    console.print()
    _say(Text(document["verdict"]), console)
    _relations(document, console)
    _corrections(document, console)
    _variants(document, console)
    _sources(document, console)
    if document["note"]:
        _head("Note", console)
        _say(Text(visible(document["note"])), console)


def amount(value: object, claim: Document) -> str:
    """A value in a claim's unit and style, to four digits: $1.30/clip, 25%, 11,300,000 clips/day."""
    number = decimal(value)
    return human(None, "") if number is None else _in_unit(_rounded(number), claim)


def _in_unit(number: Decimal, claim: Document) -> str:
    unit = claim.get("unit") or "1"
    first = claim.get("variants", [claim])[0]
    if str(first.get("stated", "")).endswith("%"):
        return significant(number * 100, 3) + "%"
    if unit == "usd" or unit.startswith("usd/"):
        whole = number == number.to_integral_value()
        text = money(number).removesuffix(".00") if whole else money(number)
        return text + unit.removeprefix("usd")
    return significant(number, DIGITS) + ("" if unit == "1" else f" {unit}")


def span(low: object, high: object, claim: Document) -> str:
    """A range in a claim's unit: '$1.28/clip to $1.38/clip', 'at most 46,000 user', 'anything'."""
    if low is None and high is None:
        return "anything"
    if low is None:
        return f"at most {amount(high, claim)}"
    if high is None:
        return f"at least {amount(low, claim)}"
    first, last = amount(low, claim), amount(high, claim)
    return first if first == last else f"{first} to {last}"


def _consistent(document: Document) -> list[str]:
    n = document["readings"]["n"]
    relations = _count(len(document["relations"]), "relation")
    found = f"The claims can all be true together: {relations} hold within what their wording allows"
    sentences = [found + (f", in each of {n} readings." if n > 1 else ".")]
    if not document["relations"]:
        sentences = ["The file states no relation between its claims, so nothing was checked."]
    name, claim = _headline(document)
    implied = document["readings"]["list"][0]["headline"]
    if claim and implied and n == 1:
        whole = span(implied["low"], implied["high"], claim)
        sentences.append(f"Without it, {_label(name, claim)} would come to {whole}; it is stated as {_stated(claim)}.")
    return sentences


def _depends(document: Document) -> list[str]:
    readings = document["readings"]
    holding = [r for r in readings["list"] if r["state"] == "holds"]
    listed = "; or ".join(_choice(r["choice"], document) for r in holding[:MAX_READINGS])
    more = f"; and {len(holding) - MAX_READINGS} more" if len(holding) > MAX_READINGS else ""
    sentences = [f"It depends on the reading: all relations hold in {len(holding)} of {readings['n']}: {listed}{more}."]
    if readings["n_open"]:
        sentences.append(f"{_count(readings['n_open'], 'reading').capitalize()} stayed undecided.")
    name, claim = _headline(document)
    others = [r["headline"] for r in readings["list"] if r["state"] == "fails" and r["headline"]]
    if claim and others:
        low, high = _widest(others)
        sentences.append(
            f"In the others {_label(name, claim)}, stated as {_stated(claim)} ({_source(claim)}), "
            f"would come to {span(low, high, claim)}."
        )
    never = [v for v in readings["by_variant"] if v["n"] > 1 and not v["n_holding"]]
    if never and len(holding) > MAX_READINGS:
        listed = "; ".join(_choice({v["claim"]: v["reads"]}, document) for v in never[:MAX_LISTED])
        sentences.append(f"No reading holds with {listed}.")
    failing = [r for r in document["relations"] if r["n_readings_broken"]]
    if failing:
        told = (f"“{r.get('why') or r['says']}” in {r['n_readings_broken']} of {r['n_readings']}" for r in failing)
        sentences.append(f"Taken alone, what fails is {', '.join(told)} readings.")
    return sentences


def _inconsistent(document: Document) -> list[str]:
    faults = [relation for relation in document["relations"] if relation["status"] == "units"]
    if faults:
        told = "; ".join(f"“{relation['says']}” ({relation['unit_fault']})" for relation in faults)
        sentences = [f"The units don't agree in {_count(len(faults), 'relation')}: {told}."]
        if document["readings"]["n_holding"]:
            return [*sentences, "The other relations can hold."]
        return [*sentences, "The other relations can't all hold either."]
    corrections = document["corrections"]
    if document["named"]:
        return _named(document, corrections[0])
    sentences = [f"The claims can't all be true: {_failing(document)}."]
    if not corrections:
        reach = "was found before the search ended" if not document["corrections_complete"] else "exists"
        return [*sentences, f"No correction of up to three claims {reach}; a relation or a definition may be wrong."]
    size = len(corrections[0]["claims"])
    what = "a change of any one of" if size == 1 else f"a change of any of these sets of {_word(size)}:"
    listed = "; ".join(_short(correction, document) for correction in corrections[:MAX_LISTED])
    more = f"; and {len(corrections) - MAX_LISTED} more" if len(corrections) > MAX_LISTED else ""
    sentences.append(
        f"The relations don't say which is wrong: {what} {len(corrections)} would let the others be true. "
        f"From the smallest change: {listed}{more}."
    )
    if not document["corrections_complete"]:
        sentences.append("The search ended early; there may be more.")
    return sentences


def _named(document: Document, correction: Document) -> list[str]:
    changes = correction["claims"]
    if len(changes) == 1:
        only = "the only claim whose change alone lets all the others be true"
    else:
        only = f"the only {_word(len(changes))} claims whose change lets all the others be true"
    sentences = [f"The claims can't all be true: {_failing(document)}."]
    for change in changes:
        claim = document["claims"][change["claim"]]
        text = f"{_label(change['claim'], claim)}, stated as {_stated(change)} ({_source(claim)}), "
        text += f"would have to be {span(change['implied_low'], change['implied_high'], change)}"
        sentences.append(text + _times(change) + ".")
        if change["slip_value"] is not None:
            places = _count(abs(change["slip_power_of_ten"]), "place")
            sentences.append(f"With the decimal point moved {places}, {amount(change['slip_value'], change)}, it fits.")
    verb = "It is" if len(changes) == 1 else "They are"
    return [*sentences, f"{verb} {only}."]


def _undecided(document: Document) -> list[str]:
    return [
        "The search ended before it could show that the claims can all be true, or that they can't. "
        "Fewer variants, or relations in which each claim occurs once, make it easier."
    ]


def _unchecked(document: Document) -> list[str]:
    # A claim without a value is a choice between relations, not a number to check.
    names = [n for n, c in document["claims"].items() if not c["checked"] and ("low" in c or "variants" not in c)]
    return [f"No relation checks {', '.join(names)}."] if names and document["relations"] else []


def _failing(document: Document) -> str:
    broken = [relation for relation in document["relations"] if relation["status"] == "broken"]
    if not broken:
        return "each relation could hold alone, but not all together"
    total = len([r for r in document["relations"] if r["status"] in ("broken", "holds")])
    first = broken[0]
    sides = f"“{first['says']}” gives {_side(first['left'])} against {_side(first['right'])}"
    return f"{_word(len(broken))} of {_count(total, 'relation')} {_fails(broken)}; {sides}"


def _fails(broken: Sequence[Any]) -> str:
    return "fails as stated" if len(broken) == 1 else "fail as stated"


def _short(correction: Document, document: Document) -> str:
    """'users 46,150 user instead of 4,500,000 user (97.5 times less)'."""
    parts = []
    for change in correction["claims"]:
        whole = span(change["implied_low"], change["implied_high"], change)
        label = _label(change["claim"], document["claims"][change["claim"]])
        parts.append(f"{label} {whole} instead of {_stated(change)}{_times(change)}")
    return " with ".join(parts)


def _times(change: Document) -> str:
    times = decimal(change["times"])
    if times is None:
        return ""
    return (
        f" ({'at least ' if _ranges(change) else ''}{significant(_rounded(times, 3), 2)} times {change['direction']})"
    )


def _ranges(change: Document) -> bool:
    return bool(change["implied_low"] != change["implied_high"])


def _headline(document: Document) -> tuple[str, Document | None]:
    name = document["readings"]["headline"]
    return (name or "", document["claims"][name] if name else None)


def _label(name: str, claim: Document) -> str:
    return str(claim.get("label") or name)


def _stated(claim: Document) -> str:
    """What a claim says: its exact value, its range, or how many readings it has."""
    if "variants" in claim:
        return _count(len(claim["variants"]), "reading")
    if " to " in claim["stated"]:
        return span(claim["low"], claim["high"], claim)
    number = decimal(claim["value"])
    return human(None, "") if number is None else _in_unit(number, claim)


def _source(claim: Document) -> str:
    parts = [claim["kind"], claim["source"], claim.get("date")]
    return ", ".join(str(part) for part in parts if part)


def _choice(choice: Mapping[str, str], document: Document) -> str:
    parts = [f"{_label(name, document['claims'][name])}: “{reads}”" for name, reads in choice.items()]
    return ", ".join(parts) if parts else "the only one"


def _widest(spans: Sequence[Document]) -> tuple[str | None, str | None]:
    lows, highs = ([s[end] for s in spans] for end in ("low", "high"))
    low = None if None in lows else min(lows, key=Decimal)
    return low, None if None in highs else max(highs, key=Decimal)


def _side(side: Document) -> str:
    value = decimal(side["value"])
    return "no number" if value is None else significant(_rounded(value), DIGITS)


def _rounded(number: Decimal, digits: int = DIGITS) -> Decimal:
    """The number to so many significant digits: the eye's rounding, once."""
    return number if number == 0 else number.quantize(Decimal(1).scaleb(number.adjusted() - digits + 1))


def _word(n: int) -> str:
    return _WORDS[n] if n < len(_WORDS) else str(n)


def _count(n: int, noun: str) -> str:
    return f"{_word(n)} {noun}{'' if n == 1 else 's'}"


def _relations(document: Document, console: Console) -> None:
    several = document["readings"]["n"] > 1
    rows = []
    for relation in document["relations"]:
        style = {"holds": "green", "broken": "red", "units": "red"}.get(relation["status"], "dim")
        sides = [_side(relation[side]) if side in relation else "" for side in ("left", "right")]
        says = relation["says"] + (f"  ({relation['unit_fault']})" if relation["status"] == "units" else "")
        fails = f"{relation['n_readings_broken']} of {relation['n_readings']}"
        rows.append([Text(relation["status"], style=style), says, *sides, *([fails] if several else [])])
    heads = ["", "relation", ">left side", ">right side", *([">fails in"] if several else [])]
    _grid("Relations", heads, rows, console)
    choice = document["readings"]["shown"]
    if choice:
        _say(Text(visible(f"Sides as in the reading {_choice(choice, document)}."), style="dim"), console)


def _corrections(document: Document, console: Console) -> None:
    rows = []
    for correction in document["corrections"][:MAX_LISTED]:
        for change in correction["claims"]:
            claim = document["claims"][change["claim"]]
            implied = span(change["implied_low"], change["implied_high"], change)
            evidence = (
                f"{change['in_broken_relations']} of its {change['in_relations']} relations fail; {claim['kind']}"
            )
            rows.append([_label(change["claim"], claim), _stated(change), implied, evidence])
    title = "The correction" if document["named"] else "Candidates, smallest change first (the evidence is no proof)"
    _grid(title, ("claim", ">stated", "would have to be", "evidence"), rows, console)


def _variants(document: Document, console: Console) -> None:
    name, claim = _headline(document)
    rows, last = [], ""
    for variant in document["readings"]["by_variant"]:
        whole = variant["headline"]
        held = Text(f"{variant['n_holding']} of {variant['n']}", style="green" if variant["n_holding"] else "red")
        label = _label(variant["claim"], document["claims"][variant["claim"]])
        row = ["" if variant["claim"] == last else label, variant["reads"], held]
        if claim:
            row.append(span(whole["low"], whole["high"], claim) if whole else "nothing fits")
        rows.append(row)
        last = variant["claim"]
    heads = ["choice", "reading", ">hold", *([_label(name, claim) + " would be"] if claim else [])]
    _grid("Readings", heads, rows, console)


def _sources(document: Document, console: Console) -> None:
    rows = []
    for name, claim in document["claims"].items():
        if "value" in claim or "variants" in claim:
            notes = [
                claim.get("quote") and f"“{claim['quote']}”",
                claim["source"],
                claim.get("date"),
                claim.get("derived"),
            ]
            rows.append(
                [_label(name, claim), _stated(claim), claim["kind"], "; ".join(str(note) for note in notes if note)]
            )
    _grid("Claims", ("claim", ">stated", "kind", "source"), rows, console)


def _head(title: str, console: Console) -> None:
    console.print()
    _say(Text(visible(title), style="bold"), console)


def _say(text: Text, console: Console) -> None:
    console.print(text, highlight=False, soft_wrap=not console.is_terminal)


def _grid(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], console: Console) -> None:
    """A table under a title; a head that starts with > is set right. Nothing where there are no rows."""
    if not rows:
        return
    _head(title, console)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for head in heads:
        side: Any = "right" if head.startswith(">") else "left"
        table.add_column(Text(visible(head.removeprefix(">"))), justify=side, no_wrap=side == "right")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    console.print(table, highlight=False)
