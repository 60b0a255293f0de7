"""Hosts of one name in one list: told apart by their numbers, as a name that stands alone needs not be."""

from collections import Counter
from collections.abc import Iterable
from typing import Any


def among(items: Iterable[Any]) -> frozenset[int]:
    """Give the ids of hosts that share their name, in whatever case, with another one of these items."""
    named = dict(_host_of(item) for item in items if not isinstance(item, dict) or "host" in item)
    many = Counter(name.casefold() for name in named.values())
    return frozenset(host_id for host_id, name in named.items() if many[name.casefold()] > 1)


def _host_of(item: Any) -> tuple[int, str]:
    """Give id and name of the host of an item: a host, what belongs to one or tells of one, a line that begins so."""
    if isinstance(item, tuple):
        return (item[0], item[1]) if isinstance(item[0], int) else _host_of(item[0])
    if isinstance(item, dict):
        return item["host"]["id"], item["host"]["hostname"]
    if not hasattr(item, "host_id"):
        return item.pk, item.hostname
    return item.host_id, item.hostname if hasattr(item, "hostname") else item.host.hostname
