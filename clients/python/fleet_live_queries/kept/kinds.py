"""The kinds of things that are kept: what members each has, in files as at the API, and how it is written."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fleet_live_queries.kept.yaml_files import FileError, Lined, dumped

Members = dict[str, Any]


class WrongError(Exception):
    """A value is not what its member takes; the text goes on behind the member's name."""


@dataclass(frozen=True)
class Member:
    """One member: how a value that is well is kept (WrongError says what is wrong), and what it is when left out."""

    read: Callable[[Any], Any]
    default: Any = None
    is_needed: bool = False
    write: Callable[[Any], Any] | None = None  # how it is written; None = as it is


@dataclass(frozen=True, eq=False)
class Kind:
    """A kind of things. `is_ours` says of one that the API lists whether it is kept in files."""

    name: str
    folder: str
    address: str
    members: dict[str, Member]
    is_ours: Callable[[Members], bool] = field(default=lambda shown: True)
    key: str = "name"  # the member by which one is found

    def read(self, path: Path, document: Any) -> Members:
        """Give what a document says. Raise FileError naming the line."""
        if not isinstance(document, Lined):
            raise FileError(path, 1, f"a {self.name} is a mapping with {', '.join(self.members)}")
        for name in document:
            if name not in self.members:
                sentence = f"unknown member {name!r}, allowed are {', '.join(self.members)}"
                raise FileError(path, document.line_of(name), sentence)
        return {name: self._member(path, document, name) for name in self.members}

    def _member(self, path: Path, document: Lined, name: str) -> Any:
        member, value = self.members[name], document.get(name)
        if value is None and member.is_needed:
            raise FileError(path, document.line_of(name), f"{name} is missing")
        if value is None:
            return member.default
        try:
            return member.read(value)
        except WrongError as error:
            raise FileError(path, document.line_of(name), f"{name} {error}") from None

    def of_server(self, shown: Members) -> Members:
        """Give what the API shows of one, as a file says it."""
        return {name: member.read(shown[name]) for name, member in self.members.items()}

    def written(self, members: Members) -> str:
        """Write one: what is as if left out, is."""
        said = {name: member for name, member in self.members.items() if members[name] != member.default}
        kept = {name: member.write(members[name]) if member.write else members[name] for name, member in said.items()}
        return dumped(kept)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise WrongError(f"{_short(value)} is no text: put it in quotes")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WrongError("holds a lone surrogate, which no text has") from None
    if "\0" in value:
        raise WrongError("holds a NUL, which no text has")
    return value.strip()


def _some_text(value: Any) -> str:
    text = _text(value)
    if not text:
        raise WrongError("is empty")
    return text


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise WrongError(f"{_short(value)} is neither true nor false")
    return value


def _sql_by_platform(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not value:
        raise WrongError(f"{_short(value)} is no mapping of platforms to SQL, as linux: SELECT 1")
    found = {}
    for platform in sorted(value):
        try:
            found[platform] = _some_text(value[platform])
        except WrongError as error:
            raise WrongError(f"of {platform} {error}") from None
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


QUERY = Kind(
    "query",
    "queries",
    "queries/",
    {
        "name": Member(_some_text, is_needed=True),
        "description": Member(_text, ""),
        "observer_can_run": Member(_flag, False),
        "sql": Member(_some_text, is_needed=True),
    },
)
LABEL = Kind(
    "label",
    "labels",
    "labels/",
    {
        "name": Member(_some_text, is_needed=True),
        "description": Member(_text, ""),
        "queries": Member(_sql_by_platform, is_needed=True),
    },
    is_ours=lambda shown: bool(shown["queries"]) and not shown["built_in"],
)


def schedule_of(value: Any) -> Members:
    """Give a schedule as it is kept, of a file's mapping or of what the API shows. Raise WrongError."""
    kept = {name: value.get(name) if value.get(name) is not None else default for name, default in SCHEDULE.items()}
    if not isinstance(kept["target"], dict) or not kept["target"]:
        raise WrongError("has no target, as {all: true}")
    if (kept["every"] is None) == (kept["crontab"] == ""):
        raise WrongError("needs either every (minutes) or a crontab")
    return kept


def _schedules(value: Any) -> list[Members]:
    if not isinstance(value, list) or not value:
        raise WrongError(f"{_short(value)} is no list of schedules")
    for one in value:
        if not isinstance(one, dict):
            raise WrongError(f"{_short(one)} is no schedule: a mapping with {', '.join(SCHEDULE)}")
        for name in one:
            if name not in SCHEDULE:
                raise WrongError(f"have an unknown member {name!r}, allowed are {', '.join(SCHEDULE)}")
    return sorted(map(schedule_of, value), key=lambda one: json.dumps(one, sort_keys=True))


def _without_defaults(found: list[Members]) -> list[Members]:
    return [{name: value for name, value in one.items() if value != SCHEDULE[name]} for one in found]


# What a schedule has, and what it is when left out.
SCHEDULE: Members = {
    "every": None,
    "crontab": "",
    "zone": "UTC",
    "target": None,
    "timeout": 600,
    "answer_within": None,
    "rollout": None,
    "runs_kept": 30,
    "enabled": True,
}
SCHEDULES = Kind(
    "schedules of",
    "schedules",
    "schedules/",
    {
        "query": Member(_some_text, is_needed=True),
        "schedules": Member(_schedules, is_needed=True, write=_without_defaults),
    },
    key="query",
)
KINDS = (QUERY, LABEL, SCHEDULES)  # in the order in which they are made; they go in the other one
