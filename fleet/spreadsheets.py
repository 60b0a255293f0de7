"""Cells of csv as spreadsheets read them: what one would run is quoted, numbers stay numbers.

Shared by the exports of the server and by `live`, which knows nothing of the server but its address.
"""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, cast

STARTS_A_FORMULA = frozenset("=+-@＝＋－＠﹦﹢﹣﹫−")  # noqa: RUF001 - full-width and small forms are read as the plain ones
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
HOST_COLUMNS, MARKS = ("host", "host_id"), ("truncated", "late")  # ours, beside those of the answer
UNSEEN = ("Z", "C")  # spaces, ends of lines, controls and invisible marks may be cut off before a cell is read

BOM = "\ufeff"  # tells old spreadsheets that a table is UTF-8


def harmless(cell: Any) -> Any:
    """Give the cell, with an apostrophe before a text that a spreadsheet would run; truths as JSON has them."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if not isinstance(cell, str) or not cell or (cell[0].isalnum() and cell[0].isascii()):
        return cell
    bare = _without_lead(cell)
    if not bare or bare[0] not in STARTS_A_FORMULA or NUMBER.fullmatch(bare.strip()):
        return cell
    return f"'{cell}"


def _without_lead(cell: str) -> str:
    for place, character in enumerate(cell):
        if unicodedata.category(character)[0] not in UNSEEN:
            return cell[place:]
    return ""


def beside(ours: Iterable[str], columns: Iterable[str]) -> list[str]:
    """Name a table's columns so that ours keep their names: one of the same name begins with `row.`, or several."""
    ours, names = set(ours), list(columns)
    taken = {*ours, *names}
    for place, column in enumerate(names):
        while names[place] in ours or (names[place] != column and names[place] in taken):
            names[place] = f"row.{names[place]}"
        taken.add(names[place])
    return names


def in_order(row: dict[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Give the row with its columns in the campaign's order: the database keeps none."""
    return {name: row[name] for name in dict.fromkeys([*columns, *row]) if name in row}


class _Line:
    """What csv writes into: gives each line back."""

    def write(self, line: str) -> str:
        """Give the line back."""
        return line


def csv_lines(names: Iterable[str], rows: Iterable[Iterable[Any]], *, bom: bool = False) -> Iterator[str]:
    """Write a table line by line; cells that a spreadsheet would run are quoted, names of columns as well."""
    writer = csv.writer(_Line())
    before = BOM if bom else ""
    for row in chain([names], rows):
        yield before + cast(str, writer.writerow([harmless(cell) for cell in row]))
        before = ""
