"""Files of the API: streamed in pieces, also on the event loop."""

from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from itertools import islice
from typing import Any

import msgspec
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import StreamingHttpResponse
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from fleet.api.described import BYTES

LINES_A_CHUNK = 500
PARQUET = "application/vnd.apache.parquet"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
BOM = OpenApiParameter("bom", bool, description="1: begin with a byte order mark, which old spreadsheets need")


def attachment(
    request: Request, content: Iterator[Any], name: str, content_type: str, *, in_pieces: bool = False
) -> StreamingHttpResponse:
    """Send the lines as a file of that name, or pieces that are large enough already.

    Who accepts plain bytes alone is given them as those, whatever they are. The first piece is there before the answer
    begins: what goes wrong until then has a status and a sentence.
    """
    chunks: Any = _Begun(content if in_pieces else _chunks(content))
    if isinstance(request._request, ASGIRequest):
        chunks = _one_by_one(chunks)
    return StreamingHttpResponse(
        chunks,
        content_type=_media_type(request, content_type),
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _media_type(request: Request, own: str) -> str:
    return BYTES if request.headers.get("Accept", "").strip() == BYTES else own


class _Begun(Iterator[Any]):
    """Pieces of which the first one is there; what is open for the others is closed with them."""

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


async def _one_by_one(chunks: Iterator[Any]) -> AsyncIterator[Any]:
    """Fetch each chunk in a thread: Django would read a plain iterator to its end before it sends anything."""

    def next_chunk() -> Any:
        return next(chunks, None)

    while (chunk := await sync_to_async(next_chunk)()) is not None:
        yield chunk
