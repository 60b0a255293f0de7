"""The rows as the server draws them: for those without scripts, and until the grid is there."""

from dataclasses import replace
from typing import Any

from django.http import QueryDict

from agents.models import Host
from campaigns.answers.rows import RowFilter, cut_rows, host_numbers
from campaigns.console.access import number_of
from campaigns.models import Campaign
from fleet.errors import FleetError
from fleet.spreadsheets import beside

ROWS_SHOWN = 100
CELL_SHOWN = 300  # characters
COLUMNS_SHOWN, CELLS = 50, 2_000  # the grid shows all


def rows_context(shown: Campaign, asked: QueryDict | None) -> dict[str, Any]:
    """Give a page of rows, by the filters that stand in the address; what is wrong with those is said.

    None: another tab is looked at, and no row is drawn.
    """
    many = 0 if asked is None else ROWS_SHOWN
    asked = asked or QueryDict()
    filters = RowFilter(
        asked.get("search", ""), asked.getlist("where"), asked.get("order", ""), asked.getlist("contains")
    )
    named = asked.getlist("host")
    before = min(number_of(asked.get("from")) or 0, shown.count_rows)
    try:
        filters = replace(filters, hosts=host_numbers(named))
        found, error = cut_rows(shown, filters, many + 1, before, CELL_SHOWN) if many else [], ""
    except FleetError as refusal:
        found, error = [], refusal.sentence
    doubted = Host.objects.filter(pk__in=[row["host"]["id"] for row in found if row["in_doubt"]])
    kept = asked.copy()
    kept.pop("from", None)
    columns = shown.columns[: min(COLUMNS_SHOWN, CELLS // max(1, len(found)))]
    return {
        "row_filter": filters,
        "rows_error": error,
        "doubts_of_rows": dict(doubted.values_list("pk", "in_doubt_reason")),
        "row_columns": beside(("host",), columns),
        "more_columns": len(shown.columns) - len(columns),
        "first_rows": [(row, [row["row"].get(column, "") for column in columns]) for row in found[:many]],
        "first_rows_count": len(found[:many]),
        "more_rows": len(found) > many,
        "rows_before": before,
        "rows_previous": max(0, before - ROWS_SHOWN),
        "rows_question": kept.urlencode(),
        "is_filtered": filters.narrows,
    }
