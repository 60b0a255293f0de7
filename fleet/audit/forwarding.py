"""Carries lines elsewhere as they are written, in order: to syslog, or to a file. None is left out.

How far it is stands in a row that moves after the lines went out. So what fails is tried again every five seconds, for
as long as it takes, and a process that dies in between sends some lines twice: their numbers tell. A new destination
gets every line from the first. UDP, and a TCP peer that dies after it took bytes, lose what they lose without a word:
where that matters, forward to a file or to the local syslog.
"""

import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError, transaction
from django.utils import timezone

from fleet.audit.models import AuditForwarding, AuditLink
from fleet.audit.search import line_of, text_of
from fleet.errors import SetupError
from fleet.whole_lines import appended

logger = logging.getLogger(__name__)

SLICE = 500
RUN_SECONDS = 0.8
TIMEOUT_SECONDS = 1.5
TRIED_EVERY = timedelta(seconds=5)  # while it fails
PRIORITY = 13 * 8 + 5  # facility "log audit", severity "notice"
MOST_DATAGRAM = 60_000  # bytes
BEHIND_SECONDS = 60

Send = Callable[[Sequence[AuditLink]], None]


class Write(Protocol):
    """Writes a line, with another text where that is given."""

    def __call__(self, link: AuditLink, text: str = "") -> bytes: ...


def forward() -> int:
    """Carry what is new; give how many lines. Safe to run twice: one carries, the other goes."""
    sink = settings.AUDIT_SINK
    if not sink:
        return 0
    row, is_new = AuditForwarding.objects.get_or_create(sink=sink)
    if row.failing_since and row.tried_at and timezone.now() - row.tried_at < TRIED_EVERY:
        return 0
    if not (is_new or row.failing_since) and not AuditLink.objects.filter(number__gt=row.number).exists():
        return 0  # who is connected to writes lines of his own of that
    carried, until = 0, time.monotonic() + RUN_SECONDS
    try:
        with _opened(sink) as send:
            while (some := _forward_slice(sink, send)) and time.monotonic() < until:
                carried += some
    except (OSError, SetupError) as error:
        _note_failure(sink, str(error))
    return carried


def _forward_slice(sink: str, send: Send) -> int:
    with transaction.atomic():
        row = AuditForwarding.objects.select_for_update(skip_locked=True).filter(sink=sink).first()
        if row is None:
            return 0
        after = AuditLink.objects.filter(number__gt=row.number).select_related("event").order_by("number")
        links = list(after[:SLICE])
        if links:
            send(links)
            row.number, row.digest, row.moved_at = links[-1].number, links[-1].digest, timezone.now()
        if links or row.failing_since:
            row.failing_since, row.last_error = None, ""
            row.save()
        return len(links)


def _note_failure(sink: str, reason: str) -> None:
    row = AuditForwarding.objects.get(sink=sink)
    if row.failing_since is None:
        logger.warning("audit not forwarded sink=%s reason=%s: it is tried again", sink, reason)
    now = timezone.now()
    failure = {"failing_since": row.failing_since or now, "tried_at": now, "last_error": reason[:500]}
    AuditForwarding.objects.filter(pk=row.pk).update(**failure)


def troubles() -> Iterator[str]:
    """Say in a sentence that lines wait to be forwarded, if they do."""
    try:
        row = AuditForwarding.objects.filter(sink=settings.AUDIT_SINK).first() if settings.AUDIT_SINK else None
        waiting = AuditLink.objects.filter(number__gt=row.number if row else 0).select_related("event")
        oldest = waiting.order_by("number").first() if settings.AUDIT_SINK else None
    except DatabaseError:
        return  # that PostgreSQL does not answer is said already
    if row is not None and row.failing_since is not None:
        since = f"{row.failing_since:%Y-%m-%d %H:%M:%S} UTC"
        yield f"the audit is not forwarded since {since}: the page Audit and `manage.py doctor` say why"
    elif oldest is not None and (timezone.now() - oldest.event.at).total_seconds() > BEHIND_SECONDS:
        yield f"the audit is forwarded up to line {row.number if row else 0} only: are the sweeper and beat running?"


def reason() -> str:
    """Give why lines are not forwarded, "" = they are. It may name what only who sees the audit is to know."""
    row = AuditForwarding.objects.filter(sink=settings.AUDIT_SINK).first() if settings.AUDIT_SINK else None
    return row.last_error if row is not None and row.failing_since is not None else ""


# --- destinations ----------------------------------------------------------------------------------------------


@contextmanager
def _opened(sink: str) -> Iterator[Send]:
    """Open a destination. Raise SetupError for one that is none, OSError when it cannot be reached."""
    parts = urlsplit(sink)
    if parts.scheme in ("", "file") and parts.path.startswith("/"):
        with _file(Path(parts.path)) as send:
            yield send
    elif parts.scheme == "unix" and parts.path.startswith("/"):
        with _unix(parts.path) as send:
            yield send
    elif parts.scheme in ("udp", "tcp") and parts.hostname and parts.port:
        with _network(parts.scheme, parts.hostname, parts.port) as send:
            yield send
    else:
        raise SetupError(
            f"AUDIT_SINK {sink!r} is unknown: allowed are /path/of.ndjson, unix:///dev/log, udp://host:514, tcp://host:601"
        )


@contextmanager
def _file(path: Path) -> Iterator[Send]:
    with appended(path) as append:
        yield lambda links: append([text_of(line_of(link)).encode() for link in links])


@contextmanager
def _unix(path: str) -> Iterator[Send]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.settimeout(TIMEOUT_SECONDS)
        made.connect(path)
        yield partial(_send_each, made, local_of)


@contextmanager
def _network(scheme: str, host: str, port: int) -> Iterator[Send]:
    try:
        made = _datagrams(host, port) if scheme == "udp" else socket.create_connection((host, port), TIMEOUT_SECONDS)
    except UnicodeError as error:
        raise SetupError(f"AUDIT_SINK has the host {host!r}, which is no name: {error}") from error
    with made:
        if scheme == "udp":
            yield partial(_send_each, made, message_of)
        else:
            yield lambda links: made.sendall(b"".join(_framed(message_of(link)) for link in links))


def _datagrams(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    made = socket.socket(family, kind, protocol)
    made.settimeout(TIMEOUT_SECONDS)
    made.connect(address)
    return made


def _send_each(made: socket.socket, written: Write, links: Sequence[AuditLink]) -> None:
    for link in links:
        made.send(datagram_of(link, written))


def _framed(message: bytes) -> bytes:
    """Say how long the message is, as RFC 6587 does: it may hold anything."""
    return str(len(message)).encode() + b" " + message


def message_of(link: AuditLink, text: str = "") -> bytes:
    """Write a line as syslog has it (RFC 5424)."""
    line = line_of(link)
    head = f"<{PRIORITY}>1 {line['at']} {socket.gethostname() or '-'} fleet-audit - {link.number} - "
    return head.encode() + (text or text_of(line)).encode()


def local_of(link: AuditLink, text: str = "") -> bytes:
    """Write a line as programs write to the syslog of their machine, which knows time and host and no RFC 5424."""
    return f"<{PRIORITY}>fleet-audit: ".encode() + (text or text_of(line_of(link))).encode()


def datagram_of(link: AuditLink, written: Write = message_of) -> bytes:
    """Write a line that fits a datagram; one that does not says where its details are."""
    whole = written(link)
    if len(whole) <= MOST_DATAGRAM:
        return whole
    left_out = f"{len(whole)} bytes do not fit a datagram: line {link.number} of the audit has the details"
    return written(link, text_of({**line_of(link), "details": {"left_out": left_out}}))
