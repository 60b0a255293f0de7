"""Answers carried elsewhere: in order, at least once, whatever fails or dies on the way."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as real_settings
from django.db import connection
from prometheus_client import CollectorRegistry, generate_latest
from redis import Redis

from campaigns.answers import carrying, destinations
from campaigns.answers.models import AnswersCarried
from campaigns.models import Campaign
from campaigns.operating.figures import House
from campaigns.operating.finding import Severity
from campaigns.operating.processes import processes
from fleet.embedded.redis import EmbeddedRedis
from tests.agents.wire.conftest import eventually
from tests.campaigns.hooks.receiver import Receiver, receiver
from tests.factories import answer, make_campaign, make_hosts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
ROW = {"name": "ünï\u202e", "pid": "1"}


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


def answered(many: int, **row: str) -> Campaign:
    hosts = make_hosts(many)
    campaign = make_campaign(*hosts, name="ports")
    for host in hosts:
        answer(campaign, host, {**ROW, **row})
    return campaign


def ids(lines: list[bytes]) -> list[str]:
    return [json.loads(line)["id"] for line in lines]


def wanted(*campaigns: Campaign) -> list[str]:
    return [
        f"{one.pk}-{host}"
        for one in campaigns
        for host in one.results.order_by("seq").values_list("host_id", flat=True)
    ]


def try_again() -> None:
    AnswersCarried.objects.update(tried_at=None)  # five seconds later
    carrying.step()


def posted(there: Receiver) -> list[bytes]:
    return [line for _, body in there.came for line in body.splitlines()]


def test_a_file_gets_every_answer_in_order_once(settings: Any, tmp_path: Path) -> None:
    path = tmp_path / "answers.ndjson"
    settings.ANSWERS_SINK = path.as_uri()
    first = answered(3)
    carrying.step()
    with path.open("ab") as file:
        file.write(b'{"id": "torn')  # by a process that died
    second = answered(2)
    carrying.step()
    carrying.step()

    lines = path.read_bytes().splitlines()
    assert ids(lines) == wanted(first, second)
    told = json.loads(lines[0])
    assert (told["campaign"]["name"], told["rows"], told["seq"], told["state"]) == ("ports", [ROW], 1, "answered")
    assert path.stat().st_mode & 0o777 == 0o600
    assert carrying.lag() == carrying.Lag(None, None, "")


def test_a_stream_of_another_redis_gets_them_and_the_boards_own_is_refused(settings: Any, tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o700)
    server = EmbeddedRedis(tmp_path / "redis")
    server.start()
    try:
        client = Redis.from_url(server.url)
        settings.ANSWERS_SINK = f"{server.url}#answers"
        campaign = answered(3)
        carrying.step()

        assert ids([fields[b"answer"] for _, fields in client.xrange("answers")]) == wanted(campaign)  # type: ignore[union-attr]
        client.close()
    finally:
        server.stop()
    settings.ANSWERS_SINK = f"{real_settings.REDIS_URL}#answers"
    carrying.step()
    errors = AnswersCarried.objects.values_list("last_error", flat=True)
    assert any("is the Redis of REDIS_URL" in error for error in errors)


def test_a_receiver_that_is_down_is_said_by_figures_and_doctor_and_gets_everything_later(
    settings: Any, there: Receiver
) -> None:
    settings.ANSWERS_SINK, settings.ANSWERS_SINK_TOKEN = there.address, "let me in"
    there.statuses = [503, 302]
    campaign = answered(3)

    carrying.step()
    carrying.step()  # too early
    try_again()
    registry = CollectorRegistry()
    registry.register(House())
    figures = generate_latest(registry).decode()
    found = [one for one in processes() if "ANSWERS_SINK" in one.sentence]

    assert len(there.came) == 2
    assert "fleet_answers_sink_failing 1.0" in figures
    assert "fleet_answers_sink_lag_seconds" in figures
    assert [one.severity for one in found] == [Severity.BROKEN]
    assert "302" in found[0].sentence
    try_again()
    assert ids(posted(there)[-3:]) == wanted(campaign)
    headers = there.came[-1][0]
    assert headers["authorization"] == "Bearer let me in"
    assert headers["content-type"] == "application/x-ndjson"
    assert [one.severity for one in processes() if "ANSWERS_SINK" in one.sentence] == [Severity.WELL]


UNMET_SECONDS = 30  # a machine may be so busy that the time is over before anybody comes


@pytest.mark.parametrize(
    ("first", "then", "sentence"),
    [
        (b"HTTP/1.1 200 OK\r\nx: ", b"y", "the receiver did not take it within 0.4 seconds"),
        (b"HTTP/1.1 503 Busy\r\n\r\nlater\0", b"z" * 65_536, "the receiver answered 503: laterzzz"),
    ],
    ids=["drips for ever", "answers without end"],
)
def test_a_receiver_holds_up_nobody(
    settings: Any, monkeypatch: pytest.MonkeyPatch, first: bytes, then: bytes, sentence: str
) -> None:
    monkeypatch.setattr(destinations, "POST_SECONDS", 0.4 if "within" in sentence else 30.0)
    answered(1)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(UNMET_SECONDS)

        def talk() -> None:
            with suppress(OSError), server.accept()[0] as peer:
                peer.recv(65_536)
                peer.sendall(first)
                while not done.wait(0.01):
                    peer.sendall(then)

        thread = threading.Thread(target=talk)
        thread.start()
        settings.ANSWERS_SINK = f"http://127.0.0.1:{server.getsockname()[1]}/"
        carrying.step()
        done.set()
        thread.join()

    assert AnswersCarried.objects.get().last_error.startswith(sentence)
    assert AnswersCarried.objects.get().result_id == 0


def test_an_address_with_a_password_lets_in_by_it(settings: Any, there: Receiver) -> None:
    settings.ANSWERS_SINK = there.address.replace("http://", "http://me:secret@")
    campaign = answered(1)

    carrying.step()

    assert ids(posted(there)) == wanted(campaign)
    assert there.came[0][0]["authorization"] == f"Basic {b64encode(b'me:secret').decode()}"


def test_batches_are_of_limited_size(settings: Any, there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "BATCH", 3)
    monkeypatch.setattr(carrying, "BATCH_BYTES", 2_000)
    monkeypatch.setattr(carrying, "READ_AT_ONCE", 2)
    settings.ANSWERS_SINK = there.address
    small, large = answered(7), answered(2, much="x" * 5_000)

    carrying.step()

    assert [len(body.splitlines()) for _, body in there.came] == [3, 3, 1, 1, 1]
    assert ids(posted(there)) == wanted(small, large)


@pytest.mark.parametrize(
    ("sink", "sentence"),
    [
        *((sink, "allowed are file:///path") for sink in ("ftp://there/", "redis://127.0.0.1/0", "nonsense", "file:")),
        ("http://127.0.0.1:99999/", "'http://127.0.0.1:99999/' is no URL: Port out of range 0-65535"),
    ],
)
def test_a_destination_that_is_none_is_named_without_its_password(settings: Any, sink: str, sentence: str) -> None:
    settings.ANSWERS_SINK = sink

    carrying.step()

    assert sentence in AnswersCarried.objects.get().last_error
    assert destinations.name_of("redis://me:secret@h:1/0#a") == "redis://h:1/0#a"


def test_who_asks_no_sink_carries_nothing(settings: Any) -> None:
    settings.ANSWERS_SINK = ""
    answered(1)

    assert carrying.step() == 0
    assert carrying.lag() is None


@pytest.mark.django_db(transaction=True)
def test_a_process_that_is_killed_while_it_sends_loses_nothing(settings: Any, there: Receiver) -> None:
    settings.ANSWERS_SINK = there.address
    there.holds = threading.Event()
    campaign = answered(5)
    database = connection.settings_dict
    environment = {**os.environ, "ANSWERS_SINK": there.address, "FLEET_TEST_DATABASE": database["NAME"]}
    code = (
        "import os, django; from django.conf import settings;"
        "settings.DATABASES['default']['NAME'] = os.environ['FLEET_TEST_DATABASE']; django.setup();"
        "from campaigns.answers import carrying; carrying.step()"
    )

    carrier = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=real_settings.BASE_DIR)
    while not there.came:
        assert carrier.poll() is None
        there.arrived.wait(0.1)
    os.kill(carrier.pid, signal.SIGKILL)
    carrier.wait()
    there.holds.set()
    assert AnswersCarried.objects.get().result_id == 0
    eventually(lambda: carrying.step() == 5)  # as soon as PostgreSQL sees that nobody holds the row any more

    assert ids(there.came[0][1].splitlines()) == ids(there.came[1][1].splitlines()) == wanted(campaign)
