"""What people do with hosts they chose in a campaign's list: ask them again, or put them into a label.

A script's request is answered in place, with a sentence or with where to go; a plain form goes to a page.
"""

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_POST

from agents.models import Host
from campaigns.answers import target_list
from campaigns.console.access import needs_sight, needs_to_launch, number_of, user_of
from campaigns.console.forms import TargetsForm
from campaigns.console.group_pages import put_into_label
from campaigns.console.in_place import asks_first, refused, said, sent_to
from campaigns.console.lookups import found_campaign, no_such_campaign, whole_campaign
from campaigns.launching import reruns
from campaigns.models import Campaign, Target
from campaigns.states import FINAL_STATES
from fleet.errors import BadInputError, FleetError


@needs_to_launch()
@needs_sight()
@require_POST
@asks_first
def ask_again(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Ask the chosen hosts the same SQL in a new campaign, and go there."""
    shown = whole_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    try:
        again = _rerun(request, shown)
    except FleetError as error:
        return refused(request, error, "campaign", shown.pk)
    messages.success(request, f"Asked again: this is what campaign {shown.pk} asked, of the hosts you chose there.")
    return sent_to(request, "campaign", again.pk)


def _rerun(request: HttpRequest, shown: Campaign) -> Campaign:
    """Mean all that match by their state where that is all that was asked: then they may be any number."""
    asked = _filter(request)
    if "all" in request.POST and asked.is_of_state_alone:
        return reruns.rerun(shown, [asked.state] if asked.state else list(FINAL_STATES), user_of(request))
    return reruns.rerun_hosts(shown, _chosen(request, shown), user_of(request))


@needs_sight()
@require_POST
def label(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Put the chosen hosts into a label that is kept by hand, or into a new one."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    try:
        sentence = _label(request, shown)
    except FleetError as error:
        return refused(request, error, "campaign", shown.pk)
    return said(request, sentence, "campaign", shown.pk)


def _label(request: HttpRequest, shown: Campaign) -> str:
    hosts = Host.objects.enrolled().filter(pk__in=_chosen(request, shown).order_by().values("host_id"))
    if not hosts.exists():
        raise BadInputError("no host is chosen, or none of those is enrolled any more: choose one or more", "hosts")
    return str(put_into_label(request.POST.get("label", ""), hosts, request)["sentence"])


def _filter(request: HttpRequest) -> target_list.TargetFilter:
    form = TargetsForm(request.POST)
    form.is_valid()
    return form.filter()


def _chosen(request: HttpRequest, shown: Campaign) -> "QuerySet[Target]":
    """Give the targets that are ticked, or all that are like what the list is narrowed to."""
    if "all" in request.POST:
        return target_list.narrowed(shown, user_of(request), _filter(request), timezone.now())
    ids = [number_of(text) for text in request.POST.getlist("host")]
    return target_list.seen_by(shown, user_of(request)).filter(host_id__in=ids)
