"""What the matrix is made of: two hosts, everybody who may come, and the table of who may what (`matrix.csv`).

Cells: y = may (whatever is said of what was sent), n = 403, - = 404, l = sent to log in, or 401, x = 405.
"""

import csv
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.test import Client
from django.utils import timezone
from django.utils.http import urlencode

from agents.carving.models import Carve
from agents.models import ConfigDocument, EnrollSecret, Host
from campaigns.collecting.models import DeadLetter
from campaigns.hooks.models import Delivery, Hook
from campaigns.launching.models import LiveQueries
from campaigns.models import Campaign, Query, Target
from campaigns.people import roles
from campaigns.people.scopes import Scope
from campaigns.recurring.models import Schedule
from campaigns.tokens import ApiToken, Wanted
from tests.factories import answer, end, make_campaign, make_host, make_label, make_user

FILE = Path(__file__).parent / "matrix.csv"
SOCKET = "WS"  # what the table calls the method of sockets
SECRET = "zz-outside"  # in every word that tells of the host outside
OTHER_SECRET = "zz-apart"  # and of what it answered
STAFF = ("administrator", "auditor", "scoped")
ROLES = {
    "administrator": roles.ADMINISTRATOR,
    "operator": roles.OPERATOR,
    "observer": roles.OBSERVER,
    "auditor": roles.AUDITOR,
    "scoped": roles.OPERATOR,
}
# Those whom no session lets in: by a token, or no more at all.
BY_TOKEN = ("expired token", "read token", "scoped token", "deactivated")
PEOPLE = ("nobody", "no rights", *ROLES, "scoped observer", "owner", *BY_TOKEN)
LAUNCHES = {"sql": "SELECT 1", "target": {"all": True}}
BODIES: dict[str, Any] = {
    "POST /api/v1/campaigns/": LAUNCHES,
    "POST /api/v1/campaigns/estimate/": LAUNCHES,
    "POST /api/v1/campaigns/{campaign}/rerun/": {"states": ["answered"]},
    "POST /api/v1/campaigns/{campaign}/widen/": {"all": True},
    "PATCH /api/v1/campaigns/{campaign}/": {"name": "x"},
    "POST /api/v1/labels/": {"name": "new"},
    "PUT /api/v1/labels/{label}/": {"name": "new"},
    "PATCH /api/v1/labels/{label}/": {"name": "new"},
    "POST /api/v1/labels/{label}/hosts/": {"hosts": ["{host}"]},
    "DELETE /api/v1/labels/{label}/hosts/": {"hosts": ["{host}"]},
    "POST /api/v1/queries/": {"name": "new", "sql": "SELECT 1"},
    "PUT /api/v1/queries/{query}/": {"name": "new", "sql": "SELECT 1"},
    "PATCH /api/v1/queries/{query}/": {"name": "new"},
    "POST /api/v1/schedules/": {"query": "{query}", "every": 60, "target": {"all": True}},
    "POST /api/v1/hooks/": {"name": "new", "address": "https://192.0.2.1/"},
    "POST /settings/hooks/": {"name": "new", "address": "https://192.0.2.1/", "kind": "webhook"},
    "POST /api/v1/enroll-secrets/": {"name": "new"},
    "POST /api/v1/tokens/": {"name": "new"},
    "POST /api/v1/schema/learn/": {},
    "POST /campaigns/{campaign}/rerun/": {"states": ["answered"]},
    "POST /campaigns/{campaign}/widen/": {"to": "all"},
    "POST /hosts/{host}/ask/": {"sql": "SELECT 1"},
    "POST /labels/new/": {"name": "new"},
    "POST /labels/{label}/": {"name": "new"},
    "POST /ask/": {"sql": "SELECT 1", "kind": "all", "timeout": "60"},
    "POST /ask/estimate/": {"sql": "SELECT 1", "kind": "all"},
    "POST /ask/check/": {"sql": "SELECT 1"},
    "POST /queries/new/": {"name": "new", "sql": "SELECT 1"},
    "POST /queries/{query}/": {"name": "new", "sql": "SELECT 1"},
}


class Ones(dict[str, Any]):
    """Names, and 1 for what has none."""

    def __missing__(self, name: str) -> int:
        return 1


class World:
    """Two hosts, one of them in the scope of some; a campaign over both, and what else is asked about."""

    def __init__(self) -> None:
        inside, outside = self._hosts()
        self.inside, self.outside = inside, outside
        self.berlin = make_label("berlin", inside)
        make_label("everywhere", inside, outside)
        self.users = self._users()
        self.hand_label = make_label("by hand", inside)
        owner = self.users["owner"]
        query = Query.objects.create(name="saved", sql="SELECT 1")
        target = {"hosts": [outside.hostname, inside.pk]}
        both = make_campaign(inside, outside, by=owner, target=target, name="over both", include_late_joiners=True)
        answer(both, inside, {"pid": "1"}, wall_ms=5)
        answer(both, outside, {"pid": "1", OTHER_SECRET: OTHER_SECRET}, {"pid": OTHER_SECRET}, wall_ms=7)
        over = end(make_campaign(inside, outside, by=owner, target=target, name="over"), timedelta(days=1))
        alone = make_campaign(outside, by=owner, name="alone", target={"hosts": [outside.pk]})
        answer(alone, outside, {OTHER_SECRET: OTHER_SECRET})
        Campaign.objects.update(warnings=[f"{SECRET} cannot run it"])
        secret = EnrollSecret.objects.offer("site", "a secret of thirty characters!")
        carve = Carve.objects.create(host=inside, carve_id="c" * 32, campaign_id=both.pk)
        hidden_carve = Carve.objects.create(host=outside, carve_id="d" * 32, campaign_id=both.pk, path=f"/{SECRET}")
        DeadLetter.objects.create(stream="s", entry="1-0", host_id=outside.pk, reason=SECRET, fields=SECRET.encode())
        ConfigDocument.objects.create(pk=1, document={})
        LiveQueries.objects.create(pk=1)
        token = ApiToken.objects.make(owner, Wanted("owner's", 1))[0]
        schedule = Schedule.objects.create(
            query=query, owner=self.users["operator"], every=60, target={"hosts": [outside.hostname]}, sql="SELECT 1"
        )
        hook = Hook.objects.create(owner=self.users["operator"], name=f"hook of {SECRET}", address="https://192.0.2.1/")
        delivery = Delivery.objects.create(hook=hook, message_id="m", kind="hook.test", body=SECRET)
        self.names: dict[str, Any] = {
            "schedule": schedule.pk, "hook": hook.pk, "delivery": delivery.pk,
            "campaign": both.pk, "ended": over.pk, "alone": alone.pk, "host": inside.pk, "outside": outside.pk,
            "label": self.hand_label.pk, "query": query.pk, "secret": secret.pk, "carve": carve.pk, "seq": 1,
            "place": 1, "token": token.pk, "hidden_carve": hidden_carve.pk, "person": self.users["no rights"].pk,
            "team": self.users["scoped"].groups.get(name="Berliners").pk, "key": "0" * 32, "number": 0,
            "hidden_target": Target.objects.get(campaign=alone).pk, "group": Group.objects.get(name="Berliners").pk,
        }  # fmt: skip
        self._clients = {name: Client(raise_request_exception=False) for name in PEOPLE}
        self._headers: dict[str, dict[str, str]] = {}
        self._sign_in()
        found = self._clients["owner"].get(f"/api/v1/campaigns/{both.pk}/groups/").json()["results"]
        self.names["key"] = found[-1]["key"]

    def _hosts(self) -> tuple[Host, Host]:
        inside = make_host(hostname="inside.example")
        outside = make_host(
            hostname=f"{SECRET}.example", host_identifier=f"{SECRET}-identifier", uuid=f"{SECRET}-uuid",
            hardware_serial=f"{SECRET}-serial", os_name=f"{SECRET} os", in_doubt_reason=SECRET,
            platform="darwin", in_doubt_since=timezone.now(),
        )  # fmt: skip
        return inside, outside

    def _users(self) -> dict[str, User]:
        users = {name: make_user(name.replace(" ", "-")) for name in PEOPLE if name != "nobody"}
        for name, role in ROLES.items():
            users[name].groups.add(Group.objects.get(name=role))
        users["scoped observer"].groups.add(Group.objects.get(name=roles.OBSERVER))
        team = Group.objects.create(name="Berliners")
        Scope.objects.create(group=team).labels.add(self.berlin)
        for name in ("scoped", "scoped observer"):
            users[name].groups.add(team)
        users["scoped"].user_permissions.set(
            Permission.objects.filter(content_type__app_label__in=["agents", "campaigns"])
        )
        users["owner"].user_permissions.add(Permission.objects.get(codename="add_campaign"))
        for name in BY_TOKEN:
            users[name].groups.add(Group.objects.get(name=roles.ADMINISTRATOR))
        User.objects.filter(username__in=STAFF).update(is_staff=True)
        return {name: User.objects.get(pk=user.pk) for name, user in users.items()}

    def _sign_in(self) -> None:
        for name, user in self.users.items():
            if name in BY_TOKEN:
                wanted = Wanted(days=1, access="read" if name == "read token" else "run")
                labels = [self.berlin] if name == "scoped token" else None
                token = ApiToken.objects.make(user, wanted._replace(labels=labels))[1]
                self._headers[name] = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
            else:
                self._clients[name].force_login(user)
                self._clients[name].get("/account/")  # what is kept of a session is kept, not anew with each question
        ApiToken.objects.filter(user=self.users["expired token"]).update(expiry=timezone.now() - timedelta(days=1))
        self._clients["deactivated"].force_login(self.users["deactivated"])
        # Every request comes with them: logging out is undone by the transaction, and not by the browser.
        self._cookies = {name: dict(client.cookies.items()) for name, client in self._clients.items()}
        User.objects.filter(pk=self.users["deactivated"].pk).update(is_active=False)

    def head_of(self, name: str) -> list[tuple[bytes, bytes]]:
        """Give what a person's browser or program sends along when it opens a socket."""
        head = [(b"origin", b"https://testserver")]
        if "sessionid" in self._cookies[name]:
            head.append((b"cookie", f"sessionid={self._cookies[name]['sessionid'].value}".encode()))
        token = self._headers.get(name, {}).get("HTTP_AUTHORIZATION", "")
        return [*head, (b"authorization", token.encode())] if token else head

    def filled(self, value: Any) -> Any:
        """Fill in the ids: numbers where they stand alone."""
        if isinstance(value, dict):
            return {name: self.filled(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.filled(part) for part in value]
        is_name = isinstance(value, str) and value.startswith("{")
        return self.names.get(value.strip("{}"), value) if is_name else value

    def ask(self, name: str, method: str, path: str) -> Any:
        """Ask, and forget what it changed."""
        with transaction.atomic():
            told = self.send(name, method, path, BODIES.get(f"{method} {path}"))
            transaction.set_rollback(True)
        return told

    def send(self, name: str, method: str, path: str, given: Any = None) -> Any:
        """Ask, in whichever way the address takes a body."""
        body, address = self.filled(given), path.format_map(Ones(self.names))
        content, kind = b"", "application/x-www-form-urlencoded"
        if path.startswith("/api/"):
            content, kind = b"" if body is None else json.dumps(body).encode(), "application/json"
        elif body is not None:
            content = urlencode(body, doseq=True).encode()
        self._clients[name].cookies.clear()
        self._clients[name].cookies.update(self._cookies[name])
        told: Any = self._clients[name].generic(
            method, address, content, content_type=kind, **self._headers.get(name, {})
        )
        told.body = b"".join(told) if told.streaming else told.content
        return told


def lines() -> list[dict[str, str]]:
    """Give the lines of what is asked by HTTP."""
    return [line for line in every_line() if line["method"] != SOCKET]


def every_line() -> list[dict[str, str]]:
    with FILE.open() as file:
        return list(csv.DictReader(file))


def shape(path: str) -> str:
    """Give an address with 1 in each place."""
    return re.sub(r"\{\w+\}", "1", path).partition("?")[0]


def verdict(told: Any) -> str:
    sent_away = told.status_code == 302 and told["Location"].startswith(("/login/", "/admin/login/"))
    if told.status_code == 401 or sent_away or "/login/" in told.headers.get("HX-Redirect", ""):
        return "l"
    return {403: "n", 404: "-", 405: "x"}.get(
        told.status_code, "y" if told.status_code < 500 or told.status_code == 503 else "5xx"
    )


def area_of(address: str) -> str:
    """Name the part of the table: each has a file of tests, so that processes of a test run share them."""
    return "api" if address.startswith("/api/") else "admin" if address.startswith("/admin/") else "pages"


def check_area(world: World, area: str) -> None:
    """Ask as each person what this part of the table has; fail at what it does not say, and at a byte too much."""
    wrong, told_too_much = [], []

    for line in (line for line in lines() if area_of(line["address"]) == area):
        for name in PEOPLE:
            told = world.ask(name, line["method"], line["address"])
            if verdict(told) != line[name]:
                wrong.append(f"{name}: {line['method']} {line['address']}: {verdict(told)}, not {line[name]}")
            body = told.body.decode("utf-8", "replace")
            if name.startswith("scoped") and (SECRET in body or OTHER_SECRET in body):
                told_too_much.append(f"{name}: {line['method']} {line['address']}")

    assert told_too_much == []
    assert wrong == []
