"""The kill switch, as it is kept."""

from django.db import models


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
