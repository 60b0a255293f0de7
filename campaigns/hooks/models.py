"""Hooks, what happened and is not told yet, and each delivery.

Events are written by a trigger on the campaigns' table: it stands in the transaction of whatever changed the campaign,
so that no verb, sweep or door can forget one, and none is told of what was rolled back.
"""

from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import OuterRef, Q, Subquery
from django.utils import timezone

from campaigns.people import scopes


class Event(models.TextChoices):
    """What hooks are told of."""

    STARTED = "campaign.started", "a campaign started"
    WAITING = "campaign.waiting", "a campaign waits after its canary"
    BRAKED = "campaign.braked", "a brake was pulled"
    APPROVAL_WANTED = "campaign.approval_wanted", "an approval is wanted"
    ENDED = "campaign.ended", "a campaign ended"
    CHANGED = "campaign.changed", "a recurring question is answered differently"


TEST = "hook.test"  # sent by hand, to try a hook
TAKEN = range(200, 300)  # status of an answer of who took a message
FAILING_TRIES = 3  # in half a minute: before, a receiver may have been started anew


class HookEvent(models.Model):
    """Something that happened and is not told to the hooks yet; the row goes with that."""

    kind = models.CharField(max_length=32)
    campaign_id = models.BigIntegerField()
    at = models.DateTimeField(default=timezone.now)
    facts = models.JSONField(default=dict, help_text="the campaign's state then")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} of campaign {self.campaign_id}"


class HookQuerySet(models.QuerySet["Hook"]):
    """Questions about many hooks."""

    def shown_to(self, user: Any) -> "HookQuerySet":
        """One's own, and everybody's to who may look at those and sees every host: messages count them."""
        return self if scopes.may_with_all(user, "campaigns.view_hook") else self.filter(owner=user.pk)

    def with_last_try(self) -> "HookQuerySet":
        """Look also at what came of the last message that was tried, for `trouble`."""
        tried = Delivery.objects.filter(hook=OuterRef("pk")).exclude(tried_at=None).order_by("-tried_at", "-pk")
        told = ("state", "status", "error", "tries", "tried_at")
        return self.annotate(**{f"last_{name}": Subquery(tried.values(name)[:1]) for name in told})

    def failing(self) -> list["Hook"]:
        """Give those that go on and whose last message was not taken, nor when it was tried again."""
        untaken = Q(last_tries__gte=FAILING_TRIES, stopped_at=None) & ~Q(last_state=Delivery.State.DELIVERED)
        return list(self.with_last_try().filter(untaken))

    def kept_by(self, user: Any) -> "HookQuerySet":
        """Those that a person may stop and delete: one's own, and everybody's with the permission."""
        return self if scopes.may_with_all(user, "campaigns.change_hook") else self.filter(owner=user.pk)


class Hook(models.Model):
    """Where somebody wants to be told: an address that takes signed posts, or a service that notifies people."""

    class Kind(models.TextChoices):
        """How it is told."""

        WEBHOOK = "webhook", "signed posts to an address"
        NOTIFICATION = "notification", "messages by a service, as mail, Slack or Teams"

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="hooks", editable=False)
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=12, choices=Kind.choices, default=Kind.WEBHOOK, editable=False)
    address = models.CharField(max_length=2000)
    events = models.JSONField(default=list, help_text="what it is told of; [] = of everything")
    only_mine = models.BooleanField(default=False, help_text="of what its owner launched alone")
    secret = models.CharField(max_length=100, blank=True, default="", editable=False)
    previous_secret = models.CharField(max_length=100, blank=True, default="", editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    rotated_at = models.DateTimeField(null=True, editable=False)
    stopped_at = models.DateTimeField(null=True, editable=False)
    stopped_reason = models.CharField(max_length=300, blank=True, default="", editable=False)
    # Until then whoever sends holds the hook, or then he was done; `lease` tells a message that comes twice apart.
    held_until = models.DateTimeField(null=True, editable=False)
    lease = models.BigIntegerField(default=0, editable=False)

    objects: ClassVar = HookQuerySet.as_manager()

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name

    @property
    def host(self) -> str:
        """Give the name of the receiver; of a notification with that of its service."""
        parts = urlsplit(self.address)
        name = parts.hostname or ""
        return name if self.kind == self.Kind.WEBHOOK else f"{parts.scheme}://{name}"

    @property
    def address_shown(self) -> str:
        """Give the address for people. That of a service is a secret, of which only the service is told."""
        return self.address if self.kind == self.Kind.WEBHOOK else f"{self.address.partition('://')[0]}://…"

    @property
    def trouble(self) -> str:
        """Say why the last message was not taken; "" = it was, or none was tried. Wants `with_last_try`."""
        last: Any = self
        if last.last_tried_at is None or last.last_status in TAKEN:
            return ""
        return str(last.last_error or f"it was answered with {last.last_status}")

    def wants(self, kind: str) -> bool:
        """Say whether it is to be told of such an event."""
        return not self.events or kind in self.events


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Questions about many deliveries."""

    def due(self, now: datetime) -> "DeliveryQuerySet":
        """Give those whose time to be tried came, of hooks that are not stopped."""
        return self.filter(state=Delivery.State.WAITING, due_at__lte=now, hook__stopped_at=None)


class Delivery(models.Model):
    """One message to one hook, and what came of it; the body stays the same however often it is tried."""

    class State(models.TextChoices):
        """How far it is."""

        WAITING = "waiting", "waiting"
        DELIVERED = "delivered", "delivered"
        DEAD = "dead", "given up"

    hook = models.ForeignKey(Hook, models.CASCADE, related_name="deliveries")
    message_id = models.CharField(max_length=64, unique=True)
    kind = models.CharField(max_length=32)
    campaign_id = models.BigIntegerField(null=True)
    body = models.TextField()
    text = models.TextField(blank=True, default="", help_text="the same in words, for people")
    limits = models.JSONField(default=list, help_text="what its owner could see when it was written")
    state = models.CharField(max_length=9, choices=State.choices, default=State.WAITING)
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    tried_at = models.DateTimeField(null=True)
    took_ms = models.PositiveIntegerField(null=True)
    status = models.PositiveIntegerField(null=True, help_text="of the last answer")
    answer = models.TextField(blank=True, default="", help_text="how the last answer began")
    error = models.TextField(blank=True, default="", help_text="why there was none, or why it is given up")
    reached = models.JSONField(default=list, db_default=[], help_text="marks of a service's receivers who have it")
    created_at = models.DateTimeField(default=timezone.now)

    objects: ClassVar = DeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "deliveries"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["due_at"], condition=Q(state="waiting"), name="deliveries_due"),
            models.Index(fields=["created_at"], name="deliveries_by_age"),
            models.Index(fields=["hook", "tried_at", "id"], condition=~Q(tried_at=None), name="deliveries_by_try"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.hook_id}: {self.state}"
