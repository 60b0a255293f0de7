"""The API of campaigns: parse, permit, call one verb, answer."""

import csv
import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import islice
from typing import Any, cast

import msgspec
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.exceptions import PermissionDenied
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.models import Presence
from campaigns.answers import retention
from campaigns.answers.results import MOST_ITEMS, PAGE_BYTES, campaign_json, results_after, results_page, timestamp
from campaigns.api.answers import PAGE_ITEMS, AnswerViews
from campaigns.api.serializers import (
    CampaignChange,
    EstimateSerializer,
    OrderSerializer,
    RerunSerializer,
    SwitchSerializer,
    TargetSerializer,
)
from campaigns.api.wait_for_end import seconds_to_wait, waiting
from campaigns.launching import launch, reruns
from campaigns.models import Campaign, Result, State, Status, Target
from fleet.api import number_in, refuse_body, text_in
from fleet.errors import BadInputError
from fleet.text import is_text

LINES_A_CHUNK = 500
RISKY = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would run

OBJECT = OpenApiTypes.OBJECT
AFTER = OpenApiParameter("after", int, description="seq after which results are wanted")


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
class CampaignViewSet(mixins.ListModelMixin, AnswerViews):
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
        wanted = request.query_params.get("status")
        if wanted is not None:
            if wanted not in Status.values:
                raise BadInputError(f"status {wanted!r} is unknown, allowed are {', '.join(Status.values)}", "status")
            campaigns = campaigns.filter(status=wanted)
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
        stopped = launch.stop(campaign.pk, user.get_username(), f"stopped by {user.get_username()}")
        return Response(self._json(stopped), status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=None, responses=OBJECT)
    @action(detail=True, methods=["post"], permission_classes=[])
    def pause(self, request: Request, pk: str) -> Response:
        """Hand the campaign out no more until it is resumed; hosts that have it may answer."""
        user, campaign = self._changer(pk, "pausing")
        refuse_body(request)
        return Response(self._json(launch.pause(campaign.pk, user.get_username())))

    @extend_schema(request=None, responses=OBJECT)
    @action(detail=True, methods=["post"], permission_classes=[])
    def resume(self, request: Request, pk: str) -> Response:
        """Go on handing a paused campaign out, for the time that was left."""
        user, campaign = self._changer(pk, "resuming")
        refuse_body(request)
        return Response(self._json(launch.resume(campaign.pk, user.get_username())))

    @extend_schema(request=OBJECT, responses=OBJECT)
    @action(detail=True, methods=["post"], permission_classes=[])
    def widen(self, request: Request, pk: str) -> Response:
        """Let more hosts be asked: `{"percent"}`, `{"count"}` (of hosts, in all) or `{"all": true}`."""
        user, campaign = self._changer(pk, "widening")
        return Response(self._json(launch.widen(campaign.pk, user.get_username(), request.data)))

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

    # --- what came of it --------------------------------------------------------------------------------------

    @extend_schema(
        responses=TargetSerializer(many=True),
        parameters=[
            OpenApiParameter("state", str, enum=State.values),
            OpenApiParameter("search", str, description="part of a hostname"),
            OpenApiParameter("delivered", bool),
        ],
    )
    @action(detail=True)
    def targets(self, request: Request, pk: str) -> Response:
        """Give the hosts of a campaign and their states."""
        page: Any = self.paginate_queryset(cast(Any, self._targets()))
        return self.get_paginated_response(TargetSerializer(page, many=True).data)

    def _targets(self) -> QuerySet[Target]:
        campaign, params = self.get_object(), self.request.query_params
        online = Presence.objects.online(timezone.now()).filter(host_id=OuterRef("host_id"))
        cut = Result.objects.filter(campaign=campaign, host_id=OuterRef("host_id"), truncated=True)
        targets = Target.objects.filter(campaign=campaign).order_by("host_id")
        targets = targets.annotate(online=Exists(online), truncated=Exists(cut))
        if "state" in params:
            if params["state"] not in State.values:
                allowed = ", ".join(State.values)
                raise BadInputError(f"state {params['state']!r} is unknown, allowed are {allowed}", "state")
            targets = targets.filter(state=params["state"])
        if "delivered" in params:
            if params["delivered"] not in ("true", "false"):
                raise BadInputError(f"delivered {params['delivered']!r} is not true or false", "delivered")
            targets = targets.filter(delivered_at__isnull=params["delivered"] == "false")
        search = text_in(self.request, "search")
        return targets.filter(hostname__icontains=search) if search else targets

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def targets_csv(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every host of a campaign and its state as a table."""
        names = [name for name in TargetSerializer.Meta.fields if name != "host"]
        targets = self._targets().values_list("host_id", "hostname", *names).iterator(2000)
        lines = _csv(["host_id", "hostname", *names], ([_plain(cell) for cell in target] for target in targets))
        return _attachment(request, lines, pk, "targets.csv", "text/csv")

    @extend_schema(responses=OBJECT, parameters=[AFTER, OpenApiParameter("limit", int)])
    @action(detail=True)
    def results(self, request: Request, pk: str) -> HttpResponse:
        """Give what hosts sent after a seq, in order. `next` null: nothing more yet, ask again with the last seq."""
        campaign = self.get_object()
        after = number_in(request, "after", 0)
        limit = number_in(request, "limit", PAGE_ITEMS, MOST_ITEMS)
        body = results_page(request, campaign, after, limit)
        return HttpResponse(msgspec.json.encode(body), content_type="application/json")

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR})
    def export_csv(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every row as a table: `host`, the campaign's columns, and last `truncated`.

        `truncated` is `true` in each row of a host that answered more rows than were kept, else `false`. Cells that a
        spreadsheet would run are quoted.
        """
        columns = self.get_object().columns
        rows = (
            [item["host"]["hostname"], *(row.get(name, "") for name in columns), _plain(item["truncated"])]
            for item, row in _rows(pk)
        )
        return _attachment(request, _csv(["host", *columns, "truncated"], rows), pk, "csv", "text/csv")

    @extend_schema(responses={(200, "application/x-ndjson"): OpenApiTypes.STR})
    def export_ndjson(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every row as a line of JSON: `{"host": {"id", "hostname"}, "row": {…}, "truncated": false}`.

        `truncated` is true in each row of a host that answered more rows than were kept.
        """
        self.get_object()
        lines = (
            json.dumps({"host": item["host"], "row": row, "truncated": item["truncated"]}) + "\n"
            for item, row in _rows(pk)
        )
        return _attachment(request, lines, pk, "ndjson", "application/x-ndjson")

    @extend_schema(responses=OBJECT)
    def export_json(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give everything hosts sent as one JSON array of the items that `results/` gives, `truncated` among them."""
        self.get_object()
        return _attachment(request, _json_array(pk), pk, "json", "application/json")


def _every_item(campaign_id: int) -> Iterator[dict[str, Any]]:
    after = 0
    while items := results_after(campaign_id, after, MOST_ITEMS, PAGE_BYTES):
        yield from items
        after = items[-1]["seq"]


def _rows(campaign_id: int) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    for item in _every_item(campaign_id):
        for row in msgspec.json.decode(item["rows"]):
            yield item, row


def _json_array(campaign_id: int) -> Iterator[bytes]:
    between = b"["
    for item in _every_item(campaign_id):
        yield between + msgspec.json.encode(item)
        between = b",\n"
    yield b"]\n" if between != b"[" else b"[]\n"


class _Line:
    """What csv writes into: gives each line back."""

    def write(self, line: str) -> str:
        return line


def _csv(names: list[str], rows: Any) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield cast(str, writer.writerow(names))
    for row in rows:
        yield cast(str, writer.writerow([_harmless(cell) for cell in row]))


def _plain(cell: Any) -> Any:
    """Write times and truth in a table as JSON has them."""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return timestamp(cell) if isinstance(cell, datetime) else cell


def _harmless(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(RISKY) else cell


def _attachment(
    request: Request, content: Iterator[Any], pk: int, ending: str, content_type: str
) -> StreamingHttpResponse:
    name = f"campaign-{pk}.{ending}" if ending != "targets.csv" else f"campaign-{pk}-targets.csv"
    chunks: Any = _chunks(content)
    if isinstance(request._request, ASGIRequest):
        chunks = _one_by_one(chunks)
    return StreamingHttpResponse(
        chunks, content_type=content_type, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def _chunks(content: Iterator[Any]) -> Iterator[Any]:
    """Join lines, so that a large file is not sent line by line."""
    while lines := list(islice(content, LINES_A_CHUNK)):
        yield type(lines[0])().join(lines)


async def _one_by_one(chunks: Iterator[Any]) -> AsyncIterator[Any]:
    """Fetch each chunk in a thread: Django would read a plain iterator to its end before it sends anything."""

    def next_chunk() -> Any:
        return next(chunks, None)

    while (chunk := await sync_to_async(next_chunk)()) is not None:
        yield chunk


class SwitchView(APIView):
    """The kill switch: POST to `live-queries/disable/` or `live-queries/enable/`."""

    permission_classes = [IsAuthenticated]
    on = False

    @extend_schema(request=OBJECT, responses=OBJECT)
    def post(self, request: Request) -> Response:
        """Stop all campaigns and refuse new ones, or allow them again. `{"reason"}` is shown to whoever launches."""
        user = cast(User, request.user)
        if not user.has_perm("campaigns.switch_live_queries"):
            raise PermissionDenied("switching live queries off or on needs campaigns.switch_live_queries")
        body = SwitchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        if self.on:
            launch.enable_live_queries(user)
            return Response({"enabled": True})
        stopped = launch.disable_live_queries(user, body.validated_data["reason"])
        return Response({"enabled": False, "stopped": stopped})
