"""How much one person may launch, and how much one campaign may keep. A limit of 0 is none."""

from datetime import timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone

from campaigns.models import Campaign
from campaigns.states import OVER
from fleet.errors import ForbiddenError, TooManyError

UNLIMITED = "campaigns.launch_unlimited"


# --- of a person -----------------------------------------------------------------------------------------------


def check_person(by: User) -> None:
    """Raise TooManyError when this person may launch nothing now.

    Locks the person until the transaction ends, so that two launches at once cannot both be the last one allowed.
    """
    User.objects.select_for_update(no_key=True).get(pk=by.pk)
    _check_pace(by)
    if not by.has_perm(UNLIMITED):
        _check_open(by)


def check_targets(by: User, targets: int) -> None:
    """Raise ForbiddenError when this person may not launch over so many hosts."""
    if too_many := beyond_quota(by, targets):
        raise ForbiddenError(too_many, "target")


def _check_pace(by: User) -> None:
    limit = settings.LAUNCHES_PER_MINUTE
    since = timezone.now() - timedelta(minutes=1)
    if limit and not by.is_superuser and Campaign.objects.filter(created_by=by, created_at__gte=since).count() >= limit:
        raise TooManyError(f"launches of {by.get_username()} within a minute: {limit}, allowed are {limit}", 60)


def _check_open(by: User) -> None:
    limit = settings.OPEN_CAMPAIGNS_PER_PERSON
    if limit and Campaign.objects.filter(created_by=by).exclude(status__in=OVER).count() >= limit:
        raise TooManyError(
            f"open campaigns of {by.get_username()}: {limit}, allowed are {limit} without the permission {UNLIMITED}:"
            " stop one, or wait until one has ended"
        )


def beyond_quota(by: User, targets: int) -> str:
    """Say that so many hosts are too many for this person; "" when they are not."""
    limit = _most_targets(by)
    if not limit or targets <= limit or by.has_perm(UNLIMITED):
        return ""
    return f"target selects {targets} hosts, allowed are {limit}: more need the permission {UNLIMITED}"


def room_for_targets(by: User, targeted: int) -> int | None:
    """Give how many more hosts may join a campaign of this person; None = any number."""
    limit = _most_targets(by)
    return max(0, limit - targeted) if limit and not by.has_perm(UNLIMITED) else None


def _most_targets(by: User) -> int:
    """Give the limit of this person: the highest of their groups', or that of everybody. 0 = none."""
    of_groups: dict[str, int] = settings.TARGETS_PER_CAMPAIGN_BY_GROUP
    limits = [of_groups[name] for name in by.groups.filter(name__in=of_groups).values_list("name", flat=True)]
    if not limits:
        return int(settings.TARGETS_PER_CAMPAIGN)
    return 0 if 0 in limits else max(limits)


# --- of a campaign ---------------------------------------------------------------------------------------------
