"""What the demo's server is called: in URLs, in its certificate and in the requests that it takes."""

import ipaddress
import socket

import psutil

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - and the address used from this machine


def origin(bind: str, port: int) -> str:
    """Give the address people and agents use."""
    return f"https://{in_url(EVERYWHERE.get(bind, bind))}:{port}"


def in_url(name: str) -> str:
    """Give a name or an address as URLs and Host headers have it: IPv6 in brackets."""
    return f"[{name}]" if ":" in name else name


def known_as(bind: str) -> list[str]:
    """Name what the server may be called: localhost, this machine, and every address it listens on."""
    listens_on = _own_addresses() if bind in EVERYWHERE else {bind}
    return sorted({"localhost", socket.gethostname(), "127.0.0.1", "::1"} | listens_on)


def is_address(text: str) -> bool:
    """Tell an address from a name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_private(bind: str) -> bool:
    """Say whether no other machine can reach what listens there."""
    return bind == "localhost" or (is_address(bind) and ipaddress.ip_address(bind).is_loopback)


def _own_addresses() -> set[str]:
    found = (each.address for addresses in psutil.net_if_addrs().values() for each in addresses)
    return {address for address in found if is_address(address) and "%" not in address}
