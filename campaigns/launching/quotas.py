"""How much one person may launch and keep, and how much one campaign may keep. A limit of 0 is none.

The settings hold for everybody; a row of a group overrides them, the most generous of one's groups; a row of the person
overrides those. Who is over one is told which, how much is used, and when there is room again.
"""

import math
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import F, Q, Sum
from django.db.models.functions import Coalesce, Greatest
from django.utils import timezone

from campaigns.launching.models import Quota
from campaigns.models import Campaign
from campaigns.people.roles import LAUNCH_UNLIMITED
from campaigns.states import OVER, Status
from fleet.audit import note
from fleet.counting import counted
from fleet.errors import FleetError, ForbiddenError, TooManyError

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SETTINGS = {
    "open_campaigns": "OPEN_CAMPAIGNS_PER_PERSON",
    "hosts_per_hour": "HOSTS_PER_HOUR_PER_PERSON",
    "rows_kept": "ROWS_KEPT_PER_PERSON",
}


class Standing(NamedTuple):
    """One quota of a person: how much is used of it; `frees_at` = when there is more room, None = not by waiting."""

    name: str
    limit: int
    used: int
    frees_at: datetime | None

    @property
    def is_full(self) -> bool:
        """Say whether nothing more goes."""
        return self.used >= self.limit

    def as_json(self) -> dict[str, Any]:
        """Give it as an estimate shows it, with times as they are."""
        return {**self._asdict(), "is_full": self.is_full}


# --- of a person -----------------------------------------------------------------------------------------------


def check_person(by: User) -> None:
    """Raise TooManyError when this person may launch nothing now.

    Locks the person until the transaction ends, so that two launches at once cannot both be the last one allowed; not
    who has no limit, so that many launches of one program do not wait for each other.
    """
    if by.is_superuser:
        return
    lock(by)
    _check_pace(by)
    if by.has_perm(LAUNCH_UNLIMITED):
        return
    now, limits = timezone.now(), limits_of(by)
    for name in ("open_campaigns", "rows_kept"):
        limit = limits[name]
        if limit and (found := STANDINGS[name](by, limit, now)).is_full:
            raise TooManyError(sentence(found, by, now), _seconds_until(found.frees_at, now))


def lock(by: User) -> None:
    """Let launches and starts of one person wait for each other until the transaction ends: each counts the others."""
    User.objects.select_for_update(no_key=True).get(pk=by.pk)


def standings(by: User) -> list[Standing]:
    """Give how a person stands with each quota he or she is under; [] = with none."""
    if by.has_perm(LAUNCH_UNLIMITED):
        return []
    now, limits = timezone.now(), limits_of(by)
    return [stand(by, limit, now) for name, stand in STANDINGS.items() if (limit := limits[name])]


def limits_of(by: User) -> dict[str, int]:
    """Give a person's limits: his own, else the highest of his groups', else that of everybody. 0 = none."""
    rows = list(Quota.objects.filter(Q(person=by) | Q(group__user=by)).distinct())
    return {name: _limit(name, rows) for name in Quota.NAMES}


def _limit(name: str, rows: Iterable[Quota]) -> int:
    own = [getattr(row, name) for row in rows if row.group_id is None]
    of_groups = [getattr(row, name) for row in rows if row.group_id is not None]
    for given in (own, of_groups):
        known = [limit for limit in given if limit is not None]
        if known:
            return 0 if 0 in known else int(max(known))
    return int(getattr(settings, SETTINGS[name]))


def sentence(full: Standing, by: User, now: datetime) -> str:
    """Say that a quota is used up, of whom, how much, and when there is room again."""
    used_up = f"{WORDS[full.name]} of {by.get_username()}: {full.used}, allowed are {full.limit} without the permission"
    return f"{used_up} {LAUNCH_UNLIMITED}: {WAYS_OUT[full.name]}{_when(full.frees_at)}"


WORDS = {
    "open_campaigns": "open campaigns",
    "hosts_per_hour": "hosts asked within an hour",
    "rows_kept": "rows kept in the campaigns",
}
TITLES = {
    "open_campaigns": "Your campaigns at once",
    "hosts_per_hour": "Hosts you asked within an hour",
    "rows_kept": "Rows kept in your campaigns",
}
WAYS_OUT = {
    "open_campaigns": "stop one, or wait until one has ended",
    "hosts_per_hour": "wait, or ask fewer",
    "rows_kept": "delete campaigns that are not needed any more",
}


def _when(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return f"; there is room again by {moment.astimezone(timezone.get_default_timezone()):%Y-%m-%d %H:%M:%S} UTC"


def _seconds_until(moment: datetime | None, now: datetime) -> int:
    """Give whole seconds for Retry-After, 0 = waiting is no help."""
    return 0 if moment is None else max(1, math.ceil((moment - now).total_seconds()))


def _check_pace(by: User) -> None:
    limit, now = settings.LAUNCHES_PER_MINUTE, timezone.now()
    if not limit:
        return
    mine = Campaign.objects.filter(created_by=by, created_at__gte=now - MINUTE).order_by("-created_at")
    first = mine.values_list("created_at", flat=True)[limit - 1 : limit].first()
    if first is not None:
        wait = _seconds_until(first + MINUTE, now)
        sentence = f"launches of {by.get_username()} within a minute: {limit}, allowed are {limit}"
        raise TooManyError(f"{sentence}: the next goes in {counted(wait, 'second')}", wait)


def _of_open(by: User, limit: int, now: datetime) -> Standing:
    mine = Campaign.objects.filter(created_by=by).exclude(status__in=OVER)
    ends = mine.exclude(ends_at=None).order_by("ends_at").values_list("ends_at", flat=True).first()
    return Standing("open_campaigns", limit, mine.count(), None if ends is None else max(ends, now))


def _of_rows(by: User, limit: int, now: datetime) -> Standing:
    mine = Campaign.objects.filter(created_by=by)
    used = int(mine.aggregate(rows=Sum("count_rows"))["rows"] or 0)
    return Standing("rows_kept", limit, used, _purged_at(mine.filter(status__in=OVER, pinned=False), used - limit))


def _purged_at(ended: Any, surplus: int) -> datetime | None:
    """Give when campaigns go by age so that fewer rows are kept than the surplus; None = they stay."""
    if not settings.CAMPAIGN_RETENTION_DAYS:
        return None
    for ended_at, rows in ended.filter(count_rows__gt=0).order_by("ended_at").values_list("ended_at", "count_rows"):
        surplus -= rows
        if surplus < 0:
            return ended_at + timedelta(days=settings.CAMPAIGN_RETENTION_DAYS)  # type: ignore[no-any-return]
    return None


def _of_hosts(by: User, limit: int, now: datetime) -> Standing:
    asked = _asked_around(by, now)
    within = [(moment, hosts) for moment, hosts in asked if now - HOUR < moment <= now]
    frees_at = min((moment for moment, _ in within), default=None)
    return Standing("hosts_per_hour", limit, sum(hosts for _, hosts in within), frees_at and frees_at + HOUR)


STANDINGS: dict[str, Callable[[User, int, datetime], Standing]] = {
    "open_campaigns": _of_open,
    "hosts_per_hour": _of_hosts,
    "rows_kept": _of_rows,
}


# --- hosts -----------------------------------------------------------------------------------------------------


def check_targets(by: User, targets: int, at: datetime | None = None, but: int | None = None) -> None:
    """Raise ForbiddenError when this person may never launch over so many hosts, TooManyError when not at that time.

    `at` is when it begins, None = now; `but` is a campaign that does not count: the one that begins.
    """
    if too_many := beyond_quota(by, targets):
        raise ForbiddenError(too_many, "target")
    limit = 0 if by.has_perm(LAUNCH_UNLIMITED) else limits_of(by)["hosts_per_hour"]
    if not limit:
        return
    now = timezone.now()
    at = at or now
    asked = _asked_around(by, at, but)
    used = _most_within_an_hour(asked, at)
    if used + targets > limit:
        frees_at = _room_at(asked, at, limit - targets)
        full = Standing("hosts_per_hour", limit, used, frees_at)
        raise TooManyError(f"{sentence(full, by, now)}; this launch is over {targets}", _seconds_until(frees_at, now))


def refusal(by: User, targets: int, at: datetime | None = None) -> list[str]:
    """Give the sentence with which a launch over so many hosts would be refused; [] = it would not be."""
    try:
        check_targets(by, targets, at)
    except FleetError as error:
        return [error.sentence]
    return []


def _asked_around(by: User, at: datetime, but: int | None = None) -> list[tuple[datetime, int]]:
    """Give when this person's campaigns of an hour before and all later ones ask how many hosts, in order."""
    moment = Coalesce("started_at", Greatest("start_at", "created_at"))
    mine = Campaign.objects.filter(created_by=by).exclude(pk=but or 0).exclude(status=Status.STOPPED, started_at=None)
    recent = mine.annotate(moment=moment, hosts=Greatest(F("expected"), F("count_targeted"))).filter(
        moment__gt=at - HOUR
    )
    return list(recent.order_by("moment").values_list("moment", "hosts"))


def _most_within_an_hour(asked: Iterable[tuple[datetime, int]], at: datetime) -> int:
    """Give the most hosts that are asked within any hour that a launch at this moment would fall into."""
    near = [(moment, hosts) for moment, hosts in asked if at - HOUR < moment < at + HOUR]
    begins = [moment for moment, _ in near if moment <= at] + [at]
    return max(sum(hosts for moment, hosts in near if begin <= moment < begin + HOUR) for begin in begins)


def _room_at(asked: list[tuple[datetime, int]], at: datetime, room: int) -> datetime | None:
    """Give when so many hosts go at last: as what was asked before falls out of the hour, one after the other."""
    for moment, _ in asked:
        later = moment + HOUR
        if later > at and _most_within_an_hour(asked, later) <= room:
            return later
    return None


def beyond_quota(by: User, targets: int) -> str:
    """Say that so many hosts are too many for this person, whenever; "" when they are not."""
    if by.has_perm(LAUNCH_UNLIMITED):
        return ""
    limit, hourly = _most_targets(by), limits_of(by)["hosts_per_hour"]
    selected = f"target selects {counted(targets, 'host')}"
    if limit and targets > limit:
        return f"{selected}, allowed are {limit}: more need the permission {LAUNCH_UNLIMITED}"
    if hourly and targets > hourly:
        return f"{selected}, allowed are {hourly} within an hour: more need {LAUNCH_UNLIMITED}"
    return ""


def room_for_targets(by: User, targeted: int) -> int | None:
    """Give how many more hosts may join a campaign of this person; None = any number."""
    if by.has_perm(LAUNCH_UNLIMITED):
        return None
    limits = [limit for limit in (_most_targets(by), limits_of(by)["hosts_per_hour"]) if limit]
    return max(0, min(limits) - targeted) if limits else None


def _most_targets(by: User) -> int:
    """Give the limit of this person: the highest of their groups', or that of everybody. 0 = none."""
    of_groups: dict[str, int] = settings.TARGETS_PER_CAMPAIGN_BY_GROUP
    limits = [of_groups[name] for name in by.groups.filter(name__in=of_groups).values_list("name", flat=True)]
    if not limits:
        return int(settings.TARGETS_PER_CAMPAIGN)
    return 0 if 0 in limits else max(limits)


# --- keeping them ----------------------------------------------------------------------------------------------


@transaction.atomic
def keep(quota: Quota, by: User) -> None:
    """Save a row of quotas, and who wrote it. Raise ForbiddenError for who would loosen his own by it."""
    before = limits_of(by)
    quota.changed_by = by.get_username()
    quota.save()
    _check_not_looser(before, by)
    note("quota.kept", by=by, subject=str(quota), **quota.as_json())


@transaction.atomic
def drop(quota: Quota, by: User) -> None:
    """Delete one: the settings hold again. Raise ForbiddenError for who would loosen his own by it."""
    before = limits_of(by)
    note("quota.deleted", by=by, subject=str(quota), **quota.as_json())
    quota.delete()
    _check_not_looser(before, by)


def _check_not_looser(before: dict[str, int], by: User) -> None:
    """Raise ForbiddenError, in the transaction of the change, when who made it may launch or keep more by it.

    Whoever may launch beyond the quotas is under none.
    """
    if by.has_perm(LAUNCH_UNLIMITED):
        return
    for name, limit in limits_of(by).items():
        was = before[name]
        if was and (not limit or limit > was):
            raise ForbiddenError(
                f"the quota of {WORDS[name]} binds you as well, {was} by now: somebody whom it does not bind raises it"
            )
