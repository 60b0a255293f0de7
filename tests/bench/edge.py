"""`python -m tests.bench.edge`: what the edge costs, in check-ins and answers per CPU-second of the gateway.

Each figure is measured in turn with the way it is compared with, and says which side was at its limit. `--against
FOLDER` compares with the gateway of an older work tree by uvicorn, instead of with this one by uvicorn. Loopback only.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import tests.servers

os.environ.update(DJANGO_SETTINGS_MODULE="fleet.settings", HOLD_SECONDS="0")

import django

django.setup()

from django.conf import settings

from agents.board import keyspace, operator_verbs, rebuilding, redis_client
from agents.protocol.node_key import NodeKeys
from fleet.demo.certificates import Certificates
from tests.bench import clocks
from tests.bench.clocks import Load
from tests.bench.serving import REPOSITORY, Served, served

GATEWAY, CONSTANT = "fleet.asgi:gateway", "tests.bench.constant:application"
READ, WRITE = "/api/osquery/distributed/read", "/api/osquery/distributed/write"
ROUNDS, CHECK_INS, CAMPAIGNS = 5, 2000, 250
ANSWERING = 60_000  # hosts with an answer to send: more than a round can take

Measure = Callable[[], Load]


def key(host: int) -> str:
    """Give a host's node key."""
    return NodeKeys(settings.NODE_KEY_SECRETS).issue(host, 1)


def check_ins(of: Served) -> Load:
    """Send idle check-ins, a new connection and a full handshake each."""
    return clocks.full_handshakes(of.pid, of.url + READ, f'{{"node_key":"{key(77)}"}}', CHECK_INS)


def ratio(name: str, measured: Measure, base: Measure) -> None:
    """Print the median of ratios of rounds taken in turn, after one round of each that does not count."""
    measured(), base()
    pairs = [(measured(), base()) for _ in range(ROUNDS)]
    values = [left.rate / right.rate for left, right in pairs]
    rates = [f"{statistics.median(each.rate for each in column):,.0f}" for column in zip(*pairs, strict=True)]
    spread = f"{ROUNDS} rounds {min(values):.2f} to {max(values):.2f}"
    print(f"{name}: {statistics.median(values):.2f} ({' against '.join(rates)} per CPU-second, {spread})")
    print(f"    {pairs[-1][0].limit}; base: {pairs[-1][1].limit}", flush=True)


def edge(name: str, certificates: Certificates | None, older: Path) -> None:
    """Compare the server of the edge with the one it replaced, and the app with a constant one behind both."""
    with (
        served(GATEWAY, tls=certificates) as ours,
        served(CONSTANT, tls=certificates) as constant,
        served(GATEWAY, "uvicorn", certificates, older) as before,
    ):
        ratio(f"idle check-in, {name}, granian against uvicorn", lambda: check_ins(ours), lambda: check_ins(before))
        ratio(f"idle check-in, {name}, against a constant", lambda: check_ins(ours), lambda: check_ins(constant))


def campaigns(certificates: Certificates) -> None:
    """Compare a gateway that follows 250 open campaigns over other hosts with the same one before."""
    with served(GATEWAY, tls=certificates) as gateway:
        check_ins(gateway)
        quiet = [check_ins(gateway).rate for _ in range(ROUNDS)]
        for campaign in range(1, CAMPAIGNS + 1):
            operator_verbs.arm(campaign, 0, range(1000, 60_000), "SELECT 1", 600)
        check_ins(gateway)
        busy = [check_ins(gateway).rate for _ in range(ROUNDS)]
    print(f"idle check-in with {CAMPAIGNS} open campaigns: {statistics.median(busy) / statistics.median(quiet):.2f}")


def answers(folder: Path, older: Path) -> None:
    """Compare durable answers of one row, a new connection each, without TLS (wrk would resume its sessions)."""
    script = folder / "answers.lua"
    (folder / "keys").write_text("\n".join(map(key, range(1, ANSWERING + 1))))
    script.write_text(LUA.replace("KEYS", str(folder / "keys")))

    def take(of: Served) -> Load:
        redis_client.client().flushdb()
        rebuilding.finish({})
        operator_verbs.arm(1, 0, range(1, ANSWERING + 1), "SELECT 1", 600)
        load = clocks.wrk(of.pid, of.url + WRITE, script)
        return load._replace(requests=redis_client.client().xlen(keyspace.STREAM))

    with served(GATEWAY) as ours, served(GATEWAY, "uvicorn", tree=older) as before:
        ratio("durable answer of one row, granian against uvicorn", lambda: take(ours), lambda: take(before))


LUA = """
local bodies, i = {}, 0
for key in io.lines("KEYS") do
  bodies[#bodies + 1] = '{"queries":{"c1":[{"pid":"1","name":"systemd"}]},"statuses":{"c1":0},"messages":{"c1":""},'
    .. '"stats":{"c1":{"wall_time_ms":5,"user_time":1,"system_time":1,"memory":1000}},"node_key":"' .. key .. '"}'
end
local headers = {["Content-Type"] = "application/json"}
request = function()
  i = i % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[i])
end
"""


def main() -> None:
    """Run what the installed load generators allow, then stop the servers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, default=REPOSITORY, help="a work tree from before granian")
    older = parser.parse_args().against
    try:
        rebuilding.finish({})
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            certificates = Certificates(folder / "certificates")
            certificates.make("127.0.0.1")
            if clocks.has("ab"):
                edge("a full TLS 1.3 handshake each", certificates, older)
                edge("a new connection each, without TLS", None, older)
                campaigns(certificates)
            if clocks.has("wrk"):
                answers(folder, older)
    finally:
        while tests.servers._started:
            tests.servers._started.pop().stop()


if __name__ == "__main__":
    main()
