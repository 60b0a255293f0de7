"""What outlives a campaign's rows, how far they are archived, and the analyses that are kept with a query."""

from django.conf import settings
from django.db import models

from campaigns.models import Campaign, Query
from campaigns.states import Status


class AuditRecord(models.Model):
    """What is kept of a campaign for good. It refers to nothing, so it outlives the rows and the people."""

    class Stage(models.TextChoices):
        """How much of its campaign's life it tells."""

        OPEN = "open", "launched"
        ENDED = "ended", "ended, late answers may come"
        FINAL = "final", "ended"
        DELETING = "deleting", "deleted, its rows are being deleted"
        DELETED = "deleted", "deleted with its rows"

    campaign_id = models.BigIntegerField(unique=True)
    name = models.CharField(max_length=200, blank=True)
    sql = models.TextField()
    target = models.JSONField(help_text="the selection, as given")
    reason = models.TextField(blank=True, default="")
    launched_by = models.CharField(max_length=150, blank=True)
    launched_at = models.DateTimeField()
    stage = models.CharField(max_length=8, choices=Stage.choices, default=Stage.OPEN, db_index=True)
    status = models.CharField(max_length=10, choices=Status.choices)
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=150, blank=True, default="")
    ended_reason = models.TextField(blank=True, default="")
    counts = models.JSONField(default=dict)
    hosts = models.JSONField(default=dict, help_text='ids of hosts by state, as ranges: {"answered": "1-500,502"}')
    approvals = models.JSONField(default=list, help_text='[{"what": "approved", "by", "at", "reason"}], in order')
    deleted_at = models.DateTimeField(null=True, blank=True)
    deleted_by = models.CharField(max_length=150, blank=True, default="")

    class Meta:
        ordering = ["-campaign_id"]

    def __str__(self) -> str:
        return f"campaign {self.campaign_id} of {self.launched_by}"


class Archive(models.Model):
    """How far the answers of a campaign are in the archive."""

    campaign = models.OneToOneField(Campaign, models.CASCADE, related_name="archive")
    up_to_seq = models.PositiveBigIntegerField(default=0)
    written_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(help_text="when it may be tried (again)")

    def __str__(self) -> str:
        return f"campaign {self.campaign_id} up to {self.up_to_seq}"


class AnswersCarried(models.Model):
    """How far answers were carried to a destination (`campaigns.answers.carrying`)."""

    sink = models.CharField(max_length=500, unique=True)
    result_id = models.BigIntegerField(default=0)
    moved_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True, default="")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.sink} up to result {self.result_id}"


class QueryView(models.Model):
    """An analysis that is kept with a saved query: every run of it shows it at once."""

    class Chart(models.TextChoices):
        """How a result is drawn; empty = as its shape says."""

        BAR = "bar", "bars"
        LINE = "line", "line"
        PIE = "pie", "pie"
        NONE = "none", "no chart"

    query = models.ForeignKey(Query, models.CASCADE, related_name="views")
    name = models.CharField(max_length=100)
    sql = models.TextField()
    chart = models.CharField(max_length=4, choices=Chart.choices, blank=True, default="")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["query", "name"], name="a_view_is_named_once")]

    def __str__(self) -> str:
        return f"{self.name} of {self.query_id}"
