"""`python -m tests.bench.screenshots`: the pictures of docs/, from a demo of its own with pretend hosts."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, Page, sync_playwright

from tests.ports import free_port

DOCS = Path(__file__).parents[2] / "docs"
HOSTS = 120
QUESTIONS = (
    ("What listens for connections?", "SELECT name, port, address FROM listening_ports JOIN processes USING (pid)"),
    ("Which systems are there?", "SELECT name, version, platform FROM os_version"),
    ("Which processes run?", "SELECT pid, name, path FROM processes"),
)
DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


RULE = {
    "group": "Operator",
    "hosts_above": 500,
    "tables": ["shadow", "certificates"],
    "hours": [{"days": ["sat", "sun"], "from": "00:00", "to": "24:00", "zone": "Europe/Berlin"}],
}


@contextmanager
def demo() -> Iterator[dict[str, Any]]:
    """Run a demo, and give what it says of itself."""
    folder = tempfile.mkdtemp(prefix="flq-pictures-")
    Path(folder).chmod(0o711)
    command = [sys.executable, "-m", "fleet.demo", "--json", "--hosts", str(HOSTS), "--port", str(free_port())]
    process = subprocess.Popen([*command, "--data-dir", folder], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(60)
        shutil.rmtree(folder, ignore_errors=True)


def ask(facts: dict[str, Any]) -> tuple[int, int]:
    """Ask some questions, wait for their answers, and give the last campaign and a schedule."""
    headers = {"Authorization": f"Bearer {facts['token']}"}
    with httpx.Client(base_url=facts["console"], headers=headers, verify=facts["ca"], timeout=120) as http:
        deadline = time.monotonic() + 120
        while http.get("/api/v1/hosts/?limit=1").json()["count"] < HOSTS and time.monotonic() < deadline:
            time.sleep(1)
        for name, sql in QUESTIONS:
            kept = http.post("/api/v1/queries/", json={"name": name, "sql": sql})
            kept.raise_for_status()
            order = {"sql": sql, "name": name, "target": {"all": True}, "timeout": 60}
            asked = http.post("/api/v1/campaigns/?wait=60", json=order)
            asked.raise_for_status()
        last = int(http.get("/api/v1/campaigns/?limit=1").json()["results"][0]["id"])
        hourly = {"query": kept.json()["id"], "every": 60, "target": {"all": True}}
        schedule = http.post("/api/v1/schedules/", json=hourly)
        run = http.post(f"/api/v1/schedules/{schedule.json()['id']}/run/")
        for made in (schedule, run, http.post("/api/v1/approval-rules/", json=RULE)):
            made.raise_for_status()
        return last, int(schedule.json()["id"])


def take(page: Page, facts: dict[str, Any], name: str, path: str) -> None:
    """Take one picture."""
    page.goto(facts["console"] + path)
    page.wait_for_load_state("load")
    page.wait_for_timeout(1_500)  # pages follow what runs and are never idle; grids and charts have drawn by then
    target = DOCS / f"{name}.png"
    page.screenshot(path=target)
    print(f"{target.name} {target.stat().st_size // 1024} KiB")


def log_in(context: BrowserContext, facts: dict[str, Any]) -> Page:
    page = context.new_page()
    page.goto(f"{facts['console']}/login/")
    page.fill("#id_username", facts["username"])
    page.fill("#id_password", facts["password"])
    page.click("button[type=submit]")
    return page


def main() -> None:
    """Take them all."""
    with demo() as facts, sync_playwright() as driver:
        campaign, schedule = ask(facts)
        pages = {
            "home": "/",
            "ask": f"/ask/?campaign={campaign}",
            "campaign": f"/campaigns/{campaign}/",
            "campaigns": "/campaigns/",
            "hosts": "/hosts/",
            "host": "/hosts/5/",
            "schedule": f"/schedules/{schedule}/",
            "rules": "/people/rules/",
            "settings": "/settings/",
            "admin": "/admin/",
        }
        browser = driver.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for size, scheme, suffix, taken in (
            (DESK, "light", "", pages),
            (DESK, "dark", "-dark", {"campaign": pages["campaign"]}),
            (PHONE, "light", "-phone", {"campaign": pages["campaign"], "home": pages["home"]}),
        ):
            context = browser.new_context(ignore_https_errors=True, viewport=size, color_scheme=scheme)
            page = log_in(context, facts)
            for name, path in taken.items():
                take(page, facts, name + suffix, path)
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
