"""`manage.py live "SELECT …"`: ask over the HTTP API and follow; progress on stderr, rows on stdout."""

import argparse
import os
import sys
from typing import Any

from django.core.management.base import CommandParser

from campaigns.live import analysis
from campaigns.live.follower import NAMES, Follower
from campaigns.live.server import BAD_INPUT, TROUBLE, StoppedError
from campaigns.live.writers import WRITERS, prepare
from fleet import commands


class Command(commands.Command):
    """Launch, follow, print. The campaign lives on the server: ending this command does not stop it."""

    help = "Ask hosts a question. Exit status: 0 all answered, 5 nobody, 4 some failed, 3 some silent, 2 bad input."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the question, who is meant, and where the server is."""
        parser.add_argument("sql", help="the question; or `sql ID SELECT`, or `diff BEFORE AFTER`")
        parser.add_argument("more", nargs="*", help=argparse.SUPPRESS)
        parser.add_argument("--ignore", action="append", default=[], help="diff: a column that is not compared")
        parser.add_argument("--groups", action="store_true", help="diff: what hosts have in common")
        parser.add_argument("--all", action="store_true", help="every host")
        for name in NAMES:
            parser.add_argument(f"--{name}s", help="names with commas between")
            parser.add_argument(f"--{name}", action="append", help="one name, to the letter; may be repeated")
        parser.add_argument("--timeout", type=int, default=60, help="seconds (default 60)")
        parser.add_argument("--name", default="")
        parser.add_argument("--force", action="store_true", help="ask hosts whose known tables speak against it too")
        parser.add_argument("--format", choices=tuple(WRITERS), default="table")
        parser.add_argument("--url", default=os.environ.get("FLEET_URL", ""), help="FLEET_URL")
        parser.add_argument("--token", default=os.environ.get("FLEET_TOKEN", ""), help="FLEET_TOKEN")
        parser.add_argument("--ca", default=os.environ.get("FLEET_CA", ""), help="FLEET_CA; default: the system's")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run, and leave with the status that says how it went."""
        prepare(sys.stdout)
        prepare(sys.stderr)
        try:
            status = self._run(options)
        except StoppedError as stopped:
            self.stderr.write(str(stopped))
            status = stopped.status
        except BrokenPipeError:  # who reads the rows has enough: `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left has nowhere to go either
            status = TROUBLE
        except OSError as error:
            self.stderr.write(f"the rows cannot be written: {error}")
            status = TROUBLE
        except KeyboardInterrupt:
            self.stderr.write("interrupted before it was known whether a campaign was launched: look at the console")
            status = TROUBLE
        sys.exit(status)

    def _run(self, options: dict[str, Any]) -> int:
        """Do what the first word says; anything else is a question."""
        verb = {"sql": analysis.sql, "diff": analysis.diff}.get(options["sql"])
        if verb is not None:
            return verb(options, options["more"], self.stderr.write)
        if options["more"]:
            raise StoppedError(BAD_INPUT, f"{options['more'][0]!r} is one word too many: put the SQL in quotes")
        return Follower(options, self.stderr.write).run()
