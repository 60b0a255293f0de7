"""Who may look at a campaign: who bears view_campaign, and always who launched it."""

from typing import Any

from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request

from campaigns.models import Campaign
from campaigns.people.roles import LOOK, may_launch_something
from fleet.api.asking import ModelPermissions


class CampaignPermissions(ModelPermissions):
    """Django's permissions of campaigns; one's own may be looked at without any, and who runs flagged queries posts.

    Whoever may not look at a campaign hears the same of one that does not exist.
    """

    message = f"looking at campaigns that somebody else launched needs {LOOK}"

    def has_permission(self, request: Request, view: Any) -> bool:
        """Ask for what the method needs, and that the campaign in the address may be looked at."""
        only_looks = request.method in SAFE_METHODS or _is_for_viewers(view)
        if request.method == "POST" and not only_looks:
            permitted = request.user.is_authenticated and may_launch_something(request.user)
        else:
            permitted = only_looks or super().has_permission(request, view)
        if not permitted:
            self.message = "this needs a permission that you do not have"
            return False
        if not request.user.is_authenticated:
            return False
        campaign_id, user = view.kwargs.get("pk"), request.user
        if campaign_id is not None:
            return Campaign.objects.shows(campaign_id, user)
        return not only_looks or Campaign.objects.shows_some(user)


def _is_for_viewers(view: Any) -> bool:
    """Say whether the action is for who may look, though it is asked by POST."""
    return getattr(view, "action", "") in getattr(view, "actions_for_viewers", ())
