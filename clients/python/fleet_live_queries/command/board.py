"""Counts that are drawn anew in one place of a terminal."""

import sys
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text


class Board:
    """A table that is drawn each second, with the line of progress above it.

    What is said meanwhile goes through its console: two that write on one screen tear each other's lines apart.
    """

    def __init__(self, table: Callable[[], Table], progress: str) -> None:
        self._table, self.progress = table, progress
        console = Console(file=sys.stdout, markup=False, emoji=False, highlight=False)
        self._live = Live(
            console=console,
            get_renderable=self._drawn,
            refresh_per_second=1,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def say(self, sentence: str, colour: str) -> None:
        """Say a sentence above what is drawn."""
        self._live.console.print(Text(sentence, style=colour))

    def stop(self) -> None:
        """Take the table off the screen."""
        self._live.stop()

    def _drawn(self) -> Group:
        return Group(Text(self.progress, no_wrap=True, overflow="crop"), self._table())
