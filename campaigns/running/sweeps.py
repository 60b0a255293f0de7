"""What Celery beat looks after every second: the board is whole, what is over is closed, stuck ranges are sent again.

Every step takes the campaign's lock, looks again and may run twice or beside another sweep.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from redis.exceptions import RedisError

from agents.board import heartbeats, keyspace, operator_verbs
from campaigns import doorbell
from campaigns.collecting.collector import cursor_entry, is_stored
from campaigns.launching import kill_switch, launch
from campaigns.models import OPEN_STATES, OVER, Campaign, State, Status, Target, TargetRange
from campaigns.running import rollout
from campaigns.running.ending import close_on_board, complete_if_over
from campaigns.running.rebuild import mend_board
from campaigns.running.rollout import HASH
from campaigns.running.targeting import end_as_closed
from fleet.errors import ConflictError
from fleet.queue import enqueue

logger = logging.getLogger(__name__)

SLICE = 10_000  # targets that get their final state in one transaction, well under a second
STEP_SECONDS = 4.0  # that one of the steps which may take long has, so that brakes are watched all the time
# As one array: the ORM takes as long to write ten thousand numbers as PostgreSQL takes to change their rows.
END = "UPDATE campaigns_target SET state = %s, ended_at = %s WHERE id = ANY(%s) AND state = %s"
BRAKE = "brake"  # what a campaign was ended by when no person did
STUCK_AFTER = timedelta(seconds=10)


def sweep() -> None:
    """Do everything that is due. While the board is not whole nothing can be closed on it: that waits."""
    send_stuck_ranges()
    if not mend_board():
        return
    is_on = kill_switch.follow()
    if watch():
        heartbeats.note_sweep()
    if not is_on:
        launch.stop_all("kill switch")
    now = operator_verbs.now()
    _each(_in_time(Campaign.objects.filter(status=Status.SCHEDULED, start_at__lte=now)), launch.start)
    running = Campaign.objects.filter(status=Status.RUNNING, ended_by="", closed_at=None)
    _each(_ids(running.exclude(answer_within=None)), give_up)
    open_campaigns = Campaign.objects.under_way().filter(closed_at=None)
    _each(_ids(open_campaigns.filter(ends_at__lte=now) | open_campaigns.exclude(ended_by="")), close)
    _each(_ids(Campaign.objects.filter(status__in=OVER, closed_entry="")), close_finished)
    _each(_in_time(Campaign.objects.under_way().exclude(closed_at=None)), finish)


def _ids(campaigns: Iterable[Campaign]) -> list[int]:
    return [campaign.pk for campaign in campaigns]


def _in_time(campaigns: Iterable[Campaign]) -> Iterator[int]:
    """Give as many as there is time for; the next sweep, which looks at brakes first, comes to the others."""
    until = time.monotonic() + STEP_SECONDS
    for campaign in campaigns:
        yield campaign.pk
        if time.monotonic() > until:
            return


def _each(ids: Iterable[int], step: Callable[[int], None]) -> bool:
    """Take a step for each campaign, say whether all went well; trouble with one keeps no other waiting."""
    well = True
    for campaign_id in ids:
        try:
            step(campaign_id)
        except RedisError:
            raise  # nothing can be done for the others either
        except Exception:
            logger.exception("sweep failed step=%s campaign=%s", step.__name__, campaign_id)
            well = False
    return well


def watch() -> bool:
    """Look at the brakes of every campaign and widen those that go on; say whether all of it was done.

    Only then is the sweep's heartbeat written, without which the board hands out no campaign with a rollout. This comes
    before what may take long.
    """
    under_way = Campaign.objects.under_way().filter(closed_at=None, ended_by="")
    known = {campaign.pk: campaign for campaign in under_way}
    standings = operator_verbs.standings(known)
    strayed = [pk for pk, standing in standings.items() if not _agree(known[pk], standing)]
    braked = [pk for pk, standing in standings.items() if standing.braked is not None]
    begun = under_way.filter(status__in=[Status.TARGETING, Status.RUNNING]).exclude(rollout=None)
    done = [_each(strayed, bring_back), _each(braked, pull_brake), _each(_ids(begun), widen)]
    return all(done)


def _agree(campaign: Campaign, standing: operator_verbs.Standing) -> bool:
    """Say whether the board holds what Postgres does. A range that is not armed yet finds out by itself."""
    if campaign.status == Status.TARGETING:
        return True
    return not standing.is_closed and standing.is_paused == (campaign.status == Status.PAUSED)


def bring_back(campaign_id: int) -> None:
    """Let the board follow Postgres: a pause, a resume or a stop got so far, and failed before it was committed."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.is_over or campaign.is_closed or campaign.ended_by:
            return
        standing = operator_verbs.standings([campaign_id]).get(campaign_id)
        if standing is None or _agree(campaign, standing) or campaign.is_past(operator_verbs.now()):
            return
        logger.warning("the board strayed campaign=%s status=%s", campaign_id, campaign.status)
        if standing.is_closed:
            end_as_closed(campaign)
        elif campaign.status == Status.PAUSED:
            rollout.hold(campaign, campaign.paused_by, campaign.paused_reason)
        else:
            rollout.go_on(campaign)


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
        campaign.status, campaign.ended_reason = Status.EXPIRED, f"its {campaign.timeout} seconds were over"
    logger.info("campaign ended campaign=%s status=%s", campaign.pk, campaign.status)


def pull_brake(campaign_id: int) -> None:
    """Stop a campaign whose denylisted hosts pulled the brake on the board."""
    campaign = Campaign.objects.get(pk=campaign_id)
    standing = operator_verbs.standings([campaign_id]).get(campaign_id)
    if standing is not None and standing.braked is not None:
        limit = rollout.brakes_of(campaign, settings.DENYLISTED_BRAKE).denylisted or 0
        _pull(campaign_id, rollout.denylisted_sentence(standing.braked, limit))


def widen(campaign_id: int) -> None:
    """Look at a campaign's brakes, and release more hosts if none is to be pulled."""
    try:
        pulled = rollout.advance(campaign_id)
    except operator_verbs.NoBoardError:
        logger.warning("campaign not widened campaign=%s: the board is not whole", campaign_id)
        return
    if pulled is not None:
        _pull(campaign_id, pulled)


def _pull(campaign_id: int, sentence: str) -> None:
    with suppress(ConflictError):  # its last host answered meanwhile: there is nothing left to stop
        launch.stop(campaign_id, BRAKE, sentence)


def give_up(campaign_id: int) -> None:
    """Wait no longer for hosts that had the SQL for `answer_within` and did not answer, as far as all is stored."""
    last = operator_verbs.last_entry()
    stored = cursor_entry()
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.status != Status.RUNNING or campaign.answer_within is None:
            return
        known = operator_verbs.now() if is_stored(last) else operator_verbs.moment(keyspace.entry_ms(stored))
        within = timedelta(seconds=campaign.answer_within)
        late = Target.objects.filter(campaign=campaign, state=State.DELIVERED, delivered_at__lt=known - within)
        hosts = dict(late.values_list("pk", "host_id")[:SLICE])
        if not hosts:
            return
        operator_verbs.take_offers(campaign_id, hosts.values())
        error = f"no answer within {campaign.answer_within} seconds"
        ended = Target.objects.filter(pk__in=hosts).update(
            state=State.NO_ANSWER, ended_at=F("delivered_at") + within, error=error
        )
        campaign.move(State.DELIVERED, State.NO_ANSWER, ended)
        campaign.save_counts()
        complete_if_over(campaign, known)
        doorbell.ring(campaign_id)


def send_stuck_ranges() -> None:
    """Send again what was not done within ten seconds: the message, its worker or the board was lost."""
    now = timezone.now()
    with transaction.atomic():
        stuck = TargetRange.objects.select_for_update(skip_locked=True, of=["self"]).filter(
            done_at=None, sent_at__lt=now - STUCK_AFTER, campaign__closed_at=None, campaign__ended_by=""
        )
        for range_ in stuck.filter(campaign__status__in=[Status.TARGETING, Status.RUNNING]):
            range_.sent_at = now
            range_.save(update_fields=["sent_at"])
            enqueue("campaigns.write_range", range_.campaign_id, range_.number)
            logger.warning("range sent again campaign=%s range=%s", range_.campaign_id, range_.number)
