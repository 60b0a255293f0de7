"""Who calls a tool: a person, narrowed by a token, and what he may do with campaigns."""

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User

from campaigns.answers import sight
from campaigns.launching import rights
from campaigns.models import Campaign
from campaigns.people.roles import LOOK, SEE_QUERIES, may_launch_something
from campaigns.tokens import Access, ApiToken
from fleet.api.asking import READING_ONLY
from fleet.errors import BadInputError, ForbiddenError

IN_SCOPE = "fleet.request"  # where the door leaves the request


@dataclass(frozen=True)
class Caller:
    """The person of one call. Each method raises ForbiddenError when he may not."""

    request: Any

    @property
    def user(self) -> User:
        """Give the person, narrowed to what the token is for."""
        user: User = self.request.user
        return user

    @property
    def token(self) -> ApiToken:
        """Give the token."""
        token: ApiToken = self.request.auth
        return token

    @property
    def origin(self) -> str:
        """Give what stands before addresses."""
        return settings.PUBLIC_URL or str(self.request.build_absolute_uri("/")[:-1])

    def check_change(self) -> None:
        """Let those on whose token is for more than reading."""
        if self.token.access == Access.READ:
            raise ForbiddenError(READING_ONLY)

    def check_launch(self) -> None:
        """Let those on whose token was made to launch by tools, and who may."""
        self.check_change()
        if not self.token.tools_may_launch:
            raise ForbiddenError(
                f"tools may not launch with the token {str(self.token)!r}: that is off unless it was made so"
                " (tools_may_launch)"
            )
        self.check_estimate()

    def check_estimate(self) -> None:
        """Let those on who may launch anything: what a launch would mean is for them."""
        if not may_launch_something(self.user):
            raise ForbiddenError("this needs a permission that you do not have: launching")

    def check_queries(self) -> None:
        """Let those on who may look at saved queries."""
        if not self.user.has_perm(SEE_QUERIES):
            raise ForbiddenError(f"looking at saved queries needs {SEE_QUERIES}")

    def campaign(self, campaign_id: int) -> Campaign:
        """Give a campaign as this person sees it, for reading. Raise BadInputError when there is none."""
        return sight.seen_by(self._whole(campaign_id), self.user)

    def steered(self, campaign_id: int) -> Campaign:
        """Give a campaign that this person may stop. Raise BadInputError when there is none."""
        self.check_change()
        campaign = self._whole(campaign_id)
        rights.check_steering(campaign, self.user)
        return campaign

    def _whole(self, campaign_id: int) -> Campaign:
        if not Campaign.objects.shows(campaign_id, self.user):
            raise ForbiddenError(f"looking at campaigns that somebody else launched needs {LOOK}")
        campaign = Campaign.objects.visible_to(self.user).filter(pk=campaign_id).first()
        if campaign is None:
            raise BadInputError(f"unknown campaign: {campaign_id}", "campaign")
        return campaign
