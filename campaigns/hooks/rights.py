"""Who may have hooks, and with what he may keep them."""

from typing import Any

from django.contrib.auth.models import User

from campaigns.hooks.models import Event
from campaigns.launching import requests
from campaigns.models import Campaign
from campaigns.people.roles import KEEP_HOOKS
from campaigns.tokens import ApiToken
from fleet.errors import ForbiddenError


def objection(owner: User) -> str:
    """Say why this person's hooks are to stop; "" = he may have them."""
    name = owner.get_username()
    if not owner.is_active:
        return f"its owner {name} is deactivated"
    if not owner.has_perm(KEEP_HOOKS):
        return f"its owner {name} has no permission {KEEP_HOOKS} any more"
    if not Campaign.objects.shows_some(owner):
        return f"its owner {name} may not look at any campaign any more"
    return ""


def may_be_told(owner: User, kind: str, campaign: Campaign) -> bool:
    """Say whether this person may hear of such an event; who approves hears of what waits for that."""
    if kind == Event.APPROVAL_WANTED:
        return requests.shown_to(owner).filter(campaign=campaign).exists()
    return bool(Campaign.objects.visible_to(owner).filter(pk=campaign.pk).exists())


def refuse_narrowed(token: Any, thing: str) -> None:
    """Raise ForbiddenError when a token asks that is for less than its owner: what works for him would do more."""
    if isinstance(token, ApiToken) and (token.role or token.is_scoped):
        raise ForbiddenError(f"{thing} do all that their owner may, and this token is for less: use one that is not")
