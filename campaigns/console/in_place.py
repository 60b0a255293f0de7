"""Answers that stay on the page: a script's request hears a sentence, a plain form is sent to a page that says it."""

import json
from collections.abc import Callable
from functools import wraps

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django_htmx.http import HttpResponseClientRedirect

from fleet.coming_back import page_of
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


# --- without scripts -------------------------------------------------------------------------------------------

NOT_SENT_AGAIN = ("asks", "csrfmiddlewaretoken")


def ask_first(request: HttpRequest, question: str) -> HttpResponse:
    """Ask, on a page that sends the form once more: `question|explanation|word of the button`, as dialogs have it."""
    asked, *more = question.rsplit("|", 2)
    explanation, button = more if len(more) == 2 else ("", "Yes")
    sent = [(name, value) for name, values in request.POST.lists() if name not in NOT_SENT_AGAIN for value in values]
    said = {"question": asked, "explanation": explanation, "button": button, "sent": sent, "back": page_of(request)}
    return render(request, "campaigns/ask_first.html", said)


def asks_first(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Let a view answer a form that says what it `asks` with that question: scripts leave it out after a yes."""

    @wraps(view)
    def asked(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        question = request.POST.get("asks", "")
        return ask_first(request, question) if question and not is_script(request) else view(request, *args, **kwargs)

    return asked
