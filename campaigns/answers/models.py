"""What outlives a campaign's rows."""

from django.db import models

from campaigns.models import Campaign
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
