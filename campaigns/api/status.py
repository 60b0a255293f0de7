"""`GET /api/v1/status/`: how the server is, in numbers and sentences."""

from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from redis.exceptions import RedisError
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents.board import heartbeats
from agents.models import Host
from campaigns.launching import kill_switch
from campaigns.models import Campaign
from fleet.readiness import health


class StatusView(APIView):
    """How the server is: what `/readyz` says, and how much there is to do. 200 also when something is in the way."""

    permission_classes = [IsAuthenticated]

    @extend_schema(responses=OpenApiTypes.OBJECT)
    def get(self, request: Request) -> Response:
        """Give `board: null` while Redis is away."""
        found = health()
        hosts = Host.objects.enrolled()
        return Response(
            {
                "ready": not found.troubles,
                **found._asdict(),
                "live_queries": {"enabled": kill_switch.is_on(), "reason": kill_switch.sentence()},
                "hosts": {"enrolled": hosts.count(), "online": hosts.online(timezone.now()).count()},
                "campaigns": {"open": Campaign.objects.under_way().count()},
                "board": _board(),
            }
        )


def _board() -> dict[str, Any] | None:
    try:
        load = heartbeats.load()
    except (RedisError, OSError):
        return None  # `troubles` says so
    return {**load._asdict(), "most_bytes_waiting": settings.STREAM_MAX_BYTES}
