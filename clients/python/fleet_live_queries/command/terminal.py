"""What people see: sentences and progress on stderr, tables on stdout; colours and redrawing on terminals only."""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from fleet_live_queries.command.board import Board
from fleet_live_queries.command.text import shown
from fleet_live_queries.spreadsheets import harmless

MOST_COLUMN = 200  # characters of a cell where no terminal has a width
CLEAR_LINE = "\r\x1b[2K"
COLOURS = {"red": 31, "green": 32, "yellow": 33}


class Terminal:
    """Where one run of the command writes."""

    def __init__(self) -> None:
        self._redraws = _redraws(sys.stderr)
        self._colours = self._redraws and not os.environ.get("NO_COLOR")
        self._line = ""
        self._board: Board | None = None
        self._table: Callable[[], Table] | None = None  # what the board draws, also when it is taken up again

    def say(self, sentence: object, colour: str = "") -> None:
        """Say a sentence on stderr; a line of progress, and a table that is drawn again and again, stay below it."""
        text, colour = shown(sentence), colour if self._colours else ""
        if self._board is not None and self._redraws:
            self._board.say(text, colour)
            return
        line, self._line = self._line, ""
        before = CLEAR_LINE if line else ""
        if colour:
            text = f"\x1b[{COLOURS[colour]}m{text}\x1b[0m"
        sys.stderr.write(f"{before}{text}\n")
        if line:
            self.progress(line)
        sys.stderr.flush()

    def progress(self, words: str) -> None:
        """Show how far it is: in one place on a terminal, as lines elsewhere."""
        if not self._redraws:
            self.say(words)
            return
        self._line = shown(words)
        self._take_up_board()
        if self._board is not None:
            self._board.progress = self._line
            return
        sys.stderr.write(self._in_one_line())
        sys.stderr.flush()

    def draw(self, table: Callable[[], Table]) -> None:
        """Draw a table each second until all is settled, where stdout is a terminal."""
        if _redraws(sys.stdout):
            self._table = table
            self._take_up_board()

    def _take_up_board(self) -> None:
        if self._table is None or self._board is not None:
            return
        if self._line:
            sys.stderr.write(CLEAR_LINE)
            sys.stderr.flush()
        self._board = Board(self._table, self._line)

    def settle(self) -> None:
        """Let the line of progress stay where it is; a table that is drawn again and again goes until there is more."""
        board, self._board = self._board, None
        if board is not None:
            board.stop()
        if self._line:
            sys.stderr.write(f"{self._in_one_line()}\n")
            sys.stderr.flush()
        self._line = ""

    def _in_one_line(self) -> str:
        width = max(20, _columns(sys.stderr) - 1)
        return f"{CLEAR_LINE}{self._line[:width]}"

    # --- stdout -----------------------------------------------------------------------------------------------

    def json(self, value: Any) -> None:
        """Write one object as a line."""
        sys.stdout.write(json.dumps(value) + "\n")
        sys.stdout.flush()

    def listed(self, items: Iterable[dict[str, Any]], columns: dict[str, Callable[[Any], Any]], as_json: bool) -> int:
        """Write a list: a line of JSON for each, or a table of these columns. Give how many there were."""
        count, rows = 0, []
        for count, item in enumerate(items, 1):  # noqa: B007 - given back
            if as_json:
                self.json(item)
            else:
                rows.append([value(item) for value in columns.values()])
        if rows:
            write("table", [*columns], rows)
        return count


def write(form: str, names: list[str], rows: list[list[Any]]) -> None:
    """Write a whole table on stdout, as `table`, `csv` or `ndjson`."""
    if form == "ndjson":
        members = told_apart(names)
        for row in rows:
            sys.stdout.write(json.dumps(dict(zip(members, row, strict=True))) + "\n")
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        as_read: Callable[[Any], Any] = shown if sys.stdout.isatty() else lambda cell: cell
        writer.writerow([as_read(harmless(name)) for name in names])
        writer.writerows([as_read(harmless(_text(value))) for value in row] for row in rows)
    else:
        console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
        if not sys.stdout.isatty():
            console.width = max(80, sum(2 + MOST_COLUMN for _ in names))
        console.print(drawn(names, rows))
    sys.stdout.flush()


def told_apart(names: list[str]) -> list[str]:
    """Let no two names be the same, as a join may give them: a later one ends with its number."""
    taken, apart = set(names), list[str]()
    for name in names:
        unlike, number = name, 1
        while unlike in apart or (unlike != name and unlike in taken):
            number += 1
            unlike = f"{name}_{number}"
        apart.append(unlike)
    return apart


def drawn(names: list[str], rows: list[list[Any]]) -> Table:
    """Give a table for people."""
    table = Table(*(Column(header=cell(name), overflow="fold") for name in names))
    for row in rows:
        table.add_row(*(cell(_text(value)) for value in row))
    return table


def _redraws(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        return 80


def _text(value: Any) -> Any:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) and not isinstance(value, bool) else json.dumps(value)


def cell(value: Any) -> Text:
    """Give a cell as it is: rich would take brackets for markup, and `:cd:` for an emoji."""
    return Text(encodable(shown(value)), overflow="fold")


def encodable(text: str) -> str:
    """Give the text as the terminal will have it, so that columns are as wide as what is in them."""
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "backslashreplace").decode(encoding)
