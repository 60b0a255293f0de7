"""The API of a campaign's hosts: each with its one state, as pages and as a table."""

from typing import Any, ClassVar, cast

from django.db.models import Exists, OuterRef, QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from agents.models import Presence
from campaigns.answers.exports import plain
from campaigns.api.downloads import BOM, attachment
from campaigns.api.noted import NotedReads
from campaigns.api.serializers import TargetSerializer
from campaigns.models import Campaign, Result, Target
from campaigns.people import scopes
from campaigns.states import State
from fleet.api.described import file_of
from fleet.api.parameters import PAGING, Parameters, choice_in, flag_in, text_in
from fleet.spreadsheets import HOST_COLUMNS, csv_lines

FILTERS = (
    OpenApiParameter("state", str, enum=State.values, description="what became of them"),
    OpenApiParameter("search", str, description="part of a hostname"),
    OpenApiParameter("delivered", bool, description="whether the SQL was handed to them"),
)


class TargetViews(NotedReads, GenericViewSet[Campaign]):
    """Whom a campaign asked, and what became of each."""

    query_parameters: ClassVar[Parameters] = {"targets": (*PAGING, *FILTERS), "targets_csv": (*FILTERS, BOM)}

    @extend_schema(responses=TargetSerializer(many=True))
    @action(detail=True)
    def targets(self, request: Request, pk: str) -> Response:
        """Give the hosts of a campaign and their states."""
        page: Any = self.paginate_queryset(cast(Any, self._targets()))
        return self.get_paginated_response(TargetSerializer(page, many=True).data)

    def _targets(self) -> QuerySet[Target]:
        campaign, request = self.get_object(), self.request
        online = Presence.objects.online(timezone.now()).filter(host_id=OuterRef("host_id"))
        cut = Result.objects.filter(campaign=campaign.pk, host_id=OuterRef("host_id"), truncated=True)
        targets = scopes.within_limits(Target.objects.filter(campaign=campaign.pk), campaign.limits)
        targets = targets.order_by("campaign_id", "host_id")  # together they are unique
        targets = targets.annotate(online=Exists(online), truncated=Exists(cut))
        state, delivered = choice_in(request, "state", State.values), flag_in(request, "delivered")
        if state is not None:
            targets = targets.filter(state=state)
        if delivered is not None:
            targets = targets.filter(delivered_at__isnull=not delivered)
        search = text_in(request, "search")
        return targets.filter(hostname__icontains=search) if search else targets

    @extend_schema(responses=file_of("text/csv", "a line for each host", "host,host_id,state,late,…"))
    def targets_csv(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every host of a campaign and its state as a table."""
        names = [name for name in TargetSerializer.Meta.fields if name != "host"]
        targets = self._targets().values_list("hostname", "host_id", *names).iterator(2000)
        rows = ([plain(cell) for cell in target] for target in targets)
        lines = csv_lines([*HOST_COLUMNS, *names], rows, bom=flag_in(request, "bom") is True)
        return attachment(request, lines, f"campaign-{pk}-targets.csv", "text/csv")
