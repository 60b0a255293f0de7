"""Rows on stdout: a table for people, csv and ndjson for programs. What hosts sent is text, never markup or control.

A pipe or a file has no width, so that nothing is cut there; a table that is wider than its terminal becomes records.
"""

import csv
import json
import sys
from typing import Any, TextIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table

from fleet_live_queries.command.terminal import cell, encodable
from fleet_live_queries.command.text import shown
from fleet_live_queries.spreadsheets import HOST_COLUMNS, MARKS, beside, harmless, in_order

WIDEST = 2**31  # characters: more than one answer has, so that rich squeezes no column
Item = dict[str, Any]
Row = dict[str, str]


def prepare(output: TextIO) -> None:
    """Let the stream take any character, whatever its encoding, and end lines with LF where no terminal reads them."""
    if hasattr(output, "reconfigure"):
        output.reconfigure(errors="backslashreplace", newline=None if output.isatty() else "\n")


class NdjsonWriter:
    """A line of JSON for each row, as it arrives."""

    def row(self, item: Item, row: Row, columns: list[str]) -> None:
        """Write one row; whose it is, and what is to be known of it, stand beside it."""
        line = {"host": item["host"], "row": in_order(row, columns), **{mark: item[mark] for mark in MARKS}}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()

    def end(self, columns: list[str]) -> None:
        """Everything is written already."""


class CsvWriter:
    """All rows at the end: their columns are known only then."""

    def __init__(self) -> None:
        self._rows: list[tuple[Item, Row]] = []

    def row(self, item: Item, row: Row, columns: list[str]) -> None:
        """Keep one row."""
        self._rows.append((item, row))

    def _columns(self, columns: list[str]) -> list[str]:
        """Give the columns that rows have, in the campaign's order."""
        found = dict.fromkeys(name for _, row in self._rows for name in row)
        return list(in_order(found, columns))

    def end(self, columns: list[str]) -> None:
        """Write the table; on a terminal its cells are shown, for programs they are exact."""
        columns = self._columns(columns)
        writer = csv.writer(sys.stdout, lineterminator="\n")
        as_read = shown if sys.stdout.isatty() else str
        writer.writerow([as_read(harmless(name)) for name in (*HOST_COLUMNS, *beside(HOST_COLUMNS, columns))])
        for item, row in self._rows:
            cells = (item["host"]["hostname"], item["host"]["id"], *(row.get(name, "") for name in columns))
            writer.writerow([as_read(harmless(cell)) for cell in cells])
        sys.stdout.flush()


class TableWriter(CsvWriter):
    """A table for people, at the end."""

    def end(self, columns: list[str]) -> None:
        """Draw the table, or records where a terminal is too narrow for it."""
        columns = self._columns(columns)
        console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
        titles = ("host", *beside(("host",), columns))
        table = Table(*(Column(header=cell(title), no_wrap=True) for title in titles))
        for item, row in self._rows:
            table.add_row(*map(cell, (item["host"]["hostname"], *(row.get(name, "") for name in columns))))
        width = Measurement.get(console, console.options.update(width=WIDEST), table).maximum
        if sys.stdout.isatty() and width > console.width:
            self._records(columns)
        else:
            console.width = max(width, 1)
            console.print(table)
        sys.stdout.flush()

    def _records(self, columns: list[str]) -> None:
        titles = beside(("host",), columns)
        width = max(len(shown(title)) for title in ("host", *titles))
        for number, (item, row) in enumerate(self._rows, 1):
            sys.stdout.write(encodable(f"-[ {number} ]-\n{'host':{width}} | {shown(item['host']['hostname'])}\n"))
            for title, name in zip(titles, columns, strict=True):
                sys.stdout.write(encodable(f"{shown(title):{width}} | {shown(row.get(name, ''))}\n"))


WRITERS: dict[str, type[NdjsonWriter | CsvWriter]] = {"table": TableWriter, "csv": CsvWriter, "ndjson": NdjsonWriter}
