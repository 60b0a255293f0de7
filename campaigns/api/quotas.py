"""The API of quotas: rows of groups and people, and how one stands oneself."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from campaigns.api import people_filters
from campaigns.api.campaign_serializers import StandingSerializer
from campaigns.api.serializers import Moment
from campaigns.launching import quotas
from campaigns.launching.models import Quota
from fleet import confirming
from fleet.api.asking import StrictSerializer, refuse_body
from fleet.api.described import Either
from fleet.api.parameters import NAME, PAGING, Parameters, choice_in
from fleet.api.views import ApiView


class QuotaSerializer(StrictSerializer, serializers.ModelSerializer[Quota]):
    """How much the members of a group, or one person, may launch and keep: null = as the settings say, 0 = any."""

    group = serializers.SlugRelatedField[Group](
        slug_field="name",
        queryset=Group.objects.all(),
        allow_null=True,
        required=False,
        help_text="name of the group; null = it is of a person",
    )
    person = serializers.SlugRelatedField[User](
        slug_field="username",
        queryset=User.objects.all(),
        allow_null=True,
        required=False,
        help_text="name of the person; null = it is of a group",
    )
    changed_at = Moment(read_only=True, help_text="when it was changed last")

    class Meta:
        model = Quota
        fields = ("id", "group", "person", *Quota.NAMES, "changed_by", "changed_at")
        read_only_fields = ("changed_by",)

    either = (Either({"group": {"type": "string"}, "person": {"type": "string"}}),)
    says: ClassVar = {"id": "its number", "changed_by": "who changed it last"}
    example: ClassVar = {
        "id": 1,
        "group": "Operator",
        "person": None,
        "open_campaigns": 5,
        "hosts_per_hour": None,
        "rows_kept": 1_000_000,
        "changed_by": "ada",
        "changed_at": "2026-01-31T08:00:00.000Z",
    }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let the model say what is wrong: neither group nor person, both, or a second row of one."""
        quota = Quota(**{**self._kept(), **attrs})
        if self.instance is not None:
            quota.pk, quota._state.adding = self.instance.pk, False  # so that it is not compared with itself
        try:
            quota.validate_constraints()
        except ValidationError as error:
            raise serializers.ValidationError({"group": error.messages}) from error
        return attrs

    def _kept(self) -> dict[str, Any]:
        names = ("group", "person", *Quota.NAMES)
        return {name: getattr(self.instance, name) for name in names} if self.instance else {}

    def create(self, validated_data: dict[str, Any]) -> Quota:
        """Keep them as their writer's."""
        return self._keep(Quota(), validated_data)

    def update(self, instance: Quota, validated_data: dict[str, Any]) -> Quota:
        """Keep them as their changer's."""
        return self._keep(instance, validated_data)

    def _keep(self, quota: Quota, values: dict[str, Any]) -> Quota:
        for name, value in values.items():
            setattr(quota, name, value)
        quotas.keep(quota, cast(User, self.context["request"].user))
        return quota


FILTERS = (
    OpenApiParameter("group", NAME, description="name of the group that they are of"),
    OpenApiParameter("person", NAME, description="name of the person that they are of"),
    OpenApiParameter("sets", str, enum=list(Quota.NAMES), description="a quota that they set, be it to 0, any"),
)


class QuotaViewSet(ApiView, ModelViewSet[Quota]):
    """Quotas of groups and people; what has no row is under the settings."""

    queryset = Quota.objects.select_related("group", "person").order_by("id")
    serializer_class = QuotaSerializer
    lookup_value_regex = "[0-9]{1,18}"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    query_parameters: ClassVar[Parameters] = {"list": (*PAGING, *FILTERS)}

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list."""
        if self.action != "list":
            return queryset
        sets = choice_in(self.request, "sets", Quota.NAMES)
        conditions = {
            "group": people_filters.group_in(self.request, "group"),
            "person": people_filters.person_in(self.request, "person", others=True),
            **({f"{sets}__isnull": False} if sets else {}),
        }
        return queryset.filter(**{name: value for name, value in conditions.items() if value is not None})

    def perform_create(self, serializer: serializers.BaseSerializer[Quota]) -> None:
        """Ask who sits there, and keep them."""
        confirming.require_in_session(self.request)
        serializer.save()

    def perform_update(self, serializer: serializers.BaseSerializer[Quota]) -> None:
        """Ask the same of who changes them."""
        confirming.require_in_session(self.request)
        serializer.save()

    def perform_destroy(self, instance: Quota) -> None:
        """Delete them, and let the audit say who did."""
        confirming.require_in_session(self.request)
        refuse_body(self.request)
        quotas.drop(instance, cast(User, self.request.user))

    @extend_schema(responses=StandingSerializer(many=True), filters=False)
    @action(detail=False, permission_classes=[IsAuthenticated], pagination_class=None)
    def mine(self, request: Request) -> Response:
        """Give how one stands with each quota one is under oneself."""
        found: Any = quotas.standings(cast(User, request.user))
        return Response(StandingSerializer(found, many=True).data)
