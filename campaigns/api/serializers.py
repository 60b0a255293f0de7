"""The shapes of what the API takes and gives."""

from datetime import datetime
from typing import Any, ClassVar, cast

from django.db import transaction
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from agents.inventory import kept_sql, label_sql, labels
from agents.inventory.sql import MAX_SQL_BYTES
from agents.models import Host, Label, Platform
from campaigns.answers.results import timestamp
from campaigns.launching import rights
from campaigns.models import Query, Target
from campaigns.people import scopes
from campaigns.selecting.earlier_targets import Earlier
from campaigns.states import State
from fleet.api.asking import StrictSerializer
from fleet.api.described import Either
from fleet.api.parameters import moment_of
from fleet.errors import BadInputError
from fleet.text import is_text


class Moment(serializers.DateTimeField):
    """RFC 3339: given in UTC with milliseconds; taken with a date, a time and a zone, of which none is guessed."""

    def to_internal_value(self, value: Any) -> datetime:
        """Read a moment. Raise ValidationError for what is none, or leaves its zone to be guessed."""
        moment = moment_of(value) if isinstance(value, str) else None
        if moment is None:
            raise serializers.ValidationError(
                f"{self.field_name} {value!r} is not a date with a time and a zone, like 2026-01-31T08:00:00Z"
            )
        return moment

    def to_representation(self, value: Any) -> str:
        """Write a moment."""
        return timestamp(value) or ""


class HostName(serializers.Serializer[Any]):
    """A host of a campaign, by the name it had then."""

    id = serializers.IntegerField(help_text="id of the host")
    hostname = serializers.CharField(help_text="its name at that time")

    example: ClassVar = {"id": 7, "hostname": "web-01.example"}


class SwitchSerializer(StrictSerializer):
    """Why live queries are switched off."""

    reason = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=1000, help_text="shown to whoever launches"
    )

    example: ClassVar = {"reason": "a query was too heavy"}


class TargetSerializer(serializers.ModelSerializer[Target]):
    """One host of a campaign, with its state."""

    host = serializers.SerializerMethodField(help_text="who is asked")
    online = serializers.BooleanField(help_text="it is online")
    truncated = serializers.BooleanField(help_text="it answered more rows than were kept")
    delivered_at = Moment(allow_null=True, help_text="when the SQL was handed to it last; null = it was not")
    answered_at = Moment(allow_null=True, help_text="when its answer came; null = none came")

    class Meta:
        model = Target
        fields = (
            *("host", "state", "late", "online", "deliveries", "delivered_at", "answered_at", "error", "row_count"),
            *("wall_ms", "user_ms", "system_ms", "memory_bytes", "truncated"),
        )

    says: ClassVar = {
        "state": "what became of it",
        "late": "its answer came after the end",
        "deliveries": "times that the SQL was handed to it",
        "error": 'what the host reported; "" = nothing',
        "row_count": "rows that are kept",
        "wall_ms": "milliseconds the SQL took there; null = not told",
        "user_ms": "milliseconds of its processors, for the program; null = not told",
        "system_ms": "milliseconds of its processors, for the system; null = not told",
        "memory_bytes": "bytes it took; null = not told",
    }
    example: ClassVar = {
        "host": HostName.example,
        "state": "answered",
        "late": False,
        "online": True,
        "deliveries": 1,
        "delivered_at": "2026-01-31T08:00:00.900Z",
        "answered_at": "2026-01-31T08:00:01.250Z",
        "error": "",
        "row_count": 3,
        "wall_ms": 12,
        "user_ms": 8,
        "system_ms": 3,
        "memory_bytes": 180_224,
        "truncated": False,
    }

    @extend_schema_field(HostName)
    def get_host(self, target: Target) -> dict[str, Any]:
        """Give id and the hostname as it was then."""
        return {"id": target.host_id, "hostname": target.hostname}


class HostSerializer(serializers.ModelSerializer[Host]):
    """An enrolled machine."""

    labels = serializers.SlugRelatedField[Label](
        slug_field="name", many=True, read_only=True, help_text="names of the labels it is in"
    )
    online = serializers.BooleanField(help_text="it asked within a minute, or runs a query")
    last_seen = Moment(allow_null=True, help_text="when it last asked; null = never since it enrolled")
    enrolled_at = Moment(help_text="when it enrolled last")
    details_at = Moment(allow_null=True, help_text="when it told its facts last; null = never")
    in_doubt_since = Moment(allow_null=True, help_text="when a second machine was noticed; null = none was")
    revoked_at = Moment(allow_null=True, help_text="when it was revoked; null = it is enrolled")

    class Meta:
        model = Host
        fields = (
            *("id", "host_identifier", "hostname", "uuid", "hardware_serial", "platform", "os_name", "os_version"),
            *("osquery_version", "extensions", "distributed_interval", "cpu_brand", "physical_memory", "address"),
            *("labels", "online", "last_seen", "details_at", "enrolled_at", "revoked_at"),
            *("in_doubt_since", "in_doubt_reason", "platform_contradiction"),
        )
        read_only_fields = fields

    says: ClassVar = {
        "id": "its number",
        "host_identifier": "as it sends it",
        "hostname": "its name now",
        "uuid": 'of its hardware; "" = not told',
        "hardware_serial": 'of its hardware; "" = not told',
        "platform": "family of its operating system",
        "os_name": "name of its operating system or distribution",
        "os_version": "version of it",
        "osquery_version": "of its agent",
        "cpu_brand": "its processor",
        "in_doubt_reason": 'what was noticed; "" = nothing',
    }
    example: ClassVar = {
        "id": 7,
        "host_identifier": "4c4c4544-0042",
        "hostname": "web-01.example",
        "uuid": "4c4c4544-0042",
        "hardware_serial": "PF1XYZ",
        "platform": "linux",
        "os_name": "Debian GNU/Linux",
        "os_version": "12.5",
        "osquery_version": "5.23.0",
        "extensions": "",
        "distributed_interval": 2,
        "cpu_brand": "Xeon",
        "physical_memory": 8_589_934_592,
        "address": "192.0.2.7",
        "labels": ["web"],
        "online": True,
        "last_seen": "2026-01-31T08:00:00.000Z",
        "details_at": "2026-01-31T07:30:00.000Z",
        "enrolled_at": "2026-01-01T08:00:00.000Z",
        "revoked_at": None,
        "in_doubt_since": None,
        "in_doubt_reason": "",
        "platform_contradiction": "",
    }


@extend_schema_field(
    {
        "type": "object",
        "properties": {
            platform: {"type": "string", "minLength": 1, "maxLength": MAX_SQL_BYTES} for platform in Platform.values
        },
        "additionalProperties": False,
    }
)
class QueriesField(serializers.DictField):
    """The SQL of a label by platform."""

    child = serializers.CharField()

    def to_representation(self, value: Any) -> dict[str, str]:
        """Give the SQL of each platform."""
        return {query.platform: query.sql for query in value.all()}


class HostsOfSerializer(serializers.Serializer[Any]):
    """Hosts of a campaign: by what became of them there, by the group of their answer, or both."""

    campaign = serializers.IntegerField(min_value=1, max_value=2**63 - 1, help_text="id of the campaign")
    states = serializers.ListField(
        child=serializers.ChoiceField(choices=State.choices), required=False, help_text="states they are in there"
    )
    group = serializers.CharField(required=False, help_text="key of a group, as `groups/` gives it")

    sometimes = ("states", "group")
    either = (Either({"states": {}, "group": {}}, together=True),)
    shows: ClassVar = {"group": "WyJwb3J0Il0.5f2c"}
    example: ClassVar = {"campaign": 12, "states": ["failed"]}


@extend_schema_field(HostsOfSerializer)
class HostsOfCampaignField(serializers.Field[Earlier, Any, Any, Any]):
    """`{"campaign": id, "states": [...]}` or `{"campaign": id, "group": key}`: its hosts as they are now."""

    def to_internal_value(self, data: Any) -> Earlier:
        """Check it, and that who asks may look at the campaign."""
        earlier = Earlier.read(data, "from", "campaign")
        by = self.context["request"].user
        earlier.check_rights(by, "from")
        earlier.check("from", scopes.limits_of(by))
        return earlier


FROM = "hosts of a campaign, as they are now; not beside `queries`"


class LabelStateSerializer(serializers.Serializer[Any]):
    """How the SQL of a label fares on one platform."""

    written_by = serializers.CharField(help_text="who wrote it")
    written_at = Moment(allow_null=True, help_text="when it was written")
    answered_at = Moment(allow_null=True, help_text="when a host answered it last; null = none did")
    failed_at = Moment(allow_null=True, help_text="when a host failed on it last; null = none did")
    last_error = serializers.CharField(help_text='what that host reported; "" = nothing')
    denylisted = serializers.IntegerField(help_text="hosts that refuse it since they died of it")
    stopped_at = Moment(allow_null=True, help_text="when the brake stopped it; null = it is asked")
    trouble = serializers.CharField(help_text='what is wrong, in words; "" = nothing')

    example: ClassVar = {
        "written_by": "ada",
        "written_at": "2026-01-01T08:00:00.000Z",
        "answered_at": "2026-01-31T08:00:00.000Z",
        "failed_at": None,
        "last_error": "",
        "denylisted": 0,
        "stopped_at": None,
        "trouble": "",
    }


class LabelSerializer(StrictSerializer, serializers.ModelSerializer[Label]):
    """A group of hosts: by hand, by SQL (`queries`), or built in."""

    hosts_count = serializers.IntegerField(read_only=True, help_text="hosts in it that you see")
    built_in = serializers.BooleanField(read_only=True, help_text="all hosts of a platform; it stays as it is")
    queries = QueriesField(required=False, help_text="SQL by platform; a host that answers a row is a member")
    queries_state = serializers.SerializerMethodField(help_text="by platform: who wrote the SQL, and what is wrong")
    created_at = Moment(read_only=True, help_text="when it was made")

    class Meta:
        model = Label
        fields = ("id", "name", "description", "built_in", "queries", "queries_state", "hosts_count", "created_at")

    says: ClassVar = {"id": "its number", "name": "its name", "description": "what it is for"}
    either = (Either({"queries": {"minProperties": 1}, "from": {}}, least=0),)
    shows: ClassVar = {"from": HostsOfSerializer.example}
    example: ClassVar = {
        "id": 4,
        "name": "web",
        "description": "what serves pages",
        "built_in": False,
        "queries": {"linux": "SELECT 1 FROM processes WHERE name = 'nginx'"},
        "queries_state": {"linux": LabelStateSerializer.example},
        "hosts_count": 12,
        "created_at": "2026-01-01T08:00:00.000Z",
    }

    @extend_schema_field(serializers.DictField(child=LabelStateSerializer()))
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
        return {**super().get_fields(), "from": HostsOfCampaignField(required=False, write_only=True, help_text=FROM)}

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


@extend_schema_field(
    {"oneOf": [{"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, {"type": "string", "minLength": 1}]}
)
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

    hosts = serializers.ListField(child=HostReference(), max_length=100_000, help_text="ids or names")

    example: ClassVar = {"hosts": [7, "web-02.example"]}


class LearnSerializer(StrictSerializer):
    """Whose tables are learned again."""

    hosts = serializers.ListField(
        child=HostReference(), max_length=50_000, required=False, help_text="ids or names; left out: all hosts"
    )

    example: ClassVar = {"hosts": [7]}


class QuerySerializer(StrictSerializer, serializers.ModelSerializer[Query]):
    """Saved SQL with a name."""

    created_by: Any = serializers.SlugRelatedField(
        slug_field="username", read_only=True, allow_null=True, help_text="null = nobody any more"
    )
    created_at = Moment(read_only=True, help_text="when it was saved first")
    updated_at = Moment(read_only=True, help_text="when it was changed last")

    class Meta:
        model = Query
        fields = ("id", "name", "sql", "description", "observer_can_run", "created_by", "created_at", "updated_at")

    says: ClassVar = {"id": "its number", "name": "its name", "sql": "what it asks", "description": "what it is for"}
    bounds: ClassVar = {"sql": {"maxLength": MAX_SQL_BYTES}}
    example: ClassVar = {
        "id": 3,
        "name": "ports",
        "sql": "SELECT pid, port, address FROM listening_ports",
        "description": "who listens where",
        "observer_can_run": True,
        "created_by": "ada",
        "created_at": "2026-01-01T08:00:00.000Z",
        "updated_at": "2026-01-01T08:00:00.000Z",
    }

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let those write what observers run who may launch it themselves."""
        flagged = attrs.get("observer_can_run", self.instance is not None and self.instance.observer_can_run)
        rights.check_flag(self.context["request"].user, flagged or getattr(self.instance, "observer_can_run", False))
        return attrs

    def validate_sql(self, text: str) -> str:
        """Check it as a launch would; saved SQL may still be of a kind of host that has not told its tables."""
        return kept_sql.check(text, self.context["request"].user, "sql")
