"""Tables, such as everything hosts answered, as Parquet and as spreadsheets, piece by piece, never held whole.

Cells are the texts that hosts sent, in Parquet too: a reader casts what it knows to be a number, and a column never
changes its type from one run to the next. The libraries are imported where they are used: a console that nobody asks
for such a file does without their memory.
"""

import io
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

from campaigns.answers.exports import rows_of
from campaigns.models import Campaign
from fleet.counting import counted, plural
from fleet.errors import BadInputError
from fleet.spreadsheets import HOST_COLUMNS, MARKS, beside

ROWS_A_GROUP = 20_000  # of Parquet, held in memory
CHARACTERS_A_GROUP = 8 * 2**20  # of its cells: a row may have a megabyte
PIECE = 2**18
SHEET_ROWS = 1_048_575  # below the names; more rows go on another sheet
SHEET_COLUMNS = 16_384
LONGEST_CELL = 32_767  # characters, of a spreadsheet
WAS_CUT = -2  # says XlsxWriter then
BYTES_BESIDE_A_CELL = 40  # of its XML, beside what the row has as JSON
# 1.10 is no 1.1, but with six decimals it is how hosts print doubles.
PLAIN_NUMBER = re.compile(r"(?!-0$)-?(0|[1-9][0-9]*)(\.[0-9]{0,5}[1-9]|\.[0-9]{6})?")
DIGITS = 15  # that a double holds, whatever they are


class _Pieces(io.RawIOBase):
    """A file that is only written: gives what came since it was asked last."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        """Say that it can be written to: libraries ask before they write."""
        return True

    def write(self, piece: Any) -> int:
        """Keep a piece."""
        self._pieces.append(bytes(piece))
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        """Give how much was written."""
        return self._size

    def taken(self) -> bytes:
        """Give what was written since."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def names_in(campaign: Campaign) -> list[str]:
    """Name the columns of a file: ours, the campaign's beside them, and what is to be known of the answer."""
    return [*HOST_COLUMNS, *beside((*HOST_COLUMNS, *MARKS), campaign.columns), *MARKS]


def lines_of(campaign: Campaign) -> Iterator[list[Any]]:
    """Walk over every row as these columns have it; None = the row has no such cell."""
    columns = campaign.columns
    for item, row in rows_of(campaign):
        host = item["host"]
        yield [host["hostname"], host["id"], *map(row.get, columns), *(item[mark] for mark in MARKS)]


def rows_as_parquet(campaign: Campaign) -> Iterator[bytes]:
    """Write every row as one Parquet file."""
    kinds = ["string", "int64", *["string"] * len(campaign.columns), "bool", "bool"]
    return parquet(names_in(campaign), kinds, lines_of(campaign))


def parquet(names: Sequence[str], kinds: Sequence[str], lines: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Write lines as a Parquet file, a group of rows at a time."""
    import pyarrow as arrow
    from pyarrow import parquet as writing

    types = {
        "string": arrow.string(),
        "int64": arrow.int64(),
        "bool": arrow.bool_(),
        "timestamp": arrow.timestamp("ms", "UTC"),
    }
    schema = arrow.schema([(name, types[kind]) for name, kind in zip(names, kinds, strict=True)])
    sink = _Pieces()
    with writing.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _groups(lines):
            arrays = [
                arrow.array(cells, field.type) for cells, field in zip(zip(*group, strict=True), schema, strict=True)
            ]
            writer.write_batch(arrow.record_batch(arrays, schema=schema))
            yield sink.taken()
    yield sink.taken()


def _groups(lines: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    """Put lines together, as many as are held in memory at once."""
    group: list[Sequence[Any]] = []
    size = 0
    for line in lines:
        group.append(line)
        size += sum(len(cell) for cell in line if isinstance(cell, str))
        if len(group) >= ROWS_A_GROUP or size >= CHARACTERS_A_GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def rows_as_xlsx(campaign: Campaign) -> Iterator[bytes]:
    """Write every row as a spreadsheet. Raise BadInputError when there is no room for it here.

    Its rows wait in files until the last one is known; then it is sent.
    """
    check_room(campaign)
    return book(names_in(campaign), lines_of(campaign))


def check_room(*campaigns: Campaign) -> None:
    """Raise BadInputError when the rows of these campaigns have no room here while a spreadsheet of them is written."""
    needed, free = sum(map(_room_for, campaigns)), shutil.disk_usage(tempfile.gettempdir()).free
    if needed > free:
        raise BadInputError(
            f"the spreadsheet needs {-(-needed // 2**20)} MiB of room while it is written, {free // 2**20} MiB are"
            " there (TMPDIR of the console): export it as CSV or Parquet instead"
        )


def _room_for(campaign: Campaign) -> int:
    """Estimate the bytes that its rows and the packed file take together."""
    cells = campaign.count_rows * (len(HOST_COLUMNS) + len(campaign.columns) + len(MARKS))
    return round((campaign.stored_bytes + BYTES_BESIDE_A_CELL * cells) * 1.2)


def book(names: Sequence[str], lines: Iterable[Sequence[Any]]) -> Iterator[bytes]:
    """Write lines as a spreadsheet."""
    import xlsxwriter

    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with tempfile.TemporaryFile() as file:
        with tempfile.TemporaryDirectory() as folder:
            made = xlsxwriter.Workbook(file, {**options, "tmpdir": folder})
            cut = _fill(made, names, lines)
            if cut:
                _tell(made, cut, len(names) - SHEET_COLUMNS)
            made.close()
        file.seek(0)
        while piece := file.read(PIECE):
            yield piece


def _fill(book: Any, names: Sequence[str], lines: Iterable[Sequence[Any]]) -> int:
    """Write the sheets; give how many cells are not there as they are."""
    walk, number, cut = iter(lines), 0, 0
    while (part := list(islice(walk, 1))) or not number:
        number += 1
        sheet = book.add_worksheet(f"answers {number}" if number > 1 else "answers")
        sheet.freeze_panes(1, 1)
        cut += _write(sheet, 0, names)
        for place, line in enumerate(chain(part, islice(walk, SHEET_ROWS - 1)), 1):
            cut += _write(sheet, place, line)
    return cut


def _write(sheet: Any, place: int, line: Sequence[Any]) -> int:
    """Write a line: a text is a text, whatever a spreadsheet would make of it, but a number that it holds as it is."""
    cut = max(0, len(line) - SHEET_COLUMNS)
    for column, value in enumerate(line[:SHEET_COLUMNS]):
        if isinstance(value, str) and value and not is_number(value):
            cut += sheet.write_string(place, column, value) == WAS_CUT
        elif isinstance(value, bool):
            sheet.write_boolean(place, column, value)
        elif value not in (None, ""):
            sheet.write_number(place, column, float(value))
    return cut


def is_number(text: str) -> bool:
    """Say whether a spreadsheet holds it as the number that it is."""
    digits = text.rstrip("0") if "." in text else text
    return bool(PLAIN_NUMBER.fullmatch(text)) and sum(map(str.isdigit, digits)) <= DIGITS


def _tell(book: Any, cut: int, columns: int) -> None:
    """Say on a sheet of its own that the others do not hold everything."""
    sheet = book.add_worksheet("cut")
    cells = f"{counted(cut, 'cell')} {plural(cut, 'is', 'are')}"
    sheet.write_string(0, 0, f"{cells} cut here: a spreadsheet takes {LONGEST_CELL:,} characters of each.")
    if columns > 0:
        missing = f"{counted(columns, 'column')} {plural(columns, 'is', 'are')} missing"
        sheet.write_string(1, 0, f"{missing}: it takes {SHEET_COLUMNS:,}.")
    sheet.write_string(2, 0, "Exports as CSV, NDJSON, JSON and Parquet have all of it.")
