"""A whole installation of real processes, every wire of which can be cut, and a crowd of agents before it.

PostgreSQL and Redis (both writing to the disk), two gateways behind one port, a console, workers of each queue, a beat
and two collectors, started by the commands that deployments use.
"""

import asyncio
import os
import resource
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx
import psycopg2
import redis

from fleet.celery import app
from fleet.embedded.postgres import EmbeddedPostgres
from fleet.embedded.redis import EmbeddedRedis
from fleet.embedded.server import die_with_parent, open_log
from tests.faults.agents import Crowd, Manner
from tests.faults.link import Link
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
READY_SECONDS = 90.0
STOP_SECONDS = 30.0
CELERY = ["-m", "celery", "-A", "fleet"]
WORKER, THREADS = [*CELERY, "worker", "--loglevel", "INFO"], ["--pool", "threads", "--concurrency"]
T = TypeVar("T")


@dataclass
class Process:
    """One process of the installation: how it is started, from which source tree, and its life now."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    tree: Path = ROOT
    more: dict[str, str] = field(default_factory=dict)  # of the environment, for this process alone
    child: "subprocess.Popen[bytes] | None" = None
    lock: threading.Lock = field(default_factory=threading.Lock)  # held while it is ended or started

    def start(self) -> None:
        """Start it, in a group of its own."""
        with open_log(self.log) as output:
            self.child = subprocess.Popen(
                [sys.executable, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment | self.more,
                cwd=self.tree,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int:
        """Give its number."""
        assert self.child is not None
        return self.child.pid

    def signal(self, number: int) -> None:
        """Send a signal to it and what it started."""
        os.killpg(self.pid, number)

    def end(self, number: int) -> None:
        """Let it end by a signal to itself alone; kill what is left of its group."""
        assert self.child is not None
        self.child.send_signal(number)
        self.child.wait(STOP_SECONDS)
        try:
            self.signal(signal.SIGKILL)
        except ProcessLookupError:
            return


class Stage:
    """The installation, its wires and its crowd."""

    def __init__(self, folder: Path, changes: Mapping[str, str] = {}) -> None:
        self.folder = folder
        self.postgres = EmbeddedPostgres(folder / "postgres")
        self.redis = EmbeddedRedis(folder / "redis-1")
        self.replica: EmbeddedRedis | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires and agents")
        self.gateway_ports = {"gateway-1": free_port(), "gateway-2": free_port()}
        self.collectors = {"collector-1": free_port(), "collector-2": free_port()}  # where they tell figures
        self.edge = Link(lambda: list(self.gateway_ports.values()))
        self.redis_of_gateways = Link(lambda: [self.redis_socket])
        self.redis_of_others = Link(lambda: [self.redis_socket])
        self.replication = Link(lambda: [self.redis_socket])
        self.database = Link(lambda: [self._postgres_socket])
        self.processes: dict[str, Process] = {}
        self.crowd: Crowd
        self.http: httpx.Client
        self.deaths: list[str] = []  # of processes that nobody ended
        self._over = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor")
        self.lossy: list[float] = []  # when acknowledged answers may have been lost with Redis' last moment
        self._changes = dict(changes)

    # --- its life ---------------------------------------------------------------------------------------------

    def start(self, tree: Path = ROOT) -> None:
        """Start everything and return when it is ready. The processes come from `tree`."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each agent is a few connections
        self.postgres.start()
        self.redis.start()
        self._thread.start()
        for link in self.links:
            self.run(link.start())
        (self.folder / "tmp").mkdir()
        environment = self._environment()
        self._prepare(environment, tree)
        for name, command in self._commands().items():
            own = "gateways" if name.startswith("gateway") else "others"
            port = (self.redis_of_gateways if own == "gateways" else self.redis_of_others).port
            address = f"redis://:{self._redis_password}@127.0.0.1:{port}/0"
            log = self.folder / f"{name}.log"
            self.processes[name] = Process(name, command, environment | {"REDIS_URL": address}, log, tree)
            if name in self.collectors:
                self.processes[name].more = {"METRICS_PORT": str(self.collectors[name])}
            self.processes[name].start()
        self._supervisor.start()
        self._token = (self.folder / "token").read_text().strip()
        headers = {"Authorization": f"Bearer {self._token}"}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self._console_port}", headers=headers, timeout=30)
        self.crowd = Crowd(self.edge.port, (self.folder / "enroll-secret").read_text().strip())
        self.wait_until_ready()

    @property
    def links(self) -> list[Link]:
        """Give every wire."""
        return [self.edge, self.redis_of_gateways, self.redis_of_others, self.replication, self.database]

    def _environment(self) -> dict[str, str]:
        owner = urlsplit(self.postgres.url)
        return {
            **{name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")},
            "DJANGO_SETTINGS_MODULE": "fleet.settings",
            "DATABASE_URL": f"postgresql://{owner.username}:{owner.password}@127.0.0.1:{self.database.port}/fleet",
            "REDIS_URL": f"redis://:{self._redis_password}@127.0.0.1:{self.redis_of_others.port}/0",
            "SECRET_KEY": secrets.token_hex(32),
            "NODE_KEY_SECRETS": secrets.token_hex(16),
            "ALLOWED_HOSTS": "127.0.0.1",
            "LOG_LEVEL": "INFO",
            "LOG_SINK": (self.folder / "agent-logs.ndjson").as_uri(),
            "CARVES_DIR": str(self.folder / "carves"),
            "ANALYSIS_DIR": str(self.folder / "analysis"),
            "TMPDIR": str(self.folder / "tmp"),
            "HOUSEKEEPING_MINUTES": "0",  # agents here know no tables to tell of
            "FLEET_DEMO_SECRETS": str(self.folder),
            "PYTHONUNBUFFERED": "1",
            **self._changes,
        }

    @staticmethod
    def _prepare(environment: dict[str, str], tree: Path) -> None:
        for name in ("token", "admin-password", "enroll-secret"):
            (Path(environment["FLEET_DEMO_SECRETS"]) / name).write_text(secrets.token_hex(20))
        command = [sys.executable, "-m", "fleet.demo.prepare"]
        subprocess.run(command, env=environment, cwd=tree, check=True)

    def _commands(self) -> dict[str, list[str]]:
        self._console_port = free_port()
        serve = ["-m", "fleet.serve"]
        return {
            **{name: [*serve, "gateway", "--port", str(port)] for name, port in self.gateway_ports.items()},
            "console": [*serve, "console", "--port", str(self._console_port)],
            "worker": [*WORKER, "-Q", "live", "-n", "worker@%h", *THREADS, "2"],
            "sweeper": [*WORKER, "-Q", "sweeps", "-n", "sweeper@%h", *THREADS, "2"],
            "messenger": [*WORKER, "-Q", "hooks", "-n", "messenger@%h", *THREADS, "16"],
            "beat": [*CELERY, "beat", "--loglevel", "INFO", "--schedule", str(self.folder / "schedule"), "--pidfile="],
            **{name: ["manage.py", "collect"] for name in self.collectors},
        }

    def stop(self) -> None:
        """End everything."""
        if hasattr(self, "crowd"):
            self.run(self.crowd.leave())
            self.http.close()
        self._over.set()
        for process in self.processes.values():
            if process.child is not None and process.child.poll() is None:
                process.end(signal.SIGKILL)
        for link in self.links:
            self.run(link.stop())
        self.run(self._end_tasks())
        if self._supervisor.ident is not None:
            self._supervisor.join()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for server in (self.replica, self.redis, self.postgres):
            if server is not None:
                server.stop()

    @staticmethod
    async def _end_tasks() -> None:
        """Let connections that are being carried end, so that nothing is left open."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)  # transports close in the loop's next rounds

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Run something on the thread of wires and agents; give what it gives."""
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    # --- processes --------------------------------------------------------------------------------------------

    def _supervise(self) -> None:
        """Start again what ended by itself, as whatever supervises a deployment does."""
        while not self._over.wait(0.5):
            for process in self.processes.values():
                with process.lock:
                    if process.child is not None and (status := process.child.poll()) is not None:
                        self.deaths.append(f"{process.name} ended with status {status}")
                        process.start()

    def kill(self, name: str) -> None:
        """Kill a process with all it started, and start it again at once."""
        process = self.processes[name]
        with process.lock:
            process.end(signal.SIGKILL)
            process.start()

    def restart(self, name: str) -> None:
        """Tell a process to stop, start it again, and return when it serves."""
        process = self.processes[name]
        with process.lock:
            process.end(signal.SIGTERM)
            process.start()
        if name in self.gateway_ports:
            wait_for(lambda: self._serves(self.gateway_ports[name]), f"{name} serves")

    @staticmethod
    def _serves(port: int) -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/livez").status_code == 200
        except httpx.TransportError:
            return False

    def figure(self, collector: str, name: str) -> float:
        """Give a figure that a collector tells; 0 while it tells none."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self.collectors[collector]}/metrics").text
        except httpx.TransportError:
            return 0.0
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    def wait_until_ready(self) -> None:
        """Return when the console says that everything is there, and both gateways serve."""
        for name, port in self.gateway_ports.items():
            wait_for(lambda port=port: self._serves(port), f"{name} serves")  # type: ignore[misc]
        wait_for(self._is_ready, "/readyz says so")

    def _is_ready(self) -> bool:
        try:
            return self.http.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    # --- servers ----------------------------------------------------------------------------------------------

    @property
    def redis_socket(self) -> Path:
        """Give where the primary listens."""
        return Path(urlsplit(self.redis.url).path)

    @property
    def _redis_password(self) -> str:
        return urlsplit(self.redis.url).password or ""

    @property
    def _postgres_socket(self) -> Path:
        return Path(unquote(urlsplit(self.postgres.url).hostname or "")) / ".s.PGSQL.5432"

    @property
    def board(self) -> Any:
        """Give a client of Redis that goes by no wire."""
        return redis.Redis.from_url(self.redis.url)

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Ask PostgreSQL as the superuser, by no wire."""
        connection = psycopg2.connect(self.postgres.superuser_url)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    # --- people and hosts -------------------------------------------------------------------------------------

    def join(self, manners: list[Manner], prefix: str = "host") -> None:
        """Let hosts enroll and live."""
        self.run(self.crowd.join(manners, prefix))

    def hosts(self, *manners: Manner) -> list[int]:
        """Give the numbers of the hosts of these manners."""
        return [agent.host for agent in self.crowd.agents if agent.manner in manners]

    def launch(self, hosts: list[int], within: float = 60.0, **order: Any) -> int:
        """Launch, again under the same key while the server is in trouble; give the campaign's number."""
        body = {"sql": "SELECT 1 AS n", "target": {"hosts": hosts}, "timeout": 120, **order}
        headers = {"Idempotency-Key": secrets.token_hex(8)}
        deadline = time.monotonic() + within
        while True:
            try:
                answer = self.http.post("/api/v1/campaigns/", json=body, headers=headers)
            except httpx.TransportError as error:
                said = str(error)
            else:
                if answer.status_code in (200, 201):
                    return int(answer.json()["id"])
                assert answer.status_code >= 500, answer.text
                said = answer.text
            assert time.monotonic() < deadline, f"no launch within {within} seconds: {said}"
            time.sleep(0.3)

    def answered(self, campaign: int) -> int:
        """Count the acknowledged answers of a campaign."""
        return sum(bool(self.crowd.ledger.acknowledged(campaign, agent.host)) for agent in self.crowd.agents)

    def held(self) -> int:
        """Count the reads that gateways say they hold."""
        return sum(int(value.split()[0]) for value in self.board.hvals("board:held"))

    def ask(self, path: str, body: dict[str, Any]) -> bytes:
        """Send one request as an agent does, by no agent; give the body of the answer."""
        return httpx.post(f"http://127.0.0.1:{self.edge.port}/api/osquery/{path}", json=body).content

    def send_task(self, name: str, queue: str) -> None:
        """Let a worker do a task of beat's now."""
        address = f"redis://:{self._redis_password}@127.0.0.1:{self.redis_of_others.port}/0"
        with app.connection_for_write(address) as connection:
            app.send_task(name, queue=queue, connection=connection)

    def wait_until_ended(self, campaigns: list[int], within: float = 150.0) -> None:
        """Return when PostgreSQL has all of them as over."""

        def are_over() -> bool:
            return not self.sql("SELECT 1 FROM campaigns_campaign WHERE id = ANY(%s) AND ended_at IS NULL", campaigns)

        wait_for(are_over, f"campaigns {campaigns} ended", within)


def wait_for(condition: Callable[[], Any], what: str, within: float = READY_SECONDS) -> Any:
    """Give what the condition gives once it is true; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {within:.0f} seconds: {what}"
        time.sleep(0.1)
    return value
