"""The digest of a carve, looked up at its host by itself: asked over the board, told by the `carves` table."""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from agents.board import keyspace, redis_client
from agents.carving import carves, lookup, store
from agents.carving.models import Carve, CarveBlock, Integrity
from agents.models import Host, HousekeepingQuery
from agents.simulator.carver import Upload
from agents.simulator.simulated_tables import SimulatedHost
from agents.simulator.sql import execute
from agents.tasks import check_carves
from tests.conftest import Agent
from tests.factories import make_host

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board", "carves_folder")]

Meet = Callable[[Host | int], Agent]


def question() -> HousekeepingQuery:
    return HousekeepingQuery.objects.get(kind="carves")


def make_complete(host: Host, guid: str = "guid-1", content: bytes = b"content", **changes: Any) -> Carve:
    """Give a carve that arrived whole."""
    now, size = timezone.now(), len(content)
    sizes = {"block_count": 1, "block_size": size, "carve_size": size, "received_blocks": 1, "received_bytes": size}
    carve = Carve.objects.create(
        host=host, carve_id=guid, session_id=f"{host.pk} {guid}", **{"completed_at": now, **sizes, **changes}
    )
    store.write(carve, 0, content)
    CarveBlock.objects.create(carve=carve, number=0, size=size)
    return carve


def tell(agent: Agent, *rows: Mapping[str, str]) -> None:
    name = f"h{question().pk}"
    statuses = {"statuses": {name: 0}, "messages": {name: ""}}
    assert agent.post("distributed/write", {"node_key": agent.key, "queries": {name: list(rows)}, **statuses}) == {}


def row(carve: Carve, content: bytes = b"content", status: str = "SUCCESS") -> dict[str, str]:
    return {"carve_guid": carve.carve_id, "sha256": hashlib.sha256(content).hexdigest(), "status": status}


@pytest.fixture
def later() -> Iterator[Callable[[timedelta], None]]:
    """Let time go on."""
    with time_machine.travel(timezone.now(), tick=False) as clock:
        yield clock.shift


@pytest.fixture
def carved() -> SimulatedHost:
    """Give a pretend host that has sent a carve."""
    machine = SimulatedHost(1)
    execute(machine, "SELECT * FROM carves WHERE carve = 1 AND path = '/etc/hosts'")

    async def take(path: str, body: Mapping[str, Any]) -> bytes:
        return b'{"session_id": "s"}' if path == "carve/begin" else b"{}"

    asyncio.run(Upload(take, 4096, gives_up=True).send(machine.carver.waiting[0]))
    return machine


@pytest.mark.parametrize(("content", "integrity"), [(b"content", Integrity.MATCHES), (b"another", Integrity.DIFFERS)])
def test_integrity_is_known_without_anybody_asking(
    agent: Meet, collect: Callable[[], int], content: bytes, integrity: Integrity
) -> None:
    host = make_host()
    asked, bystander = agent(host), agent(make_host())
    carve = make_complete(host)

    check_carves()

    assert bystander.read() == {}
    assert asked.read() == {"queries": {f"h{question().pk}": lookup.SQL}}
    tell(asked, row(carve, content))
    collect()
    carve.refresh_from_db()
    assert (carve.integrity, carve.host_status) == (integrity, "SUCCESS")


def test_the_table_of_a_pretend_host_tells_what_is_asked(carved: SimulatedHost) -> None:
    sent = carved.carver.carves[0]

    told = execute(carved, lookup.SQL)

    assert told.rows == [{"carve_guid": sent.guid, "sha256": sent.sha256, "status": "SUCCESS"}]
    assert len(carved.carver.carves) == 1, "looking starts no carve"


def test_rows_of_other_hosts_and_unknown_carves_change_nothing(agent: Meet, collect: Callable[[], int]) -> None:
    mine, other = make_complete(make_host()), make_complete(make_host(), "guid-2")
    check_carves()
    asked = agent(mine.host)
    asked.read()

    tell(asked, row(other), {"carve_guid": "elsewhere", "sha256": "f" * 64, "status": "SUCCESS"}, {"status": "x"})
    collect()

    assert list(Carve.objects.exclude(host_sha256="")) == []
    assert Carve.objects.count() == 2


def test_a_host_that_does_not_know_yet_is_asked_again_ever_more_seldom(later: Callable[[timedelta], None]) -> None:
    make_complete(make_host())
    asked: list[datetime] = []
    began = timezone.now()

    for _ in range(24 * 60):
        asked += [timezone.now()] if lookup.ask_due() else []
        later(timedelta(minutes=1))

    minutes = [(moment - began) // timedelta(minutes=1) for moment in asked]
    assert minutes[:5] == [0, 1, 3, 7, 15]
    assert len(minutes) <= 12
    later(timedelta(days=1))
    assert lookup.ask_due() == 0, "hosts forget a carve after a day"


@pytest.mark.parametrize(("status", "asked"), [("PENDING", 1), ("SUCCESS", 0), ("DATA POST FAILED", 0)])
def test_who_said_how_it_ended_is_not_asked_again(
    agent: Meet, collect: Callable[[], int], later: Callable[[timedelta], None], status: str, asked: int
) -> None:
    carve = make_complete(make_host())
    lookup.ask_due()
    host = agent(carve.host)
    host.read()

    tell(host, {**row(carve, status=status), "sha256": "-1"})
    collect()
    later(timedelta(minutes=2))

    assert lookup.ask_due() == asked
    carves.check()
    carve.refresh_from_db()
    assert carve.integrity == Integrity.UNKNOWN


def test_nobody_is_asked_of_what_is_not_complete_or_without_housekeeping(settings: Any) -> None:
    make_complete(make_host(), completed_at=None)
    assert lookup.ask_due() == 0

    settings.HOUSEKEEPING_MINUTES = 0
    make_complete(make_host())

    assert lookup.ask_due() == 0


def test_a_board_that_is_away_is_asked_of_later() -> None:
    make_complete(make_host())
    epoch = redis_client.client().get(keyspace.EPOCH)
    redis_client.client().delete(keyspace.EPOCH)
    assert lookup.ask_due() == 0

    redis_client.client().set(keyspace.EPOCH, epoch)

    assert lookup.ask_due() == 1
