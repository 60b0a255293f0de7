"""`manage.py osquery_flags`: the flagfile that makes a stock osqueryd join this server."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from agents.enrolling.flagfile import IDENTIFIERS, Joining
from agents.protocol.endpoints import PREFIXES, QUICK_INTERVAL, SLOW_INTERVAL
from fleet import commands
from fleet.errors import BadInputError


class Command(commands.Command):
    """Print the flagfile, or write it."""

    help = "The flagfile for osqueryd --flagfile FILE. Paths are those on the hosts, not here."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where the server is and where the hosts' files lie."""
        public = urlsplit(settings.PUBLIC_URL).netloc
        parser.add_argument("--hostname", default=public, help=f"NAME[:PORT] of the server (PUBLIC_URL: {public!r})")
        parser.add_argument("--ca", default="/etc/osquery/fleet-ca.pem", help="the CA's file on the host")
        parser.add_argument("--secret-file", default="/etc/osquery/fleet-secret", help="the enroll secret's file there")
        parser.add_argument("--client-cert", default="", help="with --client-key: for mutual TLS")
        parser.add_argument("--client-key", default="")
        parser.add_argument("--prefix", default=PREFIXES[0], choices=PREFIXES)
        parser.add_argument("--host-identifier", default="uuid", choices=IDENTIFIERS)
        parser.add_argument("--output", type=Path, help="write this file instead of printing")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and write."""
        names = ("hostname", "ca", "secret_file", "client_cert", "client_key", "prefix", "host_identifier")
        joining = Joining(
            interval=QUICK_INTERVAL if settings.HOLD_SECONDS else SLOW_INTERVAL,
            max_block_bytes=settings.CARVE_MAX_BLOCK_BYTES,
            keeps_logs=bool(settings.LOG_SINK),
            **{name: options[name] for name in names},
        )
        try:
            joining.check()
        except BadInputError as error:
            raise CommandError(error.sentence) from error
        if options["output"] is None:
            self.stdout.write(joining.text(), ending="")
        else:
            options["output"].write_text(joining.text())
