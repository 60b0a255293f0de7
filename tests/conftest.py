"""Fixtures by role: who asks (operator, observer, stranger), what stands (board, gateway), who answers (agent)."""

import asyncio
import gc
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import time_machine
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.template.base import Template
from django.test import TransactionTestCase
from rest_framework.test import APIClient
from whitenoise.middleware import WhiteNoiseMiddleware

from agents.board import rebuilding, redis_client
from agents.gateway.app import Gateway, GatewaySettings
from agents.inventory import installation
from agents.models import Host
from agents.protocol.node_key import Enrolled, NodeKeys, tag_of
from campaigns.collecting.collector import Collector
from fleet.api.views import ApiView
from tests.contract import check_response
from tests.emptying import empty_database, keep_what_migrations_wrote
from tests.factories import make_user

AS_SERVERS_DO = Template._render
admin.autodiscover()  # tests go through its pages, some while they are collected, before anything is served


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long, unless all are wanted (`make faults`); begin with the files that take longest."""
    long = [item for item in items if item.get_closest_marker("long")]
    if long and os.environ.get("FAULTS") != "all":
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    tests_in = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.get_closest_marker("lengthy") is None, -tests_in[item.path]))


def pytest_collection_finish() -> None:
    """Look for garbage seldom, and not among what was imported: it took a fifth of the suite's processor time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True)
def _empty_redis() -> None:
    redis_client.client().flushdb()


def let_audit_be_emptied() -> None:
    """Let the tests' database forget the audit between two of them; migrations forbid it."""
    with connection.cursor() as cursor:
        for table in ("audit_auditevent", "audit_auditlink"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER audit_refuses_truncate")


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Let tests empty the audit; end the sessions of threads that are gone before the test database is dropped."""
    with django_db_blocker.unblock():
        let_audit_be_emptied()
        keep_what_migrations_wrote()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_database)
        yield
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.fixture
def board() -> None:
    """Make the board whole and empty."""
    rebuilding.finish({})


@pytest.fixture
def standing_clock() -> Iterator[None]:
    """Let no minute, nor the half one of a code, end while a test reckons with it."""
    with time_machine.travel(datetime.now(UTC), tick=False):
        yield


@pytest.fixture
def plain_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw pages as servers do: tests' own way copies the context at each part of a page, for who looks at it."""
    monkeypatch.setattr(Template, "_render", AS_SERVERS_DO)


@pytest.fixture
def quick_passwords(settings: Any) -> None:
    """Keep passwords in a form that costs no time to check."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def operator(db: None) -> User:
    """Give a person who may launch and look."""
    return _allowed("operator", "add_campaign", "view_campaign", "change_campaign", "view_host", "view_query")


@pytest.fixture
def observer(db: None) -> User:
    """Give a person who may look only."""
    return _allowed("observer", "view_campaign", "view_host")


@pytest.fixture
def stranger(db: None) -> User:
    """Give a signed-in person without any permission."""
    return make_user("stranger")


def _allowed(name: str, *codenames: str) -> User:
    user = make_user(name)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def api() -> Callable[[User | None], APIClient]:
    """Give a client of the API for a user; None = not signed in."""

    def client(user: User | None) -> APIClient:
        made = APIClient()
        if user is not None:
            made.force_authenticate(user)
        return made

    return client


@pytest.fixture
def boss(db: None, api: Callable[[User | None], APIClient]) -> APIClient:
    """Give a client of the API for somebody who may do everything."""
    return api(make_user(admin=True))


@pytest.fixture
def collect(transactional_db: None) -> Callable[[], int]:
    """Collect everything that is in the stream; give how many entries there were."""

    def run() -> int:
        collector, total = Collector(), 0
        while collected := collector.collect():
            total += collected
        return total

    return run


def gateway_settings(**changes: Any) -> GatewaySettings:
    """Give the gateway's settings as this process has them, without holding."""
    names = GatewaySettings.__dataclass_fields__
    values = {name: getattr(settings, name.upper()) for name in names}
    return GatewaySettings(**{**values, "hold_seconds": 0.0, **changes})


async def no_cold_app(scope: Any, receive: Any, send: Any) -> None:
    """Fail: nothing of a test with this app goes through Django."""
    raise AssertionError("nothing of this test goes through Django")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Give an event loop that runs only while something is awaited through it: tests decide what happens when."""
    made = asyncio.new_event_loop()
    yield made
    made.run_until_complete(made.shutdown_asyncgens())
    made.close()


@pytest.fixture
def gateway(board: None, loop: asyncio.AbstractEventLoop) -> Iterator[Gateway]:
    """Give a gateway that answers idle reads at once."""
    made = Gateway(gateway_settings(), cold=no_cold_app)
    loop.run_until_complete(made.start())
    loop.run_until_complete(made.store.refresh())
    yield made
    loop.run_until_complete(made.stop())


def key_of(host: Host | int, epoch: int = 1) -> str:
    """Give the key of an enrollment; for a number alone, whose host is in no database, one of the older form."""
    keys = NodeKeys(settings.NODE_KEY_SECRETS)
    if isinstance(host, int):
        return keys.issue(host, epoch)
    return keys.issue(host.pk, epoch, Enrolled(installation.here().life.name, tag_of(host.host_identifier)))


class Agent:
    """A host's side of the protocol, spoken straight to the ASGI app."""

    def __init__(self, gateway: Gateway, loop: asyncio.AbstractEventLoop, host: Host | int) -> None:
        self.gateway = gateway
        self.host = host if isinstance(host, int) else host.pk
        self.key = key_of(host)
        self.address = "192.0.2.1"
        self._loop = loop

    def post(self, verb: str, body: Any, headers: list[tuple[bytes, bytes]] | None = None) -> Any:
        """Send one request, give the decoded answer."""
        return self._loop.run_until_complete(self.posting(verb, body, headers))

    async def posting(self, verb: str, body: Any, headers: list[tuple[bytes, bytes]] | None = None) -> Any:
        """Send one request among others."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        requests = [{"type": "http.request", "body": content, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if requests:
                return requests.pop()
            await asyncio.Event().wait()  # the agent stays until it is answered
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": f"/api/osquery/{verb}", "headers": headers or []}
        scope["client"] = (self.address, 50_000)
        await self.gateway(scope, receive, send)
        assert sent[0]["status"] == 200
        return json.loads(sent[1]["body"])

    def read(self) -> Any:
        """Ask for work, at a gateway whose copy of the board is fresh."""
        self._loop.run_until_complete(self.gateway.store.refresh())
        return self.post("distributed/read", {"node_key": self.key})

    def write(self, campaign: int, rows: Any, **more: Any) -> Any:
        """Answer one campaign."""
        return self.post("distributed/write", self.answer(campaign, rows, **more))

    def answer(self, campaign: int, rows: Any, status: int = 0, message: str = "") -> dict[str, Any]:
        """Give the body of a write."""
        name = f"c{campaign}"
        return {
            "node_key": self.key,
            "queries": {name: rows},
            "statuses": {name: status},
            "messages": {name: message},
            "stats": {name: {"wall_time_ms": 3, "user_time": 2, "system_time": 1, "memory": 4096}},
        }


@pytest.fixture
def agent(gateway: Gateway, loop: asyncio.AbstractEventLoop) -> Callable[[Host | int], Agent]:
    """Give a host's side of the protocol."""
    return lambda host: Agent(gateway, loop, host)


@pytest.fixture
def carves_folder(settings: Any, tmp_path: Path) -> Path:
    """Give the folder that carves lie in, of this test alone."""
    alias = settings.STORAGES["carves"]
    options = {**alias["OPTIONS"], "location": str(tmp_path / "carves")}
    settings.STORAGES = {**settings.STORAGES, "carves": {**alias, "OPTIONS": options}}
    return tmp_path / "carves"


@pytest.fixture(scope="session", autouse=True)
def _files_are_listed_once() -> Iterator[None]:
    """Look for the pages' files once in a process: each client of a test is a server of its own, which looks anew."""
    listing, found = WhiteNoiseMiddleware.add_files_from_finders, {}

    def listed(files: WhiteNoiseMiddleware) -> None:
        if not found:
            listing(files)
            found.update(files.files)
        files.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", listed)
        yield


@pytest.fixture(scope="session", autouse=True)
def _trust_is_read_once() -> Iterator[None]:
    """Read the authorities that the system trusts once in a process: each client of httpx takes 40 ms for it."""
    create = httpx.create_ssl_context
    usual = create()

    def created(verify: Any = True, **more: Any) -> Any:
        return usual if verify is True and not more.get("cert") else create(verify, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("httpx._transports.default.create_ssl_context", created)
        yield


@pytest.fixture(scope="session", autouse=True)
def _answers_are_as_documented() -> Iterator[None]:
    """Hold whatever the API answers in any test against its document."""
    given = ApiView.finalize_response

    def checked(view: ApiView, request: Any, response: Any, /, *args: Any, **kwargs: Any) -> Any:
        final = given(view, request, response, *args, **kwargs)
        check_response(request, final)
        return final

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ApiView, "finalize_response", checked)
        yield
