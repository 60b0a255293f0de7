"""The process that sends one message by Apprise: it reads an order from its input and says in a line what went wrong.

Every connection that is about to be made raises an event of Python's own audit, wherever in the libraries it is made;
one to a network that hooks may not reach is refused there, before a byte is sent.
"""

import json
import sys
from ipaddress import ip_address
from typing import Any

from django.conf import settings

from campaigns.hooks import networks


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
        raise PermissionError("a notification starts no program")
    if event not in ("socket.connect", "socket.sendto"):
        return
    place = arguments[1]
    if not isinstance(place, tuple):
        raise PermissionError("a notification connects to no socket of this machine")
    networks.check(str(ip_address(str(place[0]).partition("%")[0])))


def main() -> int:
    """Check or send; 0 = well."""
    order = json.load(sys.stdin)
    settings.configure(HOOKS_ALLOWED_NETWORKS=order["networks"])
    import apprise

    sender = apprise.Apprise()
    if not sender.add(order["address"]):
        sys.stdout.write("address is none that Apprise can read: see its documentation of this service")
        return 1
    if order["do"] == "check":
        return 0
    sys.addaudithook(_guard)
    with apprise.LogCapture(level=apprise.logging.WARNING) as said:  # type: ignore[no-untyped-call]
        sent = sender.notify(title=order["title"], body=order["text"])
        if not sent:
            sys.stdout.write(" ".join(said.getvalue().split()))
    return 0 if sent else 1


if __name__ == "__main__":
    sys.exit(main())
