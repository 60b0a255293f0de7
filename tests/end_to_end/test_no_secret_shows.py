"""Secrets of a real run show nowhere: in no log, page, error, export, audit, figure, nor what the doctor says."""

import os
import re
import subprocess
import sys
from pathlib import Path
from secrets import token_urlsafe
from urllib.parse import urlsplit

import httpx
import pytest

from tests.end_to_end.conftest import TEST_ENVIRONMENT, RunningFleet, wait_for
from tests.servers import open_folder

pytestmark = [pytest.mark.lengthy, pytest.mark.processes]

PAGES = (
    "/", "/settings/", "/people/", "/tokens/", "/tokens/all/", "/account/", "/sessions/", "/audit/", "/hosts/",
    "/campaigns/", "/admin/", "/admin/campaigns/apitoken/", "/admin/agents/enrollsecret/",
    "/admin/agents/enrollsecret/1/change/", "/admin/audit/auditevent/", "/admin/agents/host/", "/admin/auth/user/",
    "/admin/auth/user/1/change/",
    "/admin/agents/configdocument/", "/admin/campaigns/auditrecord/", "/nowhere/", "/admin/nowhere/",
)  # fmt: skip
OF_API = (
    "status/", "tokens/", "enroll-secrets/", "hosts/", "campaigns/", "campaigns/{0}/", "campaigns/{0}/results/",
    "campaigns/{0}/export.csv", "campaigns/{0}/export.ndjson", "campaigns/{0}/export.json", "campaigns/{0}/targets.csv",
    "audit/", "audit.ndjson", "campaigns/?nonsense=1", "nowhere/",
)  # fmt: skip


def browser_of(fleet: RunningFleet) -> httpx.Client:
    """Give a browser that is signed in nowhere yet."""
    return httpx.Client(base_url=fleet.facts["console"], verify=fleet.trust, timeout=30, follow_redirects=True)


def sign_in(browser: httpx.Client, fleet: RunningFleet) -> None:
    """Sign the administrator in."""
    form = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/login/").text)
    assert form is not None
    given = {"username": fleet.facts["username"], "password": fleet.facts["password"], "csrfmiddlewaretoken": form[1]}
    told = browser.post("/login/", data=given, headers={"Referer": fleet.facts["console"]})
    assert told.url.path != "/login/", told.text


def environment_of(folder: Path) -> dict[str, str]:
    """Give what the demo's processes are started with."""
    return dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines() if "=" in line)


def planted(fleet: RunningFleet, folder: Path, figures: str) -> dict[str, str]:
    """Give every secret of this run, and wrong ones that people might mistype, by what they are."""
    known = environment_of(folder)
    found = {name: known[name] for name in ("SECRET_KEY", "NODE_KEY_SECRETS")}
    found |= {f"password in {name}": urlsplit(known[name]).password or "" for name in ("DATABASE_URL", "REDIS_URL")}
    found |= {name: fleet.facts[name] for name in ("password", "token", "enroll_secret")}
    wrong = {
        f"wrong {name}": f"wrong-{token_urlsafe(20)}" for name in ("password", "token", "enroll secret", "node key")
    }
    return {name: value for name, value in {**found, **wrong, "METRICS_TOKEN": figures}.items() if value}


def test_no_secret_of_a_real_run_shows_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    figures, folder = f"figures-{token_urlsafe(20)}", open_folder()
    monkeypatch.setenv("METRICS_TOKEN", figures)
    fleet = RunningFleet(folder)
    try:
        secret = planted(fleet, folder, figures)
        assert len(secret) >= 11, sorted(secret)
        said = _use(fleet, secret)
        said["the doctor"] = _doctor(folder, figures)
    finally:
        fleet.stop()
    said |= {str(file.relative_to(folder)): file.read_text(errors="replace") for file in folder.rglob("*.log")}

    shown = [f"{name} in {where}" for where, text in said.items() for name, value in secret.items() if value in text]
    assert shown == []
    assert "demo.log" in said


def _use(fleet: RunningFleet, secret: dict[str, str]) -> dict[str, str]:
    """Enroll, ask, guess and look at every page; give what was told, by where."""
    agent, said = fleet.facts["console"], {}
    offered = {"enroll_secret": fleet.facts["enroll_secret"], "host_identifier": "planted"}
    key = fleet.http.post(f"{agent}/api/v1/osquery/enroll", json=offered).json()["node_key"]
    secret["node key"] = key
    wrong = {**offered, "enroll_secret": secret["wrong enroll secret"]}
    said["a wrong enroll secret"] = fleet.http.post(f"{agent}/api/v1/osquery/enroll", json=wrong).text
    number = fleet.launch("SELECT 1 AS one", target={"all": True})["id"]
    reading = {"node_key": key}
    wait_for(
        lambda: fleet.http.post(f"{agent}/api/v1/osquery/distributed/read", json=reading).json().get("queries"), 90
    )
    said["a wrong node key"] = fleet.http.post(
        f"{agent}/api/v1/osquery/distributed/read", json={"node_key": secret["wrong node key"]}
    ).text
    head = {"Authorization": f"Bearer {secret['wrong token']}"}
    said["a wrong token"] = fleet.http.get("/api/v1/hosts/", headers=head).text
    said["figures asked wrongly"] = fleet.http.get("/metrics", headers=head).text
    head = {"Authorization": f"Bearer {secret['METRICS_TOKEN']}"}
    said["figures"] = fleet.http.get("/metrics", headers=head).text
    with browser_of(fleet) as browser:
        sign_in(browser, fleet)
        said |= {path: browser.get(path).text for path in PAGES}
        form = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', browser.get("/settings/").text)
        assert form is not None
        guess = {"password": secret["wrong password"], "csrfmiddlewaretoken": form[1]}
        said["a wrong password"] = browser.post("/confirm/", data=guess, headers={"Referer": agent}).text
    said |= {path: fleet.http.get(f"/api/v1/{path.format(number)}").text for path in OF_API}
    assert '"enroll_secret.' in said["audit.ndjson"] or "campaign.launched" in said["audit.ndjson"]
    return said


def _doctor(folder: Path, figures: str) -> str:
    bare = {name: value for name, value in os.environ.items() if name not in TEST_ENVIRONMENT}
    environment = {**bare, **environment_of(folder), "METRICS_TOKEN": figures}
    done = subprocess.run(
        [sys.executable, "manage.py", "doctor"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout
    return done.stdout + done.stderr
