"""The kill switch, the rules of approval and what was approved, as they are kept."""

from datetime import datetime, timedelta
from reprlib import repr as shown
from typing import Any, ClassVar

from django.conf import settings
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from campaigns.launching import windows
from campaigns.models import Campaign
from campaigns.states import WaitsFor
from fleet.counting import plural
from fleet.errors import BadInputError
from fleet.text import is_text

SHORTEST_WAIT, LONGEST_WAIT = 60, 30 * 86_400  # seconds that a launch may wait for its approval


class LiveQueries(models.Model):
    """The kill switch; there is one row, or none before the first sweep."""

    enabled = models.BooleanField(default=True)
    reason = models.TextField(blank=True, default="")
    changed_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name = verbose_name_plural = "kill switch"

    def __str__(self) -> str:
        return f"live queries are {'enabled' if self.enabled else 'switched off'}"


class ApprovalRule(models.Model):
    """When a second person must approve what the members of a group launch; without a group: what anybody launches."""

    group = models.ForeignKey(
        Group, models.CASCADE, null=True, blank=True, related_name="approval_rules", help_text="empty = everybody"
    )
    hosts_above = models.PositiveIntegerField(
        null=True, blank=True, help_text="launches over more hosts wait; empty = any number goes"
    )
    tables = models.JSONField(default=list, blank=True, help_text='SQL that names one waits: ["shadow"]')
    hours = models.JSONField(
        default=list,
        blank=True,
        help_text='launches in these hours wait: [{"days": ["sat"], "from": "00:00", "to": "24:00", "zone": "UTC"}]',
    )
    expires_after = models.PositiveIntegerField(
        default=86_400,
        validators=[MinValueValidator(SHORTEST_WAIT), MaxValueValidator(LONGEST_WAIT)],
        help_text="seconds a launch waits for its approval, and an approval for its start",
    )
    changed_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    changed_at = models.DateTimeField(auto_now=True)
    wish = models.JSONField(
        null=True, default=None, editable=False, help_text="a change that waits for another superuser's yes"
    )

    class Meta:
        ordering = ["group__name"]
        constraints = [
            models.UniqueConstraint(
                fields=["group"],
                nulls_distinct=False,
                name="a_group_has_one_approval_rule",
                violation_error_message="there is a rule for this group already: change that one",
            ),
        ]

    def __str__(self) -> str:
        return f"approval rule of {self.group.name if self.group else 'everybody'}"

    def as_json(self) -> dict[str, Any]:
        """Give what it says, for the audit."""
        return {name: getattr(self, name) for name in ("hosts_above", "tables", "hours", "expires_after")}

    def in_words(self) -> list[str]:
        """Say which launches wait; [] = none does."""
        by_hosts = [] if self.hosts_above is None else [_over(self.hosts_above)]
        by_tables = [f"SQL that reads {', '.join(self.tables)}"] if self.tables else []
        return [*by_hosts, *by_tables, *(f"launches on {window}" for window in windows.read(self.hours))]

    def clean(self) -> None:
        """Raise ValidationError for tables and hours that are none, each beside its field; names lose outer blanks."""
        wrong = {}
        for name, read in (("tables", table_names), ("hours", windows.read)):
            try:
                read(getattr(self, name))
            except BadInputError as error:
                wrong[name] = error.sentence
        if wrong:
            raise ValidationError(wrong)
        self.tables = table_names(self.tables)


class Quota(models.Model):
    """How much one person, or each member of a group, may launch and keep. Empty = as the settings have it, 0 = any."""

    NAMES: ClassVar = ("open_campaigns", "hosts_per_hour", "rows_kept")

    group = models.ForeignKey(Group, models.CASCADE, null=True, blank=True, related_name="quotas")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="quotas")
    open_campaigns = models.PositiveIntegerField(null=True, blank=True, help_text="campaigns at once")
    hosts_per_hour = models.PositiveIntegerField(null=True, blank=True, help_text="hosts asked within any hour")
    rows_kept = models.PositiveBigIntegerField(
        null=True, blank=True, help_text="rows in all campaigns of a person that are kept"
    )
    changed_by = models.CharField(max_length=150, blank=True, default="", editable=False)
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["group__name", "person__username"]
        constraints = [
            models.UniqueConstraint(
                fields=["group"],
                name="a_group_has_one_quota",
                violation_error_message="there are quotas of this group already: change those",
            ),
            models.UniqueConstraint(
                fields=["person"],
                name="a_person_has_one_quota",
                violation_error_message="there are quotas of this person already: change those",
            ),
            models.CheckConstraint(
                name="a_quota_is_of_a_group_or_a_person",
                condition=models.Q(group=None, person__isnull=False) | models.Q(group__isnull=False, person=None),
                violation_error_message="give either a group or a person",
            ),
        ]

    def __str__(self) -> str:
        return f"quotas of {f'group {self.group.name}' if self.group else self.person}"

    def as_json(self) -> dict[str, Any]:
        """Give what it says, for the audit."""
        return {name: getattr(self, name) for name in self.NAMES}


def _over(hosts: int) -> str:
    return f"launches over more than {hosts:,} {plural(hosts, 'host')}" if hosts else "every launch"


def table_names(value: Any) -> list[str]:
    """Give a rule's tables without the blanks around a name, which no table has. Raise BadInputError."""
    if not isinstance(value, list):
        raise BadInputError(f"tables {shown(value)} is not a list of names", "tables")
    for name in value:
        if not isinstance(name, str) or not name.strip() or not is_text(name):
            raise BadInputError(f"tables has {shown(name)}, which is not the name of a table", "tables")
    return [name.strip() for name in value]


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """Questions about many requests."""

    def waiting(self) -> "ApprovalQuerySet":
        """Requests that somebody may still decide."""
        return self.filter(state=Approval.State.WAITING, campaign__waits_for=WaitsFor.APPROVAL)


class Approval(models.Model):
    """A launch that needed a second person, and what that person said. It changes under its campaign's lock only."""

    class State(models.TextChoices):
        """What became of the request."""

        WAITING = "waiting", "waiting"
        APPROVED = "approved", "approved"
        REJECTED = "rejected", "rejected"
        WITHDRAWN = "withdrawn", "withdrawn"
        EXPIRED = "expired", "expired"
        VOID = "void", "void"
        STOPPED = "stopped", "stopped"

    OPEN: ClassVar = (State.WAITING, State.APPROVED)

    campaign = models.OneToOneField(Campaign, models.CASCADE, related_name="approval", editable=False)
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING, editable=False)
    why = models.JSONField(default=list, editable=False, help_text="what of the rules caught it, in sentences")
    digest = models.CharField(max_length=64, editable=False, help_text="of SQL, frozen hosts and limits")
    asked_at = models.DateTimeField(default=timezone.now, editable=False)
    wait = models.PositiveIntegerField(default=86_400, editable=False, help_text="seconds, of the rule that caught it")
    expires_at = models.DateTimeField(editable=False, help_text="when it can be approved no more")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False, related_name="approvals_decided"
    )
    decided_by_name = models.CharField(max_length=150, blank=True, default="", editable=False)
    decided_at = models.DateTimeField(null=True, editable=False)
    good_until = models.DateTimeField(null=True, editable=False, help_text="when an approval is good for no start more")
    reason = models.TextField(blank=True, default="", editable=False)

    objects: ClassVar = ApprovalQuerySet.as_manager()

    class Meta:
        ordering = ["-campaign_id"]
        indexes = [
            models.Index(fields=["expires_at"], condition=models.Q(state="waiting"), name="approvals_waiting"),
        ]

    def __str__(self) -> str:
        return f"approval of campaign {self.campaign_id}: {self.state}"

    def decide(self, state: str, by: Any, at: datetime | None, reason: str = "") -> None:
        """Note what a person said. The caller holds the campaign's lock and saves nothing else of it."""
        self.state, self.decided_by, self.decided_at, self.reason = state, by, at, reason
        self.decided_by_name = by.get_username() if by is not None else ""
        self.save()

    def good_for(self, at: datetime, start_at: datetime | None) -> datetime:
        """Give until when an approval given at `at` is good for its start."""
        return max(at, start_at or at) + timedelta(seconds=self.wait)
