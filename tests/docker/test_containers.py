"""Every container of docker/compose.yml as a process: healthy by its own check; an answer goes through all of them."""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import psycopg2
import pytest
import redis

from fleet.demo.certificates import Certificates
from fleet.embedded.postgres import EmbeddedPostgres
from tests.docker.containers import DOCKER, ROOT, WITHIN, Container, read_compose, read_env_file, read_unit, services_of
from tests.end_to_end.conftest import wait_for
from tests.ports import free_port
from tests.servers import open_folder

pytestmark = [pytest.mark.lengthy, pytest.mark.processes]
NAME = "fleet.example.org"  # of docker/settings.env
FIRST = ("redis", "redis-replica")
LAST = ("edge",)  # it waits for the others
OURS = ("gateway-1", "gateway-2", "console", "worker", "sweeper", "messenger", "beat", "collector-1", "collector-2")


class Installation:
    """All of compose.yml on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets = folder / "secrets"
        (folder / "here").symlink_to(ROOT)  # a name that commands need not quote
        subprocess.run([str(DOCKER / "make-secrets"), str(self.secrets)], check=True, capture_output=True)
        self.certificates = Certificates(folder / "certificates")
        self.certificates.make("127.0.0.1")
        shutil.copy(self.certificates.server, self.secrets / "edge.pem")
        shutil.copy(self.certificates.server_key, self.secrets / "edge.pem.key")
        for volume in ("carves", "analysis"):
            (folder / "data" / volume).mkdir(parents=True)
        self.postgres = EmbeddedPostgres(folder / "postgres", durable=False)
        self.services = dict(services_of(read_compose()))
        self.ports = {name: free_port() for name in ("edge", "edge-health", *self.services)}
        self.containers: dict[str, Container] = {}

    def start(self) -> None:
        """Start all, in the order of their dependencies."""
        self._start_postgres()
        for name in self.services:
            if "profiles" not in self.services[name] and name != "postgres":
                self.containers[name] = self._container(name)
        for name in FIRST:
            self.containers[name].start()
        for name in ("migrate", "gateway-role"):
            self.containers[name].finish()
            del self.containers[name]
        for name in self.containers:
            if name not in FIRST + LAST:
                self.containers[name].start()
        self._edge()
        for name in LAST if shutil.which("haproxy", path="/usr/sbin:/usr/bin") else ():
            self.containers[name].start()

    def _start_postgres(self) -> None:
        """Stand in for the image of PostgreSQL: its variables say who owns which database, with which password."""
        self.postgres.start()
        given = self.services["postgres"]["environment"]
        secret = given["POSTGRES_PASSWORD_FILE"].replace("/run/secrets", str(self.secrets))
        assert (given["POSTGRES_USER"], given["POSTGRES_DB"]) == ("fleet", "fleet")  # as the embedded one has them
        with psycopg2.connect(self.postgres.superuser_url) as connection, connection.cursor() as cursor:
            cursor.execute("ALTER ROLE fleet PASSWORD %s", [Path(secret).read_text()])

    def _container(self, name: str) -> Container:
        port, sockets = self.ports[name], str(self.postgres.sockets)
        tier = name.partition("-")[0]
        places = {
            r"/run/secrets(?=/)": str(self.secrets),
            r"/data\b": f"{self.folder}/data" if tier != "redis" else f"{self.folder}/{name}",
            r"/gateway-role\.sql": str(self.folder / "here/docker/gateway-role.sql"),
            r"/etc/haproxy\.cfg": str(self.folder / "haproxy.cfg"),
            r"(?<=@)postgres(?=/)": quote(sockets, safe=""),
            r"(?<=-h )postgres\b": sockets,
            r"redis 6379": f"127.0.0.1 {self.ports['redis']}",
            r"redis:6379": f"127.0.0.1:{self.ports['redis']}",
            r"redis-replica 6379": f"127.0.0.1 {self.ports['redis-replica']}",
            r"\b(?:8000|6379|8443)\b": str(port),
            r"\b60000\b": "1000",  # connections, each an open file
            r"\b8404\b": str(self.ports["edge-health"]),
            r"\b9100\b": str(free_port()),
            r"0\.0\.0\.0(?!/)": "127.0.0.1",
            r"10\.89\.41\.0/24": "127.0.0.0/8",
        }
        return Container(name, self.folder, self.services[name], places)

    def _edge(self) -> None:
        """Write the edge's configuration with the ports of here, and addresses where the engine has names."""
        text = (DOCKER / "edge" / "haproxy.cfg").read_text()
        for tier in ("gateway", "console"):
            copies = [name for name in self.services if re.fullmatch(rf"{tier}(-\d)?", name)]
            lines = [f"    server {name} 127.0.0.1:{self.ports[name]}" for name in copies]
            text, times = re.subn(rf"    server-template {tier} \d+ {tier}:8000 .*", "\n".join(lines), text)
            assert times == 1, tier
        (self.folder / "haproxy.cfg").write_text(self.containers["edge"].placed(text))

    def wait_until_healthy(self) -> None:
        """Return when every container is healthy by its own check."""
        waiting = [container for container in self.containers.values() if is_started(container)]
        assert len(waiting) >= len(self.containers) - len(LAST)
        for container in waiting:  # one after the other: each check is a process, and the others still start
            wait_for(lambda container=container: not container.trouble(), WITHIN)

    def prepare(self) -> None:
        """Make an administrator, a token and an enroll secret, as one does within a console's container."""
        for name in ("admin-password", "token", "enroll-secret"):
            (self.folder / name).write_text(f"{name}-{os.urandom(16).hex()}")
        console = self.containers["console"]
        environment = {**console.environment, "FLEET_DEMO_SECRETS": str(self.folder)}
        command = [sys.executable, "-m", "fleet.demo.prepare"]
        subprocess.run(command, cwd=ROOT, env={**environment, "DJANGO_SETTINGS_MODULE": "fleet.settings"}, check=True)

    def stop(self) -> None:
        """Stop all, the servers last."""
        servers = [self.containers[name] for name in FIRST if name in self.containers]
        others = [container for container in self.containers.values() if container not in servers]
        try:
            for together in (others, servers):
                for container in together:
                    container.tell_to_stop()
                for container in together:
                    container.see_off()
        finally:
            for container in self.containers.values():
                if container.process is not None and container.process.poll() is None:
                    container.process.kill()
                    container.process.wait()
            self.postgres.stop()


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """Start all once; at the end every container has to stop within its time, and without a word about trouble."""
    found = Installation(open_folder())
    try:
        found.start()
        found.wait_until_healthy()
        yield found
    finally:
        found.stop()
    logs = {name: container.log.read_text() for name, container in found.containers.items()}
    assert "Traceback" not in "".join(logs.values())
    assert [line for name in OURS for line in logs[name].splitlines() if not is_object(line)] == []


def is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def is_started(container: Container) -> bool:
    return container.process is not None


@pytest.fixture(scope="module")
def answered(installation: Installation) -> int:
    """Let one agent enroll and answer one question, all through the edge; give the campaign's number."""
    if not is_started(installation.containers["edge"]):
        pytest.skip("haproxy is not here (Debian has it)")
    installation.prepare()
    origin = f"https://localhost:{installation.ports['edge']}"
    trust = ssl.create_default_context(cafile=str(installation.certificates.ca))
    token = (installation.folder / "token").read_text()
    agent = [sys.executable, "manage.py", "simulate", "--url", origin, "--ca", str(installation.certificates.ca)]
    agent += ["--enroll-secret-file", str(installation.folder / "enroll-secret"), "--hosts", "1"]
    with (installation.folder / "agent.log").open("wb") as log:
        environment = {**os.environ, "DATABASE_URL": "postgres:///unused"}
        process = subprocess.Popen(agent, cwd=ROOT, env=environment, stdout=log, stderr=log)
    headers = {"Authorization": f"Bearer {token}", "Host": NAME}
    try:
        with httpx.Client(base_url=origin, headers=headers, verify=trust, timeout=90) as http:

            def ask(path: str, order: Any = None) -> Any:
                def asked() -> httpx.Response | None:
                    answer = http.get(path) if order is None else http.post(path, json=order)
                    return None if answer.status_code == 503 else answer  # the edge has not found a console yet

                answer = wait_for(asked, WITHIN)
                assert answer.is_success, answer.text
                return answer.json()

            wait_for(lambda: ask("/api/v1/hosts/")["count"] == 1, WITHIN)
            order = {"sql": "SELECT pid, name FROM processes", "target": {"all": True}, "timeout": 300}
            number = int(ask("/api/v1/campaigns/", order)["id"])
            ended = wait_for(lambda: (found := ask(f"/api/v1/campaigns/{number}/"))["ended_at"] and found, WITHIN)
    finally:
        process.terminate()
        process.wait(WITHIN)
    assert (ended["status"], ended["counts"]["answered"]) == ("completed", 1)
    assert ended["counts"]["rows"] > 0
    return number


def events_of(installation: Installation, service: str) -> list[dict[str, Any]]:
    """Give what all copies of a service logged."""
    names = [name for name in installation.containers if re.fullmatch(rf"{service}(-\d)?", name)]
    lines = [line for name in names for line in installation.containers[name].log.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def test_every_container_is_healthy_and_an_agent_answers_through_the_edge(
    installation: Installation, answered: int
) -> None:
    assert answered == 1
    assert "".join(container.trouble() for container in installation.containers.values()) == ""


@pytest.mark.parametrize("service", ["console", "worker", "gateway", "collector"])
def test_the_campaign_can_be_followed_by_its_id_through_every_process(
    service: str, installation: Installation, answered: int
) -> None:
    told = [event for event in events_of(installation, service) if event.get("campaign") == answered]

    assert told, installation.containers.keys()


def test_both_gateways_offer_what_is_asked(installation: Installation, answered: int) -> None:
    for name in ("gateway-1", "gateway-2"):
        wait_for(lambda name=name: f'"campaign": {answered}' in installation.containers[name].log.read_text(), WITHIN)


def test_people_are_told_of_their_own_address_and_monitors_stay_outside(
    installation: Installation, answered: int
) -> None:
    trust = ssl.create_default_context(cafile=str(installation.certificates.ca))
    origin = f"https://localhost:{installation.ports['edge']}"

    with httpx.Client(base_url=origin, headers={"Host": NAME}, verify=trust) as http:
        assert http.get("/metrics").status_code == 404
        assert http.get("/login/").status_code == 200
        assert http.get("/api/osquery/enroll").headers["content-type"] == "application/json"


def test_the_doctor_beside_a_gateway_sees_what_that_role_may_see(installation: Installation, answered: int) -> None:
    public = ("--url", f"https://localhost:{installation.ports['edge']}", "--ca", str(installation.certificates.ca))
    environment = installation.containers["gateway-1"].environment

    looked = subprocess.run(
        [sys.executable, "manage.py", "doctor", "--json", *public], cwd=ROOT, env=environment, capture_output=True
    )

    found = json.loads(looked.stdout)["findings"]
    wrong = {each["sentence"].split(" = ")[0] for each in found if each["severity"] == "broken"}
    assert wrong == {"PostgreSQL has fsync", "PostgreSQL has full_page_writes", "PostgreSQL has synchronous_commit"}
    told = [each["sentence"] for each in found if each["severity"] == "well"]
    assert any(each.startswith("fleet_gateway may not look at everything") for each in told)
    assert any(each.startswith("a read was held") for each in told)
    assert "SECRET_KEY is not set here, and consoles alone need it" in told


def has_its_file(client: "redis.Redis") -> bool:
    """Say whether what a replica got at first lies in its append-only file."""
    told = client.info("persistence")
    return not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])


def test_the_replica_takes_over_for_good_and_the_old_one_follows_it() -> None:
    """As docs/operations.md has it: what the old one had is thrown away, `up -d` starts both anew."""
    found, after = Installation(open_folder()), dict(services_of(read_compose(REDIS_PRIMARY="redis-replica")))
    password = (found.secrets / "redis_password").read_text()
    clients = [redis.Redis(port=found.ports[name], password=password) for name in FIRST]
    running: list[Container] = []

    def start_both() -> None:
        for name in FIRST:
            for inner in found.services[name]["tmpfs"]:
                shutil.rmtree(found.folder / name / inner.strip("/"), ignore_errors=True)
            running.append(found._container(name))
            running[-1].start()
        for container, client in zip(running, clients, strict=True):
            wait_for(lambda container=container: not container.trouble(), WITHIN)
            wait_for(lambda client=client: has_its_file(client), WITHIN)  # one that still writes it does not stop

    def stop_both() -> None:
        while running:
            running.pop().stop()

    try:
        start_both()
        clients[0].set("acknowledged", "1")
        wait_for(lambda: clients[1].get("acknowledged"), WITHIN)
        stop_both()
        shutil.rmtree(found.folder / "redis")
        found.services = after
        start_both()
        roles = [client.info("replication")["role"] for client in clients]
        kept = [client.get("acknowledged") for client in clients]
    finally:
        stop_both()
        for client in clients:
            client.close()

    assert "REDIS_PRIMARY=redis-replica" in (ROOT / "docs" / "operations.md").read_text()
    assert (roles, kept) == (["slave", "master"], [b"1", b"1"])
    addresses = {service["environment"].get("REDIS_URL") for service in after.values()}
    assert addresses == {None, "redis://redis-replica:6379/0"}


def test_the_web_of_systemd_starts_as_its_unit_says(installation: Installation) -> None:
    """Its other units start what compose.yml starts, as tests/docker/test_systemd.py says."""
    unit, handed = read_unit("fleet-web.service"), installation.folder / "handed"
    own = installation.certificates.server, installation.certificates.server_key
    etc = dict(zip(("/etc/fleet-live-queries/server.pem", "/etc/fleet-live-queries/server-key.pem"), own, strict=True))
    handed.mkdir()
    for credential in unit["LoadCredential"]:
        name, _, path = credential.partition(":")
        shutil.copy(etc[path] if path in etc else installation.secrets / Path(path).name, handed / name)
    given = dict(pair.split("=", 1) for line in unit["Environment"] for pair in line.split())
    given |= read_env_file(DOCKER / "systemd" / "settings.env")
    assert unit["EnvironmentFile"] == ["/etc/fleet-live-queries/settings.env"]
    port, password = free_port(), (installation.secrets / "database_password").read_text()
    sockets = quote(str(installation.postgres.sockets), safe="")
    places = {
        r"/opt/fleet-live-queries": str(installation.folder / "here"),
        r"%d\b": str(handed),
        r"/var/lib/fleet-live-queries": f"{installation.folder}/data",
        r"fleet@%2Fvar%2Frun%2Fpostgresql": f"fleet:{password}@{sockets}",
        r"\b6379\b": str(installation.ports["redis"]),
        r"\b443\b": str(port),
        r"\b9470\b": str(free_port()),
        r"0\.0\.0\.0": "127.0.0.1",
    }
    spec = {
        "command": unit["ExecStart"][0],
        "environment": given,
        "tmpfs": ["/tmp"],  # noqa: S108 - PrivateTmp
        "read_only": unit["ProtectSystem"] == ["strict"],
        "stop_grace_period": unit["TimeoutStopSec"][0],
    }
    web = Container("systemd-web", installation.folder, spec, places)
    trust = ssl.create_default_context(cafile=str(installation.certificates.ca))

    def answers() -> bool:
        assert web.process is not None
        assert web.process.poll() is None, web.said()
        try:
            return httpx.get(f"https://localhost:{port}/livez", verify=trust).status_code == 200
        except httpx.TransportError:
            return False

    web.start()
    try:
        wait_for(answers, WITHIN)
    finally:
        web.stop()
