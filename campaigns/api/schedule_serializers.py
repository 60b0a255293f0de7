"""The shapes of schedules and their runs."""

from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from rest_framework import serializers

from campaigns.api.orders import ID, SECONDS, RolloutField, RolloutSerializer, SelectionSerializer, TargetField
from campaigns.api.serializers import Moment
from campaigns.models import Query
from campaigns.recurring import times
from campaigns.recurring.keeping import MOST_RUNS_KEPT
from campaigns.recurring.models import Schedule, ScheduledRun
from campaigns.states import Status
from fleet.api.asking import StrictSerializer
from fleet.api.described import Either


class ScheduleSerializer(StrictSerializer, serializers.ModelSerializer[Schedule]):
    """A saved query that runs by itself: give `every` or `crontab`, with the zone of its clock."""

    query = serializers.PrimaryKeyRelatedField[Query](queryset=Query.objects.all(), help_text="id of the saved query")
    owner = serializers.CharField(source="owner.username", read_only=True, help_text="with whose rights it runs")
    every = serializers.IntegerField(required=False, allow_null=True, help_text="minutes; null = by crontab")
    crontab = serializers.CharField(
        required=False, allow_blank=True, max_length=200, help_text="five fields, as 0 8 * * 1-5; empty = by minutes"
    )
    zone = serializers.CharField(required=False, max_length=64, help_text="time zone of the crontab, as Europe/Berlin")
    target = TargetField(help_text="as in a launch")
    timeout = serializers.IntegerField(required=False, help_text="seconds of each run")
    answer_within = serializers.IntegerField(required=False, allow_null=True, help_text="seconds one host may take")
    rollout = RolloutField(required=False, allow_null=True, help_text="as in a launch")
    runs_kept = serializers.IntegerField(
        required=False, help_text="runs that stay, of those that ended and are not pinned"
    )
    enabled = serializers.BooleanField(required=False, help_text="it runs by itself")
    when = serializers.CharField(read_only=True, help_text="its times in words")
    next_at = Moment(read_only=True, allow_null=True, help_text="when it runs next; null = not")
    stopped_reason = serializers.CharField(read_only=True, help_text="why the machine disabled it")
    last_problem = serializers.CharField(read_only=True, help_text="why its last time brought no run")
    last_problem_at = Moment(read_only=True, allow_null=True, help_text="when that was; null = never")
    created_at = Moment(read_only=True, help_text="when it was made")

    class Meta:
        model = Schedule
        fields = (
            *("id", "query", "owner", "every", "crontab", "zone", "when", "target", "timeout", "answer_within"),
            *("rollout", "runs_kept", "enabled", "next_at", "stopped_reason", "last_problem", "last_problem_at"),
            "created_at",
        )

    either = (Either({"every": {"type": "integer"}, "crontab": {"type": "string", "minLength": 1}}),)
    bounds: ClassVar = {
        "query": ID,
        "every": {"minimum": times.SHORTEST, "maximum": times.LONGEST},
        "timeout": SECONDS,
        "answer_within": SECONDS,
        "runs_kept": {"minimum": 1, "maximum": MOST_RUNS_KEPT},
    }
    says: ClassVar = {"id": "its number"}
    example: ClassVar = {
        "id": 2,
        "query": 3,
        "owner": "ada",
        "every": 60,
        "crontab": "",
        "zone": "Europe/Berlin",
        "when": "every hour",
        "target": SelectionSerializer.example,
        "timeout": 600,
        "answer_within": 30,
        "rollout": RolloutSerializer.example,
        "runs_kept": 30,
        "enabled": True,
        "next_at": "2026-01-31T09:00:00.000Z",
        "stopped_reason": "",
        "last_problem": "",
        "last_problem_at": None,
        "created_at": "2026-01-01T08:00:00.000Z",
    }

    def validate_query(self, query: Query) -> Query:
        """Let those name one who may look at it."""
        if not cast(User, self.context["request"].user).has_perm("campaigns.view_query"):
            raise serializers.ValidationError(f"query {query.pk} needs campaigns.view_query")
        return query

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Let what is given of the two kinds of times replace the other, so that a change of one is enough."""
        if attrs.get("every") is not None and "crontab" not in attrs:
            attrs["crontab"] = ""
        if attrs.get("crontab") and "every" not in attrs:
            attrs["every"] = None
        return attrs


class RunSerializer(serializers.ModelSerializer[ScheduledRun]):
    """One run, and what it is answered differently than the run before."""

    campaign = serializers.IntegerField(source="campaign_id", help_text="id of the campaign")
    status = serializers.ChoiceField(source="campaign.status", choices=Status.choices, help_text="how far it is")
    created_at = Moment(source="campaign.created_at", help_text="when it was launched")
    ended_at = Moment(source="campaign.ended_at", allow_null=True, help_text="when it ended; null = it goes on")
    before = serializers.IntegerField(
        source="before_id", allow_null=True, help_text="id of the run it is compared with"
    )
    compared_at = Moment(allow_null=True, help_text="when it was compared; null = it was not")
    changes = serializers.ListField(
        child=serializers.CharField(), help_text="as: 3 hosts newly gave port=4444; none are told of a partial run"
    )
    partial = serializers.BooleanField(  # type: ignore[assignment]  # named as in messages of hooks
        source="campaign.is_partial", help_text="it is over hosts beyond yours too"
    )
    problem = serializers.CharField(help_text="why it could not be compared")

    class Meta:
        model = ScheduledRun
        fields = (
            "campaign",
            "status",
            "created_at",
            "ended_at",
            "before",
            "compared_at",
            "changes",
            "partial",
            "problem",
        )
        read_only_fields = fields

    example: ClassVar = {
        "campaign": 12,
        "status": "completed",
        "created_at": "2026-01-31T08:00:00.000Z",
        "ended_at": "2026-01-31T08:10:00.000Z",
        "before": 11,
        "compared_at": "2026-01-31T08:10:01.000Z",
        "changes": ["3 hosts newly gave port=4444"],
        "partial": False,
        "problem": "",
    }


class LaunchedRunSerializer(serializers.Serializer[Any]):
    """The campaign of a run that was just launched."""

    campaign = serializers.IntegerField(help_text="its id")

    example: ClassVar = {"campaign": 12}
