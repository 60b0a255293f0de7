"""Functions that osquery adds to SQLite (osquery/sql/sqlite_*.cpp), the ones that live queries use."""

import base64
import hashlib
import ipaddress
import re
import sqlite3
from collections.abc import Callable
from typing import Any

_NUMBERS = re.compile(r"\d+|[^\d.\-_+~]+")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return str(value)


def _hash(algorithm: str) -> Callable[[Any], str | None]:
    def digest(value: Any) -> str | None:
        if value is None:
            return None
        data = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
        return hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()

    return digest


def _split(value: Any, separators: Any, index: Any) -> str | None:
    """Give the part with this index, of those that are not empty; separators are single characters."""
    if value is None or not separators:
        return None
    parts = [part for part in re.split(f"[{re.escape(_text(separators))}]", _text(value)) if part]
    return parts[int(index)] if 0 <= int(index) < len(parts) else None


def _regex_split(value: Any, pattern: Any, index: Any) -> str | None:
    if value is None or not pattern:
        return None
    parts = [part for part in re.split(_text(pattern), _text(value)) if part]
    return parts[int(index)] if 0 <= int(index) < len(parts) else None


def _regex_match(value: Any, pattern: Any, group: Any) -> str | None:
    if value is None or pattern is None:
        return None
    found = re.search(_text(pattern), _text(value))
    return found.group(int(group)) if found and 0 <= int(group) <= len(found.groups()) else None


def _version_compare(left: Any, right: Any, _flavor: Any = "") -> int:
    first, second = _version(left), _version(right)
    return (first > second) - (first < second)


def _version(value: Any) -> list[tuple[int, int, str]]:
    parts = _NUMBERS.findall(_text(value))
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]


def _in_cidr_block(block: Any, address: Any) -> int | None:
    try:
        return int(ipaddress.ip_address(_text(address)) in ipaddress.ip_network(_text(block), strict=False))
    except ValueError:
        return None


def _inet_aton(address: Any) -> int | None:
    try:
        return int(ipaddress.IPv4Address(_text(address)))
    except ValueError:
        return None


def _to_base64(value: Any) -> str:
    return base64.b64encode(_text(value).encode("utf-8", "surrogateescape")).decode()


def _from_base64(value: Any) -> str:
    try:
        return base64.b64decode(_text(value)).decode("utf-8", "replace")
    except ValueError:
        return ""


FUNCTIONS: tuple[tuple[str, int, Callable[..., Any]], ...] = (
    ("from_base64", 1, _from_base64),
    ("in_cidr_block", 2, _in_cidr_block),
    ("inet_aton", 1, _inet_aton),
    ("md5", 1, _hash("md5")),
    ("regex_match", 3, _regex_match),
    ("regex_split", 3, _regex_split),
    ("sha1", 1, _hash("sha1")),
    ("sha256", 1, _hash("sha256")),
    ("split", 3, _split),
    ("to_base64", 1, _to_base64),
    ("version_compare", 2, _version_compare),
    ("version_compare", 3, _version_compare),
)


def add_functions(connection: sqlite3.Connection) -> None:
    """Register them; a wrong argument is SQLite's own error, "user-defined function raised exception"."""
    for name, arguments, function in FUNCTIONS:
        connection.create_function(name, arguments, function, deterministic=True)
