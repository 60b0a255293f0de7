"""Rows searched and sorted: all of it in Postgres, a page at a time, whatever their number."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from campaigns.models import Campaign
from fleet.errors import BadInputError
from fleet.text import is_text

ROWS = """
SELECT result.seq, result.host_id, result.hostname, item.row, result.truncated
FROM campaigns_result AS result
CROSS JOIN LATERAL jsonb_array_elements(result.rows) WITH ORDINALITY AS item (row, place)
CROSS JOIN LATERAL (SELECT item.row ->> %s AS value) AS cell
WHERE result.campaign_id = %s {conditions}
ORDER BY {order} result.seq, item.place LIMIT %s OFFSET %s
"""
EQUALS = "AND item.row ->> %s = %s"
CONTAINS = (
    "AND (result.hostname ILIKE %s OR EXISTS"
    " (SELECT FROM jsonb_each_text(item.row) AS pair (name, text) WHERE pair.text ILIKE %s))"
)
# osquery writes large doubles as 1e+20.0, which Postgres does not read as a number.
NUMBER = r"""
CASE WHEN cell.value ~ '^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3}(\.0)?)?$'
THEN regexp_replace(cell.value, '([eE][+-]?[0-9]+)\.0$', '\1')::numeric END
"""


@dataclass(frozen=True)
class RowFilter:
    """Which rows, in which order. `order` is a column or `host`, with a minus before it for the other way round."""

    search: str = ""
    where: Sequence[str] = ()
    order: str = ""


def rows(campaign: Campaign, filters: RowFilter, limit: int, offset: int) -> list[dict[str, Any]]:
    """Give a page of rows. Numbers sort as numbers and before text. Raise BadInputError naming an unknown column."""
    if not campaign.columns:
        return []
    text, params = _condition(campaign, filters)
    order, column = _order(campaign, filters.order)
    with connection.cursor() as cursor:
        query = ROWS.format(conditions=text, order=order)
        cursor.execute(query, [column, campaign.pk, *params, limit, offset])
        found = cursor.fetchall()
    return [
        {"seq": seq, "host": _host(host_id, hostname), "row": json.loads(row), "truncated": truncated}
        for seq, host_id, hostname, row, truncated in found
    ]


def _condition(campaign: Campaign, filters: RowFilter) -> tuple[str, list[str]]:
    texts: list[str] = []
    params: list[str] = []
    for given in filters.where:
        texts.append(EQUALS)
        params += _column_and_value(campaign, given)
    if filters.search:
        texts.append(CONTAINS)
        part = re.sub(r"([\\%_])", r"\\\1", filters.search)
        params += [f"%{part}%"] * 2
    for value in params:
        _check_text(value)
    return " ".join(texts), params


def _column_and_value(campaign: Campaign, given: str) -> tuple[str, str]:
    """Split COLUMN:VALUE. The longest column that fits is meant: a column's name may hold a colon."""
    fitting = [column for column in campaign.columns if given.startswith(f"{column}:")]
    if not fitting:
        raise BadInputError(f"where {given!r} is not COLUMN:VALUE with one of {names_of(campaign)}", "where")
    column = max(fitting, key=len)
    return column, given[len(column) + 1 :]


def _order(campaign: Campaign, order: str) -> tuple[str, str]:
    """Give the beginning of ORDER BY and the column it sorts by."""
    column, way = (order, "") if order in campaign.columns else (order.removeprefix("-"), order[:1])
    direction = "DESC" if way == "-" else "ASC"
    if column in campaign.columns:
        return f"{NUMBER} {direction} NULLS LAST, cell.value {direction} NULLS LAST,", column
    if column == "host":
        return f"result.hostname {direction},", ""
    if not order:
        return "", ""
    raise BadInputError(
        f"order {order!r} is unknown, allowed are host, {names_of(campaign)}, with - before it", "order"
    )


def _host(host_id: int, hostname: str) -> dict[str, Any]:
    return {"id": host_id, "hostname": hostname}


def _check_text(value: str) -> None:
    if not is_text(value):
        raise BadInputError(f"{value!r} holds a NUL or a lone surrogate, which no answer has")


def names_of(campaign: Campaign) -> str:
    shown = ", ".join(campaign.columns[:20])
    return f"{shown}, …" if len(campaign.columns) > 20 else shown
