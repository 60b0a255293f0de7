"""`manage.py verify_audit`: say whether the audit is whole."""

import json
import sys
from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser
from redis.exceptions import RedisError

from campaigns.operating import audit_end
from campaigns.operating.audit_end import End
from fleet import commands
from fleet.audit import chain
from fleet.audit.chain import Finding, Place
from fleet.counting import counted, plural


class Command(commands.Command):
    """Check the audit's chain and its end: exit 0 whole, 1 broken, 2 bad input."""

    help = "Check that no line of the audit is missing or changed: exit 0 whole, 1 broken, 2 bad input."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take what was kept elsewhere."""
        parser.add_argument(
            "--expect",
            action="append",
            default=[],
            metavar="NUMBER:DIGEST",
            help="a place kept elsewhere, as this command printed it, as it is logged daily or as a forwarded line has"
            " it; may be given again. Without one, who writes to PostgreSQL and Redis both can cut off the end unseen",
        )
        parser.add_argument(
            "--begins-after",
            metavar="NUMBER:DIGEST",
            help="the last line that was archived and deleted; without it the first line is number 1",
        )
        parser.add_argument(
            "--accept-end",
            action="store_true",
            help="after a restore: go by the end as it is, although Redis remembers a later one; the audit notes it",
        )
        parser.add_argument("--json", action="store_true", help="one JSON object, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check and say."""
        begins_after = _place(options["begins_after"]) if options["begins_after"] else None
        expected = tuple(_place(text) for text in options["expect"])
        end, unknown = _remembered()  # before the audit is looked at: it only grows
        finding = chain.check(begins_after, expected)
        if end is not None and not finding.trouble and not chain.has(end.place):
            if options["accept_end"]:
                audit_end.accept(end)
                finding = chain.check(begins_after, expected)
            else:
                number, last = end.place.number, finding.last.number
                finding = replace(finding, broken_at=min(number, last + 1), trouble=end.sentence(last))
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(finding, end)))
        else:
            self._say(finding, end, unknown)
        if finding.trouble:
            sys.exit(1)

    def _say(self, finding: Finding, end: End | None, unknown: str) -> None:
        lines, hold = counted(finding.lines, "line"), plural(finding.lines, "holds", "hold")
        if finding.trouble:
            self.stderr.write(f"BROKEN: {finding.trouble}. {lines} before it {hold}.")
            return
        self.stdout.write(f"whole: {lines} {hold}. The last is {finding.last}: keep that elsewhere.")
        if end is None:
            self.stdout.write(unknown or "Redis remembers no line: whether the end was cut off is not known.")


def _remembered() -> tuple[End | None, str]:
    """Give the line that Redis remembers, None = none; and in a sentence why that is not known."""
    try:
        return audit_end.remembered(), ""
    except (RedisError, OSError) as error:
        return None, f"Redis does not answer ({error}): whether the end was cut off is not known."


def _place(text: str) -> Place:
    try:
        return Place.read(text)
    except ValueError as error:
        raise CommandError(str(error), returncode=2) from error


def _as_json(finding: Finding, end: End | None) -> dict[str, Any]:
    return {
        "whole": not finding.trouble,
        "lines": finding.lines,
        "last": str(finding.last),
        "broken_at": finding.broken_at,
        "trouble": finding.trouble,
        "remembered": str(end.place) if end is not None else None,
    }
