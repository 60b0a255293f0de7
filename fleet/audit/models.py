"""The lines and their chain. The database refuses to change, delete or truncate either (`migrations/0002_chain.sql`).

Two other ways to chain were weighed, by argument and not by measure. A chain written with the line, under a lock that
is held from there to the end of the transaction, serialises launches and can deadlock with the locks they still take.
Seals written each second by a sweep leave the newest lines open, and open for as long as no sweep runs; and as
numbers of a sequence are committed in any order, a seal over numbers may miss a line that comes late. Here the line
is linked by a deferred trigger: within the server, while the transaction commits, under a lock that no client can
hold. So links are numbered without a gap in the order of the commits, no line is ever open, and who reads by number
misses nothing.
"""

from django.db import models
from django.utils import timezone


class AuditEvent(models.Model):
    """One line: who did what to what, when, from where, with which token. It refers to nothing that can go away."""

    at = models.DateTimeField(default=timezone.now)
    person_id = models.BigIntegerField(null=True, help_text="user id; empty: a machine, or a name that was only typed")
    who = models.CharField(max_length=150, blank=True)
    token_id = models.BigIntegerField(null=True)
    address = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=64)
    subject = models.CharField(max_length=200, blank=True)
    details = models.JSONField(default=dict)

    class Meta:
        ordering = ["-id"]
        verbose_name = "audit line"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["at"], name="audit_at"),
            models.Index(fields=["action", "id"], name="audit_action"),
            models.Index(fields=["who", "id"], name="audit_who"),
            models.Index(fields=["subject", "id"], name="audit_subject"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}".strip()


class AuditLink(models.Model):
    """A line's place in the chain: its number, and the digest over it and over the digest before."""

    number = models.BigIntegerField(primary_key=True)
    event = models.OneToOneField(AuditEvent, models.DO_NOTHING, db_constraint=False, related_name="link")
    previous = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)

    class Meta:
        ordering = ["-number"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"line {self.number}"


class AuditForwarding(models.Model):
    """How far the lines were carried to a destination (`fleet.audit.forwarding`)."""

    sink = models.CharField(max_length=500, unique=True)
    number = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True)
    moved_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(null=True)
    failing_since = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=500, blank=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.sink} up to line {self.number}"
