"""What people do to a campaign: each view permits, calls one verb, and shows the campaign again."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.board.operator_verbs import RELEASED_ALL
from campaigns.console.access import needs_sight, needs_to_launch, user_of
from campaigns.console.forms import StopForm
from campaigns.console.in_place import ask_first, is_script, refused, said, sent_to, with_word
from campaigns.console.lookups import found_campaign, no_such_campaign, whole_campaign
from campaigns.console.notices import notices
from campaigns.launching import approvals, control, reruns, rights
from campaigns.launching.models import Approval
from campaigns.models import Campaign
from campaigns.people.roles import CHANGE, may_launch_something
from campaigns.states import FINAL_STATES, State
from fleet.counting import counted, plural
from fleet.errors import FleetError, ForbiddenError


def may_stop(user: User, shown: Campaign) -> bool:
    """Say whether this person may stop it: who launched it always may."""
    return not shown.is_over and not shown.ended_by and not rights.objection(shown, user)


@needs_sight()
@require_http_methods(["GET", "HEAD", "POST"])
def stop(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Ask whether to stop, or stop."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    if not may_stop(user_of(request), shown):
        return _may_not_stop(request, shown)
    form = StopForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(request, "campaigns/stop.html", {"campaign": shown, "stop_form": form})
    try:
        control.stop(shown.pk, user_of(request).get_username(), form.cleaned_data["reason"] or "stopped by hand")
    except FleetError as error:
        if is_script(request):
            return refused(request, error, "campaign", shown.pk)
        form.add_error(None, error.sentence)
        return render(request, "campaigns/stop.html", {"campaign": shown, "stop_form": form}, status=error.status)
    return _changed(request, shown, "Stopped: no host gets the SQL any more.")


@needs_sight()
@require_GET
def control_panel(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show how far the campaign goes, and the buttons that change it. Over: htmx asks no more (status 286)."""
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    return _controls(request, shown)


def _controls(request: HttpRequest, shown: Campaign) -> HttpResponse:
    """Draw the buttons, and beside them what must be said, which stands elsewhere on the page."""
    context = {"campaign": shown, "beside": True, **control_context(request, shown)}
    parts = [render_to_string(f"campaigns/{name}.html", context, request) for name in ("_control", "_standing")]
    return HttpResponse("".join(parts), status=286 if shown.is_over else 200)


def _changed(request: HttpRequest, shown: Campaign, sentence: str) -> HttpResponse:
    """Say that it was done: in place to a script, or on the campaign's page."""
    if not is_script(request):
        return said(request, sentence, "campaign", shown.pk)
    again = found_campaign(shown.pk, user_of(request)) or shown
    response = _controls(request, again)
    response.status_code = 200
    return with_word(response, sentence) if sentence else response


def control_context(request: HttpRequest, shown: Campaign) -> dict[str, Any]:
    """Give what the buttons and notices of a campaign's page need: what this person may do to it now."""
    asked = Approval.objects.filter(campaign=shown).first()
    reruns_seen = Campaign.objects.visible_to(user_of(request)).filter(parent=shown.pk).order_by("pk")
    return {
        "approval": asked,
        "may_decide": bool(asked and shown.waits_for) and approvals.may_decide(shown, user_of(request)),
        "may_stop": may_stop(user_of(request), shown),
        "held": shown.released != RELEASED_ALL,
        "release_question": release_question(shown),
        "again": _again(shown) if shown.is_over and may_launch_something(request.user) else [],
        "notices": notices(shown, asked, reruns_seen),
    }


def _again(shown: Campaign) -> list[tuple[State, str, int, bool]]:
    """Give the states whose hosts may be asked again, with their number, and whether most people want them.

    Hosts that denylisted the SQL refuse it for a day; those that lack a table always will.
    """
    counts = shown.counts
    unwanted = (State.ANSWERED, State.UNSUPPORTED, State.DENYLISTED)
    return [
        (state, state.label, counts[state], state not in unwanted)
        for state in map(State, FINAL_STATES)
        if counts[state] and state != State.ANSWERED
    ]


@needs_to_launch()
@needs_sight()
@require_POST
def rerun(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Ask the hosts that ended in the chosen states again, and go there."""
    shown = whole_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    try:
        again = reruns.rerun(shown, request.POST.getlist("states"), user_of(request))
    except FleetError as error:
        return refused(request, error, "campaign", shown.pk)
    messages.success(
        request, f"Asked again: this is what campaign {shown.pk} asked, of hosts that came to nothing there."
    )
    return sent_to(request, "campaign", again.pk)


@needs_sight()
@require_POST
def pause(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Hand the campaign out no more for now."""
    return _change(request, campaign_id, control.pause, "Paused. Nobody is handed the SQL until it is resumed.")


@needs_sight()
@require_POST
def resume(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Resume a paused campaign."""
    return _change(request, campaign_id, control.resume, "Resumed: hosts are handed the SQL again.")


@needs_sight()
@require_POST
def widen(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Let more hosts be asked; all of them after a question, which pages with scripts ask by themselves."""
    typed = request.POST.get("count", "").strip()
    number = int(typed) if typed.isdecimal() and len(typed) < 19 else None
    goal: dict[str, Any] = {"count": typed if number is None else number}
    done = f"Widened: {counted(number or 0, 'host')} in all may be asked."  # without a number it is refused
    question: Callable[[Campaign], str] | None = None
    if "all" in request.POST:
        goal, done, question = {"all": True}, "Released to all hosts.", release_question
    return _change(request, campaign_id, lambda pk, by: control.widen(pk, by, goal), done, question)


def release_question(shown: Campaign) -> str:
    """Give what is asked before all hosts of a campaign may be asked; the same with scripts and without."""
    hosts = f"{shown.count_targeted:,} {plural(shown.count_targeted, 'host')}"
    explanation = "Every host that is meant may be handed the SQL. That cannot be taken back; Stop still ends it."
    return f"Release it to all {hosts}?|{explanation}|Release all"


def _change(
    request: HttpRequest,
    campaign_id: int,
    verb: Callable[[int, str], Campaign],
    done: str,
    question: Callable[[Campaign], str] | None = None,
) -> HttpResponse:
    """Do what was asked for and show the campaign again, or what is said against it.

    A form that no script sent, and that does not say `agreed`, is answered with the question first.
    """
    shown = found_campaign(campaign_id, user_of(request))
    if shown is None:
        return no_such_campaign(request, campaign_id)
    if not may_stop(user_of(request), shown):
        return _may_not_stop(request, shown)
    if question is not None and not is_script(request) and "agreed" not in request.POST:
        return ask_first(request, question(shown))
    try:
        verb(shown.pk, user_of(request).get_username())
    except FleetError as error:
        return refused(request, error, "campaign", shown.pk)
    return _changed(request, shown, done)


def _may_not_stop(request: HttpRequest, shown: Campaign) -> HttpResponse:
    """Say which permission is missing, or that there is nothing to stop any more."""
    if shown.is_over or shown.ended_by:
        return _changed(request, shown, "") if is_script(request) else redirect("campaign", shown.pk)
    objection = rights.objection(shown, user_of(request)) if user_of(request).has_perm(CHANGE) else ""
    if is_script(request):
        sentence = f"this campaign was not launched by you: changing it needs the permission {CHANGE}"
        return refused(request, ForbiddenError(objection or sentence), "campaign", shown.pk)
    return render(request, "campaigns/denied.html", {"permission": CHANGE, "objection": objection}, status=403)
