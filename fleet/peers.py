"""Where a request comes from: the peer, or what a trusted proxy in front says of it."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import ip_address, ip_network


class Peers:
    """Knows the proxies whose `X-Forwarded-For` is believed: addresses and networks like 10.0.0.0/8."""

    def __init__(self, trusted: Sequence[str]) -> None:
        self._networks = [ip_network(proxy) for proxy in trusted]
        self._is_trusted = lru_cache(maxsize=1024)(self._look_up)

    def is_proxy(self, peer: str) -> bool:
        """Say whether what a peer forwards is believed."""
        return bool(self._networks) and self._is_trusted(peer)

    def address_of(self, peer: str, forwarded_for: bytes) -> str:
        """Give the peer; the last hop of `forwarded_for` when the peer is a trusted proxy and named one."""
        if not self.is_proxy(peer):
            return peer
        hop = forwarded_for.rpartition(b",")[2].strip().decode("latin-1")
        return hop if is_address(hop) else peer

    def _look_up(self, peer: str) -> bool:
        return is_address(peer) and any(ip_address(peer) in network for network in self._networks)


def is_address(text: str) -> bool:
    """Say whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
