"""What hosts carve: files they were asked for, packed by them and sent block by block.

A campaign is a number here, as on the board: agents know of no campaigns.
"""

from datetime import datetime, timedelta
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

MISSING_SHOWN = 100
EMPTY_ARCHIVE = "empty archive: no such file"  # the trouble of a carve for which the host had no file


class CarveState(models.TextChoices):
    """How far a carve is; told from its times, never stored."""

    ANNOUNCED = "announced", "announced"  # the host said that it will, and has not begun
    UPLOADING = "uploading", "uploading"
    COMPLETE = "complete", "complete"
    EMPTY = "empty", "empty archive: no such file"  # complete, and nothing is in it: agents leave out what is missing
    STALLED = "stalled", "stalled"  # nothing came for CARVE_SESSION_SECONDS: agents never resume
    REFUSED = "refused", "refused"


class Integrity(models.TextChoices):
    """What the host's own size and digest say of the bytes that are here."""

    MATCHES = "matches", "as the host says"
    UNKNOWN = "unknown", "the host has not told its digest"
    DIFFERS = "differs", "not what the host says"


class CarveQuerySet(models.QuerySet["Carve"]):
    """Questions about many carves."""

    def in_state(self, state: str, now: datetime) -> "CarveQuerySet":
        """Give those that are so far by now: the same as `Carve.state` tells of one."""
        empty, begun = Q(trouble=EMPTY_ARCHIVE), Q(session_id__isnull=False)
        heard_since = Q(heard__gte=now - timedelta(seconds=settings.CARVE_SESSION_SECONDS)) | Q(heard=None)
        going = Q(completed_at=None)
        conditions = {
            CarveState.COMPLETE: ~going & ~empty,
            CarveState.EMPTY: ~going & empty,
            CarveState.REFUSED: going & ~begun & ~Q(trouble=""),
            CarveState.ANNOUNCED: going & ~begun & Q(trouble=""),
            CarveState.UPLOADING: going & begun & heard_since,
            CarveState.STALLED: going & begun & ~heard_since,
        }
        return self.annotate(heard=Coalesce("heard_at", "begun_at")).filter(conditions[CarveState(state)])


class Carve(models.Model):
    """One carve of one host. Its row is there as soon as a result names it, or when the host begins."""

    host = models.ForeignKey("agents.Host", models.DO_NOTHING, db_constraint=False, related_name="carves")
    carve_id = models.CharField(max_length=64, help_text="the carve_guid of the host's carves table")
    campaign_id = models.BigIntegerField(null=True, blank=True, db_index=True, help_text="whose answer named it")
    path = models.TextField(blank=True, default="")
    announced_at = models.DateTimeField(null=True, blank=True)

    # null, not empty, while there is no session: it is unique.
    session_id = models.CharField(max_length=64, null=True, unique=True, editable=False)  # noqa: DJ001
    request_id = models.CharField(max_length=64, blank=True, default="")
    block_count = models.PositiveIntegerField(null=True, blank=True)
    block_size = models.PositiveIntegerField(null=True, blank=True, help_text="bytes")
    carve_size = models.PositiveBigIntegerField(null=True, blank=True, help_text="bytes")
    begun_at = models.DateTimeField(null=True, blank=True)
    heard_at = models.DateTimeField(null=True, blank=True, help_text="when the last block came")
    completed_at = models.DateTimeField(null=True, blank=True)
    received_blocks = models.PositiveIntegerField(default=0)
    received_bytes = models.PositiveBigIntegerField(default=0)

    checked_at = models.DateTimeField(null=True, blank=True, help_text="when the digest was taken")
    sha256 = models.CharField(max_length=64, blank=True, default="", help_text="of the bytes that are here")
    host_sha256 = models.CharField(max_length=64, blank=True, default="", help_text="of the carves table")
    host_status = models.CharField(max_length=40, blank=True, default="", help_text="of the carves table")
    asked_at = models.DateTimeField(null=True, blank=True, help_text="when its host was asked for both last")
    trouble = models.TextField(blank=True, default="")

    objects: ClassVar = CarveQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [models.UniqueConstraint(fields=["host", "carve_id"], name="a_host_carves_once")]
        indexes = [
            models.Index(
                fields=["completed_at"],
                name="carve_unchecked",
                condition=models.Q(completed_at__isnull=False, checked_at__isnull=True),
            )
        ]
        permissions = [("download_carve", "Can download what hosts carved")]

    def __str__(self) -> str:
        return f"carve {self.carve_id}"

    @property
    def state(self) -> CarveState:
        """Tell how far it is."""
        if self.completed_at is not None:
            return CarveState.EMPTY if self.trouble == EMPTY_ARCHIVE else CarveState.COMPLETE
        if self.session_id is None:
            return CarveState.REFUSED if self.trouble else CarveState.ANNOUNCED
        return CarveState.STALLED if self.is_expired(timezone.now()) else CarveState.UPLOADING

    def is_expired(self, now: datetime) -> bool:
        """Say whether its session is over because nothing came for too long."""
        heard = self.heard_at or self.begun_at
        return heard is not None and heard < now - timedelta(seconds=settings.CARVE_SESSION_SECONDS)

    @property
    def integrity(self) -> Integrity | None:
        """Compare with what the host says; None while the digest is not taken."""
        if not self.sha256:
            return None
        if self.received_bytes != self.carve_size:
            return Integrity.DIFFERS
        if not self.host_sha256:
            return Integrity.UNKNOWN
        return Integrity.MATCHES if self.sha256 == self.host_sha256 else Integrity.DIFFERS

    @property
    def verdict(self) -> str:
        """Say in words what is wrong, or what the host's digest says; "" while nothing is known."""
        return self.trouble or (str(self.integrity.label) if self.integrity else "")

    @property
    def missing_blocks(self) -> list[int]:
        """Name the first hundred blocks that did not come."""
        if self.block_count is None or self.received_blocks == self.block_count:
            return []
        here = set(self.blocks.values_list("number", flat=True))
        missing = (number for number in range(self.block_count) if number not in here)
        return [number for number, _ in zip(missing, range(MISSING_SHOWN), strict=False)]


class CarveBlock(models.Model):
    """A block that is in the storage: its row is written after its bytes."""

    carve = models.ForeignKey(Carve, models.CASCADE, related_name="blocks")
    number = models.PositiveIntegerField()
    size = models.PositiveIntegerField(help_text="bytes")

    class Meta:
        ordering = ["carve_id", "number"]
        constraints = [models.UniqueConstraint(fields=["carve", "number"], name="a_block_is_kept_once")]

    def __str__(self) -> str:
        return f"block {self.number} of carve {self.carve_id}"
