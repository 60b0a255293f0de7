"""The API of the audit: lines that were ever written, found again and taken away."""

from datetime import timedelta
from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.http import StreamingHttpResponse
from django.utils import timezone
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from campaigns.api.downloads import attachment
from campaigns.api.server_serializers import AUDIT
from campaigns.people import scopes
from campaigns.people.roles import SEE_AUDIT
from fleet.api.described import file_of
from fleet.api.parameters import LIMIT, SINCE, WHOLE, Parameters, number_in, since_in, text_in
from fleet.api.views import ApiView
from fleet.audit import note, note_seldom
from fleet.audit.search import Search, as_ndjson, line_of
from fleet.errors import BadInputError

FILTERS = (
    OpenApiParameter("who", str, description="the whole name"),
    OpenApiParameter("action", str, description="`campaign.stopped`, or `campaign` for all of its kind"),
    OpenApiParameter("subject", str, description="the whole subject, as `campaign 12`"),
    OpenApiParameter("text", str, description="part of the subject, the name, the address, the action or the details"),
    OpenApiParameter("since", SINCE, description="RFC 3339 with a zone, or seconds before now"),
    OpenApiParameter("until", SINCE, description="RFC 3339 with a zone, or seconds before now"),
)
PAGE_LINES, MOST_LINES = 100, 1000
NOTED_EVERY = timedelta(minutes=1)


def search_in(request: Request) -> Search:
    """Read what is looked for. Raise BadInputError."""
    now = timezone.now()
    words = {name: text_in(request, name) for name in ("who", "action", "subject", "text")}
    return Search(**words, since=since_in(request, "since", now), until=since_in(request, "until", now))


class AuditLines(ApiView):
    """What shows lines of the audit, to those who may see it all."""

    permission_classes = [IsAuthenticated]

    def check_permissions(self, request: Request) -> None:
        """Let those on who may look at the audit and see every host."""
        super().check_permissions(request)
        if not cast(User, request.user).has_perm(SEE_AUDIT):
            self.permission_denied(request, f"looking at the audit needs {SEE_AUDIT}")
        if scopes.is_limited(cast(User, request.user)):
            self.permission_denied(request, "the audit tells of every host, and you may see some of them")


class AuditView(AuditLines):
    """Lines of the audit, newest first; with `after` in the order in which they were written."""

    before = OpenApiParameter("before", WHOLE, description="number of a line: those before it, newest first")
    after = OpenApiParameter(
        "after", WHOLE, description="number of a line: those after it, oldest first: to follow the audit"
    )
    query_parameters: ClassVar[Parameters] = {"get": (*FILTERS, before, after, LIMIT)}

    @extend_schema(responses=AUDIT)
    def get(self, request: Request) -> Response:
        """Give lines. `next` is the following page; null: nothing more, or with `after`: nothing more yet."""
        links, limit = search_in(request).links(), number_in(request, "limit", PAGE_LINES, MOST_LINES)
        asked = request.query_params
        if "after" in asked and "before" in asked:
            raise BadInputError("before and after are both given, allowed is one of them", "after")
        if "after" in asked:
            links = links.filter(number__gt=number_in(request, "after", 0)).order_by("number")
        elif "before" in asked:
            links = links.filter(number__lt=number_in(request, "before", 0))
        found = list(links[: limit + 1])
        note_seldom("audit.read", every=NOTED_EVERY, request=request, subject="audit")
        name, page = "after" if "after" in asked else "before", found[:limit]
        address = remove_query_param(request.build_absolute_uri(), name)
        following = replace_query_param(address, name, page[-1].number) if len(found) > limit else None
        return Response({"next": following, "previous": None, "results": [line_of(link) for link in page]})


class AuditFile(AuditLines):
    """Lines of the audit as a file."""

    query_parameters: ClassVar[Parameters] = {"get": FILTERS}

    @extend_schema(tags=["audit"], responses=file_of("application/x-ndjson", "lines of the audit, each as JSON"))
    def get(self, request: Request) -> StreamingHttpResponse:
        """Give every line that is looked for, oldest first, as a line of JSON with all that its digest is made of."""
        search = search_in(request)
        asked: dict[str, Any] = {name: list(values) for name, values in request.query_params.lists()}
        if request.method != "HEAD":
            note("audit.exported", request=request, subject="audit", asked=asked)
        return attachment(request, as_ndjson(search.every_line()), "audit.ndjson", "application/x-ndjson")
