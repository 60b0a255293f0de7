"""Messages to people by a service: mail, Slack, Teams and more, through Apprise, which is an extra.

Apprise runs in a process of its own, for each message: there every connection is looked at before it is made, whatever
the service's library resolves or is redirected to, and one that hangs is ended.
"""

import importlib.util
import json
import subprocess
import sys
import time
from urllib.parse import urlsplit

from django.conf import settings

from campaigns.hooks.posting import Outcome
from fleet.errors import BadInputError

WHOLE_SECONDS = 20.0
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
    outcome = _child({"do": "check", "address": address})
    if outcome.error:
        raise BadInputError(outcome.error, "address")


def notify(address: str, title: str, text: str) -> Outcome:
    """Send a message; whatever goes wrong is an outcome."""
    if not is_installed():
        return Outcome(None, error=MISSING)
    return _child({"do": "send", "address": address, "title": title, "text": text})


def _child(order: dict[str, str]) -> Outcome:
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
        )
    except subprocess.TimeoutExpired:
        return Outcome(None, error=f"the service did not take it within {WHOLE_SECONDS:g} seconds")
    took = int(1000 * (time.monotonic() - began))
    if done.returncode == 0:
        return Outcome(200, answer="the service took it", took_ms=took)
    return Outcome(None, error=done.stdout.strip()[-500:] or "the service did not take it", took_ms=took)
