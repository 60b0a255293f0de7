"""What the host itself says of a carve that is complete here: its digest, looked up without anybody asking for it.

The question is housekeeping: over the same board, in reads of its own. It is one SQL for all carves of a host, so what
stands on the board does not grow with them, and no text of a host comes into SQL.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import DateTimeField, F, Q, QuerySet, Value
from django.utils import timezone
from redis.exceptions import RedisError

from agents.board.keyspace import NoBoardError
from agents.carving.carves import UNBEGUN, digest_in
from agents.carving.models import Carve
from agents.inventory import housekeeping
from agents.models import Host, HousekeepingQuery

SQL = "SELECT carve_guid, sha256, status FROM carves"  # without `carve = 1` it starts nothing
KNOWN_FOR = timedelta(days=1)  # hosts forget a carve after carver_expiry
FIRST_PAUSE = timedelta(seconds=20)


def prepare() -> None:
    """Keep the question as this version has it."""
    HousekeepingQuery.objects.update_or_create(kind=HousekeepingQuery.Kind.CARVES, label=None, defaults={"sql": SQL})


def ask_due() -> int:
    """Ask hosts for the digests of complete carves; give how many carves are looked up.

    A host that tells nothing is asked again after pauses that double, for a day.
    """
    if not settings.HOUSEKEEPING_MINUTES:
        return 0
    now = timezone.now()
    due = dict(_due(now).values_list("pk", "host_id"))
    if not due:
        return 0
    question = HousekeepingQuery.objects.get(kind=HousekeepingQuery.Kind.CARVES)
    try:
        housekeeping.ask(question, Host.objects.enrolled().filter(pk__in=set(due.values())))
    except (NoBoardError, RedisError):
        return 0  # the next run asks
    return Carve.objects.filter(pk__in=due).update(asked_at=now)


def _due(now: datetime) -> QuerySet[Carve]:
    """Give the carves whose hosts have not said how they ended, and that waited as long as up to the last question."""
    untold = Carve.objects.filter(completed_at__gt=now - KNOWN_FOR, host_status__in=UNBEGUN)
    since_asked = Value(now - FIRST_PAUSE, DateTimeField()) - F("asked_at")
    return untold.filter(Q(asked_at=None) | Q(completed_at__gt=F("asked_at") - since_asked))


def store(told: Iterable[housekeeping.Told]) -> None:
    """Write down what hosts said of carves that are here. Other carves in their tables are none of ours."""
    rows = {(one.host_id, row.get("carve_guid", "")): row for one in told for row in one.rows}
    hosts = {host for host, _ in rows}
    for carve in Carve.objects.select_for_update().filter(host_id__in=hosts, completed_at__isnull=False).order_by("pk"):
        row = rows.get((carve.host_id, carve.carve_id))
        if row is None:
            continue
        carve.host_status = row.get("status", "")[:40] or carve.host_status
        carve.host_sha256 = digest_in(row) or carve.host_sha256
        carve.save(update_fields=["host_status", "host_sha256"])
