"""`python -m tests.bench.scale [TARGETS …]`: one campaign over so many hosts, from the launch to the last row purged.

The whole installation runs as in the demo, but without TLS, on the same cores as the load: wrk with a Lua script that
sends each host's answer (with `--reads` its read before) on a connection of its own. What hosts sent counts when it
is stored in PostgreSQL and counted. Every tier's CPU comes from its own clock. Loopback only, ends by itself.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.bench import clocks
from tests.bench.durable import durable_servers
from tests.bench.tiers import Tiers, tiers

SIZES = (1_000, 10_000, 100_000)
CONNECTIONS = 64
SQL = "SELECT name, version, platform FROM os_version"
READ, WRITE = "/api/osquery/distributed/read", "/api/osquery/distributed/write"
LUA = r"""
local next_key, reads, key, is_read, idle = io.lines("KEYS"), READS, nil, false, 0
local is_tried = false -- wrk calls once to look whether it works, and sends nothing
local headers = {["Content-Type"] = "application/json"}
local answer = '{"queries":{"cID":[{"name":"Ubuntu","version":"22.04.4 LTS (Jammy Jellyfish)","platform":"ubuntu",'
  .. '"codename":"jammy","arch":"x86_64"}]},"statuses":{"cID":0},"messages":{"cID":""},'
  .. '"stats":{"cID":{"wall_time_ms":5,"user_time":1,"system_time":1,"memory":1000}},"node_key":"'
request = function()
  if not is_tried then
    is_tried = true
    return wrk.format("POST", nil, headers, "{}")
  end
  is_read = reads and not is_read
  if is_read or not reads then
    key = next_key()
    if key == nil then -- who asks again has been answered: a few rounds more, and all have been
      next_key = function() end
      idle = idle + 1
      if idle == IDLE then
        wrk.thread:stop()
        io.stdout:write("ALL SENT\n")
        io.stdout:flush()
      end
    end
  end
  if is_read then
    return wrk.format("POST", "/api/osquery/distributed/read", headers, '{"node_key":"' .. (key or "") .. '"}')
  end
  return wrk.format("POST", nil, headers, answer .. (key or "") .. '"}')
end
"""


def until(is_so: Callable[[], Any], pause: float = 0.05) -> None:
    """Wait until something is so."""
    while not is_so():
        time.sleep(pause)


def node_keys(hosts: Iterable[int]) -> dict[int, str]:
    """Give the key that each of these hosts enrolled with."""
    from django.conf import settings

    from agents.inventory import installation
    from agents.models import Host
    from agents.protocol.node_key import Enrolled, NodeKeys, tag_of

    name, keys = installation.here().life.name, NodeKeys(settings.NODE_KEY_SECRETS)
    found = Host.objects.filter(pk__in=hosts) if hosts else Host.objects.all()
    identifiers = found.values_list("pk", "host_identifier").order_by("pk")
    return {
        host: keys.issue(host, 1, Enrolled(name, tag_of(identifier)))
        for host, identifier in identifiers.iterator(10_000)
    }


def launch(installed: Tiers, hosts: int) -> int:
    """Launch over all hosts through the API; print when the last one was armed."""
    from campaigns.models import Campaign

    order = {"sql": SQL, "target": {"all": True}, "timeout": 3600}
    before, began = installed.cpu(), time.perf_counter()
    campaign: int = installed.ask("POST", "/api/v1/campaigns/", order)["id"]
    said = time.perf_counter() - began
    until(lambda: Campaign.objects.filter(pk=campaign, status="running").exists(), 0.005)
    taken = time.perf_counter() - began
    print(f"{hosts:,} hosts: launch answered after {said:.2f} s, all armed after {taken:.2f} s")
    print(f"    CPU: {spent(before, installed.cpu())}", flush=True)
    return campaign


def answer(installed: Tiers, campaign: int, hosts: int, folder: Path, *, reads: bool) -> None:
    """Let every host answer; print when the last answer was stored and counted, and what that cost."""
    issued = node_keys([])
    before, began, busy = installed.cpu(), time.perf_counter(), clocks.busy_seconds()
    rounds, client = send_all(installed, campaign, issued, folder, reads=reads)
    taken, after = time.perf_counter() - began, installed.cpu()
    check(campaign, hosts)
    mine = sum(after.values()) - sum(before.values()) + client
    others = clocks.busy_seconds() - busy - mine
    what = "read and answered" if reads else "answered"
    print(f"{hosts:,} hosts {what}, all stored and counted: {taken:.1f} s, {hosts / taken:,.0f}/s, {rounds} rounds")
    print(f"    CPU: load {client:.1f}, {spent(before, after)}; all {mine:.1f} s, {mine / hosts * 1e6:.0f} µs each;")
    print(f"    {(mine + others) / taken:.0%} of a core in use, others' {others:.1f} s", flush=True)


def send_all(
    installed: Tiers, campaign: int, issued: Mapping[int, str], folder: Path, *, reads: bool
) -> tuple[int, float]:
    """Send the answer of every host until all are stored; give the rounds and the load generator's CPU seconds.

    wrk ends in the middle of what it has asked, so that the last hosts may need a round more, as agents do.
    """
    from agents.board import keyspace, redis_client
    from campaigns.models import Target
    from campaigns.states import OPEN_STATES

    keys, script = folder / "keys", folder / "answers.lua"
    filled = (
        LUA.replace("KEYS", str(keys))
        .replace("READS", str(reads).lower())
        .replace("IDLE", str(4 * CONNECTIONS))
        .replace("ID", str(campaign))
    )
    script.write_text(filled)
    left, rounds, client = list(issued), 0, 0.0
    while left:
        keys.write_text("\n".join(issued[host] for host in left))
        client += send(installed.url + WRITE, script)
        until(lambda: not redis_client.client().xlen(keyspace.STREAM))
        open_targets = Target.objects.filter(campaign=campaign, state__in=OPEN_STATES)
        left, rounds = list(open_targets.values_list("host_id", flat=True)), rounds + 1
    return rounds, client


def send(url: str, script: Path) -> float:
    """Send what the script has; give the CPU seconds of the load generator, which sleeps on until it is interrupted."""
    used = clocks.children_seconds()
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d3600", "--timeout", "30", "-s", str(script), url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        while (line := process.stdout.readline()) not in ("ALL SENT\n", ""):
            lines.append(line)
        while process.poll() is None:  # a signal before it fell asleep would be forgotten
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        said = "".join([*lines, process.stdout.read()])
    if "Non-2xx" in said:
        sys.exit(f"wrk met refusals:\n{said}")
    return clocks.children_seconds() - used


def check(campaign_id: int, hosts: int) -> None:
    """Fail unless every answer is stored and counted."""
    from campaigns.models import Campaign, Result

    campaign = Campaign.objects.get(pk=campaign_id)
    found = (campaign.count_answered, campaign.count_rows, Result.objects.filter(campaign=campaign).count())
    if found != (hosts, hosts, hosts):
        raise RuntimeError(f"{found} answers, rows and results are stored, not {hosts} of each")


def spent(before: Mapping[str, float], after: Mapping[str, float]) -> str:
    """Write what each tier used of the CPU."""
    return ", ".join(f"{name} {after[name] - before[name]:.1f}" for name in before)


def disk(hosts: int) -> None:
    """Print the bytes on disk of a target and of a result, table and indexes."""
    from django.db import connection

    sizes = []
    with connection.cursor() as cursor:
        for table in ("campaigns_target", "campaigns_result"):
            cursor.execute("SELECT pg_table_size(%s), pg_indexes_size(%s)", [table, table])
            sizes.append(" + ".join(f"{size / hosts:.0f}" for size in cursor.fetchone()))
    print(f"    on disk: {sizes[0]} bytes a target, {sizes[1]} a result (table + indexes)")


def purge(installed: Tiers, campaign: int, hosts: int) -> None:
    """Delete the campaign; print when the last of its rows was gone."""
    from django.db import connection

    def is_gone() -> bool:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM campaigns_target WHERE campaign_id = %s)"
                " OR EXISTS (SELECT FROM campaigns_result WHERE campaign_id = %s)",
                [campaign, campaign],
            )
            return not cursor.fetchone()[0]

    time.sleep(int(os.environ["LATE_ANSWER_SECONDS"]) + 2)
    before, began = installed.cpu(), time.perf_counter()
    installed.ask("DELETE", f"/api/v1/campaigns/{campaign}/")
    said = time.perf_counter() - began
    until(is_gone)
    taken = time.perf_counter() - began
    print(f"{hosts:,} hosts: gone for everybody after {said:.2f} s, the last row purged after {taken:.1f} s")
    print(f"    CPU: {spent(before, installed.cpu())}", flush=True)


def measure(hosts: int, *, reads: bool) -> None:
    """Go through the life of one campaign."""
    os.environ["LATE_ANSWER_SECONDS"] = "1"
    with (
        tempfile.TemporaryDirectory(prefix="flq-bench-") as name,
        durable_servers(hosts) as servers,
        tiers(servers, Path(name)) as installed,
    ):
        campaign = launch(installed, hosts)
        answer(installed, campaign, hosts, Path(name), reads=reads)
        disk(hosts)
        purge(installed, campaign, hosts)


def main() -> None:
    """Measure each size in a process of its own: each has servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", type=int, nargs="*", default=SIZES)
    parser.add_argument("--reads", action="store_true", help="each host reads before it answers")
    options = parser.parse_args()
    if not clocks.has("wrk"):
        return
    if len(options.targets) == 1:
        measure(options.targets[0], reads=options.reads)
        return
    for targets in options.targets:
        flags = ["--reads"] if options.reads else []
        subprocess.run([sys.executable, "-m", "tests.bench.scale", str(targets), *flags], check=True)


if __name__ == "__main__":
    main()
