"""What is looked for in the audit, and how a line reads: the same for pages, the API, files and what is forwarded."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from fleet.audit.chain import in_words
from fleet.audit.models import AuditLink

SLICE = 1_000


@dataclass(frozen=True)
class Search:
    """Lines for which all that is given holds; "" and None ask for nothing."""

    who: str = ""  # the whole name
    action: str = ""  # `campaign.stopped`, or `campaign` for all of its kind
    subject: str = ""  # the whole subject, as `campaign 12`
    text: str = ""  # a part of the subject, the name, the address, or the details
    since: datetime | None = None
    until: datetime | None = None

    def links(self) -> QuerySet[AuditLink]:
        """Give them with their places, newest first."""
        found = AuditLink.objects.select_related("event").order_by("-number")
        exact = {"event__who": self.who, "event__subject": self.subject}
        found = found.filter(**{name: value for name, value in exact.items() if value})
        if self.action:
            found = found.filter(Q(event__action=self.action) | Q(event__action__startswith=f"{self.action}."))
        if self.since is not None:
            found = found.filter(event__at__gte=self.since)
        if self.until is not None:
            found = found.filter(event__at__lt=self.until)
        return self._with_text(found) if self.text else found

    def _with_text(self, found: QuerySet[AuditLink]) -> QuerySet[AuditLink]:
        found = found.annotate(details_text=Cast("event__details", TextField()))
        condition = Q(details_text__icontains=in_json(self.text)[1:-1])  # what JSON escapes, as it was said
        for field in ("event__subject", "event__who", "event__address", "event__action", "details_text"):
            condition |= Q(**{f"{field}__icontains": self.text})
        return found.filter(condition)

    def every_line(self) -> Iterator[AuditLink]:
        """Give all of them, oldest first, slice by slice; those that are added meanwhile come along."""
        after = 0
        while page := list(self.links().filter(number__gt=after).order_by("number")[:SLICE]):
            yield from page
            after = page[-1].number


def line_of(link: AuditLink) -> dict[str, Any]:
    """Give a line with its place in the chain: all that its digest is made of."""
    event = link.event
    return {
        "number": link.number,
        "event": event.pk,
        "at": in_words(event.at),
        "person_id": event.person_id,
        "who": event.who,
        "token_id": event.token_id,
        "address": event.address,
        "action": event.action,
        "subject": event.subject,
        "details": event.details,
        "previous": link.previous,
        "digest": link.digest,
    }


def as_ndjson(links: Iterator[AuditLink]) -> Iterator[bytes]:
    """Write lines as lines of JSON."""
    for link in links:
        yield text_of(line_of(link)).encode() + b"\n"


def in_json(value: Any) -> str:
    """Write a value as PostgreSQL writes details, in which texts are looked for."""
    return json.dumps(value, ensure_ascii=False)


def text_of(line: dict[str, Any]) -> str:
    """Write a line as JSON."""
    return json.dumps(line, ensure_ascii=False, separators=(",", ":"))
