"""What people see of the launches that need a second person: which, over which hosts, and what they would mean."""

from copy import copy
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q

from agents.models import Host, HostQuerySet
from campaigns.answers import sight
from campaigns.launching import estimates
from campaigns.launching.approvals import may_decide
from campaigns.launching.models import Approval, ApprovalQuerySet
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import APPROVE, LOOK
from campaigns.selecting import frozen
from fleet.errors import BadInputError


def shown_to(user: User) -> ApprovalQuerySet:
    """Give the requests that a person may look at: one's own, and all for who may approve or look at campaigns."""
    found: ApprovalQuerySet = Approval.objects.select_related("campaign__created_by", "campaign__query")
    if user.has_perm(APPROVE) or user.has_perm(LOOK):
        return _over_seen_hosts(found, user) if scopes.is_limited(user) else found
    return found.filter(Q(campaign__created_by=user) | Q(decided_by=user))


def _over_seen_hosts(found: ApprovalQuerySet, user: User) -> ApprovalQuerySet:
    """Leave out those of which this person sees no host; one's own stay."""
    seen = [
        one.pk
        for one in found
        if user.pk in (one.campaign.created_by_id, one.decided_by_id) or seen_hosts(one.campaign, user).exists()
    ]
    return found.filter(pk__in=seen)


def waiting_for(user: User) -> list[Approval]:
    """Give the requests that this person may decide now, the one that expires first before the others."""
    if not user.has_perm(APPROVE):
        return []
    others = Approval.objects.waiting().exclude(campaign__created_by=user).select_related("campaign__created_by")
    found = list(others.order_by("expires_at"))
    # Who is not limited sees all hosts of each: nothing more is to be asked for.
    return [one for one in found if may_decide(one.campaign, user)] if scopes.is_limited(user) else found


def count_waiting_for(user: User | AnonymousUser) -> int:
    """Count the requests that this person may decide now."""
    if not user.is_authenticated or not user.has_perm(APPROVE):
        return 0
    if scopes.is_limited(user):
        return len(waiting_for(user))
    return Approval.objects.waiting().exclude(campaign__created_by=user).count()


def seen_hosts(campaign: Campaign, viewer: User) -> HostQuerySet:
    """Give the hosts that were frozen, or asked once it has begun, as far as this person may see them."""
    return scopes.within(_meant(campaign), viewer, "pk")


def count_seen(campaign: Campaign, viewer: User) -> int:
    """Count the hosts that `seen_hosts` gives; who is not limited sees as many as were expected."""
    return seen_hosts(campaign, viewer).count() if scopes.is_limited(viewer) else campaign.expected


def sees_all(campaign: Campaign, viewer: User) -> bool:
    """Say whether this person may see every one of them."""
    if not scopes.is_limited(viewer):
        return True
    return not _meant(campaign).exclude(pk__in=scopes.hosts_for(viewer).values("pk")).exists()


def _meant(campaign: Campaign) -> HostQuerySet:
    if campaign.started_at is None:
        return frozen.hosts_of(campaign.ranges.all())
    hosts: HostQuerySet = Host.objects.filter(pk__in=campaign.targets.values("host_id"))
    return hosts


def as_seen(approval: Approval, viewer: User) -> Approval:
    """Give it as this person sees it: who sees some of its hosts only is told nothing that counts the others.

    That is also what caught it, and the digest, by which a guess of the hosts could be proved.
    """
    if sees_all(approval.campaign, viewer):
        return approval
    seen = copy(approval)
    seen.campaign = sight.asked_within(approval.campaign, scopes.limits_of(viewer))
    seen.why, seen.digest = [], ""
    return seen


def estimate(campaign: Campaign, viewer: User) -> dict[str, Any]:
    """Count the hosts of a request as they are now, and look up what its SQL cost before."""
    hosts = seen_hosts(campaign, viewer)
    try:
        return estimates.estimate_of(hosts, campaign.sql, viewer, forced=campaign.is_forced)
    except BadInputError as error:  # no host can run it any more
        counted = estimates.estimate_of(hosts, "", viewer)
        return {**counted, "warnings": [*counted["warnings"], error.sentence]}
