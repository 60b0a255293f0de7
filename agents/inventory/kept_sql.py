"""SQL that people keep to be sent later, saved queries and that of labels: checked as a launch checks it.

It knows the permissions of launching by name only, since campaigns are above.
"""

from collections.abc import Collection

from django.conf import settings
from django.contrib.auth.models import User

from agents.inventory import schemas, sql, views
from agents.models import Host, Platform, TableSchema
from fleet import sight
from fleet.errors import BadInputError, ForbiddenError

LAUNCH = "campaigns.add_campaign"
LAUNCH_RESTRICTED, LAUNCH_CARVE = "campaigns.launch_restricted", "campaigns.launch_carve"


def check(text: str, by: User, field: str, platforms: Collection[str] = ()) -> str:
    """Give the SQL as it is kept. Raise BadInputError when it is wrong on every enrolled host, of these platforms if
    they are given, and ForbiddenError when it needs a permission this person lacks.

    While some kind of host has not told its tables, what the others say of tables is no verdict.
    """
    found = checked(text)
    if missing := lacking(found, by):
        raise ForbiddenError(missing, field)
    if trouble := _trouble_everywhere(found.text, by, platforms):
        raise BadInputError(f"sql {sql.excerpt(found.text)} is wrong on every host that could run it: {trouble}", field)
    return found.text


def checked(text: str) -> sql.Checked:
    """Give SQL as it may be sent, and why it needs a permission of its own. Raise BadInputError when it is wrong."""
    return sql.check(text, settings.RESTRICTED_TABLES, views.served())


def lacking(found: sql.Checked, by: User) -> str:
    """Say which permission this person lacks to let hosts run it, and why it is needed; "" = none.

    Who may carve and nothing else that is restricted may use the tables and functions of carves.
    """
    if not found.restricted or by.has_perm(LAUNCH_RESTRICTED) or (found.only_carves and by.has_perm(LAUNCH_CARVE)):
        return ""
    reasons, also = "; ".join(found.restricted), f" or {LAUNCH_CARVE}" if found.only_carves else ""
    return f"{reasons}: launching it needs the permission {LAUNCH_RESTRICTED}{also}"


def check_of_label(text: str, by: User, platform: str) -> str:
    """Give the SQL of a label as it is kept. It is asked again and again, so it only reads, whoever writes it."""
    kept = check(text, by, "queries", [platform] if platform in Platform.values else [])
    if sql.changes(kept):
        raise BadInputError(f"sql {sql.excerpt(kept)} does not only read: a label's SQL only reads", "queries")
    return kept


def check_author(by: User, field: str) -> None:
    """Raise ForbiddenError unless this person may launch: SQL of a label is sent to hosts as that of a campaign is."""
    if not by.has_perm(LAUNCH):
        raise ForbiddenError(f"SQL of a label is sent to hosts: writing it needs the permission {LAUNCH}", field)
    if sight.is_limited(by):
        raise ForbiddenError(
            "SQL of a label is sent to every host of its platform, and your scope is some hosts only: who sees all of"
            " them writes it",
            field,
        )


def _trouble_everywhere(text: str, by: User, platforms: Collection[str]) -> str | None:
    """Give what SQLite says on every kind of host that this person sees; None when one can run it or is unknown yet."""
    hosts = sight.within(Host.objects.enrolled(), by, "pk").filter(**({"platform__in": platforms} if platforms else {}))
    kinds = set(hosts.order_by().values_list(*schemas.KIND).distinct())
    learned = {
        tuple(getattr(schema, name) for name in schemas.KIND): schema
        for schema in TableSchema.objects.exclude(learned_at=None).defer("tables")
    }
    troubles = [sql.trouble_on(text, learned.get(kind)) for kind in kinds]
    return troubles[0] if troubles and None not in troubles else None
