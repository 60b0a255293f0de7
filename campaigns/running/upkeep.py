"""What Celery beat looks after every few seconds, and what may wait while there is much of it: bits that the board has
lost, hosts that join late, how many are online, campaigns to be forgotten.

Shares its workers with the sweep, which ends campaigns to the second. So each run takes a second at most; what it did
not come to has its turn in the next ones.
"""

import logging
import random
import time
from collections.abc import Callable, Iterable
from datetime import datetime

from django.db import transaction
from redis.exceptions import RedisError

from agents.board import clock, operator_verbs
from agents.board.bitmaps import has_bit
from agents.board.keyspace import seat_of
from agents.board.operator_verbs import RELEASED_ALL
from campaigns.collecting.cursor import is_stored
from campaigns.models import Campaign
from campaigns.running import joining, targeting
from campaigns.states import Status
from fleet.errors import BadInputError

logger = logging.getLogger(__name__)

RUN_SECONDS = 1.0


def _for_a_second(campaigns: Iterable[Campaign], step: Callable[[Campaign], None]) -> None:
    """Take a step for as many campaigns as there is time, in random order, so that none is always the last."""
    waiting = list(campaigns)
    random.shuffle(waiting)
    until = time.monotonic() + RUN_SECONDS
    for campaign in waiting:
        try:
            step(campaign)
        except RedisError:
            raise  # nothing can be done for the others either
        except Exception:
            logger.exception("upkeep failed step=%s campaign=%s", step.__name__, campaign.pk)
        if time.monotonic() > until:
            return


# --- bits ------------------------------------------------------------------------------------------------------


def repair_board() -> None:
    """Set the bit again of every released, open target that the board has lost."""
    open_ = Campaign.objects.filter(closed_at=None, ended_by="")
    armed = open_.filter(status__in=[Status.TARGETING, Status.RUNNING])
    _for_a_second(armed, _repair)


def _repair(campaign: Campaign) -> None:
    if not _may_lack_bits(campaign):
        return
    for number in campaign.ranges.exclude(done_at=None).values_list("number", flat=True):
        _repair_range(campaign.pk, number)


def _may_lack_bits(campaign: Campaign) -> bool:
    """Compare two counts, which is cheap. Who is released in part, or being written, is looked at host by host."""
    if campaign.status != Status.RUNNING or campaign.released != RELEASED_ALL:
        return True
    ranges = campaign.ranges.values_list("number", flat=True)
    return operator_verbs.count_offered(campaign.pk, ranges) != campaign.open_targets


@transaction.atomic
def _repair_range(campaign_id: int, number: int) -> None:
    """Look at one range under the campaign's lock: who takes bits away on purpose holds it too."""
    campaign = targeting.open_campaign(campaign_id)
    last = operator_verbs.last_entry()
    if campaign is None or not is_stored(last):
        return
    offered = operator_verbs.offered(campaign_id, number)
    hosts = targeting.open_hosts([(campaign_id, number)])[campaign_id, number]
    bits = [seat_of(host).bit for host in hosts]
    lost = [bit for bit in bits if not has_bit(offered, bit)]
    repaired = operator_verbs.arm_again(campaign_id, number, lost, last) if lost else 0
    if repaired > 0:
        logger.warning("bits set again campaign=%s range=%s hosts=%s", campaign_id, number, repaired)


# --- who else, and who is there --------------------------------------------------------------------------------


def add_late_joiners() -> None:
    """Let hosts join that are meant since their campaign began."""
    running = Campaign.objects.filter(status=Status.RUNNING, ended_by="", closed_at=None, include_late_joiners=True)
    _for_a_second(running, _add_late_joiners)


def _add_late_joiners(campaign: Campaign) -> None:
    """Let hosts join one campaign. A selection that names something gone by now gains nobody."""
    try:
        joined = joining.add_late_joiners(campaign.pk)
    except BadInputError as error:
        logger.warning("nobody joins campaign=%s reason=%s", campaign.pk, error.sentence)
        return
    if joined:
        logger.info("hosts joined late campaign=%s hosts=%s", campaign.pk, joined)


def refresh_online() -> None:
    """Count anew how many targets of the campaigns under way are online."""
    _for_a_second(Campaign.objects.under_way(), _count_online)


def _count_online(campaign: Campaign) -> None:
    targeting.count_online([campaign])


# --- who goes --------------------------------------------------------------------------------------------------


def forget_ended() -> None:
    """Take campaigns off the board whose late answers are taken no more, and those that Postgres does not know."""
    now = clock.now()
    known = operator_verbs.known()
    kept = {campaign.pk for campaign in Campaign.objects.filter(pk__in=known) if not _is_forgotten(campaign, now)}
    for campaign_id in known - kept:
        operator_verbs.forget(campaign_id)


def _is_forgotten(campaign: Campaign, now: datetime) -> bool:
    return campaign.ended_at is not None and campaign.ended_at + clock.late_time() < now
