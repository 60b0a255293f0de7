"""The API of recurring questions: saved queries that run by themselves."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from campaigns.answers.audit import note_read
from campaigns.api.keys import KEY, launched_once
from campaigns.api.schedule_serializers import LaunchedRunSerializer, RunSerializer, ScheduleSerializer
from campaigns.hooks import rights
from campaigns.launching.once import digest_of
from campaigns.people.roles import LAUNCH, may_launch_something
from campaigns.recurring import keeping, running, showing
from campaigns.recurring.models import Schedule
from campaigns.states import Status
from fleet.api.asking import NoMembers, refuse_body
from fleet.api.described import refused
from fleet.api.parameters import PAGING, WHOLE, Parameters, choice_in, flag_in, number_in
from fleet.api.views import ApiView

SEE_ALL = "campaigns.view_schedule"
QUERY = OpenApiParameter("query", WHOLE, description="id of the saved query")
ENABLED = OpenApiParameter("enabled", bool, description="those that run, or those that do not")
OF_RUNS = (
    OpenApiParameter("status", str, enum=Status.values, description="how far they are"),
    OpenApiParameter("changed", bool, description="those that were answered otherwise than the run before, or not"),
)
MINE = OpenApiParameter("mine", bool, description="one's own, or those of others")


class SchedulePermissions(BasePermission):
    """Who may launch keeps schedules; who may look at those of others looks."""

    message = f"schedules need the permission {LAUNCH}, and looking at those of others {SEE_ALL}"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Ask for it. Raise ForbiddenError when a narrowed token would change one: it would launch more than it may."""
        if not request.user.is_authenticated:
            return False
        rights.refuse_narrowed(request.auth, "schedules")
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return may_launch_something(request.user) or request.user.has_perm(SEE_ALL)
        return may_launch_something(request.user)


class ScheduleViewSet(ApiView, ModelViewSet[Schedule]):
    """Saved queries that run by themselves, each run an ordinary campaign with the rights of the schedule's owner."""

    queryset = Schedule.objects.none()
    serializer_class = ScheduleSerializer
    permission_classes = [SchedulePermissions]
    lookup_value_regex = "[0-9]{1,18}"
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    query_parameters: ClassVar[Parameters] = {"list": (*PAGING, QUERY, ENABLED, MINE), "runs": (*PAGING, *OF_RUNS)}

    def get_queryset(self) -> QuerySet[Schedule]:
        """Leave out those of others, unless one may look at them, or disable and delete them."""
        user = cast(User, self.request.user)
        looks = self.request.method in ("GET", "HEAD")
        found = Schedule.objects.shown_to(user) if looks else Schedule.objects.kept_by(user)
        return cast(QuerySet[Schedule], found.select_related("owner", "query"))

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list."""
        if self.action != "list":
            return queryset
        if "query" in self.request.query_params:
            queryset = queryset.filter(query=number_in(self.request, "query", 0))
        enabled, mine = flag_in(self.request, "enabled"), flag_in(self.request, "mine")
        if mine is not None:
            own = Q(owner=cast(User, self.request.user).pk)
            queryset = queryset.filter(own if mine else ~own)
        return queryset if enabled is None else queryset.filter(enabled=enabled)

    def perform_create(self, serializer: Any) -> None:
        """Make one."""
        serializer.instance = keeping.make(Schedule(**serializer.validated_data), cast(User, self.request.user))

    def perform_update(self, serializer: Any) -> None:
        """Change one's own."""
        user = cast(User, self.request.user)
        serializer.instance = keeping.change(serializer.instance, serializer.validated_data, user)

    def perform_destroy(self, instance: Schedule) -> None:
        """Delete it; its campaigns stay."""
        refuse_body(self.request)
        keeping.drop(instance, cast(User, self.request.user))

    @extend_schema(request=NoMembers, responses=ScheduleSerializer)
    @action(detail=True, methods=["post"])
    def enable(self, request: Request, pk: str) -> Response:
        """Let it run again, with the query as it is now."""
        refuse_body(request)
        return Response(self.get_serializer(keeping.enable(self.get_object(), cast(User, request.user))).data)

    @extend_schema(request=NoMembers, responses=ScheduleSerializer)
    @action(detail=True, methods=["post"])
    def disable(self, request: Request, pk: str) -> Response:
        """Let it run no more; a run that is under way goes on."""
        refuse_body(request)
        return Response(self.get_serializer(keeping.disable(self.get_object(), cast(User, request.user))).data)

    @extend_schema(
        request=NoMembers,
        responses={
            201: OpenApiResponse(LaunchedRunSerializer, "It was launched."),
            200: OpenApiResponse(LaunchedRunSerializer, "It was launched before with this key."),
            **refused(409),
        },
        parameters=[KEY],
    )
    @action(detail=True, methods=["post"])
    def run(self, request: Request, pk: str) -> Response:
        """Run it at once, beside its times; a 409 while a run of it is going. Once under an `Idempotency-Key`."""
        refuse_body(request)
        schedule, user = self.get_object(), cast(User, request.user)
        digest = digest_of(["run", schedule.pk])
        campaign, new = launched_once(request, digest, lambda: running.run_now(schedule, user))
        return Response({"campaign": campaign.pk}, status=status.HTTP_201_CREATED if new else status.HTTP_200_OK)

    @extend_schema(responses=RunSerializer(many=True))
    @action(detail=True)
    def runs(self, request: Request, pk: str) -> Response:
        """Give its runs, newest first, each with what changed since the one before."""
        found, changed = self.get_object().runs.select_related("campaign"), flag_in(request, "changed")
        if status := choice_in(request, "status", Status.values):
            found = found.filter(campaign__status=status)
        if changed is not None:
            found = found.exclude(changes=[]) if changed else found.filter(changes=[])
        page: Any = self.paginate_queryset(cast(Any, found))
        note_read(f"schedule {pk}", "runs", request)  # what changed is told with values that hosts gave
        seen = showing.seen_by(page, cast(User, request.user))
        return self.get_paginated_response(RunSerializer(seen, many=True).data)
