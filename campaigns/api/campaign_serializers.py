"""The shapes of campaigns and estimates as they are answered.

`campaigns.answers.results.campaign_json` writes campaigns, for sockets as well; tests hold every answer against these.
"""

from typing import Any, ClassVar

from rest_framework import serializers

from campaigns.api.answer_serializers import ResultSerializer
from campaigns.api.orders import RolloutSerializer, SelectionSerializer
from campaigns.api.serializers import Moment
from campaigns.launching import quotas
from campaigns.launching.models import Quota
from campaigns.states import State, Status, WaitsFor


class StandingSerializer(serializers.Serializer[quotas.Standing]):
    """One quota that one is under."""

    name = serializers.ChoiceField(choices=Quota.NAMES, help_text="what is counted")
    limit = serializers.IntegerField(help_text="campaigns, hosts or rows that are allowed; 0 = any number")
    used = serializers.IntegerField(help_text="campaigns, hosts or rows that there are")
    frees_at = Moment(allow_null=True, help_text="when there is more room; null = waiting is no help, or not needed")
    is_full = serializers.BooleanField(help_text="nothing more is allowed now")

    example: ClassVar = {
        "name": "hosts_per_hour",
        "limit": 1000,
        "used": 1000,
        "frees_at": "2026-01-31T09:00:00.000Z",
        "is_full": True,
    }


class CountsSerializer(serializers.Serializer[Any]):
    """Hosts by their state, which add up to `targeted`; rows; and hosts that are online."""

    targeted = serializers.IntegerField(help_text="hosts; grows while the campaign is `targeting`")
    waiting = serializers.IntegerField(help_text="hosts that the SQL was not handed to yet")
    delivered = serializers.IntegerField(help_text="hosts that have the SQL and did not answer yet")
    answered = serializers.IntegerField(help_text="hosts that answered, also with no rows")
    failed = serializers.IntegerField(help_text="hosts that reported an error")
    denylisted = serializers.IntegerField(help_text="hosts that refuse the SQL since they died of it before")
    unsupported = serializers.IntegerField(help_text="hosts that lack a table or column; never asked")
    no_answer = serializers.IntegerField(help_text="hosts that were handed the SQL and stayed silent")
    missed = serializers.IntegerField(help_text="hosts that did not come while it lasted")
    held_back = serializers.IntegerField(help_text="hosts that were never released, or kept from the SQL")
    stopped = serializers.IntegerField(help_text="hosts that were open when it was stopped")
    rows = serializers.IntegerField(help_text="rows of all answers")
    online = serializers.IntegerField(help_text="hosts of it that are online; not part of the sum")

    example: ClassVar = {
        **dict.fromkeys(State.values, 0),
        "targeted": 250,
        "delivered": 2,
        "answered": 247,
        "failed": 1,
        "rows": 741,
        "online": 249,
    }


CAMPAIGN: dict[str, Any] = {
    "id": 12,
    "name": "who listens",
    "sql": "SELECT pid, port, address FROM listening_ports",
    "query": 3,
    "target": SelectionSerializer.example,
    "rollout": None,
    "timeout": 600,
    "answer_within": None,
    "reason": "ticket 4711",
    "pinned": False,
    "include_late_joiners": False,
    "released": 250,
    "paused_by": "",
    "paused_reason": "",
    "status": "running",
    "waits_for": None,
    "ended_reason": "",
    "ended_by": "",
    "created_by": "ada",
    "created_at": "2026-01-31T08:00:00.000Z",
    "start_at": None,
    "started_at": "2026-01-31T08:00:00.120Z",
    "ends_at": "2026-01-31T08:10:00.120Z",
    "left": None,
    "ended_at": None,
    "parent": None,
    "schedule": None,
    "columns": ["pid", "port", "address"],
    "counts": CountsSerializer.example,
    "expected": 250,
    "last_seq": 248,
    "warnings": [],
    "partial": False,
    "url": "https://fleet.example/campaigns/12/",
}


class CampaignSerializer(serializers.Serializer[Any]):
    """One run of SQL over chosen hosts."""

    id = serializers.IntegerField(help_text="its number")
    name = serializers.CharField(help_text='what people call it; "" = nothing')
    sql = serializers.CharField(help_text="what is asked")
    query = serializers.IntegerField(allow_null=True, help_text="id of the saved query it came from; null = none")
    target = SelectionSerializer(help_text="who is meant, as given")
    rollout = RolloutSerializer(allow_null=True, help_text="as given; null = everybody at once")
    timeout = serializers.IntegerField(help_text="seconds it lasts from its start")
    answer_within = serializers.IntegerField(allow_null=True, help_text="seconds one host may take; null = any")
    reason = serializers.CharField(help_text='why it was launched; "" = not said')
    pinned = serializers.BooleanField(help_text="kept whatever its age")
    include_late_joiners = serializers.BooleanField(help_text="hosts that come to fit while it lasts are asked as well")
    released = serializers.IntegerField(help_text="hosts that may be handed the SQL")
    paused_by = serializers.CharField(help_text='who or what paused it; "" = it is not paused')
    paused_reason = serializers.CharField(help_text='why; "" = not paused')
    status = serializers.ChoiceField(choices=Status.choices, help_text="how far it is")
    waits_for = serializers.ChoiceField(
        choices=WaitsFor.choices, allow_null=True, help_text="what keeps it from beginning beside its time"
    )
    ended_reason = serializers.CharField(help_text='why it ended, in words; "" = it has not, or by itself')
    ended_by = serializers.CharField(help_text='the person or brake that ended it; "" = it has not, or by itself')
    created_by = serializers.CharField(allow_null=True, help_text="who launched it; null = that account is gone")
    created_at = Moment(help_text="when it was launched")
    start_at = Moment(allow_null=True, help_text="when it shall begin; null = at once")
    started_at = Moment(allow_null=True, help_text="when it began")
    ends_at = Moment(allow_null=True, help_text="when its time is up; null while it is paused, or has not begun")
    left = serializers.IntegerField(
        allow_null=True, help_text="seconds it has left once it is resumed; null = it is not paused"
    )
    ended_at = Moment(allow_null=True, help_text="when it ended")
    parent = serializers.IntegerField(  # type: ignore[assignment]  # the contract's name
        allow_null=True, help_text="id of the campaign it asks again"
    )
    schedule = serializers.IntegerField(allow_null=True, help_text="id of the schedule it is a run of")
    columns = serializers.ListField(
        child=serializers.CharField(), help_text="columns of its rows, in order of first appearance"
    )
    counts = CountsSerializer(help_text="hosts by state")
    expected = serializers.IntegerField(help_text="hosts counted at launch")
    last_seq = serializers.IntegerField(help_text="seq of its newest result; 0 = none yet")
    warnings = serializers.ListField(child=serializers.CharField(), help_text="what to know of it, in sentences")
    partial = serializers.BooleanField(  # type: ignore[assignment]  # the contract's name
        help_text="it is over hosts too that you may not see, of which nothing is told"
    )
    url = serializers.URLField(help_text="its page")

    example: ClassVar = CAMPAIGN


class SpreadSerializer(serializers.Serializer[Any]):
    """How values spread over hosts."""

    median = serializers.IntegerField(
        allow_null=True, help_text="milliseconds or bytes, as of its member: the median; null = not known"
    )
    p95 = serializers.IntegerField(
        allow_null=True, help_text="milliseconds or bytes that 95 of a hundred stay below; null = not known"
    )

    example: ClassVar = {"median": 12, "p95": 90}


class CostSerializer(serializers.Serializer[Any]):
    """What this SQL cost the hosts of earlier campaigns."""

    campaigns = serializers.IntegerField(help_text="campaigns that were looked at, the newest five at most")
    hosts = serializers.IntegerField(help_text="hosts that told it")
    wall_ms = SpreadSerializer(help_text="milliseconds")
    memory_bytes = SpreadSerializer(help_text="bytes")
    denylisted = serializers.IntegerField(help_text="hosts that died of it")

    example: ClassVar = {
        "campaigns": 2,
        "hosts": 480,
        "wall_ms": SpreadSerializer.example,
        "memory_bytes": {"median": 180_224, "p95": 524_288},
        "denylisted": 0,
    }


class CaughtSerializer(serializers.Serializer[Any]):
    """Why a launch would wait for a second person."""

    why = serializers.ListField(child=serializers.CharField(), help_text="what of the rules catches it")
    expires_after = serializers.IntegerField(help_text="seconds it would wait")

    example: ClassVar = {"why": ["it is over 250 hosts, more than 100"], "expires_after": 86_400}


class CountedSerializer(serializers.Serializer[Any]):
    """Hosts that are meant, and what the SQL cost before."""

    targeted = serializers.IntegerField(help_text="hosts")
    online = serializers.IntegerField(help_text="hosts of them that are online")
    seen_last_day = serializers.IntegerField(help_text="hosts of them that were here within a day")
    platforms = serializers.DictField(child=serializers.IntegerField(), help_text="hosts by platform")
    cost = CostSerializer(allow_null=True, help_text="null = there is no SQL, or it was not asked before")
    warnings = serializers.ListField(child=serializers.CharField(), help_text="what to know, in sentences")

    example: ClassVar = {
        "targeted": 250,
        "online": 249,
        "seen_last_day": 250,
        "platforms": {"linux": 200, "windows": 50},
        "cost": CostSerializer.example,
        "warnings": [],
    }


class EstimateAnswerSerializer(CountedSerializer):
    """Who a target means, what the SQL cost before, and what is in the way of a launch."""

    approval = CaughtSerializer(allow_null=True, help_text="why it would wait for a second person; null = it would not")
    quotas = StandingSerializer(many=True, help_text="how you stand with each quota")

    example: ClassVar = {**CountedSerializer.example, "approval": None, "quotas": [StandingSerializer.example]}


class WaitedCampaignSerializer(CampaignSerializer):
    """A campaign that was waited for, with its first results."""

    results = ResultSerializer(many=True, help_text="the first thousand results at most")
    next = serializers.URLField(
        allow_null=True, help_text="address of the results after these; null = nothing more yet"
    )

    example: ClassVar = {**CAMPAIGN, "results": [ResultSerializer.example], "next": None}


class LaunchedCampaignSerializer(WaitedCampaignSerializer):
    """With `wait` a campaign that has ended; without, the one that this `Idempotency-Key` launched before."""

    sometimes = ("results", "next")
