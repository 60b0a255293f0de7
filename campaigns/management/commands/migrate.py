"""`manage.py migrate`: Django's own, which waits briefly for a lock and tries again, so that it can run under load.

Whoever waits for a table's lock keeps everybody waiting that comes after. So no migration waits longer than two
seconds; it is then rolled back whole, answers are stored meanwhile, and it is tried again.
"""

import time
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.core.management.commands import migrate
from django.db import OperationalError, connections
from psycopg2.errors import LockNotAvailable

from fleet.counting import counted

PAUSE_SECONDS = 2.0
SET = "SELECT set_config('lock_timeout', %s, false)"


class Command(migrate.Command):
    """Migrate, again while others hold the locks."""

    def add_arguments(self, parser: CommandParser) -> None:
        """Take how long one try waits, and how many there are."""
        super().add_arguments(parser)
        parser.add_argument(
            "--lock-timeout", type=float, default=2.0, help="seconds that a migration waits for a lock (default 2)"
        )
        parser.add_argument("--lock-tries", type=int, default=30, help="how often it is tried (default 30)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate; what was done stays done when a later migration has to be tried again."""
        wait, tries = options["lock_timeout"], options["lock_tries"]
        if wait <= 0 or tries < 1:
            raise CommandError(f"--lock-timeout {wait:g} must be above 0, --lock-tries {tries} at least 1")
        for left in reversed(range(tries)):
            try:
                return self._try(wait, *args, **options)
            except OperationalError as error:
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
                if not left:
                    raise CommandError(
                        f"others held a lock that a migration needs at each of {counted(tries, 'try', 'tries')}:"
                        " nothing of it was done. Look for long transactions (manage.py doctor), then run it again"
                    ) from error
                self.stderr.write(f"a table is locked by others, it is tried again: {str(error).splitlines()[0]}")
                time.sleep(PAUSE_SECONDS)
        return None

    def _try(self, wait: float, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('lock_timeout')")
            before = cursor.fetchone()[0]
            cursor.execute(SET, [f"{round(wait * 1000)}ms"])
        try:
            super().handle(*args, **options)
        finally:
            with connection.cursor() as cursor:
                cursor.execute(SET, [before])
