"""The API of campaigns: parse, permit, call one verb, answer."""

from typing import Any, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from campaigns.answers import retention
from campaigns.answers.results import campaign_json
from campaigns.api.answers import AnswerViews
from campaigns.api.serializers import (
    CampaignChange,
    EstimateSerializer,
    OrderSerializer,
    RerunSerializer,
)
from campaigns.api.targets import TargetViews
from campaigns.api.wait_for_end import seconds_to_wait, waiting
from campaigns.launching import control, launch, reruns
from campaigns.models import Campaign
from campaigns.states import Status
from fleet.api import refuse_body
from fleet.errors import BadInputError
from fleet.text import is_text

OBJECT = OpenApiTypes.OBJECT


@extend_schema_view(
    list=extend_schema(operation_id="campaigns_list", responses=OBJECT, parameters=[OpenApiParameter("status", str)]),
    retrieve=extend_schema(responses=OBJECT),
    create=extend_schema(
        request=OrderSerializer,
        responses={201: OBJECT, 200: OBJECT, 202: OBJECT},
        parameters=[
            OpenApiParameter("wait", int, description="seconds to wait for the end, 60 at most"),
            OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER),
        ],
    ),
    partial_update=extend_schema(request=CampaignChange, responses=OBJECT),
)
class CampaignViewSet(mixins.ListModelMixin, TargetViews, AnswerViews):
    """Launch campaigns, look at them and stop them."""

    queryset = Campaign.objects.select_related("created_by")
    serializer_class = OrderSerializer
    filter_backends: list[Any] = []
    lookup_value_regex = "[0-9]{1,18}"

    @classmethod
    def as_view(cls, actions: Any = None, **initkwargs: Any) -> Any:
        """Let launches wait for the end."""
        view = super().as_view(actions, **initkwargs)
        return waiting(view) if "create" in (actions or {}).values() else view

    def _json(self, campaign: Campaign) -> dict[str, Any]:
        return campaign_json(campaign, settings.PUBLIC_URL or self.request.build_absolute_uri("/")[:-1])

    @property
    def _user(self) -> User:
        return cast(User, self.request.user)

    def list(self, request: Request) -> Response:
        """Give the campaigns, newest first; `status` narrows them."""
        campaigns = self.get_queryset()
        state = request.query_params.get("status")
        if state is not None:
            if state not in Status.values:
                raise BadInputError(f"status {state!r} is unknown, allowed are {', '.join(Status.values)}", "status")
            campaigns = campaigns.filter(status=state)
        page = self.paginate_queryset(campaigns) or []
        return self.get_paginated_response([self._json(campaign) for campaign in page])

    def retrieve(self, request: Request, pk: str) -> Response:
        """Give one campaign."""
        return Response(self._json(self.get_object()))

    def create(self, request: Request) -> Response:
        """Launch. An `Idempotency-Key` that was used before gives the campaign it launched.

        With `wait` the answer comes when the campaign has ended (200) or the time is up (202), with its `results`.
        """
        if seconds_to_wait(request.query_params) is not None and not self._user.has_perm("campaigns.view_campaign"):
            self.permission_denied(request, "waiting for results needs campaigns.view_campaign")
        body = OrderSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        order = body.order()
        key = request.headers.get("Idempotency-Key", "")
        if len(key) > 255:
            raise BadInputError(f"Idempotency-Key has {len(key)} characters, allowed are 255")
        if not is_text(key):
            raise BadInputError(f"Idempotency-Key {key!r} holds a NUL or a lone surrogate, which no text has")
        if key:
            campaign, new = launch.launch_once(order, self._user, key)
        else:
            campaign, new = launch.launch(order, self._user), True
        return Response(self._json(campaign), status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)

    def partial_update(self, request: Request, pk: str) -> Response:
        """Rename or pin."""
        campaign = self.get_object()
        body = CampaignChange(data=request.data)
        body.is_valid(raise_exception=True)
        for name, value in body.validated_data.items():
            setattr(campaign, name, value)
        campaign.save(update_fields=list(body.validated_data))
        return Response(self._json(campaign))

    def destroy(self, request: Request, pk: str) -> Response:
        """Delete a campaign that ended so long ago that no late answer can come."""
        refuse_body(request)
        retention.delete(self.get_object().pk, self._user.get_username())
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(request=EstimateSerializer, responses=OBJECT)
    @action(detail=False, methods=["post"])
    def estimate(self, request: Request) -> Response:
        """Count who a target means, without launching."""
        body = EstimateSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(launch.estimate(body.order(), self._user))

    @extend_schema(request=None, responses={202: OBJECT})
    @action(detail=True, methods=["post"], permission_classes=[])
    def stop(self, request: Request, pk: str) -> Response:
        """Hand the campaign out no more. Whoever launched may always stop."""
        user, campaign = self._changer(pk, "stopping")
        refuse_body(request)
        stopped = control.stop(campaign.pk, user.get_username(), f"stopped by {user.get_username()}")
        return Response(self._json(stopped), status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses=OBJECT)
    @action(detail=True, methods=["post"], permission_classes=[])
    def pause(self, request: Request, pk: str) -> Response:
        """Hand the campaign out no more until it is resumed; hosts that have it may answer."""
        user, campaign = self._changer(pk, "pausing")
        refuse_body(request)
        return Response(self._json(control.pause(campaign.pk, user.get_username())))

    @extend_schema(request=None, responses=OBJECT)
    @action(detail=True, methods=["post"], permission_classes=[])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on handing a paused campaign out, for the time that was left."""
        user, campaign = self._changer(pk, "resuming")
        refuse_body(request)
        return Response(self._json(control.resume(campaign.pk, user.get_username())))

    @extend_schema(request=OBJECT, responses=OBJECT)
    @action(detail=True, methods=["post"], permission_classes=[])
    def widen(self, request: Request, pk: str) -> Response:
        """Let more hosts be asked: `{"percent"}`, `{"count"}` (of hosts, in all) or `{"all": true}`."""
        user, campaign = self._changer(pk, "widening")
        return Response(self._json(control.widen(campaign.pk, user.get_username(), request.data)))

    def _changer(self, pk: str, doing: str) -> tuple[User, Campaign]:
        """Give who asks and the campaign. Only who launched it, or who may change campaigns, may."""
        user = self._user
        if not user.is_authenticated:
            self.permission_denied(self.request)
        campaign = get_object_or_404(Campaign, pk=pk)
        if campaign.created_by_id != user.pk and not user.has_perm("campaigns.change_campaign"):
            raise PermissionDenied(f"campaign {pk} was launched by somebody else: {doing} it needs change_campaign")
        return user, campaign

    @extend_schema(request=RerunSerializer, responses={201: OBJECT})
    @action(detail=True, methods=["post"])
    def rerun(self, request: Request, pk: str) -> Response:
        """Ask the hosts that ended in some states again, as a new campaign."""
        parent = self.get_object()
        body = RerunSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        campaign = reruns.rerun(parent, body.validated_data["states"], self._user)
        return Response(self._json(campaign), status=status.HTTP_201_CREATED)
