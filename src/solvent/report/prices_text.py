"""What `solvent prices` prints: cards, conflicts and counts as tables. It formats the document, computes nothing.

Names of models and notes come from catalogues and project files: controls are shown escaped, never as markup.
Enter at `print_model` and `print_summary`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from solvent.report.hostile import visible
from solvent.report.numerals import human

Document = Mapping[str, Any]
MAX_CONFLICTS, MAX_SELLERS, MAX_SOLD_BY = 20, 40, 8
LABELS = {
    "input_usd_per_mtok": "input /Mtok",
    "output_usd_per_mtok": "output /Mtok",
    "cache_read_usd_per_mtok": "cache read /Mtok",
    "cache_write_5m_usd_per_mtok": "cache write 5 min /Mtok",
    "cache_write_1h_usd_per_mtok": "cache write 1 h /Mtok",
    "reasoning_usd_per_mtok": "reasoning /Mtok",
    "input_audio_usd_per_mtok": "audio in /Mtok",
    "cache_read_audio_usd_per_mtok": "audio cache read /Mtok",
    "output_audio_usd_per_mtok": "audio out /Mtok",
    "input_image_usd_per_mtok": "image in /Mtok",
    "output_image_usd_per_mtok": "image out /Mtok",
    "input_video_usd_per_mtok": "video in /Mtok",
    "input_audio_usd_per_hour": "audio in /h",
    "output_audio_usd_per_hour": "audio out /h",
    "output_video_usd_per_s": "video out /s",
    "output_usd_per_image": "image made",
    "input_usd_per_mchar": "characters in /M",
    "web_search_usd_per_1k": "web search /1,000",
    "usd_per_1k_requests": "requests /1,000",
}
_WORDS = ("Source", "Dates", "Card", "Service", "Valid", "When", "Sold by", "Provider/model", "Catalogues")
_NOTES = ("matched", "note")
MAIN = ("input_usd_per_mtok", "output_usd_per_mtok", "cache_read_usd_per_mtok")


def print_model(document: Document, console: Console) -> None:
    """The model, its cards, where sources disagree, and who else sells it."""
    asked = document["asked"]
    name = f"{document['provider']}/{document['model']}" if document["model"] else asked["model"]
    _say(console, Text.assemble((visible(name), "bold"), f"  on {document['day']}, USD"))
    if document["unpriced"]:
        _say(console, Text(visible(f"No price: {document['unpriced']['detail']}"), style="bold red"))
        _say(console, Text(visible(f"To fix: {document['unpriced']['fix']}")))
    if document["cards"]:
        console.print(_cards(document["cards"]))
        for note in sorted({f"{c['source']}: {c[key]}" for c in document["cards"] for key in _NOTES if c[key]}):
            _say(console, Text(visible(note), style="dim"))
    if document["conflicts"]:
        _say(console, Text("Sources disagree by more than 1% (standard service, 12:00 UTC):", style="bold yellow"))
        for conflict in document["conflicts"]:
            prices = ", ".join(f"{source} ${usd}" for source, usd in conflict["prices"].items())
            spread = human(conflict["spread"], "share")
            _say(console, Text(visible(f"  {LABELS[conflict['key']]}: {prices} ({spread} apart)")))
    if document["sellers"]:
        console.print(_sellers(document["sellers"]))
    elif document["sold_by"]:
        named, more = document["sold_by"][:MAX_SOLD_BY], len(document["sold_by"]) - MAX_SOLD_BY
        rest = f" and {more} more (--all)" if more > 0 else ""
        _say(console, Text(visible(f"Also sold by {', '.join(named)}{rest}")))


def print_summary(document: Document, console: Console, everything: bool) -> None:
    """Counts by catalogue, then the models that two of them price differently."""
    _say(console, Text(f"Price catalogues, in order of preference, on {document['day']}", style="bold"))
    table = _table("Source", "Models", "Priced", "Providers", "Cards", "Dated", "Dates")
    for source in document["sources"]:
        dates = f"{source['first_date']} … {source['last_date']}" if source["first_date"] else "none"
        taken = f"; taken {source['taken']}" if source["taken"] else ""
        counts = (source[key] for key in ("n_models", "n_priced", "n_providers", "n_cards", "n_dated"))
        table.add_row(visible(source["source"]), *(human(n, "count") for n in counts), dates + taken)
    console.print(table)
    pairs = _table("Catalogues", "Shared", "Conflict", "Share")
    for pair in document["pairs"]:
        n_shared, n_conflicts = human(pair["n_shared"], "count"), human(pair["n_conflicts"], "count")
        names = " and ".join(map(visible, pair["sources"]))
        pairs.add_row(names, n_shared, n_conflicts, human(pair["conflict_share"], "share"))
    console.print(pairs)
    share = human(document["conflict_share"], "share")
    _say(
        console,
        Text(
            f"{document['n_conflicts']:,} of {document['n_shared']:,} models that two or more catalogues price under"
            f" one name differ by more than 1% ({share}).",
            style="bold",
        ),
    )
    shown = document["conflicts"] if everything else document["conflicts"][:MAX_CONFLICTS]
    if shown:
        console.print(_conflicts(shown))
    if len(shown) < len(document["conflicts"]):
        _say(console, Text(f"{len(document['conflicts']) - len(shown)} more: --all"))


def _cards(cards: Sequence[Document]) -> Table:
    """One row per card, tier and window; columns for the prices that any of them has."""
    keys = [key for key in LABELS if any(key in tier["prices"] for card in cards for _, tier in _lines(card))]
    table = _table("Card", "Service", "Valid", "When", *(LABELS[key] for key in keys))
    for card in cards:
        for place, (when, tier) in enumerate(_lines(card)):
            source = visible(card["source"]) + (" ←" if card["used"] else "")
            head = (source, card["service"], card["valid"]) if place == 0 else ("", "", "")
            table.add_row(*head, when, *(tier["prices"].get(key, "–") for key in keys))
    return table


def _lines(card: Document) -> Iterable[tuple[str, Document]]:
    for hours, tiers in (("", card["tiers"]), *((window["hours"], window["tiers"]) for window in card["windows"])):
        for tier in tiers:
            above = f"above {tier['above_prompt_tok']:,} tok" if tier["above_prompt_tok"] else ""
            yield ", ".join(filter(None, (hours, above))), tier


def _sellers(sellers: Sequence[Document]) -> Table:
    table = _table("Sold by", "Source", *(LABELS[key] for key in MAIN))
    order = sorted(sellers, key=lambda seller: Decimal(seller["prices"].get(MAIN[1], "Infinity")))
    for seller in order[:MAX_SELLERS]:
        prices = (seller["prices"].get(key, "–") for key in MAIN)
        table.add_row(visible(seller["provider"]), visible(seller["source"]), *prices)
    return table


def _conflicts(conflicts: Sequence[Document]) -> Table:
    table = _table("Provider/model", "Off by", "Source", *(LABELS[key] for key in MAIN))
    for conflict in conflicts:
        for place, (source, prices) in enumerate(conflict["prices"].items()):
            name = visible(f"{conflict['provider']}/{conflict['model']}") if place == 0 else ""
            spread = human(conflict["spread"], "share") if place == 0 else ""
            table.add_row(name, spread, visible(source), *(prices.get(key, "–") for key in MAIN))
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in _WORDS else "right", overflow="fold")
    return table


def _say(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)
