"""The shapes of what lets hosts and programs in: enroll secrets and tokens, without the secret itself."""

from typing import Any, ClassVar

from rest_framework import serializers

from agents.inventory import labels
from agents.models import SHORTEST_SECRET, EnrollSecret, Label, digest_of
from campaigns.api.serializers import Moment
from campaigns.people.roles import ROLES
from campaigns.tokens import Access, ApiToken
from fleet.api.asking import StrictSerializer
from fleet.api.described import Either


class EnrollSecretSerializer(StrictSerializer, serializers.ModelSerializer[EnrollSecret]):
    """An enroll secret without the secret itself, which is shown once, at creation."""

    created_at = Moment(read_only=True, help_text="when it was made")
    revoked_at = Moment(read_only=True, allow_null=True, help_text="when it was revoked; null = it was not")
    valid_from = Moment(required=False, allow_null=True, help_text="null = at once")
    valid_until = Moment(required=False, allow_null=True, help_text="null = until it is revoked")

    labels = serializers.SlugRelatedField[Label](
        slug_field="name",
        many=True,
        required=False,
        queryset=Label.objects.filter(built_in="", queries=None),
        help_text="names of labels, kept by hand, that its hosts get",
    )
    secret = serializers.CharField(
        write_only=True,
        required=False,
        max_length=512,
        help_text="one hosts have, of 16 characters at least; without it one is made",
    )

    class Meta:
        model = EnrollSecret
        fields = ("id", "name", "secret", "valid_from", "valid_until", "quota", "labels", "created_at", "revoked_at")
        extra_kwargs: ClassVar = {"quota": {"help_text": "hosts that enroll with it at most; null = any number"}}

    says: ClassVar = {"id": "its number", "name": "its name"}
    bounds: ClassVar = {"secret": {"minLength": SHORTEST_SECRET}}
    example: ClassVar = {
        "id": 2,
        "name": "laptops",
        "valid_from": None,
        "valid_until": "2026-12-31T23:59:59.000Z",
        "quota": 500,
        "labels": ["laptops"],
        "created_at": "2026-01-01T08:00:00.000Z",
        "revoked_at": None,
        "secret": "q4X9mK2vT7bN5cR8",
    }

    def validate_labels(self, chosen: list[Label]) -> list[Label]:
        """Let those choose labels who may change them: hosts that enroll with the secret are put in."""
        if chosen:
            labels.check_may_put_in(self.context["request"].user, "labels", chosen)
        return chosen

    def validate_secret(self, secret: str) -> str:
        """Refuse a secret that is known under another name."""
        known = EnrollSecret.objects.filter(digest=digest_of(secret)).first()
        if known is not None:
            raise serializers.ValidationError(f"the secret is that of {known.name} already")
        return secret


class ShownEnrollSecretSerializer(EnrollSecretSerializer):
    """An enroll secret at its creation, the only time that it is shown."""

    secret = serializers.CharField(help_text="what hosts offer to enroll; shown this once")


class TokenSerializer(StrictSerializer, serializers.ModelSerializer[ApiToken]):
    """A token of the API without the token itself, which is shown once, at creation."""

    owner = serializers.CharField(source="user.username", read_only=True, help_text="whose it is")
    created = Moment(read_only=True, help_text="when it was made")
    expiry = Moment(read_only=True, allow_null=True, help_text="when it lets in no more; null = never")
    last_used_at = Moment(read_only=True, allow_null=True, help_text="when it was used last; null = never")
    days = serializers.IntegerField(
        write_only=True,
        required=False,
        min_value=1,
        max_value=3650,
        help_text="days it lives; left out: as the server is set (TOKEN_DAYS)",
    )
    role = serializers.ChoiceField(
        choices=list(ROLES),
        required=False,
        allow_blank=True,
        help_text="no more than that role may, which is at most its owner's; empty = whatever the owner may",
    )
    labels = serializers.SlugRelatedField[Label](
        slug_field="name",
        many=True,
        required=False,
        allow_null=True,
        queryset=Label.objects.all(),
        help_text="it sees hosts of these labels alone; null = all hosts that its owner sees",
    )

    class Meta:
        model = ApiToken
        fields = [
            *("id", "name", "owner", "access", "role", "labels", "tools_may_launch", "created", "expiry"),
            *("last_used_at", "last_used_from", "days"),
        ]
        read_only_fields = ("last_used_from",)

    either = (Either({"access": {"enum": [Access.READ.value]}, "tools_may_launch": {"enum": [True]}}, least=0),)

    nullable = ("labels",)  # a list of related things says so by no field of its own
    says: ClassVar = {
        "id": "its number",
        "name": "what it is for",
        "access": "everything its owner may, or reading only",
        "last_used_from": "address it was used from last; null = never used",
    }
    example: ClassVar = {
        "id": 9,
        "name": "nightly report",
        "owner": "ada",
        "access": "read",
        "role": "Observer",
        "labels": None,
        "tools_may_launch": False,
        "created": "2026-01-01T08:00:00.000Z",
        "expiry": "2026-04-01T08:00:00.000Z",
        "last_used_at": "2026-01-31T08:00:00.000Z",
        "last_used_from": "192.0.2.9",
        "days": 90,
    }

    def get_fields(self) -> dict[str, Any]:
        """Give the members. REST framework lets null be an item of a list of related things, not stand for the list."""
        fields = super().get_fields()
        fields["labels"].allow_null = True
        return fields

    def validate_labels(self, chosen: list[Label] | None) -> list[Label] | None:
        """Refuse a list that names none: such a token would see nothing."""
        if chosen is not None and not chosen:
            raise serializers.ValidationError("labels is empty: leave it out, or name one at least")
        return chosen

    def to_representation(self, instance: ApiToken) -> dict[str, Any]:
        """Tell a token of all hosts from one whose labels are gone."""
        shown = super().to_representation(instance)
        return {**shown, "labels": shown["labels"] if instance.is_scoped else None}


class ShownTokenSerializer(TokenSerializer):
    """A token at its creation, the only time that it is shown."""

    token = serializers.CharField(read_only=True, help_text="what a program sends; shown this once")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]

    example: ClassVar = {**TokenSerializer.example, "token": "5f2c9e81d0a4"}
