"""Who is meant, as the command line says it."""

import argparse
from typing import Any

from fleet_live_queries.errors import BadInputError

NAMES = ("label", "platform", "host")
FILE = "@FILE: one on each line, # begins a comment; @- reads stdin"
NUMBER_OR_PART = "a number of hosts, as 25, nor a part of them, as 10%"
OPTIONS = ("all", *(f"{name}s" for name in NAMES), *NAMES, "exclude", "sample", "online")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take who is meant."""
    parser.add_argument("--all", action="store_true", help="every host")
    parser.add_argument("--labels", help="names with commas between")
    parser.add_argument("--label", action="append", help="one name, to the letter; may be repeated")
    parser.add_argument("--platforms", help="names with commas between")
    parser.add_argument("--platform", action="append", help="one name, to the letter; may be repeated")
    parser.add_argument(
        "--hosts", help="names with commas between, or @FILE: one on each line, # begins a comment; @- reads stdin"
    )
    parser.add_argument("--host", action="append", help="one name, to the letter; may be repeated")
    parser.add_argument("--exclude", action="append", default=[], metavar="LABELS", help="labels that are left out")
    parser.add_argument("--sample", metavar="N|P%", help="only so many of them, always the same")
    parser.add_argument("--online", action="store_true", help="only hosts that are online now")


def target(options: argparse.Namespace) -> dict[str, Any]:
    """Give who is meant, as the client takes it."""
    found: dict[str, Any] = {"all_hosts": options.all, "online": options.online}
    for name in NAMES:
        many: str | None = getattr(options, f"{name}s")
        listed = _lines(many[1:]) if many and name == "host" and many.startswith("@") else names(many, f"--{name}s")
        found[f"{name}s"] = [*listed, *_each(getattr(options, name), f"--{name}")] or None
    if not (options.all or any(found[f"{name}s"] for name in NAMES)):
        raise BadInputError("say who is meant: --all, --labels, --platforms or --hosts")
    found["exclude_labels"] = [name for many in options.exclude for name in names(many, "--exclude")]
    if options.sample is not None:
        found["sample"] = part(options.sample, "--sample")
    return found


def _each(given: list[str] | None, option: str) -> list[str]:
    """Give names that were said one by one. Raise BadInputError for one that is none."""
    for name in given or ():
        if not name.strip():
            raise BadInputError(f"{option} {name!r} names nothing: one name is meant")
    return given or []


def part(text: str, option: str) -> dict[str, float | int]:
    """Read `25` or `10%`. Raise BadInputError."""
    if text.endswith("%"):
        return {"percent": percent(text, f"{option} {text!r} is neither {NUMBER_OR_PART}")}
    try:
        count = int(text)
    except ValueError:
        count = 0
    if not 0 < count < 2**31:
        raise BadInputError(f"{option} {text!r} is neither {NUMBER_OR_PART}")
    return {"count": count}


def percent(text: str, otherwise: str) -> float:
    """Read `10%`: more than nothing, all at most. Raise BadInputError with that sentence."""
    try:
        value = float(text.removesuffix("%")) if text.endswith("%") else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value <= 100:
        raise BadInputError(otherwise)
    return value


def names(many: str | None, option: str) -> list[str]:
    """Give the names of a text with commas between; None = not said. Raise BadInputError where it names nothing.

    Otherwise a variable of a shell that is empty would mean everybody.
    """
    if many is None:
        return []
    found = [value.strip() for value in many.split(",") if value.strip()]
    if not found:
        raise BadInputError(f"{option} {many!r} names nothing: names with commas between are meant")
    return found


def _lines(file: str) -> list[str | int]:
    try:
        with open(0 if file == "-" else file, encoding="utf-8-sig", closefd=file != "-") as lines:
            words = [line.split("#")[0].strip() for line in lines]
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise BadInputError(f"--hosts @{file}: the file cannot be read: {why}") from error
    found = [_reference(word) for word in words if word]
    if not found:
        raise BadInputError(f"--hosts @{file}: no host is in that file")
    return found


def _reference(word: str) -> str | int:
    number = word.removeprefix("id:")
    return int(number) if word != number and number.isascii() and number.isdecimal() else word
