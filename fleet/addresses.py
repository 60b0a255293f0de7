"""Where a request comes from, what a proxy in front says of it, and whether a name in it is one of this server's."""

from collections.abc import Mapping
from functools import cache
from ipaddress import ip_network
from typing import Any

from django.conf import settings
from django.http.request import split_domain_port, validate_host

from fleet.peers import Peers

LONGEST_NAME = 200  # characters kept of a certificate's subject


@cache
def _peers() -> Peers:
    return Peers(settings.TRUSTED_PROXIES)


def address_of(meta: Mapping[str, Any]) -> str:
    """Give the address, "" when the server did not say; what a trusted proxy says of it is believed."""
    forwarded_for = str(meta.get("HTTP_X_FORWARDED_FOR", "")).encode("latin-1", "replace")
    return _peers().address_of(meta.get("REMOTE_ADDR") or "", forwarded_for)


def network_of(address: str) -> str:
    """Give the address; of IPv6 the /64, within which one machine has as many as it likes."""
    return str(ip_network(f"{address}/64", strict=False)) if ":" in address and "%" not in address else address


def is_ours(host: str) -> bool:
    """Say whether a host, with a port or without, is a name of this server: one that ALLOWED_HOSTS has."""
    allowed = settings.ALLOWED_HOSTS or (["localhost", "127.0.0.1", "[::1]"] if settings.DEBUG else [])
    return validate_host(split_domain_port(host)[0], allowed)


def certificate_of(meta: Mapping[str, Any]) -> str:
    """Give the subject of the client's certificate, as a trusted proxy that does mutual TLS tells it; "" = none."""
    if not _peers().is_proxy(meta.get("REMOTE_ADDR") or ""):
        return ""
    return str(meta.get("HTTP_X_CLIENT_CERTIFICATE_NAME", ""))[:LONGEST_NAME]
