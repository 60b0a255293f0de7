"""Who may enroll, and what it makes of a host."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import DatabaseError, connection
from django.test import Client, override_settings
from django.utils import timezone
from rest_framework.test import APIClient

from agents.board import redis_client
from agents.enrolling.revocation import revoke
from agents.models import EnrollSecret, Host, digest_of
from agents.protocol.node_key import NodeKeys
from fleet.errors import BadInputError
from tests.conftest import Agent
from tests.factories import make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
SESAME = "open sesame, please"
Meet = Callable[[Host | int], Agent]


@pytest.fixture(autouse=True)
def secret() -> EnrollSecret:
    """Give the secret `open sesame, please`."""
    return EnrollSecret.objects.offer("all", "open sesame, please")


def enroll(secret: Any = SESAME, identifier: Any = "U-1", **more: Any) -> Any:
    headers = {"REMOTE_ADDR": more.pop("address", "192.0.2.1"), **more.pop("headers", {})}
    body = {"enroll_secret": secret, "host_identifier": identifier, "platform_type": "9", **more}
    answer = Client().post("/api/osquery/enroll", json.dumps(body), content_type="application/json", **headers)
    assert answer.status_code == 200
    return answer.json()


def refusal(**request: Any) -> str:
    answer = enroll(**request)
    assert set(answer) == {"error"}, answer
    return str(answer["error"])


def test_the_key_that_is_given_works(agent: Meet) -> None:
    key = enroll()["node_key"]

    asked = agent(Host.objects.get().pk)
    asked.key = key
    assert "node_invalid" not in asked.read()


@pytest.mark.parametrize("wrong", ["", "open", None, 7, ["open sesame, please"]])
def test_a_wrong_secret_gives_no_key(wrong: Any) -> None:
    assert refusal(secret=wrong) == "the enroll secret is wrong or was revoked"
    assert not Host.objects.exists()


@pytest.mark.parametrize("identifier", ["", "x" * 256, None])
def test_a_name_that_is_none_is_refused(identifier: Any) -> None:
    assert "allowed are 1 to 255" in refusal(identifier=identifier)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"open sesame, please"', b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    answer = Client().post("/api/osquery/enroll", body, content_type="application/json")
    assert set(answer.json()) == {"error"}


def test_odd_facts_are_read_leniently() -> None:
    enroll(
        platform_type="16777216",
        host_details={
            "os_version": {"platform": "darwin", "version": 14, "name": "mac\0OS"},
            "system_info": {"hostname": "", "physical_memory": "lots", "uuid": "u" * 100},
            "osquery_info": None,
        },
    )

    host = Host.objects.get()
    assert (host.platform, host.os_version, host.os_name) == ("darwin", "14", "macOS")
    assert (host.hostname, host.physical_memory, host.uuid) == ("U-1", None, "u" * 64)


def test_enrolling_again_keeps_the_host_and_the_older_key(agent: Meet) -> None:
    first = enroll()["node_key"]
    second = enroll()["node_key"]

    host = Host.objects.get()
    assert host.epoch == 2
    assert first != second
    for key in (first, second):
        asked = agent(host)
        asked.key = key
        assert asked.read().get("node_invalid") is None


def test_a_secret_is_valid_in_its_time_only(secret: EnrollSecret) -> None:
    now = timezone.now()
    for begins, ends, sentence in (
        (now + timedelta(hours=1), None, "is not valid yet"),
        (None, now - timedelta(seconds=1), "is not valid any more"),
    ):
        EnrollSecret.objects.update(valid_from=begins, valid_until=ends)
        assert sentence in refusal()
    EnrollSecret.objects.update(valid_from=now - timedelta(hours=1), valid_until=now + timedelta(hours=1))
    assert "node_key" in enroll()


def test_a_revoked_secret_is_wrong_and_its_hosts_stay(secret: EnrollSecret, agent: Meet) -> None:
    enroll()
    EnrollSecret.objects.update(revoked_at=timezone.now())

    assert "was revoked" in refusal(identifier="U-2")
    assert agent(Host.objects.get()).read() != {"node_invalid": True}


def test_a_quota_counts_hosts_not_enrollments(secret: EnrollSecret) -> None:
    EnrollSecret.objects.update(quota=2)
    for identifier in ("U-1", "U-2", "U-1", "U-2"):
        assert "node_key" in enroll(identifier=identifier)

    assert "its quota is 2 hosts" in refusal(identifier="U-3")
    assert Host.objects.count() == 2


def test_a_secret_gives_labels(secret: EnrollSecret) -> None:
    secret.labels.add(make_label("laptops"))

    enroll()

    assert {label.name for label in Host.objects.get().labels.all()} == {"laptops", "Linux"}


@pytest.mark.parametrize("identifier", ["", None, [], ["U-1"], {"U": 1}, "\0", "x" * 256])
def test_what_is_no_name_names_no_host(identifier: Any) -> None:
    assert "host_identifier has" in refusal(identifier=identifier)
    assert not Host.objects.exists()


def test_wrong_secrets_are_counted_by_address_and_right_ones_pass() -> None:
    with override_settings(WRONG_SECRETS_PER_MINUTE=3):
        sentences = [refusal(secret=f"wrong {number}") for number in range(5)]
        assert ["too many" in sentence for sentence in sentences] == [False, False, False, True, True]
        assert "too many" not in refusal(secret="wrong", address="192.0.2.2")
        assert "node_key" in enroll()
        for number in range(5):
            assert "node_key" in enroll(identifier=f"many-{number}")
        assert "too many" in refusal(secret="wrong")


def test_only_a_trusted_proxy_says_where_a_request_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    from fleet.addresses import _peers

    _peers.cache_clear()
    with override_settings(TRUSTED_PROXIES=["10.0.0.0/8"]):
        through = {"HTTP_X_FORWARDED_FOR": "203.0.113.9, 198.51.100.7"}
        enroll(identifier="proxied", address="10.1.2.3", headers=through)
        enroll(identifier="straight", address="192.0.2.1", headers=through)
        enroll(identifier="odd", address="10.1.2.3", headers={"HTTP_X_FORWARDED_FOR": "no address"})
    _peers.cache_clear()

    addresses = dict(Host.objects.values_list("host_identifier", "address"))
    assert addresses == {"proxied": "198.51.100.7", "straight": "192.0.2.1", "odd": "10.1.2.3"}


def test_a_revoked_host_is_refused_everywhere(agent: Meet) -> None:
    enroll()
    host = Host.objects.get()
    revoke(host)

    assert refusal() == "this host was revoked"
    assert agent(host).read() == {"node_invalid": True}


def test_a_takeover_is_refused_while_the_host_is_alive(agent: Meet) -> None:
    enroll()
    asked = agent(Host.objects.get())
    with override_settings(ENROLL_TAKEOVER="refuse"):
        assert "node_key" in enroll(), "it has not asked for anything yet: its first answer may have been lost"
        asked.read()
        asked._loop.run_until_complete(asked.gateway._follower._tell_reads())
        assert "asked within the last minute" in refusal()
        assert "node_key" in enroll(identifier="another")
        reads = redis_client.client().hget("board:reads", asked.host).split()
        old = b" ".join(b"%d" % (int(moment) - 61_000) for moment in reads)
        redis_client.client().hset("board:reads", asked.host, old)
        assert "node_key" in enroll()


def test_without_postgres_a_host_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch, agent: Meet) -> None:
    gateway = agent(1).gateway

    async def postgres_is_away(*_: Any) -> None:
        raise DatabaseError("connection refused")

    gateway._cold["enroll"]._app = postgres_is_away
    answer = agent(1).post("enroll", {"enroll_secret": "open sesame, please", "host_identifier": "U-1"})

    assert set(answer) == {"error"}


def test_secrets_of_node_keys_are_changed_without_enrolling_again(agent: Meet) -> None:
    enroll()
    host = Host.objects.get()
    asked = agent(host)
    old = NodeKeys(["an old secret"]).issue(host.pk, host.epoch)
    gateway = asked.gateway
    gateway._keys = NodeKeys([*settings.NODE_KEY_SECRETS, "an old secret"])

    asked.key = old
    assert "node_invalid" not in asked.read()
    asked._loop.run_until_complete(gateway._follower._tell_reads())

    used = {int(place): int(times) for place, times in redis_client.client().hgetall("board:old_secrets").items()}
    assert used[1] >= 1
    gateway._keys = NodeKeys(settings.NODE_KEY_SECRETS)
    assert asked.read() == {"node_invalid": True}


def test_node_invalid_is_said_a_hundred_times_a_second_at_most(agent: Meet) -> None:
    asked = agent(1)
    asked.key = "nonsense"

    answers = [asked.read() for _ in range(250)]

    kinds = {json.dumps(sorted(answer)) for answer in answers}
    assert kinds == {'["node_invalid"]', '["error"]'}


def test_a_secret_that_hosts_have_from_another_server_is_taken_over(api: Callable[[Any], APIClient]) -> None:
    admin = api(make_user(admin=True))
    offered = {"name": "old", "secret": "of the other server"}

    first = admin.post("/api/v1/enroll-secrets/", offered, format="json").json()
    again = admin.post("/api/v1/enroll-secrets/", {**offered, "name": "twice"}, format="json")

    assert first["secret"] == "of the other server"
    assert "node_key" in enroll("of the other server")
    assert (again.status_code, again.json()["error"]) == (400, "the secret is that of old already")


@pytest.mark.parametrize("addresses", [1, 120])
def test_of_wrong_secrets_that_come_at_once_the_limits_let_exactly_as_many_through(addresses: int) -> None:
    def wrong(number: int) -> str:
        try:
            return refusal(secret=f"a wrong one {number}", address=f"192.0.2.{number % addresses}")
        finally:
            connection.close()

    limits = {"WRONG_SECRETS_PER_MINUTE": 20, "WRONG_SECRETS_IN_ALL_PER_MINUTE": 50}
    with override_settings(**limits), ThreadPoolExecutor(24) as pool:
        sentences = list(pool.map(wrong, range(120)))
        assert "node_key" in enroll(address="192.0.2.0"), "the right one passes whatever came before"

    assert sum("was revoked" in sentence for sentence in sentences) == (20 if addresses == 1 else 50)
    assert sum("too many" in sentence for sentence in sentences) == (100 if addresses == 1 else 70)


@pytest.mark.parametrize("secret", ["fifteen letters", " " * 40, "short"])
def test_a_new_secret_is_long_wherever_it_comes_from(secret: str, api: Callable[[Any], APIClient]) -> None:
    with pytest.raises(BadInputError, match="allowed are 16 or more"):
        EnrollSecret.objects.offer("new", secret)
    answer = api(make_user(admin=True)).post(
        "/api/v1/enroll-secrets/", {"name": "new", "secret": secret}, format="json"
    )
    assert answer.status_code == 400
    if secret.strip():
        assert "allowed are 16 or more" in answer.json()["error"]
    assert not EnrollSecret.objects.filter(name="new").exists()


def test_a_short_secret_of_an_earlier_version_stays(secret: EnrollSecret) -> None:
    EnrollSecret.objects.update(digest=digest_of("short"))

    assert "node_key" in enroll("short")
    assert EnrollSecret.objects.offer("all", "short") == secret


def seen_at(agent: Agent, address: str) -> None:
    """Let the host use its key at an address, and gateways tell of it."""
    agent.address = address
    agent.post("config", {"node_key": agent.key})
    agent._loop.run_until_complete(agent.gateway._follower._tell_reads())


def later(agent: Agent, seconds: int) -> None:
    """Let the last use of the key and the enrollment be so long ago."""
    at, address = redis_client.client().hget("board:addresses", agent.host).split()
    redis_client.client().hset("board:addresses", agent.host, b"%d %s" % (int(at) - seconds * 1000, address))
    Host.objects.update(enrolled_at=timezone.now() - timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("used_at", "ago", "is_doubted"),
    [("192.0.2.1", 0, True), ("192.0.2.1", 55, True), ("192.0.2.1", 61, False), ("198.51.100.9", 0, False)],
)
def test_a_takeover_from_another_address_is_marked_at_once(
    agent: Meet, used_at: str, ago: int, is_doubted: bool
) -> None:
    key = enroll(address="192.0.2.1")["node_key"]
    victim = agent(Host.objects.get())
    victim.key = key
    seen_at(victim, used_at)
    later(victim, ago)

    assert "node_key" in enroll(address="198.51.100.9")

    host = Host.objects.get()
    assert (host.in_doubt_since is not None) == is_doubted
    assert host.in_doubt_reason == (
        "it was enrolled again from 198.51.100.9 while 192.0.2.1 used its name" if is_doubted else ""
    )


def test_a_takeover_right_after_an_enrollment_is_marked_and_one_at_the_same_address_is_none() -> None:
    enroll(address="192.0.2.1")
    enroll(address="192.0.2.1")
    assert Host.objects.get().in_doubt_since is None

    enroll(address="198.51.100.9")
    assert Host.objects.get().in_doubt_since is not None
