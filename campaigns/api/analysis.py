"""The API of analysis: SQL over the answers of a campaign, and two runs compared."""

from collections.abc import Iterator
from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from campaigns.analysis import asking, diff
from campaigns.answers import columnar
from campaigns.answers.sight import seen_by
from campaigns.api.answer_serializers import ALL_CHANGES, DIFF, SqlOverCampaignSerializer
from campaigns.api.answers import Window
from campaigns.api.downloads import PARQUET, XLSX, attachment, json_array
from campaigns.models import Campaign
from fleet.api.asking import StrictSerializer
from fleet.api.described import as_bytes, file_of
from fleet.api.parameters import WHOLE, WINDOW, Parameters, flag_in, number_in
from fleet.api.views import ApiView
from fleet.errors import BadInputError

WITH = OpenApiParameter("with", WHOLE, required=True, description="id of the campaign that came before")
IGNORE = OpenApiParameter("ignore", str, many=True, description="a column that is not compared; may be repeated")
GROUPS = OpenApiParameter("groups", bool, description="rows that hosts have in common, instead of hosts")


class SqlSerializer(StrictSerializer):
    """One question over answers."""

    sql = serializers.CharField(trim_whitespace=False, allow_blank=True, help_text="one SELECT of DuckDB's SQL")

    bounds: ClassVar = {"sql": {"maxLength": asking.MOST_SQL_BYTES}}
    example: ClassVar = {"sql": "SELECT port, count(*) AS hosts FROM answers GROUP BY port ORDER BY hosts DESC"}


class SqlOverLatestSerializer(SqlSerializer):
    """One question over the last known answers."""

    example: ClassVar = {"sql": "SELECT port, count(*) AS hosts FROM latest GROUP BY port ORDER BY hosts DESC"}


def sql_in(request: Request) -> str:
    """Give the SQL of a body. Raise ValidationError."""
    body = SqlSerializer(data=request.data)
    body.is_valid(raise_exception=True)
    return str(body.validated_data["sql"])


class AnalysisViews(ApiView, GenericViewSet[Campaign]):
    """What people make of a campaign's answers."""

    query_parameters: ClassVar[Parameters] = {
        "sql": (),
        "diff": (*WINDOW, WITH, IGNORE, GROUPS),
        "diff_csv": (WITH, IGNORE, GROUPS),
        **dict.fromkeys(("diff_ndjson", "diff_json", "diff_parquet", "diff_xlsx"), (WITH, IGNORE, GROUPS)),
    }
    actions_that_read: ClassVar[tuple[str, ...]] = ("sql",)
    actions_for_viewers: ClassVar[tuple[str, ...]] = ("sql",)  # by POST, since SQL may be longer than an address

    @extend_schema(request=SqlSerializer, responses=SqlOverCampaignSerializer)
    @action(detail=True, methods=["post"])
    def sql(self, request: Request, pk: str) -> Response:
        """Run one SELECT of DuckDB's SQL over the answers.

        Tables: `answers`, `targets`, `hosts`, and `campaign_ID` or `answers_of(ID)` of campaigns that one may look at.
        """
        sql, campaign = sql_in(request), self.get_object()
        return Response(asking.ask(campaign, sql, cast(User, request.user)).as_json(campaign.last_seq))

    def _compared(self) -> diff.Diff:
        campaign, request = self.get_object(), self.request
        if "with" not in request.query_params:
            raise BadInputError("with is missing: the number of the campaign that came before", "with")
        number = number_in(request, "with", 0)
        return diff.compared(
            campaign, number, request.query_params.getlist("ignore"), cast(User, request.user), seen_by
        )

    @extend_schema(operation_id="campaigns_diff_retrieve", responses={200: DIFF})
    @action(detail=True)
    def diff(self, request: Request, pk: str) -> Response:
        """Compare with a campaign that came before: one item for each host whose answer differs.

        `change` is `added` (the host answered only here), `removed` (only there) or `changed`; `added` and `removed`
        are the rows that are only here and only there. With `groups` an item is a row that hosts gained or lost, with
        their number, and `hosts_in_both` of them answered both. `suggested_ignore` names columns of numbers and times
        that differ on almost every host, `hosts` counts them by `change`. Hosts that are still being asked here are not
        `removed` yet.
        """
        window, compared = Window(request), self._compared()
        page = compared.page(window.one_more, window.offset, by_groups=flag_in(request, "groups") is True)
        found, more = page.pop("results"), page.pop("truncated")
        return Response({**window.body(found[: window.limit], more=more or len(found) > window.limit), **page})

    def _file(
        self, kind: str, content: Iterator[Any], media_type: str, *, in_pieces: bool = False
    ) -> StreamingHttpResponse:
        return attachment(self.request, content, f"diff-{self.kwargs['pk']}.{kind}", media_type, in_pieces=in_pieces)

    @property
    def _by_groups(self) -> bool:
        return flag_in(self.request, "groups") is True

    @extend_schema(responses={**file_of("text/csv", "a line for each row")})
    def diff_csv(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every row that is only here or only there as a table; `only` says which.

        `truncated` is `true` in each line of a host that sent more rows than were kept: what differs may be cut off.
        """
        return self._file("csv", self._compared().as_csv(by_groups=self._by_groups), "text/csv")

    @extend_schema(responses={**file_of("application/x-ndjson", "a line of JSON for each item")})
    def diff_ndjson(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every item of the comparison as a line of JSON."""
        return self._file("ndjson", self._compared().as_ndjson(by_groups=self._by_groups), "application/x-ndjson")

    @extend_schema(responses={(200, "application/json"): ALL_CHANGES, **as_bytes()})
    def diff_json(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every item of the comparison as one JSON array."""
        items = json_array(self._compared().every_item(by_groups=self._by_groups))
        return self._file("json", items, "application/json")

    @extend_schema(responses=file_of(PARQUET, "a Parquet file"))
    def diff_parquet(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give the table of `diff.csv` as a Parquet file; cells are texts, as hosts sent them."""
        compared, by_groups = self._compared(), self._by_groups
        kinds = compared.kinds(by_groups=by_groups)
        pieces = columnar.parquet(list(kinds), list(kinds.values()), compared.lines(by_groups=by_groups))
        return self._file("parquet", pieces, PARQUET, in_pieces=True)

    @extend_schema(responses=file_of(XLSX, "a spreadsheet"))
    def diff_xlsx(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give the table of `diff.csv` as a spreadsheet, as `export.xlsx` is one."""
        compared, by_groups = self._compared(), self._by_groups
        columnar.check_room(compared.here, compared.there)
        pieces = columnar.book(list(compared.kinds(by_groups=by_groups)), compared.lines(by_groups=by_groups))
        return self._file("xlsx", pieces, XLSX, in_pieces=True)
