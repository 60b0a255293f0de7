"""Which hosts a person may see and ask: the one place that decides. Everything that shows or chooses hosts asks it.

A group may have a scope: labels whose hosts its members may see. The rule for who is in several groups: **a limit,
once given, holds.** Who is in any group with a scope sees the hosts of those groups' labels together; groups without
one add rights and no hosts. Who is in no group with a scope sees all, and so do superusers. A scope without labels
shows no host. So putting somebody into a team never shows him more than the team's hosts, whatever his role.

What narrows further, as the labels of a token, calls `narrow(user, labels)` on the person of the request. Limits are
looked up once for each object of a person; who keeps one longer than a request fetches a fresh one.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

from django.contrib.auth.models import AnonymousUser, Group, User
from django.db import models
from django.db.models import QuerySet

from agents.inventory import schemas
from agents.models import Host, HostQuerySet, Label, LabelMembership

# Each set holds labels of which a host bears at least one; every set has to be met. () = every host.
Limits = tuple[frozenset[int], ...]
Rows = TypeVar("Rows", bound="QuerySet[Any]")
UNLIMITED: Limits = ()
NOBODY: Limits = (frozenset(),)


class Scope(models.Model):
    """What hosts the members of a group may see: those that bear one of the labels."""

    group = models.OneToOneField(Group, models.CASCADE, related_name="scope")
    labels: "models.ManyToManyField[Label, Any]" = models.ManyToManyField(
        Label, blank=True, related_name="scopes", help_text="its members see the hosts of these labels; none = no host"
    )

    class Meta:
        ordering = ["group__name"]

    def __str__(self) -> str:
        return f"scope of {self.group.name}"


def limits_of(user: User | AnonymousUser) -> Limits:
    """Give a person's limits; looked up once, then kept with the object."""
    kept: Limits | None = getattr(user, "_limits_of_groups", None)
    if kept is None:
        kept = _of_groups(user)
        user._limits_of_groups = kept  # type: ignore[union-attr]  # as Django keeps permissions
    return (*kept, *getattr(user, "_narrowed_to", ()))


def _of_groups(user: User | AnonymousUser) -> Limits:
    if user.is_anonymous:
        return NOBODY
    if user.is_superuser:
        return UNLIMITED
    found = list(Scope.objects.filter(group__user=user.pk).order_by().values_list("pk", "labels"))
    return (frozenset(label for _, label in found if label is not None),) if found else UNLIMITED


def narrow(user: User, labels: Iterable[int]) -> None:
    """Let this person, as this object stands for him, see only hosts that bear one of these labels as well."""
    user._narrowed_to = (*getattr(user, "_narrowed_to", ()), frozenset(labels))  # type: ignore[attr-defined]


def is_limited(user: User | AnonymousUser) -> bool:
    """Say whether there may be hosts that this person does not see."""
    return limits_of(user) != UNLIMITED


def may_with_all(user: User | AnonymousUser, permission: str) -> bool:
    """Say whether a person has a permission and sees every host: only then it reaches what is kept by others."""
    return user.has_perm(permission) and not is_limited(user)


def hosts_for(user: User | AnonymousUser) -> HostQuerySet:
    """Give the hosts this person may see, revoked ones too."""
    return hosts_within(limits_of(user))


def hosts_within(limits: Limits) -> HostQuerySet:
    """Give the hosts within these limits, revoked ones too."""
    return within_limits(Host.objects.all(), limits, "pk")


def tables_for(user: User | AnonymousUser, platform: str = "", search: str = "") -> list[dict[str, Any]]:
    """Give the learned tables of osquery that hosts have which this person may see, as `schemas.tables` does."""
    return schemas.tables(platform, search, of=hosts_for(user) if is_limited(user) else None)


def within(queryset: Rows, user: User | AnonymousUser, field: str = "host_id") -> Rows:
    """Give the rows whose host, named by `field`, this person may see; unchanged for who is not limited."""
    return within_limits(queryset, limits_of(user), field)


def within_limits(queryset: Rows, limits: Limits, field: str = "host_id") -> Rows:
    """Give the rows whose host is within these limits."""
    for labels in limits:
        members = LabelMembership.objects.filter(label_id__in=labels).values("host_id")
        queryset = queryset.filter(**{f"{field}__in": members})
    return queryset


def condition(limits: Limits, column: str) -> tuple[str, list[Any]]:
    """Give the same as a condition of raw SQL on this column, and its values."""
    member = f"{column} IN (SELECT host_id FROM agents_labelmembership WHERE label_id = ANY(%s))"  # noqa: S608
    return " AND ".join(["TRUE", *(member for _ in limits)]), [sorted(labels) for labels in limits]


def limits_of_launch(kept: list[list[int]], by: User | None) -> Limits:
    """Give the limits of what was launched: those of that moment, and what its launcher's are now as well."""
    now = UNLIMITED if by is None else limits_of(by)
    return tuple(dict.fromkeys([*from_json(kept), *now]))


def as_json(limits: Limits) -> list[list[int]]:
    """Give limits as they are kept with what was launched under them."""
    return [sorted(labels) for labels in limits]


def from_json(kept: list[list[int]]) -> Limits:
    """Read what `as_json` gave."""
    return tuple(map(frozenset, kept))
