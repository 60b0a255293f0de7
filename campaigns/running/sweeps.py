"""What Celery beat looks after every second: the board is whole, what is over is closed, stuck ranges are sent again.

Every step takes the campaign's lock, looks again and may run twice or beside another sweep.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta

from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models.functions import Now
from redis.exceptions import RedisError

from agents.board import clock, heartbeats, operator_verbs
from agents.board.keyspace import NoBoardError
from campaigns.launching import approvals, control, kill_switch, launch
from campaigns.launching.models import Approval
from campaigns.models import Campaign, CampaignQuerySet, TargetRange
from campaigns.running import brakes, releasing
from campaigns.running.ending import STEP_SECONDS, close, close_finished, finish, give_up
from campaigns.running.rebuild import mend_board
from campaigns.running.targeting import end_as_closed
from campaigns.states import OVER, Status
from fleet.errors import ConflictError
from fleet.queue import enqueue

logger = logging.getLogger(__name__)

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
        control.stop_all("kill switch")
    now = clock.now()
    due = Campaign.objects.filter(status=Status.SCHEDULED, waits_for="", start_at__lte=now)
    _each(_in_time(due), launch.start)
    unanswered = Approval.objects.waiting().filter(expires_at__lte=now)
    _each(unanswered.values_list("campaign_id", flat=True), approvals.expire)
    running = Campaign.objects.filter(status=Status.RUNNING, ended_by="", closed_at=None)
    _each(_ids(running.exclude(answer_within=None)), give_up)
    open_campaigns = Campaign.objects.under_way().filter(closed_at=None)
    _each(_ids(open_campaigns.filter(ends_at__lte=now) | open_campaigns.exclude(ended_by="")), close)
    _each(_ids(Campaign.objects.filter(status__in=OVER, closed_entry="")), close_finished)
    _each(_in_time(Campaign.objects.under_way().exclude(closed_at=None)), finish)


def _ids(campaigns: CampaignQuerySet) -> list[int]:
    """Name them: nothing else of them is read, every second."""
    return list(campaigns.values_list("pk", flat=True))


def _in_time(campaigns: CampaignQuerySet) -> Iterator[int]:
    """Give as many as there is time for; the next sweep, which looks at brakes first, comes to the others."""
    until = time.monotonic() + STEP_SECONDS
    for campaign_id in _ids(campaigns):
        yield campaign_id
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
        except OperationalError as error:  # PostgreSQL is away, or who has the campaign's lock stands still
            logger.warning("sweep waits step=%s campaign=%s reason=%s", step.__name__, campaign_id, error)
            well = False
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
    known = dict(under_way.values_list("pk", "status"))
    standings = operator_verbs.standings(known)
    strayed = [pk for pk, standing in standings.items() if not _agree(known[pk], standing)]
    braked = [pk for pk, standing in standings.items() if standing.braked is not None]
    begun = under_way.filter(status__in=[Status.TARGETING, Status.RUNNING]).exclude(rollout=None)
    done = [_each(strayed, bring_back), _each(braked, pull_brake), _each(_ids(begun), widen)]
    return all(done)


def _agree(status: str, standing: operator_verbs.Standing) -> bool:
    """Say whether the board holds what Postgres does. A range that is not armed yet finds out by itself."""
    if status == Status.TARGETING:
        return True
    return not standing.is_closed and standing.is_paused == (status == Status.PAUSED)


def bring_back(campaign_id: int) -> None:
    """Let the board follow Postgres: a pause, a resume or a stop got so far, and failed before it was committed."""
    with transaction.atomic():
        campaign = Campaign.objects.locked([campaign_id]).get(campaign_id)
        if campaign is None or campaign.is_over or campaign.is_closed or campaign.ended_by:
            return
        standing = operator_verbs.standings([campaign_id]).get(campaign_id)
        if standing is None or _agree(campaign.status, standing) or campaign.is_past(clock.now()):
            return
        logger.warning("the board strayed campaign=%s status=%s", campaign_id, campaign.status)
        if standing.is_closed:
            end_as_closed(campaign)
        elif campaign.status == Status.PAUSED:
            control.hold(campaign, campaign.paused_by, campaign.paused_reason)
        else:
            control.go_on(campaign)


def pull_brake(campaign_id: int) -> None:
    """Stop a campaign whose denylisted hosts pulled the brake on the board."""
    campaign = Campaign.objects.get(pk=campaign_id)
    standing = operator_verbs.standings([campaign_id]).get(campaign_id)
    if standing is not None and standing.braked is not None:
        limit = releasing.brakes_of(campaign, settings.DENYLISTED_BRAKE).denylisted or 0
        _pull(campaign_id, brakes.denylisted_sentence(standing.braked, limit))


def widen(campaign_id: int) -> None:
    """Look at a campaign's brakes, and release more hosts if none is to be pulled."""
    try:
        pulled = releasing.advance(campaign_id)
    except NoBoardError:
        logger.warning("campaign not widened campaign=%s: the board is not whole", campaign_id)
        return
    if pulled is not None:
        _pull(campaign_id, pulled)


def _pull(campaign_id: int, sentence: str) -> None:
    with suppress(ConflictError):  # its last host answered meanwhile: there is nothing left to stop
        control.stop(campaign_id, BRAKE, sentence)


def send_stuck_ranges() -> None:
    """Send again what was not done within ten seconds: the message, its worker or the board was lost.

    By PostgreSQL's clock: consoles wrote the time, and no two machines' clocks agree.
    """
    with transaction.atomic():
        stuck = TargetRange.objects.select_for_update(skip_locked=True, of=["self"]).filter(
            done_at=None, sent_at__lt=Now() - STUCK_AFTER, campaign__closed_at=None, campaign__ended_by=""
        )
        for range_ in stuck.filter(campaign__status__in=[Status.TARGETING, Status.RUNNING]):
            TargetRange.objects.filter(pk=range_.pk).update(sent_at=Now())
            enqueue("campaigns.write_range", range_.campaign_id, range_.number)
            logger.warning("range sent again campaign=%s range=%s", range_.campaign_id, range_.number)
