"""Schedules and their runs."""

from datetime import datetime
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models
from django.utils import timezone

from campaigns.models import Campaign, Query
from campaigns.people import scopes
from campaigns.people.roles import CHANGE
from campaigns.recurring import times


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    """Questions about many schedules."""

    def shown_to(self, user: Any) -> "ScheduleQuerySet":
        """One's own, and everybody's to who may look at those and sees every host."""
        return self if scopes.may_with_all(user, "campaigns.view_schedule") else self.filter(owner=user.pk)

    def kept_by(self, user: Any) -> "ScheduleQuerySet":
        """Those that a person may disable and delete: one's own, and all to who may stop campaigns of others."""
        return self if scopes.may_with_all(user, CHANGE) else self.filter(owner=user.pk)


class Schedule(models.Model):
    """A saved query that runs by itself, with the rights of its owner."""

    query = models.ForeignKey(Query, models.CASCADE, related_name="schedules")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="schedules", editable=False)
    every = models.PositiveIntegerField(null=True, blank=True, help_text="minutes")
    crontab = models.CharField(max_length=200, blank=True, default="")
    zone = models.CharField(max_length=64, default="UTC")
    target = models.JSONField(help_text="the selection of each run")
    timeout = models.PositiveIntegerField(default=600, help_text="seconds")
    answer_within = models.PositiveIntegerField(null=True, blank=True, help_text="seconds")
    rollout = models.JSONField(null=True, blank=True)
    runs_kept = models.PositiveIntegerField(default=30, help_text="ended runs, pinned ones not counted")
    enabled = models.BooleanField(default=True)
    sql = models.TextField(editable=False, help_text="the query's, as its owner enabled it")
    next_at = models.DateTimeField(null=True, editable=False)
    stopped_reason = models.TextField(blank=True, default="", editable=False, help_text="why the machine disabled it")
    last_problem = models.TextField(
        blank=True, default="", editable=False, help_text="why its last time brought no run"
    )
    last_problem_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar = ScheduleQuerySet.as_manager()

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["next_at"], condition=models.Q(enabled=True), name="schedules_due")]

    def __str__(self) -> str:
        return f"schedule {self.pk} of {self.query}"

    @property
    def when(self) -> str:
        """Say in words when the schedule runs."""
        return times.in_words(self.every, self.crontab, self.zone)

    def next_after(self, moment: datetime) -> datetime:
        """Give when it runs next."""
        if self.every is not None:
            return times.next_by_minutes(self.every, self.created_at, moment)
        return times.next_by_crontab(self.crontab, self.zone, moment)

    def coming(self, moment: datetime, many: int) -> list[datetime]:
        """Give when it runs the next times, each by the clock of its zone."""
        found: list[datetime] = []
        while len(found) < many:
            found.append(self.next_after(found[-1] if found else moment))
        return [each.astimezone(ZoneInfo(self.zone)) for each in found]


class ScheduledRun(models.Model):
    """One run of a schedule, and what it is answered differently than the run before."""

    schedule = models.ForeignKey(Schedule, models.SET_NULL, null=True, related_name="runs")
    campaign = models.OneToOneField(Campaign, models.CASCADE, related_name="scheduled_run")
    before = models.ForeignKey(Campaign, models.SET_NULL, null=True, related_name="+")
    compared_at = models.DateTimeField(null=True)
    changes = models.JSONField(default=list, help_text="in sentences")
    problem = models.TextField(blank=True, default="", help_text="why it could not be compared")

    class Meta:
        ordering = ["-campaign_id"]
        default_permissions = ("view",)
        indexes = [models.Index(fields=["id"], condition=models.Q(compared_at=None), name="runs_not_compared")]

    def __str__(self) -> str:
        return f"run {self.campaign_id} of schedule {self.schedule_id}"
