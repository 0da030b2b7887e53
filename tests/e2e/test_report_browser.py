"""The HTML report in a real browser: nothing that a log says runs, and what the script draws is what Python drew.

Needs Chromium (SOLVENT_CHROMIUM, or on the path); without it these are skipped, and tests/unit/report/test_html.py
still parses the same payloads. The browser gets an empty profile and loads one file.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from solvent.report.html import page
from solvent.report.numerals import human

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM = os.environ.get("SOLVENT_CHROMIUM") or next(
    (found for name in BROWSERS if (found := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")

FLAGS_TEXT = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync --virtual-time-budget=20000
"""
# Appended to a copy without the policy, so that only escaping stands between a payload and its effect: sorts and
# filters every table, opens every lineage and all that unfolds in it, and writes down what it saw.
HARNESS = """
<script>
(function () {
  const report = { opened: 0, unfolded: 0, rows: 0, errors: [] };
  window.addEventListener("error", (event) => report.errors.push(String(event.message)));
  const dialog = document.getElementById("lineage");
  const unfold = (depth) => {
    for (const node of dialog.querySelectorAll("details:not([open])")) {
      if (report.unfolded > 3000) return;
      node.open = true;
      node.dispatchEvent(new Event("toggle"));
      report.unfolded += 1;
    }
    if (depth < 6 && dialog.querySelector("details:not([open])")) unfold(depth + 1);
  };
  const open = (node) => {
    node.click();
    report.opened += dialog.open;
    unfold(0);
    dialog.close();
  };
  try {
    document.querySelectorAll("a[data-figure]").forEach(open);
    for (let i = 0; i < 5; i++)
      document.querySelectorAll("button[data-more]:not([hidden])").forEach((node) => node.click());
    document.querySelectorAll("thead button").forEach((node) => { node.click(); node.click(); });
    for (const input of document.querySelectorAll("input[type=search]")) {
      for (const text of ["<", "script", ""]) {
        input.value = text;
        input.dispatchEvent(new Event("input"));
      }
    }
    const select = document.querySelector("select[data-filter]");
    for (const which of ["losing", "earning", ""]) {
      select.value = which;
      select.dispatchEvent(new Event("change"));
    }
    const table = document.querySelector("table[data-table=customers]");
    report.rows = table.tBodies[0].rows.length;
    for (const row of table.tBodies[0].rows) open(row.querySelector("button[data-key=margin_usd]"));
    document.querySelectorAll(".appendix details").forEach((node) => { node.open = true; });
    window.dispatchEvent(new Event("beforeprint"));
    open(document.querySelector("td button.num"));
    document.querySelector("a[data-figure]").click();
  } catch (error) { report.errors.push(String(error)); }
  const said = document.createElement("script");
  said.type = "application/json";
  said.id = "harness";
  said.textContent = JSON.stringify(report).replace(/</g, "\\\\u003c");
  document.body.append(said);
})();
</script>
"""


def _tool(repo: Path, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, repo / "tools" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _golden(repo: Path, name: str) -> Any:
    return json.loads((repo / "tests" / "golden" / "report" / name).read_text("utf-8"))


def _dom(text: str, folder: Path) -> str:
    """The page's document after its scripts ran."""
    file = folder / "report.html"
    file.write_text(text, "utf-8")
    command = [str(CHROMIUM), *FLAGS_TEXT.split(), f"--user-data-dir={folder / 'profile'}", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, timeout=120, env={**os.environ, "HOME": str(folder)})
    dom = done.stdout.decode("utf-8")
    assert "</html>" in dom, done.stderr.decode("utf-8", "replace")[-2000:]
    return dom


def _without_policy(text: str, more: str) -> str:
    bare, n = re.subn(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert n == 1
    return bare.replace("</body>", more + "</body>")


class Dom(HTMLParser):
    """What a dumped document holds: its title, its elements, the cells of its tables, what the harness wrote."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.buttons: list[tuple[str, str, str]] = []
        self.harness = ""
        self._open: tuple[str, dict[str, str | None]] = ("", {})
        self._table = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = (tag, dict(attrs))
        self.tags.append(self._open)
        if tag == "table":
            self._table = dict(attrs).get("data-table") or ""

    def handle_data(self, data: str) -> None:
        tag, attributes = self._open
        if tag == "title":
            self.title += data
        elif tag == "button" and attributes.get("class", "") in ("num", "num negative"):
            self.buttons.append((f"{self._table}/{attributes['data-key']}", attributes.get("title") or "", data))
        elif tag == "script" and attributes.get("id") == "harness":
            self.harness += data

    def handle_endtag(self, tag: str) -> None:
        self._open = ("", {})


OURS_TEXT = """
    html head meta title style body header main footer section div span p h1 h2 h3 a b bdi br button code dd
    details dialog dl dt figcaption figure input li option pre script select summary table tbody td th thead tr
    ul svg g path rect line text tspan
"""


def _assert_tame(dom: Dom, n_scripts: int) -> None:
    assert "pwned" not in dom.title.split("=")[0] and dom.title.endswith("ours"), dom.title
    assert {tag for tag, _ in dom.tags} <= set(OURS_TEXT.split())
    assert sum(tag == "script" for tag, _ in dom.tags) == n_scripts
    for tag, attributes in dom.tags:
        assert not any(name.startswith("on") or name in ("src", "style", "srcdoc") for name in attributes), (
            tag,
            attributes,
        )


@pytest.fixture
def hostile(repo: Path) -> dict[str, Any]:
    made: dict[str, Any] = _tool(repo, "report_payloads").hostile(
        _golden(repo, "statement.json"), _golden(repo, "payloads.json")
    )
    made["verdict"]["title"] += "ours"
    return made


def test_two_hundred_payloads_do_nothing_in_the_page_as_it_is(hostile: dict[str, Any], tmp_path: Path) -> None:
    dom = Dom(_dom(page(hostile), tmp_path))
    _assert_tame(dom, 2)
    assert dom.tags[0] == ("html", {"lang": "en", "class": "live"}), "the page's own script ran"


def test_two_hundred_payloads_do_nothing_without_the_policy(
    hostile: dict[str, Any], repo: Path, tmp_path: Path
) -> None:
    dom = Dom(_dom(_without_policy(page(hostile), HARNESS), tmp_path))
    _assert_tame(dom, 4)
    seen = json.loads(dom.harness)
    n_payloads = len(_golden(repo, "payloads.json"))
    assert seen["errors"] == [] and seen["rows"] == n_payloads >= 200
    assert seen["opened"] > n_payloads + 20 and seen["unfolded"] > 60


@pytest.mark.parametrize(
    "hole", ["<img src=x onerror=\"document.title='pwned'\">", "<script>document.title='pwned'</script>"]
)
def test_the_browser_would_show_a_hole(hole: str, hostile: dict[str, Any], tmp_path: Path) -> None:
    dom = Dom(_dom(_without_policy(page(hostile), hole), tmp_path))
    assert dom.title == "pwned"
    with pytest.raises(AssertionError):
        _assert_tame(dom, 2)


def test_the_policy_stops_what_escaping_would_miss(hostile: dict[str, Any], tmp_path: Path) -> None:
    planted = page(hostile).replace(
        "</main>", "<script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\"></main>"
    )
    assert Dom(_dom(planted, tmp_path)).title.endswith("ours")


VALUES_TEXT = """
    0 -0 1 -1 0.5 0.05 0.005 0.125 0.0125 0.99999 0.9999999999999 9.995 10.005 999.995 999999.994 999999.995
    1000000 1234567.5 1234566.5 12345678 9999999 9999999.5 10000000000 1e13 1e20 1.5e-12 -1.5e-12 9.96e-10 1e-9
    0.00000000099 0.001 0.00099 0.00123456789012345678 -0.0359 0.0000001 0.000000001 0.00000009 -4460.076772034
    84.279606425454618 74416 74416.5 2.5 3.14159 0.8695 0.86951 0.333333333333333333 0.045 0.055 1e-30
    123456789012345678901234567890.123 00012.5 1E3 -7e2 0.10 100.0
"""
VALUES = VALUES_TEXT.split()
UNITS = ("usd", "usd/output", "share", "count", "tok", "ratio", "days", "µs", "outputs/month", "usd/month")


def test_the_script_writes_numbers_as_python_does(repo: Path, tmp_path: Path) -> None:
    statement = _golden(repo, "statement.json")
    columns = [
        {"key": "name", "label": "Name", "unit": "text"},
        *({"key": f"u{i}", "label": u, "unit": u} for i, u in enumerate(UNITS)),
    ]
    rows = [{"name": str(n), **{f"u{i}": value for i in range(len(UNITS))}} for n, value in enumerate(VALUES)]
    statement["tables"]["numbers"] = {
        "label": "Numbers",
        "columns": columns,
        "rows": rows,
        "n_rows": len(rows),
        "shown": len(rows),
    }
    more = """<script>document.querySelectorAll("button[data-more=numbers]").forEach((node) => node.click());
    document.querySelectorAll("table[data-table=numbers] thead button")[0].click();</script>"""
    dom = Dom(_dom(_without_policy(page(statement), more), tmp_path))
    drawn = [(where, exact, shown) for where, exact, shown in dom.buttons if where.startswith("numbers/")]
    assert len(drawn) == len(VALUES) * len(UNITS)
    wrong = [
        (exact, unit, shown, human(exact, unit))
        for where, exact, shown in drawn
        if shown != human(exact, unit := UNITS[int(where.removeprefix("numbers/u"))])
    ]
    assert not wrong, wrong


def test_the_dialog_shows_what_sums_are_made_of(repo: Path, tmp_path: Path) -> None:
    statement = _golden(repo, "statement.json")
    statement["figures"]["cost_usd"]["lines"] = ["9 requests at x/y = 3 USD"]
    for row in statement["tables"]["customers"]["rows"]:
        row |= {
            "_revenue_lineage": [f"seats of {row['customer']}"],
            "_margin_lineage": [f"taken off {row['customer']}"],
        }
    more = """<script>
    const seen = [];
    const lines = (node) => {
      node.click();
      seen.push([...document.querySelectorAll("#lineage .lines")].map((list) => list.textContent).join());
      document.getElementById("lineage").close();
    };
    lines(document.querySelector("a[data-figure=cost_usd]"));
    const row = document.querySelector("table[data-table=customers]").tBodies[0].rows[0];
    seen.push(row.cells[0].textContent);
    for (const key of ["revenue_usd", "margin_usd"]) lines(row.querySelector(`button[data-key=${key}]`));
    document.title = JSON.stringify(seen);
    </script>"""
    dom = Dom(_dom(_without_policy(page(statement), more), tmp_path))
    cost, customer, revenue, margin = json.loads(dom.title)
    assert cost == "9 requests at x/y = 3 USD"
    assert (revenue, margin) == (f"seats of {customer}", f"taken off {customer}")
