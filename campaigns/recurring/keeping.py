"""What people do with schedules: make, change, enable, disable, delete."""

from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from campaigns.launching import rights
from campaigns.launching.launch import Order, estimate
from campaigns.models import Query
from campaigns.people.roles import LAUNCH, may_launch_something
from campaigns.recurring import times
from campaigns.recurring.models import Schedule
from fleet.audit import note
from fleet.counting import counted, plural
from fleet.errors import BadInputError, ConflictError, ForbiddenError

MOST_RUNS_KEPT = 1_000
MOST_SCHEDULES = 200  # of one person
SAID = ("query_id", "every", "crontab", "zone", "target", "timeout", "answer_within", "rollout", "runs_kept", "enabled")


def order_of(schedule: Schedule) -> Order:
    """Give what a run asks for."""
    return Order(
        sql=schedule.query.sql,
        target=schedule.target,
        timeout=schedule.timeout,
        name=schedule.query.name,
        reason=f"schedule {schedule.pk}: {schedule.when}",
        query=schedule.query,
        answer_within=schedule.answer_within,
        rollout=schedule.rollout,
    )


def check(schedule: Schedule, by: User) -> None:
    """Raise BadInputError or ForbiddenError as this person's launch of a run would, and for times that are none."""
    if not may_launch_something(by):
        raise ForbiddenError(f"schedules launch campaigns: that needs the permission {LAUNCH}")
    times.check(schedule.every, schedule.crontab, schedule.zone)
    if not 1 <= schedule.runs_kept <= MOST_RUNS_KEPT:
        raise BadInputError(f"runs_kept {schedule.runs_kept} is not a number from 1 to {MOST_RUNS_KEPT:,}", "runs_kept")
    rights.checked_sql(schedule.query.sql, by)
    estimate(order_of(schedule), by)  # its target, times and rollout, as the launch looks at them


@transaction.atomic
def make(schedule: Schedule, by: User) -> Schedule:
    """Save a new one; its first run comes at its time. Raise BadInputError or ForbiddenError."""
    if Schedule.objects.filter(owner=by).count() >= MOST_SCHEDULES:
        raise BadInputError(f"you have {MOST_SCHEDULES} schedules, which is the most one may have: delete one first")
    schedule.owner = by
    check(schedule, by)
    _accept(schedule)
    _plan(schedule)
    note("schedule.made", by=by, subject=f"schedule {schedule.pk}", **said(schedule))
    return schedule


@transaction.atomic
def change(schedule: Schedule, values: dict[str, Any], by: User) -> Schedule:
    """Change one's own. Raise BadInputError or ForbiddenError.

    The SQL of its query, and that it was stopped, are accepted by who names the query or enables it, not in passing.
    """
    schedule = _locked(schedule)
    check_owner(schedule, by)
    was = said(schedule)
    for name, value in values.items():
        setattr(schedule, name, value)
    check(schedule, by)
    if "query" in values or values.get("enabled"):
        _accept(schedule)
    _plan(schedule)
    note("schedule.changed", by=by, subject=f"schedule {schedule.pk}", was=was, to=said(schedule))
    return schedule


@transaction.atomic
def enable(schedule: Schedule, by: User) -> Schedule:
    """Let it run again, with the query as it is now. Raise BadInputError or ForbiddenError."""
    schedule = _locked(schedule)
    check_owner(schedule, by)
    schedule.enabled = True
    check(schedule, by)
    _accept(schedule)
    _plan(schedule)
    note("schedule.enabled", by=by, subject=f"schedule {schedule.pk}", sql=schedule.sql)
    return schedule


@transaction.atomic
def disable(schedule: Schedule, by: User) -> Schedule:
    """Let it run no more; a run that is under way goes on."""
    schedule = _locked(schedule)
    schedule.enabled, schedule.next_at = False, None
    schedule.save(update_fields=["enabled", "next_at"])
    note("schedule.disabled", by=by, subject=f"schedule {schedule.pk}")
    return schedule


@transaction.atomic
def drop(schedule: Schedule, by: User) -> None:
    """Delete it; the campaigns that it launched stay."""
    note("schedule.deleted", by=by, subject=f"schedule {schedule.pk}", **said(schedule))
    schedule.delete()


@transaction.atomic
def drop_query(query: Query, by: User) -> None:
    """Delete a saved query with the schedules that run it; the campaigns that they launched stay.

    Raise ConflictError while one of them is not this person's to delete.
    """
    schedules = query.schedules.select_for_update(of=["self"]).select_related("owner", "query")
    going = list(schedules.order_by("pk"))
    if others := objection_to_drop(query, by):
        raise ConflictError(others)
    for schedule in going:
        drop(schedule, by)
    query.delete()


def objection_to_drop(query: Query, by: User) -> str:
    """Say why this person may not delete a saved query, since others let it run by itself; "" = he may."""
    many = query.schedules.exclude(pk__in=Schedule.objects.kept_by(by)).count()
    if not many:
        return ""
    them = plural(many, "it", "them")
    return (
        f"query {query.name!r} is run by {counted(many, 'schedule')} of others: who keeps {them}, or may stop campaigns"
        f" of others, deletes {them} first"
    )


def check_owner(schedule: Schedule, by: User) -> None:
    """Raise ForbiddenError for who is not its owner: it runs with the owner's rights."""
    if schedule.owner_id != by.pk:
        raise ForbiddenError(
            f"schedule {schedule.pk} runs with the rights of {schedule.owner.get_username()}, who alone may do that"
        )


def _locked(schedule: Schedule) -> Schedule:
    return Schedule.objects.select_for_update(of=["self"]).select_related("owner", "query").get(pk=schedule.pk)


def _accept(schedule: Schedule) -> None:
    schedule.sql, schedule.stopped_reason = schedule.query.sql, ""
    schedule.last_problem, schedule.last_problem_at = "", None


def _plan(schedule: Schedule) -> None:
    schedule.next_at = schedule.next_after(timezone.now()) if schedule.enabled else None
    schedule.save()


def said(schedule: Schedule) -> dict[str, Any]:
    """Give what the audit says of a schedule."""
    return {name: getattr(schedule, name) for name in SAID}
