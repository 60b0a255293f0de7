"""The view that every view of the API is: what is refused before anything is parsed."""

from typing import Any, ClassVar

from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from fleet.api.asking import refuse_more_than_reading
from fleet.api.parameters import Parameters, declared_by, refuse_unknown
from fleet.confirming import NotConfirmedError
from fleet.errors import TooLargeError

MOST_BODY_BYTES = 2**20


class ApiView(APIView):
    """Every view of the API: it refuses large bodies unread, and query parameters that it does not declare."""

    query_parameters: ClassVar[Parameters] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Look at what all requests have in common. Raise what refuses it."""
        _refuse_large_body(request)
        super().initial(request, *args, **kwargs)
        if not self._takes((request.method or "").lower()):
            return  # for `dispatch` to say so: which parameters there are hangs on the method
        refuse_unknown(request, declared_by(self, request.method or ""))

    def _takes(self, method: str) -> bool:
        return method in self.http_method_names and hasattr(self, method)

    def check_permissions(self, request: Request) -> None:
        """Look at what the token is for, then at what its owner may. Raise PermissionDenied, or what else refuses."""
        refuse_more_than_reading(request)
        super().check_permissions(request)

    def handle_exception(self, exc: Exception) -> Response:
        """Say it in JSON, in whatever form the view answers otherwise; browsers are sent to show who sits there."""
        if isinstance(exc, NotConfirmedError) and "text/html" in self.request.headers.get("Accept", ""):
            raise exc
        response = super().handle_exception(exc)
        self.request.accepted_renderer, self.request.accepted_media_type = JSONRenderer(), JSONRenderer.media_type
        return response


def _refuse_large_body(request: Request) -> None:
    """Raise TooLargeError before anything is parsed. A body sent in chunks tells its length by being read."""
    sent = request.META.get("CONTENT_LENGTH") or ""
    if not sent and "HTTP_TRANSFER_ENCODING" in request.META:
        body = request._request.read(MOST_BODY_BYTES + 1)
        request._request._body = body  # as Django keeps what was read; REST framework reads nothing without a length
        request.META["CONTENT_LENGTH"] = sent = str(len(body))
    if sent.isdecimal() and int(sent[:18]) > MOST_BODY_BYTES:
        raise TooLargeError(f"the body has more than {MOST_BODY_BYTES} bytes (1 MiB), which is the most that is read")
