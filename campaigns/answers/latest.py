"""The last known answer: of each host its newest one over all runs of a saved query, with the run it came from.

Derived from the results whenever it is asked, not kept beside them: a late answer of an older run, a run that is
deleted and retention would each have to mend a table of newest answers, under locks that the collector does not take,
and the answer that becomes the newest again when a run goes is in the results alone. So it is right by construction,
and it holds nothing that outlives its campaign. Reading it costs the answers of the query's runs by their index.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import connection
from django.utils import timezone

from campaigns.analysis import asking
from campaigns.analysis.sight import sight_of
from campaigns.analysis.tables import HOST_COLUMNS, LABELS, Table, check_size, is_text_by_name, names_of
from campaigns.answers.results import HOST_STEP, ITEM_BYTES, PAGE_BYTES, timestamp
from campaigns.answers.searching import in_row_or_hostname, in_rows, pattern_of
from campaigns.models import Campaign, CampaignQuerySet, Query
from campaigns.people import scopes
from campaigns.states import State
from fleet.errors import BadInputError

ORDERS = {
    "host": "hostname, host_id",
    "-host": "hostname DESC, host_id",
    "received_at": "received_at, host_id",
    "-received_at": "received_at DESC, host_id",
}
# A failed run leaves the answer before it the last known one.
NEWEST = """
SELECT DISTINCT ON (result.host_id) result.id, result.host_id, result.hostname, result.rows, result.received_at,
    result.campaign_id, result.truncated, result.late
FROM campaigns_result AS result
WHERE result.campaign_id = ANY(%s) AND result.state = %s AND {seen}
ORDER BY result.host_id, result.received_at DESC, result.id DESC
"""
PLACES = "SELECT id FROM ({newest}) AS latest WHERE TRUE {conditions} ORDER BY {order} LIMIT %s OFFSET %s"
ITEMS = """
SELECT host_id, hostname, rows::text, received_at, campaign_id, truncated, late, row_count
FROM unnest(%s) WITH ORDINALITY AS wanted (id, place) JOIN campaigns_result USING (id) ORDER BY place
"""
# A cell that is missing is an empty one: runs of other SQL have other columns.
CELL = "coalesce(item.row ->> %s, '') = %s"
CELL_SOMEWHERE = "AND rows @> jsonb_build_array(jsonb_build_object(%s::text, %s::text))"  # asked first: it is quicker
ONE_ROW = "AND EXISTS (SELECT FROM jsonb_array_elements(rows) AS item (row) WHERE {cells})"
GROUPS = """
SELECT jsonb_build_array({cells}) AS cells, count(DISTINCT host_id) AS hosts, count(*), min(received_at)
FROM ({newest}) AS latest CROSS JOIN LATERAL jsonb_array_elements(rows) AS item (row)
WHERE TRUE {conditions} GROUP BY 1 ORDER BY hosts DESC, cells LIMIT %s OFFSET %s
"""


@dataclass(frozen=True)
class Latest:
    """The last known answers of a query that one person may see."""

    runs: list[Campaign]
    limits: scopes.Limits

    @classmethod
    def of(cls, query: Query, by: User | AnonymousUser) -> "Latest":
        """Give those of the runs that this person may look at."""
        runs: CampaignQuerySet = Campaign.objects.visible_to(by)
        return cls(list(runs.filter(query=query).order_by("-pk")), scopes.limits_of(by))

    @property
    def columns(self) -> list[str]:
        """Give the columns of all runs, those of the newest first."""
        return list(dict.fromkeys(column for run in self.runs for column in run.columns))

    def newest(self) -> tuple[str, list[Any]]:
        """Give the SQL of the newest answer of each host, and its values."""
        seen, values = scopes.condition(self.limits, "result.host_id")
        return NEWEST.format(seen=seen), [[run.pk for run in self.runs], State.ANSWERED.value, *values]

    def table(self) -> Table:
        """Give what SQL is asked of. Raise BadInputError when that is too much."""
        columns, (newest, values) = self.columns, self.newest()
        check_size(f"query {self.runs[0].query_id}" if self.runs else "", columns, 0)
        places = [f"c{place}" for place in range(len(columns))]
        return Table(
            TABLE.format(newest=newest, cells="".join([", item.row ->> %s"] * len(columns))),
            [*columns, *values],
            {**KINDS, "place": "BIGINT", **dict.fromkeys(places, "VARCHAR")},
            LABELS,
            list(zip(places, names_of(columns, tuple(KINDS)), strict=True)),
            [place for place, name in zip(places, columns, strict=True) if is_text_by_name(name)],
        )

    def items(self, filters: "LatestFilter", limit: int, offset: int) -> tuple[list[dict[str, Any]], bool]:
        """Give a page of hosts with their answers, and whether more follow. Raise BadInputError.

        At most `limit` of them, and as many as fit PAGE_BYTES, at least one.
        """
        filters.check_order()
        places = [place for (place,) in self._read(PLACES, filters, [], limit + 1, offset, order=ORDERS[filters.order])]
        items: list[dict[str, Any]] = []
        size = 0
        for record in _records(places[:limit]):
            size += ITEM_BYTES + len(record[2])
            if items and size > PAGE_BYTES:
                return items, True
            items.append(_item(record))
        return items, len(places) > limit

    def groups(self, by: list[str], filters: "LatestFilter", limit: int, offset: int) -> list[dict[str, Any]]:
        """Give what hosts have in common in these columns, in rows that fit. Raise BadInputError."""
        self._check(by, "by")
        filters.check_order()
        cells = ", ".join(["item.row -> %s"] * len(by))
        found = self._read(GROUPS, filters, by, limit, offset, of_rows=True, cells=cells)
        return [
            {
                "values": dict(zip(by, json.loads(cells), strict=True)),
                "hosts": hosts,
                "rows": rows,
                "oldest_at": timestamp(oldest),
            }
            for cells, hosts, rows, oldest in found
        ]

    def _read(
        self,
        sql: str,
        filters: "LatestFilter",
        before: list[str],
        limit: int,
        offset: int,
        *,
        of_rows: bool = False,
        **parts: str,
    ) -> list[Any]:
        newest, values = self.newest()
        conditions, more = self._conditions(filters, of_rows=of_rows)
        with connection.cursor() as cursor:
            cursor.execute(
                sql.format(newest=newest, conditions=conditions, **parts), [*before, *values, *more, limit, offset]
            )
            found: list[Any] = cursor.fetchall()
        return found

    def _conditions(self, filters: "LatestFilter", *, of_rows: bool) -> tuple[str, list[str]]:
        """Give what is asked of answers, one of whose rows fits; `of_rows` = of each row that is in sight there."""
        texts: list[str] = []
        values: list[str] = []
        if filters.search:
            part = filters.search
            if of_rows:
                held, values = in_row_or_hostname("rows", "item.row", "hostname", part)
            else:
                held, patterns = in_rows("rows", part)
                held, values = f"(hostname ILIKE %s OR {held})", [pattern_of(part), *patterns]
            texts.append(f"AND {held}")
        wanted = [self._column_and_value(given) for given in filters.where]
        for column, value in wanted:
            if value:
                texts.append(CELL_SOMEWHERE)
                values += [column, value]
        if wanted:
            cells = " AND ".join([CELL] * len(wanted))
            texts.append(f"AND {cells}" if of_rows else ONE_ROW.format(cells=cells))
            values += [text for pair in wanted for text in pair]
        return " ".join(texts), values

    def _column_and_value(self, given: str) -> tuple[str, str]:
        """Split COLUMN:VALUE; the longest column that fits is meant: its name may hold a colon."""
        fitting = [column for column in self.columns if given.startswith(f"{column}:")]
        if not fitting:
            there = ", ".join(self.columns[:20]) or "none yet"
            raise BadInputError(f"where {given!r} is not COLUMN:VALUE with one of {there}", "where")
        column = max(fitting, key=len)
        return column, given[len(column) + 1 :]

    def _check(self, names: list[str], field: str) -> None:
        for name in names:
            if name not in self.columns:
                raise BadInputError(
                    f"{field} {name!r} is no column, there are {', '.join(self.columns[:20]) or 'none yet'}", field
                )


@dataclass(frozen=True)
class LatestFilter:
    """Which hosts, in which order; `where` are COLUMN:VALUE that one row of the answer has, all of them."""

    search: str = ""
    where: tuple[str, ...] = ()
    order: str = "host"

    def check_order(self) -> None:
        """Raise BadInputError for an order that there is not."""
        if self.order not in ORDERS:
            raise BadInputError(f"order {self.order!r} is unknown, allowed are {', '.join(ORDERS)}", "order")


def _records(places: list[int]) -> Iterator[tuple[Any, ...]]:
    """Read results a few at a time: each may be large."""
    for first in range(0, len(places), HOST_STEP):
        with connection.cursor() as cursor:
            cursor.execute(ITEMS, [places[first : first + HOST_STEP]])
            yield from cursor.fetchall()


def _item(record: tuple[Any, ...]) -> dict[str, Any]:
    host_id, hostname, rows, received_at, campaign_id, truncated, late, row_count = record
    return {
        "host": {"id": host_id, "hostname": hostname},
        "rows": json.loads(rows),
        "row_count": row_count,
        "received_at": timestamp(received_at),
        "age": int((timezone.now() - received_at).total_seconds()),
        "campaign": campaign_id,
        "truncated": truncated,
        "late": late,
    }


# --- in SQL ----------------------------------------------------------------------------------------------------

TABLE = """
SELECT latest.host_id, latest.hostname, host.platform, coalesce(label.names, '[]'),
    latest.received_at AT TIME ZONE 'UTC', latest.late, latest.truncated, latest.campaign_id,
    extract(epoch FROM now() - latest.received_at)::bigint, item.place{cells}
FROM ({newest}) AS latest
LEFT JOIN agents_host AS host ON host.id = latest.host_id
LEFT JOIN LATERAL (
    SELECT jsonb_agg(label.name ORDER BY label.name)::text AS names FROM agents_labelmembership AS member
    JOIN agents_label AS label ON label.id = member.label_id WHERE member.host_id = latest.host_id
) AS label ON TRUE
LEFT JOIN LATERAL jsonb_array_elements(latest.rows) WITH ORDINALITY AS item (row, place) ON TRUE
"""
KINDS = {
    **HOST_COLUMNS,
    "received_at": "TIMESTAMP",
    "late": "BOOLEAN",
    "truncated": "BOOLEAN",
    "campaign": "BIGINT",
    "age": "BIGINT",
}


def ask(query: Query, sql: str, by: User | AnonymousUser) -> asking.Answer:
    """Run a person's SQL over the last known answers of a query: the table `latest`. Raise BadInputError and others."""
    asking.check_text(sql)
    newest = Latest.of(query, by)
    tables = asking.Tables(sight_of(by), "latest, campaign_ID and answers_of(ID)")
    tables.add_others(sql, by)
    tables.add_apart("latest", newest.table(), tuple(KINDS))
    return asking.answer(sql, tables, asking.limits_of_people())


def check_view(query: Query, sql: str, by: User | AnonymousUser) -> None:
    """Raise BadInputError for SQL that a run of the query could not show: it is tried on the newest that has answers.

    Without one of what the query is now, that this person may look at, all that can be said is whether it is a SELECT.
    """
    runs: CampaignQuerySet = Campaign.objects.visible_to(by)
    newest = runs.filter(query=query, sql=query.sql).exclude(columns=[]).order_by("-pk").first()
    if newest is None:
        asking.check(sql, by)
    else:
        asking.ask(newest, sql, by)
