"""Who may look at and change campaigns, labels and hosts, by every door: asked of each person at each address."""

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from agents.models import EnrollSecret, Label
from campaigns.models import Campaign
from tests.factories import answer, make_campaign, make_host, make_label, make_user
from tests.fleet.test_every_address import ALL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board", "carves_folder")]

PEOPLE = {
    "owner": ["add_campaign"],  # and nothing else: his own campaign is his to look at
    "colleague": ["add_campaign"],
    "observer": ["view_campaign", "view_host", "view_label"],
    "stranger": [],
}
OWN, LAUNCH, SEE, NOBODY = {"owner", "observer"}, {"owner", "colleague"}, {"observer"}, set[str]()
LISTS = {"owner", "colleague", "observer"}  # of which each sees what is his
CAMPAIGN, HOST, LABEL = "/api/v1/campaigns/{campaign}/", "/api/v1/hosts/{host}/", "/api/v1/labels/{label}/"
LAUNCHES = {"sql": "SELECT 1", "target": {"all": True}}
ABOUT_IT = {"sql": "SELECT 1", "target": {"campaign": {"id": "{campaign}", "states": ["answered"]}}}
JOINS = {"hosts": ["{host}"]}
NEW_LABEL = {"name": "new"}
AGAIN = {"states": ["answered"]}

Line = tuple[str, str, Any, set[str]]
TABLE: list[Line] = [
    *(("GET", CAMPAIGN + rest, None, OWN) for rest in ("", "results/", "rows/", "groups/", "targets/", "carves/")),
    *(("GET", CAMPAIGN + f"export.{kind}", None, OWN) for kind in ("csv", "ndjson", "json")),
    ("GET", CAMPAIGN + "targets.csv", None, OWN),
    ("GET", CAMPAIGN + "groups/{key}/hosts/", None, OWN),
    ("GET", CAMPAIGN + "rows/{seq}/{place}/", None, OWN),
    ("GET", "/api/v1/campaigns/", None, LISTS),
    ("POST", "/api/v1/campaigns/", LAUNCHES, LAUNCH),
    ("POST", "/api/v1/campaigns/", ABOUT_IT, {"owner"}),
    ("POST", "/api/v1/campaigns/estimate/", LAUNCHES, LAUNCH),
    ("POST", "/api/v1/campaigns/estimate/", ABOUT_IT, {"owner"}),
    ("PATCH", CAMPAIGN, {"name": "x"}, NOBODY),
    ("DELETE", CAMPAIGN, None, NOBODY),
    ("POST", CAMPAIGN + "rerun/", AGAIN, {"owner"}),
    *(("POST", CAMPAIGN + f"{verb}/", body, {"owner"}) for verb, body in
      (("stop", None), ("pause", None), ("resume", None), ("widen", {"all": True}))),
    ("POST", CAMPAIGN + "approve/", None, NOBODY),
    ("POST", CAMPAIGN + "reject/", {"reason": "no"}, NOBODY),
    ("POST", CAMPAIGN + "withdraw/", None, {"owner"}),
    ("GET", "/api/v1/carves/{campaign}/file", None, NOBODY),
    ("GET", "/api/v1/hosts/", None, SEE),
    ("GET", HOST, None, SEE),
    ("GET", HOST + "results/", None, SEE),
    ("GET", "/api/v1/labels/", None, SEE),
    ("POST", "/api/v1/labels/", NEW_LABEL, NOBODY),
    ("GET", LABEL, None, SEE),
    ("PUT", LABEL, NEW_LABEL, NOBODY),
    ("PATCH", LABEL, NEW_LABEL, NOBODY),
    ("DELETE", LABEL, None, NOBODY),
    ("GET", LABEL + "hosts/", None, SEE),
    ("POST", LABEL + "hosts/", JOINS, NOBODY),
    ("DELETE", LABEL + "hosts/", JOINS, NOBODY),
    ("GET", "/campaigns/", None, LISTS),
    *(("GET", "/campaigns/{campaign}/" + rest, None, OWN)
      for rest in ("", "hosts/", "errors/", "groups/", "groups/{key}/", "control/", "times/")),
    *(("POST", f"/campaigns/{{campaign}}/{verb}/", body, {"owner"}) for verb, body in
      (("stop", None), ("pause", None), ("resume", None), ("widen", {"to": "all"}), ("rerun", AGAIN))),
    ("GET", "/hosts/", None, SEE),
    ("GET", "/hosts/{host}/", None, SEE),
    ("POST", "/hosts/{host}/ask/", {"sql": "SELECT 1"}, NOBODY),
    ("GET", "/hosts/{host}/ask/{campaign}/", None, NOBODY),
    ("POST", "/hosts/{host}/revoke/", None, NOBODY),
    ("POST", "/hosts/{host}/trust/", None, NOBODY),
    ("GET", "/labels/", None, SEE),
    ("GET", "/labels/new/", None, NOBODY),
    ("POST", "/labels/new/", NEW_LABEL, NOBODY),
    ("GET", "/labels/{label}/", None, SEE),
    ("POST", "/labels/{label}/", NEW_LABEL, NOBODY),
    ("POST", "/labels/{label}/delete/", None, NOBODY),
    ("POST", "/labels/{label}/hosts/{host}/remove/", None, NOBODY),
    ("GET", "/ask/", None, LAUNCH),
    ("POST", "/ask/", {"sql": "SELECT 1", "kind": "all", "timeout": "60"}, LAUNCH),
    ("POST", "/ask/estimate/", {"sql": "SELECT 1", "kind": "all"}, LAUNCH),
    ("POST", "/ask/example/1/", None, LAUNCH),
    *(("GET", f"/ask/{panel}/", None, LAUNCH) for panel in ("find", "history", "queries")),
    ("POST", "/ask/check/", {"sql": "SELECT 1"}, LAUNCH),
    ("POST", "/ask/labels/", None, LAUNCH),
    ("POST", "/ask/queries/pin/", None, NOBODY),
    ("POST", "/ask/queries/save/", None, NOBODY),
]  # fmt: skip
ABOUT = re.compile(r"^(api/v1/\^?)?(campaigns|hosts|labels|ask|carves)/")


class World:
    """A campaign of the owner's, with an answer, and what else is asked about."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}
        self.people = {name: person(name, *codenames) for name, codenames in PEOPLE.items()}
        host = make_host(hostname="a")
        campaign = make_campaign(host, make_host(), by=self.people["owner"])
        answer(campaign, host, {"pid": "1"})
        self.names = {"campaign": campaign.pk, "host": host.pk, "label": make_label("web", host).pk}
        client = self.client("observer")
        found = client.get(f"/api/v1/campaigns/{campaign.pk}/groups/").json()["results"]
        self.names |= {"key": found[0]["key"], "seq": 1, "place": 1}

    def client(self, name: str) -> Client:
        if name not in self._clients:
            self._clients[name] = Client()
            self._clients[name].force_login(self.people[name])
        return self._clients[name]

    def filled(self, value: Any) -> Any:
        """Fill in the ids: numbers where they stand alone."""
        if isinstance(value, dict):
            return {name: self.filled(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.filled(part) for part in value]
        if not isinstance(value, str):
            return value
        return self.names.get(value.strip("{}"), value)

    def ask(self, name: str, method: str, path: str, body: Any) -> Any:
        path, body = path.format(**self.names), self.filled(body)
        client = self.client(name)
        if not path.startswith("/api/"):
            return client.post(path, body or {}) if method == "POST" else client.get(path)
        content = b"" if body is None else json.dumps(body).encode()
        return client.generic(method, path, content, content_type="application/json")


def person(name: str, *codenames: str) -> User:
    made = make_user(name)
    made.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return made


@pytest.fixture
def world() -> World:
    return World()


def test_every_address_about_campaigns_hosts_and_labels_is_in_the_table() -> None:
    known = {(method, re.sub(r"\{\w+\}", "1", path).partition("?")[0]) for method, path, _, _ in TABLE}

    for address in filter(lambda one: ABOUT.match(one.route), ALL):
        path = address.at()
        for method in set(getattr(address.view, "actions", ())) - {"head"}:
            assert (method.upper(), path) in known, f"{method} {path}"
        assert path in {path for _, path in known}, path


def test_each_person_may_what_the_table_says(world: World) -> None:
    wrong = []

    for method, path, body, may in TABLE:
        for name in reversed(PEOPLE):  # the owner last, who changes it
            Campaign.objects.filter(pk=world.names["campaign"]).update(status="running", ended_by="")
            told = world.ask(name, method, path, body).status_code
            if (told in (401, 403, 404)) == (name in may) or told >= 500:
                wrong.append(f"{name} {method} {path}: {told}")

    assert wrong == []


def test_lists_hold_what_a_person_may_look_at(world: World) -> None:
    found = {
        name: [one["id"] for one in world.client(name).get("/api/v1/campaigns/").json()["results"]]
        for name in ("owner", "colleague", "observer")
    }

    mine = [world.names["campaign"]]
    assert found == {"owner": mine, "colleague": [], "observer": mine}
    assert f"/campaigns/{mine[0]}/" not in world.client("colleague").get("/campaigns/").content.decode()


# --- who is put into labels ------------------------------------------------------------------------------------

KEEPER = ("add_label", "view_label", "add_enrollsecret", "view_enrollsecret", "view_host", "view_campaign")
SECRET = "a secret of thirty characters!"
FORM = {"quota": "", "valid_until": ""}
INLINE = {f"labelmembership_set-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS")}


def doors(campaign: int, host: int, label: int) -> list[tuple[str, Any, str]]:
    """Name every way to put hosts into a label without changing it by its own address."""
    source = {"campaign": campaign, "states": ["answered"]}
    return [
        ("/api/v1/labels/", {"name": "new", "from": source}, "json"),
        ("/api/v1/enroll-secrets/", {"name": "new", "secret": SECRET, "labels": ["web"]}, "json"),
        ("/labels/new/", {"name": "new", "add_hosts": "b"}, "form"),
        ("/settings/secrets/", {"name": "new", "labels": [label], **FORM}, "form"),
        ("/admin/agents/label/add/", {"name": "new", "add_hosts": "b", **INLINE}, "form"),
        ("/admin/agents/enrollsecret/add/", {"name": "new", "labels": [label], **FORM}, "form"),
    ]


@pytest.mark.parametrize("number", range(6), ids=["API", "API of secrets", "page", "settings", "admin", "its secrets"])
@pytest.mark.parametrize("may_change", [False, True])
def test_putting_hosts_into_labels_needs_the_right_to_change_labels_by_every_door(
    client: Client, number: int, may_change: bool
) -> None:
    host = make_host(hostname="b")
    campaign = make_campaign(host)
    answer(campaign, host, {"pid": "1"})
    label = make_label("web")
    keeper = person("keeper", *KEEPER, *(["change_label"] if may_change else []))
    User.objects.filter(pk=keeper.pk).update(is_staff=True)
    client.force_login(User.objects.get(pk=keeper.pk))
    address, body, kind = doors(campaign.pk, host.pk, label.pk)[number]

    told = client.post(address, body, content_type="application/json") if kind == "json" else client.post(address, body)

    into = Label.objects.filter(name="new", hosts=host).exists() or EnrollSecret.objects.filter(labels=label).exists()
    assert into is may_change, told.content.decode()[:2000]
    if kind == "json" and not may_change:
        assert told.status_code == 403
        assert "agents.change_label" in told.json()["error"]
