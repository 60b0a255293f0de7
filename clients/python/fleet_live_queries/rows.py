"""Rows, and the tables that other libraries make of them."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from fleet_live_queries.errors import MissingLibraryError
from fleet_live_queries.spreadsheets import HOST_COLUMNS, beside
from fleet_live_queries.steps import Json


@dataclass(frozen=True)
class Row:
    """One row of one host. `truncated`: the host had more; `late`: it came after the end."""

    host: str
    host_id: int
    values: dict[str, str]
    seq: int
    truncated: bool = False
    late: bool = False

    def __getitem__(self, column: str) -> str:
        """Give a value by its column."""
        return self.values[column]


def rows_of(item: Json) -> list[Row]:
    """Give the rows of one host's answer."""
    host, marks = item["host"], (item["truncated"], item["late"])
    return [Row(host["hostname"], host["id"], row, item["seq"], *marks) for row in item["rows"]]


def table_of(rows: list[Row], columns: list[str]) -> dict[str, list[Any]]:
    """Give columns of values; the host's own columns come first, an answer's of the same name begins with `row.`."""
    names = list(dict.fromkeys([*columns, *(name for row in rows for name in row.values)]))
    table: dict[str, list[Any]] = {"host": [row.host for row in rows], "host_id": [row.host_id for row in rows]}
    for title, name in zip(beside(HOST_COLUMNS, names), names, strict=True):
        table[title] = [row.values.get(name) for row in rows]
    return table


def library_of(name: str) -> Any:
    """Give pandas or polars. Raise MissingLibraryError when that is not installed."""
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingLibraryError(f"{name} is not installed: pip install {name}") from error


def frame(name: str, table: dict[str, list[Any]]) -> Any:
    """Give the table as a data frame of pandas or polars, of the same types however few rows there are."""
    library = library_of(name)
    if name == "pandas":
        return library.DataFrame(table).astype({"host_id": "int64"})
    types = {title: library.Int64 if title == "host_id" else library.String for title in table}
    return library.DataFrame(table, schema=types)
