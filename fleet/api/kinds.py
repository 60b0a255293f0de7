"""Which kind of JSON a member takes, to the letter: REST framework reads 0 as false, 7 as "7" and {} as no items."""

import json
from collections.abc import Callable
from typing import Any

from rest_framework import serializers

from fleet.text import shown

Field = serializers.Field[Any, Any, Any, Any]
SHOWN = 100  # characters of a value
SECRETS = ("secret", "password", "code", "token")  # members whose value is never said again

TRUTH, WHOLE, NUMBER, TEXT, LIST, NAME, ID = (
    "true or false",
    "a whole number",
    "a number",
    "a text",
    "a list",
    "a name",
    "a whole number, the id",
)


def objection(field: Field, value: Any) -> str:
    """Say that a value is of another kind than the field takes; "" = it is not. Null is the field's own business."""
    if value is None:
        return ""
    if isinstance(field, serializers.ListField) and isinstance(value, list):
        return next((said for one in value if (said := objection(field.child, one))), "")
    if isinstance(field, serializers.ManyRelatedField) and isinstance(value, list):
        return next((said for one in value if (said := objection(field.child_relation, one))), "")
    for kinds, wanted, fits in RULES:
        if isinstance(field, kinds):
            return "" if fits(value) else f"{as_sent(field.field_name, value)} is not {wanted}"
    return ""


def as_sent(name: str | None, value: Any) -> str:
    """Give what a member was sent, as JSON that is safe to print; of a secret nothing."""
    if name in SECRETS:
        return "what was sent"
    text = json.dumps(value, ensure_ascii=False)
    if len(text) <= SHOWN:
        return shown(text)
    if isinstance(value, str):  # it ends where its quotation mark stands
        return shown(json.dumps(f"{value[:SHOWN]}…", ensure_ascii=False))
    return shown(f"{text[:SHOWN]}…")


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


RULES: tuple[tuple[Any, str, Callable[[Any], bool]], ...] = (
    (serializers.BooleanField, TRUTH, lambda value: isinstance(value, bool)),
    (serializers.IntegerField, WHOLE, _is_whole),
    (serializers.FloatField, NUMBER, _is_number),
    (serializers.CharField, TEXT, _is_text),
    (
        (serializers.ListField, serializers.ManyRelatedField, serializers.ListSerializer),
        LIST,
        lambda value: isinstance(value, list),
    ),
    (serializers.SlugRelatedField, NAME, lambda value: isinstance(value, str) and value != ""),
    (serializers.PrimaryKeyRelatedField, ID, _is_whole),
)
