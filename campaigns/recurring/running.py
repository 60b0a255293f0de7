"""The steps that launch what is due, compare what ended, and let old runs go. Each may run twice at once.

Each schedule is looked at under the lock of its row. A time that was missed, since nothing ran for five minutes or the
run before is still going, is not made up for. Comparing may take minutes: it has a queue apart from launches, and one
does it at a time.
"""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, F, Q
from django.utils import timezone

from campaigns.analysis import changes
from campaigns.answers import archive, retention, sight
from campaigns.answers.results import timestamp
from campaigns.hooks.models import Event, HookEvent
from campaigns.launching.launch import launch
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import may_launch_something
from campaigns.recurring import keeping
from campaigns.recurring.models import Schedule, ScheduledRun
from campaigns.selecting.selection import Selection
from campaigns.states import OVER
from fleet.audit import note
from fleet.counting import counted
from fleet.database import locks
from fleet.errors import BadInputError, ConflictError, FleetError, ForbiddenError, NotFoundError, TooManyError

logger = logging.getLogger(__name__)

LATEST = timedelta(minutes=5)  # that a run begins after its time: a worker that is started again comes within that
RUN_SECONDS = 20.0  # of one step: the next one goes on
GONE_AT_ONCE = 20  # old runs of one schedule deleted in one step


def step() -> None:
    """Launch what is due."""
    until = time.monotonic() + RUN_SECONDS
    now = timezone.now()
    due = Schedule.objects.filter(enabled=True, next_at__lte=now).order_by("next_at").values_list("pk", flat=True)
    _each(list(due), run_due, until)


def compare_ended() -> None:
    """Compare the runs that ended."""
    until = time.monotonic() + RUN_SECONDS
    ended = ScheduledRun.objects.filter(compared_at=None, campaign__status__in=OVER).order_by("pk")
    _each(list(ended.values_list("pk", flat=True)), compare, until)


def let_go() -> None:
    """Delete runs beyond what their schedules keep; those with the most first."""
    over = Count("runs", filter=Q(runs__campaign__status__in=OVER, runs__campaign__pinned=False)) - F("runs_kept")
    found = Schedule.objects.annotate(over=over).filter(over__gt=0).order_by("-over", "pk")
    _each(list(found.values_list("pk", flat=True)), let_go_of, time.monotonic() + RUN_SECONDS)


def _each(ids: list[int], do: Callable[[int], object], until: float) -> None:
    for one in ids:
        try:
            do(one)
        except Exception:  # trouble with one keeps no other waiting
            logger.exception("schedules failed step=%s id=%s", do.__name__, one)
        if time.monotonic() > until:
            return


# --- launching -------------------------------------------------------------------------------------------------


def run_due(schedule_id: int) -> Campaign | None:
    """Launch a run whose time came, and set the next time; None when there is none to be."""
    with transaction.atomic():
        schedule = _taken(schedule_id)
        now = timezone.now()
        if schedule is None or not schedule.enabled or schedule.next_at is None or schedule.next_at > now:
            return None
        due, schedule.next_at = schedule.next_at, schedule.next_after(now)
        schedule.save(update_fields=["next_at"])
        if going := _still_going(schedule):
            _problem(schedule, f"campaign {going.pk}, the run before, was still going", now)
            return None
        if said := objection(schedule):
            _stop(schedule, said)
            return None
        if now - due > LATEST:
            _problem(schedule, f"nothing ran at {timestamp(due)}, its time: it is not made up for", now)
            return None
        try:
            with transaction.atomic():
                return _launch(schedule, schedule.owner)
        except FleetError as error:
            _failed(schedule, error, now)
            return None


def run_now(schedule: Schedule, by: User) -> Campaign:
    """Launch a run at once, beside its times. Raise ConflictError while one is going, and what the launch raises."""
    with transaction.atomic():
        taken = _taken(schedule.pk, wait=True)
        assert taken is not None  # noqa: S101 - it was waited for
        keeping.check_owner(taken, by)
        if going := _still_going(taken):
            raise ConflictError(f"campaign {going.pk}, a run of schedule {taken.pk}, is still going: stop it, or wait")
        keeping.check(taken, by)
        if said := objection(taken):
            raise ConflictError(f"schedule {taken.pk} does not run: {said}")
        campaign = _launch(taken, by)
        note("schedule.run", by=by, subject=f"schedule {taken.pk}", campaign=campaign.pk)
    return campaign


def _taken(schedule_id: int, *, wait: bool = False) -> Schedule | None:
    rows = Schedule.objects.select_for_update(skip_locked=not wait, of=["self"]).select_related("owner", "query")
    found: Schedule | None = rows.filter(pk=schedule_id).first()
    return found


def _last(schedule: Schedule) -> Campaign | None:
    run = schedule.runs.select_related("campaign").order_by("-campaign_id").first()
    return run.campaign if run is not None else None


def _still_going(schedule: Schedule) -> Campaign | None:
    last = _last(schedule)
    return last if last is not None and not last.is_over else None


def _launch(schedule: Schedule, by: User) -> Campaign:
    before = _last(schedule)
    campaign = launch(keeping.order_of(schedule), by)
    campaign.parent, campaign.schedule_id = before, schedule.pk
    campaign.save(update_fields=["parent", "schedule"])
    ScheduledRun.objects.create(schedule=schedule, campaign=campaign)
    if schedule.last_problem:
        Schedule.objects.filter(pk=schedule.pk).update(last_problem="", last_problem_at=None)
    logger.info("schedule ran schedule=%s campaign=%s", schedule.pk, campaign.pk)
    return campaign


# --- when its owner may no more --------------------------------------------------------------------------------


def objection(schedule: Schedule) -> str:
    """Say why it may not run any more; "" = it may."""
    owner, name = schedule.owner, schedule.owner.get_username()
    if not owner.is_active:
        return f"its owner {name} is deactivated"
    if not may_launch_something(owner):
        return f"its owner {name} may not launch campaigns any more"
    if schedule.sql != schedule.query.sql:
        return f"the SQL of query {schedule.query.name!r} was changed since {name} looked: look, and enable it again"
    return ""


def stop_without_right() -> None:
    """Stop those that may run no more, long before their next time; whether they see their hosts a run finds out."""
    going = Schedule.objects.filter(enabled=True).select_related("query").prefetch_related("owner")
    suspects = [schedule.pk for schedule in going if objection(schedule)]
    _each(suspects, _stop_when_objected, time.monotonic() + RUN_SECONDS)


@transaction.atomic
def _stop_when_objected(schedule_id: int) -> None:
    schedule = _taken(schedule_id)
    if schedule is not None and schedule.enabled and (said := objection(schedule)):
        _stop(schedule, said)


def _failed(schedule: Schedule, error: FleetError, now: datetime) -> None:
    """Stop it when its owner's rights do not reach any more; else say why this time brought no run."""
    if isinstance(error, ForbiddenError):
        _stop(schedule, error.sentence)
    elif _lies_beyond(schedule):
        _stop(
            schedule, f"its target lies beyond what its owner {schedule.owner.get_username()} may see: {error.sentence}"
        )
    else:
        _problem(schedule, error.sentence, now)


def _lies_beyond(schedule: Schedule) -> bool:
    """Say whether the target names hosts, of which its owner, who is limited, sees none any more."""
    limits = scopes.limits_of(schedule.owner)
    if limits == scopes.UNLIMITED:
        return False
    now = timezone.now()
    try:
        anybody = Selection.read(schedule.target, scopes.UNLIMITED).hosts(now).exists()
    except BadInputError:
        return False
    try:
        return anybody and not Selection.read(schedule.target, limits).hosts(now).exists()
    except BadInputError:
        return anybody


def _stop(schedule: Schedule, reason: str) -> None:
    schedule.enabled, schedule.next_at, schedule.stopped_reason = False, None, reason
    schedule.save(update_fields=["enabled", "next_at", "stopped_reason"])
    note("schedule.stopped", subject=f"schedule {schedule.pk}", reason=reason)
    logger.warning("schedule stopped schedule=%s reason=%s", schedule.pk, reason)


def _problem(schedule: Schedule, sentence: str, now: datetime) -> None:
    schedule.last_problem, schedule.last_problem_at = sentence, now
    schedule.save(update_fields=["last_problem", "last_problem_at"])
    logger.warning("schedule not run schedule=%s reason=%s", schedule.pk, sentence)


# --- comparing -------------------------------------------------------------------------------------------------


@transaction.atomic
def compare(run_id: int) -> None:
    """Compare a run that ended with the last one before it that was answered; tell hooks when something changed.

    One is compared at a time, under a lock that no row bears: whoever deletes a run or its schedule does not wait.
    """
    if not locks.take("campaigns.recurring.compare"):
        return
    runs = ScheduledRun.objects.select_related("campaign", "schedule__owner")
    run = runs.filter(pk=run_id, compared_at=None).first()
    if run is None:
        return
    before = _answered_before(run)
    changed, problem = [], ""
    if before is not None and run.schedule is not None and run.campaign.count_answered:
        try:
            changed = changes.sentences(run.campaign, before, run.schedule.owner, sight.seen_by)
        except TooManyError:
            return  # others ask now: the next step tries again
        except NotFoundError:
            problem = "its owner may not look at both runs"
        except FleetError as error:
            problem = error.sentence
    fields = {"compared_at": timezone.now(), "before": before, "changes": changed, "problem": problem}
    if ScheduledRun.objects.filter(pk=run_id, compared_at=None).update(**fields) and changed:
        _tell(run.campaign, before, changed)


def _answered_before(run: ScheduledRun) -> Campaign | None:
    earlier = ScheduledRun.objects.filter(schedule=run.schedule_id, campaign_id__lt=run.campaign_id)
    answered = earlier.filter(campaign__status__in=OVER, campaign__count_answered__gt=0)
    found = answered.select_related("campaign").order_by("-campaign_id").first() if run.schedule_id else None
    return found.campaign if found is not None else None


def _tell(campaign: Campaign, before: Campaign | None, told: list[str]) -> None:
    facts = {name: getattr(campaign, name) for name in ("status", "waits_for", "ended_by", "ended_reason")}
    facts |= {"before": before.pk if before is not None else None, "changes": told}
    HookEvent.objects.create(kind=Event.CHANGED, campaign_id=campaign.pk, facts=facts)


# --- what is kept ----------------------------------------------------------------------------------------------


def let_go_of(schedule_id: int) -> None:
    """Delete a few runs beyond what a schedule keeps.

    One that is pinned, may get late answers or is to be in the archive and is not yet, stays.
    """
    schedule = Schedule.objects.get(pk=schedule_id)
    old = schedule.runs.filter(campaign__status__in=OVER, campaign__pinned=False).order_by("-campaign_id")
    beyond = list(old.values_list("campaign_id", flat=True)[schedule.runs_kept :])
    gone = archive.where_due(Campaign.objects.filter(pk__in=beyond)).order_by("pk").values_list("pk", flat=True)
    for campaign_id in gone[:GONE_AT_ONCE]:
        try:
            retention.delete(campaign_id, f"schedule {schedule.pk}, which keeps {counted(schedule.runs_kept, 'run')}")
        except FleetError as error:
            logger.debug("run kept campaign=%s reason=%s", campaign_id, error.sentence)
            return  # the younger ones are no older
