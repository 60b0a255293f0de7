"""How far the database is migrated, for what is written after each `migrate`."""

from typing import Any

from django.apps import apps as installed
from django.apps.registry import Apps


def stand_at_their_end(state: Apps, *apps: str) -> bool:
    """Say whether this state of migrations has all columns of these apps' models.

    Who migrates to an earlier step (`migrate APP NAME`) has tables that the models cannot be read from or written to.
    """
    return all(_columns(app, installed) == _columns(app, state) for app in apps)


def _columns(app: str, where: Apps) -> dict[str, set[Any]]:
    models = where.all_models[app].items()
    return {name: {field.column for field in model._meta.local_concrete_fields} for name, model in models}
