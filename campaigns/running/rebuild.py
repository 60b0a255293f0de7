"""Write the board anew from Postgres when Redis restarted, was replaced or was emptied.

While it lasts the board has no epoch: every script says so, agents keep their answers and come again. Safe beside
running gateways, workers and a second rebuild.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q

from agents.board import clock, known_hosts, operator_verbs, rebuilding
from agents.board.keyspace import seat_of
from agents.enrolling import config_document
from agents.inventory import installation
from agents.models import Host, Presence
from campaigns.collecting.cursor import stored_entry
from campaigns.launching import kill_switch
from campaigns.models import Campaign, Target
from campaigns.running.releasing import HASH, brakes_of
from campaigns.states import ANSWER_STATES, OPEN_STATES, State

logger = logging.getLogger(__name__)

# The last numbers given; of hosts also one that was chosen by hand.
NUMBERS = """
SELECT greatest((SELECT max(id) FROM agents_host),
        (SELECT last_value FROM pg_sequences WHERE sequencename = 'agents_host_id_seq')),
    greatest((SELECT max(id) FROM campaigns_campaign),
        (SELECT last_value FROM pg_sequences WHERE sequencename = 'campaigns_campaign_id_seq'))
"""
LEAP_BY = 1_000_000  # more campaigns than were launched since any backup
LEAP = """
SELECT setval('campaigns_campaign_id_seq',
    (greatest(%s, (SELECT last_value FROM campaigns_campaign_id_seq)) / %s + 1) * %s)
"""
LOCK = 0x666C65657401  # of the one rebuild at a time


def mend_board() -> bool:
    """Say whether the board is whole, after an attempt to make it so when it is not."""
    epoch = rebuilding.epoch()
    here = installation.here()
    if epoch is None or epoch[0] != rebuilding.run_id() or _is_of_another_life(here):
        return rebuild()
    if known_hosts.life() is None:  # an earlier version wrote the board
        installation.write_hosts(here)
    return True


def _is_of_another_life(here: installation.Here) -> bool:
    """Say whether the database was lost or restored since the board was written."""
    if here.has_moved or known_hosts.life() not in (None, here.life):
        return True
    # The files were put back where they were: nothing but the numbers tells. The database gives them, so it is asked
    # last: who is launched or enrolls between the two questions is in its answer alone.
    highest, known = known_hosts.highest(), max(operator_verbs.known(), default=0)
    with connection.cursor() as cursor:
        cursor.execute(NUMBERS)
        host, campaign = (int(number or 0) for number in cursor.fetchone())
    return highest > host or known > campaign


def rebuild() -> bool:
    """Rebuild the board; False when another does it, or when the collector has yet to store what is in the stream."""
    with transaction.atomic():
        if not _take_lock():
            return False
        here = installation.here()
        is_another_life = _is_of_another_life(here)
        rebuilding.begin()
        if operator_verbs.has_entries_after(stored_entry()):
            logger.info("board waits for the collector to store what is in the stream")
            return False
        rebuilding.mark_stream(stored_entry())
        highest = max(*operator_verbs.known(), 0, known_hosts.leapt())
        rebuilding.clear()
        if is_another_life:
            _begin_another_life(here, highest)
        installation.write_hosts(here)
        campaigns = _kept_campaigns()
        for campaign in campaigns:
            rebuilding.restore(_kept(campaign))
        operator_verbs.switch_off(off=not kill_switch.is_on())
        rebuilding.restore_reads(_last_seen())
        rebuilding.finish(_floors(), config_document.text_of(config_document.current()))
    logger.warning("board rebuilt campaigns=%s", len(campaigns))
    return True


def _begin_another_life(here: installation.Here, highest: int) -> None:
    """Let no campaign have the number of one that this database knows nothing of and hosts may still answer."""
    known_hosts.forget_another_life()
    installation.keep_place(here)
    with connection.cursor() as cursor:
        cursor.execute(LEAP, [highest, LEAP_BY, LEAP_BY])
        leapt = int(cursor.fetchone()[0])
    known_hosts.note_leap(leapt)
    logger.warning("database lost or restored: campaigns go on with number=%s", leapt + 1)


def _take_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def _kept_campaigns() -> list[Campaign]:
    """Lock the campaigns that belong on the board: armed, and open or ended so recently that answers still count."""
    since = clock.now() - timedelta(seconds=settings.LATE_ANSWER_SECONDS)
    belonging = Campaign.objects.filter(started_at__isnull=False).filter(Q(ended_at=None) | Q(ended_at__gte=since))
    return list(Campaign.objects.locked(belonging.values_list("pk", flat=True)).values())


class _Debts(NamedTuple):
    """What a campaign's hosts owe, as the board has it: bits by range, and deliveries by host."""

    owed: dict[int, list[int]]
    offer: dict[int, list[int]]
    flight: dict[int, tuple[int, datetime]]


def _debts_of(campaign: Campaign) -> _Debts:
    debts = _Debts(defaultdict(list), defaultdict(list), {})
    targets = Target.objects.filter(campaign=campaign).exclude(state__in=[*ANSWER_STATES, State.UNSUPPORTED])
    # Who was handed it was released, also when the process that did so died before it could commit that.
    targets = targets.annotate(hash=HASH).filter(Q(hash__lte=campaign.released) | Q(delivered_at__isnull=False))
    for host, state, deliveries, delivered_at in targets.values_list(
        "host_id", "state", "deliveries", "delivered_at"
    ).iterator(10_000):
        seat = seat_of(host)
        debts.owed[seat.number].append(seat.bit)
        if state in OPEN_STATES:
            debts.offer[seat.number].append(seat.bit)
        if state == State.DELIVERED and delivered_at:
            debts.flight[host] = (deliveries, delivered_at)
    return debts


def _kept(campaign: Campaign) -> rebuilding.Kept:
    if campaign.started_at is None:
        raise ValueError(f"campaign {campaign.pk} was never armed")
    debts = _debts_of(campaign)
    armed = campaign.ranges.exclude(done_at=None).values_list("number", flat=True)
    return rebuilding.Kept(
        campaign=campaign.pk,
        sql=campaign.sql,
        started_at=campaign.started_at,
        ends_at=campaign.ends_at,
        left=campaign.left,
        brakes=brakes_of(campaign, settings.DENYLISTED_BRAKE or None),
        denylisted=campaign.count_denylisted,
        ranges=sorted({*armed, *debts.owed}),
        closed=_closed(campaign),
        owed=debts.owed,
        offer=debts.offer,
        flight=debts.flight,
    )


def _closed(campaign: Campaign) -> operator_verbs.Closed | None:
    """Give when it was closed. One that was stopped while the board was away is closed from the first moment on."""
    at = campaign.closed_at or campaign.ended_at or (clock.now() if campaign.ended_by else None)
    return operator_verbs.Closed(at, campaign.closed_entry or stored_entry()) if at else None


def _last_seen() -> Iterator[tuple[int, datetime]]:
    return Presence.objects.values_list("host_id", "last_seen").iterator(10_000)


def _floors() -> dict[int, int]:
    return dict(Host.objects.filter(epoch_floor__gt=0).values_list("pk", F("epoch_floor")))
