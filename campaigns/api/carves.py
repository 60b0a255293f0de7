"""The API of carves: what a campaign got, and the bytes for those who may have them."""

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, cast

from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.handlers.asgi import ASGIRequest
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from agents.carving import store
from agents.carving.models import Carve, CarveState
from campaigns.answers import sight
from campaigns.answers.carves import carve_json, carves_of
from campaigns.api.answer_serializers import CarveSerializer
from campaigns.api.noted import NotedReads
from campaigns.api.permissions import CampaignPermissions
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import LOOK
from fleet import confirming
from fleet.described import BYTES, file_of, refused
from fleet.errors import ConflictError
from fleet.parameters import PAGING, Parameters

logger = logging.getLogger(__name__)

ZSTD = b"\x28\xb5\x2f\xfd"


class MayDownload(BasePermission):
    """Looking at a campaign does not give what hosts carved: that needs a permission of its own."""

    message = "downloading a carve needs agents.download_carve"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Ask for it."""
        return bool(request.user and request.user.has_perm("agents.download_carve"))


class CarvesOfCampaign(NotedReads, GenericViewSet[Campaign]):
    """The carves of one campaign."""

    queryset = Campaign.objects.all()
    permission_classes = [CampaignPermissions]
    quiet = ()
    query_parameters: ClassVar[Parameters] = {"list": PAGING}

    def get_queryset(self) -> QuerySet[Campaign]:
        """Leave out what this person may not look at."""
        return cast(QuerySet[Campaign], Campaign.objects.visible_to(cast(User, self.request.user)))

    @extend_schema(operation_id="campaigns_carves_list", responses=CarveSerializer(many=True))
    def list(self, request: Request, pk: int) -> Response:
        """Give the carves that the campaign's answers named, in order, with how much of each is here."""
        campaign = sight.seen_by(self.get_object(), cast(User, request.user))
        page: Any = self.paginate_queryset(carves_of(campaign))  # type: ignore[arg-type]
        return self.get_paginated_response(
            [carve_json(carve, request.build_absolute_uri(reverse("carve-file", args=[carve.pk]))) for carve in page]
        )


class CarveFile(NotedReads, GenericViewSet[Carve]):
    """The bytes of one carve."""

    queryset = Carve.objects.all()
    permission_classes = [MayDownload]
    reads_of = "carve"

    @extend_schema(responses={**file_of(BYTES, "the archive: tar, or tar in zstd"), **refused(409)})
    def retrieve(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give the archive as the host packed it: tar, or tar in zstd. It is not looked into here; mind its paths."""
        confirming.require_in_session(request)
        carve = get_object_or_404(scopes.within(Carve.objects.all(), cast(User, request.user)), pk=pk)
        if carve.campaign_id is not None and not Campaign.objects.shows(carve.campaign_id, cast(User, request.user)):
            self.permission_denied(request, f"carve {pk} is of a campaign that you did not launch: it needs {LOOK}")
        if carve.state == CarveState.EMPTY:
            raise ConflictError(f"carve {pk} is an {carve.trouble} {carve.path!r} on {carve.host.hostname}")
        if carve.state != CarveState.COMPLETE:
            missing = (carve.block_count or 0) - carve.received_blocks
            raise ConflictError(f"carve {pk} is {carve.state}: {missing} of {carve.block_count} blocks are missing")
        logger.info("carve downloaded carve=%s by=%s", carve.pk, request.user.get_username())
        chunks: Any = store.pieces(carve)
        if isinstance(request._request, ASGIRequest):
            chunks = _one_by_one(chunks)
        headers = {
            "Content-Disposition": f'attachment; filename="carve-{carve.carve_id}.{_ending(carve)}"',
            "Content-Length": str(carve.received_bytes),
        }
        return StreamingHttpResponse(chunks, content_type="application/octet-stream", headers=headers)


def _ending(carve: Carve) -> str:
    first = next(store.pieces(carve), b"")
    return "tar.zst" if first.startswith(ZSTD) else "tar"


async def _one_by_one(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Read each piece in a thread: Django would read a plain iterator to its end before it sends anything."""

    def following() -> bytes | None:
        return next(pieces, None)

    while (piece := await sync_to_async(following)()) is not None:
        yield piece
