"""What `solvent choose` prints: the plan, the offers under the needs, what is left out and why, and the frontiers.

It formats the document, computes nothing. Names come from files: controls are shown escaped, never as markup.
Enter at `print_choice`.
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
from solvent.report.numerals import compact

Document = Mapping[str, Any]
MAX_RANKED, MAX_EXCLUDED, MAX_FRONTIER = 12, 20, 8
_STYLE = {"plan": "bold green", "fragile": "bold yellow", "none": "bold red"}
_TITLE = {"plan": "A plan that holds", "fragile": "A plan that may not hold", "none": "No plan"}
_AXES = {
    "ttft_s": ("first token within", "s"),
    "itl_s": ("between tokens at most", "s"),
    "quality_floor": ("quality at least", ""),
    "power_cap_w": ("power at most", "W"),
}


def print_choice(document: Document, console: Console) -> None:
    """The verdict first, then the plan, what would have to give way, the offers, and what the needs cost."""
    verdict = document["verdict"]
    style = _STYLE[verdict["state"]]
    _say(console, Text.assemble((f"{_TITLE[verdict['state']]}: ", style), visible(verdict["line"])))
    day = {key: _value(document, f"demand.{key}") for key in ("outputs", "input_tok", "output_tok")}
    demand = f"{_amount(day['outputs'])} {document['output']}s a day, "
    demand += f"{_amount(day['input_tok'])} tokens read, {_amount(day['output_tok'])} written"
    _say(console, Text(visible(f"Demand: {demand} ({document['demand']['source']})"), style="dim"))
    if document["demand"]["note"]:
        _say(console, Text(visible(document["demand"]["note"]), style="dim"))
    if needs := _needs(document["needs"]):
        _say(console, Text(visible("Needs: " + needs)))
    if document["plan"]:
        _plan(document, console)
    _relax(document, console)
    _ranked(document, console)
    _excluded(document, console)
    for axis, points in document["frontiers"].items():
        _frontier(document, axis, points, console)


def _say(console: Console, text: Text) -> None:
    console.print(text, soft_wrap=True)


def _value(document: Document, figure: str | None) -> Decimal | None:
    text = document["figures"][figure]["value"] if figure else None
    return None if text is None else Decimal(text)


def _amount(value: Any) -> str:
    return "unknown" if value is None else compact(Decimal(str(value)))


def _usd(document: Document, figure: str | None) -> str:
    """Dollars with the interval of the figure, where it has one."""
    value = _value(document, figure)
    if value is None or figure is None:
        return "unknown"
    found = document["figures"][figure]
    text = _money(value)
    low, high = found.get("low"), found.get("high")
    if low is not None and high is not None and low != high:
        text += f" ({_money(Decimal(low))}–{_money(Decimal(high))})"
    return text


def _money(value: Decimal) -> str:
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3g}" if value else "0"


def _share(value: Any) -> str:
    return "–" if value is None else f"{float(value):.0%}"


def _needs(needs: Mapping[str, Any]) -> str:
    stated = {key: value for key, value in needs.items() if (key, value) != ("headroom", 0.0)}
    return ", ".join(f"{k} {', '.join(v) if isinstance(v, list | tuple) else format(v)}" for k, v in stated.items())


def _plan(document: Document, console: Console) -> None:
    plan, robust = document["plan"], document["robust"]
    table = Table(box=box.SIMPLE, title="The plan of a day", title_justify="left")
    for name in ("Offer", "Model", "Machines", "Share of the day", "USD/day", "Idle"):
        table.add_column(name, justify="left" if name in ("Offer", "Model") else "right", overflow="fold")
    for use in plan["uses"]:
        count = _span(use["machines_by_hour"]) if use["kind"] != "api" else "–"
        hours = use["share_by_hour"]
        table.add_row(
            Text(visible(use["offer"])), Text(visible(use["model"])), count,
            _shares(hours), _usd(document, use["usd_per_day"]),
            _share(use["idle_share"]),
        )  # fmt: skip
    console.print(table)
    facts = [f"{_usd(document, plan['usd_per_day'])} USD/day"]
    facts.append(f"{_usd(document, plan['cost_per_output_usd'])} USD/{document['output']}")
    facts.append(f"no plan is more than {float(_value(document, plan['gap']) or 0):.2%} cheaper")
    if _value(document, plan["watts_peak"]):
        facts.append(f"{_amount(_value(document, plan['watts_peak']))} W at most")
    _say(console, Text(visible("; ".join(facts))))
    if robust.get("price_usd_per_day"):
        _say(console, Text(visible(_robust_line(document))))
    if len(robust["budgets"]) > 1:
        _budgets(document, console)


def _robust_line(document: Document) -> str:
    """What holding at the bad ends costs, and how often each plan would serve every hour."""
    robust = document["robust"]
    holds = _share(_value(document, robust["robust_holds"]))
    if not _value(document, robust["price_usd_per_day"]):
        return f"It is the cheapest at the point values too; it holds in {holds} of the draws."
    dearer = f"{_usd(document, robust['price_usd_per_day'])} USD/day more than the cheapest at the point values"
    point = f"{_usd(document, robust['point_usd_per_day'])} USD/day, which holds in "
    point += f"{_share(_value(document, robust['point_holds']))} of the draws; this one in {holds}"
    ends = "the bad 90% ends" if "n_bad_ends" not in document["needs"] else "so many bad ends"
    return f"Holding at {ends} costs {dearer} ({point})."


def _budgets(document: Document, console: Console) -> None:
    """What a plan costs and how often it fails, by how many choices may be at their bad ends at once."""
    title = "By how many choices may be at their bad ends at once"
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for name in ("Bad ends", "USD/day", "More than at 0", "Fails in"):
        table.add_column(name, justify="right")
    asked = document["needs"].get("n_bad_ends")
    for one in document["robust"]["budgets"]:
        name = "all" if one["n_bad_ends"] is None else str(one["n_bad_ends"])
        usd, point = _value(document, one["usd_per_day"]), _value(document, document["robust"].get("point_usd_per_day"))
        more = "–" if usd is None or not point else f"{usd / point - 1:.1%}"
        fails = f"{float(_value(document, one['fails']) or 0):.1%} of the draws"
        style = "bold" if one["n_bad_ends"] == asked else ""
        table.add_row(name, _usd(document, one["usd_per_day"]), more, fails, style=style)
    console.print(table)


def _span(counts: Sequence[int]) -> str:
    return f"{max(counts):,}" if min(counts) == max(counts) else f"{min(counts):,}–{max(counts):,}"


def _shares(hours: Sequence[float]) -> str:
    least, most = f"{min(hours):.0%}", f"{max(hours):.0%}"
    return f"{most} of each hour" if least == most else f"{least}–{most} of an hour"


def _relax(document: Document, console: Console) -> None:
    relax = document["relax"]
    if not relax:
        return
    if relax["of"] != "point":
        _say(console, Text(visible(f"At the bad ends: {relax['line']}"), style="bold"))
    for one in relax["alone"]:
        _say(console, Text(visible(f"Enough alone: {one['line']}")))
    for one in relax["together"]:
        _say(console, Text(visible(f"Needed together: {one['line']}")))


def _ranked(document: Document, console: Console) -> None:
    if not document["ranked"]:
        return
    title = "Offers that meet the needs at their point values, each as if it served alone"
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for name in ("Offer", "Kind", "USD/day", "USD/1,000", "Machines", "Idle", "Serves"):
        table.add_column(name, justify="left" if name in ("Offer", "Kind") else "right", overflow="fold")
    for one in document["ranked"][:MAX_RANKED]:
        per = _value(document, one["cost_per_output_usd"])
        thousand = "unknown" if per is None else _money(per * 1000)
        machines = "–" if one["n_machines"] is None else f"{one['n_machines']:,}"
        table.add_row(
            Text(visible(one["offer"])), one["kind"], _usd(document, one["usd_per_day"]), thousand, machines,
            _share(one["idle_share"]), _share(one["share"]),
        )  # fmt: skip
    console.print(table)
    _more(console, document["n_ranked"] - MAX_RANKED, "offers")


def _excluded(document: Document, console: Console) -> None:
    if not document["excluded"]:
        return
    _say(console, Text("Left out:", style="bold"))
    for one in document["excluded"][:MAX_EXCLUDED]:
        lines = "; ".join(reason["line"] for reason in one["reasons"])
        _say(console, Text.assemble("  ", (visible(one["offer"]), "bold"), f": {visible(lines)}"))
    _more(console, document["n_excluded"] - MAX_EXCLUDED, "offers left out")


def _frontier(document: Document, axis: str, points: Sequence[Mapping[str, Any]], console: Console) -> None:
    if len(points) < 2:
        return
    label, unit = _AXES[axis]
    steps = []
    for point in points[:MAX_FRONTIER]:
        number = Decimal(str(point["at"]))
        at = f"{compact(number.to_integral_value()) if number >= 1000 else format(float(number), '.4g')} {unit}".strip()
        steps.append(f"{at}: {_money(_value(document, point['usd_per_day']) or Decimal(0))} USD/day")
    _say(console, Text.assemble((f"Cost with {label} ", "bold"), visible(" · ".join(steps))))
    _more(console, len(points) - MAX_FRONTIER, "points")


def _more(console: Console, n: int, what: str) -> None:
    if n > 0:
        _say(console, Text(f"… and {n:,} more {what} (--json has them)", style="dim"))
