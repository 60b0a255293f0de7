"""The API of hosts, labels, saved queries, enroll secrets and tokens."""

import re
import secrets
from typing import Any, ClassVar, cast

import msgspec
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, Max, OuterRef, Q, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_view
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.viewsets import GenericViewSet, ModelViewSet, ReadOnlyModelViewSet

from agents.board.keyspace import NoBoardError
from agents.inventory import host_names, housekeeping, labels
from agents.models import EnrollSecret, Host, HostQuerySet, Label, Platform, Presence
from campaigns.answers.results import results_of_host
from campaigns.api import host_filters
from campaigns.api.answer_serializers import PAGE_OF_HOST_RESULTS
from campaigns.api.answers import Window
from campaigns.api.latest import LatestViews
from campaigns.api.noted import NotedReads
from campaigns.api.secret_serializers import EnrollSecretSerializer, ShownEnrollSecretSerializer
from campaigns.api.serializers import (
    HostSerializer,
    LabelSerializer,
    LearnSerializer,
    MembersSerializer,
    QuerySerializer,
)
from campaigns.api.server_serializers import TABLES, LearningSerializer, MembersCountedSerializer
from campaigns.models import Campaign, Query, Result
from campaigns.people import scopes
from campaigns.people.roles import LOOK
from campaigns.recurring import keeping
from campaigns.states import ANSWER_STATES
from fleet import confirming
from fleet.api.asking import ModelPermissions, refuse_body
from fleet.api.described import refused
from fleet.api.parameters import PAGING, SINCE, WHOLE, WINDOW, Parameters, choice_in, since_in, text_in
from fleet.api.views import ApiView
from fleet.audit import note
from fleet.errors import ConflictError, UnavailableError

IDS = "[0-9]{1,18}"
SEARCH = OpenApiParameter("search", str, description="part of the name or the description")
RECEIVED = OpenApiParameter(
    "up_to", WHOLE, description="microseconds since 1970: what was received later does not count; `next` holds it"
)
OF_HOST = (
    OpenApiParameter("state", str, enum=[state.value for state in ANSWER_STATES], description="what became of it"),
    OpenApiParameter("since", SINCE, description="received since: RFC 3339 with a zone, or seconds before now"),
)


def hosts_with_presence(user: User) -> QuerySet[Host]:
    """Give the hosts this person sees with what their lists show, in three queries whatever their number."""
    online = Presence.objects.online(timezone.now()).filter(host_id=OuterRef("pk"))
    hosts = scopes.hosts_for(user).annotate(online=Exists(online))
    return cast(QuerySet[Host], hosts.select_related("presence").prefetch_related("labels").order_by("id"))


class HostViewSet(NotedReads, ReadOnlyModelViewSet[Host]):
    """Enrolled machines."""

    reads_of = "host"

    queryset = Host.objects.all()
    serializer_class = HostSerializer
    lookup_value_regex = IDS
    query_parameters: ClassVar[Parameters] = {
        "list": (*PAGING, *host_filters.PARAMETERS),
        "results": (*WINDOW, RECEIVED, *OF_HOST),
    }

    def get_queryset(self) -> QuerySet[Host]:
        """Leave revoked hosts out."""
        return hosts_with_presence(cast(User, self.request.user)).filter(revoked_at=None)

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list to hosts that are looked for."""
        return host_filters.filtered(queryset, self.request) if self.action == "list" else queryset

    @extend_schema(responses=PAGE_OF_HOST_RESULTS)
    @action(detail=True)
    def results(self, request: Request, pk: str) -> HttpResponse:
        """Give what this host answered, newest first; a page holds as many as fit 8 MB, at least one."""
        user = cast(User, request.user)
        mine = Result.objects.filter(host_id=pk, campaign__in=Campaign.objects.visible_to(user))
        answered = scopes.within(mine, user)
        if not user.has_perm(LOOK) and not answered.exists():
            self.permission_denied(request, f"looking at results of campaigns that you did not launch needs {LOOK}")
        self.get_object()
        if state := choice_in(request, "state", [state.value for state in ANSWER_STATES]):
            answered = answered.filter(state=state)
        if since := since_in(request, "since", timezone.now()):
            answered = answered.filter(received_at__gte=since)
        window = Window(request)
        window.stop_at_moment(answered.aggregate(newest=Max("received_at"))["newest"])
        answered = answered.filter(received_at__lte=window.last_moment)
        count = answered.count()
        items = results_of_host(answered, window.limit, window.offset, scopes.limits_of(user))
        body = {"count": count, **window.body(items, more=count > window.offset + len(items) > window.offset)}
        return HttpResponse(msgspec.json.encode(body), content_type="application/json")


MEMBER = OpenApiParameter(
    "host",
    str,
    many=True,
    required=True,
    description="who is taken out: digits are an id, all else is a name; may be repeated. A body like that of POST"
    " says it as well",
)


class LabelPermissions(ModelPermissions):
    """Django's permissions of labels; putting hosts in and taking them out both change the label."""

    def has_permission(self, request: Request, view: Any) -> bool:
        """Ask for the permission to change labels where hosts are put in or taken out."""
        if view.action in ("add_hosts", "remove_hosts"):
            return bool(request.user and request.user.has_perms(["agents.view_label", "agents.change_label"]))
        return super().has_permission(request, view)


@extend_schema_view(
    partial_update=extend_schema(responses={200: LabelSerializer, **refused(409)}),
    destroy=extend_schema(responses={204: None, **refused(409)}),
)
class LabelViewSet(ApiView, ModelViewSet[Label]):
    """Groups of hosts: by hand, by SQL that hosts answer, or built in."""

    queryset = Label.objects.prefetch_related("queries").order_by("name")
    serializer_class = LabelSerializer
    lookup_value_regex = IDS
    permission_classes = [LabelPermissions]
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]
    query_parameters: ClassVar[Parameters] = {
        "list": (*PAGING, SEARCH),
        "hosts": (*PAGING, *host_filters.PARAMETERS),
        "remove_hosts": (MEMBER,),
    }

    def get_queryset(self) -> QuerySet[Label]:
        """Count the members that whoever asks sees."""
        return super().get_queryset().annotate(hosts_count=labels.count_for(cast(User, self.request.user)))

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list to labels that are looked for."""
        search = text_in(self.request, "search") if self.action == "list" else ""
        return queryset.filter(Q(name__icontains=search) | Q(description__icontains=search)) if search else queryset

    def perform_create(self, serializer: BaseSerializer[Label]) -> None:
        """Make it, and count who is in it from the start."""
        serializer.instance = self.get_queryset().get(pk=serializer.save().pk)

    def perform_update(self, serializer: BaseSerializer[Label]) -> None:
        """Change it. Raise ConflictError for a built-in one: others know it by its name."""
        label = cast(Label, serializer.instance)
        labels.check_may_change(cast(User, self.request.user), label)
        if label.built_in:
            raise ConflictError(f"label {label.name!r} is built in and stays as it is")
        labels.check_may_call(cast(User, self.request.user), label, serializer.validated_data.get("name", label.name))
        serializer.save()

    def perform_destroy(self, instance: Label) -> None:
        """Delete it, its SQL first."""
        refuse_body(self.request)
        labels.check_may_delete(cast(User, self.request.user), instance)
        labels.forget(instance, cast(User, self.request.user).get_username())

    @extend_schema(responses=HostSerializer(many=True))
    @action(detail=True)
    def hosts(self, request: Request, pk: str) -> Response:
        """Give the members, narrowed as the list of hosts is."""
        if not request.user.has_perm("agents.view_host"):
            self.permission_denied(request, "looking at the hosts of a label needs agents.view_host")
        members = hosts_with_presence(cast(User, request.user)).filter(labels=self.get_object())
        page: Any = self.paginate_queryset(cast(Any, host_filters.filtered(cast(HostQuerySet, members), request)))
        return self.get_paginated_response(HostSerializer(page, many=True).data)

    @extend_schema(request=MembersSerializer, responses={200: MembersCountedSerializer, **refused(409)})
    @hosts.mapping.post
    def add_hosts(self, request: Request, pk: str) -> Response:
        """Put hosts in: `{"hosts": [ids or names]}`."""
        label, found = self._members(request, request.data)
        labels.add(label, Host.objects.filter(pk__in=found.ids))
        return self._counted(label, found)

    @extend_schema(request=MembersSerializer, responses={200: MembersCountedSerializer, **refused(409)})
    @hosts.mapping.delete
    def remove_hosts(self, request: Request, pk: str) -> Response:
        """Take hosts out: `host`, or the body `{"hosts": [ids or names]}`, which no document can tell of a DELETE."""
        given = request.query_params.getlist("host")
        if given:
            refuse_body(request)
        wanted = (
            {"hosts": [int(host) if re.fullmatch(IDS, host) else host for host in given]} if given else request.data
        )
        label, found = self._members(request, wanted)
        labels.remove(label, found.ids)
        return self._counted(label, found)

    def _counted(self, label: Label, found: host_names.Found) -> Response:
        warnings = {"warnings": found.warnings} if found.warnings else {}
        members = scopes.hosts_for(cast(User, self.request.user)).filter(labels=label)
        return Response({"hosts_count": members.count(), **warnings})

    def _members(self, request: Request, wanted: Any) -> tuple[Label, host_names.Found]:
        """Give the label and the hosts that are wanted. Raise BadInputError naming hosts that there are not."""
        label, user = self.get_object(), cast(User, request.user)
        labels.check_may_change(user, label)
        labels.check_by_hand(label)
        body = MembersSerializer(data=wanted)
        body.is_valid(raise_exception=True)
        given = body.validated_data["hosts"]
        ids = [host for host in given if isinstance(host, int)]
        names = [host for host in given if isinstance(host, str)]
        found = host_names.look_up(ids, names, scopes.hosts_for(user), among_revoked=True)
        host_names.check_known(found, "hosts")
        return label, found


class SchemaView(ApiView):
    """The tables of osquery, as hosts told of them."""

    permission_classes = [IsAuthenticated]
    query_parameters: ClassVar[Parameters] = {
        "get": (
            OpenApiParameter("platform", str, enum=Platform.values, description="one that has them"),
            OpenApiParameter("search", str, description="part of the name"),
        ),
    }

    @extend_schema(responses=TABLES)
    def get(self, request: Request) -> Response:
        """Give tables by name, with their columns; `platform` and `search` (part of a name) narrow them.

        Who sees some hosts only sees the tables that one of these has.
        """
        platform = choice_in(request, "platform", Platform.values) or ""
        found = scopes.tables_for(cast(User, request.user), platform, text_in(request, "search"))
        return Response({"count": len(found), "next": None, "previous": None, "results": found})


class LearnView(ApiView):
    """Tables, functions and flags of osquery, learned again by hand."""

    permission_classes = [IsAuthenticated]

    @extend_schema(request=LearnSerializer, responses={202: LearningSerializer})
    def post(self, request: Request) -> Response:
        """Ask all hosts, or those of the body, for their facts, and one of each kind for its tables.

        They answer at their next reads. A host whose tables are others than its kind's is then asked for them as well.
        """
        if not request.user.has_perm("agents.change_tableschema"):
            self.permission_denied(request, "learning tables again needs agents.change_tableschema")
        body = LearnSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        hosts = scopes.hosts_for(cast(User, request.user)).enrolled()
        if (given := body.validated_data.get("hosts")) is not None:
            ids = [host for host in given if isinstance(host, int)]
            found = host_names.look_up(ids, [host for host in given if isinstance(host, str)], hosts)
            host_names.check_known(found, "hosts")
            hosts = hosts.filter(pk__in=found.ids)
        try:
            asked = housekeeping.learn_again(hosts)
        except NoBoardError as error:
            raise UnavailableError("the board is being rebuilt, try again in a moment") from error
        return Response({"asked": asked}, status=status.HTTP_202_ACCEPTED)


@extend_schema_view(destroy=extend_schema(responses={204: None, **refused(409)}))
class QueryViewSet(NotedReads, LatestViews, ModelViewSet[Query]):
    """Saved SQL with a name."""

    reads_of = "query"

    queryset = Query.objects.select_related("created_by").order_by("name")
    serializer_class = QuerySerializer
    lookup_value_regex = IDS
    query_parameters: ClassVar[Parameters] = {
        "list": (*PAGING, OpenApiParameter("search", str, description="part of the name, the SQL or the description")),
    }

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list to queries that are looked for."""
        search = text_in(self.request, "search") if self.action == "list" else ""
        sought = Q(name__icontains=search) | Q(sql__icontains=search) | Q(description__icontains=search)
        return queryset.filter(sought) if search else queryset

    def perform_create(self, serializer: BaseSerializer[Query]) -> None:
        """Note who saved it."""
        serializer.save(created_by=self.request.user)

    def perform_destroy(self, instance: Query) -> None:
        """Delete it, and one's own schedules of it; campaigns that ran it keep its SQL."""
        refuse_body(self.request)
        keeping.drop_query(instance, cast(User, self.request.user))


class EnrollSecretViewSet(
    ApiView, mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.DestroyModelMixin, GenericViewSet[EnrollSecret]
):
    """What hosts offer to enroll. The secret is shown once, at creation; DELETE revokes it."""

    queryset = EnrollSecret.objects.all()
    serializer_class = EnrollSecretSerializer
    query_parameters: ClassVar[Parameters] = {
        "list": (*PAGING, OpenApiParameter("search", str, description="part of the name")),
    }
    lookup_value_regex = IDS

    def filter_queryset(self, queryset: Any) -> Any:
        """Narrow the list to secrets that are looked for."""
        search = text_in(self.request, "search") if self.action == "list" else ""
        return queryset.filter(name__icontains=search) if search else queryset

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Ask a session once more who sits there, also for looking."""
        super().initial(request, *args, **kwargs)
        confirming.require_in_session(request)

    @extend_schema(responses={201: ShownEnrollSecretSerializer})
    def create(self, request: Request) -> Response:
        """Make a secret under a new name, or take one that hosts have from another server."""
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        secret = body.validated_data.pop("secret", None) or secrets.token_urlsafe(24)
        with transaction.atomic():
            offered = EnrollSecret.objects.offer(body.validated_data.pop("name"), secret)
            body.update(offered, body.validated_data)
            note("enroll_secret.shown", subject=f"enroll_secret {offered.pk}", name=offered.name)
        return Response({**self.get_serializer(offered).data, "secret": secret}, status=status.HTTP_201_CREATED)

    def perform_destroy(self, instance: EnrollSecret) -> None:
        """Revoke it: hosts that enrolled with it stay."""
        refuse_body(self.request)
        instance.revoke()
