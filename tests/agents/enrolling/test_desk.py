"""Machines that enroll at once: kept together, each as if it had come alone."""

import asyncio
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from django.db import connection

from agents.board import keyspace, redis_client
from agents.enrolling import desk
from agents.enrolling.application import Application, EnrollmentRefusedError
from agents.enrolling.desk import Desk
from agents.enrolling.enrollment import enroll_all
from agents.enrolling.revocation import revoke
from agents.models import EnrollSecret, Host, LabelMembership, Presence
from agents.protocol.node_key import NodeKeys
from tests.factories import make_host, make_label

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
SESAME = "open sesame, please"


@pytest.fixture(autouse=True)
def secret() -> EnrollSecret:
    """Give a secret."""
    return EnrollSecret.objects.offer("all", SESAME)


def application(identifier: str, secret: str = SESAME, **more: Any) -> Application:
    body = {"enroll_secret": secret, "host_identifier": identifier, "platform_type": "9", **more}
    return Application.read(body, "192.0.2.1")


def sentences(outcomes: list[Any]) -> list[str]:
    """Give what each hears: "" for a key."""
    return [str(one) if isinstance(one, EnrollmentRefusedError) else "" for one in outcomes]


def test_what_is_wrong_with_one_costs_no_other(secret: EnrollSecret) -> None:
    revoke(make_host(host_identifier="revoked"))
    label = make_label("by secret")
    secret.labels.add(label)

    heard = sentences(
        enroll_all(
            [
                application("good"),
                application("wrong", "not sesame"),
                application(" "),
                application("revoked"),
                application("also good"),
            ]
        )
    )

    assert [sentence[:20] for sentence in heard] == [
        "",
        "the enroll secret is",
        "host_identifier ' ' ",
        "this host was revoke",
        "",
    ]
    assert set(Host.objects.enrolled().values_list("host_identifier", flat=True)) == {"good", "also good"}
    assert LabelMembership.objects.filter(label=label).count() == Presence.objects.count() == 2
    assert set(Host.objects.enrolled().values_list("labels__name", flat=True)) == {"Linux", "by secret"}


def test_of_those_that_come_at_once_a_quota_takes_exactly_as_many(secret: EnrollSecret) -> None:
    EnrollSecret.objects.filter(pk=secret.pk).update(quota=3)

    first = sentences(enroll_all([application(f"U-{number}") for number in range(5)]))
    again = sentences(enroll_all([application(f"U-{number}") for number in range(5)]))

    assert first == again == ["", "", "", *["the enroll secret 'all' is spent: its quota is 3 hosts"] * 2]
    assert Host.objects.count() == 3


def test_a_host_that_moves_to_another_secret_makes_room(secret: EnrollSecret) -> None:
    other = EnrollSecret.objects.offer("other", "another secret of ours")
    EnrollSecret.objects.filter(pk__in=[secret.pk, other.pk]).update(quota=1)
    enroll_all([application("U-1")])

    heard = sentences(enroll_all([application("U-1", "another secret of ours"), application("U-2")]))

    assert heard == ["", ""]


def test_twins_in_one_batch_are_one_host_with_keys_of_their_own() -> None:
    outcomes = enroll_all([application("twin"), application("other"), application("twin")])

    epochs = [(host.host_identifier, host.epoch) for host, _ in outcomes]  # type: ignore[misc]
    assert epochs == [("twin", 1), ("other", 1), ("twin", 2)]
    assert Host.objects.get(host_identifier="twin").epoch == 2


def test_known_hosts_keep_what_only_they_know() -> None:
    host = make_host(host_identifier="known", extensions="one 1.0", details_at=None, in_doubt_reason="as before")

    enroll_all([application("known", host_details={"system_info": {"hostname": "renamed"}}), application("new")])

    known = Host.objects.get(pk=host.pk)
    assert (known.hostname, known.extensions, known.in_doubt_reason) == ("renamed", "one 1.0", "as before")
    assert known.epoch == host.epoch + 1


def test_without_a_board_nobody_enrolls() -> None:
    redis_client.client().delete(keyspace.EPOCH)

    heard = sentences(enroll_all([application("U-1"), application("U-2")]))

    assert heard == ["the board is being rebuilt, come again"] * 2
    assert not Host.objects.exists()


def test_two_gateways_that_enroll_the_same_hosts_at_once_keep_each_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    barrier = Barrier(2)
    names = [f"U-{number}" for number in range(30)]

    def gateway(names: list[str]) -> list[str]:
        barrier.wait()
        try:
            return sentences(enroll_all([application(name) for name in names]))
        finally:
            connection.close()

    with caplog.at_level(logging.ERROR), ThreadPoolExecutor(2) as pool:
        heard = list(pool.map(gateway, [names, names[::-1]]))

    assert heard == [[""] * 30] * 2
    assert list(Host.objects.values_list("epoch", flat=True)) == [2] * 30
    assert not caplog.records


# --- the desk itself -------------------------------------------------------------------------------------------


@pytest.fixture
def front() -> Iterator[Desk]:
    """Give a desk before an app that must not be asked."""

    async def nobody(*_: Any) -> None:
        raise AssertionError("this is no enrollment")

    made = Desk(nobody)
    yield made
    made._thread.shutdown()


async def ask(front: Desk, body: bytes) -> Any:
    """Send one request; give the answer's JSON."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": desk.PATH, "headers": [], "client": ("192.0.2.1", 1)}
    await front(scope, receive, send)  # type: ignore[arg-type]
    return json.loads(sent[1]["body"])


def body_of(identifier: str) -> bytes:
    return json.dumps({"enroll_secret": SESAME, "host_identifier": identifier}).encode()


def test_everybody_gets_the_own_key(front: Desk, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    batches: list[int] = []
    keep = desk.keep
    monkeypatch.setattr(desk, "keep", lambda sent: batches.append(len(sent)) or keep(sent))
    bodies = [b"nonsense", *(body_of(f"U-{number}") for number in range(40))]

    async def run() -> list[Any]:
        return await asyncio.gather(*(ask(front, body) for body in bodies))

    refused, *answers = asyncio.run(run())

    assert refused == {"error": "the enroll request is not a JSON object"}
    keys = NodeKeys(settings.NODE_KEY_SECRETS)
    hosts = [keys.verify(answer["node_key"]).host for answer in answers]  # type: ignore[union-attr]
    names = dict(Host.objects.values_list("pk", "host_identifier"))
    assert [names[host] for host in hosts] == [f"U-{number}" for number in range(40)]
    assert len(batches) < 5, "those that wait are kept together"


def test_trouble_with_one_batch_leaves_the_next_alone(front: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> list[bytes]:
        raise OSError("PostgreSQL is away")

    async def run() -> Any:
        with monkeypatch.context() as away:
            away.setattr(desk, "keep", broken)
            lost = await asyncio.gather(ask(front, body_of("U-1")), ask(front, body_of("U-2")), return_exceptions=True)
        return lost, await ask(front, body_of("U-1"))

    lost, found = asyncio.run(run())

    assert [type(one) for one in lost] == [OSError, OSError]
    assert "node_key" in found


def test_more_than_can_be_served_in_time_are_told_to_come_again(front: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "MOST_WAITING", 2)

    async def run() -> list[Any]:
        return await asyncio.gather(*(ask(front, body_of(f"U-{number}")) for number in range(4)))

    answers = asyncio.run(run())

    assert sum(answer == {"error": "too many hosts enroll at once, come again"} for answer in answers) == 2
    assert Host.objects.count() == 2


def test_who_leaves_while_waiting_keeps_nobody_else_waiting(front: Desk) -> None:
    async def run() -> Any:
        leaving = asyncio.create_task(ask(front, body_of("U-1")))
        staying = asyncio.create_task(ask(front, body_of("U-2")))
        await asyncio.sleep(0)
        leaving.cancel()
        return await staying

    assert "node_key" in asyncio.run(run())
