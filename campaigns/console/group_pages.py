"""The groups of a campaign's answers, also beside those of an earlier run, and the hosts of one group."""

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Window
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from agents.inventory import labels
from agents.models import HostQuerySet
from campaigns.answers import comparing, groups, sight
from campaigns.answers.audit import note_read
from campaigns.console import drawing
from campaigns.console.access import needs_sight, number_of, user_of
from campaigns.console.lookups import found_campaign, no_such_campaign
from campaigns.console.order import BY_NAME
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import SEE_HOSTS, may_launch_something
from campaigns.selecting.earlier_targets import Earlier
from fleet.counting import plural
from fleet.errors import BadInputError, FleetError
from fleet.text import visible

GROUPS_SHOWN, HOSTS_OF_GROUP = 50, 100
CELL_SHOWN = 200  # characters; one more tells that there are more
RUNS_SHOWN, LABELS_OFFERED = 50, 200
MOST_PAGES = 100_000
MOST_PICKED = 500  # they travel in addresses


@dataclass(frozen=True)
class Line:
    """A group as it is shown: of this campaign, or of it and an earlier run."""

    key: str
    hosts: int
    rows: int | None
    content: list[Any]  # of columns their values, of whole answers the first cells of the first rows
    compared: comparing.Compared | None = None
    left_out: int = 0  # cells of these rows that are not shown

    @property
    def anchor(self) -> str:
        """Give what names the line within the page, whoever draws it anew."""
        return f"group-{self.key.rpartition('.')[2]}"


@needs_sight()
@require_GET
def campaign_groups(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show what hosts have in common: the same answer, or the same values of some columns."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    note_read(f"campaign {campaign_id}", "page", request)
    return render(request, "campaigns/_groups.html", {"campaign": shown, **groups_context(request, shown)})


def groups_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    """Give the groups that the address asks for."""
    asked = set(request.GET.getlist("by"))
    chosen = [column for column in shown.columns if column in asked]  # in the order of the SQL
    user = user_of(request)
    runs = sight.all_seen_by(comparing.earlier_runs(shown, Campaign.objects.visible_to(user), RUNS_SHOWN), user)
    earlier = next((run for run in runs if run.pk == number_of(request.GET.get("with"))), None)
    context = {
        "by": chosen[: groups.MOST_BY],
        "unknown_columns": sorted(asked - {*shown.columns}),
        "too_many": len(chosen) - groups.MOST_BY,
        "rarest_first": request.GET.get("order") == "hosts",
        "group_search": request.GET.get("group_search", "").replace("\0", ""),
        "runs": runs,
        "earlier": earlier,
        "unchanged": "unchanged" in request.GET,
        "page_number": min(number_of(request.GET.get("page")) or 1, MOST_PAGES),
    }
    found = _compared(shown, earlier, context) if earlier else _lines(shown, context)
    lines = found[:GROUPS_SHOWN]
    most = drawing.cells_of_each(len(lines))
    kept = request.GET.copy()
    kept["tab"] = "groups"
    kept.pop("page", None)
    return context | {
        "lines": lines if context["by"] else [_cut(line, shown.columns, most) for line in lines],
        "more_groups": len(found) > GROUPS_SHOWN,
        "groups_question": kept.urlencode(),
        "all_hosts": max([shown.count_answered, 1, *(line.hosts for line in found)]),
    }


def _cut(line: Line, columns: list[str], most: int) -> Line:
    content, left_out = drawing.first_cells(line.content, columns, most)
    return replace(line, content=content, left_out=left_out)


def _lines(shown: Campaign, asked: dict[str, Any]) -> list[Line]:
    order = "hosts" if asked["rarest_first"] else "-hosts"
    found = groups.groups(
        shown, asked["by"], order, GROUPS_SHOWN + 1, _offset(asked), asked["group_search"], cut=CELL_SHOWN + 1
    )
    return [
        Line(
            group["key"],
            group["hosts"],
            group["rows"],
            group["answer"] if "answer" in group else list(group["values"].values()),
        )
        for group in found
    ]


def _compared(shown: Campaign, earlier: Campaign, asked: dict[str, Any]) -> list[Line]:
    found = comparing.compared(
        *(shown, earlier, asked["by"], GROUPS_SHOWN + 1, _offset(asked)),
        search=asked["group_search"],
        unchanged=asked["unchanged"],
        cut=CELL_SHOWN + 1,
    )
    return [Line(group.key, group.now, None, group.content, group) for group in found]


def _offset(asked: dict[str, Any]) -> int:
    return (int(asked["page_number"]) - 1) * GROUPS_SHOWN


@needs_sight()
@require_GET
def group_hosts(request: HttpRequest, campaign_id: int, key: str) -> HttpResponse:
    """Name the hosts of a group, to look through, to ask and to label: in a drawer, or as a page of its own."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    note_read(f"campaign {campaign_id}", "page", request)
    try:
        context = _hosts_context(request, shown, groups.Key.read(key))
    except BadInputError:
        context = {}
    if not context:
        return render(request, "campaigns/missing_group.html", {"campaign": shown}, status=404)
    in_drawer = bool(request.headers.get("HX-Request"))
    template = "_group_hosts.html" if in_drawer else "group.html"
    return render(request, f"campaigns/{template}", {"campaign": shown, "in_drawer": in_drawer, **context})


def _hosts_context(request: HttpRequest, shown: Campaign, key: groups.Key) -> dict[str, Any]:
    """Give a page of the group's hosts; {} when nobody is in it."""
    search = request.GET.get("search", "").replace("\0", "").strip()
    number = min(number_of(request.GET.get("page")) or 1, MOST_PAGES)
    example = groups.members(shown.pk, key, shown.limits).only("campaign_id").first()
    if example is None:
        return {}
    content = groups.content_of(example.pk, key)
    members = groups.members_like(example, key, content, shown.limits)
    total, found = _page_of_hosts(members, search, (number - 1) * HOSTS_OF_GROUP)
    ids = {host_id for host_id, _ in found}
    picked = _picked(request)
    first, left_out = (content, 0) if key.by else drawing.first_cells(content, shown.columns, drawing.CELLS)
    return {
        "key": str(key),
        "by": key.by,
        "content": first,
        "left_out": left_out,
        "search": search,
        "total": total,
        "hosts": [(host_id, name, host_id in picked) for host_id, name in found],
        "picked_elsewhere": sorted(picked - ids),
        "page_number": number,
        "has_next": number * HOSTS_OF_GROUP < total,
        "pages": -(-total // HOSTS_OF_GROUP),
        "may_pick": request.user.has_perm(SEE_HOSTS),
        "may_ask": may_launch_something(request.user),
        "may_label": request.user.has_perm(labels.CHANGE),
        "labels": _labels_by_hand(request) if request.user.has_perm(labels.CHANGE) else (),
    }


def _page_of_hosts(members: Any, search: str, offset: int) -> tuple[int, list[tuple[int, str]]]:
    """Count the members that are like the search, and give a page of them: in one walk over the answers."""
    if search:
        members = members.filter(hostname__icontains=search)
    counted = members.order_by("hostname", "host_id").annotate(total=Window(Count("pk")))
    found = list(counted.values_list("host_id", "hostname", "total")[offset : offset + HOSTS_OF_GROUP])
    if not found and offset:
        return members.count(), []
    return (found[0][2] if found else 0), [(host_id, name) for host_id, name, _ in found]


def _labels_by_hand(request: HttpRequest) -> Any:
    by_hand = labels.by_hand_for(user_of(request)).order_by(*BY_NAME)
    return by_hand.values_list("name", flat=True)[:LABELS_OFFERED]


def _picked(request: HttpRequest) -> set[int]:
    given = request.POST if request.method == "POST" else request.GET
    return {pk for pk in map(number_of, given.getlist("host")[:MOST_PICKED]) if pk}


@needs_sight()
@require_POST
def use_group(request: HttpRequest, campaign_id: int, key: str) -> HttpResponse:
    """Do something with the hosts of a group, or with those that are picked: ask them, or put them into a label."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    if request.POST.get("do") == "label":
        return _label(request, shown, key)
    picked = [("host", pk) for pk in sorted(_picked(request))]
    if request.POST.get("do") == "ask":
        meant: list[tuple[str, Any]] = [*picked] or [("of", shown.pk), ("group", key)]
        return redirect(f"{reverse('ask')}?{urlencode(meant)}")
    looked_for = {name: request.POST.get(name, "") for name in ("search", "page")}
    asked = urlencode(looked_for | {"host": [pk for _, pk in picked]}, doseq=True)
    return redirect(f"{reverse('hosts-of-group', args=[shown.pk, key])}?{asked}")


def _label(request: HttpRequest, shown: Campaign, key: str) -> HttpResponse:
    try:
        meant = _meant(request, shown, key)
        context: dict[str, Any] = put_into_label(request.POST.get("label", ""), meant, request)
    except FleetError as error:
        context = {"label_error": error.sentence}
    if request.headers.get("HX-Request"):
        return render(request, "campaigns/_labelled.html", context)
    if "label_error" in context:
        messages.error(request, context["label_error"])
        return redirect("hosts-of-group", shown.pk, key)
    messages.success(request, context["sentence"])
    return redirect("label", context["label"].pk)


def _meant(request: HttpRequest, shown: Campaign, key: str) -> HostQuerySet:
    """Give the hosts of the group that are enrolled, or those of them that are picked."""
    visible = scopes.hosts_for(user_of(request))
    earlier = Earlier(shown.pk, None, groups.Key.read(key))
    earlier.check("group", shown.limits)
    meant = visible.enrolled().filter(earlier.hosts())
    picked = _picked(request)
    return meant.filter(pk__in=picked) if picked else meant


@transaction.atomic
def put_into_label(name: str, hosts: HostQuerySet, request: HttpRequest) -> dict[str, Any]:
    """Put hosts into the label of this name, which is made if there is none. Raise FleetError."""
    label, is_new = labels.named(name.strip(), user_of(request), "label")
    labels.check_may_change(user_of(request), label, "label")
    before = label.hosts.count()
    labels.add(label, hosts)
    added = label.hosts.count() - before
    counted = f"{added:,} {plural(added, 'host')}"
    put = f"{counted} put into {'the new label' if is_new else 'the label'} {visible(label.name)}"
    more = "." if is_new or added else ": all of them were in it already."
    return {"label": label, "sentence": f"{put}{more}"}
