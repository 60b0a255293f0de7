"""Which launches need a second person: by how many hosts they reach, which tables they read, and when.

A rule belongs to a group, or to nobody's in particular: then it holds for everybody, superusers too. Whoever is in
several groups is under the rules of all of them, so the strictest decides: one group never frees from what another
asks for. Superusers are under the rules of the groups they are in, like anybody.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from agents.inventory import sql, views
from campaigns.answers.results import timestamp
from campaigns.launching import windows
from campaigns.launching.models import ApprovalRule, table_names
from fleet.audit import note
from fleet.counting import plural
from fleet.errors import ForbiddenError

# Asked at each launch, and mostly of none: what the ORM would write takes six times as long.
RULES_OF = """
SELECT * FROM campaigns_approvalrule
WHERE group_id IS NULL OR group_id IN (SELECT group_id FROM auth_user_groups WHERE user_id = %s) ORDER BY id
"""


@dataclass(frozen=True)
class Caught:
    """Why a launch waits, in sentences' parts (`more than 500 hosts`), and for how many seconds at most."""

    why: list[str]
    wait: int

    def as_json(self) -> dict[str, Any]:
        """Give it as an estimate shows it."""
        return {"why": self.why, "expires_after": self.wait}


def rules_of(by: User | None) -> list[ApprovalRule]:
    """Give the rules a person is under; None = who launched is gone: those of everybody."""
    return list(ApprovalRule.objects.raw(RULES_OF, [by and by.pk]))


def objection_to(rule: ApprovalRule, by: User, *, lifts: bool = False) -> str:
    """Say why this person may not keep the rule as it is now, or with `lifts` not drop it; "" = he may.

    Nobody loosens a rule that binds himself, or the second person would be himself. The rule of everybody binds all
    there are: a superuser may wish it looser (`rule_wishes`).
    """
    before = _loosened(rule, lifts)
    if before is None:
        return ""
    if before.group is None:
        return "" if by.is_superuser else f"the {before} binds you as well: only a superuser loosens it"
    if by.groups.filter(pk=before.group.pk).exists():
        return f"the {before} binds you as well: who is not in that group loosens it"
    return ""


def others_who_say_yes(by: User) -> QuerySet[User]:
    """Give who may say yes to what this superuser wishes of the rule of everybody."""
    return User.objects.filter(is_superuser=True, is_active=True).exclude(pk=by.pk)


def needs_another(rule: ApprovalRule, by: User, *, lifts: bool = False) -> bool:
    """Say whether another superuser has to say yes first: to loosening the rule of everybody, while there is one.

    The only superuser is not locked out: he loosens it alone, and the audit tells that he did.
    """
    before = _loosened(rule, lifts)
    return before is not None and before.group is None and others_who_say_yes(by).exists()


def _loosened(rule: ApprovalRule, lifts: bool) -> ApprovalRule | None:
    """Give the rule as it is kept, if this would loosen it."""
    before = ApprovalRule.objects.select_related("group").filter(pk=rule.pk).first() if rule.pk else None
    return before if before is not None and (lifts or _is_looser(before, rule)) else None


def _is_looser(before: ApprovalRule, now: ApprovalRule) -> bool:
    """Say whether there may be a launch that it caught, and catches no more."""
    if before.group_id != now.group_id:
        return True
    if before.hosts_above is not None and (now.hosts_above is None or now.hosts_above > before.hosts_above):
        return True
    tables = {name.casefold() for name in table_names(now.tables)}
    hours = windows.read(now.hours)
    return any(name.casefold() not in tables for name in table_names(before.tables)) or any(
        window not in hours for window in windows.read(before.hours)
    )


def _check(objection: str) -> None:
    if objection:
        raise ForbiddenError(objection)


@transaction.atomic
def keep(rule: ApprovalRule, by: User) -> bool:
    """Save a rule, and who wrote it; False = it waits for another superuser's yes. Raise ForbiddenError for who is
    under it and loosens it.
    """
    _lock(rule)
    _check(objection_to(rule, by))
    if needs_another(rule, by):
        _wish(rule, by, values_of(rule))
        return False
    save(rule, by)
    return True


@transaction.atomic
def drop(rule: ApprovalRule, by: User) -> bool:
    """Delete a rule; False = it waits for another superuser's yes. Raise ForbiddenError for who is under it."""
    _lock(rule)
    _check(objection_to(rule, by, lifts=True))
    if needs_another(rule, by, lifts=True):
        _wish(rule, by, None)
        return False
    delete(rule, by)
    return True


def save(rule: ApprovalRule, by: User, **more: str) -> None:
    """Save a rule. Whether this person may is the caller's question; `keep` asks it.

    What somebody wished of the rule before is void: it was about the rule as it stood.
    """
    rule.changed_by, rule.wish = by.get_username(), None
    rule.save()
    note("approval_rule.kept", by=by, subject=str(rule), **rule.as_json(), **more)


def delete(rule: ApprovalRule, by: User, **more: str) -> None:
    """Delete a rule. Whether this person may is the caller's question; `drop` asks it."""
    note("approval_rule.deleted", by=by, subject=str(rule), **rule.as_json(), **more)
    rule.delete()


def values_of(rule: ApprovalRule) -> dict[str, Any]:
    """Give all that a change of it may set."""
    return {"group": rule.group.name if rule.group else None, **rule.as_json()}


def _lock(rule: ApprovalRule) -> None:
    """Let two who change one rule do so one after the other: each is compared with what the other left."""
    if rule.pk:
        ApprovalRule.objects.select_for_update(of=("self",)).filter(pk=rule.pk).first()


def _wish(rule: ApprovalRule, by: User, to: dict[str, Any] | None) -> None:
    """Remember what this superuser wants of the rule of everybody; None = that it is gone."""
    wish = {"by": by.pk, "name": by.get_username(), "at": timestamp(timezone.now()), "to": to}
    ApprovalRule.objects.filter(pk=rule.pk).update(wish=wish)
    note("approval_rule.wished", by=by, subject=str(ApprovalRule.objects.get(pk=rule.pk)), to=to)


def catch(by: User | None, text: str, hosts: int, moments: Sequence[datetime]) -> Caught | None:
    """Say what of a person's rules catches a launch of checked SQL; None = nothing does.

    `moments` are when it is launched and when it begins: a window catches either. SQL "" = it is not known yet.
    """
    rules = rules_of(by)
    why = [*_by_hosts(rules, hosts), *_by_tables(rules, text), *_by_hours(rules, moments)]
    if not why:
        return None
    waits = [rule.expires_after for rule in rules if _reasons(rule, text, hosts, moments)]
    return Caught(why, min(waits))


def most_hosts_of(by: User | None) -> int | None:
    """Give over how many hosts a person may launch alone; None = any number."""
    return min(_limits(rules_of(by)), default=None)


def _reasons(rule: ApprovalRule, text: str, hosts: int, moments: Sequence[datetime]) -> list[str]:
    return [*_by_hosts([rule], hosts), *_by_tables([rule], text), *_by_hours([rule], moments)]


def _limits(rules: Iterable[ApprovalRule]) -> list[int]:
    return [rule.hosts_above for rule in rules if rule.hosts_above is not None]


def _by_hosts(rules: Iterable[ApprovalRule], hosts: int) -> list[str]:
    limit = min(_limits(rules), default=None)
    if limit is None or hosts <= limit:
        return []
    return [f"more than {limit:,} {plural(limit, 'host')}" if limit else "any host at all"]


def _by_tables(rules: Iterable[ApprovalRule], text: str) -> list[str]:
    tables = {name for rule in rules for name in table_names(rule.tables)}
    return [f"it reads {name}" for name in sql.tables_named(text, tables, views.served())] if tables and text else []


def _by_hours(rules: Iterable[ApprovalRule], moments: Sequence[datetime]) -> list[str]:
    every = dict.fromkeys(window for rule in rules for window in windows.read(rule.hours))
    return [f"launched within {window}" for window in every if any(map(window.holds, moments))]
