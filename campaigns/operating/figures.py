"""The figures of the whole installation, for monitors: read from PostgreSQL and Redis when a console is asked.

They are the same whichever console tells them. A server that does not answer leaves its figures out, and
`fleet_up` is 0 for it: a monitor must be answered in an outage above all.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, Sum
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from agents.board import keyspace
from agents.carving.models import Carve
from agents.models import Host
from campaigns.collecting.models import DeadLetter
from campaigns.models import Campaign
from campaigns.states import OVER, Status
from fleet import metrics
from fleet.celery import SENT_AT

OPEN = [status for status in Status if status not in OVER]


class House:
    """The figures of the installation (a collector of prometheus_client)."""

    def collect(self) -> Iterator[Metric]:
        """Give what PostgreSQL and Redis tell."""
        up = GaugeMetricFamily("fleet_up", "1 = the server answers", labels=["server"])
        for server, read in (("postgresql", of_postgresql), ("redis", of_redis)):
            told = _told(read)
            up.add_metric([server], told is not None)
            yield from told or ()
        yield up


def _told(read: Callable[[], Iterable[Metric]]) -> list[Metric] | None:
    try:
        return list(read())
    except (DatabaseError, RedisError, OSError) as error:
        metrics.note_error(error)
        return None


def of_postgresql() -> Iterator[Metric]:
    """Count campaigns, hosts, and what could not be stored."""
    counted = dict(Campaign.objects.filter(status__in=OPEN).order_by().values_list("status").annotate(Count("pk")))
    open_campaigns = GaugeMetricFamily("fleet_campaigns", "Campaigns that are not over", labels=["status"])
    for status in OPEN:
        open_campaigns.add_metric([status], counted.get(status, 0))
    yield open_campaigns
    hosts = Host.objects.enrolled()
    yield _gauge("fleet_hosts", "Enrolled hosts", hosts.count())
    yield _gauge("fleet_hosts_online", "Hosts that asked lately", hosts.online(timezone.now()).count())
    yield _gauge("fleet_dead_letters", "Entries of the stream kept because they could not be stored", _dead_letters())
    carved = Carve.objects.aggregate(Sum("received_bytes"))["received_bytes__sum"]
    yield _gauge("fleet_carve_bytes", "Bytes of carves received and kept", carved or 0)


def _dead_letters() -> int:
    return DeadLetter.objects.count()


def of_redis() -> Iterator[Metric]:
    """Look at the stream, the board, the queues, and when each kind of process was heard of."""
    client = keyspace.connect(settings.REDIS_URL)
    try:
        now = keyspace.now_ms(client)
        yield from _stream(client, now)
        yield from _board(client, now)
        yield from _queues(client)
    finally:
        client.close()


def _stream(client: Any, now: int) -> Iterator[Metric]:
    oldest = client.xrange(keyspace.STREAM, count=1)
    lag = max(0, now - keyspace.entry_ms(oldest[0][0].decode())) / 1000 if oldest else 0
    yield _gauge("fleet_stream_entries", "Answers that wait to be stored", client.xlen(keyspace.STREAM))
    size = client.memory_usage(keyspace.STREAM, samples=100) or 0
    yield _gauge("fleet_stream_bytes", "Memory of the answers that wait", size)
    yield _gauge("fleet_stream_lag_seconds", "Since when the oldest of them waits", lag)
    limit = settings.STREAM_MAX_BYTES
    yield _gauge("fleet_stream_limit_bytes", "Backlog at which no new work is handed out", limit)


def _board(client: Any, now: int) -> Iterator[Metric]:
    yield _gauge("fleet_board_whole", "1 = agents are served from a whole board", client.exists(keyspace.EPOCH))
    is_on = not client.exists(keyspace.OFF)
    yield _gauge("fleet_live_queries_enabled", "0 = the kill switch is on", is_on)
    swept, worked = client.mget(keyspace.SWEPT, keyspace.WORKED)
    told = max(map(int, client.hvals(keyspace.GATEWAYS)), default=None)
    silence = GaugeMetricFamily("fleet_silence_seconds", "Since a process of this kind was heard of", labels=["kind"])
    for kind, at in (("sweeper", swept), ("worker", worked), ("gateway", told)):
        if at is not None:
            silence.add_metric([kind], max(0, now - int(at)) / 1000)
    yield silence
    held = [value.split() for value in client.hvals(keyspace.HELD)]
    yield _gauge("fleet_gateways", "Gateways heard of within a minute", len(held))
    yield _gauge("fleet_held_reads", "Reads held by all gateways", sum(int(each[0]) for each in held))
    yield _gauge("fleet_held_reads_limit", "Reads that all gateways may hold", sum(int(each[1]) for each in held))


def _queues(client: Any) -> Iterator[Metric]:
    messages = GaugeMetricFamily("fleet_queue_messages", "Messages that wait for a worker", labels=["queue"])
    age = GaugeMetricFamily("fleet_queue_age_seconds", "Since when the oldest of them waits", labels=["queue"])
    for queue in sorted(set(settings.QUEUES.values())):
        messages.add_metric([queue], client.llen(queue))
        age.add_metric([queue], age_of(client.lindex(queue, -1)))
    yield messages
    yield age


def age_of(message: bytes | None) -> float:
    """Give how long a message of Celery has waited, in seconds; 0 when there is none, or it does not say."""
    if message is None:
        return 0.0
    sent = json.loads(message).get("headers", {}).get(SENT_AT)
    return max(0.0, time.time() - sent) if sent else 0.0


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=value)
