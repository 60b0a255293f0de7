"""Rows searched and sorted: all of it in Postgres, a page at a time, whatever their number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from agents.models import Host
from campaigns.answers import numbering, sorting
from campaigns.answers.searching import check_text, in_row_or_hostname, pattern_of
from campaigns.models import Campaign
from campaigns.people import scopes
from fleet.errors import BadInputError

# {scope} is the condition of `scopes`: of the answers those of hosts that whoever asks may see.
FITTING = """
FROM campaigns_result AS result
{cells}
CROSS JOIN LATERAL (SELECT {number} AS number) AS typed
WHERE result.campaign_id = %s AND {scope} {conditions}
ORDER BY {order} seq, place
"""
ROWS = f"""
SELECT result.seq, result.host_id, result.hostname, item.row, result.truncated, result.late, item.place {FITTING}
"""
# Rows are counted where they lie, so that a page far down the list takes no answers before it apart.
START = """
SELECT seq, before FROM (
    SELECT seq, row_count, sum(row_count) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) - row_count AS before
    FROM campaigns_result AS result WHERE campaign_id = %s AND {scope}
) AS counted WHERE before + row_count > %s ORDER BY seq LIMIT 1
"""
# What is sorted is copied row by row, even if it is dropped at once: only keys are, the page's rows are fetched after.
SORTED_PAGE = f"""
SELECT result.seq, result.host_id, result.hostname, result.rows -> (place - 1)::integer AS row, result.truncated,
    result.late, place
FROM (SELECT result.id, seq, place, {{keys}} {FITTING} LIMIT %s OFFSET %s) AS page
JOIN campaigns_result AS result USING (id) ORDER BY {{order}} seq, place
"""  # noqa: S608 - put together of constants
LAST_OF_PAGE = f"SELECT number, value {FITTING} LIMIT 1 OFFSET %s"
# Long cells are cut where they lie: a page of giants never leaves Postgres. Small rows cost one look at their size.
CUT = """
SELECT seq, host_id, hostname, CASE WHEN pg_column_size(row) > %s THEN
    (SELECT jsonb_object_agg(name, left(text, %s)) FROM jsonb_each_text(row) AS pair (name, text)) ELSE row END,
    truncated, late, place, CASE WHEN pg_column_size(row) > %s THEN
    (SELECT array_agg(name) FROM jsonb_each_text(row) AS pair (name, text) WHERE length(text) > %s) END
FROM ({page}) AS page
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
OF_HOSTS = "AND result.host_id = ANY(%s)"
UP_TO = "AND result.seq <= %s"
ROWS_A_STEP = 500
FAR = 10_000  # rows; to nearer pages it is less work to take apart what is before them
LONGEST_NUMBER = 18  # digits, which PostgreSQL holds
SAMPLED_ABOVE = 10 * sorting.SAMPLE  # answers; below it, the first look would cost more than it spares
# May stand for a column in filters and order, unless a column is called so: logged_in_users has a column host.
HOST, HOST_IN_FULL = HOST_NAMES = "host", "host.hostname"


@dataclass(frozen=True)
class RowFilter:
    """Which rows, of answers up to a seq, in which order.

    `where` are COLUMN:VALUE, `contains` COLUMN:PART; `order` is a column, with a minus before it for the other way
    round. `host` is the hostname, which several may bear; `hosts` are the numbers of those that are wanted, none = all.
    """

    search: str = ""
    where: Sequence[str] = ()
    order: str = ""
    contains: Sequence[str] = ()
    up_to: int | None = None
    hosts: Sequence[int] = ()

    @property
    def narrows(self) -> bool:
        """Say whether it leaves rows out."""
        return bool(self.search or self.where or self.contains or self.hosts)


def host_numbers(given: Sequence[str]) -> list[int]:
    """Read numbers of hosts. Raise BadInputError naming what is none."""
    for text in given:
        if not (text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER):
            raise BadInputError(f"host {text!r} is no number of a host; where=host:NAME goes by its name", "host")
    return [int(text) for text in given]


def rows(campaign: Campaign, filters: RowFilter, limit: int, offset: int) -> list[dict[str, Any]]:
    """Give a page of rows. Numbers sort as numbers and before text. Raise BadInputError naming an unknown column."""
    if not campaign.columns:
        return []
    text, params = _page(campaign, filters, limit, offset)
    with connection.cursor() as cursor:
        cursor.execute(text, params)
        found = cursor.fetchall()
    numbers = numbering.shown(campaign, {seq for seq, *_ in found})
    return [
        {"seq": numbers[seq], "host": _host(host_id, hostname), "row": json.loads(row), "truncated": truncated}
        for seq, host_id, hostname, row, truncated, *_ in found
    ]


def cut_rows(campaign: Campaign, filters: RowFilter, limit: int, offset: int, cut: int) -> list[dict[str, Any]]:
    """Give a page of rows for people: cells of at most `cut` characters, with the names of those that were longer.

    `place` is the row's place in its host's answer, from 1 on; `one_row` gives it whole.
    """
    if not campaign.columns:
        return []
    text, params = _page(campaign, filters, limit, offset)
    with connection.cursor() as cursor:
        cursor.execute(CUT.format(page=text), [cut, cut, cut, cut, *params])
        found = cursor.fetchall()
    numbers = numbering.shown(campaign, {seq for seq, *_ in found})
    doubted = set(
        Host.objects.filter(pk__in={row[1] for row in found}).exclude(in_doubt_since=None).values_list("pk", flat=True)
    )
    return [
        {
            "seq": numbers[seq],
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
        cursor.execute(ONE.format(scope=scope), [campaign.pk, numbering.stored(campaign, seq), place, *values])
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


def _page(campaign: Campaign, filters: RowFilter, limit: int, offset: int) -> tuple[str, list[Any]]:
    """Give the SQL of a page of what fits, in order, with its parameters."""
    if not filters.order:
        further, offset = _start(campaign, filters, offset)
        text, params = _question(campaign, filters, further=further)
        return f"{text} LIMIT %s OFFSET %s", [*params, limit, offset]
    bound = _bound(campaign, filters, limit + offset)
    text, params = _question(campaign, filters, SORTED_PAGE, bound)
    return text, [*params, limit, offset]


def _start(campaign: Campaign, filters: RowFilter, offset: int) -> tuple[tuple[str, list[Any]], int]:
    """Give a condition that drops answers before a page of all rows, and how many rows it leaves before the page."""
    if offset < FAR or filters.narrows:
        return ("", []), offset
    scope, values = scopes.condition(campaign.limits, "result.host_id")
    with connection.cursor() as cursor:
        cursor.execute(START.format(scope=scope), [campaign.pk, *values, offset])
        found = cursor.fetchone()
    if found is None:
        return ("AND FALSE", []), 0
    seq, before = found
    return ("AND result.seq >= %s", [seq]), offset - int(before)


def _bound(campaign: Campaign, filters: RowFilter, wanted: int) -> tuple[str, list[Any]]:
    """Give a condition that drops nothing of the first so many: of a few answers, what comes so far down the list."""
    column = _order(campaign, filters.order)[-1]
    if not column or campaign.last_seq < max(SAMPLED_ABOVE, sorting.SAMPLE) or wanted > sorting.SAMPLE:
        return "", []
    sample = list(range(1, campaign.last_seq + 1, campaign.last_seq // sorting.SAMPLE))  # hosts answer in some order
    text, params = _question(campaign, filters, LAST_OF_PAGE, ("AND result.seq = ANY(%s)", [sample]))
    with connection.cursor() as cursor:
        cursor.execute(text, [*params, wanted - 1])
        last = cursor.fetchone()
    return ("", []) if last is None else sorting.bound(last, descending=filters.order != column)


def _question(
    campaign: Campaign, filters: RowFilter, form: str = ROWS, further: tuple[str, Sequence[Any]] = ("", ())
) -> tuple[str, list[Any]]:
    """Give the SQL of all rows that fit, in order, with its parameters; `further` is one more condition."""
    text, params = _condition(campaign, filters)
    order, keys, column = _order(campaign, filters.order)
    scope, values = scopes.condition(campaign.limits, "result.host_id")
    alone = form != ROWS and not text and column
    cells, names = sorting.cells(column) if alone else (sorting.ROWS_AND_CELLS, [column])
    sql = form.format(
        cells=cells, number=sorting.number(), scope=scope, conditions=f"{text} {further[0]}", order=order, keys=keys
    )
    return sql, [*names, campaign.pk, *values, *params, *further[1]]


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
    for value in params:
        check_text(value)
    if filters.search:
        condition, held = in_row_or_hostname("result.rows", "item.row", "result.hostname", filters.search)
        texts.append(f"AND {condition}")
        params += held
    if filters.hosts:
        texts.append(OF_HOSTS)
        params.append(list(filters.hosts))
    if filters.up_to is not None:
        return " ".join([*texts, UP_TO]), [*params, numbering.stored(campaign, filters.up_to)]
    return " ".join(texts), params


def _column_and_value(campaign: Campaign, given: str, name: str) -> tuple[str | None, str]:
    """Split COLUMN:VALUE; None = the hostname. The longest column that fits is meant: its name may hold a colon."""
    fitting = [column for column in (*campaign.columns, *HOST_NAMES) if given.startswith(f"{column}:")]
    if not fitting:
        raise BadInputError(f"{name} {given!r} is not COLUMN:VALUE with one of {names_of(campaign)}", name)
    column = max(fitting, key=len)
    return (column if column in campaign.columns else None), given[len(column) + 1 :]


def _order(campaign: Campaign, order: str) -> tuple[str, str, str]:
    """Give the beginning of ORDER BY, the names in it, and the column it sorts by."""
    column, way = (order, "") if order in campaign.columns else (order.removeprefix("-"), order[:1])
    direction = "DESC" if way == "-" else "ASC"
    if column in campaign.columns:
        return f"number {direction} NULLS LAST, value {direction} NULLS LAST,", "number, value", column
    if column in HOST_NAMES:
        return f"hostname {direction},", "hostname", ""
    if not order:
        return "", "", ""
    raise BadInputError(
        f"order {order!r} is unknown, allowed are host, {names_of(campaign)}, with - before it", "order"
    )


def _host(host_id: int, hostname: str) -> dict[str, Any]:
    return {"id": host_id, "hostname": hostname}


def names_of(campaign: Campaign) -> str:
    """Name the campaign's columns for a sentence, the first twenty of many."""
    shown = ", ".join(campaign.columns[:20])
    return f"{shown}, …" if len(campaign.columns) > 20 else shown
