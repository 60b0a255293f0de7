"""The API of campaigns: parse, permit, call one verb, answer."""

from typing import Any, ClassVar, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import Http404
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from campaigns.answers import retention, sight
from campaigns.answers.results import campaign_json
from campaigns.api import campaign_filters
from campaigns.api.analysis import AnalysisViews
from campaigns.api.answers import AnswerViews
from campaigns.api.approvals import ApproveSerializer, RejectSerializer
from campaigns.api.campaign_serializers import (
    CampaignSerializer,
    EstimateAnswerSerializer,
    LaunchedCampaignSerializer,
    WaitedCampaignSerializer,
)
from campaigns.api.keys import KEY, launched_once
from campaigns.api.orders import (
    CampaignChange,
    EstimateSerializer,
    OrderSerializer,
    RerunSerializer,
    WidthSerializer,
)
from campaigns.api.permissions import CampaignPermissions
from campaigns.api.targets import TargetViews
from campaigns.api.wait_for_end import LONGEST_WAIT, seconds_to_wait, waiting
from campaigns.launching import approvals, control, launch, reruns, rights
from campaigns.launching.once import digest_of
from campaigns.models import Campaign, CampaignQuerySet
from campaigns.people.roles import APPROVE, CHANGE, LOOK
from fleet.api.asking import refuse_body
from fleet.api.described import refused
from fleet.api.parameters import PAGING, WHOLE, Parameters


@extend_schema_view(
    list=extend_schema(operation_id="campaigns_list", responses=CampaignSerializer(many=True)),
    retrieve=extend_schema(responses=CampaignSerializer),
    create=extend_schema(
        request=OrderSerializer,
        responses={
            201: OpenApiResponse(CampaignSerializer, "It was launched."),
            200: OpenApiResponse(LaunchedCampaignSerializer, "It has ended; or it was launched before with this key."),
            202: OpenApiResponse(WaitedCampaignSerializer, "It goes on, and the time to wait is up."),
            **refused(409),
        },
        parameters=[KEY],
    ),
    partial_update=extend_schema(request=CampaignChange, responses=CampaignSerializer),
    destroy=extend_schema(responses={204: None, **refused(409)}),
)
class CampaignViewSet(mixins.ListModelMixin, TargetViews, AnswerViews, AnalysisViews):
    """Launch campaigns, look at them and stop them."""

    queryset = Campaign.objects.select_related("created_by")
    serializer_class = OrderSerializer
    permission_classes = [CampaignPermissions]
    query_parameters: ClassVar[Parameters] = {
        "list": (*PAGING, *campaign_filters.PARAMETERS),
        "create": [
            OpenApiParameter(
                "wait", {**WHOLE, "maximum": LONGEST_WAIT}, description="seconds to wait for the end, 60 at most"
            )
        ],
    }
    lookup_value_regex = "[0-9]{1,18}"
    actions_that_read = ("estimate", "sql")  # by POST, since a target is longer than an address may be

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:
        """Let launches wait for the end."""
        view = super().as_view(actions, **initkwargs)
        return waiting(view) if "create" in (actions or {}).values() else view

    def _json(self, campaign: Campaign) -> dict[str, Any]:
        origin = settings.PUBLIC_URL or self.request.build_absolute_uri("/")[:-1]
        return campaign_json(sight.seen_by(campaign, self._user), origin)

    def get_queryset(self) -> QuerySet[Campaign]:
        """Leave out what others launched, unless one may look at it."""
        return cast(CampaignQuerySet, super().get_queryset()).visible_to(self._user)

    def get_object(self) -> Campaign:
        """Give the campaign of the address as whoever asks sees it, for reading."""
        return sight.seen_by(self._whole(), self._user)

    def _whole(self) -> Campaign:
        return super().get_object()

    @property
    def _user(self) -> User:
        return cast(User, self.request.user)

    def list(self, request: Request) -> Response:
        """Give the campaigns that one may look at, newest first; all filters that are given must hold."""
        page: Any = self.paginate_queryset(campaign_filters.filtered(self.get_queryset(), request))
        return self.get_paginated_response([self._json(campaign) for campaign in page])

    def retrieve(self, request: Request, pk: str) -> Response:
        """Give one campaign."""
        return Response(self._json(self.get_object()))

    def create(self, request: Request) -> Response:
        """Launch. An `Idempotency-Key` that was used before gives the campaign it launched.

        With `wait` the answer comes when the campaign has ended (200) or the time is up (202), with its `results`.
        """
        seconds_to_wait(request.query_params)  # refused before anything is launched
        body = OrderSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        order = body.order(self._user)
        campaign, new = launched_once(request, order.digest(), lambda: launch.launch(order, self._user))
        return Response(self._json(campaign), status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Rename or pin."""
        campaign = self._whole()
        rights.check_steering(campaign, self._user)
        body = CampaignChange(data=request.data)
        body.is_valid(raise_exception=True)
        for name, value in body.validated_data.items():
            setattr(campaign, name, value)
        campaign.save(update_fields=list(body.validated_data))
        return Response(self._json(campaign))

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a campaign that ended so long ago that no late answer can come."""
        refuse_body(request)
        campaign = self._whole()
        rights.check_steering(campaign, self._user)
        retention.delete(campaign.pk, self._user.get_username())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=EstimateSerializer, responses=EstimateAnswerSerializer)
    @action(detail=False, methods=["post"])
    def estimate(self, request: Request) -> Response:
        """Count who a target means, without launching."""
        body = EstimateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(launch.estimate(body.order(self._user), self._user))

    @extend_schema(request=None, responses={202: CampaignSerializer, **refused(409)})
    @action(detail=True, methods=["post"], permission_classes=[])
    def stop(self, request: Request, pk: str) -> Response:
        """Hand the campaign out no more. Whoever launched may always stop."""
        user, campaign = self._changer(pk, "stopping")
        refuse_body(request)
        stopped = control.stop(campaign.pk, user.get_username(), f"stopped by {user.get_username()}")
        return Response(self._json(stopped), status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses={200: CampaignSerializer, **refused(409)})
    @action(detail=True, methods=["post"], permission_classes=[])
    def pause(self, request: Request, pk: str) -> Response:
        """Hand the campaign out no more until it is resumed; hosts that have it may answer."""
        user, campaign = self._changer(pk, "pausing")
        refuse_body(request)
        return Response(self._json(control.pause(campaign.pk, user.get_username())))

    @extend_schema(request=None, responses={200: CampaignSerializer, **refused(409)})
    @action(detail=True, methods=["post"], permission_classes=[])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on handing a paused campaign out, for the time that was left."""
        user, campaign = self._changer(pk, "resuming")
        refuse_body(request)
        return Response(self._json(control.resume(campaign.pk, user.get_username())))

    @extend_schema(request=WidthSerializer, responses={200: CampaignSerializer, **refused(409)})
    @action(detail=True, methods=["post"], permission_classes=[])
    def widen(self, request: Request, pk: str) -> Response:
        """Let more hosts be asked: `{"percent"}`, `{"count"}` (of hosts, in all) or `{"all": true}`."""
        user, campaign = self._changer(pk, "widening")
        return Response(self._json(control.widen(campaign.pk, user.get_username(), request.data)))

    @extend_schema(request=ApproveSerializer, responses={200: CampaignSerializer, **refused(409)})
    @action(detail=True, methods=["post"], permission_classes=[])
    def approve(self, request: Request, pk: str) -> Response:
        """Say yes to a campaign that waits for a second person. With `digest` only to the one that was looked at."""
        campaign = self._asked_for(pk)
        body = ApproveSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(self._json(approvals.approve(campaign, self._user, body.validated_data["digest"])))

    @extend_schema(request=RejectSerializer, responses={200: CampaignSerializer, **refused(409)})
    @action(detail=True, methods=["post"], permission_classes=[])
    def reject(self, request: Request, pk: str) -> Response:
        """Say no, with a reason: the campaign is stopped."""
        campaign = self._asked_for(pk)
        body = RejectSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(self._json(approvals.reject(campaign, self._user, body.validated_data["reason"])))

    @extend_schema(request=None, responses={200: CampaignSerializer, **refused(409)})
    @action(detail=True, methods=["post"], permission_classes=[])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take back, until the start: whoever approved the approval, whoever launched the launch."""
        campaign = self._asked_for(pk, mine_too=True)
        refuse_body(request)
        return Response(self._json(approvals.withdraw(campaign, self._user)))

    def _asked_for(self, pk: str, *, mine_too: bool = False) -> int:
        """Give the id of a campaign that this person may decide on; `mine_too` = or launched."""
        user = self._user
        if not user.is_authenticated:
            self.permission_denied(self.request)
        mine = mine_too and Campaign.objects.filter(pk=pk, created_by=user.pk).exists()
        if not mine and not user.has_perm(APPROVE):
            raise PermissionDenied(f"deciding on campaign {pk}, which waits for a second person, needs {APPROVE}")
        return int(get_object_or_404(Campaign, pk=pk).pk)

    def _changer(self, pk: str, doing: str) -> tuple[User, Campaign]:
        """Give who asks and the campaign. Only who launched it, or who may look at campaigns and change them, may."""
        user = self._user
        if not user.is_authenticated:
            self.permission_denied(self.request)
        campaign = Campaign.objects.visible_to(user).filter(pk=pk).first()
        if campaign is None and Campaign.objects.shows(pk, user):
            raise Http404
        if campaign is None or (campaign.created_by_id != user.pk and not user.has_perms([LOOK, CHANGE])):
            raise PermissionDenied(
                f"campaign {pk} was not launched by you: {doing} it needs view_campaign and change_campaign"
            )
        rights.check_steering(campaign, user)
        return user, campaign

    @extend_schema(
        request=RerunSerializer,
        responses={
            201: OpenApiResponse(CampaignSerializer, "It was launched."),
            200: OpenApiResponse(CampaignSerializer, "It was launched before with this key."),
            **refused(409),
        },
        parameters=[KEY],
    )
    @action(detail=True, methods=["post"])
    def rerun(self, request: Request, pk: str) -> Response:
        """Ask the hosts that ended in some states again, as a new campaign; once under an `Idempotency-Key`."""
        parent = self._whole()
        body = RerunSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        states = body.validated_data["states"]
        digest = digest_of(["rerun", parent.pk, states])
        campaign, new = launched_once(request, digest, lambda: reruns.rerun(parent, states, self._user))
        return Response(self._json(campaign), status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)
