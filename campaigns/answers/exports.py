"""Everything hosts answered as a file: CSV, NDJSON or JSON, streamed a piece at a time."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from campaigns.answers.results import MOST_ITEMS, PAGE_BYTES, results_after, timestamp
from campaigns.answers.rows import RowFilter, every_row, names_of
from campaigns.models import Campaign
from fleet.errors import BadInputError, NotFoundError
from fleet.spreadsheets import HOST_COLUMNS, MARKS, beside, csv_lines, in_order


def every_item(campaign: Campaign, after: int = 0) -> Iterator[dict[str, Any]]:
    """Walk over what hosts sent after a seq, in order, as `results/` gives it; `rows` is JSON still.

    It ends with the last seq of the campaign as it was read: what came since may have columns that it does not know.
    Raise NotFoundError when the campaign was deleted meanwhile: answers may be missing then, and no file looks whole.
    """
    while after < campaign.last_seq and (items := results_after(campaign, after, MOST_ITEMS, PAGE_BYTES)):
        after = items[-1]["seq"]
        yield from (item for item in items if item["seq"] <= campaign.last_seq)
    check_there(campaign)


def check_there(campaign: Campaign) -> None:
    """Raise NotFoundError when the campaign is gone: its answers go after it."""
    if not Campaign.objects.filter(pk=campaign.pk).exists():
        raise NotFoundError(f"campaign {campaign.pk} was deleted meanwhile")


def rows_of(campaign: Campaign) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Walk over every row, each with the item that it is of."""
    for item in every_item(campaign):
        for row in msgspec.json.decode(item["rows"]):
            yield item, row


def rows_as_csv(campaign: Campaign, *, bom: bool = False) -> Iterator[str]:
    """Write every row as a table: who answered, the campaign's columns, and what is to be known of the answer."""
    columns = campaign.columns
    names = [*HOST_COLUMNS, *beside((*HOST_COLUMNS, *MARKS), columns), *MARKS]
    rows = (
        [
            *(item["host"]["hostname"], item["host"]["id"]),
            *(row.get(name, "") for name in columns),
            *(item[mark] for mark in MARKS),
        ]
        for item, row in rows_of(campaign)
    )
    return csv_lines(names, rows, bom=bom)


def found_rows_as_csv(
    campaign: Campaign, filters: RowFilter, columns: Sequence[str], *, bom: bool = False
) -> Iterator[str]:
    """Write the rows that fit, in order, with these columns or all: as they are seen. Raise BadInputError."""
    if unknown := [name for name in columns if name not in campaign.columns]:
        raise BadInputError(f"column {unknown[0]!r} is no column, there are {names_of(campaign)}", "column")
    chosen = list(columns or campaign.columns)
    names = [*HOST_COLUMNS, *beside((*HOST_COLUMNS, *MARKS), chosen), *MARKS]
    rows = (
        [hostname, host_id, *(row.get(name, "") for name in chosen), truncated, late]
        for hostname, host_id, row, truncated, late in every_row(campaign, filters)
    )
    return csv_lines(names, rows, bom=bom)


def rows_as_ndjson(campaign: Campaign) -> Iterator[str]:
    """Write every row as a line of JSON; whose it is and what is to be known of it stand beside the row."""
    for item, row in rows_of(campaign):
        line = {"host": item["host"], "row": in_order(row, campaign.columns), **{mark: item[mark] for mark in MARKS}}
        yield json.dumps(line) + "\n"


def plain(cell: Any) -> Any:
    """Write times in a table as JSON has them."""
    return timestamp(cell) if isinstance(cell, datetime) else cell
