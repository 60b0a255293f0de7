"""How the server is, in numbers and sentences, and the kill switch."""

from typing import Any, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from drf_spectacular.utils import extend_schema
from redis.exceptions import RedisError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response

from agents.board import heartbeats
from agents.board.health import health
from agents.enrolling import config_document
from campaigns.api.serializers import SwitchSerializer
from campaigns.api.server_serializers import StatusSerializer, SwitchedSerializer
from campaigns.launching import control, kill_switch
from campaigns.models import Campaign
from campaigns.people import scopes
from fleet import confirming
from fleet.api.views import ApiView


class StatusView(ApiView):
    """How the server is: what `/readyz` says, and how much there is to do. 200 also when something is in the way."""

    permission_classes = [IsAuthenticated]

    @extend_schema(responses=StatusSerializer)
    def get(self, request: Request) -> Response:
        """Give `board: null` while Redis is away, and to those who see some hosts only: it counts those of all."""
        found = health()
        user = cast(User, request.user)
        hosts = scopes.hosts_for(user).enrolled()
        off = kill_switch.sentence()
        return Response(
            {
                "ready": not found.troubles,
                "troubles": found.troubles,
                "warnings": [*found.warnings, *config_document.warnings_of_server()],
                "live_queries": {"enabled": not off, "reason": off},
                "hosts": {"enrolled": hosts.count(), "online": hosts.online(timezone.now()).count()},
                "campaigns": {"open": _open_campaigns(user)},
                "board": None if scopes.is_limited(user) else _board(),
            }
        )


def _open_campaigns(user: User) -> int:
    under_way = Campaign.objects.under_way()
    return int((under_way.visible_to(user) if scopes.is_limited(user) else under_way).count())


def _board() -> dict[str, Any] | None:
    try:
        load = heartbeats.load()
    except (RedisError, OSError):
        return None  # `troubles` says so
    return {**load._asdict(), "most_bytes_waiting": settings.STREAM_MAX_BYTES}


class SwitchView(ApiView):
    """The kill switch: POST to `live-queries/disable/` or `live-queries/enable/`."""

    permission_classes = [IsAuthenticated]
    on = False

    @extend_schema(request=SwitchSerializer, responses=SwitchedSerializer)
    def post(self, request: Request) -> Response:
        """Stop all campaigns and refuse new ones, or allow them again. `{"reason"}` is shown to whoever launches."""
        user = cast(User, request.user)
        kill_switch.check_may_turn(user)
        confirming.require_in_session(request)
        body = SwitchSerializer(data=request.data)
        body.is_valid(raise_exception=True)
        if self.on:
            control.enable_live_queries(user)
            return Response({"enabled": True})
        stopped = control.disable_live_queries(user, body.validated_data["reason"])
        return Response({"enabled": False, "stopped": stopped})
