"""The API of a campaign's hosts: each with its one state, as pages and as a table."""

from typing import Any, cast

from django.db.models import Exists, OuterRef, QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from agents.models import Presence
from campaigns.answers.exports import csv_lines, plain
from campaigns.api.downloads import attachment
from campaigns.api.serializers import TargetSerializer
from campaigns.models import Campaign, Result, Target
from campaigns.states import State
from fleet.api import text_in
from fleet.errors import BadInputError


class TargetViews(GenericViewSet[Campaign]):
    """Whom a campaign asked, and what became of each."""

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
        lines = csv_lines(["host_id", "hostname", *names], ([plain(cell) for cell in target] for target in targets))
        return attachment(request, lines, f"campaign-{pk}-targets.csv", "text/csv")
