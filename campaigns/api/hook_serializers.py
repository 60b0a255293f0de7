"""The shapes of hooks and of what was sent to them; a secret is given once, when it is made."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from campaigns.api.serializers import Moment
from campaigns.hooks.models import Delivery, Event, Hook
from fleet.api.asking import StrictSerializer


class HookSerializer(StrictSerializer, serializers.ModelSerializer[Hook]):
    """A hook without its secret. Empty `events` are all of them."""

    owner = serializers.CharField(source="owner.username", read_only=True, help_text="whose it is")
    kind = serializers.ChoiceField(choices=Hook.Kind.choices, required=False, help_text="it never changes")
    address = serializers.CharField(
        max_length=2000,
        help_text="https://… of a webhook, or a service's as Apprise takes it, of which the scheme alone is shown",
    )
    events = serializers.ListField(
        child=serializers.ChoiceField(choices=Event.choices), required=False, help_text="[] = all"
    )
    created_at = Moment(read_only=True, help_text="when it was made")
    rotated_at = Moment(read_only=True, allow_null=True, help_text="when its secret was made anew; null = never")
    has_previous_secret = serializers.SerializerMethodField(help_text="the one before still signs as well")
    stopped_at = Moment(read_only=True, allow_null=True, help_text="when it was stopped; null = it is sent to")
    stopped_reason = serializers.CharField(read_only=True, help_text='why it was stopped; "" = it is sent to')

    class Meta:
        model = Hook
        fields: tuple[str, ...] = (
            *("id", "owner", "name", "kind", "address", "events", "only_mine", "created_at", "rotated_at"),
            *("has_previous_secret", "stopped_at", "stopped_reason"),
        )

    says: ClassVar = {"id": "its number", "name": "what people call it", "only_mine": "only of what its owner launched"}
    example: ClassVar = {
        "id": 3,
        "owner": "ada",
        "name": "chat",
        "kind": "webhook",
        "address": "https://hooks.example/fleet",
        "events": ["campaign.ended"],
        "only_mine": False,
        "created_at": "2026-01-01T08:00:00.000Z",
        "rotated_at": None,
        "has_previous_secret": False,
        "stopped_at": None,
        "stopped_reason": "",
    }

    def get_has_previous_secret(self, hook: Hook) -> bool:
        """Say whether two secrets sign."""
        return bool(hook.previous_secret)

    def validate_kind(self, kind: str) -> str:
        """Refuse another kind than it has."""
        if self.instance is not None and self.instance.kind != kind:
            raise serializers.ValidationError(f"kind is {self.instance.kind!r} and stays so: make another hook")
        return kind

    def to_representation(self, instance: Hook) -> dict[str, Any]:
        """Show of a service's address its scheme alone: the rest lets in."""
        return {**super().to_representation(instance), "address": instance.address_shown}


class NewHookSerializer(HookSerializer):
    """A hook that was just made, with its secret."""

    secret = serializers.CharField(read_only=True, help_text="shown this once; empty for notifications")

    class Meta(HookSerializer.Meta):
        fields = (*HookSerializer.Meta.fields, "secret")

    example: ClassVar = {**HookSerializer.example, "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}


class SecretSerializer(serializers.Serializer[Any]):
    """A new secret."""

    secret = serializers.CharField(help_text="shown this once; the one before signs beside it until the next rotation")

    example: ClassVar = {"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}


class DeliverySerializer(serializers.ModelSerializer[Delivery]):
    """One message and what came of its last try."""

    hook = serializers.IntegerField(source="hook_id", help_text="id of the hook")
    event = serializers.CharField(source="kind", help_text="or hook.test")
    campaign = serializers.IntegerField(
        source="campaign_id", allow_null=True, help_text="id of the campaign it tells of; null = of none"
    )
    created_at = Moment(help_text="when it was written")
    tried_at = Moment(allow_null=True, help_text="when it was tried last; null = not yet")
    due_at = serializers.SerializerMethodField(help_text="when it is tried next; null = no more")
    body = serializers.CharField(help_text="what is sent, as JSON")

    class Meta:
        model = Delivery
        fields: tuple[str, ...] = (
            *("id", "hook", "message_id", "event", "campaign", "state", "tries", "status", "answer", "error"),
            *("took_ms", "created_at", "tried_at", "due_at", "body"),
        )
        extra_kwargs: ClassVar = {"status": {"help_text": "status of HTTP of the last answer; null = none"}}
        read_only_fields = fields

    says: ClassVar = {
        "id": "its number",
        "message_id": "what tells a message that comes twice",
        "state": "how far it is",
        "tries": "times that it was tried",
        "took_ms": "milliseconds of the last try; null = not tried, or no answer",
    }
    example: ClassVar = {
        "id": 31,
        "hook": 3,
        "message_id": "msg_2f1a",
        "event": "campaign.ended",
        "campaign": 12,
        "state": "delivered",
        "tries": 1,
        "status": 204,
        "answer": "",
        "error": "",
        "took_ms": 85,
        "created_at": "2026-01-31T08:10:00.000Z",
        "tried_at": "2026-01-31T08:10:00.200Z",
        "due_at": None,
        "body": '{"type": "campaign.ended"}',
    }

    @extend_schema_field(Moment(allow_null=True))
    def get_due_at(self, delivery: Delivery) -> str | None:
        """Say when it is tried next."""
        waits = delivery.state == Delivery.State.WAITING
        return Moment().to_representation(delivery.due_at) if waits else None
