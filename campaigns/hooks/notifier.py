"""The process that sends one message by Apprise: it reads an order, and says in lines who has it and what failed.

Every connection that is about to be made raises an event of Python's own audit, wherever in the libraries it is made;
one to a network that hooks may not reach is refused there, before a byte is sent. So is reading files of this machine,
which an address may name for many services, as a template or a key: only what programs are made of is read.

A message is plain text, whatever a service makes of text: hosts' values stand in it, and name nobody and link nowhere.
"""

import hashlib
import json
import logging
import os
import re
import sys
import sysconfig
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from django.conf import settings

from campaigns.hooks import networks

# Python with its packages, and what libraries look up: certificates, types of files, time zones.
READABLE = (
    *{os.path.realpath(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    *("/etc/ssl", "/etc/pki", "/etc/mime.types", "/usr/share", "/dev/null"),
)


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        _check_file(arguments[0])
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        raise PermissionError("a notification starts no program")
    if event not in ("socket.connect", "socket.sendto"):
        return
    place = arguments[1]
    if not isinstance(place, tuple):
        raise PermissionError("a notification connects to no socket of this machine")
    networks.check(str(ip_address(str(place[0]).partition("%")[0])))


def _check_file(path: Any) -> None:
    if isinstance(path, int):
        return  # it is open already
    place = os.path.realpath(os.fsdecode(path))
    if not any(place == allowed or place.startswith(f"{allowed}/") for allowed in READABLE):
        raise PermissionError(f"a notification reads no file of this machine: {place}")


OUTPUT = sys.stdout  # read by who started this


def _say(**line: str) -> None:
    OUTPUT.write(json.dumps(line) + "\n")
    OUTPUT.flush()


# --- what went wrong -------------------------------------------------------------------------------------------

CAUSE = re.compile(r"(?:[\w/ ]*Exception[\w ]*|Response Details):\s*")  # Apprise tells it to who debugs alone
BYTES = re.compile(r"""\bb(['"])((?:\\.|(?!\1).)*)\1""")
MAIL = re.compile(r"[^@\s]+@[\w-]+(\.[\w-]+)+")
HOST = re.compile(r"[a-z][a-z-]*\d{0,3}|.+\..+|\[.+")  # beside which some services have a key in its place
SHORTEST_SECRET = 6  # of what is none by its place in the address


class _Saying(logging.Handler):
    """Keeps warnings, and the causes of failures."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.warned = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        text = record.getMessage()
        self.warned |= record.levelno in (logging.WARNING, logging.ERROR)  # above are words on what will be changed
        if record.levelno >= logging.WARNING or CAUSE.match(text):
            self.said.append(" ".join(BYTES.sub(r"\2", CAUSE.sub("", text, count=1)).split()))


def _secrets_of(address: str) -> set[str]:
    """Give what of an address lets in: a password, and all else but names of hosts and mail addresses."""
    parts = urlsplit(address)
    user, _, place = parts.netloc.rpartition("@")
    host, _, behind = place.partition(":")
    names = [*user.split(":"), behind, *re.split("[/,]", parts.path), parts.fragment]
    names += [one for name, value in parse_qsl(parts.query) if name != "smtp" for one in value.split(",")]
    names += [] if HOST.fullmatch(host) else [host]
    plain = set(map(unquote, names))
    found = {name for name in plain if len(name) >= SHORTEST_SECRET and not MAIL.fullmatch(name)}
    if parts.password:
        found.add(unquote(parts.password))
    return found | {quote(name, safe="") for name in found}


def without_secrets(address: str, text: str) -> str:
    """Take out of what is said what lets in."""
    for secret in sorted(_secrets_of(address), key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


# --- the message -----------------------------------------------------------------------------------------------

# What services take for a call to everybody, or for a link that says something else than where it leads.
TELLING = re.compile(r"@(?=everyone|here|(?:channel|all)\b)|<(?=[@!#]|users/)|\](?=\()", re.IGNORECASE)
JOINER = "\u2060"  # nobody sees it


def _quiet(text: str) -> str:
    return TELLING.sub(rf"\g<0>{JOINER}", text)


def _leave_out(service: Any, reached: Collection[str]) -> None:
    """Let a service leave out those of its receivers who have the message, and say at once who has it now."""

    def mark_of(key: Any, per_message: bool) -> str:
        return hashlib.sha256(repr(service._slot(key, per_message)).encode()).hexdigest()[:16]

    service.is_delivered = lambda key, per_message=False: mark_of(key, per_message) in reached
    service.mark_delivered = lambda key, per_message=False: _say(reached=mark_of(key, per_message))


def main() -> int:
    """Check or send; 0 = well."""
    sys.stdout = sys.stderr  # whatever a library prints is no line of ours
    order = json.load(sys.stdin)
    settings.configure(HOOKS_ALLOWED_NETWORKS=order["networks"])
    import apprise

    sys.addaudithook(_guard)
    saying, logger = _Saying(), logging.getLogger("apprise")
    logger.addHandler(saying)
    logger.setLevel(logging.DEBUG)
    sender = apprise.Apprise()
    if not sender.add(order["address"]):
        _say(error="address is none that Apprise can read: see its documentation of this service")
        return 1
    if order["do"] == "check":
        if saying.warned:  # of receivers that it leaves out
            _say(error=without_secrets(order["address"], f"address is not taken whole: {' '.join(saying.said)}"))
        return 1 if saying.warned else 0
    for service in sender:
        _leave_out(service, order["reached"])
    title, text = _quiet(order["title"]), _quiet(order["text"])
    sent = sender.notify(title=title, body=text, body_format=apprise.NotifyFormat.TEXT)
    if not sent:
        _say(error=without_secrets(order["address"], " ".join(saying.said)))
    return 0 if sent else 1


if __name__ == "__main__":
    sys.exit(main())
