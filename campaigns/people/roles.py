"""What each role may do: the one table that groups, pages, the API and the docs are made from or compared with.

A role is a Django group of that name; `write_groups` gives it what stands here, after every migration. What stands
apart from the roles is given to single persons, as permissions of their own, so that nobody has it by the way.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import NamedTuple

from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import transaction

ADMINISTRATOR, OPERATOR, OBSERVER, AUDITOR = "Administrator", "Operator", "Observer", "Auditor"
ROLES = {
    ADMINISTRATOR: "manages people, settings and everything else",
    OPERATOR: "asks the hosts in scope any SQL that only reads, and keeps queries and labels",
    OBSERVER: "looks, and runs the saved queries that are flagged for observers",
    AUDITOR: "looks at everything, the audit too, and changes nothing",
}

LOOK, LAUNCH, CHANGE = "campaigns.view_campaign", "campaigns.add_campaign", "campaigns.change_campaign"
LAUNCH_FLAGGED = "campaigns.launch_flagged"
LAUNCH_RESTRICTED, LAUNCH_CARVE = "campaigns.launch_restricted", "campaigns.launch_carve"
LAUNCH_UNLIMITED, SWITCH, APPROVE = (
    "campaigns.launch_unlimited",
    "campaigns.switch_live_queries",
    "campaigns.approve_campaign",
)
SEE_HOSTS, SEE_LABELS, SEE_QUERIES = "agents.view_host", "agents.view_label", "campaigns.view_query"
SEE_CARVES, DOWNLOAD_CARVES = "agents.view_carve", "agents.download_carve"
SEE_SECRETS, SEE_CONFIG = "agents.view_enrollsecret", "agents.view_configdocument"
KEEP_HOOKS = "campaigns.add_hook"
SEE_RULES, SEE_QUOTAS = "campaigns.view_approvalrule", "campaigns.view_quota"
SEE_AUDIT = "audit.view_auditevent"
SEE_PEOPLE, CHANGE_PEOPLE, CHANGE_SCOPES = "auth.view_user", "auth.change_user", "campaigns.change_scope"


class Right(NamedTuple):
    """One line of the table: what may be done, by which permissions, in which roles beside the administrator's."""

    says: str
    permissions: tuple[str, ...]  # `*` stands for any run of letters
    roles: tuple[str, ...] = ()
    is_apart: bool = False  # given to single persons, whatever their role


TABLE = (
    Right(
        "look at campaigns, their answers, groups and exports",
        (LOOK, "campaigns.view_target", "campaigns.view_result", SEE_QUERIES, "campaigns.view_schedule"),
        (OPERATOR, OBSERVER, AUDITOR),
    ),
    Right(
        "look at hosts, labels and tables",
        (SEE_HOSTS, SEE_LABELS, "agents.view_presence", "agents.view_labelmembership", "agents.view_tableschema"),
        (OPERATOR, OBSERVER, AUDITOR),
    ),
    Right("run saved queries that are flagged for observers", (LAUNCH_FLAGGED,), (OPERATOR, OBSERVER)),
    Right("launch any SQL that only reads; stop, pause, widen, ask again", (LAUNCH, CHANGE), (OPERATOR,)),
    Right("keep saved queries", ("campaigns.*_query",), (OPERATOR,)),
    Right("keep labels", ("agents.*_label", "agents.*_labelmembership"), (OPERATOR,)),
    Right("keep hooks of one's own: programs and services that are told", (KEEP_HOOKS,), (OPERATOR,)),
    Right("look at everything else: secrets' names, config, people, tokens, audit", ("*.view_*",), (AUDITOR,)),
    Right("launch SQL that changes hosts or uses restricted tables, carves too", (LAUNCH_RESTRICTED,), is_apart=True),
    Right("carve files from hosts", (LAUNCH_CARVE,), is_apart=True),
    Right("download what hosts carved", (SEE_CARVES, DOWNLOAD_CARVES), is_apart=True),
    Right("make, change and revoke enroll secrets", ("agents.*_enrollsecret",), is_apart=True),
    Right("write the config of agents", ("agents.*_configdocument",), is_apart=True),
    Right("approve launches of others", (APPROVE,), is_apart=True),
    Right("switch all live queries off and on", (SWITCH,), is_apart=True),
    Right("launch beyond the quotas", (LAUNCH_UNLIMITED,), is_apart=True),
    Right("revoke hosts, clear marks, learn tables again", ("agents.change_host", "agents.change_tableschema")),
    Right("give roles, rights and scopes, make people, end tokens", ("auth.*", "campaigns.*_scope", "*_apitoken")),
    Right("delete campaigns, carves and everything else that can be", ("*",)),
)
APART = tuple(right for right in TABLE if right.is_apart)


def patterns_of(role: str) -> tuple[str, ...]:
    """Give the permissions of a role as the table has them; the administrator has all."""
    rights = (right for right in TABLE if role == ADMINISTRATOR or role in right.roles)
    return tuple(pattern for right in rights for pattern in right.permissions)


def chosen(names: Iterable[str], patterns: Iterable[str]) -> set[str]:
    """Give those of the permissions' names that one of the patterns means."""
    patterns = tuple(patterns)
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def known_permissions() -> dict[str, int]:
    """Give the rows of all permissions by name."""
    rows = Permission.objects.order_by().values_list("pk", "content_type__app_label", "codename")
    return {f"{app}.{codename}": pk for pk, app, codename in rows}


@transaction.atomic
def write_groups() -> None:
    """Make the groups of the roles agree with the table, whatever was changed in them; safe to run again."""
    known = known_permissions()
    Group.objects.bulk_create([Group(name=role) for role in ROLES], ignore_conflicts=True)
    for group in Group.objects.filter(name__in=ROLES):
        group.permissions.set(known[name] for name in chosen(known, patterns_of(group.name)))


def may_launch_something(user: User | AnonymousUser) -> bool:
    """Say whether a person may launch anything: any SQL, or what is flagged for observers."""
    return user.has_perm(LAUNCH) or user.has_perm(LAUNCH_FLAGGED)


def rows_of(right: Right) -> frozenset[int]:
    """Give the rows of a right's permissions."""
    known = known_permissions()
    return frozenset(known[name] for name in chosen(known, right.permissions))


def as_markdown() -> str:
    """Write the table as the docs have it."""
    lines = [f"| may | {' | '.join(ROLES)} |", "|---" * (len(ROLES) + 1) + "|"]
    for right in TABLE:
        marks = ["yes" if _has(role, right) else "if given" if right.is_apart else "" for role in ROLES]
        lines.append(f"| {right.says} | {' | '.join(marks)} |")
    return "\n".join(lines)


def _has(role: str, right: Right) -> bool:
    return role == ADMINISTRATOR or role in right.roles
