"""Two runs compared, host by host and row by row: what came, what went, and what hosts have in common in that.

Rows are compared as texts, whatever their order and as often as they come; a cell that is missing is an empty one.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User

from campaigns.analysis.asking import Limits, Tables, answers, running, whole
from campaigns.analysis.sight import sight_of
from campaigns.analysis.tables import is_text_by_name
from campaigns.models import Campaign
from campaigns.states import State
from fleet.errors import BadInputError, NotFoundError
from fleet.spreadsheets import HOST_COLUMNS, MARKS, beside, csv_lines

See = Callable[[Campaign, User], Campaign]
MOST_BYTES = 64 * 2**20  # of a page
EXPORT_SECONDS = 600.0
ALWAYS = 0.9  # of the hosts that answered both: a number or a time that differs on so many says nothing
# Columns of files that are ours, each with the type of its cells; the last one stands behind those of the answers.
OURS = {"change": "string", HOST_COLUMNS[0]: "string", HOST_COLUMNS[1]: "int64", "only": "string", MARKS[0]: "bool"}
OURS_OF_GROUPS = {"change": "string", "hosts": "int64", "truncated_hosts": "int64"}
SIDES = (("there", "removed"), ("here", "added"))

# Cells are digested once: planning a list of hundreds of columns costs more than reading them.
DIGESTS = """
CREATE TEMP TABLE {name}_digests AS SELECT host_id, place, hash([{cells}]) AS digest FROM {name} WHERE place IS NOT NULL
"""
ROWS = """
CREATE TEMP TABLE {name}_rows AS
SELECT host_id, digest, count(*) AS times, min(place) AS place FROM {name}_digests GROUP BY host_id, digest
"""
CHANGES = """
CREATE TEMP TABLE changes AS
SELECT host_id, digest, coalesce(here.times, 0) - coalesce(there.times, 0) AS more,
    coalesce(here.place, there.place) AS place
FROM here_rows AS here FULL JOIN there_rows AS there USING (host_id, digest) WHERE more <> 0
"""
# A host that is still being asked here may answer yet.
LISTED = f"""
CREATE TEMP TABLE listed AS
SELECT host_id, coalesce(here.host, there.host) AS host,
    CASE WHEN there.host IS NULL THEN 'added' WHEN here.host IS NULL THEN 'removed'
    WHEN host_id IN (SELECT host_id FROM changes) THEN 'changed' ELSE 'same' END AS change,
    coalesce(here.truncated, false) OR coalesce(there.truncated, false) AS truncated
FROM (SELECT DISTINCT host_id, host, truncated FROM here) AS here
FULL JOIN (SELECT DISTINCT host_id, host, truncated FROM there) AS there USING (host_id)
WHERE here.host IS NOT NULL
OR host_id NOT IN (SELECT host_id FROM states WHERE state IN ('{State.WAITING}', '{State.DELIVERED}'))
"""  # noqa: S608 - constants
ITEMS = """
WITH page AS (SELECT * FROM listed WHERE change <> 'same' ORDER BY host, host_id {window}),
rows AS (
    SELECT host_id, place, true AS gained, [{here}] AS cells FROM ({of_here}) AS here
    UNION ALL SELECT host_id, place, false, [{there}] FROM ({of_there}) AS there
)
SELECT page.host_id, page.host, page.change, list(rows.cells ORDER BY rows.place) FILTER (rows.gained),
    list(rows.cells ORDER BY rows.place) FILTER (NOT rows.gained), page.truncated
FROM page LEFT JOIN rows USING (host_id) GROUP BY ALL ORDER BY page.host, page.host_id
"""
# Of rows that are alike in what is compared, the last ones: as many as there are more on this side.
OF_PAGE = """
SELECT {name}.* FROM {name} JOIN (
    SELECT host_id, {name}_digests.place FROM {name}_digests JOIN page USING (host_id)
    JOIN changes USING (host_id, digest) WHERE changes.more {sign} 0
    QUALIFY row_number() OVER (PARTITION BY host_id, digest ORDER BY {name}_digests.place DESC) <= abs(changes.more)
) USING (host_id, place)
"""
GROUPS = """
WITH grouped AS (
    SELECT digest, more > 0 AS gained, count(DISTINCT host_id) AS hosts,
        count(DISTINCT host_id) FILTER (change = 'changed') AS in_both,
        count(DISTINCT host_id) FILTER (truncated) AS truncated, min(host_id) AS example
    FROM changes JOIN listed USING (host_id) GROUP BY digest, gained
),
page AS (SELECT * FROM grouped ORDER BY hosts DESC, in_both DESC, gained DESC, digest {window})
SELECT CASE WHEN page.gained THEN 'added' ELSE 'removed' END,
    CASE WHEN page.gained THEN [{here}] ELSE [{there}] END, page.hosts, page.in_both, page.truncated
FROM page JOIN changes ON changes.host_id = page.example AND changes.digest = page.digest
LEFT JOIN here ON here.host_id = page.example AND here.place = changes.place AND page.gained
LEFT JOIN there ON there.host_id = page.example AND there.place = changes.place AND NOT page.gained
ORDER BY page.hosts DESC, page.in_both DESC, page.gained DESC, page.digest
"""
COUNTS = "SELECT change, count(*), count(*) FILTER (truncated) FROM listed GROUP BY change"
# The sum of digests is the same in whatever order cells come; that of different ones however often they come as well:
# one process more of root's is no other uid. That costs far more, and so does looking whether a column holds numbers
# or times: each is done of those columns alone that differ nearly everywhere by what costs less.
ALWAYS_DIFFERENT = f"""
WITH here_cells AS NOT MATERIALIZED ({{of_here}}), there_cells AS NOT MATERIALIZED ({{of_there}}),
here_sums AS (SELECT host_id, number, sum(hash(coalesce(cell, ''))::HUGEINT) AS digest FROM here_cells GROUP BY ALL),
there_sums AS (SELECT host_id, number, sum(hash(coalesce(cell, ''))::HUGEINT) AS digest FROM there_cells GROUP BY ALL),
unlike AS (
    SELECT number FROM here_sums AS here JOIN there_sums AS there USING (host_id, number)
    GROUP BY number HAVING avg((here.digest <> there.digest)::INT) >= {ALWAYS}
),
here_sets AS (SELECT host_id, number, sum(digest::HUGEINT) AS digest FROM
    (SELECT DISTINCT host_id, number, hash(coalesce(cell, '')) AS digest FROM here_cells JOIN unlike USING (number))
    GROUP BY host_id, number),
there_sets AS (SELECT host_id, number, sum(digest::HUGEINT) AS digest FROM
    (SELECT DISTINCT host_id, number, hash(coalesce(cell, '')) AS digest FROM there_cells JOIN unlike USING (number))
    GROUP BY host_id, number),
different AS (
    SELECT number FROM here_sets AS here JOIN there_sets AS there USING (host_id, number)
    GROUP BY number HAVING avg((here.digest <> there.digest)::INT) >= {ALWAYS}
)
SELECT number FROM (
    SELECT number, cell FROM here_cells WHERE host_id IN (SELECT host_id FROM there_sums)
    UNION ALL SELECT number, cell FROM there_cells WHERE host_id IN (SELECT host_id FROM here_sums)
) JOIN different USING (number) GROUP BY number HAVING bool_and(
    coalesce(cell, '') = '' OR TRY_CAST(cell AS DOUBLE) IS NOT NULL OR TRY_CAST(cell AS TIMESTAMP) IS NOT NULL
)
"""  # noqa: S608 - constants
CELLS = """
SELECT host_id, unnest([{cells}]) AS cell, generate_subscripts([{cells}], 1) AS number
FROM {name} WHERE place IS NOT NULL
"""


@dataclass(frozen=True)
class Diff:
    """A campaign (`here`) beside one that came before (`there`)."""

    here: Campaign
    there: Campaign
    ignored: Sequence[str]
    tables: Tables
    columns: list[str]  # of both, as far as the person sees them
    as_of_seq: int  # as the person counts

    @property
    def compared(self) -> list[str]:
        """Give the columns that are compared: all but the ignored ones."""
        return [column for column in self.columns if column not in self.ignored]

    def page(self, limit: int, offset: int, *, by_groups: bool) -> dict[str, Any]:
        """Give a page of items or groups, the hosts of each kind, and the columns that had better be ignored."""
        sql = [self._sql(f"LIMIT {limit} OFFSET {offset}", by_groups=by_groups), COUNTS]
        shared = self._shared()
        sql += [self._always_different(shared)] if shared else []
        found = answers(sql, self.tables, Limits(bytes=MOST_BYTES))
        counts = {change: many for change, many, _ in found[1].rows}
        return {
            "results": [self._item(row, by_groups=by_groups) for row in found[0].rows],
            "truncated": found[0].truncated,
            "hosts": {"added": 0, "removed": 0, "changed": 0, "same": 0, **counts},
            "truncated_hosts": sum(many for *_, many in found[1].rows),
            "columns": self.columns,
            "suggested_ignore": [shared[number - 1] for answer in found[2:] for (number,) in sorted(answer.rows)],
            "as_of_seq": self.as_of_seq,
        }

    def every_item(self, *, by_groups: bool) -> Iterator[dict[str, Any]]:
        """Walk over all items or groups."""
        sql = [self._sql("", by_groups=by_groups)]
        with running(sql, self.tables, Limits(seconds=EXPORT_SECONDS)) as messages:
            for message in messages:
                if isinstance(message, list):
                    yield from (self._item(row, by_groups=by_groups) for row in message)

    def as_ndjson(self, *, by_groups: bool) -> Iterator[str]:
        """Write each item as a line of JSON."""
        for item in self.every_item(by_groups=by_groups):
            yield json.dumps(item) + "\n"

    def as_csv(self, *, by_groups: bool) -> Iterator[str]:
        """Write each row that is only here or only there as a line of a table."""
        return csv_lines(list(self.kinds(by_groups=by_groups)), self.lines(by_groups=by_groups))

    def kinds(self, *, by_groups: bool) -> dict[str, str]:
        """Give the columns of that table, each with the type of its cells."""
        ours = OURS_OF_GROUPS if by_groups else OURS
        *before, mark = ours
        names = [*before, *beside(ours, self.compared if by_groups else self.columns), mark]
        return {name: ours.get(name, "string") for name in names}

    def lines(self, *, by_groups: bool) -> Iterator[list[Any]]:
        """Walk over the lines of that table, cells in the order of `kinds`."""
        columns = self.compared if by_groups else self.columns
        for item in self.every_item(by_groups=by_groups):
            if by_groups:
                cells = (item["row"].get(name, "") for name in columns)
                yield [item["change"], item["hosts"], *cells, item["truncated_hosts"]]
                continue
            before = [item["change"], item["host"]["hostname"], item["host"]["id"]]
            told = [(only, row) for only, side in SIDES for row in item[side]] or [("", {})]
            for only, row in told:
                yield [*before, only, *(row.get(name, "") for name in columns), item["truncated"]]

    # --- the SQL ----------------------------------------------------------------------------------------------

    def _sql(self, window: str, *, by_groups: bool) -> str:
        columns = self.compared if by_groups else self.columns
        here, there = _cells(self.here, "here", columns), _cells(self.there, "there", columns)
        if by_groups:
            return GROUPS.format(window=window, here=here, there=there)
        of_here, of_there = OF_PAGE.format(name="here", sign=">"), OF_PAGE.format(name="there", sign="<")
        return ITEMS.format(window=window, here=here, there=there, of_here=of_here, of_there=of_there)

    def _item(self, row: list[Any], *, by_groups: bool) -> dict[str, Any]:
        if by_groups:
            change, cells, hosts, in_both, truncated = row
            counts = {"hosts": hosts, "hosts_in_both": in_both, "truncated_hosts": truncated}
            return {"row": _row(self.compared, cells), "change": change, **counts}
        host_id, host, change, added, removed, truncated = row
        return {
            "host": {"id": host_id, "hostname": host},
            "change": change,
            "added": _rows(self.columns, added),
            "removed": _rows(self.columns, removed),
            "truncated": truncated,
        }

    def _shared(self) -> list[str]:
        both = (column for column in self.columns if column in self.here.columns and column in self.there.columns)
        return [column for column in both if not is_text_by_name(column)]

    def _always_different(self, columns: Sequence[str]) -> str:
        """Give SQL for the numbers, from 1 on, of the columns that had better be ignored."""
        of_here, of_there = (
            CELLS.format(name=name, cells=_cells(side, name, columns))
            for side, name in ((self.here, "here"), (self.there, "there"))
        )
        return ALWAYS_DIFFERENT.format(of_here=of_here, of_there=of_there)


def compared(here: Campaign, number: int, ignored: Sequence[str], by: User, see: See) -> Diff:
    """Put a campaign beside another of which `see` gives what the person sees. Raise NotFoundError or BadInputError."""
    there = Campaign.objects.visible_to(by).filter(pk=number).first()
    if there is None:
        raise NotFoundError(f"with {number} is no campaign that you may look at", "with")
    here = whole(here)
    if here.pk == there.pk:
        raise BadInputError(f"with {number} is this campaign itself, expected is another one", "with")
    if here.sql != there.sql and set(here.columns) != set(there.columns):
        raise BadInputError(
            f"campaigns {here.pk} and {there.pk} asked different SQL and have different columns: runs of the same SQL,"
            " or of the same columns, can be compared",
            "with",
        )
    tables = Tables(sight_of(by))
    seen = see(here, by)
    columns = list(dict.fromkeys([*seen.columns, *see(there, by).columns]))
    diff = Diff(here, there, ignored, tables, columns, seen.last_seq)
    if unknown := [name for name in ignored if columns and name not in columns]:
        raise BadInputError(f"ignore {unknown[0]!r} is no column, there are {', '.join(columns[:20])}", "ignore")
    for name, campaign in (("here", here), ("there", there)):
        tables.add_plain(name, campaign, "answers")
        cells = _cells(campaign, name, diff.compared, or_empty=True)
        tables.prepare(DIGESTS.format(name=name, cells=cells), ROWS.format(name=name))
    tables.add_plain("states", here, "targets")
    tables.prepare(CHANGES, LISTED)
    return diff


def _cells(campaign: Campaign, table: str, columns: Sequence[str], *, or_empty: bool = False) -> str:
    """Give the cells of these columns as SQL; NULL for those that the campaign does not have."""
    cells = [place_of(campaign, f"{table}.", column) for column in columns]
    return ", ".join(f"coalesce({cell}, '')" for cell in cells) if or_empty else ", ".join(cells)


def place_of(campaign: Campaign, table: str, column: str) -> str:
    """Give the cell of a column as SQL; NULL for one that the campaign does not have."""
    if column not in campaign.columns:
        return "NULL::VARCHAR"
    return f"{table}c{campaign.columns.index(column)}"


def _row(columns: Sequence[str], cells: list[Any]) -> dict[str, str]:
    return {column: cell for column, cell in zip(columns, cells, strict=True) if cell is not None}


def _rows(columns: Sequence[str], found: list[list[Any]] | None) -> list[dict[str, str]]:
    return [_row(columns, cells) for cells in found or []]
