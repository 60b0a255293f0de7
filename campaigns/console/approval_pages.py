"""The pages of approvals: what waits for a person, and all that a second person looks at before saying yes or no."""

from typing import Any

from django.contrib import messages
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from campaigns.console import wording
from campaigns.console.access import needs_one_of, user_of
from campaigns.console.lookups import page_of, question_of
from campaigns.launching import approval_diff, approvals, requests, rule_wishes
from campaigns.launching.models import Approval
from campaigns.people.roles import APPROVE, LAUNCH, LAUNCH_FLAGGED, LOOK
from fleet.errors import FleetError

MAY_COME = (APPROVE, LAUNCH, LAUNCH_FLAGGED, LOOK)


@needs_one_of(*MAY_COME)
@require_GET
def list_approvals(request: HttpRequest) -> HttpResponse:
    """Show what waits for this person, and what he or she asked for or decided."""
    user = user_of(request)
    mine = requests.shown_to(user).filter(Q(campaign__created_by=user) | Q(decided_by=user))
    context = {
        "waiting": requests.waiting_for(user),
        "rules": rule_wishes.waiting_for(user),
        "may_approve": user.has_perm(APPROVE),
        "page": page_of(mine, request),
        "question": question_of(request),
    }
    return render(request, "campaigns/approvals.html", context)


@needs_one_of(*MAY_COME)
@require_GET
def approval(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Show one request in full."""
    found = _found(request, campaign_id)
    if found is None:
        return _no_such(request, campaign_id)
    if request.GET.get("seen") == _stands(found):
        return HttpResponse(status=204)  # the page that is open asks again and again
    return render(request, "campaigns/approval.html", _context(request, found))


def _stands(found: Approval) -> str:
    """Give what the page is drawn for: another word of it is another page."""
    return f"{found.state} {wording.state_word(found.campaign)}"


def _context(request: HttpRequest, found: Approval, **more: Any) -> dict[str, Any]:
    user = user_of(request)
    found = requests.as_seen(found, user)
    campaign = found.campaign
    waits = found.state == Approval.State.WAITING and bool(campaign.waits_for)
    mine = campaign.created_by_id == user.pk
    return {
        "approval": found,
        "campaign": campaign,
        "stands": _stands(found),
        "waits": waits,
        "is_late": waits and found.expires_at <= timezone.now(),
        "may_decide": waits and approvals.may_decide(campaign, user),
        "refusal": _refusal(found, request) if waits else "",
        "may_withdraw": campaign.status == "scheduled" and (mine or found.decided_by_id == user.pk),
        "is_mine": mine,
        "why": found.why,
        "hosts": requests.count_seen(campaign, user),
        "more_hosts": not requests.sees_all(campaign, user),
        "estimate": {**requests.estimate(campaign, user), "has_sql": True},
        "limits": wording.limits_in_words(campaign),
        "diff": approval_diff.diff(campaign, user),
        **more,
    }


def _refusal(found: Approval, request: HttpRequest) -> str:
    """Say why this person may not decide; "" = he or she may."""
    try:
        approvals.check_may_decide(found.campaign, user_of(request))
    except FleetError as error:
        return error.sentence
    return ""


@needs_one_of(APPROVE)
@require_POST
def approve(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Say yes to what the page showed, and go to the campaign."""
    found = _found(request, campaign_id)
    if found is None:
        return _no_such(request, campaign_id)
    try:
        begun = approvals.approve(campaign_id, user_of(request), request.POST.get("digest", ""))
    except FleetError as error:
        messages.error(request, error.sentence)
        return redirect("approval", campaign_id)
    if begun.is_over:
        messages.error(request, begun.ended_reason)
    return redirect("approval", campaign_id)


@needs_one_of(APPROVE)
@require_POST
def reject(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Say no, with the reason."""
    found = _found(request, campaign_id)
    if found is None:
        return _no_such(request, campaign_id)
    typed = request.POST.get("reason", "").replace("\0", "")
    try:
        approvals.reject(campaign_id, user_of(request), typed)
    except FleetError as error:
        if error.field == "reason":
            context = _context(request, found, wrong_reason=error.sentence, reason=typed)
            return render(request, "campaigns/approval.html", context, status=422)
        messages.error(request, error.sentence)
    return redirect("approval", campaign_id)


@needs_one_of(*MAY_COME)
@require_POST
def withdraw(request: HttpRequest, campaign_id: int) -> HttpResponse:
    """Take back one's yes, or one's launch."""
    if _found(request, campaign_id) is None:
        return _no_such(request, campaign_id)
    try:
        approvals.withdraw(campaign_id, user_of(request))
    except FleetError as error:
        messages.error(request, error.sentence)
    return redirect("approval", campaign_id)


def _found(request: HttpRequest, campaign_id: int) -> Approval | None:
    found: Approval | None = requests.shown_to(user_of(request)).filter(campaign_id=campaign_id).first()
    return found


def _no_such(request: HttpRequest, campaign_id: int) -> HttpResponse:
    return render(request, "campaigns/missing.html", {"campaign_id": campaign_id, "of_approval": True}, status=404)
