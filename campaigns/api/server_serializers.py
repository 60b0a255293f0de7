"""The shapes of what the server tells of itself: how it is, which tables hosts have, and its audit."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field, inline_serializer
from rest_framework import serializers

from agents.models import Platform
from fleet.api.described import NEXT, PREVIOUS


class LiveQueriesSerializer(serializers.Serializer[Any]):
    """The kill switch."""

    enabled = serializers.BooleanField(help_text="campaigns may be launched")
    reason = serializers.CharField(help_text='why not, in a sentence; "" = they may')

    example: ClassVar = {"enabled": True, "reason": ""}


class EnrolledSerializer(serializers.Serializer[Any]):
    """Hosts that you see."""

    enrolled = serializers.IntegerField(help_text="hosts that may check in")
    online = serializers.IntegerField(help_text="hosts of them that are online")

    example: ClassVar = {"enrolled": 250, "online": 249}


class OpenCampaignsSerializer(serializers.Serializer[Any]):
    """Campaigns."""

    open = serializers.IntegerField(help_text="campaigns that are under way")

    example: ClassVar = {"open": 2}


class BoardSerializer(serializers.Serializer[Any]):
    """What gateways hold, and what waits to be stored."""

    gateways = serializers.IntegerField(help_text="gateways that told of themselves within a minute")
    held_reads = serializers.IntegerField(help_text="reads that are held open")
    most_held_reads = serializers.IntegerField(help_text="reads that can be held open")
    answers_waiting = serializers.IntegerField(help_text="answers that are not stored yet")
    bytes_waiting = serializers.IntegerField(help_text="bytes of these answers")
    longest_wait_ms = serializers.IntegerField(help_text="milliseconds that the oldest of them waits")
    most_bytes_waiting = serializers.IntegerField(help_text="bytes above which nothing new is handed out")

    example: ClassVar = {
        "gateways": 2,
        "held_reads": 249,
        "most_held_reads": 40_000,
        "answers_waiting": 0,
        "bytes_waiting": 4096,
        "longest_wait_ms": 0,
        "most_bytes_waiting": 1_073_741_824,
    }


class StatusSerializer(serializers.Serializer[Any]):
    """How the server is."""

    ready = serializers.BooleanField(help_text="nothing is in the way")
    troubles = serializers.ListField(child=serializers.CharField(), help_text="what is in the way, in sentences")
    warnings = serializers.ListField(child=serializers.CharField(), help_text="what to mend, in sentences")
    live_queries = LiveQueriesSerializer(help_text="the kill switch")
    hosts = EnrolledSerializer(help_text="hosts that you see")
    campaigns = OpenCampaignsSerializer(help_text="campaigns that you see")
    board = BoardSerializer(allow_null=True, help_text="null = Redis is away, or you see some hosts only")

    example: ClassVar = {
        "ready": True,
        "troubles": [],
        "warnings": [],
        "live_queries": LiveQueriesSerializer.example,
        "hosts": EnrolledSerializer.example,
        "campaigns": OpenCampaignsSerializer.example,
        "board": BoardSerializer.example,
    }


class SwitchedSerializer(serializers.Serializer[Any]):
    """The kill switch as it is now."""

    enabled = serializers.BooleanField(help_text="campaigns may be launched")
    stopped = serializers.IntegerField(help_text="campaigns that were stopped, when it was switched off")

    sometimes = ("stopped",)
    example: ClassVar = {"enabled": False, "stopped": 2}


class TableColumnSerializer(serializers.Serializer[Any]):
    """A column of a table."""

    name = serializers.CharField(help_text="its name")
    type = serializers.CharField(help_text="its type, as SQLite knows it")
    hidden = serializers.BooleanField(help_text="`SELECT *` leaves it out")
    platforms = serializers.ListField(
        child=serializers.ChoiceField(choices=Platform.choices), help_text="platforms that have it"
    )

    example: ClassVar = {"name": "port", "type": "INTEGER", "hidden": False, "platforms": ["linux", "windows"]}


class TableSerializer(serializers.Serializer[Any]):
    """A table of osquery, as hosts told of it."""

    name = serializers.CharField(help_text="its name")
    platforms = serializers.ListField(
        child=serializers.ChoiceField(choices=Platform.choices), help_text="platforms that have it"
    )
    columns = TableColumnSerializer(many=True, help_text="its columns")

    example: ClassVar = {
        "name": "listening_ports",
        "platforms": ["linux", "windows"],
        "columns": [TableColumnSerializer.example],
    }


LINKS: dict[str, Any] = {
    "next": serializers.URLField(allow_null=True, **NEXT),
    "previous": serializers.URLField(allow_null=True, **PREVIOUS),
}
TABLES = inline_serializer(
    "PageOfTables",
    {
        "count": serializers.IntegerField(help_text="tables in all"),
        **LINKS,
        "results": TableSerializer(many=True, help_text="the tables, by name"),
    },
)


class LearningSerializer(serializers.Serializer[Any]):
    """Who is asked again."""

    asked = serializers.IntegerField(help_text="hosts that are asked for their tables, one of each kind")

    example: ClassVar = {"asked": 3}


class MembersCountedSerializer(serializers.Serializer[Any]):
    """A label after hosts were put in or taken out."""

    hosts_count = serializers.IntegerField(help_text="hosts in it that you see")
    warnings = serializers.ListField(
        child=serializers.CharField(), help_text="names that several hosts bear, in sentences; left out: none"
    )

    sometimes = ("warnings",)
    shows: ClassVar = {"warnings": ["web-02.example is the hostname of 2 hosts: all are meant"]}
    example: ClassVar = {"hosts_count": 12}


@extend_schema_field({"type": "object", "additionalProperties": {}})
class DetailsField(serializers.Field[Any, Any, Any, Any]):
    """What an action adds: each has members of its own (docs/audit.md)."""


@extend_schema_field({"type": "string", "format": "date-time", "pattern": r"\.\d{6}Z$"})
class MicrosecondField(serializers.DateTimeField):
    """RFC 3339 in UTC with microseconds."""


class AuditLineSerializer(serializers.Serializer[Any]):
    """A line of the audit with its place in the chain: all that its digest is made of."""

    number = serializers.IntegerField(help_text="its place in the chain")
    event = serializers.IntegerField(help_text="id of the event")
    at = MicrosecondField(help_text="when it happened, with microseconds, as they are part of the digest")
    person_id = serializers.IntegerField(allow_null=True, help_text="id of who did it; null = the server itself")
    who = serializers.CharField(help_text="name of who did it, then")
    token_id = serializers.IntegerField(allow_null=True, help_text="id of the token it was done with; null = none")
    address = serializers.CharField(help_text='address it was asked from; "" = none')
    action = serializers.CharField(help_text="what was done")
    subject = serializers.CharField(help_text="to what")
    details = DetailsField(help_text="what the action adds, by names of its own")
    previous = serializers.CharField(help_text="digest of the line before")
    digest = serializers.CharField(help_text="digest of this line and the one before")

    example: ClassVar = {
        "number": 81,
        "event": 81,
        "at": "2026-01-31T08:00:00.000000Z",
        "person_id": 2,
        "who": "ada",
        "token_id": None,
        "address": "192.0.2.9",
        "action": "campaign.stopped",
        "subject": "campaign 12",
        "details": {"reason": "stopped by ada"},
        "previous": "8c1f",
        "digest": "5f2c",
    }


AUDIT = inline_serializer(
    "PageOfAuditLines", {**LINKS, "results": AuditLineSerializer(many=True, help_text="the lines")}
)
