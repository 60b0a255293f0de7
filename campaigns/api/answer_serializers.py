"""The shapes of what hosts answered, as pages, groups, last known answers and comparisons.

Pages of rows are written as they come from PostgreSQL; tests hold every answer against these.
"""

from typing import Any, ClassVar

from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field, inline_serializer
from rest_framework import serializers

from agents.carving.models import CarveState, Integrity
from campaigns.api.serializers import HostName, Moment
from campaigns.states import ANSWER_STATES
from fleet.api.described import NEXT, PREVIOUS

ANSWERS = [(state.value, state.label) for state in ANSWER_STATES]
ROW = {"pid": "811", "port": "22", "address": "0.0.0.0"}  # noqa: S104 - what a host answered
AT = "2026-01-31T08:00:01.250Z"


class RowField(serializers.DictField):
    """A row of SQL: cells by column, each as text, as osquery sends them."""

    child = serializers.CharField(allow_blank=True)


class RowsField(serializers.ListField):
    """Rows of one host's answer."""

    child = RowField()


class PlacedHostSerializer(serializers.Serializer[Any]):
    """A host and the seq of its result."""

    seq = serializers.IntegerField(help_text="its place in the order of arrival; rises, may have gaps")
    host = HostName(help_text="who answered")

    example: ClassVar = {"seq": 41, "host": HostName.example}


class _AnswerSerializer(serializers.Serializer[Any]):
    """What is known of an answer, whoever gave it."""

    state = serializers.ChoiceField(choices=ANSWERS, help_text="what became of it")
    rows = RowsField(help_text="its rows")
    row_count = serializers.IntegerField(help_text="rows that are kept")
    truncated = serializers.BooleanField(help_text="the host answered more rows than were kept")
    late = serializers.BooleanField(help_text="it came after the end")
    error = serializers.CharField(help_text='what the host reported; "" = nothing')
    received_at = Moment(help_text="when it came")

    example: ClassVar = {
        "state": "answered",
        "rows": [ROW],
        "row_count": 1,
        "truncated": False,
        "late": False,
        "error": "",
        "received_at": AT,
    }


class ResultSerializer(_AnswerSerializer, PlacedHostSerializer):
    """What one host sent."""

    in_doubt = serializers.BooleanField(help_text="a second machine uses the key of this host")

    example: ClassVar = {**PlacedHostSerializer.example, **_AnswerSerializer.example, "in_doubt": False}


class HostResultSerializer(_AnswerSerializer):
    """What a host sent in one campaign."""

    campaign = serializers.IntegerField(help_text="id of the campaign")
    seq = serializers.IntegerField(help_text="its place in that campaign")

    example: ClassVar = {"campaign": 12, "seq": 41, **_AnswerSerializer.example}


class RowSerializer(PlacedHostSerializer):
    """One row of a host's answer."""

    row = RowField(help_text="the row")
    truncated = serializers.BooleanField(help_text="the host answered more rows than were kept")
    late = serializers.BooleanField(help_text="with `cut`: it came after the end")
    in_doubt = serializers.BooleanField(help_text="with `cut`: a second machine uses the key of this host")
    place = serializers.IntegerField(help_text="its place in its host's answer, from 1 on; with `cut` alone")
    cut = serializers.ListField(
        child=serializers.CharField(), help_text="with `cut`: columns whose cells were longer than that"
    )

    sometimes = ("late", "in_doubt", "place", "cut")
    example: ClassVar = {
        **PlacedHostSerializer.example,
        "row": ROW,
        "truncated": False,
        "late": False,
        "in_doubt": False,
        "place": 1,
        "cut": [],
    }


class GroupSerializer(serializers.Serializer[Any]):
    """What hosts have in common."""

    key = serializers.CharField(help_text="its name in `groups/{key}/hosts/` and in targets")
    values = serializers.DictField(
        child=serializers.CharField(allow_null=True), help_text="cells by column; null = the row lacks the column"
    )
    hosts = serializers.IntegerField(help_text="hosts that have it")
    rows = serializers.IntegerField(help_text="rows of these hosts that have it")
    answer = RowsField(help_text="without `by`: the first rows of the answer")

    sometimes = ("answer",)
    example: ClassVar = {
        "key": "WyJwb3J0Il0.5f2c",
        "values": {"port": "22"},
        "hosts": 240,
        "rows": 244,
        "answer": [ROW],
    }


class LatestSerializer(serializers.Serializer[Any]):
    """The newest answer of a host over all runs of a query."""

    host = HostName(help_text="who answered")
    rows = RowsField(help_text="its rows")
    row_count = serializers.IntegerField(help_text="rows that are kept")
    received_at = Moment(help_text="when it came")
    age = serializers.IntegerField(help_text="seconds since it came")
    campaign = serializers.IntegerField(help_text="id of the run it is of")
    truncated = serializers.BooleanField(help_text="the host answered more rows than were kept")
    late = serializers.BooleanField(help_text="it came after the end of its run")

    example: ClassVar = {
        "host": HostName.example,
        "rows": [ROW],
        "row_count": 1,
        "received_at": AT,
        "age": 86_400,
        "campaign": 12,
        "truncated": False,
        "late": False,
    }


class LatestGroupSerializer(serializers.Serializer[Any]):
    """Values that hosts have in common in their newest answers."""

    values = serializers.DictField(
        child=serializers.CharField(allow_null=True), help_text="cells by column; null = the row lacks the column"
    )
    hosts = serializers.IntegerField(help_text="hosts that have them")
    rows = serializers.IntegerField(help_text="rows of these hosts that have them")
    oldest_at = Moment(help_text="when the oldest of these answers came")

    example: ClassVar = {"values": {"port": "22"}, "hosts": 240, "rows": 244, "oldest_at": AT}


CHANGES = [("added", "only here"), ("removed", "only there"), ("changed", "rows differ")]


class ChangedHostSerializer(serializers.Serializer[Any]):
    """A host whose answer differs from the one of the campaign before."""

    host = HostName(help_text="who answered")
    change = serializers.ChoiceField(choices=CHANGES, help_text="the host answered only here, only there, or otherwise")
    added = RowsField(help_text="rows that are only here")
    removed = RowsField(help_text="rows that are only there")
    truncated = serializers.BooleanField(help_text="one of both answers had more rows than were kept")

    example: ClassVar = {
        "host": HostName.example,
        "change": "changed",
        "added": [ROW],
        "removed": [],
        "truncated": False,
    }


class ChangedRowSerializer(serializers.Serializer[Any]):
    """A row that hosts gained or lost."""

    row = RowField(help_text="the row, without columns that are not compared")
    change = serializers.ChoiceField(choices=CHANGES, help_text="added = these hosts gained it, removed = lost it")
    hosts = serializers.IntegerField(help_text="hosts that gained or lost it")
    hosts_in_both = serializers.IntegerField(help_text="hosts of them that answered both campaigns")
    truncated_hosts = serializers.IntegerField(
        help_text="hosts of them of which one answer had more rows than were kept"
    )

    example: ClassVar = {
        "row": {"port": "4444"},
        "change": "added",
        "hosts": 3,
        "hosts_in_both": 3,
        "truncated_hosts": 0,
    }


class ChangedHostsSerializer(serializers.Serializer[Any]):
    """Hosts by how their answer changed."""

    added = serializers.IntegerField(help_text="hosts that answered only here")
    removed = serializers.IntegerField(help_text="hosts that answered only there")
    changed = serializers.IntegerField(help_text="hosts whose rows differ")
    same = serializers.IntegerField(help_text="hosts whose rows are the same")

    example: ClassVar = {"added": 1, "removed": 0, "changed": 3, "same": 246}


class CarveSerializer(serializers.Serializer[Any]):
    """Files that one host packed and sends, block by block."""

    id = serializers.IntegerField(help_text="its number")
    carve_id = serializers.CharField(help_text="its name on the host, the carve_guid")
    campaign = serializers.IntegerField(allow_null=True, help_text="id of the campaign that asked; null = not known")
    host = HostName(help_text="who sends it")
    path = serializers.CharField(help_text="what is carved")
    state = serializers.ChoiceField(choices=CarveState.choices, help_text="how far it is")
    carve_size = serializers.IntegerField(allow_null=True, help_text="bytes in all; null = not begun")
    block_size = serializers.IntegerField(allow_null=True, help_text="bytes of a block; null = not begun")
    block_count = serializers.IntegerField(allow_null=True, help_text="blocks in all; null = not begun")
    received_blocks = serializers.IntegerField(help_text="blocks that are here")
    received_bytes = serializers.IntegerField(help_text="bytes that are here")
    missing_blocks = serializers.ListField(
        child=serializers.IntegerField(), help_text="numbers of blocks that are missing, the first hundred"
    )
    integrity = serializers.ChoiceField(
        choices=Integrity.choices, allow_null=True, help_text="what the host's size and digest say; null = not checked"
    )
    sha256 = serializers.CharField(help_text='of the bytes that are here; "" = not taken yet')
    host_sha256 = serializers.CharField(help_text='as the host tells it; "" = it has not')
    host_status = serializers.CharField(help_text='status in the host\'s carves table; "" = not told')
    trouble = serializers.CharField(help_text='what is wrong, in words; "" = nothing')
    announced_at = Moment(allow_null=True, help_text="when an answer named it")
    begun_at = Moment(allow_null=True, help_text="when the host began to send")
    heard_at = Moment(allow_null=True, help_text="when the last block came")
    completed_at = Moment(allow_null=True, help_text="when all blocks were here")
    download = serializers.URLField(allow_null=True, help_text="address of the bytes; null = not complete")

    example: ClassVar = {
        "id": 5,
        "carve_id": "2f1a",
        "campaign": 12,
        "host": HostName.example,
        "path": "/etc/hosts",
        "state": "complete",
        "carve_size": 2048,
        "block_size": 1024,
        "block_count": 2,
        "received_blocks": 2,
        "received_bytes": 2048,
        "missing_blocks": [],
        "integrity": "matches",
        "sha256": "9f86d081",
        "host_sha256": "9f86d081",
        "host_status": "SUCCESS",
        "trouble": "",
        "announced_at": AT,
        "begun_at": AT,
        "heard_at": AT,
        "completed_at": AT,
        "download": "https://fleet.example/api/v1/carves/5/file",
    }


CELL = {
    "oneOf": [
        {"type": "string", "nullable": True},
        {"type": "number"},
        {"type": "boolean"},
        {"type": "array", "items": {}},
        {"type": "object", "additionalProperties": {}},
    ],
    "description": "a cell: text, number, truth, null, a list or a struct of these; all else is written as text",
}


@extend_schema_field(CELL)
class CellField(serializers.Field[Any, Any, Any, Any]):
    """A cell of an answer to SQL over answers."""


class ColumnSerializer(serializers.Serializer[Any]):
    """A column of a result."""

    name = serializers.CharField(help_text="its name")
    type = serializers.CharField(help_text="the engine's word for its type")

    example: ClassVar = {"name": "hosts", "type": "BIGINT"}


class SqlAnswerSerializer(serializers.Serializer[Any]):
    """What came of the SQL."""

    columns = ColumnSerializer(many=True, help_text="in order")
    rows = serializers.ListField(child=serializers.ListField(child=CellField()), help_text="cells in that order")
    truncated = serializers.BooleanField(help_text="there were more rows than are given")
    took_ms = serializers.IntegerField(help_text="milliseconds it took")

    example: ClassVar = {"columns": [ColumnSerializer.example], "rows": [[240]], "truncated": False, "took_ms": 38}


class SqlOverCampaignSerializer(SqlAnswerSerializer):
    """What came of the SQL over a campaign's answers."""

    as_of_seq = serializers.IntegerField(help_text="seq up to which answers were looked at")

    example: ClassVar = {**SqlAnswerSerializer.example, "as_of_seq": 248}


def one_of(name: str, *kinds: type[serializers.Serializer[Any]]) -> Any:
    """Give the shape of an item that is one of several."""
    return PolymorphicProxySerializer(
        component_name=name, serializers=list(kinds), resource_type_field_name=None, many=True
    )


def page_of(item: type[serializers.BaseSerializer[Any]], *, items: Any = None, **more: Any) -> Any:
    """Give the shape of a page without a count; `more` are members beside its results."""
    name = f"PageOf{item.__name__.removesuffix('Serializer')}s"
    results = item(many=True, help_text="the items") if items is None else items
    links = {
        "next": serializers.URLField(allow_null=True, **NEXT),
        "previous": serializers.URLField(allow_null=True, **PREVIOUS),
    }
    page = inline_serializer(name, {**links, "results": results, **more})
    page.says = {"results": "the items"}  # type: ignore[attr-defined]  # what is one of several says nothing itself
    return page


PAGE_OF_ROWS = page_of(RowSerializer)
PAGE_OF_GROUPS = page_of(GroupSerializer)
PAGE_OF_PLACED_HOSTS = page_of(PlacedHostSerializer)
PAGE_OF_RESULTS = page_of(ResultSerializer)
PAGE_OF_LATEST = page_of(LatestSerializer, items=one_of("LatestItem", LatestSerializer, LatestGroupSerializer))
DIFF = page_of(
    ChangedHostSerializer,
    items=one_of("Change", ChangedHostSerializer, ChangedRowSerializer),
    hosts=ChangedHostsSerializer(help_text="hosts by how their answer changed"),
    truncated_hosts=serializers.IntegerField(
        help_text="hosts of which one of both answers had more rows than were kept: what differs there may be cut off"
    ),
    columns=serializers.ListField(child=serializers.CharField(), help_text="columns of both campaigns"),
    suggested_ignore=serializers.ListField(
        child=serializers.CharField(), help_text="columns of numbers and times that differ on almost every host"
    ),
    as_of_seq=serializers.IntegerField(help_text="seq up to which answers were looked at here"),
)
PAGE_OF_HOST_RESULTS = page_of(
    HostResultSerializer, count=serializers.IntegerField(help_text="results of this host in all")
)
# Written as they come, so that no serializer is paid for each row; a list without pages, and a row by its columns.
ALL_RESULTS = {"type": "array", "items": {"$ref": "#/components/schemas/Result"}}
ALL_CHANGES = {"type": "array", "items": {"$ref": "#/components/schemas/Change"}}
ONE_ROW = {
    "type": "object",
    "additionalProperties": {"type": "string"},
    "description": "cells by column",
    "example": ROW,
}
