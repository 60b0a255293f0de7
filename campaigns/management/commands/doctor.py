"""`manage.py doctor`: look at the whole installation and say in sentences what to mend."""

import json
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from campaigns.operating.edge import Edge, edge
from campaigns.operating.finding import Finding, Severity
from campaigns.operating.machine import configuration, machine
from campaigns.operating.processes import processes
from campaigns.operating.servers import postgresql, redis
from fleet import commands
from fleet.counting import counted

MARKS = {Severity.WELL: "  well", Severity.WARNING: "  WARN", Severity.BROKEN: "BROKEN"}


class Command(commands.Command):
    """Look, and change nothing."""

    help = "Look at the whole installation. Exit status: 0 = well, 1 = warnings, 2 = something is broken."
    requires_system_checks: list[str] = []  # they are among what is looked at

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where agents come in."""
        public = os.environ.get("FLEET_URL") or settings.PUBLIC_URL
        parser.add_argument("--url", default=public, help=f"public address of the gateways (PUBLIC_URL: {public!r})")
        parser.add_argument(
            "--ca", type=Path, default=_given("FLEET_CA"), help="the CA of agents' tls_server_certs, PEM"
        )
        parser.add_argument(
            "--tls-hostname", default="", help="the name in agents' flagfiles, when it is not the address'"
        )
        parser.add_argument("--client-cert", type=Path, help="a host's certificate, where the edge asks for one, PEM")
        parser.add_argument("--client-key", type=Path, help="its key, PEM")
        parser.add_argument("--json", action="store_true", help="for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look at everything; each part by itself, so that what is broken hides nothing."""
        found: list[Finding] = []
        shown = options["client_cert"], options["client_key"]
        if (shown[0] is None) != (shown[1] is None):
            raise CommandError("--client-cert and --client-key belong together", returncode=int(Severity.BROKEN))
        for look in list(_parts(options["url"], options["ca"], options["tls_hostname"], shown if shown[0] else None)):
            for finding in look():
                found.append(finding)
                if not options["json"]:
                    self._print(finding)
        worst = max(finding.severity for finding in found)
        if options["json"]:
            told = [finding.as_json() for finding in found]
            self.stdout.write(json.dumps({"severity": worst.name.lower(), "findings": told}, indent=2))
        else:
            self.stdout.write(_last_words(found))
        if worst:
            raise SystemExit(int(worst))

    def _print(self, finding: Finding) -> None:
        self.stdout.write(f"{MARKS[finding.severity]}  {finding.about}: {finding.sentence}")
        if finding.advice:
            self.stdout.write(f"        → {finding.advice}")


def _parts(
    url: str, ca: Path | None, name: str, shown: tuple[Path, Path] | None
) -> Iterable[Callable[[], Iterable[Finding]]]:
    yield from (postgresql, redis, processes)
    if url:
        try:
            yield partial(edge, Edge.at(url, ca, name, shown))
        except ValueError as error:
            raise CommandError(str(error), returncode=int(Severity.BROKEN)) from error
    else:
        nowhere = Finding(
            "edge", Severity.WARNING, "PUBLIC_URL is not set: the way of agents was not tried", "give --url"
        )
        yield lambda: [nowhere]
    yield from (machine, configuration)


def _last_words(found: list[Finding]) -> str:
    broken = sum(finding.severity == Severity.BROKEN for finding in found)
    warnings = sum(finding.severity == Severity.WARNING for finding in found)
    if not broken and not warnings:
        return f"\nAll is well: {counted(len(found), 'thing was', 'things were')} looked at."
    said = f"{counted(broken, 'thing is', 'things are')} broken, {warnings} should be mended"
    return f"\n{said}; {len(found)} were looked at."


def _given(name: str) -> Path | None:
    return Path(os.environ[name]) if os.environ.get(name) else None
