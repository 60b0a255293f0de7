"""Lines for rows that people keep: labels, queries, secrets, tokens, people, groups … made, changed and deleted.

This hangs on Django's signals, against the rule of the house, since these rows are written by many doors: pages, the
API, the admin, commands, and those that come later. Here no door can forget its line. Signals do not tell of `update()`
and `bulk_create()`: who writes watched rows in bulk notes it himself.
"""

from collections.abc import Callable, Iterable
from typing import Any

from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save

from fleet.audit.cleaning import LEFT_OUT
from fleet.audit.gathering import tell

_models: set[type[Model]] = set()


def is_watched(model: type[Model]) -> bool:
    """Say whether what is done with rows of this model is noted by itself."""
    return model in _models


class _Watched:
    """What is noted of the rows of one model."""

    def __init__(self, kind: str, fields: tuple[str, ...], hidden: tuple[str, ...]) -> None:
        self._kind, self._fields, self._hidden = kind, fields, hidden

    def before_save(self, sender: type[Model], instance: Model, raw: bool, update_fields: Any, **_: Any) -> None:
        """Remember what the fields held."""
        asked = [field for field in self._fields if update_fields is None or field in update_fields]
        found = None
        if asked and not raw and instance.pk is not None:
            found = sender._base_manager.filter(pk=instance.pk).values(*asked).first()
        instance._before_save = found  # type: ignore[attr-defined]

    def after_save(self, sender: type[Model], instance: Model, created: bool, raw: bool, **_: Any) -> None:
        """Note what is new."""
        if raw:
            return
        before: dict[str, Any] = instance.__dict__.pop("_before_save", None) or {}
        now = {field: _plain(instance, field) for field in (self._fields if created else before)}
        changes = {field: value for field, value in now.items() if created or before[field] != value}
        if created:
            self._note("made", instance, **self._shown(changes))
        elif changes:
            was = {field: before[field] for field in changes}
            self._note("changed", instance, to=self._shown(changes), was=self._shown(was))

    def after_delete(self, sender: type[Model], instance: Model, **_: Any) -> None:
        """Note what is gone."""
        self._note("deleted", instance, **self._shown({field: _plain(instance, field) for field in self._fields}))

    def _shown(self, values: dict[str, Any]) -> dict[str, Any]:
        return {field: LEFT_OUT if field in self._hidden else value for field, value in values.items()}

    def links(self, field: str) -> Callable[..., None]:
        """Give what notes that rows were linked or unlinked by a many-to-many field."""

        def changed(instance: Any, action: str, reverse: bool, model: type[Model], pk_set: Any, **_: Any) -> None:
            verb = {"post_add": "added", "post_remove": "removed", "pre_clear": "removed"}.get(action)
            if verb is None or pk_set == set():
                return
            rows = model._base_manager.filter(pk__in=pk_set) if pk_set is not None else _all(instance, field, reverse)
            if reverse:  # the rows are ours, and linked to `instance`
                for row in rows:
                    self._note("changed", row, **{field: {verb: [str(instance)]}})
            elif others := [str(row) for row in rows]:
                self._note("changed", instance, **{field: {verb: others}})

        return changed

    def _note(self, verb: str, row: Model, **details: Any) -> None:
        tell(f"{self._kind}.{verb}", f"{self._kind} {row.pk}", **{"name": str(row), **details})


def _plain(row: Model, field: str) -> Any:
    """Give a field's value, of a row of another table its number."""
    return getattr(row, row._meta.get_field(field).attname)  # type: ignore[union-attr]


def _all(row: Any, field: str, reverse: bool) -> Iterable[Model]:
    """Give what a row is linked to, before all of it is unlinked."""
    if not reverse:
        return list(getattr(row, field).all())
    there = next(one for one in row._meta.related_objects if one.many_to_many and one.field.name == field)
    return list(getattr(row, there.get_accessor_name()).all())


def watch(
    model: type[Model],
    kind: str,
    fields: Iterable[str],
    links: Iterable[str] = (),
    *,
    hidden: Iterable[str] = (),
    only_changes: bool = False,
) -> None:
    """Note whenever a row of the model is made, changed in one of these fields, deleted, or linked by one of `links`.

    Of `hidden` fields it is said that they changed, never what they hold. With `only_changes` its making and its end
    are noted by the verbs that do more of it than a row.
    """
    watched = _Watched(kind, tuple(fields), tuple(hidden))
    _models.add(model)
    pre_save.connect(watched.before_save, sender=model, weak=False, dispatch_uid=f"audit {kind} before")
    post_save.connect(
        _unless_made(watched.after_save) if only_changes else watched.after_save,
        sender=model,
        weak=False,
        dispatch_uid=f"audit {kind} after",
    )
    if not only_changes:
        post_delete.connect(watched.after_delete, sender=model, weak=False, dispatch_uid=f"audit {kind} deleted")
    for field in links:
        through = getattr(model, field).through
        m2m_changed.connect(watched.links(field), sender=through, weak=False, dispatch_uid=f"audit {kind} {field}")


def _unless_made(after_save: Callable[..., None]) -> Callable[..., None]:
    def changed(created: bool, **more: Any) -> None:
        if not created:
            after_save(created=created, **more)

    return changed
