"""What a gateway counts for monitors, as Prometheus' own parser reads it."""

import httpx

from fleet import metrics
from tests.agents.wire.conftest import Wire
from tests.campaigns.operating.test_figures import read


def test_without_a_token_set_nobody_reads_figures(whole: Wire) -> None:
    answer = httpx.get(f"http://127.0.0.1:{whole.port}/metrics", headers={"Authorization": "Bearer x"})

    assert answer.status_code == 404
    assert "METRICS_TOKEN" in answer.text


def test_a_gateway_counts_what_agents_send_and_why_it_was_dropped(wire: Wire) -> None:
    wire.arm(7)
    before = read(metrics.text())

    wire.read()
    wire.write(b'"queries":{"c7":[{"a":"1"}]},"statuses":{"c7":0}')
    wire.write(b'"queries":{"c7":[{"a":"1"}]},"statuses":{"c7":0}')
    wire.write(b'"queries":{"c99":[{"a":"1"}]},"statuses":{"c99":0}')
    wire.post("distributed/read", {"node_key": "nobody's"})
    wire.post("whatever/a/stranger/sends", {})

    after = read(metrics.text())
    grown = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    assert grown["fleet_gateway_requests_total", "distributed/read"] == 2
    assert grown["fleet_gateway_requests_total", "distributed/write"] == 3
    assert grown["fleet_gateway_deliveries_total",] == 1
    assert grown["fleet_gateway_answers_total",] == 1
    assert grown["fleet_gateway_dropped_total", "not owed"] == 1
    assert grown["fleet_gateway_dropped_total", "unknown"] == 1
    assert grown["fleet_gateway_node_invalid_total",] == 1
    assert grown["fleet_gateway_script_seconds_count", "claim"] == 1
    assert grown["fleet_gateway_script_seconds_count", "accept"] == 3
    assert grown["fleet_gateway_requests_total", "unknown address"] == 1
    assert not any("whatever" in name for name in wire.gateway.counts), "strangers would fill the memory with theirs"
