"""A gateway's claims, and what stands on the board beside them."""

import asyncio

import pytest

from agents.board import gateway_verbs, keyspace, operator_verbs, redis_client
from agents.board.copy import Board
from agents.board.gateway_verbs import Claim, Store

HOST = 70_001  # of the second range
BIT = HOST & 0xFFFF
MOST = 3


class Gate:
    """One gateway's claims, awaited one by one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self.loop, self.board = loop, Board()
        self.store = Store(url, self.board, "gate")
        self.look()

    def look(self) -> dict[int, bytes]:
        return self.loop.run_until_complete(self.store.refresh())

    def claim(self, *campaigns: int, age: float = 0.0, host: int = HOST) -> Claim:
        return self.loop.run_until_complete(self.store.claim(host, campaigns, age, MOST))


def arm(campaign: int, *hosts: int, timeout: int = 60) -> None:
    operator_verbs.arm(
        campaign, HOST >> 16, [host & 0xFFFF for host in hosts or (HOST,)], f"SELECT {campaign}", timeout
    )


def entries(kind: bytes) -> int:
    return sum(fields[b"k"] == kind for _, fields in redis_client.client().xrange(keyspace.STREAM))


def let_time_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a host be offered its work again at once, instead of five seconds after its first further read."""
    monkeypatch.setattr(gateway_verbs, "OFFER_AGAIN_MS", 0)


def flight(campaign: int) -> list[bytes]:
    """Give the record in flight: deliveries, delivered_at, began, further_at."""
    return (redis_client.client().hget(keyspace.flight_key(campaign), HOST) or b"").split()
