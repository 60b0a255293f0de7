"""The pages of hosts: who is there, and all that is known of one."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Case, F, When, Window
from django.db.models.functions import FirstValue, RowNumber
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from agents.enrolling import revocation
from agents.models import Host
from campaigns.console.access import needs, user_of
from campaigns.console.forms import HostsForm
from campaigns.console.lookups import page_of, question_of
from campaigns.console.order import BY_NAME
from campaigns.launching import rights
from campaigns.models import Campaign, Result
from campaigns.people import scopes
from campaigns.people.roles import SEE_HOSTS, may_launch_something
from campaigns.states import State

CHANGE_HOST = "agents.change_host"
ANSWERS_SHOWN = 20
CARVES_SHOWN = 20


@needs(SEE_HOSTS)
@require_GET
def hosts(request: HttpRequest) -> HttpResponse:
    """Show the enrolled hosts, narrowed by what the address asks."""
    form, user = HostsForm(request.GET), user_of(request)
    form.is_valid()
    visible = scopes.hosts_for(user)
    found = form.found(visible).select_related("presence").prefetch_related("labels")
    now = timezone.now()
    page = page_of(found, request)
    gone = form.found(visible, gone=True).count() if not page.object_list and not form.cleaned_data.get("gone") else 0
    context = {
        "form": form,
        "page": page,
        "lines": [(host, host.is_online(now)) for host in page],
        "question": question_of(request),
        "is_narrowed": any(request.GET.get(name) for name in form.fields if name != "search"),
        "enrolled": page.paginator.count if not question_of(request) else visible.enrolled().count(),
        "gone": gone,
        "is_limited": scopes.is_limited(user),
    }
    return render(request, "campaigns/hosts.html", context)


@needs(SEE_HOSTS)
@require_GET
def host(request: HttpRequest, host_id: int) -> HttpResponse:
    """Show one host: facts, labels, what it answered lately, its carves, how it enrolled."""
    user = user_of(request)
    shown = found_host(host_id, user)
    if shown is None:
        return no_such_host(request, host_id)
    same_name = scopes.hosts_for(user).enrolled().filter(hostname__iexact=shown.hostname).exclude(pk=shown.pk)
    flagged, only_flagged = list(rights.flagged_queries(user)), rights.may_only_launch_flagged(user)
    may_ask = may_launch_something(user) and shown.revoked_at is None
    context = {
        "host": shown,
        "online": shown.is_online(timezone.now()),
        "labels": shown.labels.order_by(*BY_NAME),
        "answers": _last_answers(shown, user),
        "carves": shown.carves.all()[:CARVES_SHOWN] if request.user.has_perm("agents.view_carve") else [],
        "may_ask": may_ask,
        "has_something_to_ask": may_ask and bool(flagged or not only_flagged),
        "only_flagged": only_flagged,
        "flagged": flagged,
        "flagged_sql": {query.sql for query in flagged},
        "may_change": request.user.has_perm(CHANGE_HOST),
        "same_name": same_name[:5],
    }
    return render(request, "campaigns/host.html", context)


def found_host(host_id: int, user: User) -> Host | None:
    """Give a host that this person sees, with its presence, revoked or not; None when there is none for him."""
    visible = scopes.hosts_for(user).select_related("presence", "enroll_secret")
    found: Host | None = visible.filter(pk=host_id).first()
    return found


def no_such_host(request: HttpRequest, host_id: int) -> HttpResponse:
    """Say that no host has this number."""
    return render(request, "campaigns/missing_host.html", {"host_id": host_id}, status=404)


def _last_answers(shown: Host, by: User) -> list[tuple[Result, Result | None]]:
    """Give what this host is known to answer to each question that this person may see, newest try first.

    A try that failed hides no answer: it comes beside the answer before it, and alone where there is none.
    """
    of_question = F("campaign__sql")
    answered = Case(When(state=State.ANSWERED, then=0), default=1)
    newest = [F("received_at").desc(), F("pk").desc()]
    found = (
        Result.objects.filter(host=shown, campaign__in=Campaign.objects.visible_to(by))
        .annotate(
            place=Window(RowNumber(), partition_by=of_question, order_by=[answered.asc(), *newest]),
            tried=Window(FirstValue("pk"), partition_by=of_question, order_by=newest),
            tried_at=Window(FirstValue("received_at"), partition_by=of_question, order_by=newest),
        )
        .filter(place=1)
        .order_by("-tried_at")
        .select_related("campaign")
        .defer("rows")[:ANSWERS_SHOWN]
    )
    later = {result.tried for result in found if result.tried != result.pk}
    tries = Result.objects.defer("rows").in_bulk(later)
    return [(result, tries.get(result.tried)) for result in found]


@needs(CHANGE_HOST)
@require_POST
def revoke_host(request: HttpRequest, host_id: int) -> HttpResponse:
    """Send a host away."""
    return _change(request, host_id, _revoke)


@needs(CHANGE_HOST)
@require_POST
def trust(request: HttpRequest, host_id: int) -> HttpResponse:
    """Clear the mark of a second machine."""
    return _change(request, host_id, _trust)


def _change(request: HttpRequest, host_id: int, verb: Any) -> HttpResponse:
    shown = found_host(host_id, user_of(request))
    if shown is None:
        return no_such_host(request, host_id)
    messages.success(request, verb(shown))
    return redirect("host", shown.pk)


def _revoke(shown: Host) -> str:
    revocation.revoke(shown)
    return f"Revoked {shown.hostname}. Gateways refuse its keys within a second; what it answered is kept."


def _trust(shown: Host) -> str:
    revocation.trust(Host.objects.filter(pk=shown.pk))
    return f"The mark of {shown.hostname} is cleared, until a second machine is noticed again."
