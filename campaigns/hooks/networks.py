"""Which addresses hooks may reach: no private, loopback, link-local or multicast network, unless a setting allows it.

A name is resolved once for each connection, and that very address is connected to: a name that points elsewhere a
moment later gains nothing.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from django.conf import settings

from fleet.errors import BadInputError
from fleet.lookups import look_up

Address = IPv4Address | IPv6Address
NAT64 = ip_network("64:ff9b::/96")
ISATAP = (0x00005EFE, 0x02005EFE)  # the upper half of an interface's number whose lower half is an address of IPv4
# Of IANA's special ones those that Python takes, or took, for public: answered by the nearest router, or by nobody.
SPECIAL = tuple(map(ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20")))


class RefusedAddressError(BadInputError):
    """The address lies in a network that hooks may not reach, or cannot be found."""


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """Give the addresses of a host, all of them allowed. Raise RefusedAddressError."""
    try:
        addresses = look_up(host, port, seconds)
    except (OSError, UnicodeError) as error:
        raise RefusedAddressError(f"the host {host!r} cannot be found: {error}", "address") from error
    for address in addresses:
        check(address, host)
    return addresses


def check(address: str, host: str = "") -> None:
    """Raise RefusedAddressError for an address that hooks may not reach."""
    if not is_allowed(ip_address(address)):
        named = f"{host!r} is {address}, which" if host and host != address else f"the address {address}"
        raise RefusedAddressError(
            f"{named} is in a private, loopback, link-local, multicast or reserved network: allowed are public"
            " addresses, and those of HOOKS_ALLOWED_NETWORKS",
            "address",
        )


def is_allowed(address: Address) -> bool:
    """Say whether hooks may reach it; an address that carries another one is judged by that as well."""
    if any(address in ip_network(network, strict=False) for network in settings.HOOKS_ALLOWED_NETWORKS):
        return True
    return _is_public(address) and all(is_allowed(inner) for inner in _carried(address))


def _is_public(address: Address) -> bool:
    """Say whether it lies in the internet; of the reserved ones those do that carry one of IPv4 there by NAT64.

    Those of 6to4 do by what they carry: the Python of Debian 12 takes them all for private, later ones none.
    """
    if isinstance(address, IPv6Address) and address.sixtofour is not None:
        return True
    if address.is_multicast or not address.is_global or any(address in network for network in SPECIAL):
        return False
    if isinstance(address, IPv4Address):
        return not address.is_reserved
    return not address.is_site_local and (not address.is_reserved or address in NAT64)


def _carried(address: Address) -> list[Address]:
    if isinstance(address, IPv4Address):
        return []
    inner: list[Address] = [one for one in (address.ipv4_mapped, address.sixtofour) if one is not None]
    inner += list(address.teredo or ())
    lower = int(address) & 0xFFFFFFFF
    return [*inner, IPv4Address(lower)] if address in NAT64 or _is_isatap(address) else inner


def _is_isatap(address: IPv6Address) -> bool:
    return int(address) >> 32 & 0xFFFFFFFF in ISATAP
