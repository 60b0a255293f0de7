"""The API of approvals: what waits for a second person, and what is known of it."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field, extend_schema_view
from rest_framework import mixins, serializers
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from campaigns.api.campaign_serializers import CountedSerializer
from campaigns.api.orders import RolloutSerializer, SelectionSerializer
from campaigns.api.serializers import Moment
from campaigns.launching import approval_diff, approvals, requests
from campaigns.launching.models import Approval
from campaigns.models import Campaign
from campaigns.states import Status
from fleet.api.asking import StrictSerializer
from fleet.api.parameters import PAGING, Parameters, choice_in
from fleet.api.views import ApiView


class ApproveSerializer(StrictSerializer):
    """A yes."""

    digest = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=64,
        help_text="of what was looked at; another one is a 409",
    )

    example: ClassVar = {"digest": "5f2c"}


class RejectSerializer(StrictSerializer):
    """A no."""

    reason = serializers.CharField(max_length=approvals.LONGEST_REASON, help_text="shown to whoever asked")

    example: ClassVar = {"reason": "over too many hosts"}


class LimitsSerializer(serializers.ModelSerializer[Campaign]):
    """The limits that an approval is bound to."""

    start_at = Moment(allow_null=True, help_text="when it shall begin; null = at once")
    force = serializers.BooleanField(source="is_forced", help_text="asks hosts whose tables speak against it too")

    rollout = RolloutSerializer(allow_null=True, help_text="null = everybody at once")

    class Meta:
        model = Campaign
        fields = ("timeout", "answer_within", "rollout", "include_late_joiners", "force", "start_at")

    says: ClassVar = {"include_late_joiners": "hosts that come to fit while it lasts are asked as well"}
    example: ClassVar = {
        "timeout": 600,
        "answer_within": None,
        "rollout": None,
        "include_late_joiners": False,
        "force": False,
        "start_at": None,
    }


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    """A launch that needs, or needed, a second person."""

    campaign = serializers.IntegerField(source="campaign_id", help_text="id of the campaign")
    name = serializers.CharField(source="campaign.name", help_text='what people call it; "" = nothing')
    status = serializers.ChoiceField(source="campaign.status", choices=Status.choices, help_text="how far it is")
    sql = serializers.CharField(source="campaign.sql", help_text="what is asked")
    query = serializers.IntegerField(
        source="campaign.query_id", allow_null=True, help_text="id of the saved query; null = none"
    )
    target = serializers.SerializerMethodField(help_text="the selection, as given, of hosts one may see")
    asked_because = serializers.CharField(source="campaign.reason", help_text="the reason given with the launch")
    limits = LimitsSerializer(source="campaign", help_text="what the approval is bound to")
    hosts = serializers.SerializerMethodField(help_text="hosts, frozen and enrolled still, of those one may see")
    more_hosts = serializers.SerializerMethodField(help_text="it is over hosts too that one may not see")
    why = serializers.ListField(
        child=serializers.CharField(), help_text="what of the rules caught it; [] while more_hosts"
    )
    asked_by = serializers.CharField(
        source="campaign.created_by.username", default=None, allow_null=True, help_text="who launched; null = gone"
    )
    asked_at = Moment(help_text="when it was launched")
    expires_at = Moment(help_text="when it can be approved no more")
    decided_by = serializers.CharField(source="decided_by_name", help_text="who approved, rejected or withdrew it")
    decided_at = Moment(allow_null=True, help_text="when; null = nobody has")
    good_until = Moment(allow_null=True, help_text="when the approval is good for no start more")
    may_decide = serializers.SerializerMethodField(help_text="one may say yes and no")

    class Meta:
        model = Approval
        fields: tuple[str, ...] = (
            *("campaign", "name", "status", "state", "why", "sql", "query", "target", "limits", "hosts", "more_hosts"),
            *("digest", "asked_by", "asked_at", "asked_because", "expires_at"),
            *("decided_by", "decided_at", "good_until", "reason", "may_decide"),
        )
        read_only_fields = fields

    says: ClassVar = {
        "state": "how far the decision is",
        "digest": 'of what is asked and of whom; send it along with a yes; "" while more_hosts',
        "reason": 'what the decider said; "" = nothing',
    }
    example: ClassVar = {
        "campaign": 12,
        "name": "who listens",
        "status": "scheduled",
        "state": "waiting",
        "why": ["it is over 250 hosts, more than 100"],
        "sql": "SELECT 1",
        "query": None,
        "target": SelectionSerializer.example,
        "limits": LimitsSerializer.example,
        "hosts": 250,
        "more_hosts": False,
        "digest": "5f2c",
        "asked_by": "ada",
        "asked_at": "2026-01-31T08:00:00.000Z",
        "asked_because": "ticket 4711",
        "expires_at": "2026-02-01T08:00:00.000Z",
        "decided_by": "",
        "decided_at": None,
        "good_until": None,
        "reason": "",
        "may_decide": True,
    }

    @property
    def _viewer(self) -> User:
        return cast(User, self.context["request"].user)

    @extend_schema_field(SelectionSerializer)
    def get_target(self, approval: Approval) -> dict[str, Any]:
        """Give it as it is seen."""
        target: dict[str, Any] = approval.campaign.target
        return target

    def to_representation(self, instance: Approval) -> dict[str, Any]:
        """Give it as this person sees it."""
        return super().to_representation(requests.as_seen(instance, self._viewer))

    def get_hosts(self, approval: Approval) -> int:
        """Count those that this person may see."""
        return requests.count_seen(approval.campaign, self._viewer)

    def get_more_hosts(self, approval: Approval) -> bool:
        """Say whether there are others."""
        return not requests.sees_all(approval.campaign, self._viewer)

    def get_may_decide(self, approval: Approval) -> bool:
        """Say whether this person may, and it is not decided."""
        waits = approval.state == Approval.State.WAITING and bool(approval.campaign.waits_for)
        return waits and approvals.may_decide(approval.campaign, self._viewer)


ANY = {"description": "a number, a truth, a moment, a rollout or null: that of the limit"}


@extend_schema_field(ANY)
class LimitField(serializers.Field[Any, Any, Any, Any]):
    """The value of a limit."""


class ThenAndNowSerializer(serializers.Serializer[Any]):
    """A limit that differs from the one of the run before."""

    then = LimitField(help_text="of the run before")
    now = LimitField(help_text="of this one")

    example: ClassVar = {"then": 600, "now": 3600}


class DiffSerializer(serializers.Serializer[approval_diff.Diff]):
    """What is different from the last approved run of the same SQL or saved query."""

    campaign = serializers.IntegerField(source="campaign.pk", help_text="id of that run")
    sql = serializers.ListField(child=serializers.CharField(), help_text="lines of a unified diff; [] = it is the same")
    more_hosts = serializers.IntegerField(help_text="hosts that were not asked then")
    less_hosts = serializers.IntegerField(help_text="hosts that were asked then alone")
    same_hosts = serializers.IntegerField(help_text="hosts of both")
    limits = serializers.SerializerMethodField(help_text="those that differ, by name")

    example: ClassVar = {
        "campaign": 9,
        "sql": [],
        "more_hosts": 2,
        "less_hosts": 0,
        "same_hosts": 248,
        "limits": {"timeout": ThenAndNowSerializer.example},
    }

    @extend_schema_field(serializers.DictField(child=ThenAndNowSerializer()))
    def get_limits(self, found: approval_diff.Diff) -> dict[str, dict[str, Any]]:
        """Give each limit that differs: its value then and its value now."""
        names = {"is_forced": "force"}
        return {names.get(name, name): {"then": then, "now": now} for name, (then, now) in found.limits.items()}


class ApprovalInFullSerializer(ApprovalSerializer):
    """The same with what a second person looks at before deciding."""

    estimate = serializers.SerializerMethodField(help_text="of the frozen hosts as they are now, as estimate/ gives it")
    diff = serializers.SerializerMethodField(help_text="from the last approved run; null = there is none")

    example: ClassVar = {
        **ApprovalSerializer.example,
        "estimate": CountedSerializer.example,
        "diff": DiffSerializer.example,
    }

    class Meta(ApprovalSerializer.Meta):
        fields = (*ApprovalSerializer.Meta.fields, "estimate", "diff")
        read_only_fields = fields

    @extend_schema_field(CountedSerializer)
    def get_estimate(self, approval: Approval) -> dict[str, Any]:
        """Count the frozen hosts, and look up what the SQL cost."""
        return requests.estimate(approval.campaign, self._viewer)

    @extend_schema_field(DiffSerializer(allow_null=True))
    def get_diff(self, approval: Approval) -> Any:
        """Compare with the last approved run."""
        found = approval_diff.diff(approval.campaign, self._viewer)
        return None if found is None else DiffSerializer(found).data


@extend_schema_view(
    retrieve=extend_schema(responses=ApprovalInFullSerializer),
)
class ApprovalViewSet(ApiView, mixins.ListModelMixin, mixins.RetrieveModelMixin, GenericViewSet[Approval]):
    """Launches that need, or needed, a second person, by the id of the campaign."""

    queryset = Approval.objects.all()
    serializer_class = ApprovalSerializer
    permission_classes = [IsAuthenticated]
    lookup_field = "campaign_id"
    lookup_value_regex = "[0-9]{1,18}"
    query_parameters: ClassVar[Parameters] = {
        "list": (
            *PAGING,
            OpenApiParameter("waiting", str, enum=["me"], description="me: those that wait for one's own decision"),
            OpenApiParameter("by", str, enum=["me"], description="me: those that one asked for or decided"),
            OpenApiParameter("state", str, enum=Approval.State.values, description="how far the decision is"),
        )
    }

    def get_queryset(self) -> QuerySet[Approval]:
        """Leave out what is none of this person's business."""
        user = cast(User, self.request.user)
        found = requests.shown_to(user)
        if choice_in(self.request, "waiting", ["me"]):
            found = found.filter(pk__in=[approval.pk for approval in requests.waiting_for(user)])
        if choice_in(self.request, "by", ["me"]):
            found = found.filter(Q(campaign__created_by=user) | Q(decided_by=user))
        if state := choice_in(self.request, "state", Approval.State.values):
            found = found.filter(state=state)
        return found

    def retrieve(self, request: Request, campaign_id: str) -> Response:
        """Give one with its estimate and what differs from the last approved run."""
        return Response(ApprovalInFullSerializer(self.get_object(), context={"request": request}).data)
