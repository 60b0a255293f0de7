"""The process that writes one copy: a table that PostgreSQL sends as CSV on stdin becomes a columnar file.

A script of its own like the worker, since it takes memory and cores; it runs no SQL but what stands here. It is told
on stdin first what is to come: the length of a JSON object in ten digits, the object, then the table.
"""

import json
import os
import resource
import sys
from typing import Any

import duckdb

LONGEST_ROW = 64 * 2**20  # bytes of one line: a host's answer is smaller, and quotes may double it
LOOKED_AT = 2000  # rows that rule types out before all rows are looked at
AT_A_TIME = 20  # columns: the engine takes a second to plan 100 of them in one SELECT, and a minute for 1,000
INTEGER = "TRY_CAST({0} AS BIGINT)::VARCHAR = {0}"
# Text that a number would not give back, such as 1.10, stays text; with six decimals it is how hosts print doubles.
DOUBLE = f"(isfinite(TRY_CAST({{0}} AS DOUBLE)) AND (TRY_CAST({{0}} AS DOUBLE)::VARCHAR = {{0}} OR {INTEGER}" + (
    " OR regexp_full_match({0}, '-?(0|[1-9][0-9]*)\\.[0-9]{{6}}')))"
)
TIMESTAMP = (
    "(regexp_full_match({0}, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[ T][0-9]{{2}}:[0-9]{{2}}(:[0-9]{{2}}(\\.[0-9]{{1,6}})?)?"
    "(Z|[+-][0-9]{{2}}:?[0-9]{{2}})?') AND TRY_CAST({0} AS TIMESTAMP) IS NOT NULL)"
)
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
    for source in (f"(FROM {table} LIMIT {LOOKED_AT})", table):
        checks = [(place, kind) for place, kinds in candidates.items() for kind in kinds]
        fits: dict[tuple[str, str], bool | None] = {}
        for first in range(0, len(checks), AT_A_TIME * len(TYPES)):
            part = checks[first : first + AT_A_TIME * len(TYPES)]
            verdicts = ", ".join(
                f"bool_and(coalesce({TYPES[kind].format(_quoted(place))}, false)) FILTER ({_quoted(place)} <> '')"
                for place, kind in part
            )
            fits |= zip(part, connection.execute(f"SELECT {verdicts} FROM {source}").fetchone(), strict=True)  # noqa: S608
        for place, kinds in candidates.items():
            candidates[place] = [kind for kind in kinds if fits[place, kind] is not False]


def _type(kinds: list[str]) -> str:
    """Give the first type that fits: none does, or all do since every cell is empty, and it is a text."""
    return kinds[0] if 0 < len(kinds) < len(TYPES) else "VARCHAR"


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
    # A column that no host has whom the person may see is none for him.
    named = [(name, place, _type(kinds.get(place, []))) for place, name in told["answers"] if place in shown]
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
    connection.close()


if __name__ == "__main__":
    main()
