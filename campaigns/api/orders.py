"""The bodies of launches, and of what is done with a campaign after."""

from typing import Any, ClassVar

from django.contrib.auth.models import User
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.inventory.sql import MAX_SQL_BYTES
from agents.models import Platform
from campaigns.api.serializers import HostReference, Moment
from campaigns.launching.launch import DEFAULT_TIMEOUT, LONGEST_REASON, LONGEST_TIMEOUT, SHORTEST_TIMEOUT, Order
from campaigns.launching.rollout import LARGEST
from campaigns.models import Query
from campaigns.selecting.selection import MOST_HOSTS, SELECTORS
from campaigns.states import FINAL_STATES, State
from fleet.api.asking import StrictSerializer
from fleet.api.described import Either
from fleet.errors import BadInputError, ForbiddenError

ID: dict[str, Any] = {"minimum": 1, "maximum": 2**63 - 1}
COUNT: dict[str, Any] = {"minimum": 1, "maximum": 2**31 - 1}
PERCENT: dict[str, Any] = {"minimum": 0, "maximum": 100}
PART: dict[str, Any] = {**PERCENT, "exclusiveMinimum": True}
SECONDS: dict[str, Any] = {"minimum": SHORTEST_TIMEOUT, "maximum": LONGEST_TIMEOUT}
QUESTION: dict[str, Any] = {"sql": {"type": "string"}, "query": {"type": "integer"}}
FINAL = [(state.value, state.label) for state in FINAL_STATES]


class SampleSerializer(serializers.Serializer[Any]):
    """A part of the hosts that are meant, always the same: one of both."""

    percent = serializers.FloatField(help_text="percent of the hosts, above 0, up to 100", required=False)
    count = serializers.IntegerField(help_text="number of hosts", required=False)

    sometimes = ("percent", "count")
    either = (Either({"percent": {}, "count": {}}),)
    bounds: ClassVar = {"percent": PART, "count": ID}
    shows: ClassVar = {"count": 25}
    example: ClassVar = {"percent": 10.0}


class EarlierSerializer(serializers.Serializer[Any]):
    """Hosts of an earlier campaign: by what became of them there, by the group of their answer, or both."""

    id = serializers.IntegerField(help_text="id of the campaign")
    states = serializers.ListField(
        child=serializers.ChoiceField(choices=State.choices), required=False, help_text="states they are in there"
    )
    group = serializers.CharField(required=False, help_text="key of a group, as `groups/` gives it")

    sometimes = ("states", "group")
    either = (Either({"states": {}, "group": {}}, together=True),)
    bounds: ClassVar = {"id": ID}
    shows: ClassVar = {"group": "WyJwb3J0Il0.5f2c"}
    example: ClassVar = {"id": 11, "states": ["no_answer", "missed"]}


class SelectionSerializer(serializers.Serializer[Any]):
    """Who is meant: `all`, `labels`, `platforms`, `hosts` and `campaign` select, the others only filter."""

    all = serializers.BooleanField(required=False, help_text="every host")
    labels = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="names of labels; alternatives"
    )
    platforms = serializers.ListField(
        child=serializers.ChoiceField(choices=Platform.choices), required=False, help_text="alternatives"
    )
    hosts = serializers.ListField(
        child=HostReference(), required=False, help_text="ids, or hostnames, uuids, serials and host identifiers"
    )
    campaign = EarlierSerializer(required=False, help_text="hosts of an earlier campaign")
    exclude_labels = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="names of labels whose hosts are left out"
    )
    online = serializers.BooleanField(required=False, help_text="only hosts that are online when it begins")
    sample = SampleSerializer(required=False, help_text="only a part of them")

    sometimes = ("all", "labels", "platforms", "hosts", "campaign", "exclude_labels", "online", "sample")
    either = (Either({name: {} for name in SELECTORS}, together=True),)
    bounds: ClassVar = {"hosts": {"maxItems": MOST_HOSTS}}
    shows: ClassVar = {
        "all": True,
        "hosts": [7, "web-02.example"],
        "campaign": EarlierSerializer.example,
        "exclude_labels": ["fragile"],
        "online": True,
        "sample": SampleSerializer.example,
    }
    example: ClassVar = {"labels": ["web"], "platforms": ["linux"]}


class CanarySerializer(serializers.Serializer[Any]):
    """Who goes first: one of both."""

    percent = serializers.FloatField(required=False, help_text="percent of the hosts, above 0, up to 100")
    count = serializers.IntegerField(required=False, help_text="number of hosts")

    sometimes = ("percent", "count")
    either = (Either({"percent": {}, "count": {}}),)
    bounds: ClassVar = {"percent": PART, "count": COUNT}
    shows: ClassVar = {"percent": 5.0}
    example: ClassVar = {"count": 10}


class BrakesSerializer(serializers.Serializer[Any]):
    """When the campaign stops by itself."""

    denylisted = serializers.IntegerField(required=False, help_text="hosts that refuse the SQL since they died of it")
    failed_percent = serializers.FloatField(required=False, help_text="percent of the hosts that reported an error")
    silent_percent = serializers.FloatField(required=False, help_text="percent of the hosts that read again, silent")
    median_wall_ms = serializers.FloatField(required=False, help_text="milliseconds that the SQL took on half of them")
    rows = serializers.FloatField(required=False, help_text="rows in all")

    sometimes = ("denylisted", "failed_percent", "silent_percent", "median_wall_ms", "rows")
    bounds: ClassVar = {
        "denylisted": COUNT,
        "failed_percent": PERCENT,
        "silent_percent": PERCENT,
        "median_wall_ms": {"minimum": 0, "maximum": LARGEST},
        "rows": {"minimum": 0, "maximum": LARGEST},
    }
    shows: ClassVar = {"silent_percent": 30.0, "median_wall_ms": 2000.0, "rows": 1_000_000.0}
    example: ClassVar = {"denylisted": 3, "failed_percent": 20.0}


class RolloutSerializer(serializers.Serializer[Any]):
    """How far and how fast a campaign is handed out."""

    canary = CanarySerializer(required=False, help_text="who goes first; left out: everybody")
    then = serializers.ChoiceField(
        choices=["ask", "auto"], required=False, help_text="after the canary: wait for `widen/`, or widen in steps"
    )
    per_second = serializers.IntegerField(required=False, help_text="hosts per second")
    stop_if = BrakesSerializer(required=False, help_text="the brakes")

    sometimes = ("canary", "then", "per_second", "stop_if")
    bounds: ClassVar = {"per_second": COUNT}
    shows: ClassVar = {"per_second": 50}
    example: ClassVar = {"canary": {"count": 10}, "then": "auto", "stop_if": {"denylisted": 3}}


@extend_schema_field(SelectionSerializer)
class TargetField(serializers.JSONField):
    """A target; `Selection.read` says what is wrong with it."""


@extend_schema_field(RolloutSerializer)
class RolloutField(serializers.JSONField):
    """A rollout; `Rollout.read` says what is wrong with it."""


class OrderSerializer(StrictSerializer):
    """The body of a launch."""

    sql = serializers.CharField(
        required=False, trim_whitespace=False, allow_blank=True, help_text="what to ask, of 64 KiB at most; or `query`"
    )
    query = serializers.IntegerField(required=False, allow_null=True, help_text="id of a saved query; or `sql`")
    target = TargetField(help_text="who is meant")
    timeout = serializers.IntegerField(required=False, default=DEFAULT_TIMEOUT, help_text="seconds, 10 to 2,592,000")
    name = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=200, help_text="what people call it"
    )
    reason = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=LONGEST_REASON,
        help_text="why it is asked, in 2,000 characters at most",
    )
    answer_within = serializers.IntegerField(required=False, allow_null=True, help_text="seconds one host may take")
    start_at = Moment(
        required=False, allow_null=True, help_text="when it shall begin: date, time and zone; left out: at once"
    )
    rollout = RolloutField(required=False, allow_null=True, help_text="left out: everybody at once")
    include_late_joiners = serializers.BooleanField(
        required=False, default=False, help_text="ask hosts that come to fit while it lasts as well"
    )
    force = serializers.BooleanField(
        required=False, default=False, help_text="ask hosts whose learned tables speak against the SQL as well"
    )

    either = (Either(QUESTION),)
    bounds: ClassVar = {
        "sql": {"minLength": 1, "maxLength": MAX_SQL_BYTES},
        "query": ID,
        "timeout": SECONDS,
        "answer_within": SECONDS,
    }
    shows: ClassVar = {
        "query": 3,
        "answer_within": 30,
        "start_at": "2026-01-31T22:00:00.000Z",
        "force": False,
        "rollout": RolloutSerializer.example,
        "include_late_joiners": False,
    }
    example: ClassVar = {
        "sql": "SELECT pid, port, address FROM listening_ports",
        "target": SelectionSerializer.example,
        "timeout": 600,
        "name": "who listens",
        "reason": "ticket 4711",
    }

    def order(self, by: User) -> Order:
        """Give what was asked for. Raise BadInputError when it says nothing or two things."""
        data = dict(self.validated_data)
        query_id, sql = data.pop("query", None), data.pop("sql", None)
        if (query_id is None) == (sql is None):
            raise BadInputError("give either sql or query, the id of a saved query", "sql")
        query = _saved(query_id, by)
        return Order(sql=query.sql if query else sql, query=query, **data)


def _saved(query_id: int | None, by: User) -> Query | None:
    """Give a saved query; None = none was named. Raise BadInputError for an unknown one.

    Raise ForbiddenError when it would be launched unseen: the campaign shows its SQL.
    """
    if query_id is None:
        return None
    if not by.has_perm("campaigns.view_query"):
        raise ForbiddenError(f"query {query_id} needs campaigns.view_query", "query")
    query = Query.objects.filter(pk=query_id).first()
    if query is None:
        raise BadInputError(f"query {query_id} is unknown", "query")
    return query


class EstimateSerializer(OrderSerializer):
    """The body of an estimate: that of a launch. The SQL may be left out."""

    either = (Either(QUESTION, least=0),)
    bounds: ClassVar = {**OrderSerializer.bounds, "sql": {"maxLength": MAX_SQL_BYTES}}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Take no SQL for empty SQL."""
        return attrs if attrs.get("query") is not None else {"sql": "", **attrs}


class CampaignChange(StrictSerializer):
    """What may be changed of a campaign."""

    name = serializers.CharField(required=False, allow_blank=True, max_length=200, help_text="what people call it")
    pinned = serializers.BooleanField(required=False, help_text="keep it whatever its age")

    example: ClassVar = {"name": "who listens", "pinned": True}


@extend_schema_field(serializers.ListField(child=serializers.ChoiceField(choices=FINAL)))
class StatesField(serializers.ListField):
    """Final states; `reruns.rerun` says what is wrong with them."""

    child = serializers.CharField()


class RerunSerializer(StrictSerializer):
    """Which hosts are asked again."""

    states = StatesField(help_text="final states")

    example: ClassVar = {"states": ["no_answer", "missed"]}


class WidthSerializer(serializers.Serializer[Any]):
    """How many hosts may be asked in all: one of the three."""

    percent = serializers.FloatField(required=False, help_text="percent of the hosts, above 0, up to 100")
    count = serializers.IntegerField(required=False, help_text="number of hosts")
    all = serializers.BooleanField(required=False, help_text="true: every host")

    either = (
        Either({"percent": {}, "count": {}, "all": {"enum": [True]}}),
        Either({"percent": {}, "count": {}, "all": {}}, least=0),
    )
    bounds: ClassVar = {"percent": PART, "count": COUNT}
    shows: ClassVar = {"count": 100, "all": True}
    example: ClassVar = {"percent": 50.0}
