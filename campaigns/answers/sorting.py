"""How rows are sorted by a column: by a key that costs little of each of a million rows.

Time goes into reading cells and telling numbers, so each cell is read once where it can be, told by what is cheap
first, and dropped at once where a few answers show already that its row comes after the page.
"""

from typing import Any

from django.db import connection

# Each gives `cell.value` and `place`, the row's place within its answer; the first one gives `item.row` as well.
ROWS_AND_CELLS = """
CROSS JOIN LATERAL jsonb_array_elements(result.rows) WITH ORDINALITY AS item (row, place)
CROSS JOIN LATERAL (SELECT item.row ->> %s AS value) AS cell
"""
CELLS = """
CROSS JOIN LATERAL ROWS FROM (jsonb_to_recordset(result.rows) AS ({name} text))
    WITH ORDINALITY AS cell (value, place)
"""
LONGEST_NAME = 63  # bytes of an identifier
# What is a number to whoever sorts, and which. Most cells are numbers as Postgres itself would write them, or do not
# begin as numbers do. osquery writes large doubles as 1e+20.0, which Postgres does not read.
NUMBER = r"""
CASE {integer} WHEN cell.value COLLATE "C" >= '-' AND cell.value COLLATE "C" < ':' THEN CASE
    {decimal}
    WHEN cell.value ~ '^-?[0-9]+(\.[0-9]+)?([eE]|$)' THEN CASE
        WHEN length(cell.value) <= 40 AND strpos(cell.value, 'e') = 0 AND strpos(cell.value, 'E') = 0
        THEN cell.value::numeric
        WHEN cell.value ~ '^-?[0-9]{{1,40}}(\.[0-9]{{1,40}})?([eE][+-]?[0-9]{{1,3}}(\.0)?)?$'
        THEN regexp_replace(cell.value, '([eE][+-]?[0-9]+)\.0$', '\1')::numeric END
    END
END
"""
# Of what Postgres reads as a number only what is written as one: no blanks, no 0x10, no 1_000. It writes no infinity
# with a point.
INTEGER = """
    WHEN CASE WHEN pg_input_is_valid(cell.value, 'int8') THEN cell.value::int8::text END = cell.value
    THEN cell.value::int8::numeric
"""
DECIMAL = """
    WHEN strpos(cell.value, '.') > 0 AND length(cell.value) <= 40
        AND CASE WHEN pg_input_is_valid(cell.value, 'numeric') THEN cell.value::numeric::text END = cell.value
    THEN cell.value::numeric
"""
WITH_VALIDITY = 160000  # the first Postgres that tells without raising
SAMPLE = 2000  # answers that are looked at first, where there are many times more


def number() -> str:
    """Give the SQL of a cell's number, NULL where it is none."""
    plain = connection.pg_version >= WITH_VALIDITY  # type: ignore[attr-defined]  # as PostgreSQL's has
    return NUMBER.format(integer=INTEGER if plain else "", decimal=DECIMAL if plain else "")


def cells(column: str) -> tuple[str, list[str]]:
    """Give the SQL of one column's cells without their rows, with its parameters."""
    if not 0 < len(column.encode()) <= LONGEST_NAME:
        return ROWS_AND_CELLS, [column]
    name = column.replace('"', '""').replace("%", "%%")
    return CELLS.format(name=f'"{name}"'), []


def bound(last: tuple[Any, str | None], *, descending: bool) -> tuple[str, list[Any]]:
    """Give a condition that all rows meet which come before this one, or are like it; its number and its cell."""
    number, cell = last
    sign = ">=" if descending else "<="
    if number is not None:
        return f"AND typed.number {sign} %s", [number]
    if cell is not None:
        return f"AND (typed.number IS NOT NULL OR cell.value {sign} %s)", [cell]
    return "", []
