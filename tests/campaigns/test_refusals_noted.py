"""Whoever is refused at a door of people or programs leaves one line a minute, whichever door it is."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.contrib.auth.models import Group, User
from django.db import DatabaseError

from campaigns.tokens import Access, ApiToken, Wanted
from fleet.asgi import Application, console
from fleet.audit import refusing
from fleet.audit.models import AuditEvent
from tests.campaigns.watching.test_sockets import refused_with
from tests.factories import make_campaign, make_host, make_user
from tests.on_the_loop import LoopClient

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]

SQL = "/api/v1/campaigns/{campaign}/sql/"
NOBODY = "network 127.0.0.1"


class Doors:
    """One campaign, and people of whom nobody may do what is asked for here."""

    def __init__(self) -> None:
        self.campaign = make_campaign(make_host()).pk
        self.tokens = {name: self._token(name, None) for name in ("stranger", "observer")}
        self.tokens["reader"] = self._token("reader", "Administrator", access=Access.READ)
        self.tokens["wrong"] = "5f2c"
        User.objects.get(username="observer").groups.add(Group.objects.get(name="Observer"))

    @staticmethod
    def _token(name: str, role: str | None, **wanted: Any) -> str:
        person = make_user(name)
        person.groups.set(Group.objects.filter(name=role))
        return ApiToken.objects.make(person, Wanted(name=name, **wanted))[1]

    async def api(self, method: str, path: str, shown: str = "") -> int:
        """Ask the API with somebody's token; give the status."""
        headers = {"Authorization": f"Bearer {self.tokens[shown]}"} if shown else {}
        asked = LoopClient().generic(
            method, path.format(campaign=self.campaign), "{}", content_type="application/json", headers=headers
        )
        return int((await asked).status_code)

    async def page(self, path: str) -> int:
        """Ask for a page as a person who may not see it."""
        client = LoopClient()
        await client.aforce_login(await sync_to_async(User.objects.get)(username="stranger"))
        return int((await client.get(path)).status_code)

    async def foreign_form(self) -> int:
        """Send a form that bears no token of a session."""
        return int((await LoopClient(enforce_csrf_checks=True).post("/login/", {"username": "a"})).status_code)

    async def figures(self) -> int:
        """Ask for what is for monitors."""
        asked = ApplicationCommunicator(
            Application(None, people=True),
            {"type": "http", "method": "GET", "path": "/metrics", "query_string": b"", "http_version": "1.1",
             "headers": [(b"authorization", b"Bearer wrong")], "client": ("127.0.0.1", 5), "scheme": "https"},
        )  # fmt: skip
        await asked.send_input({"type": "http.request", "body": b""})
        return int((await asked.receive_output(timeout=90))["status"])

    async def tools(self, shown: str = "", origin: str = "") -> int:
        """Knock where language models do."""
        named = {"host": "testserver", "origin": origin, "authorization": f"Bearer {self.tokens.get(shown, '')}"}
        headers = [(name.encode(), value.encode()) for name, value in named.items() if value]
        scope = {"type": "http", "method": "POST", "path": "/mcp", "query_string": b"", "headers": headers,
                 "client": ("127.0.0.1", 5), "http_version": "1.1", "scheme": "https"}  # fmt: skip
        asked = ApplicationCommunicator(console, scope)
        await asked.send_input({"type": "http.request", "body": b"{}"})
        return int((await asked.receive_output(timeout=90))["status"])

    async def socket(self, shown: str = "") -> int:
        """Look at a campaign by its socket."""
        code = await refused_with(campaign=self.campaign, bearer=self.tokens.get(shown, "5f2c"), origin=[])
        return (code or 0) - 4000


Knock = Callable[[Doors], Awaitable[int]]
# How it is refused, and what its line says: (status, who, subject).
REFUSED: dict[str, tuple[Knock, tuple[int, str, str]]] = {
    "no token": (lambda to: to.api("GET", "/api/v1/hosts/"), (401, "", NOBODY)),
    "a wrong token": (lambda to: to.api("POST", SQL, "wrong"), (401, "", NOBODY)),
    "a token for reading": (
        lambda to: to.api("POST", "/api/v1/labels/", "reader"),
        (403, "reader", "/api/v1/labels/"),
    ),
    "no right": (lambda to: to.api("GET", "/api/v1/hosts/", "stranger"), (403, "stranger", "/api/v1/hosts/")),
    "no right to change": (
        lambda to: to.api("POST", "/api/v1/queries/", "observer"),
        (403, "observer", "/api/v1/queries/"),
    ),
    "a page": (lambda to: to.page("/audit/"), (403, "stranger", "/audit/")),
    "a form of elsewhere": (lambda to: to.foreign_form(), (403, "", NOBODY)),
    "tools, no token": (lambda to: to.tools(), (401, "", NOBODY)),
    "tools, a wrong token": (lambda to: to.tools("wrong"), (401, "", NOBODY)),
    "tools, from elsewhere": (lambda to: to.tools("observer", "https://elsewhere.example"), (403, "", NOBODY)),
    "figures, a wrong token": (lambda to: to.figures(), (401, "", NOBODY)),
    "a socket, a wrong token": (lambda to: to.socket(), (401, "", "network ")),
    "a socket, no right": (lambda to: to.socket("stranger"), (403, "stranger", "/ws/campaigns/{campaign}/")),
}


@sync_to_async
def lines() -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action="request.refused").order_by("id"))


async def test_every_door_notes_whom_it_refuses_and_why(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.METRICS_TOKEN = "only-for-monitors"
    monkeypatch.setattr(refusing, "NOTED_EVERY", timedelta(0))
    doors = await sync_to_async(Doors)()
    wrong = {}

    for name, (knock, (status, who, subject)) in REFUSED.items():
        before = len(await lines())
        answered = await knock(doors)
        left = (await lines())[before:]
        told = [(line.details["status"], line.who, line.subject, line.token_id is not None) for line in left]
        by_token = who != "" and name != "a page"
        if answered != status or told != [(status, who, subject.format(campaign=doors.campaign), by_token)]:
            wrong[name] = (answered, told)

    assert wrong == {}
    assert "for reading only" in (await lines())[2].details["sentence"]


async def test_who_is_refused_again_and_again_leaves_one_line_a_minute() -> None:
    doors = await sync_to_async(Doors)()

    for _ in range(3):
        for path in ("/api/v1/hosts/", "/api/v1/labels/"):
            await doors.api("GET", path)
            await doors.api("GET", path, "stranger")

    assert [(line.who, line.subject) for line in await lines()] == [
        ("", NOBODY), ("stranger", "/api/v1/hosts/"), ("stranger", "/api/v1/labels/"),
    ]  # fmt: skip


async def test_a_refusal_stands_where_it_cannot_be_noted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise DatabaseError("the database is away")

    monkeypatch.setattr(refusing, "note_seldom", away)
    doors = await sync_to_async(Doors)()

    assert await doors.api("GET", "/api/v1/hosts/") == 401
    assert "refusal not noted path='/api/v1/hosts/' status=401 reason=the database is away" in caplog.text
