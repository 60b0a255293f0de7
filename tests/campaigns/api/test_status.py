"""`GET /api/v1/status/` for people and their dashboards."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import override_settings
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import heartbeats, redis_client
from agents.models import Presence
from tests.conftest import Agent
from tests.factories import make_campaign, make_host

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]


def test_it_counts_hosts_campaigns_and_what_waits(api: Api, stranger: User, agent: Callable[[Any], Agent]) -> None:
    host, _ = make_host(), make_host()
    Presence.objects.create(host=host, last_seen=timezone.now())
    campaign = make_campaign(host)
    assert agent(host).read()["queries"]
    agent(host).write(campaign.pk, [{"a": "1"}])

    found = api(stranger).get("/api/v1/status/").json()

    assert found["hosts"] == {"enrolled": 2, "online": 1}
    assert found["campaigns"] == {"open": 1}
    assert found["live_queries"] == {"enabled": True, "reason": ""}
    assert (found["board"]["held_reads"], found["board"]["answers_waiting"]) == (0, heartbeats.load().answers_waiting)
    assert found["board"]["bytes_waiting"] > 0
    assert found["ready"] is False
    assert any("nothing was swept yet" in trouble for trouble in found["troubles"])


def test_without_redis_it_says_so(api: Api, stranger: User, monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(REDIS_URL="redis://127.0.0.1:1/0"):
        redis_client.client.cache_clear()
        found = api(stranger).get("/api/v1/status/")
    redis_client.client.cache_clear()

    assert found.status_code == 200
    assert found.json()["board"] is None
    assert any("Redis does not answer" in trouble for trouble in found.json()["troubles"])


def test_it_is_not_for_everybody(api: Api) -> None:
    assert api(None).get("/api/v1/status/").status_code in (401, 403)


@pytest.mark.parametrize(("sink", "times"), [("", 1), ("file:///var/log/osquery.ndjson", 0)])
def test_it_warns_while_log_lines_of_agents_are_dropped(
    api: Api, stranger: User, settings: Any, sink: str, times: int
) -> None:
    settings.LOG_SINK = sink

    found = api(stranger).get("/api/v1/status/").json()

    assert sum("LOG_SINK is not set" in warning and "dropped" in warning for warning in found["warnings"]) == times
    assert not any("LOG_SINK" in trouble for trouble in found["troubles"])
