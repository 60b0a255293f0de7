"""Answers searched, sorted and grouped: all of it in Postgres, a page at a time, whatever their number.

A group is one combination of values within a row, or a whole answer whatever the order of its rows. Its key names the
columns and a digest of the values, so that it finds its hosts again without being stored.
"""

import binascii
import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import connection
from django.db.models import F, Func, QuerySet, TextField

from campaigns.answers import numbering
from campaigns.answers.rows import names_of
from campaigns.answers.searching import check_text, in_rows, pattern_of
from campaigns.models import Campaign, Result
from campaigns.people import scopes
from campaigns.people.scopes import Limits
from campaigns.states import State
from fleet.errors import BadInputError
from fleet.text import is_text

MOST_BY = 10  # columns of a group
ROWS_OF_A_GROUP = 10  # of a whole answer, shown
GROUP_ORDERS = {
    "hosts": "hosts, digest",
    "-hosts": "hosts DESC, digest",
    "rows": "rows, digest",
    "-rows": "rows DESC, digest",
}


# Both questions give digest, hosts, rows, content and, where that is no content yet, an example.
# {cells} are `(row ->> %s) COLLATE "C"`, one for each column; {places} their numbers, {values} their names; {scope} is
# the condition of `scopes`. Text that sorts by its bytes is grouped four times as fast as JSON.
BY_COLUMNS = """
SELECT md5(content::text) AS digest, hosts, rows, content, NULL::bigint AS example_id
FROM (
    SELECT jsonb_build_array({values}) AS content, count(*) AS hosts, sum(of_host.rows) AS rows
    FROM campaigns_result AS result CROSS JOIN LATERAL (
        SELECT {cells}, count(*) AS rows
        FROM jsonb_array_elements(result.rows) AS row {conditions} GROUP BY {places}
    ) AS of_host ({values}, rows)
    WHERE result.campaign_id = %s AND {scope} AND result.state = 'answered' GROUP BY {values}
) AS of_values
"""
# The same by one column where many answers have the same cells in it: those are counted once. Nearly all of the time
# goes into taking rows apart otherwise. The cells of rows that lack such a column are missing among them.
BY_CELLS = """
SELECT md5(content::text) AS digest, hosts, rows, content, NULL::bigint AS example_id
FROM (
    SELECT jsonb_build_array(value) AS content, sum(answers)::bigint AS hosts, sum(answers * of_host.rows) AS rows
    FROM (
        SELECT {cells} AS cells, row_count, count(*) AS answers
        FROM campaigns_result AS result
        WHERE result.campaign_id = %s AND {scope} AND result.state = 'answered' GROUP BY cells, row_count
    ) AS alike CROSS JOIN LATERAL (
        SELECT value COLLATE "C" AS value, count(*) AS rows FROM (
            SELECT jsonb_array_elements_text(cells) AS value
            UNION ALL SELECT NULL FROM generate_series(jsonb_array_length(cells) + 1, row_count)
        ) AS cell {conditions} GROUP BY 1
    ) AS of_host GROUP BY value
) AS of_values
"""
CELLS = "jsonb_path_query_array(result.rows, %s)"
ARE_ALIKE = f"""
SELECT count(DISTINCT {CELLS}) * 2 <= count(*) FROM campaigns_result AS result WHERE campaign_id = %s AND seq = ANY(%s)
"""  # noqa: S608 - put together of constants
SAMPLE = 200  # answers that are looked at first, where there are many times more
SAMPLED_ABOVE = 10 * SAMPLE
WHOLE = "md5((SELECT coalesce(jsonb_agg(row ORDER BY row), '[]') FROM jsonb_array_elements({rows}) AS row)::text)"
# Answers that are the same to the letter are put in order once.
BY_ANSWERS = f"""
SELECT digest, sum(hosts)::bigint AS hosts, sum(rows) AS rows, NULL::jsonb AS content, min(id) AS example_id
FROM (
    SELECT hosts, of_letters.rows, id, {WHOLE.format(rows="example.rows")} AS digest
    FROM (
        SELECT count(*) AS hosts, sum(row_count) AS rows, min(id) AS id
        FROM campaigns_result AS result
        WHERE campaign_id = %s AND {{scope}} AND state = 'answered' {{conditions}}
        GROUP BY md5(result.rows::text)
    ) AS of_letters JOIN campaigns_result AS example USING (id)
) AS answer GROUP BY digest
"""  # noqa: S608 - put together of constants
ONE_BY_COLUMNS = """
SELECT cells FROM campaigns_result AS result CROSS JOIN LATERAL jsonb_array_elements(result.rows) AS row
CROSS JOIN LATERAL (SELECT jsonb_build_array({cells}) AS cells) AS made WHERE result.id = %s AND md5(cells::text) = %s
LIMIT 1
"""
FIRST_ROWS = f"""
SELECT jsonb_path_query_array(rows, '$[0 to {ROWS_OF_A_GROUP - 1}]') FROM campaigns_result WHERE id = %s
"""  # noqa: S608 - put together of constants
# What the groups have in common; of whole answers the first rows.
WHOLE_CONTENT = f"coalesce(content, jsonb_path_query_array(example.rows, '$[0 to {ROWS_OF_A_GROUP - 1}]'))"
# The same with its cells cut to %s characters, so that megabytes stay where they are.
CUT_CONTENT = f"""
CASE WHEN content IS NULL THEN (
    SELECT coalesce(jsonb_agg((
        SELECT coalesce(jsonb_object_agg(name, left(value, %s)), jsonb_build_object())
        FROM jsonb_each_text(row) AS cell (name, value)
    )), '[]') FROM jsonb_path_query(example.rows, '$[0 to {ROWS_OF_A_GROUP - 1}]') AS row
) ELSE (SELECT jsonb_agg(left(value, %s)) FROM jsonb_array_elements_text(content) AS cell (value)) END
"""  # noqa: S608 - put together of constants
SHOWN = """
SELECT {content}, {counts}
FROM ({alike}) AS alike LEFT JOIN campaigns_result AS example ON example.id = alike.example_id
ORDER BY {order}
"""


@dataclass(frozen=True)
class Key:
    """Names a group: the columns it is made by (none = the whole answer) and the digest of its values."""

    by: tuple[str, ...]
    digest: str

    def __str__(self) -> str:
        if not self.by:
            return self.digest
        return f"{urlsafe_b64encode(json.dumps(self.by).encode()).decode().rstrip('=')}.{self.digest}"

    @classmethod
    def read(cls, text: str) -> "Key":
        """Read what `groups/` gave. Raise BadInputError."""
        names, dot, digest = text.rpartition(".")
        try:
            by = json.loads(urlsafe_b64decode(names + "=" * (-len(names) % 4))) if dot else []
        except (ValueError, binascii.Error, RecursionError):
            by = None
        if not isinstance(by, list) or len(by) > MOST_BY or not all(isinstance(name, str) for name in by):
            by = None
        if by is None or not re.fullmatch("[0-9a-f]{32}", digest) or not all(map(is_text, by)):
            raise BadInputError(f"group {text!r} is not a key that groups/ gave", "group")
        return cls(tuple(by), digest)


def groups(
    campaign: Campaign,
    names: Sequence[str],
    order: str,
    limit: int,
    offset: int,
    search: str = "",
    up_to: int | None = None,
    cut: int | None = None,
) -> list[dict[str, Any]]:
    """Give a page of groups by these columns, none = by whole answers, that hold the text `search`.

    With `up_to` of the answers up to that seq alone; with `cut` that many characters of each cell.

    Raise BadInputError for an unknown order.
    """
    if order not in GROUP_ORDERS:
        raise BadInputError(f"order {order!r} is unknown, allowed are {', '.join(GROUP_ORDERS)}", "order")
    alike, params = grouped(campaign, names, search, up_to)
    order = GROUP_ORDERS[order]
    page = f"{alike} ORDER BY {order} LIMIT %s OFFSET %s"
    counts, order = "digest, hosts, alike.rows", order.replace("rows", "alike.rows")
    found = with_content(page, [*params, limit, offset], counts, order, cut)
    return [_group(names, json.loads(content), *counts) for content, *counts in found]


def with_content(page: str, params: Sequence[Any], counts: str, order: str, cut: int | None) -> list[Any]:
    """Give the groups of a page, each as its content and its counts; with `cut` that many characters of each cell."""
    content, cuts = (WHOLE_CONTENT, []) if cut is None else (CUT_CONTENT, [cut, cut])
    with connection.cursor() as cursor:
        cursor.execute(SHOWN.format(content=content, counts=counts, alike=page, order=order), [*cuts, *params])
        return list(cursor.fetchall())


def grouped(
    campaign: Campaign, names: Sequence[str], search: str = "", up_to: int | None = None
) -> tuple[str, list[Any]]:
    """Give the question for all groups of a campaign, with its parameters."""
    check_text(search)
    scope, values = scopes.condition(campaign.limits, "result.host_id")
    if up_to is not None:
        scope, values = f"{scope} AND result.seq <= %s", [*values, numbering.stored(campaign, up_to)]
    if not names:
        held, params = in_rows("result.rows", search) if search else ("TRUE", [])
        return BY_ANSWERS.format(scope=scope, conditions=f"AND {held}"), [campaign.pk, *values, *params]
    if _are_alike(campaign, names):
        conditions, params = ("WHERE value ILIKE %s", [pattern_of(search)]) if search else ("", [])
        text = BY_CELLS.format(cells=CELLS, scope=scope, conditions=conditions)
        return text, [_path_of(names[0]), campaign.pk, *values, *params]
    text, params = _by_columns(names, search, scope)
    return text, [*params, campaign.pk, *values]


def _by_columns(names: Sequence[str], search: str, scope: str) -> tuple[str, list[str]]:
    """Give the question for groups by these columns, with the parameters that stand before the campaign's."""
    conditions, sought = "", []
    if search:
        conditions = f"WHERE {' OR '.join(['row ->> %s ILIKE %s'] * len(names))}"
        sought = [text for name in names for text in (name, pattern_of(search))]
    numbers = range(1, len(names) + 1)
    text = BY_COLUMNS.format(
        cells=", ".join(['(row ->> %s) COLLATE "C"'] * len(names)),
        places=", ".join(map(str, numbers)),
        values=", ".join(f"value_{number}" for number in numbers),
        conditions=conditions,
        scope=scope,
    )
    return text, [*names, *sought]


def _are_alike(campaign: Campaign, names: Sequence[str]) -> bool:
    """Say whether at least half of a few answers have the same cells in this one column as others of them."""
    if len(names) != 1 or campaign.last_seq < SAMPLED_ABOVE:
        return False
    sample = list(range(1, campaign.last_seq + 1, campaign.last_seq // SAMPLE))
    with connection.cursor() as cursor:
        cursor.execute(ARE_ALIKE, [_path_of(names[0]), campaign.pk, sample])
        return bool(cursor.fetchone()[0])


def _path_of(name: str) -> str:
    return f"$[*].{json.dumps(name, ensure_ascii=False)}"


def _group(names: Sequence[str], content: list[Any], digest: str, hosts: int, rows: int) -> dict[str, Any]:
    group: dict[str, Any] = {"key": str(Key(tuple(names), digest)), "hosts": hosts, "rows": int(rows)}
    if names:
        return {**group, "values": dict(zip(names, content, strict=True))}
    return {**group, "values": content[0] if rows == hosts else {}, "answer": content}


def columns_in(campaign: Campaign, given: Sequence[str]) -> tuple[str, ...]:
    """Give the columns that are named, each by a text of its own, or all in one. Raise BadInputError.

    One text is split at commas, where the longest column that fits is meant: names may hold commas.
    """
    names: dict[str, None] = {}
    text = given[0] if len(given) == 1 else ""
    if len(given) > 1:
        names = dict.fromkeys(given)
        if unknown := [name for name in names if name not in campaign.columns]:
            raise BadInputError(f"by {unknown[0]!r} is no column, there are {names_of(campaign)}", "by")
    while text:
        fitting = [column for column in campaign.columns if f"{text},".startswith(f"{column},")]
        if not fitting:
            raise BadInputError(f"by {text.partition(',')[0]!r} is no column, there are {names_of(campaign)}", "by")
        longest = max(fitting, key=len)
        names[longest] = None
        text = text[len(longest) + 1 :]
    if len(names) > MOST_BY:
        raise BadInputError(f"by has {len(names)} columns, allowed are {MOST_BY}", "by")
    return tuple(names)


def members(campaign_id: int, key: Key, limits: Limits) -> QuerySet[Result]:
    """Give the results of hosts within these limits that are in a group, in order of seq."""
    answered = Result.objects.filter(campaign_id=campaign_id, state=State.ANSWERED).order_by("seq")
    answered = scopes.within_limits(answered, limits)
    digests: Any = _Digests(F("rows"), key.by)
    wanted: Any = {"digests__contains": [key.digest]}
    return answered.annotate(digests=digests).filter(**wanted)


def members_like(example: Result, key: Key, content: Sequence[Any], limits: Limits) -> QuerySet[Result]:
    """Give the same by one of them and its content, which is looked for ten times as fast as a digest."""
    answered = Result.objects.filter(campaign_id=example.campaign_id, state=State.ANSWERED).order_by("seq")
    answered = scopes.within_limits(answered, limits)
    if key.by and None not in content:
        return answered.filter(rows__contains=[dict(zip(key.by, content, strict=True))])
    by_digest = members(example.campaign_id, key, limits)
    return by_digest if key.by else by_digest.filter(rows__contains=content)


def content_of(result_id: int, key: Key) -> list[Any]:
    """Give what a group has in common, by one of its results: the columns' values, of a whole answer the first rows."""
    text = ONE_BY_COLUMNS.format(cells=_cells(key.by)) if key.by else FIRST_ROWS
    with connection.cursor() as cursor:
        cursor.execute(text, [*key.by, result_id, key.digest] if key.by else [result_id])
        found = cursor.fetchone()
    return [] if found is None else json.loads(found[0])


class _Digests(Func):
    """The digests of a result's rows by some columns, or of the whole result."""

    def __init__(self, rows: Any, by: tuple[str, ...]) -> None:
        super().__init__(rows, output_field=ArrayField(TextField()))
        self._by = by

    def as_sql(self, compiler: Any, connection: Any, *_: Any, **__: Any) -> tuple[str, tuple[Any, ...]]:
        """Write the array."""
        rows, params = compiler.compile(self.source_expressions[0])
        if not self._by:
            return f"ARRAY[{WHOLE.format(rows=rows)}]", tuple(params)
        cells = f"md5(jsonb_build_array({_cells(self._by)})::text)"
        # What is put together are constants; columns travel as parameters.
        return f"ARRAY(SELECT {cells} FROM jsonb_array_elements({rows}) AS row)", (*self._by, *params)  # noqa: S608


def _cells(names: Sequence[str]) -> str:
    return ", ".join(["row ->> %s"] * len(names))
