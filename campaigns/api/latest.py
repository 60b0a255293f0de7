"""The API of a saved query's answers over all its runs: the last known ones, and the analyses kept with it."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from campaigns.analysis import asking
from campaigns.answers import latest
from campaigns.answers.models import QueryView
from campaigns.api.analysis import SqlOverLatestSerializer, sql_in
from campaigns.api.answer_serializers import PAGE_OF_LATEST, SqlAnswerSerializer
from campaigns.api.answers import Window
from campaigns.models import Query
from fleet.api.asking import StrictSerializer
from fleet.api.parameters import WINDOW, Parameters
from fleet.api.views import ApiView
from fleet.errors import BadInputError, ForbiddenError
from fleet.text import is_text

SEE, CHANGE = "campaigns.view_query", "campaigns.change_query"


class ViewSerializer(StrictSerializer):
    """An analysis that every run of a query shows."""

    id = serializers.IntegerField(read_only=True, help_text="its number")
    name = serializers.CharField(max_length=100, help_text="its name")
    sql = serializers.CharField(trim_whitespace=False, help_text="one SELECT of DuckDB's SQL")
    chart = serializers.ChoiceField(
        choices=QueryView.Chart.choices,
        required=False,
        allow_blank=True,
        default="",
        help_text='how it is drawn; "" = as a table',
    )

    bounds: ClassVar = {"sql": {"maxLength": asking.MOST_SQL_BYTES}}
    example: ClassVar = {
        "id": 2,
        "name": "by port",
        "sql": "SELECT port, count(*) FROM answers GROUP BY 1",
        "chart": "",
    }


class LatestViews(ApiView, GenericViewSet[Query]):
    """What is known by a saved query."""

    query_parameters: ClassVar[Parameters] = {
        "latest": (
            *WINDOW,
            OpenApiParameter("search", str, description="part of a value or a hostname"),
            OpenApiParameter(
                "where", str, many=True, description="COLUMN:VALUE that a row of the answer has; one row all of several"
            ),
            OpenApiParameter(
                "order", str, enum=list(latest.ORDERS), default="host", description="of hosts; - turns it round"
            ),
            OpenApiParameter("by", str, many=True, description="a column; groups of hosts instead of hosts"),
        ),
    }
    actions_that_read: ClassVar[tuple[str, ...]] = ("latest_sql",)

    @extend_schema(operation_id="queries_latest", responses=PAGE_OF_LATEST)
    @action(detail=True)
    def latest(self, request: Request, pk: str) -> Response:
        """Give of each host its newest answer over all runs, with its `age` in seconds and the `campaign` it is of.

        Runs that one may not look at are left out. With `by` items are combinations of values within a row, counted by
        hosts, of the rows that fit `search` and `where`. A cell that a row does not have is an empty one in `where`.
        """
        asked, window = request.query_params, Window(request)
        newest = latest.Latest.of(self.get_object(), cast(User, request.user))
        filters = latest.LatestFilter(
            asked.get("search", ""), tuple(asked.getlist("where")), asked.get("order", "host")
        )
        if asked.getlist("by"):
            return window.page(newest.groups(asked.getlist("by"), filters, window.one_more, window.offset))
        items, more = newest.items(filters, window.limit, window.offset)
        return Response(window.body(items, more=more))

    @extend_schema(request=SqlOverLatestSerializer, responses=SqlAnswerSerializer)
    @action(detail=True, methods=["post"], url_path="latest/sql", permission_classes=[IsAuthenticated])
    def latest_sql(self, request: Request, pk: str) -> Response:
        """Run one SELECT of DuckDB's SQL over the last known answers: the table `latest`."""
        user = cast(User, request.user)
        if not user.has_perm(SEE):
            raise ForbiddenError(f"looking at saved queries needs {SEE}")
        sql, query = sql_in(request), get_object_or_404(Query, pk=pk)
        answer = latest.ask(query, sql, user).as_json(0)
        answer.pop("as_of_seq")
        return Response(answer)

    @extend_schema(methods=["GET"], responses=ViewSerializer(many=True))
    @extend_schema(methods=["POST"], request=ViewSerializer, responses={201: ViewSerializer})
    @action(detail=True, methods=["get", "post"], permission_classes=[IsAuthenticated], pagination_class=None)
    def views(self, request: Request, pk: str) -> Response:
        """Give the analyses that are kept with the query, or keep one.

        Its SQL is tried on the newest run of what the query is now.
        """
        needed = SEE if request.method == "GET" else CHANGE
        if not request.user.has_perm(needed):
            raise ForbiddenError(f"this needs {needed}")
        query = get_object_or_404(Query, pk=pk)
        if request.method == "GET":
            return Response(ViewSerializer(query.views.all(), many=True).data)
        body = ViewSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        return Response(_kept(query, body.validated_data, request.user), status=status.HTTP_201_CREATED)

    @extend_schema(operation_id="queries_views_destroy", responses={204: None})
    @action(detail=True, methods=["delete"], url_path=r"views/(?P<view>\d{1,18})", permission_classes=[IsAuthenticated])
    def view(self, request: Request, pk: str, view: str) -> Response:
        """Forget an analysis."""
        if not request.user.has_perm(CHANGE):
            raise ForbiddenError(f"this needs {CHANGE}")
        get_object_or_404(QueryView, pk=view, query_id=pk).delete()
        return Response(status=status.HTTP_204_NO_CONTENT)


def _kept(query: Query, values: dict[str, Any], by: Any) -> Any:
    latest.check_view(query, values["sql"], by)
    if not is_text(values["name"]):
        raise BadInputError("name holds a NUL or a lone surrogate, which no text has", "name")
    try:
        with transaction.atomic():
            made = query.views.create(**values, created_by=by)
    except IntegrityError as error:
        raise BadInputError(f"name {values['name']!r} is taken by another view of this query", "name") from error
    return ViewSerializer(made).data
