"""The API of what hosts answered, row by row and in groups. Pages have no count: counting costs as much as reading."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import msgspec
from django.http import Http404, HttpResponse, StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param
from rest_framework.viewsets import GenericViewSet

from campaigns.answers import columnar, groups, numbering, rows
from campaigns.answers.exports import every_item, found_rows_as_csv, rows_as_csv, rows_as_ndjson
from campaigns.answers.results import MOST_ITEMS, results_page
from campaigns.api.answer_serializers import (
    ALL_RESULTS,
    ONE_ROW,
    PAGE_OF_GROUPS,
    PAGE_OF_PLACED_HOSTS,
    PAGE_OF_RESULTS,
    PAGE_OF_ROWS,
)
from campaigns.api.downloads import BOM, PARQUET, XLSX, attachment, json_array
from campaigns.api.noted import NotedReads
from campaigns.models import Campaign
from fleet.api.described import as_bytes, file_of
from fleet.api.parameters import LIMIT, NUMBERS, WHOLE, WINDOW, Parameters, flag_in, number_in, text_in

PAGE_ITEMS = 100
AFTER = OpenApiParameter("after", WHOLE, description="seq after which results are wanted")
UP_TO = OpenApiParameter("up_to", WHOLE, description="seq up to which answers count: `next` holds it, while more come")
HOST_PART = OpenApiParameter("search", str, description="part of a hostname")
MOST_CUT = 10_000
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
MOST_MICROSECONDS = (datetime(9999, 1, 1, tzinfo=UTC) - EPOCH) // MICROSECOND
LINE = '{"host": {"id": 7, "hostname": "web-01.example"}, "row": {"port": "22"}, "truncated": false, "late": false}'
HOST_COLUMN = "host is the hostname where no column is called so, host.hostname always"
FILTERS = (
    OpenApiParameter("search", str, description="part of a value or a hostname"),
    OpenApiParameter("where", str, many=True, description=f"COLUMN:VALUE; all of several must hold. {HOST_COLUMN}"),
    OpenApiParameter("contains", str, many=True, description="COLUMN:PART of its value; all of several must hold"),
    OpenApiParameter("host", NUMBERS, description="id of a host; rows of any of several"),
    OpenApiParameter("order", str, description=f"a column or host; - before it turns it round. {HOST_COLUMN}"),
)


class Window:
    """The part of a list that a request asks for, by `limit` and `offset`."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self.limit = number_in(request, "limit", PAGE_ITEMS, MOST_ITEMS)
        self.offset = number_in(request, "offset", 0)
        self.up_to: int | None = None

    def stop_at(self, last_seq: int) -> None:
        """Take no answers after that of the address, else after this one: the pages that follow are of the same."""
        self.up_to = number_in(self._request, "up_to", last_seq)

    def stop_at_moment(self, last: datetime | None) -> None:
        """Take none that came after the moment of the address, else after this one; None = there is none at all."""
        self.up_to = number_in(self._request, "up_to", (last - EPOCH) // MICROSECOND if last is not None else 0)

    @property
    def last_moment(self) -> datetime:
        """Give the moment after which answers do not count."""
        return EPOCH + min(self.up_to or 0, MOST_MICROSECONDS) * MICROSECOND

    @property
    def one_more(self) -> int:
        """How many items to read, so that one sees whether more follow."""
        return self.limit + 1

    def page(self, items: list[Any]) -> Response:
        """Answer with the items, of which there may be one more than the page holds."""
        return Response(self.body(items[: self.limit], more=len(items) > self.limit))

    def body(self, items: list[Any], *, more: bool) -> dict[str, Any]:
        """Give the page's members; the next one begins after these items, which may be fewer than were asked for."""
        return {
            "next": self._at(self.offset + len(items)) if more else None,
            "previous": self._at(max(0, self.offset - self.limit)) if self.offset else None,
            "results": items,
        }

    def _at(self, offset: int) -> str:
        address = replace_query_param(self._request.build_absolute_uri(), "offset", offset)
        return address if self.up_to is None else replace_query_param(address, "up_to", self.up_to)


def _filters_of(request: Request, up_to: int | None = None) -> rows.RowFilter:
    asked = request.query_params
    return rows.RowFilter(
        asked.get("search", ""),
        asked.getlist("where"),
        asked.get("order", ""),
        asked.getlist("contains"),
        up_to,
        rows.host_numbers(asked.getlist("host")),
    )


class AnswerViews(NotedReads, GenericViewSet[Campaign]):
    """What a campaign's hosts answered, of those that whoever asks may see."""

    query_parameters: ClassVar[Parameters] = {
        "rows": (
            *WINDOW,
            UP_TO,
            *FILTERS,
            OpenApiParameter(
                "cut",
                {**WHOLE, "minimum": 1, "maximum": MOST_CUT},
                description="characters after which cells are cut; tells more",
            ),
        ),
        "groups": (
            *WINDOW,
            UP_TO,
            OpenApiParameter(
                "by",
                str,
                many=True,
                description="columns, one with each `by` or with commas between; without it whole answers are compared",
            ),
            OpenApiParameter(
                "order", str, enum=list(groups.GROUP_ORDERS), default="-hosts", description="- turns it round"
            ),
            OpenApiParameter("search", str, description="part of one of the group's values"),
        ),
        "group_hosts": (*WINDOW, HOST_PART),
        "results": (AFTER, LIMIT),
        "export_csv": (
            BOM,
            *FILTERS,
            OpenApiParameter("column", str, many=True, description="a column that is wanted, in this order"),
        ),
    }

    @extend_schema(responses=PAGE_OF_ROWS)
    @action(detail=True)
    def rows(self, request: Request, pk: str) -> Response:
        """Give rows, filtered and sorted: numbers as numbers, then text.

        With `cut` no cell has more characters than that, and each row says also `place` (of its host's answer, from 1
        on), `cut` (the columns whose cells were longer), `late` and `in_doubt`.
        """
        campaign, window = self.get_object(), Window(request)
        if "order" in request.query_params or "up_to" in request.query_params:  # without, they are in order of arrival
            window.stop_at(campaign.last_seq)
        filters = _filters_of(request, window.up_to)
        if "cut" not in request.query_params:
            return window.page(rows.rows(campaign, filters, window.one_more, window.offset))
        cut = number_in(request, "cut", MOST_CUT, MOST_CUT)
        return window.page(rows.cut_rows(campaign, filters, window.one_more, window.offset, cut))

    @extend_schema(operation_id="campaigns_row_retrieve", responses={200: ONE_ROW})
    @action(detail=True, url_path=r"rows/(?P<seq>\d{1,18})/(?P<place>\d{1,9})", url_name="row")
    def row(self, request: Request, pk: str, seq: str, place: str) -> Response:
        """Give one row whole, by the seq and the place that `rows/?cut=` gave."""
        found = rows.one_row(self.get_object(), int(seq), int(place))
        if found is None:
            raise Http404
        return Response(found)

    @extend_schema(responses=PAGE_OF_GROUPS)
    @action(detail=True)
    def groups(self, request: Request, pk: str) -> Response:
        """Give what hosts have in common, counted by hosts."""
        asked, window = request.query_params, Window(request)
        by, order = asked.getlist("by"), asked.get("order", "-hosts")
        campaign = self.get_object()
        window.stop_at(campaign.last_seq)
        # A campaign without answers has no columns yet, and so no groups.
        names = groups.columns_in(campaign, by) if campaign.columns else ()
        search = asked.get("search", "")
        found = groups.groups(campaign, names, order, window.one_more, window.offset, search, window.up_to)
        return window.page([] if any(by) and not names else found)

    @extend_schema(responses=PAGE_OF_PLACED_HOSTS)
    @action(detail=True, url_path="groups/(?P<key>[^/]+)/hosts", url_name="group-hosts")
    def group_hosts(self, request: Request, pk: str, key: str) -> Response:
        """Give the hosts of a group, by the key that `groups/` gave."""
        window, campaign = Window(request), self.get_object()
        members = groups.members(campaign.pk, groups.Key.read(key), campaign.limits)
        if search := text_in(request, "search"):
            members = members.filter(hostname__icontains=search)
        page = members.values_list("seq", "host_id", "hostname")[window.offset : window.offset + window.one_more]
        numbers = numbering.shown(campaign, {seq for seq, *_ in page})
        return window.page(
            [{"seq": numbers[seq], "host": {"id": host_id, "hostname": hostname}} for seq, host_id, hostname in page]
        )

    @extend_schema(responses=PAGE_OF_RESULTS)
    @action(detail=True)
    def results(self, request: Request, pk: str) -> HttpResponse:
        """Give what hosts sent after a seq, in order. `next` null: nothing more yet, ask again with the last seq."""
        campaign = self.get_object()
        after = number_in(request, "after", 0)
        limit = number_in(request, "limit", PAGE_ITEMS, MOST_ITEMS)
        body = results_page(request, campaign, after, limit)
        return HttpResponse(msgspec.json.encode(body), content_type="application/json")

    @extend_schema(responses=file_of("text/csv", "a line for each row", "host,host_id,pid,port,truncated,late"))
    def export_csv(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every row as a table: `host`, `host_id`, the campaign's columns, and last `truncated` and `late`.

        `truncated` is `true` in each row of a host that answered more rows than were kept, `late` in those that came
        after the end. A column of the campaign that bears one of these four names begins with `row.`, as in `row.host`.
        Cells and names of columns that a spreadsheet would run begin with an apostrophe; numbers stay numbers. Filters
        and order are those of `rows/`, `column` chooses columns.
        """
        campaign, bom, chosen = self.get_object(), flag_in(request, "bom") is True, set(request.query_params) - {"bom"}
        columns = request.query_params.getlist("column")
        lines = (
            found_rows_as_csv(campaign, _filters_of(request), columns, bom=bom)
            if chosen
            else rows_as_csv(campaign, bom=bom)
        )
        return attachment(request, lines, f"campaign-{pk}.csv", "text/csv")

    @extend_schema(responses=file_of("application/x-ndjson", "a line of JSON for each row", LINE))
    def export_ndjson(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every row as a line of JSON: `{"host": {"id", "hostname"}, "row": {…}, "truncated", "late"}`.

        `truncated` is true in each row of a host that answered more rows than were kept, `late` in those that came
        after the end.
        """
        lines = rows_as_ndjson(self.get_object())
        return attachment(request, lines, f"campaign-{pk}.ndjson", "application/x-ndjson")

    @extend_schema(responses={(200, "application/json"): ALL_RESULTS, **as_bytes()})
    def export_json(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give everything hosts sent as one JSON array of the items that `results/` gives, `truncated` among them."""
        return attachment(request, json_array(every_item(self.get_object())), f"campaign-{pk}.json", "application/json")

    @extend_schema(responses=file_of(PARQUET, "a Parquet file"))
    def export_parquet(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every row as a Parquet file with the columns of `export.csv`; cells are texts, as hosts sent them."""
        pieces = columnar.rows_as_parquet(self.get_object())
        return attachment(request, pieces, f"campaign-{pk}.parquet", PARQUET, in_pieces=True)

    @extend_schema(responses=file_of(XLSX, "a spreadsheet"))
    def export_xlsx(self, request: Request, pk: int) -> StreamingHttpResponse:
        """Give every row as a spreadsheet with the columns of `export.csv`; more than 1,048,575 go on further sheets.

        Numbers that a spreadsheet holds as they are, are numbers; all else is text, which no spreadsheet runs. Cells
        end after 32,767 characters, which is the most that it takes, and a last sheet says how many were cut. It is
        sent when its last row is written: 400 without room for that.
        """
        pieces = columnar.rows_as_xlsx(self.get_object())
        return attachment(request, pieces, f"campaign-{pk}.xlsx", XLSX, in_pieces=True)
