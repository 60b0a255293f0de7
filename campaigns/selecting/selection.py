"""Who is meant: a selection as people give it, checked, and the query that finds its hosts.

`all`, `labels`, `platforms`, `hosts` and `campaign` select; labels and platforms narrow each other, hosts and those of
an earlier campaign are added. `exclude_labels`, `online` and `sample` only filter, and filter everything. Values within
one key are alternatives; an empty list selects nobody.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from django.contrib.auth.models import User
from django.db.models import BigIntegerField, ExpressionWrapper, F, Q

from agents.inventory import host_names
from agents.models import Host, HostQuerySet, Label, LabelMembership, Platform
from campaigns.people import scopes
from campaigns.people.scopes import Limits
from campaigns.selecting.earlier_targets import Earlier
from fleet.errors import BadInputError
from fleet.text import is_text

SELECTORS = ("all", "labels", "platforms", "hosts", "campaign")
FILTERS = ("exclude_labels", "online", "sample")
MOST_HOSTS = 50_000  # named in one target; more are a label, or a campaign's
# Where a host stands among all, the same for ever: its id by the golden ratio, so that any range of ids is spread
# evenly and 10 % of it are 10 % of its hosts.
PLACES = 2**32
PLACE = ExpressionWrapper(F("pk") % 2**31 * 2_654_435_761 % PLACES, BigIntegerField())


@dataclass(frozen=True)
class Sample:
    """A part of the hosts that are meant. The smaller of two samples is in the larger one."""

    percent: float | None = None
    count: int | None = None

    @classmethod
    def read(cls, value: Any) -> "Sample":
        """Read `{"percent": p}` or `{"count": n}`. Raise BadInputError."""
        if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= {"percent", "count"}:
            raise BadInputError(f"target.sample {value!r} is neither {{'percent': p}} nor {{'count': n}}", "target")
        percent: Any = value.get("percent")
        count: Any = value.get("count")
        if "percent" in value and not (_is_number(percent, (int, float)) and 0 < percent <= 100):
            raise BadInputError(f"target.sample.percent {percent!r} is not a number above 0, up to 100", "target")
        if "count" in value and not (_is_number(count, (int,)) and 0 < count < 2**63):
            raise BadInputError(f"target.sample.count {count!r} is not a number of hosts, 1 or more", "target")
        return cls(percent, count)

    def of(self, hosts: HostQuerySet) -> HostQuerySet:
        """Give the hosts that are in it."""
        placed = hosts.annotate(place=PLACE)
        if self.percent is not None:
            return placed.filter(place__lt=self.percent / 100 * PLACES)
        # Nested, so that what narrows it further (a range of ids) comes after the count.
        first: HostQuerySet = Host.objects.filter(pk__in=placed.order_by("place", "pk").values("pk")[: self.count])
        return first


@dataclass(frozen=True)
class Selection:
    """What the operator chose, checked for shape. None = not given, an empty list = nobody.

    `limits` are those of who chose: hosts outside are meant by nothing, and their names are unknown.
    """

    everybody: bool = False
    labels: list[str] | None = None
    platforms: list[str] | None = None
    host_ids: list[int] = field(default_factory=list)
    host_names: list[str] = field(default_factory=list)
    earlier: Earlier | None = None
    exclude_labels: list[str] = field(default_factory=list)
    online: bool = False
    sample: Sample | None = None
    limits: Limits = scopes.UNLIMITED

    @classmethod
    def read(cls, target: Any, limits: Limits) -> "Selection":
        """Read `target` of a launch. Raise BadInputError naming what is wrong."""
        if not isinstance(target, dict):
            raise BadInputError(f"target {target!r} is not an object like {{'all': true}}", "target")
        for name in target:
            if name not in SELECTORS + FILTERS:
                allowed = ", ".join(SELECTORS + FILTERS)
                raise BadInputError(f"target has an unknown member {name!r}, allowed are {allowed}", "target")
        if not any(name in target for name in SELECTORS):
            raise BadInputError(f"target selects nobody: give at least one of {', '.join(SELECTORS)}", "target")
        hosts = _list(target, "hosts", (int, str)) or []
        return cls(
            everybody=_true(target, "all"),
            labels=_list(target, "labels", (str,)),
            platforms=_list(target, "platforms", (str,)),
            host_ids=[host for host in hosts if isinstance(host, int)],
            host_names=[host for host in hosts if isinstance(host, str)],
            earlier=Earlier.read(target["campaign"], "target.campaign") if "campaign" in target else None,
            exclude_labels=_list(target, "exclude_labels", (str,)) or [],
            online=_true(target, "online"),
            sample=Sample.read(target["sample"]) if "sample" in target else None,
            limits=limits,
        )

    def check_rights(self, by: User) -> None:
        """Raise ForbiddenError when this person may not look at what hosts are chosen by."""
        if self.earlier is not None:
            self.earlier.check_rights(by, "target")

    def check_names(self) -> list[str]:
        """Give warnings about names that mean several hosts. Raise BadInputError for names nobody bears."""
        for name in self.platforms or []:
            if name not in Platform.values:
                raise BadInputError(f"platform {name!r} is unknown, allowed are {', '.join(Platform.values)}", "target")
        _all_known("label", [*(self.labels or []), *self.exclude_labels], self._label_ids)
        if self.earlier is not None:
            self.earlier.check("target", self.limits)
        found = host_names.look_up(self.host_ids, self.host_names, scopes.hosts_within(self.limits))
        host_names.check_known(found, "target")
        return found.warnings

    @cached_property
    def _label_ids(self) -> dict[str, int]:
        """Look up the labels by name. With their ids in the query Postgres knows how many members each has."""
        names = [*(self.labels or []), *self.exclude_labels]
        return dict(Label.objects.filter(name__in=names).values_list("name", "pk")) if names else {}

    def _members(self, labels: list[str]) -> Any:
        ids = [self._label_ids[name] for name in labels if name in self._label_ids]
        return LabelMembership.objects.filter(label_id__in=ids).values("host_id")

    def hosts(self, now: datetime) -> HostQuerySet:
        """Give the enrolled hosts this selection means now, as one query."""
        group = Q(pk__in=[]) if self.labels is None and self.platforms is None else Q()
        if self.labels is not None:
            group &= Q(pk__in=self._members(self.labels))
        if self.platforms is not None:
            group &= Q(platform__in=self.platforms)
        chosen = group | Q(pk__in=self.host_ids) | host_names.named(self.host_names)
        if self.earlier is not None:
            chosen |= self.earlier.hosts()
        hosts = scopes.hosts_within(self.limits).enrolled().filter(Q() if self.everybody else chosen)
        if self.exclude_labels:
            hosts = hosts.exclude(pk__in=self._members(self.exclude_labels))
        if self.online:
            hosts = hosts.online(now)
        return self.sample.of(hosts) if self.sample else hosts


def _true(target: dict[str, Any], name: str) -> bool:
    value = target.get(name, False)
    if not isinstance(value, bool):
        raise BadInputError(f"target.{name} {value!r} is not true or false", "target")
    return value


def _is_number(value: Any, kinds: tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


def _list(target: dict[str, Any], name: str, kinds: tuple[type, ...]) -> list[Any] | None:
    if name not in target:
        return None
    values = target[name]
    if not isinstance(values, list):
        raise BadInputError(f"target.{name} {values!r} is not a list", "target")
    if name == "hosts" and len(values) > MOST_HOSTS:
        raise BadInputError(
            f"target.hosts names {len(values)} hosts, allowed are {MOST_HOSTS}: put them into a label", "target"
        )
    for value in values:
        if not isinstance(value, kinds) or isinstance(value, bool):
            asked_for = " or ".join({"int": "an id", "str": "a name"}[kind.__name__] for kind in kinds)
            raise BadInputError(f"target.{name} has {value!r}, which is not {asked_for}", "target")
        if isinstance(value, int) and not 0 < value < 2**63:
            raise BadInputError(f"target.{name} has {value}, which is not the id of a host", "target")
        if isinstance(value, str) and not (value.strip() and is_text(value)):
            raise BadInputError(f"target.{name} has {value!r}, which is not a name", "target")
    return values


def _all_known(kind: str, asked_for: Iterable[Any], known: Iterable[Any]) -> None:
    asked_for = list(asked_for)
    if not asked_for:
        return
    found = set(known)
    missing = [name for name in dict.fromkeys(asked_for) if name not in found]
    if missing:
        names = ", ".join(repr(name) for name in missing[:10])
        raise BadInputError(f"unknown {kind}: {names}", "target")
