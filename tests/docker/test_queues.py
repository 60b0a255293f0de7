"""Whatever beat sends, and every queue that is named anywhere, has a worker in each way to run an installation."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from fleet.celery import app
from fleet.demo.demo import background
from tests.docker.containers import DOCKER, ROOT, read_compose, unit_command, words

QUEUES = set(settings.QUEUES.values()) | {settings.CELERY_TASK_DEFAULT_QUEUE}


def demo() -> Iterator[list[str]]:
    yield from background(Path("/tmp/demo")).values()  # noqa: S108 - nothing is written


def compose() -> Iterator[list[str]]:
    yield from (words(service.get("command", "")) for service in read_compose()["services"].values())


def systemd() -> Iterator[list[str]]:
    wanted = re.findall(r"fleet-[a-z]+\.service", (DOCKER / "systemd" / "fleet.target").read_text())
    yield from (unit_command(name) for name in wanted)


def kubernetes() -> Iterator[list[str]]:
    folder = DOCKER / "kubernetes"
    for name in yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]:
        for document in yaml.safe_load_all((folder / name).read_text()):
            if document["kind"] == "Deployment":
                yield from (words(one.get("command", [])) for one in document["spec"]["template"]["spec"]["containers"])


def install() -> Iterator[list[str]]:
    """Give the units that the docs name, with the queue that they say."""
    text = (ROOT / "docs" / "install.md").read_text()
    for unit, queue in re.findall(r"^\| `(fleet-[a-z]+)` \|.*`([a-z]+)`\) \|$", text, re.MULTILINE):
        yield ["celery", "worker", "-Q", queue] if queue in consumed(unit_command(f"{unit}.service")) else []


WAYS = {"demo": demo, "compose": compose, "systemd": systemd, "kubernetes": kubernetes, "docs/install.md": install}


def consumed(command: list[str]) -> set[str]:
    """Name the queues that a command consumes; a worker without -Q takes the default one."""
    if "worker" not in command or "celery" not in " ".join(command):
        return set()
    return set(command[command.index("-Q") + 1].split(",")) if "-Q" in command else {app.conf.task_default_queue}


@pytest.mark.parametrize("way", WAYS)
def test_every_queue_has_a_worker_however_it_is_run(way: str) -> None:
    found = [consumed(command) for command in WAYS[way]()]

    assert set().union(*found) == QUEUES


@pytest.mark.parametrize("way", ["demo", "compose", "systemd", "kubernetes"])
def test_somebody_says_when_and_somebody_collects_however_it_is_run(way: str) -> None:
    commands = [" ".join(command) for command in WAYS[way]()]

    assert any(re.search(r"celery.* beat", command) for command in commands)
    assert any("collect" in command for command in commands)


def test_every_task_has_a_queue_and_every_name_a_task() -> None:
    app.loader.import_default_modules()
    tasks = {name for name in app.tasks if not name.startswith("celery.")}

    assert set(settings.QUEUES) == tasks
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert entry["options"]["queue"] == settings.QUEUES[entry["task"]]


@pytest.mark.parametrize("way", ["demo", "compose", "systemd", "kubernetes"])
def test_workers_use_threads_however_they_are_run(way: str) -> None:
    """A process whose task ends while the worker stops would wait half a minute for somebody to take the result."""
    workers = [command for command in map(" ".join, WAYS[way]()) if re.search(r"celery.* worker", command)]

    assert len(workers) == 3
    assert [command for command in workers if "--pool threads" not in command] == []
