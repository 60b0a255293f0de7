"""`--group-by`: counts instead of rows, drawn anew on a terminal while answers come."""

from heapq import nsmallest
from typing import Any

from rich.table import Table

from fleet_live_queries.command.terminal import Terminal, drawn, write
from fleet_live_queries.spreadsheets import beside

MOST_SHOWN = 15  # groups while it goes on, so that a small terminal holds them; the end shows all
Group = tuple[tuple[str, ...], list[int]]  # values; hosts, rows, the seq that was counted last


class GroupWriter:
    """Counts rows and hosts by what the rows hold in some columns."""

    def __init__(self, text: str, form: str, terminal: Terminal) -> None:
        self._text, self._form, self._terminal = text, form, terminal
        self._by: list[str] = []  # known with the first row
        self._groups: dict[tuple[str, ...], list[int]] = {}

    def row(self, item: dict[str, Any], row: dict[str, str], columns: list[str]) -> None:
        """Count one row."""
        self._by = self._by or columns_in(self._text, columns)
        group = self._groups.setdefault(tuple(row.get(name, "") for name in self._by), [0, 0, 0])
        if group[2] != item["seq"]:
            group[0] += 1
            group[2] = item["seq"]
        group[1] += 1
        if self._form == "table":
            self._terminal.draw(self._table)

    def end(self, columns: list[str]) -> None:
        """Write every group, most hosts first, and say of which columns no answer knows."""
        self._by = self._by or columns_in(self._text, columns)
        for name in self._by:
            if columns and name not in columns:
                self._terminal.say(f"no row has the column {name!r}, there are {', '.join(columns)}", "yellow")
        write(self._form, self._names(), _cells(sorted(self._groups.items(), key=_most_hosts)))

    def _table(self) -> Table:
        """Draw the first groups; a copy of them all, since what draws is a thread of its own."""
        return drawn(self._names(), _cells(nsmallest(MOST_SHOWN, self._groups.copy().items(), key=_most_hosts)))

    def _names(self) -> list[str]:
        ours = ("hosts", "rows")
        return [*beside(ours, self._by), *ours]


def columns_in(text: str, columns: list[str]) -> list[str]:
    """Split names at commas, but where a column's own name holds some: the longest that fits is meant."""
    found: list[str] = []
    while text := text.strip(" ,"):
        fitting = [column for column in columns if column and f"{text},".startswith(f"{column},")]
        name = max(fitting, key=len, default=text.partition(",")[0])
        found.append(name if fitting else name.strip())
        text = text[len(name) :]
    return found


def _most_hosts(group: Group) -> tuple[int, tuple[str, ...]]:
    return -group[1][0], group[0]


def _cells(groups: list[Group]) -> list[list[Any]]:
    return [[*values, hosts, rows] for values, (hosts, rows, _) in groups]
