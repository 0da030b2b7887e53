"""The user's own prices: `[[rates]]` tables of solvent.toml, or of the TOML files that `prices.files` names.

One table is one line of a price list: a model's prices in one service, from one prompt length up, in one
span of hours. Tables of the same model, provider, service and validity together make one rate card.
What it doesn't do: choose a price for a request (`catalogue`).
Enter at `OwnRate` and `read_file`; `cards` makes the rate cards. The keys are in docs/reference/prices.md.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from solvent.records import PRICE_KEYS

Usd = Annotated[Decimal, Field(ge=0, le=10**9, max_digits=40, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
_HOURS = re.compile(r"^([01]\d|2[0-4]):([0-5]\d)\s*[-–]\s*([01]\d|2[0-4]):([0-5]\d)$")
MINUTES_PER_DAY = 1440


class OwnRate(BaseModel):
    """One table of the user's own prices, in USD; a price that is left out is unknown, and 0 is free.

    provider: None prices the model at every provider.   assumed: the report labels the cost "assumed".
    valid_from is the first day, valid_to the first day after.   hours_utc: "16:30-00:30", may pass midnight.
    above_prompt_tok: these prices hold for the whole request where its prompt is longer than this.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Name
    provider: Name | None = None
    source: str = Field(default="", max_length=500)
    checked: date | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    service: Literal["standard", "batch", "flex", "priority"] = "standard"
    above_prompt_tok: int = Field(default=0, ge=0, le=10**9)
    hours_utc: str | None = None
    assumed: bool = False

    input_usd_per_mtok: Usd | None = None
    cache_read_usd_per_mtok: Usd | None = None
    cache_write_5m_usd_per_mtok: Usd | None = None
    cache_write_1h_usd_per_mtok: Usd | None = None
    output_usd_per_mtok: Usd | None = None
    reasoning_usd_per_mtok: Usd | None = None
    input_audio_usd_per_mtok: Usd | None = None
    cache_read_audio_usd_per_mtok: Usd | None = None
    output_audio_usd_per_mtok: Usd | None = None
    input_image_usd_per_mtok: Usd | None = None
    output_image_usd_per_mtok: Usd | None = None
    input_video_usd_per_mtok: Usd | None = None
    input_audio_usd_per_hour: Usd | None = None
    output_audio_usd_per_hour: Usd | None = None
    output_video_usd_per_s: Usd | None = None
    output_usd_per_image: Usd | None = None
    input_usd_per_mchar: Usd | None = None
    web_search_usd_per_1k: Usd | None = None
    usd_per_1k_requests: Usd | None = None

    @field_validator("hours_utc")
    @classmethod
    def _is_span(cls, hours: str | None) -> str | None:
        if hours is not None:
            minutes_utc(hours)
        return hours

    @model_validator(mode="after")
    def _is_whole(self) -> OwnRate:
        if not self.prices():
            raise ValueError(f"{self.model!r} has no price; give at least one of {', '.join(PRICE_KEYS[:5])}, …")
        if self.valid_from and self.valid_to and self.valid_from >= self.valid_to:
            raise ValueError(f"valid_to {self.valid_to} is not after valid_from {self.valid_from}")
        return self

    def prices(self) -> dict[str, Decimal]:
        """Price key → USD, of the prices that the table gives."""
        return {key: price for key in PRICE_KEYS if (price := getattr(self, key)) is not None}


def minutes_utc(hours: str) -> tuple[int, int]:
    """"16:30-00:30" → (990, 30): the first minute of the span and the first after it, in minutes of the day."""
    match = _HOURS.match(hours.strip())
    if match is None:
        raise ValueError(f"{hours!r} is not a span of hours such as '16:30-00:30' (UTC)")
    start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if max(start, end) > MINUTES_PER_DAY or start % MINUTES_PER_DAY == end % MINUTES_PER_DAY:
        raise ValueError(f"{hours!r} is not a span within a day")
    return start % MINUTES_PER_DAY, end % MINUTES_PER_DAY
