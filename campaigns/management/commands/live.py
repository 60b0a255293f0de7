"""`manage.py live "SELECT …"`: ask over the HTTP API and follow; progress on stderr, rows on stdout."""

import csv
import json
import os
import ssl
import sys
import time
from typing import Any

import httpx
from django.core.management.base import CommandParser
from rich.console import Console
from rich.table import Table

from fleet import commands

LOOK_SECONDS = 0.3
ANSWERED, TROUBLE, BAD_INPUT, SILENT, FAILED, NOBODY = range(6)
SILENT_STATES = ("no_answer", "missed", "held_back", "stopped")


class StoppedError(Exception):
    """The command ends with this exit status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Command(commands.Command):
    """Launch, follow, print. The campaign lives on the server: ending this command does not stop it."""

    help = "Ask hosts a question. Exit status: 0 all answered, 5 nobody, 4 some failed, 3 some silent, 2 bad input."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the question, who is meant, and where the server is."""
        parser.add_argument("sql")
        parser.add_argument("--all", action="store_true", help="every host")
        for name in ("labels", "platforms", "hosts"):
            parser.add_argument(f"--{name}", help="names with commas between")
        parser.add_argument("--timeout", type=int, default=60, help="seconds (default 60)")
        parser.add_argument("--name", default="")
        parser.add_argument("--format", choices=("table", "csv", "ndjson"), default="table")
        parser.add_argument("--url", default=os.environ.get("FLEET_URL", ""), help="FLEET_URL")
        parser.add_argument("--token", default=os.environ.get("FLEET_TOKEN", ""), help="FLEET_TOKEN")
        parser.add_argument("--ca", default=os.environ.get("FLEET_CA", ""), help="FLEET_CA; default: the system's")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run, and leave with the status that says how it went."""
        try:
            status = Follower(options).run()
        except StoppedError as stopped:
            self.stderr.write(str(stopped))
            status = stopped.status
        except BrokenPipeError:  # who reads the rows has enough: `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left has nowhere to go either
            status = TROUBLE
        except (httpx.HTTPError, OSError) as error:
            self.stderr.write(f"no answer from {options['url'] or 'the server'}: {error}")
            status = TROUBLE
        sys.exit(status)


class Follower:
    """One campaign, from its launch to its last row."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        if not options["url"] or not options["token"]:
            raise StoppedError(BAD_INPUT, "say where the server is and who asks: --url and --token")
        trust = ssl.create_default_context(cafile=options["ca"] or None)
        self._http = httpx.Client(
            base_url=options["url"], headers={"Authorization": f"Bearer {options['token']}"}, verify=trust, timeout=20
        )
        self._console = Console(stderr=True)
        self._writer: NdjsonWriter | CsvWriter = WRITERS[options["format"]]()

    def run(self) -> int:
        """Launch and follow; give the exit status."""
        order = {"sql": self._options["sql"], "target": self._target(), "timeout": self._options["timeout"]}
        campaign = self._ask("POST", "/api/v1/campaigns/", {**order, "name": self._options["name"]})
        try:
            campaign = self._follow(campaign)
        except KeyboardInterrupt:
            raise StoppedError(
                TROUBLE, f"\nthe campaign goes on: {campaign['url']} (there it can be stopped)"
            ) from None
        self._writer.end()
        return self._judge(campaign["counts"], campaign)

    def _target(self) -> dict[str, Any]:
        target: dict[str, Any] = {"all": True} if self._options["all"] else {}
        for name in ("labels", "platforms", "hosts"):
            if self._options[name]:
                target[name] = [value.strip() for value in self._options[name].split(",") if value.strip()]
        if not target:
            raise StoppedError(BAD_INPUT, "say who is meant: --all, --labels, --platforms or --hosts")
        return target

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._http.request(method, path, json=body)
        if answer.is_success:
            return answer.json()
        try:
            sentence = answer.json()["error"]
        except (ValueError, KeyError):
            sentence = f"status {answer.status_code}"
        raise StoppedError(BAD_INPUT if answer.status_code == 400 else TROUBLE, sentence)

    def _follow(self, campaign: dict[str, Any]) -> dict[str, Any]:
        path, seq = f"/api/v1/campaigns/{campaign['id']}/", 0
        for warning in campaign["warnings"]:
            self._console.print(warning)
        shown = ""
        while True:
            campaign = self._ask("GET", path)
            seq = self._take_results(path, seq)
            words = _words(campaign["counts"])
            if words != shown:
                self._console.print(words, highlight=False)
                shown = words
            if campaign["ended_at"] is not None and seq >= campaign["last_seq"]:
                return campaign
            time.sleep(LOOK_SECONDS)

    def _take_results(self, path: str, seq: int) -> int:
        while items := self._ask("GET", f"{path}results/?after={seq}&limit=1000")["results"]:
            for item in items:
                for row in item["rows"]:
                    self._writer.row(item["host"]["hostname"], row)
                if item["error"]:
                    self._console.print(f"{item['host']['hostname']}: {item['error']}", markup=False, highlight=False)
            seq = items[-1]["seq"]
        return seq

    def _judge(self, counts: dict[str, int], campaign: dict[str, Any]) -> int:
        self._console.print(f"{campaign['status']}: {campaign['ended_reason']}", highlight=False)
        if counts["unsupported"]:
            self._console.print(f"{counts['unsupported']} hosts do not have what was asked for")
        if not counts["answered"]:
            return NOBODY
        if counts["failed"] or counts["denylisted"]:
            return FAILED
        return SILENT if any(counts[state] for state in SILENT_STATES) else ANSWERED


def _words(counts: dict[str, int]) -> str:
    parts = [f"{counts[name]} {name}" for name in counts if counts[name] and name not in ("targeted", "rows", "online")]
    return f"{counts['targeted']} hosts: {', '.join(parts) or 'none yet'}; {counts['rows']} rows"


class NdjsonWriter:
    """A line of JSON for each row, as it arrives."""

    def row(self, host: str, row: dict[str, str]) -> None:
        """Write one row."""
        sys.stdout.write(json.dumps({"host": host, **row}) + "\n")
        sys.stdout.flush()

    def end(self) -> None:
        """Everything is written already."""


class CsvWriter:
    """All rows at the end: their columns are known only then."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, dict[str, str]]] = []

    def row(self, host: str, row: dict[str, str]) -> None:
        """Keep one row."""
        self._rows.append((host, row))

    def _columns(self) -> list[str]:
        return list(dict.fromkeys(name for _, row in self._rows for name in row))

    def end(self) -> None:
        """Write the table."""
        columns = self._columns()
        writer = csv.writer(sys.stdout)
        writer.writerow(["host", *columns])
        writer.writerows([host, *(row.get(name, "") for name in columns)] for host, row in self._rows)


class TableWriter(CsvWriter):
    """A table for people, at the end."""

    def end(self) -> None:
        """Draw the table."""
        columns = self._columns()
        table = Table("host", *columns)
        for host, row in self._rows:
            table.add_row(host, *(row.get(name, "") for name in columns))
        Console().print(table)


WRITERS: dict[str, type[NdjsonWriter | CsvWriter]] = {"table": TableWriter, "csv": CsvWriter, "ndjson": NdjsonWriter}
