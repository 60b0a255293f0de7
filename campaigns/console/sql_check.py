"""SQL checked while it is typed: SQLite's sentence and the place it means, for the editor to show there."""

from typing import Any

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from agents.inventory import kept_sql, sql
from agents.models import Platform
from campaigns.console.access import needs_to_launch, user_of
from campaigns.launching import rights
from campaigns.people import scopes
from campaigns.selecting import sql_support
from fleet.errors import FleetError

FINE: dict[str, Any] = {"ok": True, "severity": "", "sentence": "", "line": None, "column": None}


@needs_to_launch()
@require_POST
def check(request: HttpRequest) -> HttpResponse:
    """Answer {ok, severity, sentence, line, column}: an error is wrong on every host, a warning on some."""
    typed = request.POST.get("sql", "").replace("\r\n", "\n")
    return JsonResponse(_verdict(typed, user_of(request)) if typed.strip() else FINE)


def _verdict(typed: str, by: User) -> dict[str, Any]:
    try:
        checked = kept_sql.checked(typed)
    except sql.WrongSqlError as error:
        return _said("error", error.trouble, typed)
    except FleetError as error:
        return _said("error", sql.Trouble(error.sentence), typed)
    found = sql_support.first_trouble(checked.text, scopes.hosts_for(by).enrolled())
    if found is not None and found.everywhere:
        return _said("error", found.trouble, typed)
    try:
        rights.checked_sql(typed, by)
    except FleetError as error:
        return _said("error", sql.Trouble(error.sentence), typed)
    if found is not None:
        names = ", ".join(str(Platform(name).label) for name in found.platforms)
        some = found.trouble._replace(sentence=f"{found.trouble.sentence} (on {names}, not on every host)")
        return _said("warning", some, typed)
    return FINE


def _said(severity: str, trouble: sql.Trouble, typed: str) -> dict[str, Any]:
    """Say where it is in what was typed: outer blanks were taken away before it was checked."""
    line, column = trouble.line, trouble.column
    before = typed[: len(typed) - len(typed.lstrip())]
    if line == 1:
        column += len(before) - before.rfind("\n") - 1
    place = {"line": line + before.count("\n"), "column": column} if line else {"line": None, "column": None}
    return {"ok": False, "severity": severity, "sentence": trouble.sentence, **place}
