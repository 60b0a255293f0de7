"""The process that writes one copy: a table that PostgreSQL sends as CSV on stdin becomes a columnar file.

A script of its own like the worker, since it takes memory and cores; it runs no SQL but what stands here. It is told
on stdin first what is to come: the length of a JSON object in ten digits, the object, then the table.
"""

import json
import os
import resource
import sys
from typing import Any

import _duckdb as duckdb  # the engine alone: what lies around it takes a tenth of a second to load

LONGEST_ROW = 64 * 2**20  # bytes of one line: a host's answer is smaller, and quotes may double it
LOOKED_AT = 2000  # rows that rule types out before all rows are looked at
AT_A_TIME = 60  # types of columns: the engine takes a second to plan 300 of them in one SELECT, a minute for 3,000
INTEGER = "TRY_CAST({0} AS BIGINT)::VARCHAR = {0}"
# Text that a number would not give back, such as 1.10, stays text; with six decimals it is how hosts print doubles.
DOUBLE = f"(isfinite(TRY_CAST({{0}} AS DOUBLE)) AND (TRY_CAST({{0}} AS DOUBLE)::VARCHAR = {{0}} OR {INTEGER}" + (
    " OR regexp_full_match({0}, '-?(0|[1-9][0-9]*)\\.[0-9]{{6}}')))"
)
TIMESTAMP = (
    "(regexp_full_match({0}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[ T][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\\.[0-9]{{1,6}})?)?"
    "(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?') AND TRY_CAST({0} AS TIMESTAMP) IS NOT NULL)"
)
HAS_OFFSET = "contains(substr({0}, 12), '+') OR contains(substr({0}, 12), '-')"  # of a timestamp, behind its date
TYPES = {"BIGINT": INTEGER, "DOUBLE": DOUBLE, "TIMESTAMP": TIMESTAMP}  # the first that fits is taken


def _read(size: int) -> bytes:
    """Read so many bytes and not one more: what follows is for the engine."""
    pieces = b""
    while len(pieces) < size:
        pieces += os.read(0, size - len(pieces)) or sys.exit("the table ended before it began")
    return pieces


def _load(connection: Any, name: str, columns: dict[str, str], shown: dict[str, str]) -> None:
    """Take the table in under a name. `shown` gives columns another form than they came in."""
    names = json.dumps(columns).replace("'", "''").replace('"', "'")
    chosen = ", ".join(f'{shown.get(column, _quoted(column))} AS "{column}"' for column in columns)
    connection.execute(
        f"CREATE TABLE {name} AS SELECT {chosen} FROM read_csv('/dev/stdin', header = false, delim = ',',"  # noqa: S608
        " quote = '\"', escape = '\"', nullstr = '\\N', allow_quoted_nulls = false, new_line = '\\n',"
        f" auto_detect = false, parallel = false, max_line_size = {LONGEST_ROW}, buffer_size = {2 * LONGEST_ROW},"
        f" columns = {names})"
    )


def _quoted(name: str) -> str:
    return f'"{name}"'


def _narrow(connection: Any, table: str, candidates: dict[str, list[str]]) -> None:
    """Leave each column the types that all of its cells have; empty ones rule nothing out."""
    if not candidates:
        return
    first = f"FROM {table} LIMIT {LOOKED_AT}"
    _leave(candidates, _of_a_few(connection, f"({first})", list(candidates)))
    if connection.execute(f"SELECT count(*) > {LOOKED_AT} FROM {table}").fetchone()[0]:  # noqa: S608 - ours
        _leave(candidates, _of_all(connection, table, candidates))


def _leave(candidates: dict[str, list[str]], fits: dict[tuple[str, str], bool | None]) -> None:
    for place, kinds in candidates.items():
        candidates[place] = [kind for kind in kinds if fits.get((place, kind)) is not False]


def _of_a_few(connection: Any, source: str, places: list[str]) -> dict[tuple[str, str], bool | None]:
    """Say whether the cells of each column have each type, by one look for all columns: quick to plan, not to run."""
    verdicts = ", ".join(f"bool_and(coalesce({check.format('cell')}, false))" for check in TYPES.values())
    found = connection.execute(
        f"SELECT spot, {verdicts} FROM (SELECT unnest([{', '.join(map(_quoted, places))}]) AS cell,"  # noqa: S608 - ours
        f" unnest(range({len(places)})) AS spot FROM {source}) WHERE cell <> '' GROUP BY spot"
    ).fetchall()
    return {(places[spot], kind): fit for spot, *fits in found for kind, fit in zip(TYPES, fits, strict=True)}


def _of_all(connection: Any, table: str, candidates: dict[str, list[str]]) -> dict[tuple[str, str], bool | None]:
    """Say the same of the types that each column may have still, column by column: quick to run."""
    checks = [(place, kind) for place, kinds in candidates.items() for kind in kinds]
    fits: dict[tuple[str, str], bool | None] = {}
    for first in range(0, len(checks), AT_A_TIME):
        part = checks[first : first + AT_A_TIME]
        verdicts = ", ".join(
            f"bool_and(coalesce({TYPES[kind].format(_quoted(place))}, false)) FILTER ({_quoted(place)} <> '')"
            for place, kind in part
        )
        fits |= zip(part, connection.execute(f"SELECT {verdicts} FROM {table}").fetchone(), strict=True)  # noqa: S608
    return fits


def _type(kinds: list[str]) -> str:
    """Give the first type that fits: none does, or all do since every cell is empty, and it is a text."""
    return kinds[0] if 0 < len(kinds) < len(TYPES) else "VARCHAR"


def _with_offsets(connection: Any, places: list[str]) -> set[str]:
    """Give those of the columns of timestamps in which some are told with their offset from UTC."""
    if not places:
        return set()
    verdicts = ", ".join(f"bool_or({HAS_OFFSET.format(_quoted(place))})" for place in places)
    found = connection.execute(f"SELECT {verdicts} FROM cells").fetchone()  # noqa: S608 - places are ours
    return {place for place, has in zip(places, found, strict=True) if has}


def _with_cells(connection: Any, table: str, places: list[str]) -> set[str]:
    if not places:
        return set()
    counts = ", ".join(f"count({_quoted(place)})" for place in places)
    found = connection.execute(f"SELECT {counts} FROM {table}").fetchone()  # noqa: S608 - places are ours
    return {place for place, count in zip(places, found, strict=True) if count}


def _candidates(connection: Any, told: dict[str, Any]) -> dict[str, list[str]]:
    """Give the types that each column may have still: any, or what the cells that are there have left."""
    known = dict(connection.execute("SELECT place, kinds FROM kinds").fetchall()) if told["extends"] else {}
    places = [place for place, _ in told["answers"] if place not in told["texts"]]
    return {place: known.get(place, list(TYPES)) for place in places}


def _join(connection: Any, columns: dict[str, str]) -> set[str]:
    """Put what came since to what is there; give the columns that had cells."""
    for column, kind in columns.items():
        connection.execute(f"ALTER TABLE cells ADD COLUMN IF NOT EXISTS {_quoted(column)} {kind}")
    connection.execute("INSERT INTO cells BY NAME FROM fresh")
    connection.execute("DROP TABLE fresh")
    return {place for (place,) in connection.execute("SELECT place FROM columns").fetchall()}


def _describe(connection: Any, told: dict[str, Any], shown: set[str], kinds: dict[str, list[str]]) -> None:
    """Write down how columns of answers are called, and which types they may have when more comes."""
    connection.execute("CREATE OR REPLACE TABLE columns (name VARCHAR, place VARCHAR, type VARCHAR)")
    connection.execute("CREATE OR REPLACE TABLE kinds (place VARCHAR, kinds VARCHAR[])")
    connection.execute("INSERT INTO kinds SELECT unnest(?), unnest(?)", [list(kinds), list(kinds.values())])
    types = {place: _type(kinds.get(place, [])) for place, _ in told["answers"]}
    moments = _with_offsets(connection, [place for place, kind in types.items() if kind == "TIMESTAMP"])
    types |= dict.fromkeys(moments, "TIMESTAMPTZ")
    # A column that no host has whom the person may see is none for him.
    named = [(name, place, types[place]) for place, name in told["answers"] if place in shown]
    lists = [[column[at] for column in named] for at in range(3)]
    connection.execute("INSERT INTO columns SELECT unnest(?), unnest(?), unnest(?)", lists)


def main() -> None:
    """Write the copy, or what came since to one that is there."""
    order = json.loads(_read(int(_read(10))))
    resource.setrlimit(resource.RLIMIT_FSIZE, (order["most_bytes"],) * 2)
    settings = {
        "threads": str(order["threads"]),
        "memory_limit": f"{order['memory'] // 2**20}MiB",
        "temp_directory": "",
    }
    connection = duckdb.connect(order["path"], config={**settings, "preserve_insertion_order": "false"})
    table = "fresh" if order["extends"] else "cells"
    _load(connection, table, order["columns"], order["shown"])
    kinds = _candidates(connection, order)
    _narrow(connection, table, kinds)
    shown = _with_cells(connection, table, [place for place, _ in order["answers"]])
    if order["extends"]:
        shown |= _join(connection, order["columns"])
    _describe(connection, order, shown, kinds)
    connection.execute("CHECKPOINT")  # closing writes what is not there yet as well, but is silent when it cannot
    connection.close()


if __name__ == "__main__":
    main()
