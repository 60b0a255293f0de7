"""`manage.py verify_audit`: say whether the audit is whole."""

import json
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from fleet import commands
from fleet.audit import chain
from fleet.counting import counted, plural


class Command(commands.Command):
    """Check the audit's chain: exit 0 whole, 1 broken, 2 bad input."""

    help = "Check that no line of the audit is missing or changed: exit 0 whole, 1 broken, 2 bad input."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what was kept elsewhere."""
        parser.add_argument(
            "--expect",
            action="append",
            default=[],
            metavar="NUMBER:DIGEST",
            help="a place kept elsewhere, as this command printed it or as a forwarded line has it; may be given"
            " again. Without one, an end that was cut off, or a chain that was written anew as a whole, is not seen",
        )
        parser.add_argument(
            "--begins-after",
            metavar="NUMBER:DIGEST",
            help="the last line that was archived and deleted; without it the first line is number 1",
        )
        parser.add_argument("--json", action="store_true", help="one JSON object, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and say."""
        begins_after = _place(options["begins_after"]) if options["begins_after"] else None
        finding = chain.check(begins_after, tuple(_place(text) for text in options["expect"]))
        lines, hold = counted(finding.lines, "line"), plural(finding.lines, "holds", "hold")
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(finding)))
        elif finding.trouble:
            self.stderr.write(f"BROKEN: {finding.trouble}. {lines} before it {hold}.")
        else:
            self.stdout.write(f"whole: {lines} {hold}. The last is {finding.last}: keep that elsewhere.")
        if finding.trouble:
            sys.exit(1)


def _place(text: str) -> chain.Place:
    try:
        return chain.Place.read(text)
    except ValueError as error:
        raise CommandError(str(error), returncode=2) from error


def _as_json(finding: chain.Finding) -> dict[str, Any]:
    return {
        "whole": not finding.trouble,
        "lines": finding.lines,
        "last": str(finding.last),
        "broken_at": finding.broken_at,
        "trouble": finding.trouble,
    }
