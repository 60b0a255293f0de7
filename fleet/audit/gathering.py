"""Several changes of rows by one act, as one line: a form that saves a group, its permissions and its scope, say.

Not for acts over many things of one kind: each of those has its line, by which it is found again.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from fleet.audit import note


class _Line(NamedTuple):
    """What was done with one row."""

    action: str
    subject: str
    details: dict[str, Any]


_gathered: ContextVar[list[_Line] | None] = ContextVar("gathered", default=None)


def tell(action: str, subject: str, **details: Any) -> None:
    """Note what was done with a row, or keep it for the one line of the act that goes on."""
    lines = _gathered.get()
    if lines is None:
        note(action, subject=subject, **details)
    else:
        lines.append(_Line(action, subject, details))


@contextmanager
def in_one_line() -> Iterator[None]:
    """Let what is done here with rows be one line, written last in the caller's transaction; of nothing there is none.

    It is the line of the row that was changed first. What became of other rows stands in it as `with`.
    """
    if _gathered.get() is not None:
        yield
        return
    with _gathering() as lines:
        yield
    if lines:
        first, *others = _by_subject(lines)
        more = [{"action": line.action, "subject": line.subject, **line.details} for line in others]
        details = {**first.details, "with": more} if more else first.details
        note(first.action, subject=first.subject, **details)


@contextmanager
def told_by_verb() -> Iterator[None]:
    """Let a verb that notes by itself what it does with rows be the only one to do so."""
    with _gathering():
        yield


@contextmanager
def _gathering() -> Iterator[list[_Line]]:
    lines: list[_Line] = []
    token = _gathered.set(lines)
    try:
        yield lines
    finally:
        _gathered.reset(token)


def _by_subject(lines: list[_Line]) -> list[_Line]:
    """Merge what was done with the same row: it stays made, or goes, whatever else was changed of it."""
    found: dict[str, _Line] = {}
    for line in lines:
        before = found.get(line.subject, line)
        changes_only = line.action.endswith(".changed")
        action = before.action if changes_only else line.action
        found[line.subject] = _Line(action, line.subject, _merged(before.details, line.details))
    return list(found.values())


def _merged(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Give both, where both tell of one thing the later; what is in parts, by parts."""
    merged = {**before, **now}
    for name in before.keys() & now.keys():
        if isinstance(before[name], dict) and isinstance(now[name], dict):
            merged[name] = _merged(before[name], now[name])
    return merged
