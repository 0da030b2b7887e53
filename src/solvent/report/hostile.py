"""Log content is untrusted: how text is made harmless for a terminal, CSV, Markdown and HTML's embedded JSON.

Nothing is dropped: what a medium would obey is shown escaped, so that a reader sees that it was there.
HTML elements and attributes are escaped by `markup`; here is only the JSON inside a <script>.
Enter at `visible`, `csv_text`, `markdown_text`, `script_json`.
Source: OWASP "CSV Injection"; Unicode TR9 and TR36 (bidirectional overrides); HTML standard, script data states.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

# What a spreadsheet takes for the start of a formula, with the full-width and small forms that some fold to ASCII.
_FORMULA_STARTS = "=+-@＝＋－＠﹦﹢﹣＠﹫−⁼⁺⁻"
# Skipped by spreadsheets (or by people who copy) before a formula: blanks, quotes, invisible characters.
_SKIPPED = re.compile(
    r"[\s\"'`‘’“”«»\x00-\x20\x7f-\xa0\u00ad\u180e\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]*"
)
_MARKDOWN = re.compile(r"([\\`*_\[\]#|~])")
_MARKDOWN_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
# A bare address becomes a link in many renderers; a zero-width-free break keeps it text.
_AUTOLINK = re.compile(r"(?i)\b(https?|ftp|mailto|javascript|data|vbscript|file|www)([:.])")


def visible(text: object) -> str:
    """The text with controls, line breaks, bidirectional overrides and invisible characters shown as escapes."""
    return "".join(c if _harmless(c) else _escape(c) for c in str(text))


def _harmless(c: str) -> bool:
    if " " <= c <= "~":
        return True
    # Cc controls, Cf format (bidi, zero width), Cs surrogates, Co private use, Cn unassigned, Zl, Zp line separators.
    return unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escape(c: str) -> str:
    code = ord(c)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def csv_text(text: object) -> str:
    """A quoted CSV field that no spreadsheet takes for a formula: an apostrophe stands before one that could be."""
    raw = str(text)
    rest = raw[_skipped_end(raw) :]
    risky = raw[:1] in ("\t", "\r", "\n") or rest[:1] in tuple(_FORMULA_STARTS)
    shown = visible(raw)
    return '"' + ("'" if risky else "") + shown.replace('"', '""') + '"'


def _skipped_end(raw: str) -> int:
    match = _SKIPPED.match(raw)
    return match.end() if match else 0


def markdown_text(text: object) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no link, no table border."""
    shown = _MARKDOWN.sub(r"\\\1", visible(text))
    shown = "".join(_MARKDOWN_HTML.get(c, c) for c in shown)
    shown = _AUTOLINK.sub(lambda m: m[1] + f"&#{ord(m[2])};", shown)
    shown = shown.replace("@", "&#64;")
    # Only at the start of a line are these markup; table cells and list items start one.
    return re.sub(r"^(\s*)([-+=]|\d+(?=[.)](?:\s|$)))", lambda m: m[1] + "".join(f"&#{ord(c)};" for c in m[2]), shown)


def script_json(document: Any) -> str:
    """Compact JSON for a <script type="application/json">: pure ASCII, and no character that HTML could read."""
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
