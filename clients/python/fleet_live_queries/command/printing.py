"""The answers of one campaign on stdout: each whole, and what has come however the printing ends."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from fleet_live_queries.client import Campaign
from fleet_live_queries.command.interrupts import Interrupts
from fleet_live_queries.command.statuses import LeftError
from fleet_live_queries.command.terminal import Terminal
from fleet_live_queries.errors import FleetError, NotFoundError

Item = dict[str, Any]


class Writer(Protocol):
    """Whatever makes something of rows."""

    def row(self, item: Item, row: dict[str, str], columns: list[str]) -> None:
        """Take one row."""

    def end(self, columns: list[str]) -> None:
        """Write what was not written yet."""


class Printer:
    """Prints answers; `seq` is of the last one that was."""

    def __init__(self, campaign: Campaign, terminal: Terminal, writer: Writer) -> None:
        self._campaign, self._terminal, self._writer = campaign, terminal, writer
        self._interrupts = Interrupts()
        self._asked: set[str] = set()  # columns that the campaign was asked about: it does not list each
        self.seq = 0

    @contextmanager
    def ended(self) -> Iterator[None]:
        """Write what has come once this ends, however it does, and say where the campaign is when it was left.

        Raise LeftError when the person left.
        """
        with self._interrupts.caught():
            try:
                with self._written():
                    yield
            except (KeyboardInterrupt, LeftError):
                self._terminal.say(self._whereabouts())
                raise LeftError from None
            except NotFoundError:  # deleted, or out of sight: nobody knows here whether it goes on
                raise
            except FleetError:
                self._terminal.say(self._whereabouts())
                raise

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Write the rest in the end. Who reads may read no more: a second signal breaks that off."""
        signals = 0
        try:
            yield
        except (KeyboardInterrupt, LeftError):
            signals = 1
            raise
        finally:
            with self._interrupts.held(through=2 - signals):
                self._terminal.settle()
                self._writer.end(self._campaign.facts["columns"])

    def take(self, item: Item, note: Callable[[Item], None] = lambda _: None) -> None:
        """Print one answer; `note` says what else there is to say of it."""
        self._learn_columns(item)
        with self._interrupts.held():
            for row in item["rows"]:
                self._writer.row(item, row, self._campaign.facts["columns"])
            note(item)
            self.seq = item["seq"]

    def _learn_columns(self, item: Item) -> None:
        """Look at the campaign for a column that is new: it tells their order, which rows do not keep."""
        names = {name for row in item["rows"] for name in row}
        if names - self._asked - {*self._campaign.facts["columns"]}:
            self._campaign.refresh()
            self._asked |= names

    def _whereabouts(self) -> str:
        facts = self._campaign.facts
        if facts["ended_at"] is not None:
            return f"the campaign has ended: {facts['url']}"
        return f"the campaign goes on: {facts['url']} (there it can be stopped)"
