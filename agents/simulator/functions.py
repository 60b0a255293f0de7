"""Functions that osquery adds to SQLite (osquery/sql/sqlite_*.cpp), the ones that live queries use."""

import base64
import hashlib
import ipaddress
import math
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


def _parent_directory(path: Any) -> str | None:
    folder, slash, _ = _text(path).rpartition("/")
    return folder if slash else None


def _find_file_path_in_cmd(command: Any, *_: Any) -> str:
    """Give the program of a command line. A made-up host has every file that is named, so the first word is one."""
    return next(iter(_text(command).split()), "")


def _concat(*values: Any) -> str:
    return "".join(_text(value) for value in values if value is not None)


def _concat_ws(separator: Any, *values: Any) -> str | None:
    return None if separator is None else _text(separator).join(_text(value) for value in values if value is not None)


def _community_id(*values: Any) -> str:
    """Hash a flow as the Community ID specification says, version 1; the lesser end comes first."""
    source, destination, source_port, destination_port, protocol, *seed = values
    ends = [
        (ipaddress.ip_address(_text(address)).packed, int(port))
        for address, port in ((source, source_port), (destination, destination_port))
    ]
    first, second = sorted(ends)
    numbers = (first[1], second[1])
    data = int(seed[0] if seed else 0).to_bytes(2, "big") + first[0] + second[0] + bytes([int(protocol), 0])
    data += b"".join(number.to_bytes(2, "big") for number in numbers)
    return "1:" + base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()


def _community_id_or_nothing(*values: Any) -> str:
    try:
        return _community_id(*values)
    except (ValueError, OverflowError, TypeError):
        return ""


def _conditional_to_base64(value: Any) -> str:
    text = _text(value)
    return text if text.isascii() else _to_base64(text)


def _soundex(value: Any) -> str:
    """Give the four letters of the Soundex of a word; SQLite's own has them only when it was built so."""
    letters = [letter for letter in _text(value).upper() if letter.isascii() and letter.isalpha()]
    if not letters:
        return "?000"
    code, last = letters[0], _SOUNDEX.get(letters[0], "")
    for letter in letters[1:]:
        digit = _SOUNDEX.get(letter, "")
        if digit and digit != last:
            code += digit
        last = digit
    return (code + "000")[:4]


_SOUNDEX = {
    letter: str(digit)
    for digit, letters in enumerate(("BFPV", "CGJKQSXZ", "DT", "L", "MN", "R"), start=1)
    for letter in letters
}

FUNCTIONS: tuple[tuple[str, int, Callable[..., Any]], ...] = (
    ("community_id_v1", 5, _community_id_or_nothing),
    ("community_id_v1", 6, _community_id_or_nothing),
    ("community_id_v1_strict", 5, _community_id),
    ("community_id_v1_strict", 6, _community_id),
    ("concat", -1, _concat),
    ("concat_ws", -1, _concat_ws),
    ("conditional_to_base64", 1, _conditional_to_base64),
    ("cot", 1, lambda angle: None if angle is None else 1 / math.tan(float(angle))),
    ("find_file_path_in_cmd", -1, _find_file_path_in_cmd),
    ("from_base64", 1, _from_base64),
    ("in_cidr_block", 2, _in_cidr_block),
    ("inet_aton", 1, _inet_aton),
    ("is_path_deterministic", -1, lambda *_: 1),
    ("md5", 1, _hash("md5")),
    ("parent_directory", 1, _parent_directory),
    ("regex_match", 3, _regex_match),
    ("regex_split", 3, _regex_split),
    ("sha1", 1, _hash("sha1")),
    ("sha256", 1, _hash("sha256")),
    ("soundex", 1, _soundex),
    ("split", 3, _split),
    ("to_base64", 1, _to_base64),
    ("version_compare", 2, _version_compare),
    ("version_compare", 3, _version_compare),
)


def add_functions(connection: sqlite3.Connection) -> None:
    """Register them; a wrong argument is SQLite's own error, "user-defined function raised exception"."""
    for name, arguments, function in FUNCTIONS:
        connection.create_function(name, arguments, function, deterministic=True)
