"""Answers that stay on the page: a script's request hears a sentence, a plain form is sent to a page that says it."""

import json

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django_htmx.http import HttpResponseClientRedirect

from fleet.errors import FleetError
from fleet.text import visible


def is_script(request: HttpRequest) -> bool:
    """Say whether the page's script asks, and so stays where it is."""
    return bool(request.headers.get("HX-Request"))


def refused(request: HttpRequest, error: FleetError, to: str, *args: object) -> HttpResponse:
    """Say why it was not done."""
    if is_script(request):
        return HttpResponse(visible(error.sentence), status=error.status, content_type="text/plain; charset=utf-8")
    messages.error(request, error.sentence)
    return redirect(to, *args)


def said(request: HttpRequest, sentence: str, to: str, *args: object) -> HttpResponse:
    """Say that it was done."""
    if is_script(request):
        return with_word(HttpResponse(status=204), sentence)
    messages.success(request, sentence)
    return redirect(to, *args)


def with_word(response: HttpResponse, sentence: str) -> HttpResponse:
    """Let the page's script say the sentence beside what was pressed."""
    response["HX-Trigger"] = json.dumps({"said": {"sentence": visible(sentence)}})
    return response


def sent_to(request: HttpRequest, to: str, *args: object) -> HttpResponse:
    """Go to another page."""
    return HttpResponseClientRedirect(resolve_url(to, *args)) if is_script(request) else redirect(to, *args)
