"""Files of the API: streamed in pieces, to who may have them for as long as he may."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from campaigns.api.wait_for_end import look_again
from campaigns.people import scopes
from fleet.api.described import BYTES
from fleet.errors import ForbiddenError

LINES_A_CHUNK = 500
RIGHTS_SECONDS = 5.0  # as of sockets: so that what a right withdrawn ends has ended within ten
PARQUET = "application/vnd.apache.parquet"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
BOM = OpenApiParameter("bom", bool, description="1: begin with a byte order mark, which old spreadsheets need")


def attachment(
    request: Request, content: Iterator[Any], name: str, content_type: str, *, in_pieces: bool = False
) -> StreamingHttpResponse:
    """Send the lines as a file of that name, or pieces that are large enough already.

    Who accepts plain bytes alone is given them as those, whatever they are. The first piece is there before the answer
    begins: what goes wrong until then has a status and a sentence. HEAD says whether it would be given, and makes none.
    """
    return streamed(
        request,
        iter(()) if request.method == "HEAD" else Begun(content if in_pieces else _chunks(content)),
        content_type=_media_type(request, content_type),
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def streamed(
    request: Request, pieces: Iterator[Any], also: Callable[[], Any] | None = None, **answer: Any
) -> StreamingHttpResponse:
    """Send pieces as they are taken, while who takes them may have them.

    That is looked at again every RIGHTS_SECONDS, by the view's permissions and by `also`, which raises. What ends so
    breaks off: no file looks whole.
    """
    return StreamingHttpResponse(_WhileAllowed(request, pieces, also), **answer)


class _WhileAllowed(Iterator[Any]):
    """Pieces, as long as the person of the request is who he was and may what he might."""

    def __init__(self, request: Request, pieces: Iterator[Any], also: Callable[[], Any] | None) -> None:
        self._request, self._pieces, self._also = request, pieces, also
        self._limits = scopes.limits_of(request.user)
        self._due = time.monotonic() + RIGHTS_SECONDS

    def __next__(self) -> Any:
        if time.monotonic() >= self._due:
            self._check()
            self._due = time.monotonic() + RIGHTS_SECONDS
        return next(self._pieces)

    def _check(self) -> None:
        """Raise NotAuthenticated, PermissionDenied or FleetError when he may no more."""
        look_again(self._request)
        (self._request.parser_context or {})["view"].check_permissions(self._request)
        if scopes.limits_of(self._request.user) != self._limits:
            raise ForbiddenError("which hosts you may see has changed: ask for the file again")
        if self._also is not None:
            self._also()

    def close(self) -> None:
        """Close what is open, as the response does at its end."""
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def _media_type(request: Request, own: str) -> str:
    return BYTES if request.headers.get("Accept", "").strip() == BYTES else own


class Begun(Iterator[Any]):
    """Pieces of which the first one is made now, so that what goes wrong until then is raised here.

    What is open for the others is closed with them.
    """

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._first = list(islice(pieces, 1))
        self._rest = pieces

    def __next__(self) -> Any:
        return self._first.pop() if self._first else next(self._rest)

    def close(self) -> None:
        """Close what is open, as the response does at its end."""
        if isinstance(self._rest, Generator):
            self._rest.close()


def json_array(items: Iterable[Any]) -> Iterator[bytes]:
    """Write items as one JSON array, piece by piece."""
    between = b"["
    for item in items:
        yield between + msgspec.json.encode(item)
        between = b",\n"
    yield b"]\n" if between != b"[" else b"[]\n"


def _chunks(content: Iterator[Any]) -> Iterator[Any]:
    """Join lines, so that a large file is not sent line by line."""
    while lines := list(islice(content, LINES_A_CHUNK)):
        yield type(lines[0])().join(lines)
