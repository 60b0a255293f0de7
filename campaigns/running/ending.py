"""The end of a campaign: closed on the board first, then final in Postgres when every answer is stored.

Every step takes the campaign's lock, looks again and may run twice or beside another one.
"""

import logging
import time
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db import connection, transaction
from django.db.models import F

from agents.board import clock, heartbeats, keyspace, operator_verbs
from campaigns import doorbell
from campaigns.collecting.cursor import is_stored, stored_entry
from campaigns.launching.control import close_on_board
from campaigns.models import Campaign, Target
from campaigns.running.releasing import HASH
from campaigns.states import OPEN_STATES, State, Status
from fleet import traces
from fleet.counting import counted

logger = logging.getLogger(__name__)

SLICE = 10_000  # targets that get their final state in one transaction, well under a second
STEP_SECONDS = 4.0  # that one of the steps which may take long has, so that brakes are watched all the time
# As one array: the ORM takes as long to write ten thousand numbers as PostgreSQL takes to change their rows.
END = "UPDATE campaigns_target SET state = %s, ended_at = %s WHERE id = ANY(%s) AND state = %s"


def close(campaign_id: int) -> None:
    """Close a campaign whose time is up, or whose stop could not reach the board when it was asked for."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is not None and not campaign.is_over and not campaign.is_closed:
            close_on_board(campaign)


def close_finished(campaign_id: int) -> None:
    """Close on the board a campaign that Postgres knows as over since its last host answered."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is not None and campaign.is_over and not campaign.closed_entry:
            close_on_board(campaign, campaign.ended_at)


def finish(campaign_id: int) -> None:
    """Take the second step of ending: final states, once everything sent before the end is stored."""
    campaign = Campaign.objects.get(pk=campaign_id)
    if campaign.closed_at is None or not is_stored(campaign.closed_entry):
        return
    if campaign.count_waiting and not campaign.ended_by and not heartbeats.all_told_since(campaign.closed_at):
        return  # a gateway may yet tell of a host that asked before the end
    until = time.monotonic() + STEP_SECONDS
    while _finish_slice(campaign_id) and time.monotonic() < until:
        pass


def _finish_slice(campaign_id: int) -> bool:
    """Write the final states of some targets; False when there is nothing more to do."""
    began = time.time()
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.is_over or campaign.closed_at is None:
            return False
        targets = Target.objects.filter(campaign=campaign, state__in=OPEN_STATES).annotate(hash=HASH)
        slice_ = [
            Open(pk, host, state, hash_ <= campaign.released or state == State.DELIVERED)
            for pk, host, state, hash_ in targets.values_list("pk", "host_id", "state", "hash")[:SLICE]
        ]
        for (before, after), pks in _final_states(campaign, slice_).items():
            campaign.move(before, after, _change(pks, before, after, campaign.closed_at))
        if not campaign.open_targets:
            _end(campaign)
        traces.note(campaign, "final states written", began, hosts=len(slice_))
        campaign.save_counts("status", "ended_at", "ended_reason", "left", "paused_by", "paused_reason")
        doorbell.ring(campaign_id)
        return bool(campaign.open_targets)


def _change(pks: list[int], before: str, after: str, at: datetime) -> int:
    with connection.cursor() as cursor:
        cursor.execute(END, [after, at, pks, before])
        changed: int = cursor.rowcount
        return changed


class Open(NamedTuple):
    """What the end has to know of a target that is not final."""

    pk: int
    host: int
    state: str
    is_released: bool


def _final_states(campaign: Campaign, targets: list[Open]) -> dict[tuple[str, str], list[int]]:
    """Group targets by the state they are in and the final one that is true of them."""
    waiting = [target.host for target in targets if target.state == State.WAITING]
    reads = {} if campaign.ended_by else heartbeats.reads_of(waiting)
    groups: dict[tuple[str, str], list[int]] = {}
    for target in targets:
        after = _final_state(campaign, target, reads.get(target.host))
        groups.setdefault((target.state, after), []).append(target.pk)
    return groups


def _final_state(campaign: Campaign, target: Open, reads: heartbeats.Reads | None) -> State:
    if not target.is_released:
        return State.HELD_BACK
    if campaign.ended_by:
        return State.STOPPED
    if target.state == State.DELIVERED:
        return State.NO_ANSWER
    start, end = campaign.started_at, campaign.closed_at
    asked = reads is not None and start is not None and end is not None and reads.between(start, end)
    return State.HELD_BACK if asked else State.MISSED


def _end(campaign: Campaign) -> None:
    campaign.ended_at = campaign.closed_at
    campaign.forget_pause()
    if campaign.ended_by:
        campaign.status = Status.STOPPED
    else:
        campaign.status, campaign.ended_reason = Status.EXPIRED, f"its {counted(campaign.timeout, 'second')} were over"
    logger.info("campaign ended campaign=%s status=%s", campaign.pk, campaign.status)


def give_up(campaign_id: int) -> None:
    """Wait no longer for hosts that had the SQL for `answer_within` and did not answer, as far as all is stored."""
    last = operator_verbs.last_entry()
    stored = stored_entry()
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.status != Status.RUNNING or campaign.answer_within is None:
            return
        known = clock.now() if is_stored(last) else clock.moment(keyspace.entry_ms(stored))
        within = timedelta(seconds=campaign.answer_within)
        late = Target.objects.filter(campaign=campaign, state=State.DELIVERED, delivered_at__lt=known - within)
        hosts = dict(late.values_list("pk", "host_id")[:SLICE])
        if not hosts:
            return
        operator_verbs.take_offers(campaign_id, hosts.values())
        error = f"no answer within {counted(campaign.answer_within, 'second')}"
        ended = Target.objects.filter(pk__in=hosts).update(
            state=State.NO_ANSWER, ended_at=F("delivered_at") + within, error=error
        )
        campaign.move(State.DELIVERED, State.NO_ANSWER, ended)
        campaign.save_counts()
        campaign.complete_if_over(known)
        doorbell.ring(campaign_id)
