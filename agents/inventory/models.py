"""What is kept for good of the SQL of labels, and for a day of how many hosts were online."""

from django.db import models
from django.utils import timezone

from agents.models import Platform


class OnlineSample(models.Model):
    """How many hosts of a platform were online at a moment: for curves, not for decisions."""

    at = models.DateTimeField()
    platform = models.CharField(max_length=10, choices=Platform.choices)
    hosts = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["at", "platform"], name="online_sampled_once")]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.hosts} online of {self.get_platform_display()} at {self.at:%Y-%m-%d %H:%M}"


class LabelSqlRecord(models.Model):
    """What became of a label's SQL, and by whom. It refers to nothing, so it outlives the label and the people."""

    class Action(models.TextChoices):
        """What was done."""

        WRITTEN = "written", "written"
        REMOVED = "removed", "removed"
        STOPPED = "stopped", "stopped"

    label = models.CharField(max_length=100, db_index=True)
    platform = models.CharField(max_length=10, choices=Platform.choices)
    sql = models.TextField()
    action = models.CharField(max_length=7, choices=Action.choices)
    by = models.CharField(max_length=150, blank=True, help_text="a person, or the brake")
    at = models.DateTimeField(default=timezone.now)
    reason = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["-id"]
        verbose_name = "audit record of a label's SQL"
        verbose_name_plural = "audit records of labels' SQL"

    def __str__(self) -> str:
        return f"{self.label} on {self.get_platform_display()} {self.action} by {self.by or 'somebody'}"
