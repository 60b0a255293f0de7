"""`manage.py live`: the command `live` of the client package, where the server's own code is at hand."""

import sys

from fleet_live_queries.command.main import main

from fleet import commands


class Command(commands.Command):
    """Hands every word on: the package owns the options, the help and the exit status."""

    help = "Ask hosts a question over the HTTP API; the same program as `live` (docs/command-line.md)."
    requires_system_checks: list[str] = []

    def run_from_argv(self, argv: list[str]) -> None:
        """Run, and leave with the status that says how it went."""
        sys.exit(main(argv[2:], "manage.py live"))
