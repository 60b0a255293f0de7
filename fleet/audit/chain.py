"""Checks the chain: every line is there, in its place, and says what it said when it was written.

Computes each digest by itself, with nothing of the database's own functions: whoever could change lines could change
those as well.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from django.db import connection, transaction

from fleet.audit.models import AuditEvent, AuditForwarding, AuditLink

SLICE = 2_000
FIRST = "0:"


@dataclass(frozen=True)
class Place:
    """A line's number and digest, written `number:digest`; number 0 stands before the first line."""

    number: int
    digest: str

    @classmethod
    def read(cls, text: str) -> "Place":
        """Read `number:digest`. Raise ValueError naming it."""
        number, _, digest = text.partition(":")
        known = number.isdecimal() and ((len(digest) == 64 and set(digest) <= set("0123456789abcdef")) or text == FIRST)
        if not known:
            raise ValueError(f"{text!r} is not NUMBER:DIGEST, the digest being 64 characters of 0-9 and a-f")
        return cls(int(number), digest)

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


@dataclass(frozen=True)
class Finding:
    """What a check came to: how many lines hold, the last of them, and what is wrong with the next, "" = nothing."""

    lines: int
    last: Place
    broken_at: int | None = None
    trouble: str = ""


def digest_of(link: AuditLink, event: AuditEvent) -> str:
    """Give the digest that a line has to have."""
    parts = [link.number, event.pk, in_words(event.at), event.person_id, event.who, event.token_id, event.address]
    parts += [event.action, event.subject, event.details]
    return sha256(f"{link.previous}\n{_as_postgres_writes(parts)}".encode()).hexdigest()


def in_words(at: datetime) -> str:
    """Give a time as digests have it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _as_postgres_writes(value: Any) -> str:
    return json.dumps(_in_order(value), ensure_ascii=False)


def _in_order(value: Any) -> Any:
    """Give the members of objects in the order in which jsonb keeps them: shorter names first."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return {name: _in_order(value[name]) for name in names}
    return [_in_order(inner) for inner in value] if isinstance(value, list) else value


def check(begins_after: Place | None = None, expected: tuple[Place, ...] = ()) -> Finding:
    """Walk the chain from its first line, or from the one after `begins_after` where older lines were archived.

    `expected` are places that were kept elsewhere; one that the chain does not have means that its end was cut off or
    written anew. So do those up to which lines were forwarded. One snapshot is looked at: lines that are added
    meanwhile are not.
    """
    with transaction.atomic():
        _freeze()
        expected = (*_carried(), *expected)
        finding = _walked(begins_after or Place(0, ""), {place.number: place.digest for place in expected})
        return finding if finding.trouble else _with_the_rest(finding, begins_after, expected)


def _freeze() -> None:
    """See one snapshot for the whole check, where this transaction begins with it."""
    if not connection.savepoint_ids:
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


def _carried() -> list[Place]:
    """Give the lines up to which somebody was told, as forwarding keeps them."""
    rows = AuditForwarding.objects.exclude(number=0).values_list("number", "digest")
    return [Place(number, digest) for number, digest in rows]


def _walked(before: Place, wanted: dict[int, str]) -> Finding:
    lines = 0
    for link, event in _lines(before.number):
        trouble = _trouble_with(link, event, before) or _unlike(link, wanted)
        if trouble:
            return Finding(lines, before, before.number + 1, trouble)
        before, lines = Place(link.number, link.digest), lines + 1
    return Finding(lines, before)


def _lines(after: int) -> Iterator[tuple[AuditLink, AuditEvent | None]]:
    while page := list(AuditLink.objects.filter(number__gt=after).order_by("number")[:SLICE]):
        events = AuditEvent.objects.in_bulk([link.event_id for link in page])
        yield from ((link, events.get(link.event_id)) for link in page)
        after = page[-1].number


def _trouble_with(link: AuditLink, event: AuditEvent | None, before: Place) -> str:
    """Say in a sentence what is wrong with a link; "" = nothing."""
    if link.number != before.number + 1:
        return f"line {before.number + 1} is missing: after line {before.number} comes {link.number}"
    if link.previous != before.digest:
        return f"line {link.number} does not follow line {before.number}: one of the two was written anew"
    if event is None:
        return f"line {link.number} is missing: its link is there, event {link.event_id} is not"
    if digest_of(link, event) != link.digest:
        return f"line {link.number} does not say what it said: event {event.pk}, {event}, was changed"
    return ""


def _unlike(link: AuditLink, wanted: dict[int, str]) -> str:
    digest = wanted.get(link.number, link.digest)
    return "" if digest == link.digest else f"line {link.number} has digest {link.digest}, expected is {digest}"


def _with_the_rest(finding: Finding, begins_after: Place | None, expected: tuple[Place, ...]) -> Finding:
    """Look for lines that no link holds, and for an end that is not where it was."""
    end = max((place.number for place in expected), default=0)
    if end > finding.last.number:
        sentence = f"the chain ends with line {finding.last.number}, expected are {end} or more: its end was cut off"
        return Finding(finding.lines, finding.last, finding.last.number + 1, sentence)
    if not finding.last.number and _was_written():
        return Finding(0, finding.last, 1, "no line is left, and there were some")
    loose = AuditEvent.objects.filter(link=None).order_by("pk").values_list("pk", flat=True).first()
    if loose is not None:
        return Finding(finding.lines, finding.last, None, f"event {loose} is in no link: it came in by no transaction")
    return finding


def _was_written() -> bool:
    """Say whether there ever was a line, by whether numbers of events were given out."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT is_called FROM audit_auditevent_id_seq")
        return bool(cursor.fetchone()[0])


def has(place: Place) -> bool:
    """Say whether the chain has this line, with this digest."""
    return not place.number or AuditLink.objects.filter(number=place.number, digest=place.digest).exists()


def head() -> Place:
    """Give the place of the newest line."""
    last = AuditLink.objects.order_by("-number").first()
    return Place(last.number, last.digest) if last is not None else Place(0, "")
