"""How many rows and bytes one campaign may keep; what does not fit is cut, as whole rows. A limit of 0 is none."""

import sys
from dataclasses import dataclass

import msgspec
from django.conf import settings

from campaigns.models import Campaign
from fleet.counting import plural

Rows = list[dict[str, str]]
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Fitting:
    """What is kept of an answer, as JSON too, and whether something was cut."""

    rows: Rows
    text: bytes
    cut: bool


class Room:
    """How many rows and bytes a campaign may still keep. The caller holds the campaign's lock."""

    def __init__(self, campaign: Campaign) -> None:
        self._rows = (settings.CAMPAIGN_MAX_ROWS or sys.maxsize) - campaign.count_rows
        self._bytes = (settings.CAMPAIGN_MAX_BYTES or sys.maxsize) - campaign.stored_bytes

    def fit(self, rows: Rows) -> Fitting:
        """Take room for an answer; what does not fit is cut, as whole rows."""
        kept, text = rows, _json(rows)
        if len(rows) > self._rows or len(text) > self._bytes:
            kept = self._first_of(rows)
            text = _json(kept)
        self._rows -= len(kept)
        self._bytes -= len(text)
        return Fitting(kept, text, len(kept) < len(rows))

    def _first_of(self, rows: Rows) -> Rows:
        size = len("[]")
        for place, row in enumerate(rows):
            size += len(_json(row)) + len(",")
            if place >= self._rows or size > self._bytes:
                return rows[:place]
        return rows


def _json(content: Rows | dict[str, str]) -> bytes:
    return _encode(content)


def warn_of_cut(campaign: Campaign) -> None:
    """Let the campaign say that answers were cut."""
    rows = f"{settings.CAMPAIGN_MAX_ROWS:,} {plural(settings.CAMPAIGN_MAX_ROWS, 'row')}"
    size = f"{settings.CAMPAIGN_MAX_BYTES:,} {plural(settings.CAMPAIGN_MAX_BYTES, 'byte')}"
    warning = f"answers were cut and are marked as truncated: a campaign keeps {rows} and {size} (0 = no limit)"
    if warning not in campaign.warnings:
        campaign.warnings.append(warning)
