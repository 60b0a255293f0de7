"""Real processes and three hundred hosts answering, while things break: every single answer is accounted for."""

import asyncio
import base64
import json
import shutil
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.faults import accounts, chaos
from tests.faults.agents import Agent, Crowd, Manner
from tests.faults.chaos import TARGETED
from tests.faults.faults import FAULTS
from tests.faults.stage import Stage, wait_for

pytestmark = [pytest.mark.lengthy, pytest.mark.processes]
SEED = 14
# In each run of the suite, mixed; every other one alone, and all mixed, with `make faults` and `make chaos`.
SHORT = [*(name for name in FAULTS if name.endswith(" killed")), "redis emptied", "postgres stopped"]


@pytest.fixture
def nobody_saw_an_error(stage: Stage) -> Iterator[None]:
    """Fail when an agent was told of trouble, or lost a request, while the test ran."""
    before = stage.crowd.ledger.errors.copy()
    yield
    assert stage.crowd.ledger.errors - before == {}


def launch_all_kinds(stage: Stage, timeout: int) -> list[int]:
    """Launch what ends by its answers, what ends by its time, and what goes by steps."""
    return [
        stage.launch(stage.hosts(*TARGETED)),
        stage.launch(stage.hosts(*Manner), timeout=timeout),
        stage.launch(stage.hosts(Manner.ANSWERS), rollout={"canary": {"percent": 10}, "then": "auto"}),
    ]


@pytest.mark.long
@pytest.mark.parametrize("name", FAULTS)
def test_every_answer_is_accounted_for(stage: Stage, name: str) -> None:
    fault = FAULTS[name]
    logs = accounts.log_places(stage)
    stage.crowd.think = 3.0

    campaigns = launch_all_kinds(stage, timeout=12 + int(fault.seconds))
    wait_for(lambda: stage.answered(campaigns[0]) > 20, "the first hosts answer")
    with fault.do(stage):
        time.sleep(fault.seconds)
    stage.wait_until_ended(campaigns)

    assert accounts.check(stage, campaigns) == []
    assert accounts.log_lines(stage) == []
    assert accounts.tracebacks(stage, logs) == []


@pytest.mark.long  # test_chaos restarts and kills the same processes in each run of the suite
@pytest.mark.usefixtures("nobody_saw_an_error")
def test_a_rolling_restart_of_everything_is_heard_by_no_agent(stage: Stage) -> None:
    stage.crowd.think = 6.0

    campaigns = [stage.launch(stage.hosts(*TARGETED)) for _ in range(2)]
    with FAULTS["rolling restart"].do(stage):
        campaigns.append(stage.launch(stage.hosts(*TARGETED)))
    stage.wait_until_ended(campaigns)

    assert accounts.check(stage, campaigns) == []


def test_chaos_leaves_nothing_behind(stage: Stage) -> None:
    logs = accounts.log_places(stage)
    stage.crowd.think = 1.0

    campaigns = chaos.rage(stage, 12, SEED, among=SHORT)

    assert chaos.accounts_of(stage, campaigns) == []
    assert accounts.tracebacks(stage, logs) == []
    assert stage.deaths == []


GUID = "5f2c3f9a-7c1e-4f0e-9b7a-0d9e6c1a2b3c"
CONTENT = bytes(range(256)) * 16
BLOCK = 2048


@pytest.mark.long
def test_a_full_disk_has_no_half_of_a_carve(stage: Stage) -> None:
    agent = next(agent for agent in stage.crowd.agents if agent.manner is Manner.SILENT)
    campaign = stage.launch([agent.host], sql="SELECT * FROM carves WHERE carve = 1 AND path = '/etc/hosts'")
    wait_for(lambda: stage.crowd.ledger.handed.get((campaign, agent.host)), "it is asked to carve")
    sizes = {"block_count": 2, "block_size": BLOCK, "carve_size": len(CONTENT)}
    begin = {"carve_id": GUID, "request_id": "r", "node_key": agent.key, **sizes}
    session = json.loads(stage.ask("carve/begin", begin))["session_id"]

    with FAULTS["gateways disk full"].do(stage):
        refused = stage.ask("carve/block", block(session, 0))
        left = [file for file in (stage.folder / "carves").rglob("*") if file.is_file()]
    taken = [stage.ask("carve/block", block(session, number)) for number in (0, 1)]

    assert not refused.startswith(b"{"), "agents take any JSON for a yes"
    assert left == []
    assert taken == [b"{}", b"{}"]
    files = sorted((stage.folder / "carves").rglob("?"), key=lambda file: file.name)
    assert b"".join(file.read_bytes() for file in files if file.is_file()) == CONTENT
    checked = "SELECT 1 FROM agents_carve WHERE checked_at IS NOT NULL"
    wait_for(lambda: stage.sql(checked), "the worker read the carve and took its digest")
    shutil.rmtree(stage.folder / "carves")  # nothing else of this stage carves, and others look what is left


def block(session: str, number: int) -> dict[str, object]:
    data = base64.b64encode(CONTENT[number * BLOCK : (number + 1) * BLOCK]).decode()
    return {"block_id": number, "session_id": session, "request_id": "r", "data": data}


MANY = 3_000


@pytest.mark.long
def test_three_thousand_agents_reconnect_at_once(stage: Stage) -> None:
    gateways = [psutil.Process(stage.processes[name].pid) for name in stage.gateway_ports]
    crowds = [Crowd(port, stage.crowd.secret) for port in stage.gateway_ports.values()]
    for place, crowd in enumerate(crowds):
        stage.run(crowd.join([Manner.AWAY] * (MANY // len(crowds)), f"one of many {place}"))
    agents = [agent for crowd in crowds for agent in crowd.agents]
    stage.run(read(agents))  # who enrolled is asked about its tables first
    stage.run(read_and_break(agents, lambda: stage.held() >= MANY))
    before = [process.memory_info().rss for process in gateways]

    for _ in range(2):
        stage.run(read_and_break(agents, lambda: stage.held() >= MANY))
    answers = stage.run(read(agents))

    assert answers == [{}] * MANY
    after = [process.memory_info().rss for process in gateways]
    assert sum(after) < sum(before) + 2**25
    wait_for(lambda: stage.held() <= len(stage.crowd.agents), "who is gone is not held")


async def read(agents: list[Agent]) -> list[dict[str, object]]:
    """Let all of them ask at once; give what they hear."""
    return await asyncio.gather(*(agent.ask("distributed/read", {}) for agent in agents))


async def read_and_break(agents: list[Agent], are_held: Callable[[], bool]) -> None:
    """Let all of them ask at once, and break their connections when all are held."""
    reading = asyncio.ensure_future(read(agents))
    while not are_held() and not reading.done():
        await asyncio.sleep(0.2)
    assert not reading.done(), "some were answered before all were held"
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
