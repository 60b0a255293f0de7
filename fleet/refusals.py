"""How the API refuses: one sentence for people, and for each wrong member of the body its own."""

from http import HTTPStatus
from typing import Any

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views import defaults
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from fleet.errors import FleetError, TooManyError


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer every refusal as `{"error": "sentence", "fields": {…}?}` with the right status."""
    if isinstance(error, FleetError):
        body: dict[str, Any] = {"error": error.sentence}
        if error.field:
            body["fields"] = {error.field: [error.sentence]}
        return Response(body, status=error.status, headers=_headers(error))
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        fields = _sentences(error.detail)
        response.data = {"error": _first(fields), "fields": fields}
    else:
        response.data = {"error": str(getattr(error, "detail", error)) or _nameless(response.status_code)}
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer what Django itself refuses, such as a body that is too large."""
    if not _is_of_api(request):
        return defaults.bad_request(request, exception)
    told = str(exception) if isinstance(exception, BadRequest) else ""
    return _answer(400, told or "the server refuses this request: a header, or its size, is not what it may be")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer an address that nothing has."""
    if not _is_of_api(request):
        return defaults.page_not_found(request, exception)
    return _answer(404, f"nothing is at {request.path!r}")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer what went wrong here, without a word of what: the log has it."""
    if not _is_of_api(request):
        return defaults.server_error(request)
    return _answer(500, "the server failed to answer this; its log says why")


def _is_of_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _nameless(status: int) -> str:
    return f"the server answers {HTTPStatus(status).phrase.lower()} and says no more"


def _answer(status: int, sentence: str) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)


def _headers(error: FleetError) -> dict[str, str]:
    wait = error.wait if isinstance(error, TooManyError) else 0
    return {"Retry-After": str(wait)} if wait else {}


def _sentences(detail: Any) -> dict[str, list[str]]:
    """Flatten DRF's nested details to a list of sentences for each member, dotted paths for nested ones."""
    if not isinstance(detail, dict):
        return {"": [str(item) for item in (detail if isinstance(detail, list) else [detail])]}
    flat: dict[str, list[str]] = {}
    for name, nested in detail.items():
        for path, sentences in _sentences(nested).items():
            flat[".".join(filter(None, (str(name), path)))] = sentences
    return flat


def _first(fields: dict[str, list[str]]) -> str:
    name, sentences = next(iter(fields.items()))
    sentence = sentences[0] if sentences else "invalid"
    return sentence if not name or name.split(".")[-1] in sentence else f"{name}: {sentence}"
