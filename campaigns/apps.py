"""The campaigns app."""

from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.apps.registry import Apps
from django.contrib.auth import get_user_model
from django.db.models.signals import post_migrate, pre_delete

from fleet.database.migrated import stand_at_their_end


class CampaignsConfig(AppConfig):
    """Campaigns, their targets and results, the API and the console."""

    name = "campaigns"
    verbose_name = "Campaigns"

    def import_models(self) -> None:
        """Load the models that lie in the room they belong to as well."""
        super().import_models()
        for room in ("answers", "collecting", "hooks", "launching", "recurring"):
            import_module(f"campaigns.{room}.models")
        import_module("campaigns.tokens")
        import_module("campaigns.people.scopes")

    def ready(self) -> None:
        """Let the groups of the roles follow their table: permissions of new models are there after the migrations."""
        post_migrate.connect(_write_groups, sender=self, dispatch_uid="groups of the roles")
        _watch()
        pre_delete.connect(_note_what_goes_along, sender=get_user_model(), dispatch_uid="what goes with a person")


def _watch() -> None:
    """Let the audit tell of what people keep."""
    from campaigns.answers.models import QueryView
    from campaigns.models import Campaign, Query
    from campaigns.people.scopes import Scope
    from campaigns.tokens import ApiToken
    from fleet.audit.kept import watch

    watch(Campaign, "campaign", ("name", "pinned"), only_changes=True)
    watch(Query, "query", ("name", "sql", "description", "observer_can_run"))
    watch(QueryView, "query_view", ("query", "name", "sql", "chart"))
    watch(Scope, "scope", ("group",), ("labels",))
    watch(ApiToken, "token", ("name", "access", "role", "tools_may_launch", "expiry", "user"), ("labels",))


def _note_what_goes_along(instance: Any, **_: Any) -> None:
    """Let schedules and hooks that go with their owner leave a line each."""
    from fleet.audit import note

    reason = f"its owner {instance.get_username()} is deleted"
    for kind, room in (("hook", "hooks"), ("schedule", "recurring")):
        said = import_module(f"campaigns.{room}.keeping").said
        for row in getattr(instance, f"{kind}s").order_by("pk"):
            note(f"{kind}.deleted", subject=f"{kind} {row.pk}", reason=reason, **said(row))


def _write_groups(apps: Apps = installed, **_: object) -> None:
    if stand_at_their_end(apps, "auth", "audit", "campaigns"):
        import_module("campaigns.people.roles").write_groups()
