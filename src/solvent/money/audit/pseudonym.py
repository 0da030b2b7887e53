"""Names that only the owner of a key can connect with customers, in place of the customers' own.

A feature that holds a customer's name ("acme-chat") gives it away, so the name is replaced there too. What it doesn't
do: look into the names of models and files, of which a note says how many models hold a name.
Enter at `pseudonymiser`, `Hidden`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable

# Shorter names stand in other words by chance.
MIN_CHARS = 4


def pseudonymiser(key: bytes) -> Callable[[str], str]:
    """Customer → a name that only the key's owner can connect: HMAC-SHA-256, 80 bits in base 32."""

    def name(customer: str) -> str:
        digest = hmac.new(key, customer.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        return "c-" + base64.b32encode(digest[:10]).decode("ascii").lower()

    return name


class Hidden:
    """Replaces customers' names within other texts: from the left, the longest name first, as they are written."""

    def __init__(self, customers: Iterable[str], name: Callable[[str], str]) -> None:
        self._customers = {customer for customer in customers if len(customer) >= MIN_CHARS}
        self._lengths = sorted({len(customer) for customer in self._customers}, reverse=True)
        self._name = name

    def __call__(self, text: str) -> str:
        """The text with every name of at least MIN_CHARS characters replaced by its pseudonym."""
        parts: list[str] = []
        at = kept = 0
        while at <= len(text) - MIN_CHARS:
            length = next((n for n in self._lengths if text[at : at + n] in self._customers), 0)
            if length:
                parts += [text[kept:at], self._name(text[at : at + length])]
                kept = at = at + length
            else:
                at += 1
        return "".join([*parts, text[kept:]])

    def holds(self, text: str | None) -> bool:
        """Whether a customer's name stands in the text."""
        return text is not None and self(text) != text
