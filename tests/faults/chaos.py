"""`python -m tests.faults.chaos --seconds 600 --seed 7`: faults at random under load, every answer accounted for.

What is done, to whom and in which order follows from the seed; how far the others are just then does not.
"""

import argparse
import random
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from tests.faults import accounts
from tests.faults.agents import Manner
from tests.faults.faults import FAULTS, Fault
from tests.faults.stage import Stage

AT_ONCE = 2  # faults
OPEN_CAMPAIGNS = 4
TARGETED = (Manner.ANSWERS, Manner.FAILS, Manner.REFUSES)
CROWD = [Manner.ANSWERS] * 275 + [Manner.FAILS] * 13 + [Manner.REFUSES] * 2 + [Manner.SILENT] * 5 + [Manner.AWAY] * 5


class Going(NamedTuple):
    """A fault that was done and not undone."""

    fault: Fault
    until: float
    undo: AbstractContextManager[None]


class Operator(threading.Thread):
    """Somebody who launches one campaign after the other, whatever happens, and stops one now and then."""

    def __init__(self, stage: Stage, seed: int) -> None:
        super().__init__(name="operator")
        self.campaigns: list[int] = []
        self.error: BaseException | None = None
        self._stage, self._random = stage, random.Random(seed)
        self._enough = threading.Event()

    def enough(self) -> None:
        """Launch no more."""
        self._enough.set()
        self.join()
        if self.error is not None:
            raise self.error

    def run(self) -> None:
        """Launch until it is enough."""
        try:
            while not self._enough.is_set():
                if len(self._open()) < OPEN_CAMPAIGNS:
                    self._launch()
                self._enough.wait(self._random.uniform(0.5, 2))
        except Exception as error:
            self.error = error

    def _open(self) -> list[int]:
        try:
            answer = self._stage.http.get("/api/v1/campaigns/?limit=50").json()
        except (httpx.TransportError, ValueError):
            return self.campaigns[-OPEN_CAMPAIGNS:]
        return [each["id"] for each in answer.get("results", []) if each["ended_at"] is None]

    def _launch(self) -> None:
        kind = self._random.choices(["plain", "everybody", "steps", "stopped"], [5, 2, 2, 1])[0]
        order: dict[str, Any] = {"timeout": 120}
        hosts = self._stage.hosts(*TARGETED)
        if kind == "everybody":
            hosts, order = self._stage.hosts(*Manner), {"timeout": self._random.randint(10, 25)}
        elif kind == "steps":
            hosts = self._stage.hosts(Manner.ANSWERS)
            order |= {"rollout": {"canary": {"percent": 10}, "then": "auto"}}
        self.campaigns.append(self._stage.launch(hosts, 180, **order))
        if kind == "stopped":
            self._enough.wait(self._random.uniform(0, 3))
            self._stop_one(self.campaigns[-1])

    def _stop_one(self, campaign: int) -> None:
        try:
            self._stage.http.post(f"/api/v1/campaigns/{campaign}/stop/", headers={"X-Try": secrets.token_hex(2)})
        except httpx.TransportError:
            return  # whether it was stopped will be seen


def rage(stage: Stage, seconds: float, seed: int, among: Iterable[str] = FAULTS) -> list[int]:
    """Do these faults at random for so long, undo them all; give the campaigns that were launched meanwhile."""
    print(f"chaos for {seconds:.0f} seconds with SEED={seed}", flush=True)
    chance, operator = random.Random(seed), Operator(stage, seed + 1)
    operator.start()
    going: list[Going] = []
    ends = time.monotonic() + seconds
    try:
        while time.monotonic() < ends:
            going = _undo(going, time.monotonic())
            taken = frozenset({"everything"}).union(*(each.fault.touches for each in going))
            free = [fault for fault in map(FAULTS.get, among) if fault and not fault.touches & taken]
            if len(going) < AT_ONCE and free:
                fault = chance.choice(free)
                print(f"{seconds - (ends - time.monotonic()):6.1f} s  {fault.name}", flush=True)
                going.append(_do(fault, stage, chance.uniform(0.3, 1) * fault.seconds))
            time.sleep(chance.uniform(0.2, 1.5))
    finally:
        _undo(going, float("inf"))
        operator.enough()
    stage.wait_until_ready()
    return operator.campaigns


def _do(fault: Fault, stage: Stage, seconds: float) -> Going:
    context = fault.do(stage)
    context.__enter__()
    return Going(fault, time.monotonic() + seconds, context)


def _undo(going: list[Going], now: float) -> list[Going]:
    for each in going:
        if each.until <= now:
            each.undo.__exit__(None, None, None)
    return [each for each in going if each.until > now]


def accounts_of(stage: Stage, campaigns: list[int]) -> list[str]:
    """Wait until these campaigns are over; give everything that is wrong."""
    stage.wait_until_ended(campaigns)
    return [
        *accounts.check(stage, campaigns),
        *accounts.leftovers(stage),
        *accounts.log_lines(stage),
        *map(repr, stage.crowd.trouble()),
    ]


def main() -> int:
    """Rage on a stage of its own; 0 when the accounts are right."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None, help="without one: another one each time")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    folder = Path(tempfile.mkdtemp(prefix="flq-chaos-"))
    folder.chmod(0o711)
    stage = Stage(folder)
    try:
        stage.start()
        stage.join(CROWD)
        campaigns = rage(stage, options.seconds, seed)
        wrong = accounts_of(stage, campaigns)
        traces = accounts.tracebacks(stage, {})
        taken, ledger = stage.crowd.ledger.taken(), stage.crowd.ledger
    except BaseException:
        print(f"broken off with SEED={seed}; logs are in {folder}", flush=True)
        raise
    finally:
        stage.stop()
    print(f"{len(campaigns)} campaigns, {taken} answers acknowledged, {ledger.resent} requests sent twice")
    bad = [*wrong, *traces, *map(str, stage.deaths)]
    print("\n".join(bad))
    print("all accounted for" if not bad else f"{len(bad)} wrong with SEED={seed}; logs are in {folder}")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
