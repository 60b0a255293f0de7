"""Everything hosts answered as a file: CSV, NDJSON or JSON, streamed a piece at a time."""

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

import msgspec

from campaigns.answers.results import MOST_ITEMS, PAGE_BYTES, results_after, timestamp

RISKY = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run


def every_item(campaign_id: int) -> Iterator[dict[str, Any]]:
    """Walk over what hosts sent, in order of seq, as `results/` gives it; `rows` is JSON still."""
    after = 0
    while items := results_after(campaign_id, after, MOST_ITEMS, PAGE_BYTES):
        yield from items
        after = items[-1]["seq"]


def rows_of(campaign_id: int) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Walk over every row, each with the item that it is of."""
    for item in every_item(campaign_id):
        for row in msgspec.json.decode(item["rows"]):
            yield item, row


def json_array(campaign_id: int) -> Iterator[bytes]:
    """Write all items as one JSON array, piece by piece."""
    between = b"["
    for item in every_item(campaign_id):
        yield between + msgspec.json.encode(item)
        between = b",\n"
    yield b"]\n" if between != b"[" else b"[]\n"


class _Line:
    """What csv writes into: gives each line back."""

    def write(self, line: str) -> str:
        return line


def csv_lines(names: list[str], rows: Any) -> Iterator[str]:
    """Write a table line by line; cells that a spreadsheet would run are quoted."""
    writer = csv.writer(_Line())
    yield cast(str, writer.writerow(names))
    for row in rows:
        yield cast(str, writer.writerow([_harmless(cell) for cell in row]))


def plain(cell: Any) -> Any:
    """Write times and truth in a table as JSON has them."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return timestamp(cell) if isinstance(cell, datetime) else cell


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(RISKY) else cell
