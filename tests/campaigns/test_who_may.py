"""Who may look at and change campaigns, labels and hosts, by every door: asked of each person at each address."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from agents.models import EnrollSecret, Label
from tests.factories import answer, make_campaign, make_host, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board", "carves_folder")]

PEOPLE = {
    "owner": ["add_campaign"],  # and nothing else: his own campaign is his to look at
    "colleague": ["add_campaign"],
    "observer": ["view_campaign", "view_host", "view_label"],
    "stranger": [],
}


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
