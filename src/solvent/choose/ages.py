"""How old what a result leans on is: dated and recent, stale, undated, or dated after the day it is judged on.

It knows no source by name. Enter at `aged`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

# Assumed. Of 646 model ids in two catalogues 15 months apart (tokencost 0.1.26, litellm 1.109.1) 72 had another price:
# about 4% in half a year.
STALE_AFTER_DAYS = 180
Age = Literal["recent", "stale", "undated", "later"]


@dataclass(frozen=True, slots=True)
class Aged:
    """state: stale from the day after `after_days`; later: dated after the day that it is judged on."""

    date: date | None
    age_days: int | None
    state: Age

    def document(self) -> dict[str, Any]:
        return {"date": self.date.isoformat() if self.date else None, "age_days": self.age_days, "age": self.state}


def aged(day: date | str | None, as_of: date, after_days: int = STALE_AFTER_DAYS) -> Aged:
    """The age on `as_of` of something dated `day`. Text that is no day counts as no date."""
    if isinstance(day, str):
        try:
            day = date.fromisoformat(day[:10])
        except ValueError:
            day = None
    if day is None:
        return Aged(None, None, "undated")
    days = (as_of - day).days
    return Aged(day, days, "later" if days < 0 else "stale" if days > after_days else "recent")
