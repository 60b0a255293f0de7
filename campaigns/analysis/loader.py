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


def _load(connection: Any, columns: dict[str, str], shown: dict[str, str]) -> None:
    """Take the table in. `shown` gives columns another form than they came in."""
    names = json.dumps(columns).replace("'", "''").replace('"', "'")
    chosen = ", ".join(f'{shown.get(name, _quoted(name))} AS "{name}"' for name in columns)
    connection.execute(
        f"CREATE TABLE cells AS SELECT {chosen} FROM read_csv('/dev/stdin', header = false, delim = ',',"  # noqa: S608
        " quote = '\"', escape = '\"', nullstr = '\\N', allow_quoted_nulls = false, new_line = '\\n',"
        f" auto_detect = false, parallel = false, max_line_size = {LONGEST_ROW}, buffer_size = {2 * LONGEST_ROW},"
        f" columns = {names})"
    )


def _quoted(name: str) -> str:
    return f'"{name}"'


def _types(connection: Any, places: list[str]) -> dict[str, str]:
    """Give each column the type that all of its cells have: empty ones have any, and none at all make a text."""
    candidates = {place: list(TYPES) for place in places}
    for source in (f"(FROM cells LIMIT {LOOKED_AT})", "cells"):
        checks = [(place, kind) for place, kinds in candidates.items() for kind in kinds]
        if not checks:
            break
        told = ", ".join(
            f"bool_and({TYPES[kind].format(_quoted(place))}) FILTER ({_quoted(place)} <> '')" for place, kind in checks
        )
        fits = dict(zip(checks, connection.execute(f"SELECT {told} FROM {source}").fetchone(), strict=True))  # noqa: S608
        # Nothing but empty cells rules nothing out among the first rows; among all of them it makes a text.
        undecided = source != "cells"
        for place, kinds in candidates.items():
            candidates[place] = [
                kind for kind in kinds if fits[place, kind] or (undecided and fits[place, kind] is None)
            ]
    return {place: (kinds or ["VARCHAR"])[0] for place, kinds in candidates.items()}


def _with_cells(connection: Any, answers: list[list[str]]) -> list[list[str]]:
    if not answers:
        return []
    counts = ", ".join(f"count({_quoted(place)})" for place, _ in answers)
    found = connection.execute(f"SELECT {counts} FROM cells").fetchone()  # noqa: S608 - places are ours
    return [answer for answer, count in zip(answers, found, strict=True) if count]


def main() -> None:
    """Write the copy."""
    told = json.loads(_read(int(_read(10))))
    resource.setrlimit(resource.RLIMIT_FSIZE, (told["most_bytes"],) * 2)
    settings = {"threads": str(told["threads"]), "memory_limit": f"{told['memory'] // 2**20}MiB", "temp_directory": ""}
    connection = duckdb.connect(told["path"], config={**settings, "preserve_insertion_order": "false"})
    _load(connection, told["columns"], told["shown"])
    types = _types(connection, [place for place, _ in told["answers"] if place not in told["texts"]])
    connection.execute("CREATE TABLE columns (name VARCHAR, place VARCHAR, type VARCHAR)")
    # A column that no host has whom the person may see is none for him.
    for place, name in _with_cells(connection, told["answers"]):
        connection.execute("INSERT INTO columns VALUES (?, ?, ?)", [name, place, types.get(place, "VARCHAR")])
    connection.close()


if __name__ == "__main__":
    main()
