"""A stress on a terminal: the line of the verdict, scenarios, combinations, turning points, indices, headlines.

It formats the document "solvent.stress/1" and computes nothing. Texts of files are shown with controls escaped and
never taken for markup. Enter at `print_stress`; `change_words`, `usd`, `times` are the page's words too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from solvent.report.hostile import visible
from solvent.report.numerals import UNKNOWN, decimal, grouped, money, percent, significant

Document = Mapping[str, Any]
_STYLES = {"solvent": "green", "thin": "yellow", "insolvent": "red", "unknown": "yellow"}
INDEX_TITLES = {
    "log10_cost_per_value": "Which assumption decides compute per dollar of value, and with it the verdict",
    "margin_usd": "Which assumption decides the margin",
    "policy_holds": "Which assumption decides whether the policy holds",
}
MAX_INDICES = 8
PER = {"month": "a month", "log": "in the log"}
MAX_NAMED = 6


def print_stress(document: Document, console: Console) -> None:
    """Prints all of it, what matters first."""
    base = document["base"]
    name = str(document["product"].get("name", "this product"))
    head = Text(visible(base["verdict"].capitalize()), style="bold " + _STYLES.get(base["verdict"], ""))
    _say(Text.assemble(head, (f"  {visible(name)}, under stress", "bold")), console)
    _say(Text(visible(document["line"])), console)
    if document["plan_line"]:
        _say(Text(visible(document["plan_line"])), console)
    _scenarios(document, console)
    _plans(document, console)
    _together(document, console)
    _turning(document, console)
    for of, title in INDEX_TITLES.items():
        _indices(document, of, title, console)
    if document["signals"]:
        _signals(document["signals"], console)
    _end(document, console)


def usd(value: object) -> str:
    """Dollars of a month: no cents from $100 up."""
    number = decimal(value)
    if number is None:
        return UNKNOWN
    if abs(number) < 100:
        return money(number)
    return ("−$" if number < 0 else "$") + grouped(abs(number), 0)


def times(value: object, way: str = "times") -> str:
    """×2, to 26% of today's, +0.3; 'no value' where nothing within reach does it."""
    number = decimal(value)
    if number is None:
        return "–"
    text = significant(number, 3)
    if way == "to":
        return f"{percent(number)} of today's"
    return f"×{text}" if way == "times" else ("" if number < 0 else "+") + text


def share_text(value: object) -> str:
    """A share as percent."""
    number = decimal(value)
    return UNKNOWN if number is None else percent(number)


def change_words(change: Document) -> str:
    """'price of the API ×2 (×1.3 to ×3)'."""
    value, way = times(change["value"], change["way"]), change["way"]
    low, high = (times(change[end], way) for end in ("low", "high"))
    return f"{change['label']} {value}" + ("" if low == high else f" ({low} to {high})")


def what_comes(row: Document) -> list[str]:
    """What a scenario's numbers don't say: why it doesn't touch, what stops, what per-outcome revenue would do."""
    lines = list(dict.fromkeys(row["untouched"].values()))
    if row["needs_offers"]:
        share = row["stops_share"]
        when = "" if row["notice_days"] is None else f" in {days(row['notice_days'])}"
        stop = f"{share_text(share)} of compute stops{when}; " if share else ""
        lines.append(f"{stop}whether there is a way out needs offers (--offers)")
    if row["gap"] and (share := row["stops_share"]) != 0:
        lines.append(gap_words(row["gap"], row["notice_days"], share is not None))
    if row["per_outcome_margin_usd"] is not None:
        lines.append(f"sold per outcome at today's revenue, margin would be {usd(row['per_outcome_margin_usd'])}")
    if row["subscriber_pays_usd"] is not None:
        lines.append(f"the subscriber pays {usd(row['subscriber_pays_usd'])} a month for the rest, or goes without")
    return lines


def days(number: object) -> str:
    """'1 day', '2.5 days'."""
    text = significant(found, 3) if (found := decimal(number)) is not None else UNKNOWN
    return f"{text} day{'' if text == '1' else 's'}"


def gap_words(gap: Document, notice_days: int, with_revenue: bool) -> str:
    """How long moving takes, how long nothing is served meanwhile, and the revenue of those days."""
    moving, without, lost = gap["moving_days"], gap["without_days"], gap["revenue_usd"]
    people = f"{gap['people']:,} {'person' if gap['people'] == 1 else 'people'}"
    said = f"moving takes {people} {days(moving[0])} ({_span(moving)}), notice is {days(notice_days)}: "
    if not any(without):
        return said + "no day without service"
    said += f"{days(without[0])} without service ({_span(without)})"
    if lost is None:
        return said + ("; what revenue those days bring isn't known" if with_revenue else "")
    return said + f", in which {usd(lost[0])} of revenue ({usd(lost[1])} to {usd(lost[2])}) is at risk"


def _span(triple: Sequence[float]) -> str:
    low, high = (decimal(end) for end in triple[1:])
    return f"{significant(low, 3)} to {significant(high, 3)}" if low is not None and high is not None else UNKNOWN


def held_words(document: Document) -> list[str]:
    """How many of the things that this leans on are stale or undated, which, and how much of it is assumed."""
    held = document["held"]
    entries = held["entries"]
    lines = []
    n_assumed = sum(entry["method"] in ("assumed", "claimed") for entry in entries)
    lines.append(
        f"Of {len(entries)} numbers and facts that this leans on, {n_assumed} are assumed or claimed; "
        "each has its method, source and date in --json."
    )
    for age, words in (
        ("stale", f"older than {held['stale_after_days']:,} days on {held['as_of']}"),
        ("undated", "undated"),
        ("later", f"dated after {held['as_of']}"),
    ):
        found = [entry for entry in entries if entry["age"] == age]
        if found:
            lines.append(f"{_sentence(words)} ({len(found)}): {_named(found)}.")
    return lines


def _named(entries: Sequence[Document]) -> str:
    """The entries by what they are of, the oldest first."""
    first: dict[str, str] = {}
    for entry in sorted(entries, key=lambda e: (-(e["age_days"] or 0), e["of"])):
        first.setdefault(entry["of"], f"{entry['of']} ({entry['date']})" if entry["date"] else entry["of"])
    names = list(first.values())
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _scenarios(document: Document, console: Console) -> None:
    rows = []
    for row in document["scenarios"]:
        outcome = row["outcome"]
        low, high = usd(row["margin_low_usd"]), usd(row["margin_high_usd"])
        spread = "" if row["margin_low_usd"] is None or low == high else f"{low} to {high}"
        state = Text("→ " if row["flips"] else "") + _state(outcome["verdict"])
        touched = [usd(outcome["margin_usd"]), spread, state] if row["touches"] else ["", "", ""]
        moved = [change_words(c) for c in row["changes"] if c["label"] not in row["untouched"]]
        says = "; ".join([*moved, *what_comes(row), *stale_words(document, row["name"])])
        mark = Text("✗ ", style="red") if row["name"] == document["killer"] else Text("  ")
        rows.append([Text.assemble(mark, visible(row["name"])), *touched, Text(visible(says), style="dim")])
    _grid(
        f"Alone, {PER[document['per']]}",
        ["  scenario", ">margin", ">over its interval", "verdict", "what moves"],
        rows,
        console,
    )


def _plans(document: Document, console: Console) -> None:
    rows = []
    if document["plan"]:
        rows.append(["as things are", *_plan_cells(document["plan"])])
    rows += [[row["name"], *_plan_cells(row["replan"])] for row in document["scenarios"] if row["replan"]]
    rows += [[" + ".join(row["of"]), *_plan_cells(row["replan"])] for row in document["together"] if row["replan"]]
    heads = ["scenario", ">compute", ">margin", "verdict", ">moving costs once", "plan"]
    _grid(f"The cheapest plan, {PER[document['per']]}", heads, rows, console)


def _plan_cells(plan: Document) -> list[Any]:
    once = plan["migration_usd"]
    moving = "" if once is None else f"{usd(once['value'])} ({usd(once['low'])} to {usd(once['high'])})"
    if not plan["feasible"]:
        lost = f"without {plan['lost']}: " if plan["lost"] else ""
        return ["", "", Text("no plan", style="red"), moving, lost + "; ".join(plan["lines"])]
    uses = ", ".join(f"{use['offer']} {share_text(use['cost_share'])}" for use in plan["uses"][:4])
    lost = f" (without {plan['lost']})" if plan["lost"] else ""
    return [usd(plan["compute_usd"]), usd(plan["margin_usd"]), _state(plan["verdict"]), moving, uses + lost]


def stale_words(document: Document, name: str) -> list[str]:
    """'stale: dated 2023-12-31' where what a scenario rests on is older than asked for."""
    dates = {e["date"] for e in document["held"]["entries"] if e["of"] == name and e["age"] == "stale"}
    return [f"stale: dated {min(dates)}"] if dates else []


def _together(document: Document, console: Console) -> None:
    rows = []
    for row in document["together"]:
        if row["touches"] and not row["replan"]:
            title = row["title"] if row["name"].startswith("all") else " + ".join(row["of"])
            rows.append([title + apart_words(row), *together_cells(row)])
    _grid(f"Together, {PER[document['per']]}", ["scenarios", ">margin", "verdict"], rows, console)


def together_cells(row: Document) -> tuple[str, str]:
    """Margin and verdict; where a place is taken away, neither is known without a new plan."""
    if row["unplanned"]:
        return "", "needs offers"
    return usd(row["outcome"]["margin_usd"]), str(row["outcome"]["verdict"])


def apart_words(row: Document) -> str:
    """Which scenarios a group leaves out, because they take a place away and move no amount."""
    return f" (apart from {', '.join(row['apart'])})" if row["apart"] else ""


def _turning(document: Document, console: Console) -> None:
    ways = ways_of(document)
    rows = []
    for point in document["turning_points"]:
        way = ways.get(point["key"], "times")
        rows.append([point["label"], times(point["margin_at"], way), times(point["policy_at"], way)])
    heads = ["assumption", ">margin zero at", ">policy's line at"]
    _grid("How far each may go, all else as today (– where it can't do it alone)", heads, rows, console)


def ways_of(document: Document) -> dict[str, str]:
    """How each assumption is moved: times, plus or to."""
    return {c["assumption"]: c["way"] for row in document["scenarios"] for c in row["changes"]}


def _indices(document: Document, of: str, title: str, console: Console) -> None:
    if not document["sensitivity"]:
        return
    found = document["sensitivity"]["of"][of]
    says = " ".join(filter(None, (policy_words(found) if of == "policy_holds" else "", decides_words(found))))
    if says:
        _head(title, console)
        _say(Text(visible(says)), console)
    rows = [
        [row["label"], two(row["total"]), f"{two(row['total_low'])} to {two(row['total_high'])}", two(row["first"])]
        for row in found["indices"][:MAX_INDICES]
    ]
    heads = ["assumption", ">total index", ">95% interval", ">first order"]
    _grid("" if says else title, heads, rows, console)


def decides_words(found: Document) -> str:
    """'Use per customer decides: …' or which of them the samples can't tell apart; empty without indices."""
    labels = {row["key"]: row["label"] for row in found["indices"]}
    names = [labels[key] for key in found["decides"] if key in labels]
    n = f"{found['n_samples']:,} samples"
    if not names:
        return ""
    if len(names) > 1:
        return f"{_sentence(' or '.join(names))}: their intervals overlap at {n}."
    share = share_text(found["indices"][0]["total"])
    return f"{_sentence(names[0])} decides: with all else known, {share} of the variance would stay ({n})."


def policy_words(found: Document) -> str:
    """'The policy holds in 3.1% of draws.' and why there may be no indices."""
    few = "" if found["indices"] else " That is too few draws on one side to say which assumption put them there."
    return f"The policy holds in {share_text(found['mean'])} of the draws.{few}"


def _signals(signals: Document, console: Console) -> None:
    _head(f"Headlines: {signals['title']}", console)
    _say(Text(visible(signal_words(signals))), console)
    rows = []
    for told in signals["told"]:
        flips = (
            Text("flips to " + told["outcome"]["verdict"], style="red") if told["flips"] else Text(signal_state(told))
        )
        rows.append([told["headline"], told["date"], f"{told['confidence']:g}", flips, told["checked"]])
    _grid("", ["headline", "day", ">confidence", "verdict", "how it was checked"], rows, console)
    for line in plan_signal_words(signals):
        _say(Text(visible(line)), console)


def signal_state(told: Document) -> str:
    """What one headline does, in a word or two."""
    if not told["touches"]:
        return "doesn't touch"
    if not told["is_news"]:
        return "known to the audit"
    return "flips within its interval" if len(told["states"]) > 1 else "stays " + str(told["outcome"]["verdict"])


def plan_signal_words(signals: Document) -> list[str]:
    """What each headline since the audit makes of the cheapest plan of the offers; nothing without offers."""
    lines = []
    for told in signals["told"]:
        plan = told["replan"]
        if plan:
            after = usd(plan["margin_usd"]) if plan["feasible"] else "no plan at all"
            verdict = f"flips from {signals['plan_verdict']} to" if told["flips_plan"] else "stays"
            weak = "" if told["confidence"] >= signals["believed_from"] else f", confidence {told['confidence']:g} only"
            lines.append(
                f"“{told['headline']}” takes the margin of the cheapest plan from {usd(signals['plan_margin_usd'])} to "
                f"{after}; its verdict {verdict} {plan['verdict']}{weak}."
            )
    return lines


def signal_words(signals: Document) -> str:
    """Which verdicts flip since the audit, and which headline did it, in one or two sentences."""
    since = f"Since {signals['since']}" if signals["since"] else "Of all headlines"
    n, floor = len(signals["together_of"]), f"{signals['believed_from']:g}"
    counted = (
        f"{n} of {len(signals['told'])} headlines count (later, touching this product, confidence {floor} or more)"
    )
    if not signals["smallest"]:
        more = "" if signals["exhaustive"] else " among the sets that were looked at"
        return f"{since}, {counted}. No set of them flips the verdict{more}: it stays {signals['base']}."
    after = signals["smallest_outcome"]["verdict"]
    did = " and ".join(signals["smallest"])
    verb = "does" if len(signals["smallest"]) == 1 else "together do"
    return f"{since}, {counted}. {did} {verb} it: {signals['base']} becomes {after}."


def _end(document: Document, console: Console) -> None:
    lines = [electricity_words(document)] if document["electricity"] else []
    if not document["splits_revenue"]:
        lines.append("The report doesn't say what revenue is made of: where use moves, revenue and margin are unknown.")
    lines += held_words(document)
    console.print()
    for line in lines:
        _say(Text(visible(line), style="dim"), console)


def electricity_words(document: Document) -> str:
    """How little of a machine's cost electricity is."""
    found = document["electricity"]
    low, high = (share_text(found[end]) for end in ("low", "high"))
    owned = found.get("owned_share")
    own = "" if owned is None else f"; of what this product's own machines cost it is {share_text(owned)} (the audit)"
    return f"Electricity is {low} to {high} of what a rented machine costs ({found['source']}){own}."


def two(value: object) -> str:
    """Two decimals, as indices are shown."""
    number = decimal(value)
    return UNKNOWN if number is None else f"{number:.2f}".replace("-", "−")


def _state(state: str) -> Text:
    return Text(visible(state), style=_STYLES.get(state, ""))


def _head(title: str, console: Console) -> None:
    console.print()
    _say(Text(visible(title), style="bold"), console)


def _say(text: Text, console: Console) -> None:
    console.print(text, highlight=False, soft_wrap=not console.is_terminal)


def _grid(title: str, heads: Sequence[str], rows: Sequence[Sequence[Any]], console: Console) -> None:
    """A table under a title; a head that starts with > is set right. Nothing where there are no rows."""
    if not rows:
        return
    if title:
        _head(title, console)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for head in heads:
        side: Any = "right" if head.startswith(">") else "left"
        words = Text(visible(head.removeprefix(">")))
        table.add_column(words, justify=side, no_wrap=side == "right", overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    console.print(table, highlight=False)
