"""One demo: its data directory, its servers, its processes, and what it says of itself."""

import argparse
import errno
import fcntl
import json
import os
import socket
import ssl
import time
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError

from django.core.exceptions import ImproperlyConfigured

from fleet.demo import address, forked, secrets
from fleet.demo.certificates import Certificates
from fleet.demo.forked import Forked
from fleet.demo.options import ROOT
from fleet.demo.supervisor import Process, Supervisor, say
from fleet.embedded.postgres import EmbeddedPostgres
from fleet.embedded.redis import EmbeddedRedis
from fleet.embedded.server import open_log

READY_SECONDS = 90.0


class CannotStartError(Exception):
    """The sentence says what is in the way and what to do."""


class Demo:
    """One demo: its data directory, its servers and its processes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.data_dir.absolute()
        self.supervisor = Supervisor()
        self.postgres = EmbeddedPostgres(self.folder / "postgres")
        self.redis = EmbeddedRedis(self.folder / "redis")
        self._lock: IO[str] | None = None

    @property
    def origin(self) -> str:
        """Give the address people and agents use."""
        return address.origin(self.options.bind, self.options.port)

    def prepare(self) -> None:
        """Check what could be in the way, start the servers, make the secrets. Raise CannotStartError."""
        self._take_folder()
        self._check_port()
        if not address.is_private(self.options.bind):
            say(f"it listens on {self.options.bind}: other machines can reach it")
        self.certificates = Certificates(self.folder / "certificates")
        self.certificates.make(self.options.bind)
        self.postgres.start()
        self.redis.start()
        self.environment = self._environment()
        os.chdir(ROOT)
        try:
            forked.load(self.environment)
        except ImproperlyConfigured as error:
            raise CannotStartError(str(error)) from error
        self._run("prepare", ["-m", "fleet.demo.prepare"])
        self._write_environment()

    def _take_folder(self) -> None:
        try:
            self.folder.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
            (self.folder / "logs").mkdir(mode=0o700, exist_ok=True)
            self._lock = os.fdopen(os.open(self.folder / "pid", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+")
        except OSError as error:
            raise CannotStartError(
                f"the data directory {self.folder} cannot be written ({error.strerror}): choose another with --data-dir"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = (self.folder / "pid").read_text().strip()
            raise CannotStartError(
                f"a demo runs on {self.folder} already: stop it (kill {pid}), or choose another --data-dir"
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def _check_port(self) -> None:
        bind, port = self.options.bind, self.options.port
        try:
            for family, kind, _, _, place in socket.getaddrinfo(bind, port, type=socket.SOCK_STREAM):
                _try_to_listen(family, kind, place)
        except OSError as error:
            other = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--bind"
            raise CannotStartError(
                f"port {port} on {bind} cannot be used ({error.strerror}): choose another with {other}"
            ) from error

    def _environment(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "fleet.settings",
            "DATABASE_URL": self.postgres.url,
            "REDIS_URL": self.redis.url,
            "SECRET_KEY": secrets.read(self.folder, "secret-key"),
            "NODE_KEY_SECRETS": secrets.read(self.folder, "node-key-secrets"),
            "ALLOWED_HOSTS": ",".join(map(address.in_url, address.known_as(self.options.bind))),
            "CSRF_TRUSTED_ORIGINS": self.origin,
            "PUBLIC_URL": self.origin,
            **self._log_lines(),
            "CARVES_DIR": str(self.folder / "carves"),
            "ANALYSIS_DIR": str(self.folder / "analysis"),
            # An hour: what else is served under the name of this machine may have no TLS.
            "SECURE_HSTS_SECONDS": os.environ.get("SECURE_HSTS_SECONDS", "3600"),
            "FLEET_URL": self.origin,
            "FLEET_CA": str(self.certificates.ca),
            "FLEET_DEMO_SECRETS": str(self.folder),
            "PYTHONUNBUFFERED": "1",
        }

    def _log_lines(self) -> dict[str, str]:
        """Keep agents' log lines in the data directory, at most 384 MiB of them, unless somebody said otherwise."""
        kept = {
            "LOG_SINK": (self.folder / "agent-logs.ndjson").as_uri(),
            "LOG_FILE_MAX_BYTES": str(64 * 2**20),
            "LOG_FILES_KEPT": "5",
        }
        return {name: os.environ.get(name, value) for name, value in kept.items()}

    def _write_environment(self) -> None:
        """Keep the addresses and secrets for `manage.py` in another terminal."""
        mine = {**self.environment, "FLEET_TOKEN": secrets.read(self.folder, "token")}
        secrets.write(self.folder, "env", "".join(f"{name}={value}\n" for name, value in mine.items()))

    def _run(self, name: str, arguments: list[str]) -> None:
        log = self._log_of(name)
        with open_log(log) as output:
            status = Forked(arguments, output).wait()
        if status:
            raise CannotStartError(f"{' '.join(arguments)} failed: {log.read_text(errors='replace').strip()[-2000:]}")

    def _log_of(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def start(self) -> None:
        """Start every process."""
        self._start("web", self._web())
        for name, command in background(self.folder).items():
            self._start(name, command)

    def _web(self) -> list[str]:
        listen = ["-m", "fleet.serve", "application", "--host", self.options.bind, "--port", str(self.options.port)]
        return [*listen, "--certificate", str(self.certificates.server), "--key", str(self.certificates.server_key)]

    def start_hosts(self) -> None:
        """Start the simulated hosts and this very machine."""
        command = ["manage.py", "simulate", "--url", self.origin, "--ca", str(self.certificates.ca)]
        command += ["--enroll-secret-file", str(self.folder / "enroll-secret"), "--this-machine"]
        command += ["--hosts", str(self.options.hosts), "--state", str(self.folder / "hosts.json")]
        self._start("hosts this-machine", [*command, "--failing", "2", "--silent", "2"])

    def _start(self, names: str, arguments: list[str]) -> None:
        name, *also = names.split()
        self.supervisor.start(Process(name, arguments, self._log_of(name), tuple(also)))

    def wait_until_ready(self) -> None:
        """Return when everything answers. Raise CannotStartError when it does not in time."""
        deadline = time.monotonic() + READY_SECONDS
        why = "it does not answer"
        while time.monotonic() < deadline:
            try:
                if self.get("/readyz")["ready"]:
                    return
            except HTTPError as error:
                why = error.read().decode(errors="replace")[:500]
            except (URLError, OSError) as error:
                why = str(error)
            self.look_after_all()
            time.sleep(0.1)
        tail = self._log_of("web").read_text(errors="replace")[-1500:]
        raise CannotStartError(f"not ready within {READY_SECONDS:.0f} seconds: {why}. The web log ends: {tail}")

    def look_after_all(self) -> None:
        """Start again whatever died, servers included."""
        for process in self.supervisor.processes:
            self.supervisor.look_after(process)
        for server, name in ((self.postgres, "postgres"), (self.redis, "redis")):
            if server.process is not None and server.process.poll() is not None:
                say(f"{name} died (status {server.process.returncode}), it is started again; its log is {server.log}")
                server.start()

    def get(self, path: str, body: Any = None) -> Any:
        """Ask the API."""
        request = urllib.request.Request(  # noqa: S310 - our own server
            self.origin + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {secrets.read(self.folder, 'token')}",
                "Content-Type": "application/json",
            },
        )
        trust = ssl.create_default_context(cafile=str(self.certificates.ca))
        with urllib.request.urlopen(request, timeout=10, context=trust) as answer:  # noqa: S310
            return json.load(answer)

    def facts(self) -> dict[str, Any]:
        """Give what `--json` prints."""
        pids = {"postgres": self.postgres.pid, "redis": self.redis.pid, **self.supervisor.pids}
        return {
            "console": self.origin,
            "agents": self.origin,
            "username": "admin",
            "password": secrets.read(self.folder, "admin-password"),
            "token": secrets.read(self.folder, "token"),
            "enroll_secret": secrets.read(self.folder, "enroll-secret"),
            "ca": str(self.certificates.ca),
            "data_dir": str(self.folder),
            "database_url": self.postgres.url,
            "redis_url": self.redis.url,
            "pids": pids,
        }

    def stop(self) -> None:
        """End everything, the servers last."""
        self.supervisor.stop()
        self.redis.stop()
        self.postgres.stop()


def background(folder: Path) -> dict[str, list[str]]:
    """Give the commands of what runs behind the web server, by name; beat keeps its schedule in the folder.

    Threads, not forks: a demo's few tasks share one interpreter.
    """
    celery = ["-m", "celery", "-A", "fleet"]
    worker = [*celery, "worker", "--without-gossip", "--without-mingle"]
    worker += ["--pool", "threads", "--concurrency", "2"]
    return {
        "collector": ["manage.py", "collect"],
        "sweeper": [*worker, "-Q", "sweeps", "-n", "sweeper@%h"],
        "beat": [*celery, "beat", "--schedule", str(folder / "beat-schedule"), "--pidfile="],
        "worker": [*worker, "-Q", "live", "-n", "worker@%h"],
        "messenger": [*worker[:-1], "8", "-Q", "hooks", "-n", "messenger@%h"],
    }


def _try_to_listen(family: int, kind: int, place: Any) -> None:
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # as the server's own will be
        probe.bind(place)
