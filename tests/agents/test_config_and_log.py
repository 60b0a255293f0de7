"""The config that agents are served, and where their log lines go."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.test import Client

from agents import config_document, open_work
from agents.gateway import Gateway
from agents.log_sink import LogSink, LogSinkError
from agents.models import ConfigDocument, Host
from campaigns.rebuild import rebuild
from fleet.errors import BadInputError
from tests.conftest import Agent
from tests.factories import make_host, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Meet = Callable[[Host | int], Agent]
DOCUMENT = {"options": {"logger_tls_period": 10}, "schedule": {"up": {"query": "SELECT 1", "interval": 60}}}


def config_of(agent: Agent) -> Any:
    agent._loop.run_until_complete(agent.gateway.store.refresh())
    return agent.post("config", {"node_key": agent.key})


def test_without_a_document_agents_get_what_live_queries_need(agent: Meet) -> None:
    assert config_of(agent(make_host())) == {
        "options": {"disable_distributed": False, "distributed_interval": 10},
        "schedule": {},
    }


def test_a_document_is_served_within_a_look_and_survives_a_lost_board(agent: Meet) -> None:
    asked = agent(make_host())
    config_document.keep(DOCUMENT, by="alex")

    served = config_of(asked)
    assert served["schedule"] == DOCUMENT["schedule"]
    assert served["options"] == {
        "disable_distributed": False,
        "distributed_interval": 10,
        "logger_tls_period": 10,
    }

    open_work.client().flushdb()
    assert config_of(asked) == served, "the last known copy"
    assert rebuild()
    assert config_of(asked) == served


def test_a_gateway_that_knows_no_config_yet_says_so(agent: Meet) -> None:
    asked = agent(make_host())
    asked.gateway.board.config = None

    assert set(asked.post("config", {"node_key": asked.key})) == {"error"}


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ([], "list, not a JSON object"),
        ({"error": None}, "member 'error'"),
        ({"node_invalid": False}, "member 'node_invalid'"),
        ({"options": {"a": 1.5}}, "option a is 1.5"),
        ({"options": []}, "options are list"),
        ({"views": {"v": "x" * 2**20}}, "agents take at most 1048576"),
        (json.loads("[" * 40 + "]" * 40), "not a JSON object"),
        ({"a": json.loads("[" * 32 + "]" * 32)}, "nested 33 levels deep"),
    ],
)
def test_what_agents_would_refuse_is_refused(document: Any, sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        config_document.keep(document, by="alex")
    assert not ConfigDocument.objects.exists()


def test_options_against_held_reads_are_warned_of(client: Client) -> None:
    client.force_login(make_user(admin=True))
    options = {"distributed_interval": 60, "tls_hostname": "x", "distributed_tls_max_attempts": 0}
    body = {"document": json.dumps({"options": options})}

    page = client.post("/admin/agents/configdocument/add/", body, follow=True).content.decode()

    for sentence in ("distributed_interval 60 replaces", "tls_hostname is taken from the command line", "send nothing"):
        assert sentence in page
    assert json.loads(open_work.client().get("board:config")) == {"options": options}
    refused = client.post("/admin/agents/configdocument/1/change/", {"document": '{"error": 1}'}).content.decode()
    assert "agents would refuse all of it" in refused


# --- log ---------------------------------------------------------------------------------------------------------

LINES = [{"name": "up", "columns": {"a": "1"}}, {"name": "up", "columns": {"a": "2"}}]


def log(agent: Agent, lines: Any = LINES, kind: Any = "result") -> Any:
    return agent.post("log", {"node_key": agent.key, "log_type": kind, "data": lines})


@pytest.fixture
def sink(gateway: Gateway) -> Callable[[str], Gateway]:
    """Give the gateway a sink."""

    def use(address: str) -> Gateway:
        gateway._sink = LogSink(address, settings.REDIS_URL)
        return gateway

    return use


def test_lines_are_in_the_file_when_they_are_acknowledged(
    agent: Meet, sink: Callable[[str], Gateway], tmp_path: Path
) -> None:
    host = make_host()
    sink(f"file://{tmp_path}/osquery.ndjson")

    assert log(agent(host)) == {}
    assert log(agent(host), [*LINES, {"name": "new"}]) == {}, "a batch that was sent again, and grew"
    assert log(agent(host), kind="status") == {}

    kept = [json.loads(line) for line in (tmp_path / "osquery.ndjson").read_text().splitlines()]
    assert kept == [{"host_id": host.pk, "log_type": "result", "line": line} for line in [*LINES, {"name": "new"}]]
    assert (tmp_path / "osquery.ndjson").stat().st_mode & 0o777 == 0o600


def test_the_same_line_of_two_hosts_is_two_lines(agent: Meet, sink: Callable[[str], Gateway]) -> None:
    sink("redis-stream://osquery-logs")
    for _ in range(2):
        for host in (make_host(), make_host()):
            log(agent(host), LINES[:1])

    assert open_work.client().xlen("osquery-logs") == 4


def test_a_sink_that_fails_keeps_the_lines_with_the_agent(
    agent: Meet, sink: Callable[[str], Gateway], tmp_path: Path
) -> None:
    host = make_host()
    sink(f"file://{tmp_path}/away/osquery.ndjson")

    assert set(log(agent(host))) == {"error"}
    (tmp_path / "away").mkdir()
    assert log(agent(host)) == {}
    assert len((tmp_path / "away" / "osquery.ndjson").read_text().splitlines()) == 2


@pytest.mark.parametrize("body", [{"log_type": "other", "data": LINES}, {"data": 7}, {"log_type": "result"}, {}])
def test_what_is_no_log_is_dropped(agent: Meet, sink: Callable[[str], Gateway], body: Any) -> None:
    sink("redis-stream://osquery-logs")
    asked = agent(make_host())

    assert asked.post("log", {"node_key": asked.key, **body}) == {}
    assert not open_work.client().exists("osquery-logs")


def test_without_a_sink_lines_are_counted(agent: Meet) -> None:
    asked = agent(make_host())
    assert log(asked) == {}
    assert asked.gateway.counts["log batches"] == 1


@pytest.mark.parametrize("address", ["osquery.log", "file://", "http://example.org"])
def test_a_sink_that_is_none_is_named(address: str) -> None:
    with pytest.raises(LogSinkError, match=address):
        LogSink(address, settings.REDIS_URL)


def test_the_setting_reaches_the_gateway(loop: Any) -> None:
    from tests.conftest import gateway_settings

    made = Gateway(replace(gateway_settings(), log_sink="redis-stream://osquery-logs"), cold=None)  # type: ignore[arg-type]
    loop.run_until_complete(made.start())
    assert made._sink is not None
    loop.run_until_complete(made.stop())
