"""Rows searched and sorted: all of it in Postgres, a page at a time, whatever their number."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from agents.models import Host
from campaigns.models import Campaign
from campaigns.people import scopes
from fleet.errors import BadInputError
from fleet.text import is_text

# {scope} is the condition of `scopes`: of the answers those of hosts that whoever asks may see.
ROWS = """
SELECT result.seq, result.host_id, result.hostname, item.row, result.truncated, result.late, item.place
FROM campaigns_result AS result
CROSS JOIN LATERAL jsonb_array_elements(result.rows) WITH ORDINALITY AS item (row, place)
CROSS JOIN LATERAL (SELECT item.row ->> %s AS value) AS cell
WHERE result.campaign_id = %s AND {scope} {conditions}
ORDER BY {order} result.seq, item.place
"""
# Long cells are cut where they lie: a page of giants never leaves Postgres. Small rows cost one look at their size.
CUT = """
SELECT seq, host_id, hostname, CASE WHEN pg_column_size(row) > %s THEN
    (SELECT jsonb_object_agg(name, left(text, %s)) FROM jsonb_each_text(row) AS pair (name, text)) ELSE row END,
    truncated, late, place, CASE WHEN pg_column_size(row) > %s THEN
    (SELECT array_agg(name) FROM jsonb_each_text(row) AS pair (name, text) WHERE length(text) > %s) END
FROM ({rows} LIMIT %s OFFSET %s) AS page
"""
ONE = """
SELECT item.row FROM campaigns_result AS result
CROSS JOIN LATERAL jsonb_array_elements(result.rows) WITH ORDINALITY AS item (row, place)
WHERE result.campaign_id = %s AND result.seq = %s AND item.place = %s AND {scope}
"""
EQUALS = "AND item.row ->> %s = %s"
HOST_EQUALS = "AND result.hostname = %s"
PART = "AND item.row ->> %s ILIKE %s"
HOST_PART = "AND result.hostname ILIKE %s"
UP_TO = "AND result.seq <= %s"
CONTAINS = (
    "AND (result.hostname ILIKE %s OR EXISTS"
    " (SELECT FROM jsonb_each_text(item.row) AS pair (name, text) WHERE pair.text ILIKE %s))"
)
# osquery writes large doubles as 1e+20.0, which Postgres does not read as a number.
NUMBER = r"""
CASE WHEN cell.value ~ '^-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3}(\.0)?)?$'
THEN regexp_replace(cell.value, '([eE][+-]?[0-9]+)\.0$', '\1')::numeric END
"""
ROWS_A_STEP = 500
HOST = "host"  # may stand for a column in filters and order, unless a column is called so


@dataclass(frozen=True)
class RowFilter:
    """Which rows, of answers up to a seq, in which order.

    `where` are COLUMN:VALUE, `contains` COLUMN:PART; `order` is a column, with a minus before it for the other way
    round. `host` is the hostname.
    """

    search: str = ""
    where: Sequence[str] = ()
    order: str = ""
    contains: Sequence[str] = ()
    up_to: int | None = None


def rows(campaign: Campaign, filters: RowFilter, limit: int, offset: int) -> list[dict[str, Any]]:
    """Give a page of rows. Numbers sort as numbers and before text. Raise BadInputError naming an unknown column."""
    if not campaign.columns:
        return []
    text, params = _question(campaign, filters)
    with connection.cursor() as cursor:
        cursor.execute(f"{text} LIMIT %s OFFSET %s", [*params, limit, offset])
        found = cursor.fetchall()
    return [
        {"seq": seq, "host": _host(host_id, hostname), "row": json.loads(row), "truncated": truncated}
        for seq, host_id, hostname, row, truncated, *_ in found
    ]


def cut_rows(campaign: Campaign, filters: RowFilter, limit: int, offset: int, cut: int) -> list[dict[str, Any]]:
    """Give a page of rows for people: cells of at most `cut` characters, with the names of those that were longer.

    `place` is the row's place in its host's answer, from 1 on; `one_row` gives it whole.
    """
    if not campaign.columns:
        return []
    text, params = _question(campaign, filters)
    with connection.cursor() as cursor:
        cursor.execute(CUT.format(rows=text), [cut, cut, cut, cut, *params, limit, offset])
        found = cursor.fetchall()
    doubted = set(
        Host.objects.filter(pk__in={row[1] for row in found}).exclude(in_doubt_since=None).values_list("pk", flat=True)
    )
    return [
        {
            "seq": seq,
            "host": _host(host_id, hostname),
            "row": json.loads(row),
            "truncated": truncated,
            "late": late,
            "in_doubt": host_id in doubted,
            "place": place,
            "cut": names or [],
        }
        for seq, host_id, hostname, row, truncated, late, place, names in found
    ]


def one_row(campaign: Campaign, seq: int, place: int) -> dict[str, str] | None:
    """Give one row whole; None when there is none."""
    with connection.cursor() as cursor:
        scope, values = scopes.condition(campaign.limits, "result.host_id")
        cursor.execute(ONE.format(scope=scope), [campaign.pk, seq, place, *values])
        found = cursor.fetchone()
    return None if found is None else json.loads(found[0])


def every_row(campaign: Campaign, filters: RowFilter) -> Iterator[tuple[str, int, dict[str, str], bool, bool]]:
    """Walk over all rows that fit, in order: hostname, host's id, row, truncated, late. Raise BadInputError at once."""
    return _walk(*_question(campaign, filters)) if campaign.columns else iter(())


def _walk(text: str, params: list[Any]) -> Iterator[tuple[str, int, dict[str, str], bool, bool]]:
    """Read by a cursor of the server, so that neither side holds all of it."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(text, params)
        while found := cursor.fetchmany(ROWS_A_STEP):
            for _, host_id, hostname, row, truncated, late, _ in found:
                yield hostname, host_id, json.loads(row) if isinstance(row, str) else row, truncated, late


def _question(campaign: Campaign, filters: RowFilter) -> tuple[str, list[Any]]:
    """Give the SQL of all rows that fit, in order, with its parameters."""
    text, params = _condition(campaign, filters)
    order, column = _order(campaign, filters.order)
    scope, values = scopes.condition(campaign.limits, "result.host_id")
    return ROWS.format(scope=scope, conditions=text, order=order), [column, campaign.pk, *values, *params]


def _condition(campaign: Campaign, filters: RowFilter) -> tuple[str, list[Any]]:
    texts: list[str] = []
    params: list[Any] = []
    for given in filters.where:
        column, value = _column_and_value(campaign, given, "where")
        texts.append(HOST_EQUALS if column is None else EQUALS)
        params += [value] if column is None else [column, value]
    for given in filters.contains:
        column, value = _column_and_value(campaign, given, "contains")
        texts.append(HOST_PART if column is None else PART)
        params += [pattern_of(value)] if column is None else [column, pattern_of(value)]
    if filters.search:
        texts.append(CONTAINS)
        params += [pattern_of(filters.search)] * 2
    for value in params:
        check_text(value)
    if filters.up_to is not None:
        return " ".join([*texts, UP_TO]), [*params, filters.up_to]
    return " ".join(texts), params


def pattern_of(text: str) -> str:
    """Give the pattern of what holds a text."""
    escaped = re.sub(r"([\\%_])", r"\\\1", text)
    return f"%{escaped}%"


def _column_and_value(campaign: Campaign, given: str, name: str) -> tuple[str | None, str]:
    """Split COLUMN:VALUE; None = the hostname. The longest column that fits is meant: its name may hold a colon."""
    fitting = [column for column in campaign.columns if given.startswith(f"{column}:")]
    if not fitting and given.startswith(f"{HOST}:"):
        return None, given[len(HOST) + 1 :]
    if not fitting:
        raise BadInputError(f"{name} {given!r} is not COLUMN:VALUE with one of {names_of(campaign)}", name)
    column = max(fitting, key=len)
    return column, given[len(column) + 1 :]


def _order(campaign: Campaign, order: str) -> tuple[str, str]:
    """Give the beginning of ORDER BY and the column it sorts by."""
    column, way = (order, "") if order in campaign.columns else (order.removeprefix("-"), order[:1])
    direction = "DESC" if way == "-" else "ASC"
    if column in campaign.columns:
        return f"{NUMBER} {direction} NULLS LAST, cell.value {direction} NULLS LAST,", column
    if column == HOST:
        return f"result.hostname {direction},", ""
    if not order:
        return "", ""
    raise BadInputError(
        f"order {order!r} is unknown, allowed are host, {names_of(campaign)}, with - before it", "order"
    )


def _host(host_id: int, hostname: str) -> dict[str, Any]:
    return {"id": host_id, "hostname": hostname}


def check_text(value: str) -> None:
    """Raise BadInputError for text that no answer can hold."""
    if not is_text(value):
        raise BadInputError(f"{value!r} holds a NUL or a lone surrogate, which no answer has")


def names_of(campaign: Campaign) -> str:
    shown = ", ".join(campaign.columns[:20])
    return f"{shown}, …" if len(campaign.columns) > 20 else shown
