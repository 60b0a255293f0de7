"""Ports for servers that tests start."""

import secrets
import socket
from contextlib import suppress

# Above these the kernel takes ports for connections that go out, thousands in a run: one of them may be taken between
# the moment it is given and that at which a server listens, which for a whole installation is half a minute.
NOT_OUTGOING = range(11_000, 32_768)
_given: set[int] = set()


def free_port() -> int:
    """Give a port of loopback that nobody listens on, another one each time."""
    while True:
        port = secrets.choice(NOT_OUTGOING)
        with suppress(OSError), socket.socket() as probe:  # somebody else listens there
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port
