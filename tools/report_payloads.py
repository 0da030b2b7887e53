"""Writes tests/golden/report/payloads.json: texts that would run, inject or disguise if a report didn't escape them.

Each breaks out of a place where a report puts text (element, attribute, script, style, comment, SVG) and then does
something that a test can see: it sets the document's title to `pwned`. The rest disguise, or aim at spreadsheets,
Markdown, terminals and JavaScript objects. Run: python tools/report_payloads.py
Source: OWASP XSS filter evasion and CSV injection pages; Unicode TR36.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parents[1] / "tests" / "golden" / "report" / "payloads.json"
DO = "document.title='pwned'"
CODE = "document.title=String.fromCharCode(112,119,110,101,100)"

# What ends the place in which the text stands.
BREAKOUTS = (
    "",
    '">',
    "'>",
    '"/>',
    "`>",
    "</script>",
    "</SCRIPT >",
    "</style>",
    "</title>",
    "</textarea>",
    "</button>",
    "</bdi>",
    "</td></tr></table>",
    "</svg>",
    "--></script>",
    "<!--<script>",
    "]]>",
    "</dialog>",
    "</summary></details>",
    "\u0000",
)
# What then does something.
ACTIONS = (
    f"<script>{DO}</script>",
    f"<img src=x onerror={DO}>",
    f"<svg onload={DO}>",
    f"<svg><script>{CODE}</script></svg>",
    f'<iframe srcdoc="<script>parent.{DO}</script>"></iframe>',
    f"<details open ontoggle={DO}>",
    f"<input autofocus onfocus={DO}>",
    f"<body onload={DO}>",
)
OTHERS = (
    f"javascript:{DO}",
    f'" onmouseover="{DO}',
    f"' onfocus='{DO}' autofocus tabindex=1 x='",
    f"x onerror={DO}",
    f"';{DO};//",
    f'";{DO};//',
    f'\\";{DO};//',
    f"`;{DO};//",
    f"${{{DO}}}",
    "${7*7}",
    "{{7*7}}",
    "<%= 7*7 %>",
    "#{7*7}",
    f"<style>@import 'javascript:{DO}';</style>",
    "<style>*{display:none}</style>",
    "</style><style>body{display:none}",
    "<base href=//evil.example/>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    f'<object data="javascript:{DO}">',
    f'<embed src="javascript:{DO}">',
    f'<form action="javascript:{DO}"><input type=submit autofocus>',
    f'<a href="javascript:{DO}">x</a>',
    f"<math><mtext></form><form><mglyph><style></math><img src onerror={DO}>",
    "<template><script>1</script></template>",
    f"<svg><animate onbegin={DO} attributeName=x dur=1s>",
    f"<svg><set attributeName=href to=javascript:{DO}>",
    f'<svg><use href="data:image/svg+xml,<svg onload={DO}>">',
    f'<svg><a xlink:href="javascript:{DO}"><text>x</text></a></svg>',
    f"<video><source onerror={DO}>",
    f"<marquee onstart={DO}>",
    f"<select autofocus onfocus={DO}>",
    "<plaintext>",
    "<xmp>",
    "<noscript>",
    f"<scr<script>ipt>{DO}</scr</script>ipt>",
    f"<ScRiPt>{DO}</sCrIpT>",
    f"<script/x>{DO}</script>",
    f"<script\n>{DO}</script\n>",
    f"&lt;script&gt;{DO}&lt;/script&gt;",
    f"&#60;script&#62;{DO}&#60;/script&#62;",
    f"\\u003cscript\\u003e{DO}\\u003c/script\\u003e",
    f"+ADw-script+AD4-{DO}+ADw-/script+AD4-",
    f"\uff1cscript\uff1e{DO}\uff1c/script\uff1e",
    f"<\u017fcript>{DO}</\u017fcript>",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml version='1.0'?>",
    "<!DOCTYPE html>",
    "&",
    "&amp",
    "&#",
    "<",
    ">",
    '"',
    "'",
    "`",
    "\\",
    "/",
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "__defineGetter__",
    "solvent-statement",
    "lineage",
    "location",
    "\u202egnp.exe",
    "\u2066admin\u2069",
    "a\u200bb",
    "\ufeffx",
    "\u2028x\u2029y",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\x08b",
    "line\nbreak",
    "tab\there",
    "cr\rhere",
    "\x00nul",
    "\x7fdel",
    "\u00adsoft",
    "\U000e0041tag",
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    '=HYPERLINK("http://evil.example","x")',
    "=cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    " =1+1",
    '"=1+1',
    "'=1+1",
    "\u200b=1+1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
    "\u22121+1",
    ";=1+1",
    ",=1+1",
    'x","=1+1',
    "a|b",
    "[x](javascript:alert(1))",
    "![x](http://evil.example/x.png)",
    "<http://evil.example>",
    "http://evil.example",
    "`code`",
    "**bold**",
    "~~gone~~",
    "# head",
    "- item",
    "1. item",
    "> quote",
    "---",
    "[red]x[/red]",
    "[link=http://evil.example]x[/link]",
    "[/]",
    ":smile:",
    "@everyone",
    "../../etc/passwd",
    "C:\\x",
    "%00",
    "%3Cscript%3E",
    "$(id)",
    "`id`",
    "; drop table x; --",
    "' or '1'='1",
    "\u0645\u0631\u062d\u0628\u0627 <b>x</b>",
    "\u05e9\u05dc\u05d5\u05dd\u202d<i>",
    "x" * 300,
    "\U0001f4b8" * 20,
    "a/b/c",
    "a#2",
    "NaN",
    "null",
    "1e5",
    "-1",
    "0",
    "",
)


def payloads() -> list[str]:
    """All payloads, each once."""
    injected = [breakout + ACTIONS[(i + j) % len(ACTIONS)] for i, breakout in enumerate(BREAKOUTS) for j in (0, 3, 5)]
    return list(dict.fromkeys((*injected, *OTHERS)))


def hostile(statement: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """The statement with one of the texts, in turn, wherever a statement holds text; customers carry each of them."""
    turn = cycle(texts)
    said = json.loads(json.dumps(statement))
    said["product"] = {key: next(turn) for key in ("name", "output", "output_plural")}
    said["span"] |= {"zone": next(turn), "end": next(turn)}
    said["verdict"] |= {"title": next(turn), "line": next(turn), "left_out": next(turn)}
    said["verdict"]["policy"]["text"] = next(turn)
    said["version"], said["made_at"] = next(turn), next(turn)
    for figure in said["figures"].values():
        figure |= {key: next(turn) for key in ("label", "source", "formula", "note", "date")}
        figure["lines"] = [next(turn), next(turn)]
    for table in said["tables"].values():
        _fill(table, turn)
    rows = said["tables"]["customers"]["rows"]
    plain = rows[0]
    said["tables"]["customers"]["rows"] = [
        {
            **plain,
            "customer": text,
            "plan": next(turn),
            "margin_usd": str(i - 9),
            "_lineage": [next(turn), next(turn)],
            "_revenue_lineage": [next(turn)],
            "_margin_lineage": [next(turn)],
        }
        for i, text in enumerate(texts)
    ]
    said["tables"]["customers"] |= {"n_rows": len(texts), "shown": len(texts)}
    for entries in (said["left_out"], said["assumptions"], said["break_even"]):
        for entry in entries:
            entry |= {
                key: next(turn) for key in ("reason", "where", "fix", "kind", "text", "source", "what") if key in entry
            }
    said["notes"] = list(texts)
    return said


def _fill(table: dict[str, Any], turn: Iterator[str]) -> None:
    table["label"] = next(turn)
    for column in table["columns"]:
        column |= {key: next(turn) for key in ("label", "formula", "source")}
    texts = [column["key"] for column in table["columns"] if column["unit"] == "text"]
    for row in table["rows"]:
        row |= {key: next(turn) for key in texts}
        row["_lineage"] = [next(turn)]


if __name__ == "__main__":
    TARGET.write_text(json.dumps(payloads(), indent=0, ensure_ascii=True) + "\n", "utf-8")
    print(f"{len(payloads())} payloads")
