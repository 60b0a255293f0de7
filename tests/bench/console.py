"""`python -m tests.bench.console`: the console's pages over 20,000 hosts and a campaign of 200,000 rows.

The rows are inserted, the server is the real one in a process of its own, the browser is chromium; ends by itself.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import islice

import tests.servers

os.environ |= {"DJANGO_SETTINGS_MODULE": "fleet.settings", "SECURE_COOKIES": "0"}

import django

django.setup()

import psutil
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from playwright.sync_api import Page, sync_playwright

from agents.board import rebuilding
from agents.models import Host, Label, LabelMembership, Presence
from campaigns.console import assets
from campaigns.launching.launch import Order, launch
from campaigns.models import Campaign, Query, Result, Target
from campaigns.running.targeting import write_range
from campaigns.states import State, Status
from tests.bench import console_grid
from tests.ports import free_port

HOSTS, ROWS_OF_HOST, EARLIER, ROUNDS = 20_000, 10, 80, 3
PASSWORD = "a long one for the bench"
WIDE_HOSTS, COLUMNS = 200, 500
SQL = "SELECT pid, name, path, on_disk FROM processes"
COLUMNS_OF_SQL = ("pid", "name", "path", "on_disk")
NAMES = ("systemd", "sshd", "bash", "python3", "nginx", "postgres", "cron", "dbus-daemon", "agetty", "osqueryd")
AIMS = {"first byte": 300, "elements": 3_000, "key": 50, "groups": 1_000}  # ms, but elements


def seed() -> tuple[Campaign, Campaign, Campaign]:
    """Insert the fleet, what belongs to it, and campaigns of 200,000 rows, of 1,000,000 rows and of 500 columns."""
    now, by = timezone.now(), User.objects.create_superuser("bench", password=PASSWORD)
    platforms = ("linux", "linux", "darwin", "windows")
    hosts = Host.objects.bulk_create(
        Host(
            host_identifier=f"uuid-{number}",
            hostname=f"{platforms[number % 4]}-{number:05}.example.net",
            platform=platforms[number % 4],
            os_version="12",
            osquery_version="5.23.0",
            physical_memory=2**34,
        )
        for number in range(HOSTS)
    )
    ago = (timedelta(seconds=random.choice((1, 1, 1, 7_200))) for _ in hosts)
    Presence.objects.bulk_create(
        Presence(host=host, last_seen=now - late) for host, late in zip(hosts, ago, strict=True)
    )
    for number in range(40):
        label = Label.objects.create(name=f"label {number}", description="of the bench")
        LabelMembership.objects.bulk_create(LabelMembership(label=label, host=host) for host in hosts[number::40])
    Query.objects.bulk_create(Query(name=f"query {number}", sql=SQL, created_by=by) for number in range(200))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    for number in range(EARLIER):
        earlier = _launched(Order(SQL, {"hosts": [hosts[number].pk]}, 60, f"earlier {number}"), by)
        _answer(earlier, hosts[number : number + 1])
    campaign = _launched(Order(SQL, {"all": True}, 3600, "everybody's processes"), by)
    _answer(campaign, hosts)
    long = _launched(Order(SQL, {"all": True}, 3600, "a million rows"), by)
    _answer(long, hosts, 50)
    wide = _launched(Order(SQL, {"hosts": [host.pk for host in hosts[:WIDE_HOSTS]]}, 3600, "500 columns"), by)
    _answer(wide, hosts[:WIDE_HOSTS], columns=[f"column {number}" for number in range(COLUMNS)])
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return campaign, long, wide


def _launched(order: Order, by: User) -> Campaign:
    campaign = launch(order, by)
    for number in list(campaign.ranges.values_list("number", flat=True)):
        write_range(campaign.pk, number)
    campaign.refresh_from_db()
    return campaign


def _answer(
    campaign: Campaign, hosts: list[Host], row_count: int = ROWS_OF_HOST, columns: Sequence[str] = COLUMNS_OF_SQL
) -> None:
    """Store an answer of each host as the collector leaves it, and end the campaign."""
    now = timezone.now()
    results = (
        Result(
            campaign=campaign,
            host=host,
            hostname=host.hostname,
            seq=seq,
            state=State.ANSWERED,
            rows=[_row(seq, number, columns) for number in range(row_count)],
            row_count=row_count,
            received_at=now,
        )
        for seq, host in enumerate(hosts, 1)
    )
    for part in batched(results, 2_000):
        Result.objects.bulk_create(part)
    changes = {"state": State.ANSWERED, "answered_at": now, "row_count": row_count, "wall_ms": 12, "deliveries": 1}
    Target.objects.filter(campaign=campaign).update(**changes)
    campaign.move(State.WAITING, State.ANSWERED, len(hosts))
    campaign.count_rows, campaign.last_seq = len(hosts) * row_count, len(hosts)
    campaign.columns = list(columns)
    campaign.status, campaign.ended_at, campaign.closed_at, campaign.closed_entry = Status.COMPLETED, now, now, "0-0"
    campaign.save_counts("columns", "last_seq", "status", "ended_at", "closed_at", "closed_entry")


def _row(seq: int, number: int, columns: Sequence[str]) -> dict[str, str]:
    if columns is not COLUMNS_OF_SQL:
        return {column: f"{seq} {number} {column}" for column in columns}
    name = NAMES[number % len(NAMES)]
    return {"pid": str(seq % 97 * 300 + number), "name": name, "path": f"/usr/bin/{name}", "on_disk": "1"}


def batched(items: Iterator[Result], size: int) -> Iterator[list[Result]]:
    """Cut what may be long into lists."""
    while part := list(islice(items, size)):
        yield part


@contextmanager
def served() -> Iterator[tuple[str, psutil.Process]]:
    """Serve the whole application, in a process of its own: give its address and the process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "DATABASE_URL": os.environ["DATABASE_URL"]}
    command = [sys.executable, "-m", "fleet.serve", "application", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            with suppress(OSError):
                urllib.request.urlopen(f"{url}/livez", timeout=5).close()  # noqa: S310 - our own address
                break
            time.sleep(0.1)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(20)


MEASURES = """() => {
  const [shown] = performance.getEntriesByType("navigation");
  return {first: shown.responseStart - shown.requestStart, load: shown.loadEventEnd - shown.startTime,
          elements: document.querySelectorAll("*").length};
}"""
# From the key to the frame after it: what a person at the keyboard waits for.
KEY = """(field) => new Promise((done) => {
  field.focus();
  const begun = performance.now();
  field.value += "s";
  field.dispatchEvent(new InputEvent("input", {bubbles: true, data: "s"}));
  requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun)));
})"""


def measure(page: Page, path: str) -> tuple[float, float, int, float, float | None]:
    """Load a page several times: first byte, load, elements, heap in MiB, and a key in its search field."""
    found, heaps = [], []
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")
    for _ in range(ROUNDS):
        answer = page.goto(path)
        assert answer is not None
        assert answer.ok, f"{path} answers {answer.status}"
        page.wait_for_load_state("networkidle")
        found.append(page.evaluate(MEASURES))
        metrics = {entry["name"]: entry["value"] for entry in session.send("Performance.getMetrics")["metrics"]}
        heaps.append(metrics["JSHeapUsedSize"] / 2**20)
    search = page.locator("main input[type=search]:visible")
    key = statistics.median(search.first.evaluate(KEY) for _ in range(ROUNDS)) if search.count() else None
    middle = {name: statistics.median(one[name] for one in found) for name in ("first", "load", "elements")}
    return middle["first"], middle["load"], int(middle["elements"]), statistics.median(heaps), key


def fetched(page: Page, path: str) -> float:
    """Give the milliseconds until an answer is here as a whole, of several the middle one."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        answer = page.request.get(path)
        assert answer.ok, f"{path} answers {answer.status}"
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def cpu_of(page: Page, process: psutil.Process, path: str) -> float:
    """Give the milliseconds of CPU that the server's own processes take for the document, of several the mean.

    What PostgreSQL takes is not in it. Clocks tick every 10 ms, hence the many rounds.
    """
    rounds = 10
    before = _cpu(process)
    for _ in range(rounds):
        page.request.get(path)
    return (_cpu(process) - before) * 1000 / rounds


def _cpu(process: psutil.Process) -> float:
    clocks = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(clock.user + clock.system for clock in clocks)


def report(url: str, process: psutil.Process, campaigns: tuple[Campaign, Campaign, Campaign]) -> None:
    """Log in, walk the pages, print the tables."""
    campaign, long, wide = campaigns
    host, label, query = Host.objects.latest("pk"), Label.objects.get(name="label 7"), Query.objects.latest("pk")
    whole = f"/campaigns/{campaign.pk}/"
    pages = {
        "home": "/",
        "ask": "/ask/",
        "campaigns": "/campaigns/",
        "campaign of 200,000 rows": whole,
        "hosts": "/hosts/",
        "hosts, searched": "/hosts/?search=19777",
        "host": f"/hosts/{host.pk}/",
        "labels": "/labels/",
        "label of 500 hosts": f"/labels/{label.pk}/",
        "queries": "/queries/",
        "query": f"/queries/{query.pk}/",
        "settings": "/settings/",
        "admin, start": "/admin/",
        "admin, hosts": "/admin/agents/host/",
        "admin, results": "/admin/campaigns/result/",
    }
    parts = {
        "groups of 200,000 rows by one column": f"{whole}groups/?by=name",
        "groups of whole rows": f"{whole}groups/",
        "targets, first page": f"{whole}hosts/",
        "rows of the API, first thousand": f"/api/v1{whole}rows/?limit=1000",
        "Ctrl-K": "/find/?q=19777",
        "targets to choose": "/ask/find/?find=19777",
        "groups of 1,000,000 rows by one column": f"/campaigns/{long.pk}/groups/?by=name",
    }
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_context(base_url=url, viewport={"width": 1440, "height": 900}).new_page()
        page.goto("/login/")
        page.fill("#id_username", "bench")
        page.fill("#id_password", PASSWORD)
        page.click("button[type=submit]")
        print("| page | first byte | its CPU | load | elements | heap | a key |\n|---|---|---|---|---|---|---|")
        for name, path in pages.items():
            first, load, elements, heap, key = measure(page, path)
            pressed = "" if key is None else f"{key:.0f} ms"
            cpu = cpu_of(page, process, path)
            columns = (
                f"{first:.0f} ms",
                f"{cpu:.0f} ms",
                f"{load:.0f} ms",
                f"{elements:,}",
                f"{heap:.1f} MiB",
                pressed,
            )
            print(f"| {name} | {' | '.join(columns)} |", flush=True)
        print("\n| fetched by a page | whole answer |\n|---|---|")
        for name, path in parts.items():
            print(f"| {name} | {fetched(page, path):.0f} ms |", flush=True)
        console_grid.report(page, {"200,000 rows": campaign, "1,000,000 rows": long, "500 columns": wide})
        browser.close()
    print(f"\nAims: {', '.join(f'{what} {most:,}' for what, most in AIMS.items())}. Load {os.getloadavg()[0]:.1f}.")


def main() -> None:
    """Seed, serve, measure."""
    assets.build()
    call_command("migrate", verbosity=0)
    rebuilding.finish({})
    begun = time.monotonic()
    campaigns = seed()
    rows = sum(campaign.count_rows for campaign in campaigns)
    print(f"{HOSTS:,} hosts and {rows:,} rows inserted in {time.monotonic() - begun:.0f} s", flush=True)
    with served() as (url, process):
        report(url, process, campaigns)


if __name__ == "__main__":
    try:
        main()
    finally:
        connection.close()
        tests.servers.pytest_unconfigure(None)  # type: ignore[arg-type]
