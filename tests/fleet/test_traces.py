"""Traces: when they are on, what is told of what was committed, and what becomes of it when nobody takes it."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils import timezone

from fleet import traces
from fleet.settings import traces as switch
from tests.keeper_of_traces import listening
from tests.ports import free_port

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
# One process that tells three parts of each of as many traces as it is told, and ends at once.
TELL = """
import sys, time
import django
django.setup()
from fleet.traces import Part
from fleet.traces.sending import SENDER
for number in range(int(sys.argv[1])):
    for name in ("campaign launched", "range armed", "campaign"):
        whole = name == "campaign"
        SENDER.send(Part(f"campaign {number}", name, time.time(), {"campaign": number}, is_whole=whole))
"""


@dataclass
class Thing:
    """What a trace is of."""

    pk: int = 7
    trace: str = "campaign 7"


def told(endpoint: str, many: int, **environment: str) -> "subprocess.CompletedProcess[str]":
    own = {"DJANGO_SETTINGS_MODULE": "fleet.settings", ENDPOINT: endpoint, **environment}
    command = [sys.executable, "-W", "ignore", "-c", TELL, str(many)]
    return subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, timeout=60, check=False)


def test_parts_come_to_one_trace_below_the_whole_also_when_the_process_ends_at_once() -> None:
    with listening() as (endpoint, keeper):
        done = told(endpoint, 2, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=lab")

    assert (done.returncode, done.stderr) == (0, "")
    assert len(keeper.spans) == 6
    assert len({span.trace for span in keeper.spans}) == 2
    for whole in (span for span in keeper.spans if span.name == "campaign"):
        below = [span for span in keeper.spans if span.trace == whole.trace and span != whole]
        assert whole.parent == b""
        assert [span.parent for span in below] == [whole.own] * 2
    by = keeper.spans[0].by
    assert (by["service.name"], by["deployment.environment.name"]) == ("fleet-live-queries", "lab")
    assert by["process.pid"] > 0


@pytest.mark.parametrize("sampler", ["traceidratio", "parentbased_traceidratio"])
def test_a_sampler_keeps_a_campaign_whole_or_not_at_all(sampler: str) -> None:
    with listening() as (endpoint, keeper):
        done = told(endpoint, 200, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG="0.3", OTEL_SERVICE_NAME="ours")

    kept = Counter(span.told["campaign"] for span in keeper.spans)
    assert (done.returncode, done.stderr) == (0, "")
    assert 20 < len(kept) < 100
    assert set(kept.values()) == {3}
    assert keeper.spans[0].by["service.name"] == "ours"


def test_headers_may_come_from_a_file(tmp_path: Any) -> None:
    file = tmp_path / "headers"
    file.write_text("authorization=Bearer%20abc,x-tenant=blue\n")

    with listening() as (endpoint, keeper):
        told(endpoint, 1, OTEL_EXPORTER_OTLP_HEADERS_FILE=str(file))

    assert (keeper.headers[0]["authorization"], keeper.headers[0]["x-tenant"]) == ("Bearer abc", "blue")


def test_a_keeper_that_stands_still_holds_nobody_up() -> None:
    with listening() as (endpoint, keeper):
        keeper.hold()
        done = told(endpoint, 1)  # ends before the time-out of a post, which is 10 s, and of the SDK, which is 30 s

        assert keeper.came.is_set()
        assert (done.returncode, done.stderr) == (0, "")


def test_a_keeper_that_is_away_is_a_line_of_the_log() -> None:
    done = told(f"http://127.0.0.1:{free_port()}", 1)

    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert 1 <= len(done.stderr.splitlines()) <= 3


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        ({ENDPOINT: "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT …'collector:4318' is no address that begins with"),
        ({ENDPOINT: "grpc://me:hunter2@c"}, "OTEL_EXPORTER_OTLP_ENDPOINT …'c' is no address that begins with"),
        ({ENDPOINT: "http://c:4318x"}, "OTEL_EXPORTER_OTLP_ENDPOINT .* is no address"),
        ({ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "'grpc' is unknown: http/protobuf are allowed"),
        ({ENDPOINT: "http://c", "OTEL_TRACES_EXPORTER": "zipkin"}, "'zipkin' is unknown: otlp, none are allowed"),
        ({ENDPOINT: "http://c", "OTEL_SDK_DISABLED": "ture"}, "OTEL_SDK_DISABLED 'ture' is neither true nor false"),
    ],
)
def test_what_cannot_be_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str], sentence: str
) -> None:
    for name, value in named.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ImproperlyConfigured, match=sentence):
        switch.are_on()


@pytest.mark.parametrize(
    ("named", "is_on"),
    [
        ({}, False),
        ({ENDPOINT: ""}, False),
        ({ENDPOINT: "http://c:4318"}, True),
        ({ENDPOINT: "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "", "OTEL_TRACES_EXPORTER": ""}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/v1/traces"}, True),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_they_are_on_where_somebody_keeps_them(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str], is_on: bool
) -> None:
    for name, value in named.items():
        monkeypatch.setenv(name, value)

    assert switch.are_on() is is_on


def test_without_the_packages_the_sentence_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setenv(ENDPOINT, "http://c:4318")
    monkeypatch.setattr(switch, "version", missing)

    with pytest.raises(ImproperlyConfigured, match=r"opentelemetry-exporter-otlp-proto-http.*requirements-extra.txt"):
        switch.are_on()


def test_off_nobody_loads_what_would_send() -> None:
    script = "import fleet.asgi, fleet.celery, sys; print('opentelemetry.exporter' in sys.modules)"
    bare = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}

    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], env=bare, capture_output=True, text=True)

    assert done.stdout == "False\n", done.stderr


@pytest.mark.django_db
def test_only_what_is_committed_is_told(settings: Any, django_capture_on_commit_callbacks: Any) -> None:
    settings.TRACES = True

    with django_capture_on_commit_callbacks() as callbacks:
        with transaction.atomic():
            traces.note(Thing(), "range armed", 0.0)
            traces.note_whole(Thing(), "campaign", timezone.now(), timezone.now())
            transaction.set_rollback(True)
        assert callbacks == []
        traces.note(Thing(), "range armed", 0.0)

    assert len(callbacks) == 1


@pytest.mark.django_db
def test_off_nothing_is_told(settings: Any, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        traces.note(Thing(), "range armed", 0.0)
        traces.note_whole(Thing(), "campaign", timezone.now(), timezone.now())

    assert settings.TRACES is False
    assert callbacks == []
