"""How the server refuses: the API in one sentence, and for each wrong member of the body its own; people in pages.

A page says what is the matter and what to do next. That of a failure here needs no database and no session.
"""

import logging
import sys
from http import HTTPStatus
from typing import Any, NamedTuple

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.template import loader
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.views import exception_handler

from fleet import metrics
from fleet.coming_back import page_of
from fleet.errors import FleetError, UnavailableError, readable
from fleet.outages import is_in_the_way, is_outage
from fleet.text import visible

logger = logging.getLogger(__name__)
OF_REDIS = ("redis.", "kombu.", "agents.board.")  # whose errors say that Redis, or what is written there, is wanting
FAILED = "the server failed to answer this; its log says why"


class Outage(NamedTuple):
    """A server that this one needs and cannot use now, in words; and what that means for hosts."""

    name: str
    does: str
    meanwhile: str


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer every refusal as `{"error": "sentence", "fields": {…}?}` with the right status."""
    if is_in_the_way(error) or is_outage(error):
        error = _unavailable(error)
    if isinstance(error, FleetError):
        sentence = f"{error.sentence}{error.for_programs}"
        body: dict[str, Any] = {"error": sentence}
        if error.field:
            body["fields"] = {error.field: [sentence]}
        return Response(body, status=error.status, headers=_headers(error))
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        fields = _sentences(error.detail)
        response.data = {"error": _first(fields), "fields": fields}
    elif isinstance(error, Http404):
        response.data = {"error": _nothing(context.get("request"))}
    else:
        response.data = {"error": readable(str(getattr(error, "detail", error)))}
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer what Django itself refuses, such as a body that is too large."""
    told = str(exception) if isinstance(exception, BadRequest) else ""
    sentence = told or "the server refuses this request: a header, or its size, is not what it may be"
    return _answer(400, sentence) if _is_of_api(request) else _page(request, 400, sentence)


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer who may not do this."""
    told = str(exception) if isinstance(exception, PermissionDenied) else ""
    sentence = told or "you lack the permission to do this"
    return _answer(403, sentence) if _is_of_api(request) else _page(request, 403, sentence)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponseBase:
    """Answer a form that does not bear this session's token: it was open too long, or is another site's."""
    sentence = "the form does not belong to your session: you logged in or out since it was opened, or cookies are off"
    if _is_of_api(request):
        return _answer(403, sentence)
    if is_of_script(request):
        return in_a_sentence(f"{sentence}. Load the page again: what you typed is kept", 403)
    return _page(request, 403, sentence, kind="stale", to=page_of(request), words="Back to the form")


def in_a_page(request: HttpRequest, error: FleetError) -> HttpResponse:
    """Answer what a page was asked for and cannot give: why, and when it may be asked for again."""
    page = _page(request, error.status, error.sentence)
    for name, value in _headers(error).items():
        page.headers[name] = value
    return page


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Answer an address that nothing has."""
    sentence = f"nothing is at {request.path!r}"
    return _answer(404, sentence) if _is_of_api(request) else _page(request, 404, sentence)


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Answer what went wrong here, without a word of what: the log has it. Of a server that is away it is said."""
    error = sys.exc_info()[1]
    outage = _outage(error) if error is not None and (is_in_the_way(error) or is_outage(error)) else None
    if _is_of_api(request):
        sentence = f"{outage.name} {outage.does}: try again in a moment" if outage else FAILED
        response: HttpResponseBase = _answer(503 if outage else 500, sentence)
    else:
        response = failed_page(request, 503 if outage else 500, outage=outage)
    if outage:
        response.headers["Retry-After"] = UnavailableError.wait
    return response


def failed_page(request: HttpRequest, status: int, **more: Any) -> HttpResponse:
    """Give the page that needs neither database nor session; to a page's script a sentence."""
    outage: Outage | None = more.get("outage")
    if is_of_script(request):
        return in_a_sentence(f"{outage.name} {outage.does}: try again in a moment" if outage else FAILED, status)
    context = {"request": request, "at": timezone.now(), **more}  # no processors: they might ask what has failed
    return HttpResponse(loader.render_to_string("campaigns/failed.html", context), status=status)


def explained(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Give a person who looked at an address for forms more than an empty page; other answers stay as they are."""
    if response.status_code != HTTPStatus.METHOD_NOT_ALLOWED or _is_of_api(request):
        return response
    page = _page(request, 405, "this address takes what a form sends, and shows nothing by itself")
    page.headers["Allow"] = response.headers["Allow"]
    return page


def _page(request: HttpRequest, status: int, sentence: str, kind: str = "", **more: str) -> HttpResponse:
    """Give the page that says it; to a page's script, which puts it beside what was pressed, the sentence alone."""
    if is_of_script(request):
        return in_a_sentence(sentence, status)
    context = {"sentence": sentence, "kind": kind or str(status), **more}
    return render(request, "campaigns/refused.html", context, status=status)


def is_of_script(request: HttpRequest) -> bool:
    """Say whether a part of a page was asked for, and the page stays where it is."""
    return "HX-Request" in request.headers


def in_a_sentence(sentence: str, status: int) -> HttpResponse:
    """Give what a page's script says in its own place."""
    return HttpResponse(visible(sentence), status=status, content_type="text/plain; charset=utf-8")


def _is_of_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _answer(status: int, sentence: str) -> JsonResponse:
    return JsonResponse({"error": sentence}, status=status)


def _unavailable(error: Exception) -> UnavailableError:
    """Say that a server this one needs does not answer; the log says how it put it."""
    metrics.note_error(error)
    logger.warning("request not answered reason=%s", str(error).strip(), exc_info=error)
    outage = _outage(error)
    return UnavailableError(f"{outage.name} {outage.does}: try again in a moment")


def _outage(error: BaseException) -> Outage:
    if is_in_the_way(error):
        return Outage("others", "hold what this needs, and did not let go in time", "What hosts answer is kept.")
    if type(error).__module__.startswith(OF_REDIS):
        return Outage("Redis", "does not answer this now", "Hosts keep their answers, and send them once it does.")
    return Outage("the database", "does not answer this now", "What hosts answer meanwhile is kept, and shown then.")


def _headers(error: FleetError) -> dict[str, str]:
    wait = getattr(error, "wait", 0)
    return {"Retry-After": str(wait)} if wait else {}


def _sentences(detail: Any) -> dict[str, list[str]]:
    """Flatten DRF's nested details to a list of sentences for each member, dotted paths for nested ones."""
    if not isinstance(detail, dict):
        return {"": [readable(str(item)) for item in (detail if isinstance(detail, list) else [detail])]}
    flat: dict[str, list[str]] = {}
    for name, nested in detail.items():
        for path, sentences in _sentences(nested).items():
            flat[".".join(filter(None, (readable(str(name)), path)))] = sentences
    return flat


def _nothing(request: Any) -> str:
    """Say that what was asked for is not there; tools ask without a request."""
    where = f"nothing is at {request.path!r}" if request is not None else "there is nothing of this id"
    return f"{where}, or nothing that you may look at"


def _first(fields: dict[str, list[str]]) -> str:
    name, sentences = next(iter(fields.items()))
    sentence = sentences[0] if sentences else "invalid"
    return sentence if not name or name.split(".")[-1] in sentence else f"{name}: {sentence}"
