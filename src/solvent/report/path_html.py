"""The path to viability as the last section of the HTML report: the waterfall, what it leans on, what was turned down.

It formats the document "solvent.path/1" that `attach` put into the statement, and computes positions only.
The waterfall is a list with a small drawing in each row, so that it reads on a phone as at a desk.
Enter at `path_section`, `path_link`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from solvent.report.html_parts import Page, badge, facts, figure_link, unbroken
from solvent.report.markup import Markup, h, join
from solvent.report.numerals import decimal, human, interval, percent

_WIDTH, _HEIGHT = 1000, 22
_IN_THE_WATERFALL = ("path_margin_today_usd", "path_margin_usd")


def path_link(view: Page) -> Markup | None:
    """A line for the verdict that leads to the path."""
    path = view.statement.get("path")
    if path is None:
        return None
    verdict = path["verdict"]
    return h("p", {"class": "way"}, h("a", {"href": "#path"}, f"{verdict.get('short') or verdict['title']} ↓"))


def path_section(view: Page) -> Markup:
    """The section; nothing where the statement holds no path."""
    path = view.statement.get("path")
    if path is None:
        return Markup()
    verdict = path["verdict"]
    return h(
        "section", {"id": "path", "class": f"path {_state(verdict['state'])}"},
        h("h2", None, f"The path to viability: {_lower(verdict['title'])}"),
        h("p", {"class": "line"}, unbroken(verdict["line"])),
        _waterfall(view, path),
        facts(view, [name for name in path["headline"] if name not in _IN_THE_WATERFALL]),
        _turned_down(view, path),
        _assumed(path),
    )  # fmt: skip


def _state(state: str) -> str:
    return state.replace(" ", "-") if state in ("already", "reached", "not reached") else "unknown"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


class _Scale:
    """Dollars to positions: everything that is drawn, zero included, between 0 and 1000."""

    def __init__(self, values: Sequence[Decimal]) -> None:
        self.low, self.high = min([*values, Decimal(0)]), max([*values, Decimal(0)])

    def x(self, value: Decimal) -> float:
        spread = self.high - self.low
        return float((value - self.low) / spread) * _WIDTH if spread else 0.0


def _waterfall(view: Page, path: Mapping[str, Any]) -> Markup | None:
    """A row for each bar: what, the drawing, and the amount that opens its lineage."""
    bars = path["waterfall"]
    if len(bars) < 2:
        return None
    steps = {step["id"]: step for step in path["steps"]}
    margins = [_margin(view, bar, steps) for bar in bars]
    asked = decimal((view.figure("path_policy_margin_usd") or {}).get("value"))
    drawn = [number for bar in bars for key in ("from", "to") if (number := decimal(bar[key])) is not None]
    for figure in margins:
        drawn += [number for key in ("low", "high") if (number := decimal(figure.get(key))) is not None]
    scale = _Scale([*drawn, *([asked] if asked is not None else [])])
    rows = [_row(view, bar, steps.get(bar["id"]), figure, (scale, asked)) for bar, figure in
            zip(bars, margins, strict=True)]  # fmt: skip
    said = ", ".join(f"{bar['label']} {human(_amount(view, bar), 'usd')}" for bar in bars)
    caption = "Bars: the margin, step by step; lines: its 90% interval with the steps so far."
    if asked is not None:
        caption += f" The upright mark at the end is what the policy asks for there: {human(asked, 'usd')}."
    return h(
        "figure", None,
        h("ol", {"class": "steps", "aria-label": f"Waterfall: {said}"}, *rows),
        h("figcaption", None, caption),
    )  # fmt: skip


def _margin(view: Page, bar: Mapping[str, Any], steps: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figure of the margin after a bar."""
    step = steps.get(bar["id"])
    name = step["figures"].get("margin") if step and not bar["total"] else bar["figure"]
    return view.figure(name) or {}


def _amount(view: Page, bar: Mapping[str, Any]) -> Any:
    return (view.figure(bar["figure"]) or {}).get("value")


def _row(
    view: Page, bar: Mapping[str, Any], step: Mapping[str, Any] | None, margin: Mapping[str, Any],
    how: tuple[_Scale, Decimal | None],
) -> Markup:  # fmt: skip
    scale, asked = how
    total = bool(bar["total"]) or step is None
    spread = interval(view.figure(bar["figure"]) or {})
    amount = decimal(_amount(view, bar))
    plus = "+" if not total and amount is not None and amount > 0 else ""
    what = h(
        "div", {"class": "what"}, h("span", {"class": "title"}, bar["label"]), None if total else _notes(view, step)
    )
    cell = h(
        "div", {"class": "amount"},
        h("span", {"class": "value"}, plus, figure_link(view, bar["figure"])),
        h("span", {"class": "spread"}, spread) if spread else None,
    )  # fmt: skip
    drawing = _drawing(bar, total, margin, (scale, asked if bar["id"] == "end" else None))
    return h("li", {"class": "total" if total else None}, what, drawing, cell)


def _drawing(
    bar: Mapping[str, Any], total: bool, margin: Mapping[str, Any], how: tuple[_Scale, Decimal | None]
) -> Markup:
    scale, asked = how
    start, end = (scale.x(decimal(bar[key]) or Decimal(0)) for key in ("from", "to"))
    losing = (end < start) if not total else (decimal(bar["to"]) or 0) < 0
    role = "f-loss" if losing else "f-ink" if total else "f-bar"
    left, width = min(start, end), max(abs(end - start), 2.0)
    parts = [
        h("rect", {"class": "f-pale", "x": f"{scale.x(Decimal(0)):.1f}", "width": "2", "height": _HEIGHT}),
        h("rect", {"class": role, "x": f"{left:.1f}", "y": "4", "width": f"{width:.1f}", "height": _HEIGHT - 8}),
    ]
    low, high = decimal(margin.get("low")), decimal(margin.get("high"))
    if low is not None and high is not None:
        line = f"M{scale.x(low):.1f} {_HEIGHT - 2}H{scale.x(high):.1f}"
        parts.append(h("path", {"class": "s-soft", "d": line, "fill": "none", "stroke-width": "2"}))
    if asked is not None:
        parts.append(h("rect", {"class": "f-ink", "x": f"{scale.x(asked):.1f}", "width": "3", "height": _HEIGHT}))
    box = {"viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "preserveAspectRatio": "none", "aria-hidden": "true"}
    return h("svg", {"class": "bar", **box}, *parts)


def _notes(view: Page, step: Mapping[str, Any] | None) -> Markup | None:
    """What a step asks for: quality, price; and how sure the policy is after it."""
    if step is None:
        return None
    ids = step["figures"]
    parts: list[Any] = [badge(step["method"]) if step["method"] else None]
    if "price" in ids:
        parts.append(["price ", figure_link(view, ids["price"])])
    kept = decimal((view.figure(ids.get("quality")) or {}).get("value"))
    if kept is not None:
        parts.append(
            ["quality ", figure_link(view, ids["quality"]), " of today's"] if kept != 1 else "quality as today"
        )
    if "cost_per_value" in ids:
        parts.append(["compute ", figure_link(view, ids["cost_per_value"]), " per $1"])
    if "probability" in ids:
        parts.append(["policy holds: ", figure_link(view, ids["probability"])])
    said = [part for part in parts if part is not None]
    return h("span", {"class": "quiet"}, *[[" · " if i > 1 else " " if i else "", part] for i, part in enumerate(said)])


def _turned_down(view: Page, path: Mapping[str, Any]) -> Markup | None:
    """Steps that aren't on the path: those that may not be taken first, each with its reason."""
    others = [step for step in path["steps"] if not step["taken"]]
    if not others:
        return None
    barred = [_reason(view, step) for step in others if step.get("barred")]
    rest = [_reason(view, step) for step in others if not step.get("barred")]
    summary = f"{len(rest)} that could be, and aren't needed or have a better one"
    folded = h("details", None, h("summary", None, summary), h("ul", {"class": "plain turned"}, *rest))
    return join((
        h("h3", None, "Steps that aren't on it"),
        h("ul", {"class": "plain turned"}, *barred) if barred else None,
        folded if rest else None,
    ))  # fmt: skip


def _reason(view: Page, step: Mapping[str, Any]) -> Markup:
    """A step that isn't taken: what it would do alone, and why it isn't."""
    name = step["figures"].get("effect")
    effect = decimal((view.figure(name) or {}).get("value"))
    plus = "+" if effect is not None and effect > 0 else ""
    per = " a month. " if view.statement["path"].get("per") == "month" else " in the log. "
    alone = [" alone ", plus, figure_link(view, name), per] if name else " "
    why = step["why"][:1].upper() + step["why"][1:] + "."
    kind = {"class": "over"} if step.get("barred") else None
    return h("li", None, h("b", None, step["title"]), h("span", {"class": "quiet"}, alone), h("span", kind, why))


def _assumed(path: Mapping[str, Any]) -> Markup | None:
    items = [h("li", None, entry["text"], " ", *_lineage(entry)) for entry in path["assumptions"]]
    notes = [h("li", None, note) for note in path["notes"]]
    said = _how(path)
    if not (items or notes or said):
        return None
    return join((
        h("h3", None, "What it leans on") if items or notes else None,
        h("ul", {"class": "plain"}, *items, *notes) if items or notes else None,
        h("p", {"class": "quiet"}, said) if said else None,
    ))  # fmt: skip


def _lineage(entry: Mapping[str, Any]) -> list[Markup | None]:
    """Method, source and date of what a step leans on; that it is stale or undated."""
    age = entry.get("age")
    dated = f", {entry['date']}" if entry.get("date") else ""
    flag = {"stale": ", stale", "undated": ", undated", "later": ", dated later"}.get(str(age), "")
    return [
        badge(entry["method"]) if entry.get("method") else None,
        h("span", {"class": "quiet"}, f" {entry['source']}{dated}{flag}."),
    ]


def _how(path: Mapping[str, Any]) -> str:
    search, policy = path["search"], path["policy"]
    if not search.get("n_sets"):
        return ""
    every = "Every one" if search["exact"] else "The most promising"
    asked = percent(decimal(str(policy["probability"])) or Decimal(0)).replace(".0%", "%")
    floor = percent(decimal(str(policy["quality_floor"])) or Decimal(0)).replace(".0%", "%")
    return (
        f"{every} of {search['n_sets']:,} sets of steps was looked at, in every order, over {search['draws']:,} draws "
        f"of customers and ranges; asked for are the policy at a probability of {asked} and {floor} of today's quality."
    )
