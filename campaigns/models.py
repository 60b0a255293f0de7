"""Campaigns, their targets and results. The states and what they mean are section 4 of the design.

Whoever changes targets holds the campaign's row (`CampaignQuerySet.locked`) and writes the counts in the same
transaction; the database refuses counts that do not add up.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import reduce
from operator import add
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.db.models.functions import MD5
from django.utils import timezone

from agents.board.operator_verbs import RELEASED_ALL
from agents.models import Host
from campaigns.people import scopes
from campaigns.people.roles import LAUNCH, LAUNCH_FLAGGED, LOOK
from campaigns.people.scopes import Limits
from campaigns.states import ANSWER_STATES, OVER, State, Status, WaitsFor
from fleet.counting import counted

logger = logging.getLogger(__name__)


class Query(models.Model):
    """Saved SQL with a name."""

    name = models.CharField(max_length=200, unique=True)
    sql = models.TextField()
    description = models.TextField(blank=True, default="")
    observer_can_run = models.BooleanField(default=False, help_text="who may only look may run it, as it stands")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "queries"

    def __str__(self) -> str:
        return self.name


class PinnedQuery(models.Model):
    """A saved query that one person keeps at hand."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    query = models.ForeignKey(Query, models.CASCADE)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "query"], name="a_query_is_pinned_once")]

    def __str__(self) -> str:
        return f"query {self.query_id} pinned by {self.user_id}"


class CampaignQuerySet(models.QuerySet["Campaign"]):
    """Questions about many campaigns, and the lock that every change of targets needs."""

    def under_way(self) -> "CampaignQuerySet":
        """Campaigns that have begun and whose last target is not final yet."""
        return self.filter(status__in=[Status.TARGETING, Status.RUNNING, Status.PAUSED])

    def visible_to(self, user: User | AnonymousUser) -> "CampaignQuerySet":
        """Campaigns that this person may look at: one's own, and with view_campaign those over hosts in his scope."""
        if not user.has_perm(LOOK):
            return self.none() if user.pk is None else self.filter(created_by=user.pk)
        limits = scopes.limits_of(user)
        if not limits:
            return self
        inside = scopes.within_limits(Target.objects.filter(campaign=OuterRef("pk")), limits)
        return self.filter(Q(created_by=user.pk) | Exists(inside))

    def shows(self, campaign_id: int | str, user: User | AnonymousUser) -> bool:
        """Say whether this person may ask for a campaign by its number: with view_campaign for any, be there one or
        not; `visible_to` then finds it or does not.
        """
        return user.has_perm(LOOK) or self.visible_to(user).filter(pk=campaign_id).exists()

    def shows_some(self, user: User | AnonymousUser) -> bool:
        """Say whether there is anything to look at: everybody's campaigns, one's own, or those one may launch."""
        return any(map(user.has_perm, (LOOK, LAUNCH, LAUNCH_FLAGGED))) or self.visible_to(user).exists()

    def locked(self, ids: Iterable[int], *, pass_by: bool = False) -> "dict[int, Campaign]":
        """Lock the campaigns in order of id until the transaction ends; those that are gone are left out.

        `pass_by` = those that somebody else has locked are left out as well.
        """
        rows = self.filter(pk__in=list(ids)).order_by("pk").select_for_update(no_key=True, skip_locked=pass_by)
        return {campaign.pk: campaign for campaign in rows}


class Campaign(models.Model):
    """One run of SQL over chosen hosts."""

    name = models.CharField(max_length=200, blank=True)
    sql = models.TextField()
    query = models.ForeignKey(Query, models.SET_NULL, null=True, blank=True)
    target = models.JSONField(help_text="the selection, as given")
    timeout = models.PositiveIntegerField(help_text="seconds")
    answer_within = models.PositiveIntegerField(null=True, blank=True, help_text="seconds")
    reason = models.TextField(blank=True, default="")
    rollout = models.JSONField(null=True, blank=True)
    include_late_joiners = models.BooleanField(default=False)
    pinned = models.BooleanField(default=False)
    parent = models.ForeignKey("self", models.SET_NULL, null=True, blank=True, related_name="reruns")
    schedule = models.ForeignKey("campaigns.Schedule", models.SET_NULL, null=True, blank=True, related_name="+")
    warnings = models.JSONField(default=list, blank=True)
    unsupported = models.JSONField(
        default=list,
        blank=True,
        editable=False,
        help_text="[platform, osquery version, extensions, SQLite's sentence, digest of its tables]",
    )
    is_forced = models.BooleanField(
        default=False, editable=False, help_text="sent also to hosts whose learned tables speak against it"
    )

    scope = models.JSONField(
        default=list, blank=True, editable=False, help_text="limits of who launched it, then; empty = every host"
    )
    goes_alone = models.BooleanField(
        default=False, editable=False, help_text="not handed out beside other SQL: it was slow or denylisted before"
    )

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.TARGETING)
    waits_for = models.CharField(
        max_length=10,
        choices=WaitsFor.choices,
        blank=True,
        default="",
        editable=False,
        help_text="what keeps a scheduled campaign from beginning beside its time",
    )
    ended_reason = models.TextField(blank=True, default="")
    ended_by = models.CharField(max_length=150, blank=True, default="")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False)
    created_at = models.DateTimeField(default=timezone.now)
    # From here on Redis' clock: the arming and closing scripts return these times.
    start_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    # The first of the two steps of ending: closed on the board at this time, with this last entry in the stream.
    closed_at = models.DateTimeField(null=True, blank=True, editable=False)
    closed_entry = models.CharField(max_length=40, blank=True, default="", editable=False)

    # While it is paused: the time it has left, and who paused it why.
    left = models.DurationField(null=True, blank=True, editable=False)
    paused_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    paused_reason = models.TextField(blank=True, default="", editable=False)
    # Hosts whose hash is not above `released` may be handed the SQL; how many of those can run it, and how many are to
    # be released: RELEASED_ALL = everybody, whoever joins.
    released = models.IntegerField(default=RELEASED_ALL, editable=False)
    released_count = models.PositiveIntegerField(default=0, editable=False)
    release_goal = models.PositiveIntegerField(null=True, editable=False)
    release_step = models.PositiveIntegerField(default=0, editable=False)
    released_at = models.DateTimeField(null=True, blank=True, editable=False)  # up to when the pace is used up

    columns = models.JSONField(default=list, blank=True)
    expected = models.PositiveIntegerField(default=0)
    last_seq = models.PositiveBigIntegerField(default=0)
    count_targeted = models.PositiveIntegerField(default=0)
    count_waiting = models.PositiveIntegerField(default=0)
    count_delivered = models.PositiveIntegerField(default=0)
    count_answered = models.PositiveIntegerField(default=0)
    count_failed = models.PositiveIntegerField(default=0)
    count_denylisted = models.PositiveIntegerField(default=0)
    count_unsupported = models.PositiveIntegerField(default=0)
    count_no_answer = models.PositiveIntegerField(default=0)
    count_missed = models.PositiveIntegerField(default=0)
    count_held_back = models.PositiveIntegerField(default=0)
    count_stopped = models.PositiveIntegerField(default=0)
    count_rows = models.PositiveBigIntegerField(default=0)
    count_online = models.PositiveIntegerField(default=0)
    stored_bytes = models.PositiveBigIntegerField(default=0, editable=False, help_text="of rows, as JSON")

    objects: ClassVar = CampaignQuerySet.as_manager()
    # Not stored: within which limits it is seen, and whether there is more outside (`campaigns.answers.sight`).
    limits: Limits = scopes.UNLIMITED
    is_partial = False

    class Meta:
        ordering = ["-id"]
        permissions = [
            ("launch_restricted", "Can launch SQL that changes hosts or uses restricted tables"),
            ("switch_live_queries", "Can switch all live queries off and on"),
            ("launch_unlimited", "Can launch beyond the quotas of open campaigns and of targets"),
            ("launch_carve", "Can launch SQL that carves files"),
            ("launch_flagged", "Can launch saved queries that are flagged for observers"),
            ("approve_campaign", "Can approve what others want to launch"),
        ]
        constraints = [
            models.CheckConstraint(name="status_is_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(
                name="only_what_is_scheduled_waits", condition=Q(waits_for="") | Q(status=Status.SCHEDULED)
            ),
            models.CheckConstraint(
                name="states_add_up_to_targeted",
                condition=Q(count_targeted=reduce(add, (F(f"count_{state}") for state in State.values))),
            ),
        ]
        indexes = [
            models.Index(fields=["status"], name="campaign_status"),
            models.Index(MD5("sql"), name="campaign_sql"),  # what the same SQL cost before
        ]

    def __str__(self) -> str:
        return self.name or f"campaign {self.pk}"

    @property
    def is_over(self) -> bool:
        """Say whether the last target is final; late answers may still come."""
        return self.status in OVER

    @property
    def is_closed(self) -> bool:
        """Say whether the board hands it out no more."""
        return self.closed_at is not None

    @property
    def counts(self) -> dict[str, int]:
        """Give every state's count, `targeted` (their sum), `rows`, and `online` (not part of the sum)."""
        names = ("targeted", *State.values, "rows", "online")
        return {name: getattr(self, f"count_{name}") for name in names}

    @property
    def chosen_at(self) -> datetime:
        """Give the moment whose hosts are meant."""
        return self.start_at or self.created_at

    @property
    def open_targets(self) -> int:
        """Count the targets that are not final."""
        return self.count_waiting + self.count_delivered

    @property
    def able_targets(self) -> int:
        """Count the targets that can run the SQL."""
        return self.count_targeted - self.count_unsupported

    @property
    def trace(self) -> str:
        """Give what names its trace: the same in every process, and no other installation's campaign of this number."""
        return f"campaign {self.pk} of {self.created_at.isoformat()}"

    def forget_pause(self) -> tuple[str, ...]:
        """Let it be paused no more; give the fields that are to be saved."""
        self.left, self.paused_by, self.paused_reason = None, "", ""
        return "left", "paused_by", "paused_reason"

    def is_past(self, moment: datetime) -> bool:
        """Say whether the campaign had ended by then, as far as its end is known: an answer then is late."""
        end = self.ended_at or self.closed_at or self.ends_at
        return end is not None and moment > end

    def complete_if_over(self, at: datetime) -> bool:
        """Complete a campaign whose last target just became final at `at`; give whether it was.

        Whoever makes the last target final calls this, holding the campaign's lock, and saves the counts. Only the
        sweep ends what was stopped or ran out of time: it knows that all answers are stored.
        """
        if self.status not in (Status.RUNNING, Status.PAUSED) or self.include_late_joiners:
            return False
        if self.open_targets or self.ended_by or self.is_past(at):
            return False
        self.status, self.ended_at = Status.COMPLETED, at
        self.ended_reason = "every host has a final state"
        self.save(update_fields=["status", "ended_at", "ended_reason", *self.forget_pause()])
        logger.info("campaign completed campaign=%s", self.pk)
        return True

    def move(self, before: str | None, after: str, by: int = 1) -> None:
        """Count `by` targets that went from `before` (None = new) to `after`; saved by `save_counts`."""
        if before is None:
            self.count_targeted += by
        else:
            self._add(before, -by)
        self._add(after, by)

    def _add(self, state: str, by: int) -> None:
        setattr(self, f"count_{state}", getattr(self, f"count_{state}") + by)

    def save_counts(self, *also: str) -> None:
        """Write the counts of all states, and the fields named `also`."""
        self.save(update_fields=["count_targeted", "count_rows", *(f"count_{state}" for state in State.values), *also])


class TargetRange(models.Model):
    """One range of 65,536 host ids of a campaign, as a piece of work: done when its targets are on the board."""

    campaign = models.ForeignKey(Campaign, models.CASCADE, related_name="ranges")
    number = models.PositiveIntegerField(help_text="host id >> 16")
    # Who was meant at the launch, as a bitmap like the board's, until they are written: labels, presence and what a
    # sample holds may move meanwhile.
    hosts = models.BinaryField(null=True)
    sent_at = models.DateTimeField(default=timezone.now)
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["campaign_id", "number"]
        constraints = [models.UniqueConstraint(fields=["campaign", "number"], name="a_range_is_written_once")]

    def __str__(self) -> str:
        return f"range {self.number} of campaign {self.campaign_id}"


class Target(models.Model):
    """One host of one campaign, with its state.

    No foreign keys in the database, no index but the unique one, fillfactor 50 (migration 0002): 100,000 targets are
    written in a third of the time and nine updates in ten touch no index.
    """

    # Rows of a deleted campaign go slice by slice (campaigns.answers.retention).
    campaign = models.ForeignKey(
        Campaign, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="targets"
    )
    host = models.ForeignKey(Host, models.DO_NOTHING, db_constraint=False, db_index=False)
    hostname = models.CharField(max_length=255)
    state = models.CharField(max_length=11, choices=State.choices, default=State.WAITING)
    late = models.BooleanField(default=False)
    deliveries = models.PositiveSmallIntegerField(default=0)
    delivered_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    error = models.TextField(blank=True, default="")
    row_count = models.PositiveIntegerField(default=0)
    wall_ms = models.BigIntegerField(null=True, blank=True)
    user_ms = models.BigIntegerField(null=True, blank=True)
    system_ms = models.BigIntegerField(null=True, blank=True)
    memory_bytes = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["campaign", "host"], name="a_host_is_targeted_once"),
            models.CheckConstraint(name="state_is_known", condition=Q(state__in=State.values)),
        ]

    def __str__(self) -> str:
        return f"{self.hostname} in campaign {self.campaign_id}"

    @property
    def cpu_ms(self) -> int | None:
        """Give what the SQL took of the host's processors, as far as it told."""
        known = [part for part in (self.user_ms, self.system_ms) if part is not None]
        return sum(known) if known else None


class Result(models.Model):
    """What one host answered: its rows, exactly once per campaign and host."""

    campaign = models.ForeignKey(
        Campaign, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="results"
    )
    host = models.ForeignKey(Host, models.DO_NOTHING, db_constraint=False)
    hostname = models.CharField(max_length=255)
    seq = models.PositiveBigIntegerField()
    state = models.CharField(max_length=11, choices=State.choices)
    rows = models.JSONField(default=list)
    row_count = models.PositiveIntegerField(default=0)
    truncated = models.BooleanField(default=False)
    late = models.BooleanField(default=False)
    error = models.TextField(blank=True, default="")
    received_at = models.DateTimeField()

    class Meta:
        ordering = ["campaign_id", "seq"]
        constraints = [
            models.UniqueConstraint(fields=["campaign", "host"], name="a_host_answers_once"),
            models.UniqueConstraint(fields=["campaign", "seq"], name="seq_is_used_once"),
            models.CheckConstraint(
                name="result_state_is_an_answer", condition=Q(state__in=[str(state) for state in ANSWER_STATES])
            ),
        ]

    def __str__(self) -> str:
        return f"{counted(self.row_count, 'row')} of {self.hostname} in campaign {self.campaign_id}"


class IdempotencyKey(models.Model):
    """A key under which a person launched: the same key again gives the same campaign."""

    LIFETIME: ClassVar = timedelta(hours=24)

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    key = models.CharField(max_length=255)
    body_digest = models.CharField(max_length=64)
    campaign = models.ForeignKey(Campaign, models.CASCADE)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="a_key_launches_once")]

    def __str__(self) -> str:
        return f"{self.key} of user {self.user_id}"
