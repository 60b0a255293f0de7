"""`manage.py rebuild_board`: write the board in Redis anew from Postgres. The sweeper does it by itself when needed."""

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser

from campaigns.running.rebuild import rebuild
from fleet import commands
from fleet.counting import plural


class Command(commands.Command):
    """Rebuild once, as soon as the collector has stored what is in the stream."""

    help = "Write the board in Redis anew from Postgres. Needs a running collector when answers wait in the stream."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how long to wait for the collector."""
        parser.add_argument("--wait", type=int, default=60, help="seconds to wait for the collector (default 60)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Try every half second until it is done."""
        deadline = time.monotonic() + options["wait"]
        while not rebuild():
            if time.monotonic() > deadline:
                waited = f"{options['wait']:g} {plural(options['wait'], 'second')}"
                raise CommandError(f"answers wait in the stream since {waited}: is `manage.py collect` running?")
            time.sleep(0.5)
        self.stdout.write("the board is whole")
