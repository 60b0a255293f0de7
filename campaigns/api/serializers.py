"""The shapes of what the API takes and gives."""

from datetime import datetime
from typing import Any, cast

from django.contrib.auth.models import User
from django.db import transaction
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers

from agents.inventory import kept_sql, label_sql, labels
from agents.models import Host, Label
from campaigns.answers.results import timestamp
from campaigns.launching import rights
from campaigns.launching.launch import DEFAULT_TIMEOUT, Order
from campaigns.models import Query, Target
from campaigns.people import scopes
from campaigns.selecting.earlier_targets import Earlier
from fleet.api import StrictSerializer
from fleet.errors import BadInputError, ForbiddenError
from fleet.parameters import moment_of
from fleet.text import is_text


class Moment(serializers.DateTimeField):
    """RFC 3339: given in UTC with milliseconds; taken with a date, a time and a zone, of which none is guessed."""

    def to_internal_value(self, value: Any) -> datetime:
        """Read it. Raise ValidationError."""
        moment = moment_of(value) if isinstance(value, str) else None
        if moment is None:
            raise serializers.ValidationError(
                f"{self.field_name} {value!r} is not a date with a time and a zone, like 2026-01-31T08:00:00Z"
            )
        return moment

    def to_representation(self, value: Any) -> str:
        """Write it."""
        return timestamp(value) or ""


class HostName(serializers.Serializer[Any]):
    """A host of a campaign, by the name it had then."""

    id = serializers.IntegerField()
    hostname = serializers.CharField()


class PlacedHostSerializer(serializers.Serializer[Any]):
    """A host and the seq of its result."""

    seq = serializers.IntegerField()
    host = HostName()


class RowSerializer(PlacedHostSerializer):
    """One row of a host's answer."""

    row = serializers.DictField(child=serializers.CharField())
    truncated = serializers.BooleanField(help_text="the host answered more rows than were kept")


class GroupSerializer(serializers.Serializer[Any]):
    """What hosts have in common."""

    key = serializers.CharField()
    values = serializers.DictField(child=serializers.CharField(allow_null=True))
    hosts = serializers.IntegerField()
    rows = serializers.IntegerField()
    answer = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField()),
        required=False,
        help_text="without `by`: the first rows of the answer",
    )


def page_of(item: type[serializers.BaseSerializer[Any]]) -> Any:
    """Give the shape of a page without a count."""
    link = serializers.URLField(allow_null=True)
    members = {"next": link, "previous": serializers.URLField(allow_null=True), "results": item(many=True)}
    return inline_serializer(f"PageOf{item.__name__.removesuffix('Serializer')}s", members)


class OrderSerializer(StrictSerializer):
    """The body of a launch."""

    sql = serializers.CharField(required=False, trim_whitespace=False, allow_blank=True)
    query = serializers.IntegerField(required=False, allow_null=True, help_text="id of a saved query")
    target = serializers.JSONField()
    timeout = serializers.IntegerField(required=False, default=DEFAULT_TIMEOUT, help_text="seconds")
    name = serializers.CharField(required=False, default="", allow_blank=True, max_length=200)
    reason = serializers.CharField(required=False, default="", allow_blank=True, help_text="2,000 characters at most")
    answer_within = serializers.IntegerField(required=False, allow_null=True, help_text="seconds one host may take")
    start_at = Moment(required=False, allow_null=True, help_text="date, time and zone")
    rollout = serializers.JSONField(required=False, allow_null=True)
    include_late_joiners = serializers.BooleanField(required=False, default=False)
    force = serializers.BooleanField(
        required=False, default=False, help_text="ask hosts whose learned tables speak against the SQL as well"
    )

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

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Take no SQL for empty SQL."""
        return attrs if attrs.get("query") is not None else {"sql": "", **attrs}


class SwitchSerializer(StrictSerializer):
    """Why live queries are switched off."""

    reason = serializers.CharField(required=False, default="", allow_blank=True, max_length=1000)


class CampaignChange(StrictSerializer):
    """What may be changed of a campaign."""

    name = serializers.CharField(required=False, allow_blank=True, max_length=200)
    pinned = serializers.BooleanField(required=False)


class RerunSerializer(StrictSerializer):
    """Which hosts are asked again."""

    states = serializers.ListField(child=serializers.CharField(), help_text="final states")


class TargetSerializer(serializers.ModelSerializer[Target]):
    """One host of a campaign, with its state."""

    host = serializers.SerializerMethodField()
    online = serializers.BooleanField()
    truncated = serializers.BooleanField(help_text="it answered more rows than were kept")
    delivered_at = Moment()
    answered_at = Moment()

    class Meta:
        model = Target
        fields = (
            *("host", "state", "late", "online", "deliveries", "delivered_at", "answered_at", "error", "row_count"),
            *("wall_ms", "user_ms", "system_ms", "memory_bytes", "truncated"),
        )

    def get_host(self, target: Target) -> dict[str, Any]:
        """Give id and the hostname as it was then."""
        return {"id": target.host_id, "hostname": target.hostname}


class HostSerializer(serializers.ModelSerializer[Host]):
    """An enrolled machine."""

    labels = serializers.SlugRelatedField[Label](slug_field="name", many=True, read_only=True)
    online = serializers.BooleanField(read_only=True)
    last_seen = Moment(read_only=True)
    enrolled_at = Moment(read_only=True)
    details_at = Moment(read_only=True)
    in_doubt_since = Moment(read_only=True)
    revoked_at = Moment(read_only=True)

    class Meta:
        model = Host
        fields = (
            *("id", "host_identifier", "hostname", "uuid", "hardware_serial", "platform", "os_name", "os_version"),
            *("osquery_version", "extensions", "distributed_interval", "cpu_brand", "physical_memory", "address"),
            *("labels", "online", "last_seen", "details_at", "enrolled_at", "revoked_at"),
            *("in_doubt_since", "in_doubt_reason", "platform_contradiction"),
        )


class QueriesField(serializers.DictField):
    """The SQL of a label by platform."""

    child = serializers.CharField()

    def to_representation(self, value: Any) -> dict[str, str]:
        """Write it."""
        return {query.platform: query.sql for query in value.all()}


@extend_schema_field(OpenApiTypes.OBJECT)
class HostsOfCampaignField(serializers.Field[Earlier, Any, Any, Any]):
    """`{"campaign": id, "states": [...]}` or `{"campaign": id, "group": key}`: its hosts as they are now."""

    def to_internal_value(self, data: Any) -> Earlier:
        """Check it, and that who asks may look at the campaign."""
        earlier = Earlier.read(data, "from", "campaign")
        earlier.check_rights(self.context["request"].user, "from")
        earlier.check("from")
        return earlier


class LabelSerializer(StrictSerializer, serializers.ModelSerializer[Label]):
    """A group of hosts: by hand, by SQL (`queries`), or built in."""

    hosts_count = serializers.IntegerField(read_only=True)
    built_in = serializers.BooleanField(read_only=True)
    queries = QueriesField(required=False, help_text="SQL by platform; a host that answers a row is a member")
    queries_state = serializers.SerializerMethodField(help_text="by platform: who wrote the SQL, and what is wrong")
    created_at = Moment(read_only=True)

    class Meta:
        model = Label
        fields = ("id", "name", "description", "built_in", "queries", "queries_state", "hosts_count", "created_at")

    def get_queries_state(self, label: Label) -> dict[str, dict[str, Any]]:
        """Say who wrote the SQL of each platform, when hosts could and could not run it, and what is wrong with it.

        Who sees some hosts only is told nothing: what is wrong may be so on others.
        """
        if scopes.is_limited(self.context["request"].user):
            return {}
        return {
            query.platform: {
                "written_by": query.written_by,
                "written_at": timestamp(query.written_at),
                "answered_at": timestamp(query.answered_at),
                "failed_at": timestamp(query.failed_at),
                "last_error": query.last_error,
                "denylisted": len(query.denylisted_by),
                "stopped_at": timestamp(query.stopped_at),
                "trouble": label_sql.trouble_with(query),
            }
            for query in label.queries.all()
        }

    def validate_queries(self, queries: dict[str, str]) -> dict[str, str]:
        """Check each as a launch would, on the hosts of its platform, and that who asks may launch."""
        by = self.context["request"].user
        if queries != self._queries_kept():
            kept_sql.check_author(by, "queries")
        return {platform: kept_sql.check_of_label(text, by, platform) for platform, text in queries.items()}

    def _queries_kept(self) -> dict[str, str]:
        return {query.platform: query.sql for query in self.instance.queries.all()} if self.instance else {}

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Add `from`, which Python keeps for itself."""
        return {**super().get_fields(), "from": HostsOfCampaignField(required=False, write_only=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse hosts by hand beside SQL."""
        if attrs.get("queries") and "from" in attrs:
            raise BadInputError("a label has SQL or hosts of a campaign, not both: give queries or from", "from")
        if "from" in attrs:
            labels.check_may_put_in(self.context["request"].user, "from")
        return attrs

    @transaction.atomic
    def save(self, **more: Any) -> Label:
        """Keep the label, put in who is given, and ask hosts its SQL."""
        queries = self.validated_data.pop("queries", None)
        earlier = self.validated_data.pop("from", None)
        label = super().save(**more)
        if queries is not None:
            labels.set_queries(label, queries, self.context["request"].user.get_username())
        if earlier is not None:
            visible = scopes.hosts_for(self.context["request"].user)
            labels.add(label, visible.enrolled().filter(earlier.hosts()))
        return label


@extend_schema_field({"oneOf": [{"type": "integer"}, {"type": "string"}]})
class HostReference(serializers.Field[Any, Any, Any, Any]):
    """An id, or a hostname in any case, a uuid, a serial or a host identifier."""

    def to_internal_value(self, data: Any) -> int | str:
        """Take a number for an id, text for a name."""
        is_id = isinstance(data, int) and not isinstance(data, bool) and 0 < data < 2**63
        if not is_id and not (isinstance(data, str) and data.strip() and is_text(data)):
            raise serializers.ValidationError(f"{data!r} is neither the id nor the name of a host")
        return cast(int | str, data)


class MembersSerializer(StrictSerializer):
    """Hosts to be put into or taken out of a label."""

    hosts = serializers.ListField(child=HostReference(), max_length=100_000)


class LearnSerializer(StrictSerializer):
    """Whose tables are learned again."""

    hosts = serializers.ListField(
        child=HostReference(), max_length=50_000, required=False, help_text="ids or names; left out: all hosts"
    )


class QuerySerializer(StrictSerializer, serializers.ModelSerializer[Query]):
    """Saved SQL with a name."""

    created_by = serializers.CharField(source="created_by.username", read_only=True, default=None)
    created_at = Moment(read_only=True)
    updated_at = Moment(read_only=True)

    class Meta:
        model = Query
        fields = ("id", "name", "sql", "description", "observer_can_run", "created_by", "created_at", "updated_at")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let those write what observers run who may launch it themselves."""
        flagged = attrs.get("observer_can_run", self.instance is not None and self.instance.observer_can_run)
        rights.check_flag(self.context["request"].user, flagged or getattr(self.instance, "observer_can_run", False))
        return attrs

    def validate_sql(self, text: str) -> str:
        """Check it as a launch would; saved SQL may still be of a kind of host that has not told its tables."""
        return kept_sql.check(text, self.context["request"].user, "sql")
