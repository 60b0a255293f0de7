"""Messages to people by a service: mail, Slack, Teams and more, through Apprise, which is an extra.

Apprise runs in a process of its own, for each message: there every connection is looked at before it is made, whatever
the service's library resolves or is redirected to, and one that hangs is ended. A proxy would connect past that
look: those of the environment are not used.
"""

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from django.conf import settings

from campaigns.hooks.posting import Outcome
from fleet.errors import BadInputError

WHOLE_SECONDS = 20.0
MAIL = ("mailto", "mailtos")
MOST_SAID = 500  # characters
MISSING = "notifications need the package apprise, which is not installed: pip install -r requirements-extra.txt"


def is_installed() -> bool:
    """Say whether the extra is there."""
    return importlib.util.find_spec("apprise") is not None


def check(address: str) -> None:
    """Raise BadInputError when the extra is missing, the service is not allowed, or Apprise cannot read the address."""
    if not is_installed():
        raise BadInputError(MISSING, "address")
    try:
        service = urlsplit(address).scheme.lower()
    except ValueError as error:
        raise BadInputError(f"address is none: {error}", "address") from error
    if service not in settings.NOTIFICATION_SERVICES:
        allowed = ", ".join(settings.NOTIFICATION_SERVICES)
        raise BadInputError(
            f"address names the service {service[:40]!r}, allowed are {allowed} (NOTIFICATION_SERVICES)", "address"
        )
    if service in MAIL:
        _check_receivers(address)
    outcome = _child({"do": "check", "address": address})
    if outcome.error:
        raise BadInputError(outcome.error, "address")


def _check_receivers(address: str) -> None:
    """Raise BadInputError for a receiver that is no mail address: Apprise leaves it out without a word."""
    for name, given in parse_qsl(urlsplit(address).query):
        for one in given.split(",") if name.lower() in ("to", "cc", "bcc") else ():
            if one.strip() and "@" not in one:
                raise BadInputError(f"address has {one.strip()[:100]!r} in {name}, which is no mail address", "address")


def notify(address: str, title: str, text: str, reached: Sequence[str] = ()) -> Outcome:
    """Send a message to those of a service's receivers who were not reached yet; whatever goes wrong is an outcome."""
    if not is_installed():
        return Outcome(None, error=MISSING)
    return _child({"do": "send", "address": address, "title": title, "text": text, "reached": [*reached]})


def _child(order: dict[str, Any]) -> Outcome:
    began = time.monotonic()
    asked = json.dumps({**order, "networks": settings.HOOKS_ALLOWED_NETWORKS})
    command = [sys.executable, "-m", "campaigns.hooks.notifier"]
    try:
        done = subprocess.run(  # noqa: S603 - our own file
            command,
            input=asked,
            capture_output=True,
            text=True,
            timeout=WHOLE_SECONDS,
            check=False,
            cwd=settings.BASE_DIR,
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""  # of bytes, though text is asked for
        late = f"the service did not take it within {WHOLE_SECONDS:g} seconds"
        return Outcome(None, error=late, reached=_reached(_lines(said.decode() if isinstance(said, bytes) else said)))
    took, lines = int(1000 * (time.monotonic() - began)), _lines(done.stdout)
    if done.returncode == 0:
        return Outcome(200, answer="the service took it", took_ms=took, reached=_reached(lines))
    errors = [line["error"] for line in lines if line.get("error")]
    why = errors[-1][-MOST_SAID:] if errors else "the service did not take it"
    return Outcome(None, error=why, took_ms=took, reached=_reached(lines))


def _lines(said: str) -> list[dict[str, str]]:
    """Read the lines that are whole: of a process that was killed the last one may not be."""
    return [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]


def _reached(lines: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(line["reached"] for line in lines if "reached" in line)
