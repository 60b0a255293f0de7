"""`make demo` as people use it: stopped and started again, started twice, killed, and given what it cannot use."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import TEST_ENVIRONMENT, RunningFleet, wait_for
from tests.ports import free_port
from tests.servers import open_folder

pytestmark = pytest.mark.processes


def lives(pid: int) -> bool:
    """Say whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def refused(*arguments: str, **settings: str) -> str:
    """Give what a demo says that cannot start."""
    bare = {name: value for name, value in os.environ.items() if name not in TEST_ENVIRONMENT} | settings
    command = [sys.executable, "-m", "fleet.demo", "--hosts", "0", *arguments]
    ended = subprocess.run(command, env=bare, capture_output=True, text=True, timeout=180, check=False)
    assert ended.returncode != 0
    assert "Traceback" not in ended.stderr
    return ended.stderr


def shown(folder: Path, *arguments: str) -> str:
    """Give what a demo shows at the terminal until it is at its end."""
    bare = {name: value for name, value in os.environ.items() if name not in TEST_ENVIRONMENT}
    command = [sys.executable, "-m", "fleet.demo", "--port", str(free_port()), "--data-dir", str(folder), *arguments]
    with subprocess.Popen(command, env=bare, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Ctrl-C"):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    return "".join(lines)


@pytest.mark.long
def test_only_the_first_start_asks_a_first_question() -> None:
    folder = open_folder()
    first = shown(folder, "--hosts", "3")
    second = shown(folder, "--hosts", "1")

    login = f"Login    admin / {(folder / 'admin-password').read_text()}"
    assert "os_version → 4 hosts" in first
    assert "the campaign is " in first
    assert login in first
    assert "os_version" not in second
    assert login in second
    assert "earlier campaigns: https://127.0.0.1:" in second


@pytest.mark.long
def test_a_second_start_keeps_the_data_and_the_secrets() -> None:
    folder = open_folder()
    first = RunningFleet(folder)
    first.http.post("/api/v1/labels/", json={"name": "kept"}).raise_for_status()
    pids = first.facts["pids"]
    assert set(pids) >= {"web", "worker", "sweeper", "beat", "collector", "postgres", "redis"}
    first.stop()

    assert first.process.returncode == 0
    assert not [name for name, pid in pids.items() if lives(pid)]

    second = RunningFleet(folder)
    try:
        names = [label["name"] for label in second.http.get("/api/v1/labels/").json()["results"]]
        assert "kept" in names
        same = ("username", "password", "token", "enroll_secret", "ca")
        assert [second.facts[name] for name in same] == [first.facts[name] for name in same]
    finally:
        second.stop()


@pytest.mark.long
def test_a_killed_demo_leaves_nothing_and_the_next_one_starts() -> None:
    folder = open_folder()
    first = RunningFleet(folder)
    pids = first.facts["pids"]
    first.process.kill()
    first.stop()
    wait_for(lambda: not any(map(lives, pids.values())), 90)

    second = RunningFleet(folder)  # the pid file is a stale one
    try:
        assert second.http.get("/readyz").json()["ready"] is True
        assert f"a demo runs on {folder} already: stop it (kill {second.process.pid})" in refused(
            "--data-dir", str(folder)
        )
        web = second.facts["pids"]["web"]
        os.kill(web, signal.SIGKILL)
        wait_for(lambda: "started again" in (folder / "demo.log").read_text(), 90)
    finally:
        second.stop()


@pytest.mark.long
def test_an_interrupted_first_start_is_not_in_the_way_of_the_next() -> None:
    folder = open_folder()
    bare = {name: value for name, value in os.environ.items() if name not in TEST_ENVIRONMENT}
    command = [
        sys.executable,
        "-m",
        "fleet.demo",
        "--hosts",
        "0",
        "--port",
        str(free_port()),
        "--data-dir",
        str(folder),
    ]
    first = subprocess.Popen(command, env=bare, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(folder.glob("postgres/data*/PG_VERSION")), 90)
    first.send_signal(signal.SIGTERM)

    assert first.communicate(timeout=90)[1] == ""
    assert first.returncode == 0
    RunningFleet(folder).stop()


def test_what_it_cannot_use_is_said() -> None:
    folder = open_folder()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} on 127.0.0.1 cannot be used" in refused(
            "--port", str(port), "--data-dir", str(folder / "one")
        )
    wrong = refused("--bind", "999.1.1.1", "--data-dir", str(folder / "one"))
    assert "on 999.1.1.1 cannot be used" in wrong
    assert wrong.strip().endswith("choose another with --bind")
    (folder / "file").write_text("")
    assert "cannot be written" in refused("--data-dir", str(folder / "file" / "two"))
    at = ("--port", str(free_port()), "--data-dir", str(folder / "one"))
    assert refused(*at, HOLD_SECONDS="abc").endswith("demo: HOLD_SECONDS 'abc' is no number\n")
    assert "demo: LOG_LEVEL 'LOUD' is unknown: DEBUG, INFO," in refused(*at, LOG_LEVEL="LOUD")


@pytest.mark.long
def test_people_and_hosts_reach_it_at_an_ipv6_address() -> None:
    fleet = RunningFleet(open_folder(), "--bind", "::1", "--hosts", "2")
    try:
        assert fleet.facts["console"].startswith("https://[::1]:")
        assert fleet.http.get("/login/").status_code == 200
        wait_for(lambda: fleet.hosts() == 3, 90)
    finally:
        fleet.stop()


def test_secrets_are_for_their_owner_only(running_fleet: RunningFleet) -> None:
    folder = Path(running_fleet.facts["data_dir"])
    secret = [running_fleet.facts[name] for name in ("password", "token", "enroll_secret")]

    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if any(each.encode() in content for each in secret) or b"PRIVATE KEY" in content:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_log_lines_of_agents_are_kept_in_the_data_directory(running_fleet: RunningFleet) -> None:
    folder = Path(running_fleet.facts["data_dir"])
    enroll = {"enroll_secret": running_fleet.facts["enroll_secret"], "host_identifier": "writes-logs"}
    key = running_fleet.http.post("/api/osquery/enroll", json=enroll).json()["node_key"]
    line = {"name": "kept by the demo"}

    answer = running_fleet.http.post(
        "/api/osquery/log", json={"node_key": key, "log_type": "result", "data": [line]}
    ).json()

    assert answer == {}
    assert json.dumps(line, separators=(",", ":")) in (folder / "agent-logs.ndjson").read_text()
    assert not any("LOG_SINK" in warning for warning in running_fleet.http.get("/api/v1/status/").json()["warnings"])


def test_every_file_is_for_its_owner_only(running_fleet: RunningFleet) -> None:
    folder = Path(running_fleet.facts["data_dir"])
    wait_for(lambda: list(folder.glob("beat-schedule*")), 90)

    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "demo.log"]  # that is the test's own
    assert [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []
