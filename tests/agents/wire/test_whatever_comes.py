"""Whatever comes on the wire: an object, no failure, a line in the log, and no other host the worse."""

import gzip
import json
import logging
import random
from collections.abc import Callable
from typing import Any

import pytest

from agents.carving import views
from agents.enrolling import enrollment
from agents.gateway.mistakes import Mistakes
from agents.models import EnrollSecret, Host
from campaigns.models import Result
from fleet.once import Once
from tests.agents.wire.conftest import Wire, key_of, received, reply, request
from tests.agents.wire.test_enrolling import BODY, enroll, secret
from tests.factories import make_campaign, make_host

__all__ = ["secret"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("secret")]

REQUESTS = 200
VALUES = (
    *(
        b"null",
        b"true",
        b"0",
        b"-1",
        b"1.5",
        b"1e400",
        b"NaN",
        b"01",
        b".5",
        b"9" * 400,
        b"9" * 5000,
        b"'x'",
        b"tru",
        b"",
    ),
    *(b'""', b'"0"', b'"x"', b'"\\u0000"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\xff\xfe"', b'"\xed\xa0\x80"'),
    *(
        b'"a\x00b"',
        b'"a\nb"',
        b'"\xe2\x80\xae"',
        b'"\\"',
        b'"' + b"x" * 5000 + b'"',
        b"[]",
        b"{}",
        b"{",
        b"}",
        b'{"":""}',
    ),
    *(b'{"a":1,"a":2}', b"[" * 30 + b"]" * 30, b"[" * 5000 + b"]" * 5000, b'{"a":' * 40 + b"1" + b"}" * 40),
)
NAMES = (b'""', b'"pid"', b'"host"', b'"\\u0000"', b'"\\ud800"', b'"\xff"', b'"a\\"b"', b'"' + b"k" * 3000 + b'"')
HEADS = (
    *(b"Authorization: NodeKey \xff", b"Authorization: ", b"Content-Encoding: gzip", b"X-Forwarded-For: \xff"),
    *(b"Cookie: " + b"x" * 4000, b"X-Client-Certificate-Name: \xff\x80", b"Accept-Encoding: gzip"),
)
VERBS = ("enroll", "config", "log", "distributed/read", *["distributed/write"] * 4, "carve/begin", "carve/block")


class Chance:
    """Makes up what nobody should send, mostly around a key that is good."""

    def __init__(self, key: str, campaign: int) -> None:
        self._random, self._key = random.Random(1), json.dumps(key).encode()  # the same at every run
        self._names = [f'"c{campaign}"'.encode()] * 4 + [b'"h1"', b'"c0"', b'"c-1"', b'"c' + b"9" * 30 + b'"', b'""']

    def one(self, *likely: bytes, odd: float = 0.4) -> bytes:
        return self._random.choice(VALUES if not likely or self._random.random() < odd else likely)

    def many(self, each: Callable[[], bytes]) -> bytes:
        return b",".join(each() for _ in range(self._random.randint(0, 4)))

    def rows(self) -> bytes:
        def row() -> bytes:
            return b"{%s}" % self.many(lambda: self._random.choice(NAMES) + b":" + self.one(b'"1"'))

        return b"[%s]" % self.many(lambda: self.one(row()))

    def by_query(self, value: Callable[[], bytes]) -> bytes:
        return self.one(b"{%s}" % self.many(lambda: self._random.choice(self._names) + b":" + value()), odd=0.2)

    def members(self, verb: str) -> dict[str, bytes]:
        key = {"node_key": self.one(self._key, odd=0.2)}
        if verb == "enroll":
            details = b'{"system_info":{"hostname":%s,"uuid":%s},"os_version":%s}' % (
                self.one(),
                self.one(),
                self.one(),
            )
            secret = json.dumps(BODY["enroll_secret"]).encode()
            return {
                "enroll_secret": self.one(secret, odd=0.2),
                "host_identifier": self.one(b'"U-2"', b'"U-3"'),
                "platform_type": self.one(b'"9"'),
                "host_details": self.one(details),
            }
        if verb == "log":
            lines = b"[%s]" % self.many(self.one)
            return key | {"log_type": self.one(b'"result"', b'"status"'), "data": self.one(lines)}
        if verb == "distributed/write":
            return key | {
                "queries": self.by_query(self.rows),
                "statuses": self.by_query(lambda: self.one(b"0", b"1")),
                "messages": self.by_query(self.one),
                "stats": self.by_query(lambda: self.one(b'{"wall_time_ms":%s}' % self.one())),
            }
        if verb.startswith("carve/"):
            names = ("block_count", "block_size", "carve_size", "carve_id", "block_id", "session_id", "data")
            return key | {name: self.one(b"1") for name in names}
        return key

    def request(self) -> tuple[str, bytes]:
        verb, chance = self._random.choice(VERBS), self._random.random
        members = [b'"%s":%s' % (name.encode(), value) for name, value in self.members(verb).items()]
        self._random.shuffle(members)
        body = b"{%s}" % b",".join(members + members[: chance() < 0.1])
        body = body[: self._random.randint(0, len(body))] if chance() < 0.05 else body
        heads = [self._random.choice(HEADS)] if chance() < 0.2 else []
        return verb, request(verb, gzip.compress(body) if chance() < 0.1 else body, *heads)


def test_nothing_that_a_host_sends_is_too_much(
    whole: Wire, collect: Callable[[], int], caplog: pytest.LogCaptureFixture
) -> None:
    key, honest = enroll(whole), make_host()
    hostile = Host.objects.exclude(pk=honest.pk).get()
    campaign = make_campaign(hostile, honest, sql="SELECT 1")
    chance = Chance(key, campaign.pk)

    for _ in range(REQUESTS):
        verb, content = chance.request()
        whole.refresh()
        with whole.connect() as connection:
            connection.sendall(content)
            told = reply(received(connection))
        assert told.status == 200, content
        if verb.startswith("carve/") and told.body.startswith(b"carve refused: "):
            continue
        assert isinstance(json.loads(told.body), dict), content
        assert b"failed on this" not in told.body, content

    whole.refresh()
    sound = {"node_key": key_of(honest.pk), "queries": {f"c{campaign.pk}": [{"a": "1"}]}}
    assert whole.post("distributed/write", sound) == {}
    collect()
    assert Result.objects.get(campaign=campaign, host=honest).row_count == 1
    assert [record for record in caplog.records if record.exc_info] == []


def test_what_is_wrong_is_said_once_with_its_beginning_and_without_a_key(
    whole: Wire, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(whole.gateway, "_mistakes", Mistakes())
    for module in (enrollment, views):
        monkeypatch.setattr(module, "refused", Once())
    caplog.set_level(logging.WARNING)
    key = enroll(whole)
    whole.refresh()
    broken = b'{"node_key":"%s","queries":oops}' % key.encode()
    odd, long = ({**BODY, "host_identifier": name, "host_details": {}} for name in (" ", "n" * 100_000))
    refused: list[tuple[str, Any, str]] = [
        ("distributed/write", broken, "no JSON object came host=1 address=127.0.0.1 verb=distributed/write"),
        ("log", {"node_key": key, "log_type": "song", "data": []}, "log batch dropped host=1"),
        ("enroll", odd, "host not enrolled identifier=' '"),
        ("enroll", long, "host_identifier has 100000 characters"),
        ("carve/begin", {"node_key": key, "carve_id": "é"}, "carve refused host=1 reason=carve_id 'é'"),
    ]

    for verb, body, _ in refused * 2:
        whole.send(request(verb, body))

    said = [record.getMessage() for record in caplog.records]
    parts = [part.replace("host=1", f"host={Host.objects.get().pk}") for *_, part in refused]
    assert len(said) == len(parts)
    assert [part for part, line in zip(parts, said, strict=True) if part not in line] == []
    assert "oops" in said[0]
    assert "song" in said[1]
    assert max(map(len, said)) < 600
    assert not any(key in line or EnrollSecret.objects.get().digest in line for line in said)
