"""What a gateway counts of keys, and tells the board: once, and again when it could not be told."""

import pytest
from django.conf import settings
from redis.exceptions import RedisError

from agents.board import keyspace, redis_client
from agents.board.copy import Board
from agents.board.gateway_verbs import Store
from agents.gateway.identity import Identities
from agents.protocol.node_key import Enrolled, Identity

NOBODY_LISTENS = "redis://127.0.0.1:1/0"
ADDRESS = "192.0.2.1"


async def test_what_could_not_be_told_is_told_with_the_next_look_and_no_third_time() -> None:
    identities, told, away = (
        Identities(),
        Store(settings.REDIS_URL, Board(), "one"),
        Store(NOBODY_LISTENS, Board(), "one"),
    )
    for key in (Identity(7, 1, secret=1), Identity(8, 1, secret=0, enrolled=Enrolled("here", b"\1\2\3\4"))):
        identities.enter(key, ADDRESS, "config")
        identities.leave(key, ADDRESS, "config")
    identities.note_stranger()

    with pytest.raises(RedisError):
        await identities.tell(away)
    await identities.tell(told)
    await identities.tell(told)

    assert redis_client.client().hgetall(keyspace.OLD_SECRETS) == {b"1": b"1", b"-1": b"1"}
    assert redis_client.client().get(keyspace.STRANGERS) == b"1"
    await told.close()
    await away.close()
