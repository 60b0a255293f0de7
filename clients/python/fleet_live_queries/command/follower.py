"""One campaign, from its launch to its last row: progress on stderr, rows on stdout."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

from fleet_live_queries.client import Campaign
from fleet_live_queries.command.counting import GroupWriter
from fleet_live_queries.command.interrupts import ask
from fleet_live_queries.command.printing import Printer
from fleet_live_queries.command.silent_file import SilentFile
from fleet_live_queries.command.statuses import ANSWERED, FAILED, NOBODY, SILENT, LeftError
from fleet_live_queries.command.targets import names
from fleet_live_queries.command.terminal import Terminal
from fleet_live_queries.command.writers import WRITERS
from fleet_live_queries.errors import FleetError
from fleet_live_queries.verbs import SILENT_STATES
from fleet_live_queries.wording import counted, plural

GRACE_SECONDS = 120.0  # a server that is started again has to end the campaign first
OUTSIDE = "there is more outside of your scope: only your hosts are counted and shown"
BESIDE = ("targeted", "rows", "online")  # counts that are no states
OPEN_STATES = ("waiting", "delivered")


class Follower:
    """Follows, prints. The campaign lives on the server: ending this does not stop it."""

    def __init__(
        self, campaign: Campaign, terminal: Terminal, options: argparse.Namespace, silent: SilentFile | None
    ) -> None:
        self._campaign, self._terminal, self._options, self._silent = campaign, terminal, options, silent
        is_counted = bool(names(options.group_by, "--group-by"))
        writer = GroupWriter(options.group_by, options.format, terminal) if is_counted else WRITERS[options.format]()
        self._printer = Printer(campaign, terminal, writer)
        self._counts: dict[str, int] = campaign.facts["counts"]
        self._shown = ""
        self._warned: set[str] = set()
        self._is_enough: Callable[[], bool] | None = self._until(options.until)

    def run(self) -> int:
        """Follow to the end; give the exit status."""
        self._terminal.say(f"campaign {self._campaign.id}: {self._campaign.facts['url']}")
        with self._printer.ended():
            self._follow_unless_told()
        if self._silent is not None:
            hosts = self._silent.write(self._campaign.silent())
            self._terminal.say(f"{counted(hosts, 'silent host')}: {self._silent.name}")
        return self._judge(self._campaign.facts["counts"])

    # --- following --------------------------------------------------------------------------------------------

    def _follow_unless_told(self) -> None:
        """Follow to the end. Ctrl-C asks; raise LeftError when the person leaves."""
        while True:
            try:
                return self._follow()
            except KeyboardInterrupt:
                self._terminal.settle()
                self._decide()
                self._shown = ""  # said again below the question

    def _decide(self) -> None:
        choice = ask(self._terminal.say)
        if choice == "leave":
            raise LeftError
        if choice == "stop":
            try:
                self._stop()
            except KeyboardInterrupt:
                raise LeftError from None

    def _stop(self) -> None:
        try:
            self._campaign.stop()
        except FleetError as refused:  # it ended in between, or this is not allowed
            self._terminal.say(f"it cannot be stopped: {refused}")

    def _follow(self) -> None:
        facts = self._campaign.facts
        for event in self._campaign.events(after=self._printer.seq, patience=facts["timeout"] + GRACE_SECONDS):
            if event.kind == "item":
                self._printer.take(event.value, self._note)
                continue
            if event.kind in ("campaign", "ended"):
                self._warn()
            self._counts = event.value if event.kind == "counts" else event.value["counts"]
            self._tell_progress()
            if self._is_enough is not None and self._some_are_open() and self._is_enough():
                self._is_enough = None
                self._terminal.say(f"enough ({self._options.until}): the campaign is stopped")
                self._stop()

    def _note(self, item: dict[str, Any]) -> None:
        if item["error"]:
            self._terminal.say(f"{item['host']['hostname']}: {item['error']}", "red")
        if item["truncated"]:
            rows = item["row_count"]
            kept = f"its answer was too large, {counted(rows, 'row')} {plural(rows, 'was', 'were')} kept"
            self._terminal.say(f"{item['host']['hostname']}: {kept}", "yellow")

    # --- enough -----------------------------------------------------------------------------------------------

    def _until(self, until: str) -> Callable[[], bool] | None:
        if until == "all":
            return None
        if until == "online":
            return self._no_online_is_open
        return partial(self._are_so_many, float(until.removesuffix("%")))

    def _are_so_many(self, percent: float) -> bool:
        """Say whether such a part has ended; of all that are expected, while targets are still being written."""
        hosts: int = max(self._counts["targeted"], self._campaign.facts["expected"])
        return self._final() * 100 >= percent * hosts > 0

    def _final(self) -> int:
        return sum(self._counts[name] for name in self._counts if name not in (*BESIDE, *OPEN_STATES))

    def _some_are_open(self) -> bool:
        return any(self._counts[name] for name in OPEN_STATES)

    def _no_online_is_open(self) -> bool:
        """Say whether no host that is online has still to answer; never before anybody has answered."""
        if not self._final() or self._campaign.refresh()["status"] == "targeting":
            return False
        path = f"campaigns/{self._campaign.id}/targets/"
        listed = (self._campaign.client.list(path, state=state) for state in OPEN_STATES)
        return not any(target["online"] for targets in listed for target in targets)

    # --- saying -----------------------------------------------------------------------------------------------

    def _warn(self) -> None:
        facts = self._campaign.facts
        outside = [OUTSIDE] if facts.get("partial") else []
        for warning in [*facts["warnings"], *outside]:
            if warning not in self._warned:
                self._terminal.say(f"warning: {warning}", "yellow")
                self._warned.add(warning)

    def _tell_progress(self) -> None:
        words = _words(self._campaign.facts, self._counts)
        if words != self._shown:
            self._terminal.progress(words)
            self._shown = words

    def _judge(self, counts: dict[str, int]) -> int:
        facts = self._campaign.facts
        if lacking := counts["unsupported"]:
            hosts = f"{counted(lacking, 'host')} {plural(lacking, 'does', 'do')}"
            self._terminal.say(f"{hosts} not have what was asked for")
        status = _status(counts)
        self._terminal.say(f"{facts['status']}: {facts['ended_reason']}", "yellow" if status else "green")
        return status


def _status(counts: dict[str, int]) -> int:
    if not counts["answered"]:
        return NOBODY
    if counts["failed"] or counts["denylisted"]:
        return FAILED
    return SILENT if any(counts[state] for state in SILENT_STATES) else ANSWERED


def _words(campaign: dict[str, Any], counts: dict[str, int]) -> str:
    if campaign.get("waits_for"):
        return f"{counted(campaign['expected'], 'host')}: waits for {campaign['waits_for']}, by a second person"
    parts = [f"{counts[name]} {name}" for name in counts if counts[name] and name not in BESIDE]
    paused = " (paused)" if campaign["status"] == "paused" else ""
    hosts, rows = counted(counts["targeted"], "host"), counted(counts["rows"], "row")
    return f"{hosts}{paused}: {', '.join(parts) or 'none yet'}; {rows}"
