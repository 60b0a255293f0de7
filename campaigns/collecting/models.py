"""How far the stream is stored, and what of it could not be."""

from django.db import models


class StreamCursor(models.Model):
    """The last entry of a stream that is stored; whoever holds this row's lock is the collector."""

    stream = models.CharField(max_length=50, primary_key=True)
    entry = models.CharField(max_length=40, default="0-0")
    moved_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return f"{self.stream} at {self.entry}"


class DeadLetter(models.Model):
    """An entry of the stream that could not be stored, kept as it came."""

    stream = models.CharField(max_length=50)
    entry = models.CharField(max_length=40)
    campaign_id = models.BigIntegerField(null=True)
    host_id = models.BigIntegerField(null=True)
    reason = models.TextField()
    fields = models.BinaryField(help_text="the entry's fields as JSON, bytes as Latin-1")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["stream", "entry"], name="an_entry_dies_once")]

    def __str__(self) -> str:
        return f"{self.entry}: {self.reason}"
