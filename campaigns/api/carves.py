"""The API of carves: what a campaign got, and the bytes for those who may have them."""

import logging
from collections.abc import Iterator
from functools import partial
from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import StreamingHttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from agents.carving import store
from agents.carving.models import Carve, CarveQuerySet, CarveState
from campaigns.answers import sight
from campaigns.answers.audit import note_read
from campaigns.answers.carves import carve_json, carves_of
from campaigns.api.answer_serializers import CarveSerializer
from campaigns.api.downloads import Begun, streamed
from campaigns.api.noted import NotedReads
from campaigns.api.permissions import CampaignPermissions
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import LOOK
from fleet import confirming
from fleet.api.described import BYTES, file_of, refused
from fleet.api.parameters import PAGING, WHOLE, Parameters, choice_in, number_in, text_in
from fleet.api.views import ApiView
from fleet.counting import counted, plural
from fleet.errors import ConflictError

logger = logging.getLogger(__name__)

FILTERS = (
    OpenApiParameter("host", WHOLE, description="id of the host"),
    OpenApiParameter("state", str, enum=CarveState.values, description="how far they are"),
    OpenApiParameter("search", str, description="part of the path, the hostname or the carve_id"),
)
CAMPAIGN = OpenApiParameter("campaign", WHOLE, description="id of the campaign whose answers named them")
ZSTD = b"\x28\xb5\x2f\xfd"


class MayDownload(BasePermission):
    """Looking at a campaign does not give what hosts carved: that needs a permission of its own."""

    message = "downloading a carve needs agents.download_carve"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Ask for the permission to download carves."""
        return bool(request.user and request.user.has_perm("agents.download_carve"))


class CarvesOfCampaign(NotedReads, GenericViewSet[Campaign]):
    """The carves of one campaign."""

    queryset = Campaign.objects.all()
    permission_classes = [CampaignPermissions]
    quiet = ()
    query_parameters: ClassVar[Parameters] = {"list": (*PAGING, *FILTERS)}

    def get_queryset(self) -> QuerySet[Campaign]:
        """Leave out what this person may not look at."""
        return cast(QuerySet[Campaign], Campaign.objects.visible_to(cast(User, self.request.user)))

    @extend_schema(operation_id="campaigns_carves_list", responses=CarveSerializer(many=True))
    def list(self, request: Request, pk: int) -> Response:
        """Give the carves that the campaign's answers named, in order, with how much of each is here."""
        campaign = sight.seen_by(self.get_object(), cast(User, request.user))
        return _page(self, _narrowed(carves_of(campaign), request))


class Carves(ApiView, GenericViewSet[Carve]):
    """What hosts carved, in any campaign."""

    queryset = Carve.objects.none()
    permission_classes = [IsAuthenticated]
    query_parameters: ClassVar[Parameters] = {"list": (*PAGING, CAMPAIGN, *FILTERS)}

    @extend_schema(operation_id="carves_list", responses=CarveSerializer(many=True))
    def list(self, request: Request) -> Response:
        """Give the carves of the campaigns that one may look at, newest first."""
        user = cast(User, request.user)
        if not Campaign.objects.shows_some(user):
            self.permission_denied(request, f"looking at carves of campaigns that you did not launch needs {LOOK}")
        seen = Q(campaign_id__in=Campaign.objects.visible_to(user).values("pk"))
        if user.has_perm(LOOK):
            seen |= Q(campaign_id=None)
        found = scopes.within(Carve.objects.filter(seen), user).select_related("host").order_by("-id")
        if "campaign" in request.query_params:
            found = found.filter(campaign_id=number_in(request, "campaign", 0))
        note_read("carves", "list", request)
        return _page(self, _narrowed(found, request))


def _narrowed(carves: QuerySet[Carve], request: Request) -> QuerySet[Carve]:
    """Give those for which every filter of the request holds. Raise BadInputError."""
    if "host" in request.query_params:
        carves = carves.filter(host_id=number_in(request, "host", 0))
    if state := choice_in(request, "state", CarveState.values):
        carves = cast(CarveQuerySet, carves).in_state(state, timezone.now())
    search = text_in(request, "search")
    sought = Q(path__icontains=search) | Q(host__hostname__icontains=search) | Q(carve_id__icontains=search)
    return carves.filter(sought) if search else carves


def _page(view: GenericViewSet[Any], carves: QuerySet[Carve]) -> Response:
    page: Any = view.paginate_queryset(carves)
    at = view.request.build_absolute_uri
    return view.get_paginated_response([carve_json(one, at(reverse("carve-file", args=[one.pk]))) for one in page])


class CarveFile(NotedReads, GenericViewSet[Carve]):
    """The bytes of one carve."""

    queryset = Carve.objects.all()
    permission_classes = [MayDownload]
    reads_of = "carve"

    @extend_schema(responses={**file_of(BYTES, "the archive: tar, or tar in zstd"), **refused(409)})
    def retrieve(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give the archive as the host packed it: tar, or tar in zstd. It is not looked into here; mind its paths."""
        confirming.require_in_session(request)
        carve = self._shown(request, pk)
        if carve.state == CarveState.EMPTY:
            raise ConflictError(f"carve {pk} is an {carve.trouble} {carve.path!r} on {carve.host.hostname}")
        if carve.state != CarveState.COMPLETE:
            missing = (carve.block_count or 0) - carve.received_blocks
            blocks = f"{missing} of {counted(carve.block_count or 0, 'block')} {plural(missing, 'is', 'are')} missing"
            raise ConflictError(f"carve {pk} is {carve.state}: {blocks}")
        ending, pieces = _opened(carve, request)
        if request.method != "HEAD":
            logger.info("carve downloaded carve=%s by=%s", carve.pk, request.user.get_username())
        headers = {
            "Content-Disposition": f'attachment; filename="carve-{carve.carve_id}.{ending}"',
            "Content-Length": str(carve.received_bytes),
        }
        also = partial(self._shown, request, pk)
        return streamed(request, pieces, also, content_type="application/octet-stream", headers=headers)

    def _shown(self, request: Request, pk: int) -> Carve:
        """Give the carve, to who sees its host and may look at its campaign."""
        user = cast(User, request.user)
        carve: Carve = get_object_or_404(scopes.within(Carve.objects.all(), user), pk=pk)
        if carve.campaign_id is not None and not Campaign.objects.shows(carve.campaign_id, user):
            self.permission_denied(request, f"carve {pk} is of a campaign that you did not launch: it needs {LOOK}")
        return carve


def _opened(carve: Carve, request: Request) -> tuple[str, Iterator[bytes]]:
    """Give the ending of its name and its bytes, none of them for HEAD. Raise ConflictError when some are gone."""
    try:
        store.check_there(carve)
        first = next(store.pieces(carve), b"")
        pieces = iter(()) if request.method == "HEAD" else Begun(store.unharmed(carve))
    except OSError as error:
        logger.error("carve not whole carve=%s reason=%s", carve.pk, error)  # noqa: TRY400 - the reason says it all
        raise ConflictError(
            f"carve {carve.pk} is not whole any more: bytes of it are gone from where carves are kept, or were changed"
            " there. Ask the host for it again"
        ) from error
    return "tar.zst" if first.startswith(ZSTD) else "tar", pieces
