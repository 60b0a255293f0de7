"""`--group-by`: counts instead of rows, drawn anew on a terminal while answers come."""

import sys
from typing import Any

from rich.console import Console
from rich.live import Live

from fleet_live_queries.command.terminal import drawn, write
from fleet_live_queries.spreadsheets import beside

MOST_SHOWN = 20  # groups while it goes on; the end shows all


class GroupWriter:
    """Counts rows and hosts by what the rows hold in some columns."""

    def __init__(self, by: list[str], form: str) -> None:
        self._by, self._form = by, form
        self._groups: dict[tuple[str, ...], list[int]] = {}  # hosts, rows, the seq that was counted last
        self._live: Live | None = None
        if sys.stdout.isatty() and form == "table":
            console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
            self._live = Live(console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
            self._live.start()

    def row(self, item: dict[str, Any], row: dict[str, str], columns: list[str]) -> None:
        """Count one row."""
        group = self._groups.setdefault(tuple(row.get(name, "") for name in self._by), [0, 0, 0])
        if group[2] != item["seq"]:
            group[0] += 1
            group[2] = item["seq"]
        group[1] += 1
        if self._live is not None:
            self._live.update(drawn(self._names(), self._rows()[:MOST_SHOWN]))

    def end(self, columns: list[str]) -> None:
        """Write every group, most hosts first."""
        if self._live is not None:
            self._live.stop()
        write(self._form, self._names(), self._rows())

    def _names(self) -> list[str]:
        ours = ("hosts", "rows")
        return [*beside(ours, self._by), *ours]

    def _rows(self) -> list[list[Any]]:
        ordered = sorted(self._groups.items(), key=lambda found: (-found[1][0], found[0]))
        return [[*values, hosts, rows] for values, (hosts, rows, _) in ordered]
