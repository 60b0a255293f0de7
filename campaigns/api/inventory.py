"""The API of hosts, labels, saved queries, enroll secrets and tokens."""

import secrets
from datetime import timedelta
from typing import Any, cast

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet
from django.http import HttpResponse
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import mixins, status
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet, ModelViewSet, ReadOnlyModelViewSet

from agents.inventory import labels, schemas
from agents.models import EnrollSecret, Host, Label, LabelMembership, Platform, Presence
from campaigns.answers.results import timestamp
from campaigns.api.models import ApiToken
from campaigns.api.serializers import (
    EnrollSecretSerializer,
    HostSerializer,
    LabelSerializer,
    MembersSerializer,
    QuerySerializer,
    TokenSerializer,
)
from campaigns.models import Query, Result
from fleet.api import refuse_body, text_in
from fleet.errors import BadInputError, ConflictError

IDS = "[0-9]{1,18}"


def hosts_with_presence() -> QuerySet[Host]:
    """Give hosts with what their lists show, in three queries whatever their number."""
    online = Presence.objects.online(timezone.now()).filter(host_id=OuterRef("pk"))
    hosts = Host.objects.annotate(online=Exists(online))
    return cast(QuerySet[Host], hosts.select_related("presence").prefetch_related("labels").order_by("id"))


class HostViewSet(ReadOnlyModelViewSet[Host]):
    """Enrolled machines."""

    queryset = Host.objects.all()
    serializer_class = HostSerializer
    filterset_fields = ("platform", "hostname", "uuid", "hardware_serial", "host_identifier")
    lookup_value_regex = IDS

    def get_queryset(self) -> QuerySet[Host]:
        """Leave revoked hosts out."""
        return hosts_with_presence().filter(revoked_at=None)

    @extend_schema(responses=OpenApiTypes.OBJECT)
    @action(detail=True)
    def results(self, request: Request, pk: str) -> HttpResponse | Response:
        """Give what this host answered, newest first."""
        if not request.user.has_perm("campaigns.view_campaign"):
            self.permission_denied(request, "looking at results needs campaigns.view_campaign")
        self.get_object()
        page: Any = self.paginate_queryset(cast(Any, Result.objects.filter(host_id=pk).order_by("-id")))
        return self.get_paginated_response([_result(result) for result in page])


def _result(result: Result) -> dict[str, Any]:
    names = ("seq", "state", "rows", "row_count", "truncated", "late", "error")
    item = {name: getattr(result, name) for name in names}
    return {"campaign": result.campaign_id, **item, "received_at": timestamp(result.received_at)}


class LabelViewSet(ModelViewSet[Label]):
    """Groups of hosts: by hand, by SQL that hosts answer, or built in."""

    queryset = Label.objects.annotate(hosts_count=Count("labelmembership")).prefetch_related("queries").order_by("name")
    serializer_class = LabelSerializer
    lookup_value_regex = IDS
    http_method_names = ["get", "post", "patch", "delete", "head", "options"]

    def perform_update(self, serializer: BaseSerializer[Label]) -> None:
        """Change it. Raise ConflictError for a built-in one: others know it by its name."""
        label = cast(Label, serializer.instance)
        if label.built_in:
            raise ConflictError(f"label {label.name!r} is built in and stays as it is")
        serializer.save()

    def perform_destroy(self, instance: Label) -> None:
        """Delete it, its SQL first."""
        refuse_body(self.request)
        labels.forget(instance)

    @extend_schema(methods=["GET"], responses=HostSerializer(many=True))
    @extend_schema(methods=["POST", "DELETE"], request=MembersSerializer, responses=OpenApiTypes.OBJECT)
    @action(detail=True, methods=["get", "post", "delete"])
    def hosts(self, request: Request, pk: str) -> Response:
        """Give the members; POST puts hosts in, DELETE takes them out: `{"hosts": [ids]}`."""
        label = self.get_object()
        if request.method == "GET":
            page: Any = self.paginate_queryset(cast(Any, hosts_with_presence().filter(labels=label)))
            return self.get_paginated_response(HostSerializer(page, many=True).data)
        labels.check_by_hand(label)
        body = MembersSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        ids = body.validated_data["hosts"]
        known = set(Host.objects.filter(pk__in=ids).values_list("pk", flat=True))
        unknown = [host for host in ids if host not in known]
        if unknown:
            raise BadInputError(f"unknown host: {', '.join(map(str, unknown[:10]))}", "hosts")
        if request.method == "POST":
            labels.add(label, Host.objects.filter(pk__in=known))
        else:
            LabelMembership.objects.filter(label=label, host_id__in=known).delete()
        return Response({"hosts_count": label.hosts.count()})


class SchemaView(APIView):
    """The tables of osquery, as hosts told of them."""

    permission_classes = [IsAuthenticated]

    @extend_schema(
        responses=OpenApiTypes.OBJECT,
        parameters=[OpenApiParameter("platform", str, enum=Platform.values), OpenApiParameter("search", str)],
    )
    def get(self, request: Request) -> Response:
        """Give tables by name, with their columns; `platform` and `search` (part of a name) narrow them."""
        platform = request.query_params.get("platform", "")
        if platform and platform not in Platform.values:
            raise BadInputError(
                f"platform {platform!r} is unknown, allowed are {', '.join(Platform.values)}", "platform"
            )
        found = schemas.tables(platform, text_in(request, "search"))
        return Response({"count": len(found), "next": None, "previous": None, "results": found})


class QueryViewSet(ModelViewSet[Query]):
    """Saved SQL with a name."""

    queryset = Query.objects.select_related("created_by").order_by("name")
    serializer_class = QuerySerializer
    lookup_value_regex = IDS

    def perform_create(self, serializer: BaseSerializer[Query]) -> None:
        """Note who saved it."""
        serializer.save(created_by=self.request.user)

    def perform_destroy(self, instance: Query) -> None:
        """Delete it; campaigns that ran it keep its SQL."""
        refuse_body(self.request)
        instance.delete()


class EnrollSecretViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, mixins.DestroyModelMixin, GenericViewSet[EnrollSecret]
):
    """What hosts offer to enroll. The secret is shown once, at creation; DELETE revokes it."""

    queryset = EnrollSecret.objects.all()
    serializer_class = EnrollSecretSerializer
    lookup_value_regex = IDS

    @extend_schema(responses={201: OpenApiTypes.OBJECT})
    def create(self, request: Request) -> Response:
        """Make a secret under a new name, or take one that hosts have from another server."""
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        secret = body.validated_data.pop("secret", None) or secrets.token_urlsafe(24)
        with transaction.atomic():
            offered = EnrollSecret.objects.offer(body.validated_data.pop("name"), secret)
            body.update(offered, body.validated_data)
        return Response({**self.get_serializer(offered).data, "secret": secret}, status=status.HTTP_201_CREATED)

    def perform_destroy(self, instance: EnrollSecret) -> None:
        """Revoke it: hosts that enrolled with it stay."""
        refuse_body(self.request)
        instance.revoked_at = instance.revoked_at or timezone.now()
        instance.save(update_fields=["revoked_at"])


class TokenViewSet(mixins.ListModelMixin, mixins.DestroyModelMixin, GenericViewSet[ApiToken]):
    """One's own tokens of this API. A token is shown once, at creation; `days` limits its life."""

    queryset = ApiToken.objects.none()
    serializer_class = TokenSerializer
    permission_classes = [IsAuthenticated]
    lookup_value_regex = IDS

    def get_queryset(self) -> QuerySet[ApiToken]:
        """Give one's own."""
        return cast(QuerySet[ApiToken], ApiToken.objects.filter(user=cast(User, self.request.user)))

    def perform_destroy(self, instance: ApiToken) -> None:
        """Take it away, at once."""
        refuse_body(self.request)
        instance.delete()

    @extend_schema(parameters=[OpenApiParameter("limit", int)], responses={201: OpenApiTypes.OBJECT})
    def create(self, request: Request) -> Response:
        """Make a token."""
        body = self.get_serializer(data=request.data)
        body.is_valid(raise_exception=True)
        days = body.validated_data.get("days")
        made, token = ApiToken.objects.create(
            user=request.user,
            expiry=timedelta(days=days) if days else None,
            name=body.validated_data.get("name", ""),
        )
        return Response({**self.get_serializer(made).data, "token": token}, status=status.HTTP_201_CREATED)
