"""`python -m tests.bench.many`: many launches at once, many viewers of one campaign, pages of long lists.

The whole installation runs as in the demo, but without TLS, on the same cores as the load; every tier's CPU comes from
its own clock. Loopback only, ends by itself.
"""

import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from websockets.asyncio.client import connect

from tests.bench import clocks
from tests.bench.analysis import fill
from tests.bench.durable import durable_servers
from tests.bench.scale import READ, SQL, node_keys, send_all, spent, until
from tests.bench.tiers import Tiers, tiers

HOSTS = 100_000
LAUNCHES, AT_ONCE = 200, 32
VIEWERS, VIEWED = 200, 5_000  # hosts of the campaign that is looked at
ROUNDS = 100
IDLE = r"""
local keys, place = {}, 0
for key in io.lines("KEYS") do keys[#keys + 1] = key end
request = function()
  place = place % #keys + 1
  return wrk.format("POST", nil, {["Content-Type"] = "application/json"}, '{"node_key":"' .. keys[place] .. '"}')
end
"""
PAUSED = "delay = function() return PAUSE end\n"  # milliseconds
PACED = 100  # connections, each of which asks ten times a second: 10,000 hosts that ask every ten seconds
PAGES = {  # of 1,000,000 rows; {} is another number each time
    "rows/, the first pages": "rows/?limit=100&offset={}00",
    "rows/, a page far away": "rows/?limit=100&offset={}0000",
    "rows/, one value": "rows/?limit=100&where=name:process-{}",
    "rows/, sorted": "rows/?limit=100&order=pid&offset={}",
    "groups/, one column": "groups/?by=name&limit=100&offset={}",
    "targets/": "targets/?limit=100&offset={}0000",
    "targets/, one host": "targets/?search=bench-{}",
}


# --- launches ---------------------------------------------------------------------------------------------------


def launches(installed: Tiers, folder: Path) -> None:
    """Launch over one host each, many at once; then again while others check in, whose rate is compared."""
    keys = folder / "others"
    keys.write_text("\n".join(node_keys(range(HOSTS - 5_000, HOSTS)).values()))
    seconds = max(2, round(_launch_all(installed, first=1)))
    with installed.own_gateway(folder) as gateway:
        for agents, where in ((installed, "by the same process"), (gateway, "by a gateway of its own")):
            for pace, (connections, pause) in {"as fast as they can": (16, 0), "1,000 a second": (PACED, 100)}.items():
                alone = _check_ins(agents, keys, seconds, connections, pause)
                with ThreadPoolExecutor(1) as pool:
                    beside = pool.submit(_check_ins, agents, keys, seconds, connections, pause)
                    _launch_all(installed, first=1)
                    found = beside.result()
                print(f"check-ins of others, {where}, {pace}, {seconds} s:")
                print(f"    {alone.rate:,.0f}/s alone, {found.rate / alone.rate:.2f} of it beside launches (aim 0.9);")
                print(f"    99 of 100 within {alone.slow} alone, {found.slow} beside", flush=True)


def _launch_all(installed: Tiers, first: int) -> float:
    from campaigns.models import Campaign

    def launch(host: int) -> float:
        began = time.perf_counter()
        order = {"sql": SQL, "target": {"hosts": [host]}, "timeout": 600}
        installed.ask("POST", "/api/v1/campaigns/", order)
        return time.perf_counter() - began

    armed = Campaign.objects.filter(status="running")
    wanted = armed.count() + LAUNCHES
    with ThreadPoolExecutor(AT_ONCE) as pool:
        before, own, began = installed.cpu(), time.process_time(), time.perf_counter()
        times = sorted(pool.map(launch, range(first, first + LAUNCHES)))
        said = time.perf_counter() - began
        until(lambda: armed.count() == wanted)
        taken = time.perf_counter() - began
    print(
        f"{LAUNCHES} launches of one host, {AT_ONCE} at a time: answered after {said:.2f} s, armed after {taken:.2f} s"
    )
    print(f"    (aim 2 s); each: median {statistics.median(times):.2f}, slowest {times[-1]:.2f} s")
    print(f"    CPU: {spent(before, installed.cpu())}, who asks {time.process_time() - own:.1f}", flush=True)
    return taken


class CheckIns(NamedTuple):
    """How many a second, and within what time nearly all of them were answered."""

    rate: float
    slow: str


def _check_ins(agents: Tiers, keys: Path, seconds: int, connections: int, pause: int) -> CheckIns:
    """Check in on so many connections, each so many milliseconds after the answer before."""
    script = keys.with_suffix(".lua")
    paused = PAUSED.replace("PAUSE", str(pause)) if pause else ""
    script.write_text(IDLE.replace("KEYS", str(keys)) + paused)
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "-s", str(script), agents.url + READ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate, slow = re.search(r"Requests/sec:\s+([\d.]+)", said), re.search(r"99%\s+(\S+)", said)
    if rate is None or slow is None or "Non-2xx" in said:
        sys.exit(f"wrk met refusals:\n{said}")
    return CheckIns(float(rate[1]), slow[1])


# --- viewers ----------------------------------------------------------------------------------------------------


def viewers(installed: Tiers, folder: Path) -> None:
    """Let a campaign be answered before nobody, then before many: what each viewer costs the web server's CPU."""
    keys = node_keys(range(1, VIEWED + 1))
    nobody = asyncio.run(_watched(installed, folder, keys, 0))
    many = asyncio.run(_watched(installed, folder, keys, VIEWERS))
    each = (many - nobody) / VIEWERS
    print(f"{VIEWED:,} answers: web {nobody:.1f} CPU-seconds before nobody, {many:.1f} before {VIEWERS} viewers:")
    print(f"    {each * 1000:.1f} ms a viewer, {each / VIEWED * 1e6:.1f} µs of them an answer", flush=True)


async def _watched(installed: Tiers, folder: Path, keys: Mapping[int, str], many: int) -> float:
    """Give the CPU seconds of the web server until each of so many viewers has heard of the end."""
    order = {"sql": SQL, "target": {"hosts": list(keys)}, "timeout": 600}
    campaign: int = installed.ask("POST", "/api/v1/campaigns/", order)["id"]
    until(lambda: installed.ask("GET", f"/api/v1/campaigns/{campaign}/")["status"] == "running")
    before = clocks.cpu_of(installed.pids["web"])
    watching = [asyncio.create_task(_watch(installed, campaign)) for _ in range(many)]
    sending = asyncio.to_thread(send_all, installed, campaign, keys, folder, reads=False)
    await asyncio.gather(sending, *watching)
    until(lambda: installed.ask("GET", f"/api/v1/campaigns/{campaign}/")["status"] == "completed")
    return clocks.cpu_of(installed.pids["web"]) - before


async def _watch(installed: Tiers, campaign: int) -> None:
    url = installed.url.replace("http", "ws") + f"/ws/campaigns/{campaign}/"
    headers = {"Authorization": f"Bearer {installed.token}"}
    async with connect(url, additional_headers=headers, max_size=None) as socket:
        async for message in socket:
            if b'"ended"' in (message.encode() if isinstance(message, str) else message):
                return


# --- pages ------------------------------------------------------------------------------------------------------


def pages(installed: Tiers) -> None:
    """Ask for pages of 1,000,000 rows over all hosts, one after the other."""
    campaign: Any = fill(0)
    for name, page in PAGES.items():
        times = []
        for number in range(ROUNDS):
            began = time.perf_counter()
            installed.ask("GET", f"/api/v1/campaigns/{campaign.pk}/{page.format(number)}")
            times.append((time.perf_counter() - began) * 1000)
        slow = statistics.quantiles(times, n=20)[-1]
        print(f"{name}: median {statistics.median(times):.0f} ms, p95 {slow:.0f} ms (aim 300)", flush=True)


def main() -> None:
    """Run all."""
    if not clocks.has("wrk"):
        return
    unlimited = ("API_REQUESTS_OF_TOKEN", "API_REQUESTS_OF_PERSON", "SOCKETS_OF_TOKEN", "SOCKETS_OF_PERSON")
    os.environ |= {"HOLD_SECONDS": "0", **{f"{name}_PER_MINUTE": "0" for name in unlimited}}
    with (
        tempfile.TemporaryDirectory(prefix="flq-bench-") as name,
        durable_servers(HOSTS) as servers,
        tiers(servers, Path(name)) as installed,
    ):
        launches(installed, Path(name))
        viewers(installed, Path(name))
        pages(installed)


if __name__ == "__main__":
    main()
