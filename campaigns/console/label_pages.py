"""The pages of labels: which groups of hosts there are, who is in them, and how hosts get in."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.inventory import label_sql
from agents.inventory import labels as verbs
from agents.inventory.label_form import LabelForm
from agents.models import HousekeepingQuery, Label
from campaigns.console.access import needs, user_of
from campaigns.console.lookups import page_of
from campaigns.console.order import BY_NAME
from campaigns.people import scopes
from campaigns.people.roles import SEE_HOSTS, SEE_LABELS
from fleet.errors import FleetError

STOPPED = "stopped by the brake; write other SQL to go on"
ADD, CHANGE, DELETE = "agents.add_label", "agents.change_label", "agents.delete_label"


@needs(SEE_LABELS)
@require_GET
def labels(request: HttpRequest) -> HttpResponse:
    """Show every label with how hosts get in and how many there are."""
    counted = Label.objects.annotate(host_count=verbs.count_for(user_of(request)))
    found = counted.prefetch_related("queries").order_by(*BY_NAME)
    is_limited = scopes.is_limited(user_of(request))
    return render(
        request,
        "campaigns/labels.html",
        {
            "labels": sorted(found, key=lambda label: bool(label.built_in)),
            "is_limited": is_limited,
            "in_trouble": {
                label.pk for label in found if any(trouble for _, trouble in _sql_of(label, is_limited=is_limited))
            },
        },
    )


def _sql_of(shown: Label, *, is_limited: bool) -> list[tuple[HousekeepingQuery, str]]:
    """Give its SQL with what is the matter with it. Who sees some hosts only hears nothing of others."""
    queries = shown.queries.all()
    if is_limited:
        return [(query, STOPPED if query.stopped_at is not None else "") for query in queries]
    return [(query, label_sql.trouble_with(query)) for query in queries]


@needs(SEE_LABELS)
@require_http_methods(["GET", "HEAD", "POST"])
def label(request: HttpRequest, label_id: int) -> HttpResponse:
    """Show one label with its members; POST changes it."""
    shown = get_object_or_404(Label.objects.prefetch_related("queries"), pk=label_id)
    may_change = request.user.has_perm(CHANGE) and not shown.built_in
    form = _form(request, shown)
    if request.method == "POST":
        if not may_change:
            return render(request, "campaigns/denied.html", {"permission": CHANGE}, status=403)
        if _kept(request, form):
            return redirect("label", shown.pk)
    is_limited = scopes.is_limited(user_of(request))
    queries = _sql_of(shown, is_limited=is_limited)
    return render(
        request,
        "campaigns/label.html",
        {
            "label": shown,
            "is_limited": is_limited,
            "queries": queries,
            "is_in_trouble": any(trouble for _, trouble in queries),
            "answered_at": max((query.answered_at for query, _ in queries if query.answered_at), default=None),
            "form": form if may_change else None,
            **_members(request, shown),
        },
        status=422 if form.is_bound else 200,
    )


def _members(request: HttpRequest, shown: Label) -> dict[str, object]:
    if not request.user.has_perm(SEE_HOSTS):
        return {"hidden": True}
    now = timezone.now()
    members = scopes.hosts_for(user_of(request)).enrolled().filter(labels=shown)
    page = page_of(members.select_related("presence"), request)
    return {"page": page, "lines": [(host, host.is_online(now)) for host in page], "question": ""}


def _form(request: HttpRequest, shown: Label | None) -> LabelForm:
    form = LabelForm(request.POST if request.method == "POST" else None, instance=shown)
    form.by = user_of(request)
    return form


def _kept(request: HttpRequest, form: LabelForm) -> bool:
    """Keep what was typed; say what speaks against it, or what is to be known of it."""
    if not form.is_valid():
        return False
    try:
        kept = form.keep()
    except FleetError as error:
        form.add_error(None, error.sentence)
        return False
    for warning in form.name_warnings:
        messages.warning(request, warning)
    messages.success(request, f"The label {kept.name} is kept.")
    return True


@needs(ADD)
@require_http_methods(["GET", "HEAD", "POST"])
def new_label(request: HttpRequest) -> HttpResponse:
    """Make a label."""
    form = _form(request, None)
    if form.is_bound and _kept(request, form):
        return redirect("label", form.instance.pk)
    return render(request, "campaigns/new_label.html", {"form": form}, status=422 if form.is_bound else 200)


@needs(CHANGE)
@require_POST
def remove_host(request: HttpRequest, label_id: int, host_id: int) -> HttpResponse:
    """Take one host out of a label that is kept by hand."""
    shown = get_object_or_404(Label, pk=label_id)
    try:
        verbs.check_may_change(user_of(request), shown)
        verbs.check_by_hand(shown)
    except FleetError as error:
        messages.error(request, error.sentence)
    else:
        host = scopes.hosts_for(user_of(request)).filter(pk=host_id, labels=shown).first()
        if host is not None:
            verbs.remove(shown, [host.pk])
            messages.success(request, f"Taken out of the label {shown.name}: {host.hostname}.")
    return redirect("label", shown.pk)


@needs(DELETE)
@require_POST
def delete_label(request: HttpRequest, label_id: int) -> HttpResponse:
    """Delete a label; its hosts stay."""
    shown = get_object_or_404(Label, pk=label_id)
    name = shown.name
    try:
        verbs.check_may_delete(user_of(request), shown)
        verbs.forget(shown, user_of(request).get_username())
    except FleetError as error:
        messages.error(request, error.sentence)
        return redirect("label", label_id)
    messages.success(request, f"The label {name} is deleted. Its hosts stay.")
    return redirect("labels")
