"""The page of the audit: who did what, looked for by what the address says, and taken away as a file."""

from typing import Any

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_GET

from campaigns.console.access import needs, number_of, user_of
from campaigns.console.moments import MomentField, by_its_clock
from campaigns.people import scopes
from campaigns.people.roles import SEE_AUDIT
from fleet.audit import forwarding
from fleet.audit.search import Search, in_json
from fleet.text import is_text

LINES_SHOWN = 50


class AuditForm(forms.Form):
    """What is looked for."""

    text = forms.CharField(required=False, max_length=200)
    who = forms.CharField(required=False, max_length=150)
    action = forms.CharField(required=False, max_length=64)
    subject = forms.CharField(required=False, max_length=200)
    since = MomentField(required=False, label=by_its_clock("since"))
    until = MomentField(ends=True, required=False, label=by_its_clock("until"))

    def search(self) -> Search:
        """Give it; what was refused asks for nothing, and the page says so."""
        return Search(**{name: value for name, value in self.cleaned_data.items() if value and _is_askable(value)})


def _is_askable(value: Any) -> bool:
    return not isinstance(value, str) or is_text(value)


@needs(SEE_AUDIT)
@require_GET
def audit(request: HttpRequest) -> HttpResponse:
    """Show lines, newest first, as many pages as there are."""
    if scopes.is_limited(user_of(request)):
        raise PermissionDenied("the audit tells of every host, and you may see some of them")
    form = AuditForm(request.GET)
    form.is_valid()
    links = form.search().links()
    if before := number_of(request.GET.get("before")):
        links = links.filter(number__lt=before)
    found = list(links[: LINES_SHOWN + 1])
    shown = found[:LINES_SHOWN]
    asked = _asked(form)
    context = {
        "form": form,
        "lines": [(link, in_json(link.event.details)) for link in shown],
        "question": asked.urlencode(),
        "file_question": _in_utc(form).urlencode(),
        "older_than": shown[-1].number if len(found) > LINES_SHOWN else None,
        "is_first": not before,
        "is_narrowed": bool(asked.keys() - {"text"}),
        "not_forwarded": forwarding.reason(),
    }
    return render(request, "campaigns/audit.html", context)


def _asked(form: AuditForm) -> QueryDict:
    """Give the page's question without the place in it, to build links on."""
    asked = QueryDict(mutable=True)
    for name in form.fields:
        if form.cleaned_data.get(name):
            asked[name] = str(form.data.get(name))
    return asked


def _in_utc(form: AuditForm) -> QueryDict:
    """Give the same question as the API takes it."""
    asked = _asked(form)
    for name in ("since", "until"):
        if moment := form.cleaned_data.get(name):
            asked[name] = moment.isoformat()
    return asked
