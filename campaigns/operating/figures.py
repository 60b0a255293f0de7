"""The figures of the whole installation, for monitors: read from PostgreSQL and Redis when a console is asked.

They are the same whichever console tells them. A server that does not answer leaves its figures out, and
`fleet_up` is 0 for it: a monitor must be answered in an outage above all.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, Sum
from django.utils import timezone
from prometheus_client.core import GaugeMetricFamily, Metric
from redis.exceptions import RedisError

from agents.board import heartbeats, keyspace, redis_client
from agents.carving.models import Carve
from agents.models import Host
from campaigns.answers import archive, carrying
from campaigns.collecting.models import DeadLetter
from campaigns.hooks.models import Hook
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
    yield _gauge(
        "fleet_dead_letters", "Entries of the stream kept because they could not be stored", DeadLetter.objects.count()
    )
    yield from _sink()
    unarchived = len(archive.failures())
    yield _gauge("fleet_archive_failing_campaigns", "Ended campaigns whose answers could not be archived", unarchived)
    yield _gauge("fleet_hooks_failing", "Hooks whose receiver takes no messages", len(Hook.objects.failing()))
    carved = Carve.objects.aggregate(Sum("received_bytes"))["received_bytes__sum"]
    yield _gauge("fleet_carve_bytes", "Bytes of carves received and kept", carved or 0)


def _sink() -> Iterator[Metric]:
    lag = carrying.lag() or carrying.Lag(None, None, "")
    yield _gauge("fleet_answers_sink_lag_seconds", "Since when the oldest answer waits to be carried", lag.seconds)
    yield _gauge("fleet_answers_sink_failing", "1 = ANSWERS_SINK does not take answers", bool(lag.failing_since))


def of_redis() -> Iterator[Metric]:
    """Look at the stream, the board, the queues, and when each kind of process was heard of."""
    yield from _load(heartbeats.load())
    yield from _board(redis_client.client())
    yield from _queues()


def _load(load: heartbeats.Load) -> Iterator[Metric]:
    limit, lag = settings.STREAM_MAX_BYTES, load.longest_wait_ms / 1000
    yield _gauge("fleet_stream_entries", "Answers that wait to be stored", load.answers_waiting)
    yield _gauge("fleet_stream_bytes", "Memory of the answers that wait", load.bytes_waiting)
    yield _gauge("fleet_stream_limit_bytes", "Backlog at which no new work is handed out", limit)
    yield _gauge("fleet_stream_lag_seconds", "Since when the oldest of them waits", lag)
    yield _gauge("fleet_gateways", "Gateways heard of within a minute", load.gateways)
    yield _gauge("fleet_held_reads", "Reads held by all gateways", load.held_reads)
    yield _gauge("fleet_held_reads_limit", "Reads that all gateways may hold", load.most_held_reads)


def _board(client: Any) -> Iterator[Metric]:
    yield _gauge("fleet_board_whole", "1 = agents are served from a whole board", client.exists(keyspace.EPOCH))
    is_on = not client.exists(keyspace.OFF)
    yield _gauge("fleet_live_queries_enabled", "0 = the kill switch is on", is_on)
    now = keyspace.now_ms(client)
    swept, worked = client.mget(keyspace.SWEPT, keyspace.WORKED)
    told = max(map(int, client.hvals(keyspace.GATEWAYS)), default=None)
    silence = GaugeMetricFamily("fleet_silence_seconds", "Since a process of this kind was heard of", labels=["kind"])
    for kind, at in (("sweeper", swept), ("worker", worked), ("gateway", told)):
        if at is not None:
            silence.add_metric([kind], max(0, now - int(at)) / 1000)
    yield silence


class Waiting(NamedTuple):
    """How many messages of a queue wait for a worker, and the oldest for how many seconds."""

    messages: int
    seconds: float


def queues() -> dict[str, Waiting]:
    """Look at Celery's queues by name."""
    client = redis_client.client()
    return {
        queue: Waiting(client.llen(queue), _age_of(client.lindex(queue, -1)))
        for queue in sorted(set(settings.QUEUES.values()))
    }


def _age_of(message: bytes | None) -> float:
    """Give how long a message of Celery has waited, in seconds; 0 when there is none, or it does not say."""
    if message is None:
        return 0.0
    sent = json.loads(message).get("headers", {}).get(SENT_AT)
    return max(0.0, time.time() - sent) if sent else 0.0


def _queues() -> Iterator[Metric]:
    messages = GaugeMetricFamily("fleet_queue_messages", "Messages that wait for a worker", labels=["queue"])
    age = GaugeMetricFamily("fleet_queue_age_seconds", "Since when the oldest of them waits", labels=["queue"])
    for queue, waiting in queues().items():
        messages.add_metric([queue], waiting.messages)
        age.add_metric([queue], waiting.seconds)
    yield messages
    yield age


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=value)
