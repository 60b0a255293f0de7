"""The process that sends one message by Apprise: it reads an order from its input and says in a line what went wrong.

Every connection that is about to be made raises an event of Python's own audit, wherever in the libraries it is made;
one to a network that hooks may not reach is refused there, before a byte is sent. So is reading files of this machine,
which an address may name for many services, as a template or a key: only what programs are made of is read.
"""

import json
import os
import sys
import sysconfig
from ipaddress import ip_address
from typing import Any

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


def main() -> int:
    """Check or send; 0 = well."""
    order = json.load(sys.stdin)
    settings.configure(HOOKS_ALLOWED_NETWORKS=order["networks"])
    import apprise

    sys.addaudithook(_guard)
    sender = apprise.Apprise()
    if not sender.add(order["address"]):
        sys.stdout.write("address is none that Apprise can read: see its documentation of this service")
        return 1
    if order["do"] == "check":
        return 0
    with apprise.LogCapture(level=apprise.logging.WARNING, fmt="%(message)s") as said:  # type: ignore[no-untyped-call]
        sent = sender.notify(title=order["title"], body=order["text"])
        if not sent:
            sys.stdout.write(" ".join(said.getvalue().split()))
    return 0 if sent else 1


if __name__ == "__main__":
    sys.exit(main())
