"""One campaign, from its launch to its last row: progress on stderr, rows on stdout."""

import time
import uuid
from typing import Any

from campaigns.live.interrupts import Interrupts, LeftError, ask
from campaigns.live.server import ANSWERED, BAD_INPUT, FAILED, NOBODY, SILENT, TROUBLE, AwayError, Server, StoppedError
from campaigns.live.writers import WRITERS
from fleet.text import shown

LOOK_SECONDS = 0.3
LAUNCH_SECONDS = 30.0  # how long a launch is repeated that may have arrived: its key makes it one campaign
GRACE_SECONDS = 120.0  # a server that is started again has to end the campaign first
SILENT_STATES = ("no_answer", "missed", "held_back", "stopped")
OUTSIDE = "there is more outside of your scope: only your hosts are counted and shown"
NAMES = ("label", "platform", "host")


class Follower:
    """Launches, follows, prints. The campaign lives on the server: ending this does not stop it."""

    def __init__(self, options: dict[str, Any], say: Any) -> None:
        self._options = options
        self._say = say
        self._server = Server(options["url"], options["token"], options["ca"], self._tell)
        self._writer = WRITERS[options["format"]]()
        self._interrupts = Interrupts()
        self._seq = 0
        self._shown = ""
        self._warned: set[str] = set()

    def run(self) -> int:
        """Launch and follow; give the exit status."""
        target = self._target()
        order = {"sql": self._options["sql"], "target": target, "timeout": self._options["timeout"]}
        if self._options["force"]:
            order["force"] = True
        self._campaign = self._launch({**order, "name": self._options["name"]})
        self._path = f"/api/v1/campaigns/{self._campaign['id']}/"
        self._tell(f"campaign {self._campaign['id']}: {self._campaign['url']}")
        with self._interrupts.caught():
            try:
                self._follow_unless_told()
            except LeftError:
                raise StoppedError(TROUBLE, self._goes_on()) from None
            finally:
                with self._interrupts.held():
                    self._writer.end(self._campaign["columns"])  # what has arrived is kept, however this ends
        return self._judge(self._campaign["counts"])

    def _launch(self, order: dict[str, Any]) -> dict[str, Any]:
        """Launch, once even where it has to be said twice."""
        key = {"Idempotency-Key": str(uuid.uuid4())}
        launched: dict[str, Any]
        try:
            launched = self._server.ask("POST", "/api/v1/campaigns/", order, key)
        except AwayError as away:
            if away.unsent:
                raise StoppedError(TROUBLE, str(away)) from away
            launched = self._server.ask_until(LAUNCH_SECONDS, "POST", "/api/v1/campaigns/", order, **key)
        return launched

    def _target(self) -> dict[str, Any]:
        target: dict[str, Any] = {"all": True} if self._options["all"] else {}
        for name in NAMES:
            many = self._options[f"{name}s"] or ""
            names = [*(value.strip() for value in many.split(",") if value.strip()), *(self._options[name] or ())]
            if names:
                target[f"{name}s"] = names
        if not target:
            raise StoppedError(BAD_INPUT, "say who is meant: --all, --labels, --platforms or --hosts")
        return target

    # --- following --------------------------------------------------------------------------------------------

    def _follow_unless_told(self) -> None:
        """Follow to the end. Ctrl-C asks; raise LeftError when the person leaves."""
        while True:
            try:
                return self._follow()
            except KeyboardInterrupt:
                self._decide()

    def _decide(self) -> None:
        choice = ask(self._tell)
        if choice == "leave":
            raise LeftError
        if choice == "stop":
            try:
                self._ask("POST", f"{self._path}stop/")
            except KeyboardInterrupt:
                raise LeftError from None
            except StoppedError as refused:
                self._tell(f"it cannot be stopped: {refused}")  # it ended in between, or this is not allowed

    def _follow(self) -> None:
        while True:
            self._campaign = self._ask("GET", self._path)
            self._warn()
            self._take_results()
            words = _words(self._campaign)
            if words != self._shown:
                self._tell(words)
                self._shown = words
            if self._campaign["ended_at"] is not None and self._seq >= self._campaign["last_seq"]:
                return
            time.sleep(LOOK_SECONDS)

    def _ask(self, method: str, path: str) -> Any:
        """Ask for as long as the campaign can still run: a server may be started again meanwhile."""
        try:
            return self._server.ask_until(self._options["timeout"] + GRACE_SECONDS, method, path)
        except StoppedError as stopped:
            if method == "GET":
                self._tell(self._goes_on())
            raise stopped from None

    def _warn(self) -> None:
        outside = [OUTSIDE] if self._campaign.get("partial") else []
        for warning in [*self._campaign["warnings"], *outside]:
            if warning not in self._warned:
                self._tell(f"warning: {warning}")
                self._warned.add(warning)

    def _take_results(self) -> None:
        while items := self._ask("GET", f"{self._path}results/?after={self._seq}&limit=1000")["results"]:
            if {name for item in items for row in item["rows"] for name in row} - {*self._campaign["columns"]}:
                self._campaign = self._ask("GET", self._path)  # it tells their order, which rows do not keep
            for item in items:
                with self._interrupts.held():
                    self._take(item)
                    self._seq = item["seq"]

    def _take(self, item: dict[str, Any]) -> None:
        for row in item["rows"]:
            self._writer.row(item, row, self._campaign["columns"])
        if item["error"]:
            self._tell(f"{item['host']['hostname']}: {item['error']}")
        if item["truncated"]:
            self._tell(f"{item['host']['hostname']}: its answer was too large, {item['row_count']} rows were kept")

    # --- saying -----------------------------------------------------------------------------------------------

    def _tell(self, sentence: str) -> None:
        self._say(shown(sentence))

    def _goes_on(self) -> str:
        return f"the campaign goes on: {self._campaign['url']} (there it can be stopped)"

    def _judge(self, counts: dict[str, int]) -> int:
        self._tell(f"{self._campaign['status']}: {self._campaign['ended_reason']}")
        if counts["unsupported"]:
            self._tell(f"{counts['unsupported']} hosts do not have what was asked for")
        if not counts["answered"]:
            return NOBODY
        if counts["failed"] or counts["denylisted"]:
            return FAILED
        return SILENT if any(counts[state] for state in SILENT_STATES) else ANSWERED


def _words(campaign: dict[str, Any]) -> str:
    if campaign.get("waits_for"):
        return f"{campaign['expected']} hosts: waits for {campaign['waits_for']}, by a second person"
    counts: dict[str, int] = campaign["counts"]
    parts = [f"{counts[name]} {name}" for name in counts if counts[name] and name not in ("targeted", "rows", "online")]
    return f"{counts['targeted']} hosts: {', '.join(parts) or 'none yet'}; {counts['rows']} rows"
