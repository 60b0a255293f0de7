"""Who a machine is, as it says so: keys, names, and what it tells of itself (protocol 8, 13 to 17 and 37)."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from agents.board import keyspace, redis_client
from agents.enrolling import desk
from agents.enrolling.desk import Desk
from agents.inventory import facts, presence
from agents.models import EnrollSecret, Host
from fleet.handler import Handler
from tests.agents.wire.conftest import Wire, at_once, eventually, request

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("secret")]

DETAILS = {
    "os_version": {"name": "Debian GNU/Linux", "version": "12 (bookworm)", "platform": "debian", "major": "12"},
    "osquery_info": {"version": "5.23.0", "pid": "7", "start_time": "1764000000", "build_platform": "linux"},
    "system_info": {
        "hostname": "web-1",
        "uuid": "4C4C4544",
        "physical_memory": "17179869184",
        "cpu_brand": "a quick one",
    },
}
BODY = {"enroll_secret": "open sesame, please", "host_identifier": "U-1", "platform_type": "9", "host_details": DETAILS}


@pytest.fixture
def secret() -> EnrollSecret:
    """Give the secret `open sesame, please`."""
    return EnrollSecret.objects.offer("all", "open sesame, please")


def enroll(wire: Wire, **changes: Any) -> str:
    """Enroll, give the node key."""
    answer = wire.post("enroll", {**BODY, **changes})
    assert set(answer) == {"node_key"}, answer
    return str(answer["node_key"])


def read(wire: Wire, key: str) -> dict[str, Any]:
    """Ask for work with a key."""
    wire.refresh()
    return wire.post("distributed/read", {"node_key": key})


def reason_of_doubt(wire: Wire) -> str:
    """Give why the only host is in doubt, once the gateway has told what it saw."""
    eventually(lambda: not wire.gateway._follower._asked)
    presence.carry()
    return str(Host.objects.get().in_doubt_reason)


def test_a_stock_agent_enrolls_and_is_asked_about_itself(whole: Wire) -> None:
    key = enroll(whole)

    assert list(read(whole, key)["queries"].values()) == [facts.SQL]
    host = Host.objects.get()
    assert (host.hostname, host.platform, host.osquery_version) == ("web-1", "linux", "5.23.0")
    assert host.address == "127.0.0.1"


# --- twice -------------------------------------------------------------------------------------------------------


def test_an_enroll_that_was_sent_again_at_once_is_one_host_with_keys_that_all_work(whole: Wire) -> None:
    answers = [each.answer for each in at_once([whole] * 4, request("enroll", BODY))]

    assert Host.objects.count() == 1
    assert Host.objects.get().epoch == 4
    for answer in answers:
        assert "node_invalid" not in read(whole, answer["node_key"])


def test_an_enroll_whose_answer_was_lost_leaves_no_key_behind_that_fails(whole: Wire) -> None:
    with whole.connect() as leaves:
        leaves.sendall(request("enroll", BODY))
        eventually(lambda: Host.objects.exists())

    first, last = enroll(whole), enroll(whole)

    assert "node_invalid" not in read(whole, last)
    assert "node_invalid" not in read(whole, first)
    assert reason_of_doubt(whole) == "", "it is one machine"


def test_a_second_machine_under_the_same_name_is_served_and_noticed(whole: Wire) -> None:
    first = enroll(whole)
    second = enroll(whole, host_details={"system_info": {"hostname": "web-2"}})
    read(whole, second)
    assert reason_of_doubt(whole) == ""
    redis = redis_client.client()
    host = Host.objects.get()
    assert host.hostname == "web-2"
    epoch, since = redis.hget(keyspace.KEYS_IN_USE, host.pk).split()
    redis.hset(keyspace.KEYS_IN_USE, host.pk, b"%s %d" % (epoch, int(since) - 61_000))

    assert "node_invalid" not in read(whole, first)

    assert "older key" in reason_of_doubt(whole)


def test_a_cloned_machine_with_the_same_key_is_noticed(listen: Callable[..., Wire], whole: Wire) -> None:
    held = listen(cold=Desk(Handler()), hold_seconds=1.0, trusted_proxies=["127.0.0.1"])
    key = enroll(held)
    read(held, key)  # what it is asked about itself
    read(held, key)
    host, under_way = Host.objects.get().pk, held.gateway._identities._under_way
    with held.connect() as one, held.connect() as other, held.connect() as one_again:
        for machine, address in ((one, "192.0.2.1"), (other, "198.51.100.9"), (one_again, "192.0.2.1")):
            head = b"X-Forwarded-For: " + address.encode()
            machine.sendall(request("distributed/read", {"node_key": key}, head))
            eventually(lambda: under_way.get(host) == [address])  # noqa: B023 - looked at before the next turn
        eventually(lambda: bool(redis_client.client().hlen(keyspace.DOUBTS)))

    assert reason_of_doubt(held) == "its key was used from two addresses at once: 198.51.100.9 and 192.0.2.1"


def test_every_name_is_a_host(whole: Wire) -> None:
    """As machines in hostname mode that were renamed, and those with a name for each start, make them."""
    for name in ("web-1", "WEB-1", "web-1.example", "größe", "日本", "a b/c", "x" * 255):
        enroll(whole, host_identifier=name)

    assert Host.objects.count() == 7
    assert Host.objects.filter(host_identifier__in=("WEB-1", "日本")).count() == 2


# --- odd bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"host_details": {}}, {"hostname": "U-1", "os_name": "", "platform": "linux"}),
        ({"host_details": None}, {"hostname": "U-1"}),
        ({"host_details": []}, {"hostname": "U-1"}),
        ({"host_details": {"system_info": None, "os_version": [], "x": 1}}, {"hostname": "U-1"}),
        ({"host_details": {"system_info": {"hostname": ""}}}, {"hostname": "U-1"}),
        ({"host_details": {"system_info": {"hostname": "WEB-Größe"}}}, {"hostname": "WEB-Größe"}),
        ({"host_details": {"system_info": {"hostname": "h" * 300}}}, {"hostname": "h" * 255}),
        ({"host_details": {"system_info": {"hostname": "a\0b\ud800"}}}, {"hostname": "ab\ufffd"}),
        ({"host_details": {"system_info": {"physical_memory": 17179869184}}}, {"physical_memory": 17179869184}),
        ({"host_details": {"system_info": {"physical_memory": "much"}}}, {"physical_memory": None}),
        ({"host_details": {"system_info": {"physical_memory": "-1"}}}, {"physical_memory": None}),
        ({"host_details": {"system_info": {"physical_memory": "9" * 40}}}, {"physical_memory": None}),
        ({"host_details": {"system_info": {"cpu_brand": {"deep": ["x"]}, "hidden": None}}}, {"cpu_brand": ""}),
        ({"platform_type": "21"}, {"platform": "darwin"}),
        ({"platform_type": 2}, {"platform": "windows"}),
        ({"platform_type": "37"}, {"platform": "freebsd"}),
        ({"platform_type": None}, {"platform": "other"}),
        ({"platform_type": "4096"}, {"platform": "other"}),
        ({"platform_type": "nine"}, {"platform": "other"}),
        ({"platform_type": "", "host_details": {"os_version": {"platform": "darwin"}}}, {"platform": "darwin"}),
        ({"platform_type": "", "host_details": {"os_version": {"platform": "amiga"}}}, {"platform": "other"}),
        ({"host_details": {"osquery_info": {"start_time": "99999999999"}}}, {"hostname": "U-1"}),
        ({"unknown": [1, {"a": None}]}, {"hostname": "web-1"}),
    ],
)
def test_odd_details_are_read_as_far_as_they_can_be(whole: Wire, changes: Any, told: dict[str, Any]) -> None:
    enroll(whole, **changes)

    host = Host.objects.get()
    assert {name: getattr(host, name) for name in told} == told
    assert abs(host.enrolled_at - timezone.now()) < timedelta(seconds=30), "whatever the host's clock says"


def test_bytes_that_are_no_text_are_read(whole: Wire) -> None:
    body = json.dumps(BODY).encode().replace(b"web-1", b"web\xff\\ud800")

    assert "node_key" in whole.post("enroll", body)

    assert Host.objects.get().hostname == "web\ufffd\ufffd"


@pytest.mark.parametrize(
    "changes",
    [
        {"enroll_secret": ""},
        {"enroll_secret": None},
        {"enroll_secret": ["open sesame, please"]},
        {"enroll_secret": "open sesame, please "},
        {"enroll_secret": "x" * 100_000},
        {"host_identifier": ""},
        {"host_identifier": None},
        {"host_identifier": "\0"},
        {"host_identifier": "x" * 256},
        {"host_identifier": {"a": 1}},
    ],
)
def test_who_is_refused_hears_why_and_gets_no_key(whole: Wire, changes: dict[str, Any]) -> None:
    assert set(whole.post("enroll", {**BODY, **changes})) == {"error"}
    assert not Host.objects.exists()


def test_a_secret_under_another_name_is_none(whole: Wire) -> None:
    """As with `tls_enroll_override`."""
    body = {"secret" if name == "enroll_secret" else name: value for name, value in BODY.items()}

    assert set(whole.post("enroll", body)) == {"error"}


@pytest.mark.parametrize("body", [b"", b"1", b"[]", b"null", b'"x"', b"{", b"\xff", b"\x00", b"[" * 100_000])
def test_an_enroll_that_is_no_object_is_answered_with_one(whole: Wire, body: bytes) -> None:
    assert set(whole.post("enroll", body)) == {"error"}


# --- trouble -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", [b"somebody.example", b"", b"a b"])
def test_a_host_enrolls_under_whatever_name_leads_it_here(whole: Wire, host: bytes) -> None:
    """Django's answer to a name that is not in ALLOWED_HOSTS would be a page of HTML, for ever."""
    content = request("enroll", BODY).replace(b"fleet.example:8412", host)

    assert set(whole.send(content).answer) == {"node_key"}


def test_pages_of_the_framework_never_reach_an_agent(whole: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Any) -> Host:
        raise ZeroDivisionError

    monkeypatch.setattr(desk, "enroll_all", broken)

    assert set(whole.post("enroll", BODY)) == {"error"}


def test_odd_heads_keep_nobody_from_enrolling(whole: Wire) -> None:
    assert "node_key" in whole.post("enroll", BODY, b"Cookie: \xff=\xfe", b"Authorization: NodeKey x", b"X: \xff")


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"DELETE"])
def test_another_method_than_post_is_told_so(whole: Wire, method: bytes) -> None:
    assert set(whole.send(request("enroll", BODY).replace(b"POST", method, 1)).answer) == {"error"}


def test_without_postgres_nobody_is_told_to_enroll_again(whole: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    key = enroll(whole)
    read(whole, key)
    monkeypatch.setitem(connection.settings_dict, "HOST", "/nowhere")

    assert set(whole.post("enroll", BODY)) == {"error"}
    assert read(whole, key) == {}
    assert "options" in whole.post("config", {"node_key": key})

    monkeypatch.undo()
    assert enroll(whole) != key
