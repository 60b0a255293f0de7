"""What tools take: serializers, as of the API, and the same as JSON Schema, by which a model knows what to send."""

from typing import Any, ClassVar

from rest_framework import serializers
from rest_framework.fields import empty

from agents.models import Platform
from campaigns.analysis.asking import MOST_SQL_BYTES
from campaigns.answers.groups import GROUP_ORDERS, MOST_BY
from campaigns.api.orders import ID, OrderSerializer, RolloutField, RolloutSerializer, SelectionSerializer, TargetField
from campaigns.api.serializers import HostReference, Moment
from campaigns.api.wait_for_end import LONGEST_WAIT
from campaigns.launching.launch import LONGEST_REASON
from fleet.api.asking import StrictSerializer

MOST_ITEMS, ITEMS = 500, 50  # of a page, which is cut to MOST_BYTES as well
LONGEST_CELL, CELL = 20_000, 500  # characters
MOST_FILTERS, MOST_HOSTS = 100, 1_000  # PostgreSQL plans for minutes over what a megabyte can hold of them


class LaunchShape(OrderSerializer):
    """The body of a launch, with the reason that a tool has to give."""

    reason = serializers.CharField(
        max_length=LONGEST_REASON, help_text="why, in words for people who read the audit; 2,000 characters at most"
    )


class Paged(StrictSerializer):
    """A list that is given a part at a time."""

    limit = serializers.IntegerField(default=ITEMS, min_value=1, max_value=MOST_ITEMS)
    offset = serializers.IntegerField(default=0, min_value=0, max_value=10**9)


class PagedAnswers(Paged):
    """A list of what hosts answered, which more may answer while its pages are read."""

    up_to = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**63 - 1,
        help_text="of the pages that follow: the up_to of the first one, so that all are of the same answers",
    )


class TablesShape(Paged):
    """Which tables of osquery."""

    search = serializers.CharField(default="", allow_blank=True, help_text="part of a table's name")
    platform = serializers.ChoiceField(choices=Platform.values, default="", allow_blank=True)


class QueriesShape(Paged):
    """Which saved queries."""

    search = serializers.CharField(
        default="", allow_blank=True, help_text="part of the name, the SQL or the description"
    )


class OfCampaign(StrictSerializer):
    """Of which campaign."""

    campaign = serializers.IntegerField(min_value=1, max_value=2**63 - 1, help_text="its number")


class FollowShape(OfCampaign):
    """How long to wait."""

    wait = serializers.IntegerField(
        default=0, min_value=0, max_value=LONGEST_WAIT, help_text="seconds to wait for its end; 0 = say how it is now"
    )


class RowsShape(OfCampaign, PagedAnswers):
    """Which rows."""

    search = serializers.CharField(default="", allow_blank=True, help_text="part of a value or a hostname")
    where = serializers.ListField(
        child=serializers.CharField(),
        default=list,
        max_length=MOST_FILTERS,
        help_text="COLUMN:VALUE; all of several must hold",
    )
    contains = serializers.ListField(
        child=serializers.CharField(), default=list, max_length=MOST_FILTERS, help_text="COLUMN:PART of its value"
    )
    host = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=10**18 - 1),
        default=list,
        max_length=MOST_HOSTS,
        help_text="ids of hosts; rows of any of them",
    )
    order = serializers.CharField(
        default="", allow_blank=True, help_text="a column or host; - before it turns it round"
    )
    cut = serializers.IntegerField(
        default=CELL, min_value=1, max_value=LONGEST_CELL, help_text="characters after which cells are cut"
    )


class GroupsShape(OfCampaign, PagedAnswers):
    """By which columns."""

    by = serializers.ListField(
        child=serializers.CharField(),
        default=list,
        max_length=MOST_BY,
        help_text="columns; none = whole answers are compared",
    )
    order = serializers.ChoiceField(choices=list(GROUP_ORDERS), default="-hosts")
    search = serializers.CharField(default="", allow_blank=True, help_text="part of one of the group's values")


class SqlShape(OfCampaign):
    """What is asked of the answers."""

    sql = serializers.CharField(trim_whitespace=False, help_text="one SELECT of DuckDB's SQL")

    bounds: ClassVar = {"sql": {"maxLength": MOST_SQL_BYTES}}


class StopShape(OfCampaign):
    """Why it is stopped."""

    reason = serializers.CharField(default="", allow_blank=True, max_length=1000)


# --- as JSON Schema --------------------------------------------------------------------------------------------

TYPES: dict[type, str] = {
    serializers.FloatField: "number",
    serializers.IntegerField: "integer",
    serializers.BooleanField: "boolean",
    serializers.ListField: "array",
    serializers.CharField: "string",
    Moment: "string",
}
WITHIN: dict[type[Any], type[Any]] = {
    TargetField: SelectionSerializer,
    RolloutField: RolloutSerializer,
}  # what such an object holds
BOUNDS = {"min_value": "minimum", "max_value": "maximum", "max_length": "maxLength"}


def schema_of(shape: type[serializers.Serializer[Any]]) -> dict[str, Any]:
    """Give the JSON Schema of a shape."""
    fields = {name: field for name, field in shape().fields.items() if not field.read_only}
    bounds = getattr(shape, "bounds", {})
    return {
        "type": "object",
        "properties": {name: _schema_of(field) | _bounds(bounds.get(name, {})) for name, field in fields.items()},
        "required": [name for name, field in fields.items() if field.required],
        "additionalProperties": False,
    }


def _bounds(told: dict[str, Any]) -> dict[str, Any]:
    """Give bounds as JSON Schema writes them: the API's document has a mark beside a minimum that is outside."""
    bounds = dict(told)
    if bounds.pop("exclusiveMinimum", False):
        bounds["exclusiveMinimum"] = bounds.pop("minimum")
    return bounds


def _schema_of(field: Any) -> dict[str, Any]:
    more = {"description": str(field.help_text)} if field.help_text else {}
    if field.default is not empty and field.default not in ("", list):
        more["default"] = field.default
    return {**_kind_of(field), **more}


def _kind_of(field: Any) -> dict[str, Any]:
    kind_of_field: type[Any] = type(field)
    inner = WITHIN.get(kind_of_field, kind_of_field)
    if issubclass(inner, serializers.Serializer):
        return _or_null(field, schema_of(inner))
    if isinstance(field, HostReference):
        return {"type": ["integer", "string"], **ID}
    if isinstance(field, serializers.ChoiceField):
        return {"enum": [*field.choices, *([""] if field.allow_blank else [])]}
    name = next(name for kind, name in TYPES.items() if isinstance(field, kind))
    kind: dict[str, Any] = {"type": name}
    kind |= {ours: bound for known, ours in BOUNDS.items() if (bound := getattr(field, known, None)) is not None}
    if isinstance(field, Moment):
        kind["format"] = "date-time"
    elif name == "string" and not field.allow_blank:
        kind["minLength"] = 1
    if name == "array":
        kind = {"type": name, "items": _kind_of(field.child)}
        kind |= {"maxItems": field.max_length} if field.max_length else {}
    return _or_null(field, kind)


def _or_null(field: Any, kind: dict[str, Any]) -> dict[str, Any]:
    return {**kind, "type": [kind["type"], "null"]} if field.allow_null else kind
