"""Loosening the rule of everybody: one superuser wishes it, another says yes or no.

It binds every superuser, so that none of them lifts it from himself alone. A wish is about the rule as it stood: any
change of the rule voids it, and so does its time, the rule's `expires_after`.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from campaigns.launching import approval_rules
from campaigns.launching.models import ApprovalRule
from fleet.audit import note
from fleet.errors import ConflictError, ForbiddenError


@dataclass(frozen=True)
class Wish:
    """What somebody wants of a rule: its values, None = that it is gone."""

    by: int
    name: str
    since: str  # as it is shown, to be sent along with a yes
    expires_at: datetime
    to: dict[str, Any] | None

    @property
    def at(self) -> datetime:
        """Give since when it waits."""
        return datetime.fromisoformat(self.since)

    def may_grant(self, user: User | AnonymousUser) -> bool:
        """Say whether this person may say yes: a superuser who is another one."""
        return bool(user.is_superuser) and user.pk != self.by


def wish_of(rule: ApprovalRule) -> Wish | None:
    """Give what waits for somebody's yes; None = nothing does, or no more."""
    if rule.wish is None:
        return None
    expires_at = datetime.fromisoformat(rule.wish["at"]) + timedelta(seconds=rule.expires_after)
    if timezone.now() >= expires_at:
        return None
    return Wish(rule.wish["by"], rule.wish["name"], rule.wish["at"], expires_at, rule.wish["to"])


def waiting_for(user: User | AnonymousUser) -> list[ApprovalRule]:
    """Give the rules of which somebody wishes what this person may say yes to."""
    if not user.is_superuser:
        return []
    asked = ApprovalRule.objects.filter(wish__isnull=False).select_related("group")
    return [rule for rule in asked if (wish := wish_of(rule)) is not None and wish.may_grant(user)]


@transaction.atomic
def grant(rule_id: int, by: User, seen: str = "") -> ApprovalRule | None:
    """Let the wish come true; None = the rule is gone by it. `seen` is the moment of the wish that was looked at.

    Raise ForbiddenError for who asked himself or is no superuser, ConflictError when there is no such wish any more.
    """
    rule, wish = _found(rule_id, by)
    if not wish.may_grant(by):
        raise ForbiddenError(f"you asked for this change of the {rule} yourself: another superuser has to say yes")
    if seen and seen != wish.since:
        raise ConflictError(f"another change of the {rule} is asked for by now: look at it again")
    if wish.to is None:
        approval_rules.delete(rule, by, asked_by=wish.name)
        return None
    for name, value in {**wish.to, "group": _group(wish.to["group"])}.items():
        setattr(rule, name, value)
    try:
        rule.validate_constraints()
    except ValidationError as error:
        raise ConflictError(f"the {rule}: {' '.join(error.messages)}") from error
    approval_rules.save(rule, by, asked_by=wish.name)
    return rule


@transaction.atomic
def refuse(rule_id: int, by: User) -> ApprovalRule:
    """Say no, or take one's own wish back: the rule stays as it is. Raise as `grant` does."""
    rule, wish = _found(rule_id, by)
    rule.wish = None
    rule.save(update_fields=["wish"])
    note("approval_rule.refused", by=by, subject=str(rule), asked_by=wish.name, to=wish.to)
    return rule


def _found(rule_id: int, by: User) -> tuple[ApprovalRule, Wish]:
    if not by.is_superuser:
        raise ForbiddenError("the approval rule of everybody is loosened by superusers alone")
    rule = ApprovalRule.objects.select_for_update(of=("self",)).select_related("group").filter(pk=rule_id).first()
    wish = None if rule is None else wish_of(rule)
    if rule is None or wish is None:
        raise ConflictError(f"no change of rule {rule_id} waits for a yes: it was decided, or its time is over")
    return rule, wish


def _group(name: str | None) -> Group | None:
    if name is None:
        return None
    found = Group.objects.filter(name=name).first()
    if found is None:
        raise ConflictError(f"the group {name!r} is gone: ask for another change")
    return found
