"""What hosts are asked on the server's own behalf: facts about themselves, membership in labels, their tables.

The questions travel over the same board and stream as campaigns, as negative numbers, and never in one read with live
work. Every question of a host belongs to one minute of the hour; when it comes, its bit is set. So nothing has to be
remembered of when a host was asked, and the work is spread, over hosts and for each of them.
"""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Mod
from redis.exceptions import RedisError

from agents.board import clock, operator_verbs
from agents.board.keyspace import NoBoardError
from agents.inventory import facts, label_sql, schemas
from agents.inventory.labels import set_membership
from agents.models import Host, HostQuerySet, HousekeepingQuery, Label, Platform
from fleet.audit import note
from fleet.audit.spans import spans

logger = logging.getLogger(__name__)

LONGEST_ERROR = 1000  # characters kept of what a host reported


class Told(NamedTuple):
    """What one host answered to one housekeeping query."""

    query_id: int
    host_id: int
    status: int
    message: str
    rows: list[dict[str, str]]
    at: datetime


def prepare() -> None:
    """Keep the questions that every fleet needs, and the built-in labels, as this version has them."""
    for kind, sql in {HousekeepingQuery.Kind.DETAILS: facts.SQL, **schemas.QUESTIONS}.items():
        HousekeepingQuery.objects.update_or_create(kind=kind, label=None, defaults={"sql": sql})
    for platform in Platform:
        if platform != Platform.OTHER and not Label.objects.filter(built_in=platform).exists():
            Label.objects.update_or_create(name=platform.label, defaults={"built_in": platform})


def ask_due() -> int:
    """Ask hosts what is due since the last time; give how many questions were put on the board."""
    period = settings.HOUSEKEEPING_MINUTES
    if not period:
        return 0
    now = int(clock.now().timestamp() // 60)
    last = max(operator_verbs.housekept() or now - 1, now - period)
    minutes = {minute % period for minute in range(last + 1, now + 1)}
    if not minutes:
        return 0
    asked = 0
    for query in _regular():
        due = Host.objects.enrolled().annotate(minute=Mod(F("pk") + query.pk, period)).filter(minute__in=minutes)
        asked += ask(query, due)
    operator_verbs.note_housekept(now)
    return asked


def ask(query: HousekeepingQuery, hosts: HostQuerySet) -> int:
    """Put one question to those of `hosts` that it is for; give their number. Raise NoBoardError.

    SQL of a label waits on the board while the kill switch is on; stopped SQL is not asked.
    """
    if query.stopped_at is not None:
        return 0
    if query.platform:
        hosts = hosts.filter(platform=query.platform)
    ids = list(hosts.values_list("pk", flat=True))
    operator_verbs.ask(query.board_id, query.sql, ids, is_live=query.kind == HousekeepingQuery.Kind.LABEL)
    return len(ids)


def ask_all(host_ids: Sequence[int]) -> None:
    """Ask hosts everything at their next read: they just enrolled. When the board is away their minute will come."""
    try:
        for query in _regular():
            ask(query, Host.objects.filter(pk__in=host_ids))
    except (NoBoardError, RedisError) as error:
        logger.warning("hosts not asked yet hosts=%s reason=%s", host_ids, error)


def learn_again(hosts: HostQuerySet) -> int:
    """Ask these hosts for their facts, and one of each kind among them for its tables, at their next reads.

    A host whose tables turn out to be others than those of its kind is then asked for them as well. Give how many hosts
    are asked for their tables. Raise NoBoardError.
    """
    ask(HousekeepingQuery.objects.get(kind=HousekeepingQuery.Kind.DETAILS), hosts)
    asked = max((ask(query, schemas.one_of_each_kind(hosts)) for query in schemas.queries()), default=0)
    note("tables.asked_again", subject="tables of osquery", hosts=spans(hosts.values_list("pk", flat=True)))
    return asked


def _regular() -> Sequence[HousekeepingQuery]:
    """Give what every host is asked; tables and carves are asked for when there is a reason to."""
    seldom = [*schemas.QUESTIONS, HousekeepingQuery.Kind.CARVES]
    return list(HousekeepingQuery.objects.exclude(kind__in=seldom).filter(stopped_at=None))


def store(told: Iterable[Told]) -> list[Told]:
    """Write down what hosts answered; give what they told of their carves, which is not this room's to keep.

    Answers to a query that is gone, or of a host that is gone, are dropped.
    """
    told = list(told)
    queries = HousekeepingQuery.objects.select_related("label").in_bulk({one.query_id for one in told})
    hosts = Host.objects.select_for_update(no_key=True).order_by("pk").in_bulk({one.host_id for one in told})
    intervals: dict[int, int] = {}
    of_carves: list[Told] = []
    for one in told:
        query, host = queries.get(one.query_id), hosts.get(one.host_id)
        if query is None or host is None:
            continue
        if one.status:
            _note_failure(query, host, one)
        elif query.kind == HousekeepingQuery.Kind.DETAILS:
            _store_facts(host, one)
            intervals[host.pk] = host.distributed_interval or 0
        elif query.kind == HousekeepingQuery.Kind.CARVES:
            of_carves.append(one)
        elif query.label is not None:
            set_membership(query.label, host, is_member=bool(one.rows))
            label_sql.note_answered(query, one.at)
        else:
            _learn(query, host, one)
    if intervals:
        transaction.on_commit(lambda: operator_verbs.note_interval(intervals))
    return of_carves


def _store_facts(host: Host, told: Told) -> None:
    if not told.rows:
        return
    facts.update(host, told.rows[0], told.at)
    if schemas.is_wanted(host, told.at):
        for question in schemas.queries():
            ask_later(question, host.pk)


def _learn(query: HousekeepingQuery, host: Host, told: Told) -> None:
    if query.kind == HousekeepingQuery.Kind.SCHEMA:
        schemas.learn(host, told.rows, told.at)
    elif query.kind == HousekeepingQuery.Kind.FUNCTIONS:
        schemas.learn_functions(host, told.rows)
    else:
        schemas.learn_flags(host, told.rows)


def ask_later(query: HousekeepingQuery, host_id: int) -> None:
    """Ask one host when the transaction under way is committed."""

    def ask_it() -> None:
        try:
            operator_verbs.ask(query.board_id, query.sql, [host_id])
        except (NoBoardError, RedisError) as error:
            logger.warning("host not asked yet host=%s reason=%s", host_id, error)

    transaction.on_commit(ask_it)


def _note_failure(query: HousekeepingQuery, host: Host, told: Told) -> None:
    query.last_error = f"{host.hostname}: {told.message or f'status {told.status}'}"[:LONGEST_ERROR]
    query.save(update_fields=["last_error"])
    logger.warning("housekeeping failed query=%s error=%s", query, query.last_error)
    if query.kind == HousekeepingQuery.Kind.LABEL:
        label_sql.note_failed(query, host, told.message, told.at)
