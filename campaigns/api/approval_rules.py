"""The API of the rules that let launches wait for a second person, and of what superusers wish of that of everybody."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import Group, User
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from drf_spectacular.utils import (
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_field,
    extend_schema_view,
)
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from campaigns.api.people_filters import group_in
from campaigns.api.serializers import Moment
from campaigns.launching import approval_rules, rule_wishes
from campaigns.launching.models import LONGEST_WAIT, SHORTEST_WAIT, ApprovalRule
from campaigns.launching.windows import DAYS, MOST_WINDOWS, TIME
from fleet import confirming
from fleet.api.asking import NoMembers, StrictSerializer, refuse_body
from fleet.api.described import refused
from fleet.api.parameters import NAME, PAGING, Parameters, text_in
from fleet.api.views import ApiView

HOSTS_ABOVE = "hosts above which launches wait; null = any number goes"


class WindowSerializer(serializers.Serializer[Any]):
    """Hours of some days; a window that ends before it begins ends on the next day."""

    days = serializers.ListField(
        child=serializers.ChoiceField(choices=DAYS), required=False, help_text="days it begins on; left out: all"
    )
    to = serializers.CharField(help_text="HH:MM, up to 24:00")
    zone = serializers.CharField(required=False, help_text="time zone of that clock; left out: UTC")

    sometimes = ("days", "zone")
    bounds: ClassVar = {"from": {"pattern": f"^{TIME.pattern}$"}, "to": {"pattern": f"^({TIME.pattern}|24:00)$"}}
    example: ClassVar = {"days": ["sat", "sun"], "from": "00:00", "to": "24:00", "zone": "Europe/Berlin"}

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Add `from`, which Python keeps for itself."""
        return {**super().get_fields(), "from": serializers.CharField(help_text="HH:MM")}


@extend_schema_field(WindowSerializer(many=True))
class HoursField(serializers.JSONField):
    """Windows; the model says what is wrong with them."""


@extend_schema_field(serializers.ListField(child=serializers.CharField()))
class TablesField(serializers.JSONField):
    """Names of tables; the model says what is wrong with them."""


class WantedSerializer(serializers.Serializer[Any]):
    """A rule as somebody wants it."""

    group = serializers.CharField(allow_null=True, help_text="null = everybody")
    hosts_above = serializers.IntegerField(allow_null=True, help_text=HOSTS_ABOVE)
    tables = serializers.ListField(child=serializers.CharField(), help_text="SQL that names one of these waits")
    hours = WindowSerializer(many=True, help_text="launches in these hours wait")
    expires_after = serializers.IntegerField(help_text="seconds")

    example: ClassVar[dict[str, Any]] = {
        "group": None,
        "hosts_above": 500,
        "tables": [],
        "hours": [],
        "expires_after": 86_400,
    }


class WishSerializer(serializers.Serializer[rule_wishes.Wish]):
    """A change of the rule of everybody that waits for another superuser's yes."""

    by = serializers.CharField(source="name", help_text="who wants it")
    at = Moment(help_text="since when")
    expires_at = Moment(help_text="when it can be granted no more")
    to = WantedSerializer(allow_null=True, help_text="the rule as it would be; null = gone")

    example: ClassVar = {
        "by": "ada",
        "at": "2026-01-31T08:00:00.000Z",
        "expires_at": "2026-02-01T08:00:00.000Z",
        "to": WantedSerializer.example,
    }


class ApprovalRuleSerializer(StrictSerializer, serializers.ModelSerializer[ApprovalRule]):
    """When what the members of a group launch needs a second person."""

    group = serializers.SlugRelatedField[Group](
        slug_field="name", queryset=Group.objects.all(), allow_null=True, help_text="null = everybody"
    )
    expires_after = serializers.IntegerField(
        required=False, min_value=SHORTEST_WAIT, max_value=LONGEST_WAIT, help_text="seconds"
    )
    tables = TablesField(required=False, help_text="SQL that names one of these tables waits")
    hours = HoursField(required=False, help_text="launches in these hours wait")
    changed_at = Moment(read_only=True, help_text="when it was changed last")
    wish = serializers.SerializerMethodField(help_text="a change that waits for another superuser's yes; null = none")

    class Meta:
        model = ApprovalRule
        fields = ("id", "group", "hosts_above", "tables", "hours", "expires_after", "changed_by", "changed_at", "wish")
        extra_kwargs: ClassVar = {"hosts_above": {"help_text": HOSTS_ABOVE}}
        read_only_fields = ("changed_by",)

    says: ClassVar = {
        "id": "its number",
        "changed_by": "who changed it last",
    }
    bounds: ClassVar = {"hours": {"maxItems": MOST_WINDOWS}}
    example: ClassVar = {
        "id": 1,
        "group": "Operator",
        "hosts_above": 100,
        "tables": ["shadow"],
        "hours": [WindowSerializer.example],
        "expires_after": 86_400,
        "changed_by": "ada",
        "changed_at": "2026-01-31T08:00:00.000Z",
        "wish": None,
    }

    @extend_schema_field(WishSerializer(allow_null=True))
    def get_wish(self, rule: ApprovalRule) -> Any:
        """Give what waits for a yes."""
        wish = rule_wishes.wish_of(rule)
        return None if wish is None else WishSerializer(wish).data

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let the model say what is wrong with tables, hours and a second rule of a group."""
        rule = ApprovalRule(**{**self._kept(), **attrs})
        if self.instance is not None:
            rule.pk, rule._state.adding = self.instance.pk, False  # so that it is not compared with itself
        try:
            rule.clean()
            rule.validate_constraints()
        except ValidationError as error:
            said = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
            raise serializers.ValidationError(
                {"group" if name == NON_FIELD_ERRORS else name: messages for name, messages in said.items()}
            ) from error
        return {**attrs, "tables": rule.tables} if "tables" in attrs else attrs

    def wanted(self) -> ApprovalRule:
        """Give the rule as the body wants it. Needs `is_valid()` to have run."""
        rule = self.instance if isinstance(self.instance, ApprovalRule) else ApprovalRule()
        for name, value in self.validated_data.items():
            setattr(rule, name, value)
        return rule

    def _kept(self) -> dict[str, Any]:
        names = ("group", "hosts_above", "tables", "hours", "expires_after")
        return {name: getattr(self.instance, name) for name in names} if self.instance else {}


ASKED_FOR = OpenApiResponse(ApprovalRuleSerializer, "it waits for another superuser's yes: the rule is as it was")


class GrantSerializer(StrictSerializer):
    """A yes to a change of the rule of everybody."""

    at = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=40,
        help_text="`wish.at` that was looked at; another one is a 409",
    )

    example: ClassVar = {"at": "2026-01-31T08:00:00.000Z"}


@extend_schema_view(
    partial_update=extend_schema(responses={200: ApprovalRuleSerializer, 202: ASKED_FOR}),
    destroy=extend_schema(responses={202: ASKED_FOR, 204: None}),
)
class ApprovalRuleViewSet(ApiView, ModelViewSet[ApprovalRule]):
    """The rules that let launches wait for a second person, one for each group and one for everybody.

    The rule of everybody binds all superusers: who of them loosens it gets a 202, and another one has to grant it.
    """

    queryset = ApprovalRule.objects.select_related("group").order_by("id")
    serializer_class = ApprovalRuleSerializer
    lookup_value_regex = "[0-9]{1,18}"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    query_parameters: ClassVar[Parameters] = {
        "list": (
            *PAGING,
            OpenApiParameter("group", NAME, description="name of the group that they are for"),
            OpenApiParameter("table", str, description="a table for which they let SQL wait, in any case"),
        )
    }

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list."""
        if self.action != "list":
            return queryset
        group, table = group_in(self.request, "group"), text_in(self.request, "table").strip().lower()
        queryset = queryset if group is None else queryset.filter(group=group)
        if not table:
            return queryset
        naming = [rule.pk for rule in queryset if table in (name.strip().lower() for name in rule.tables)]
        return queryset.filter(pk__in=naming)

    def perform_create(self, serializer: Any) -> None:
        """Keep it as its writer's."""
        confirming.require_in_session(self.request)
        serializer.instance = serializer.wanted()
        approval_rules.keep(serializer.instance, cast(User, self.request.user))

    def partial_update(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Change it, or ask another superuser to let it be changed."""
        confirming.require_in_session(request)
        body: Any = self.get_serializer(self.get_object(), data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        kept = approval_rules.keep(body.wanted(), cast(User, request.user))
        return self._shown(200 if kept else 202)

    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Delete it, or ask another superuser to let it go; the audit says who did."""
        confirming.require_in_session(request)
        refuse_body(request)
        if approval_rules.drop(self.get_object(), cast(User, request.user)):
            return Response(status=status.HTTP_204_NO_CONTENT)
        return self._shown(202)

    @extend_schema(request=GrantSerializer, responses={200: ApprovalRuleSerializer, 204: None, **refused(403, 409)})
    @action(detail=True, methods=["post"])
    def grant(self, request: Request, pk: str) -> Response:
        """Say yes to what another superuser wants of the rule; 204 = it is gone by that."""
        confirming.require_in_session(request)
        body = GrantSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        rule = rule_wishes.grant(self.get_object().pk, cast(User, request.user), body.validated_data["at"])
        return Response(status=status.HTTP_204_NO_CONTENT) if rule is None else self._shown(200)

    @extend_schema(request=NoMembers, responses={200: ApprovalRuleSerializer, **refused(403, 409)})
    @action(detail=True, methods=["post"])
    def refuse(self, request: Request, pk: str) -> Response:
        """Say no to it, or take one's own wish back; the rule stays as it is."""
        confirming.require_in_session(request)
        refuse_body(request)
        rule_wishes.refuse(self.get_object().pk, cast(User, request.user))
        return self._shown(200)

    def _shown(self, status_code: int) -> Response:
        return Response(self.get_serializer(self.get_object()).data, status=status_code)
