"""Many pretend agents in one process, or this very machine as one."""

import asyncio
import json
import logging
import os
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from agents.simulator.agent import Agent, Manner
from agents.simulator.machine import Machine
from agents.simulator.simulated_tables import SimulatedHost
from agents.simulator.this_machine import ThisMachine
from agents.simulator.wire import Endpoint, Wire

logger = logging.getLogger(__name__)

ENROLL_AT_ONCE = 16
REPORT_SECONDS = 30.0
AWAY_EVERY = (60.0, 300.0)  # seconds between two absences


@dataclass(frozen=True)
class Shares:
    """How many hosts in a hundred behave badly, and how."""

    failing: float = 0
    silent: float = 0
    denylisted: float = 0
    offline: float = 0
    slow: float = 0
    hanging: float = 0
    slow_seconds: float = 5.0

    def manner(self, number: int, seed: int) -> Manner:
        """Give how host `number` behaves: the same each time."""
        chance = random.Random(seed * 7_919 + number).random() * 100  # noqa: S311 - not a secret
        for name in ("failing", "silent", "denylisted", "offline", "slow", "hanging"):
            share = getattr(self, name)
            if chance < share:
                return {
                    "offline": Manner(away_seconds=60.0),
                    "slow": Manner(slow_seconds=self.slow_seconds),
                }.get(name) or Manner(**{name: True})
            chance -= share
        return Manner()


@dataclass
class Crowd:
    """A fleet of hosts. `sent` maps (host_identifier, query name) to the rows that were acknowledged."""

    url: str
    ca: Path
    secret: str
    hosts: int = 0
    this_machine: bool = False
    seed: int = 0
    prefix: str = "/api/osquery"
    shares: Shares = field(default_factory=Shares)
    interval: float | None = None
    state: Path | None = None
    counts: Counter[str] = field(default_factory=Counter)
    sent: dict[tuple[str, str], bytes] = field(default_factory=dict)
    keep_sent: bool = False
    let_go: asyncio.Event = field(default_factory=asyncio.Event)  # hosts that hang
    client: tuple[Path, Path] | None = None  # certificate and key, where the server asks for them

    async def run(self) -> None:
        """Run until cancelled; node keys are kept in `state`, if given."""
        keys = self._read_keys()
        endpoint = Endpoint(self.url, self.ca, self.client)
        gate = asyncio.Semaphore(ENROLL_AT_ONCE)
        with ThreadPoolExecutor(2) as pool:
            agents = [self._agent(machine, manner, endpoint, pool, keys) for machine, manner in self._machines()]
            tasks = [asyncio.create_task(self._live(agent, gate)) for agent in agents]
            tasks.append(asyncio.create_task(self._report(agents)))
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self._write_keys(agents)

    def _machines(self) -> list[tuple[Machine, Manner]]:
        machines: list[tuple[Machine, Manner]] = [
            (SimulatedHost(number, self.seed), self.shares.manner(number, self.seed))
            for number in range(1, self.hosts + 1)
        ]
        return [*machines, (ThisMachine(), Manner())] if self.this_machine else machines

    def _agent(
        self, machine: Machine, manner: Manner, endpoint: Endpoint, pool: ThreadPoolExecutor, keys: dict[str, str]
    ) -> Agent:
        return Agent(
            machine=machine,
            wire=Wire(endpoint, machine.version),
            secret=self.secret,
            pool=pool,
            counts=self.counts,
            prefix=self.prefix,
            manner=manner,
            interval=self.interval,
            node_key=keys.get(machine.identifier, ""),
            sent=self._keep if self.keep_sent else None,
            let_go=self.let_go,
        )

    def _keep(self, identifier: str, query: str, rows: bytes) -> None:
        self.sent[identifier, query] = rows

    async def _live(self, agent: Agent, gate: asyncio.Semaphore) -> None:
        async with gate:  # enrollments and first reads are spread
            if not agent.node_key:
                await agent.enroll()
        while True:
            if not agent.manner or not agent.manner.away_seconds:
                await agent.run()
            try:
                async with asyncio.timeout(random.uniform(*AWAY_EVERY)):  # noqa: S311 - not a secret
                    await agent.run()
            except TimeoutError:
                await asyncio.sleep(agent.manner.away_seconds if agent.manner else 0)

    async def _report(self, agents: list[Agent]) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self._write_keys(agents)
            logger.info("hosts=%s %s", len(agents), " ".join(f"{name}={n}" for name, n in sorted(self.counts.items())))

    def _read_keys(self) -> dict[str, str]:
        if self.state is None or not self.state.exists():
            return {}
        try:
            keys = json.loads(self.state.read_text())
        except ValueError:
            logger.warning("state not read file=%s: it is not JSON, every host enrolls again", self.state)
            return {}
        return {str(identifier): str(key) for identifier, key in keys.items()} if isinstance(keys, dict) else {}

    def _write_keys(self, agents: list[Agent]) -> None:
        if self.state is None:
            return
        fresh = self.state.with_suffix(".new")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({agent.machine.identifier: agent.node_key for agent in agents if agent.node_key}, file)
        fresh.replace(self.state)
