"""The agents app."""

from importlib import import_module
from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.apps.registry import Apps
from django.db.models.signals import post_migrate

from fleet.database.migrated import stand_at_their_end


class AgentsConfig(AppConfig):
    """Hosts, labels, enroll secrets and the osquery endpoints."""

    name = "agents"
    verbose_name = "Hosts"

    def import_models(self) -> None:
        """Load the models that lie in the room they belong to as well."""
        super().import_models()
        import_module("agents.carving.models")
        import_module("agents.inventory.models")

    def ready(self) -> None:
        """Keep the server's own questions and labels up to date after each migration."""
        post_migrate.connect(_prepare, sender=self)
        _watch()


def _watch() -> None:
    """Let the audit tell of what people keep."""
    from agents.models import EnrollSecret, Label
    from fleet.audit.kept import watch

    watch(Label, "label", ("name", "description"))
    times = ("revoked_at", "valid_from", "valid_until")
    watch(EnrollSecret, "enroll_secret", ("name", "digest", "quota", *times), links=("labels",), hidden=("digest",))


def _prepare(apps: Apps = installed, **_: Any) -> None:
    from agents.carving import lookup
    from agents.inventory import housekeeping

    if stand_at_their_end(apps, "audit", "agents"):
        housekeeping.prepare()
        lookup.prepare()
