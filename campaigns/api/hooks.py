"""The API of hooks: where programs and people elsewhere are told what becomes of campaigns."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import status
from rest_framework.decorators import action
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ModelViewSet

from campaigns.api import people_filters
from campaigns.api.hook_serializers import DeliverySerializer, HookSerializer, NewHookSerializer, SecretSerializer
from campaigns.hooks import keeping, rights
from campaigns.hooks.models import TEST, Delivery, Event, Hook
from campaigns.people.roles import KEEP_HOOKS
from fleet import confirming
from fleet.api.asking import NoMembers, refuse_body
from fleet.api.described import refused
from fleet.api.parameters import NAME, PAGING, Parameters, choice_in, flag_in
from fleet.api.views import ApiView

IDS = "[0-9]{1,18}"
SEE_ALL = "campaigns.view_hook"
FILTERS = (
    OpenApiParameter("kind", str, enum=Hook.Kind.values, description="how they are told"),
    OpenApiParameter("event", str, enum=Event.values, description="one that they are told of, be it with all others"),
    OpenApiParameter("stopped", bool, description="those that are stopped, or those that are not"),
    OpenApiParameter("owner", NAME, description="name of the person whose they are"),
)
OF_DELIVERIES = (
    OpenApiParameter("state", str, enum=Delivery.State.values, description="how far they are"),
    OpenApiParameter("event", str, enum=[*Event.values, TEST], description="what they tell of"),
)


class HookPermissions(BasePermission):
    """Who may have hooks, or look at those of others."""

    message = f"hooks need the permission {KEEP_HOOKS}, and looking at those of others {SEE_ALL}"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Ask for it. Raise ForbiddenError when a narrowed token asks."""
        if not request.user.is_authenticated:
            return False
        rights.refuse_narrowed(request.auth, "hooks")
        needed = [KEEP_HOOKS] if view.action == "create" else [KEEP_HOOKS, SEE_ALL]
        return any(map(request.user.has_perm, needed))


@extend_schema_view(create=extend_schema(responses={201: NewHookSerializer}))
class HookViewSet(ApiView, ModelViewSet[Hook]):
    """Hooks of one's own, and everybody's to who may look at those.

    A webhook gets signed posts (Standard Webhooks); a notification is a message by a service. What failed is tried
    again over a day.
    """

    queryset = Hook.objects.none()
    serializer_class = HookSerializer
    permission_classes = [HookPermissions]
    lookup_value_regex = IDS
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    query_parameters: ClassVar[Parameters] = {"list": (*PAGING, *FILTERS), "deliveries": (*PAGING, *OF_DELIVERIES)}

    def get_queryset(self) -> QuerySet[Hook]:
        """Leave out those of others, unless one may look at them, or stop and delete them."""
        user = cast(User, self.request.user)
        looks = self.request.method in ("GET", "HEAD")
        found = Hook.objects.shown_to(user) if looks else Hook.objects.kept_by(user)
        return cast(QuerySet[Hook], found.select_related("owner"))

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list."""
        if self.action != "list":
            return queryset
        request, others = self.request, self.request.user.has_perm(SEE_ALL)
        stopped, event = flag_in(request, "stopped"), choice_in(request, "event", Event.values)
        conditions = {
            "kind": choice_in(request, "kind", Hook.Kind.values),
            "stopped_at__isnull": None if stopped is None else not stopped,
            "owner": people_filters.person_in(request, "owner", others=others),
        }
        if event:
            queryset = queryset.filter(Q(events=[]) | Q(events__contains=[event]))
        return queryset.filter(**{name: value for name, value in conditions.items() if value is not None})

    def create(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        """Make a hook; its secret is in the answer, and nowhere else."""
        confirming.require_in_session(request)
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        hook = keeping.make(Hook(**body.validated_data), cast(User, request.user))
        return Response(NewHookSerializer(hook).data, status=status.HTTP_201_CREATED)

    def perform_update(self, serializer: Any) -> None:
        """Change one's own. A new address gets all that the one before did: that is asked again for."""
        if serializer.validated_data.get("address", serializer.instance.address) != serializer.instance.address:
            confirming.require_in_session(self.request)
        keeping.change(serializer.instance, serializer.validated_data, cast(User, self.request.user))

    def perform_destroy(self, instance: Hook) -> None:
        """Delete it with what it was told."""
        refuse_body(self.request)
        keeping.drop(instance, cast(User, self.request.user))

    @extend_schema(request=NoMembers, responses={200: SecretSerializer, **refused(409)})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: str) -> Response:
        """Give it a new secret; the one before signs beside it until the next rotation."""
        refuse_body(request)
        confirming.require_in_session(request)
        return Response({"secret": keeping.rotate(self.get_object(), cast(User, request.user))})

    @extend_schema(request=NoMembers, responses=HookSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Send to it no more."""
        refuse_body(request)
        hook = self.get_object()
        keeping.stop(hook, cast(User, request.user))
        return Response(self.get_serializer(hook).data)

    @extend_schema(request=NoMembers, responses={200: HookSerializer, **refused(409)})
    @action(detail=True, methods=["post"])
    def start(self, request: Request, pk: str) -> Response:
        """Send to it again, of what happens from now on."""
        refuse_body(request)
        hook = self.get_object()
        keeping.start(hook, cast(User, request.user))
        return Response(self.get_serializer(hook).data)

    @extend_schema(request=NoMembers, responses={202: DeliverySerializer, **refused(409)})
    @action(detail=True, methods=["post"])
    def test(self, request: Request, pk: str) -> Response:
        """Send a message to try it; what came of it is among the deliveries soon."""
        refuse_body(request)
        made = keeping.test(self.get_object(), cast(User, request.user))
        return Response(DeliverySerializer(made).data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(responses=DeliverySerializer(many=True))
    @action(detail=True)
    def deliveries(self, request: Request, pk: str) -> Response:
        """Give what was sent to it, or is to be, newest first, each with what came of its last try."""
        found: Any = self.get_object().deliveries.all()
        if state := choice_in(request, "state", Delivery.State.values):
            found = found.filter(state=state)
        if event := choice_in(request, "event", [*Event.values, TEST]):
            found = found.filter(kind=event)
        page: Any = self.paginate_queryset(found)
        return self.get_paginated_response(DeliverySerializer(page, many=True).data)

    @extend_schema(request=NoMembers, responses={202: DeliverySerializer, **refused(409)})
    @action(
        detail=True,
        methods=["post"],
        url_path=f"deliveries/(?P<delivery>{IDS})/resend",
        url_name="resend",
    )
    def resend(self, request: Request, pk: str, delivery: str) -> Response:
        """Send a message once more, under its own id."""
        refuse_body(request)
        found = get_object_or_404(self.get_object().deliveries.select_related("hook"), pk=delivery)
        again = keeping.send_again(found, cast(User, request.user))
        return Response(DeliverySerializer(again).data, status=status.HTTP_202_ACCEPTED)
