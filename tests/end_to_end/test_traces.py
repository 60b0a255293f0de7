"""One campaign is one trace, told by every process that did something for it."""

from collections.abc import Callable, Iterator
from datetime import datetime

import pytest

from tests.end_to_end.conftest import Hosts, RunningFleet, wait_for
from tests.keeper_of_traces import Keeper, Span, listening
from tests.servers import open_folder

pytestmark = [pytest.mark.lengthy, pytest.mark.processes]
Pretend = Callable[..., Hosts]
SQL = "SELECT name FROM processes WHERE name != 'only-in-the-question'"


@pytest.fixture(scope="module")
def keeper() -> Iterator[Keeper]:
    """Let one take the traces that every process of this file's server sends."""
    with listening() as (endpoint, keeper), pytest.MonkeyPatch.context() as environment:
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        environment.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")  # milliseconds
        yield keeper


@pytest.fixture(scope="module")
def running_fleet(keeper: Keeper) -> Iterator[RunningFleet]:
    """Give a server that sends its traces."""
    fleet = RunningFleet(open_folder())
    yield fleet
    fleet.stop()


def trace_of(keeper: Keeper, number: int, *names: str) -> list[Span]:
    """Give the spans of a campaign, once those of these names and the whole have come."""

    def found() -> list[Span] | None:
        spans = [span for span in keeper.spans if span.told["campaign"] == number]
        return spans if {"campaign", *names} <= {span.name for span in spans} else None

    spans: list[Span] = wait_for(found, 90)
    return spans


def holds_together(spans: list[Span]) -> Span:
    """Give the whole; every other span is below it, in one trace, and of its time."""
    (whole,) = (span for span in spans if span.name == "campaign")
    assert {span.trace for span in spans} == {whole.trace}
    assert {span.parent for span in spans if span is not whole} == {whole.own}
    assert len({span.own for span in spans}) == len(spans)
    assert all(0 < span.began <= span.ended for span in spans)
    return whole


def answers_in(spans: list[Span]) -> int:
    return sum(span.told["answers"] for span in spans if span.name == "batch stored")


def test_a_campaign_is_followed_from_its_launch_to_its_end(
    running_fleet: RunningFleet, pretend: Pretend, keeper: Keeper
) -> None:
    hosts = pretend(20, seed=51, failing=10)
    number = running_fleet.launch(SQL, target=hosts.target, rollout={"per_second": 10})["id"]
    campaign = running_fleet.ended(number)

    trace_of(keeper, number, "campaign launched", "range armed", "hosts released", "batch stored")
    spans = wait_for(lambda: answers_in(found := trace_of(keeper, number)) == 20 and found, 90)

    whole = holds_together(spans)
    assert (whole.told["status"], whole.told["expected"]) == ("completed", 20)
    rows = sum(len(item["rows"]) for item in running_fleet.results(number))
    assert (whole.told["answered"], whole.told["rows"]) == (campaign["counts"]["answered"], rows)
    began, ended = (datetime.fromisoformat(campaign[name]).timestamp() for name in ("created_at", "ended_at"))
    assert (whole.began / 1e9, whole.ended / 1e9) == pytest.approx((began, ended), abs=0.001)
    assert [span.told["range"] for span in spans if span.name == "range armed"] == [0]
    assert len({span.by["process.pid"] for span in spans}) >= 3  # console, worker or sweeper, collector
    assert not any(b"only-in-the-question" in body or b"host-" in body for body in keeper.bodies)


def test_what_people_do_to_it_stands_in_its_trace(
    running_fleet: RunningFleet, pretend: Pretend, keeper: Keeper
) -> None:
    number = running_fleet.launch(SQL, target=pretend(3, seed=52, hanging=100).target)["id"]
    wait_for(lambda: running_fleet.campaign(number)["status"] == "running", 90)
    for control in ("pause", "resume", "stop"):
        assert running_fleet.http.post(f"/api/v1/campaigns/{number}/{control}/").is_success
    running_fleet.ended(number)

    spans = trace_of(keeper, number, "campaign paused", "campaign resumed", "campaign stopping", "final states written")

    assert holds_together(spans).told["status"] == "stopped"
    assert not any(span.is_error for span in spans)
