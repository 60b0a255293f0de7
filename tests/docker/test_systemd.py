"""The units of docker/systemd, as far as they are looked at without systemd as the first process."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docker.containers import DOCKER, ROOT, read_compose, read_env_file, read_unit, unit_command, words

UNITS = sorted(path.name for path in (DOCKER / "systemd").glob("*.service"))
COMPOSE = read_compose()["services"]
ROLES = sorted(
    {name for name, service in COMPOSE.items() if service["image"] == "fleet-live-queries"} - {"gateway", "console"}
)
PLACE = "/opt/fleet-live-queries"
INTERPRETER = f"{PLACE}/.venv/bin/"
needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd is not here (Debian has it)"
)


def analyzed(tmp_path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Let systemd-analyze look at the units, as if they were installed, with programs of here."""
    folder = tmp_path / "units"
    shutil.copytree(DOCKER / "systemd", folder, dirs_exist_ok=True)
    here = tmp_path / "here"  # by a name that units need not quote
    here.symlink_to(ROOT)
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_text(file.read_text().replace(PLACE, str(here)))
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{folder}:"}
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment, cwd=folder)


@needs_systemd
@pytest.mark.parametrize("is_behind_nginx", [False, True])
def test_systemd_finds_nothing_to_say_of_the_units(tmp_path: Path, *, is_behind_nginx: bool) -> None:
    if is_behind_nginx:
        (tmp_path / "units" / "fleet-web.service.d").mkdir(parents=True)
        shutil.copy(DOCKER / "systemd" / "behind-nginx.conf", tmp_path / "units" / "fleet-web.service.d")

    looked = analyzed(tmp_path, "verify", "fleet.target", *UNITS)

    assert (looked.returncode, looked.stdout + looked.stderr) == (0, "")


@needs_systemd
def test_a_mistake_in_a_unit_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "units" / "fleet-beat.service.d").mkdir(parents=True)
    (tmp_path / "units" / "fleet-beat.service.d" / "wrong.conf").write_text("[Service]\nRestrat=always\n")

    assert "Restrat" in analyzed(tmp_path, "verify", "fleet-beat.service").stderr


@needs_systemd
@pytest.mark.parametrize("unit", UNITS)
def test_every_unit_is_little_exposed(unit: str, tmp_path: Path) -> None:
    looked = analyzed(tmp_path, "security", "--offline=yes", "--threshold=16", unit)

    assert looked.returncode == 0, looked.stdout.strip().splitlines()[-1:]


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_may_what_it_is_given(unit: str) -> None:
    """The drop-in is read last: what it empties is empty, whatever the unit says."""
    shared, own = ((DOCKER / "systemd" / name).read_text() for name in ("fleet-.service.d/all.conf", unit))
    bounds = re.findall(r"^CapabilityBoundingSet=(.*)$", own, re.MULTILINE)
    ambient = re.findall(r"^AmbientCapabilities=(.*)$", own, re.MULTILINE)

    assert "Capabilit" not in shared
    assert bounds == (ambient or [""])


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_starts_what_compose_starts(role: str) -> None:
    """Gateway and console are one web here. What compose.yml says is run by tests/docker/test_containers.py."""
    program, *arguments = unit_command(f"fleet-{role}.service")
    theirs = words(COMPOSE[role]["command"])

    assert program.startswith(INTERPRETER)
    assert [program.removeprefix(INTERPRETER), *arguments] == theirs


def test_the_target_starts_every_unit_again_until_it_runs() -> None:
    """PostgreSQL may be away at boot: with Wants alone, units whose migration failed once would stay down for good."""
    kept_up = re.search(r"^Upholds=(.*)$", (DOCKER / "systemd" / "fleet.target").read_text(), re.MULTILINE)

    assert kept_up is not None
    assert {*kept_up[1].split(), "fleet-migrate.service"} == set(UNITS)
    assert read_unit("fleet-migrate.service")["StartLimitIntervalSec"] == ["0"]


def test_what_is_built_with_is_kept_where_a_restart_of_the_machine_leaves_it() -> None:
    """A new version is built by the programs of the first: /tmp is emptied at boot."""
    commands = re.findall(r"^    .*$", (ROOT / "docs" / "install.md").read_text(), re.MULTILINE)

    used = {program for line in commands for program in re.findall(r"(\S+)/bin/(?:pip|python)\b", line)}
    assert used == {".venv", "/opt/fleet-build"}
    assert len([line for line in commands if "/opt/fleet-build/bin/pip install" in line]) == 2


def test_the_document_writes_the_configuration_of_nginx() -> None:
    """What it says to run gives what tests/campaigns/operating/test_proxies.py starts, with the files of here."""
    text = (ROOT / "docs" / "install.md").read_text()
    found = re.search(r"^    (sed -n (?:.*\\\n)*.*) > /etc/nginx/nginx\.conf$", text, re.MULTILINE)
    assert found is not None

    written = subprocess.run(["sh", "-c", found[1]], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    block = re.search(r"```nginx\n(.*?)```", (ROOT / "docs" / "proxies.md").read_text(), re.DOTALL)
    assert block is not None
    plain = [line for line in block[1].splitlines() if not line.endswith("# mutual TLS")]
    there = {"/etc/fleet/": "/etc/fleet-live-queries/", "fleet.example.org": "YOUR.ADDRESS"}
    for old, new in there.items():
        plain = [line.replace(old, new) for line in plain]
    assert written.splitlines() == plain
    installed = {f"/etc/fleet-live-queries/{name}" for name in ("server.pem", "server-key.pem")}
    assert set(re.findall(r"/etc/fleet-live-queries/\S+\.pem", written)) == installed


def test_each_unit_is_handed_its_own_secrets_alone() -> None:
    handed = {unit: {each.partition(":")[0] for each in read_unit(unit)["LoadCredential"]} for unit in UNITS}

    assert handed.pop("fleet-web.service") >= {"secret_key", "node_key_secrets", "redis_password"}
    assert all(each == {"redis_password"} for each in handed.values())


def test_each_unit_shows_its_figures_at_a_port_of_its_own_which_the_document_names() -> None:
    given = {
        unit: dict(pair.split("=", 1) for line in read_unit(unit)["Environment"] for pair in line.split())
        for unit in UNITS
        if unit != "fleet-migrate.service"
    }
    text = (ROOT / "docs" / "install.md").read_text()

    ports = [each["METRICS_PORT"] for each in given.values()]
    assert len(set(ports)) == len(given)
    assert [port for port in ports if port not in text] == []


def test_no_setting_of_the_units_is_a_secret() -> None:
    given = read_env_file(DOCKER / "systemd" / "settings.env")

    assert not [name for name, value in given.items() if re.search("SECRET|PASSWORD|TOKEN", name) and value]
    assert not [value for value in given.values() if re.search(r"://[^/@]*:[^/@]+@", value)]


def test_the_document_names_files_that_are_there() -> None:
    text = (ROOT / "docs" / "install.md").read_text()

    named = set(re.findall(r"docker/[\w./-]*\w", text))
    assert {"docker/requirements.lock", "docker/make-secrets", "docker/systemd/settings.env"} <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists() and name != "docker/systemd/fleet"] == []
