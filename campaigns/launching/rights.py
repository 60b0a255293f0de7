"""What a person may launch and steer, beside what the doors ask for: by the SQL, and by the hosts a campaign has."""

from django.contrib.auth.models import AnonymousUser, User
from django.db.models import QuerySet

from agents.inventory import kept_sql, sql
from agents.models import HostQuerySet
from campaigns.answers import sight
from campaigns.models import Campaign, Query
from campaigns.people import scopes
from campaigns.people.roles import CHANGE, LAUNCH, LAUNCH_FLAGGED, LOOK, may_launch_something
from fleet.errors import BadInputError, ForbiddenError


def checked_sql(text: str, by: User) -> str:
    """Give the SQL to send. Raise BadInputError when it is wrong, ForbiddenError when this person may not send it."""
    checked = kept_sql.checked(text)
    if lacking := kept_sql.lacking(checked, by):
        raise ForbiddenError(lacking, "sql")
    if may_only_launch_flagged(by) and not Query.objects.filter(observer_can_run=True, sql=checked.text).exists():
        raise ForbiddenError(
            f"sql {sql.excerpt(checked.text)} is not that of a saved query that is flagged for observers:"
            f" other SQL needs the permission {LAUNCH}",
            "sql",
        )
    return checked.text


def check_start(campaign: Campaign, hosts: HostQuerySet) -> None:
    """Raise ForbiddenError when who launched what begins only now may launch it no more, or does not see its hosts."""
    by = campaign.created_by
    if by is None or not by.is_active:
        said = "is deactivated" if by else "is gone"
    elif not may_launch_something(by):
        said = "may not launch campaigns any more"
    elif scopes.is_limited(by) and hosts.exclude(pk__in=scopes.hosts_for(by).values("pk")).exists():
        said = "does not see all of its hosts any more"
    else:
        checked_sql(campaign.sql, by)
        return
    raise ForbiddenError(f"{by.get_username() if by else 'somebody'}, who launched it, {said}")


def may_only_launch_flagged(by: User | AnonymousUser) -> bool:
    """Say whether a person may launch saved queries that are flagged for observers, as they stand, and no other SQL."""
    return by.has_perm(LAUNCH_FLAGGED) and not by.has_perm(LAUNCH)


def flagged_queries(by: User) -> "QuerySet[Query]":
    """Give the saved queries to choose from to who may launch no other SQL; none to others, who write their own."""
    return Query.objects.filter(observer_can_run=True) if may_only_launch_flagged(by) else Query.objects.none()


def check_flag(by: User, flagged: bool) -> None:
    """Raise ForbiddenError when this person may not write SQL that observers run: that is launching by others."""
    if flagged and not by.has_perm(LAUNCH):
        raise ForbiddenError(f"what observers may run is written with the permission {LAUNCH}", "observer_can_run")


def objection(campaign: Campaign, by: User | AnonymousUser) -> str:
    """Say why this person may not steer a campaign: stop, pause, rename or delete it; "" = he may.

    Who launched it may always. Others need to see all of its hosts: nobody steers what is done to hosts he may not see.
    """
    if campaign.created_by_id == by.pk:
        return ""
    if not by.has_perms([LOOK, CHANGE]):
        return f"campaign {campaign.pk} was not launched by you: that needs view_campaign and change_campaign"
    if sight.seen_by(campaign, by).is_partial:
        return f"campaign {campaign.pk} is over hosts outside of your scope too: who sees all of them can do that"
    return ""


def check_steering(campaign: Campaign, by: User) -> None:
    """Raise ForbiddenError when this person may not steer a campaign."""
    if sentence := objection(campaign, by):
        raise ForbiddenError(sentence)


def found(campaign_id: int, by: User) -> Campaign:
    """Give a campaign that this person may look at, whole. Raise BadInputError as for one that there is not."""
    campaign: Campaign | None = Campaign.objects.visible_to(by).filter(pk=campaign_id).first()
    if campaign is None:
        raise BadInputError(f"unknown campaign: {campaign_id}")
    return campaign
