"""Labels made of the hosts of a campaign: by what became of them there, or by their answer."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from rest_framework.test import APIClient

from agents.models import Host, Label
from campaigns.models import Campaign
from campaigns.states import State
from tests.factories import answer, make_campaign, make_host, make_user
from tests.pages import words_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]


@pytest.fixture
def admin(api: Callable[[User | None], APIClient]) -> APIClient:
    """Give a client that may everything."""
    return api(make_user(admin=True))


@pytest.fixture
def campaign() -> Campaign:
    """Give a campaign with hosts that answered a, b and a, failed, and said nothing."""
    made = make_campaign(*(make_host() for _ in range(5)))
    for host, value in zip(Host.objects.order_by("pk"), "aba", strict=False):
        answer(made, host, {"value": value})
    answer(made, Host.objects.order_by("pk")[3], state=State.FAILED)
    return made


def label(admin: APIClient, source: Any, **more: Any) -> Any:
    return admin.post("/api/v1/labels/", {"name": "found", "from": source, **more}, format="json")


def members() -> list[int]:
    first = Host.objects.order_by("pk")[0].pk
    return sorted(host - first for host in Label.objects.get(name="found").hosts.values_list("pk", flat=True))


def test_hosts_in_some_states_become_a_label(admin: APIClient, campaign: Campaign) -> None:
    made = label(admin, {"campaign": campaign.pk, "states": ["failed", "waiting"]})

    assert made.status_code == 201, made.content
    assert members() == [3, 4]
    assert "from" not in made.json()


def test_hosts_of_a_group_become_a_label_and_others_join_it(admin: APIClient, campaign: Campaign) -> None:
    groups = admin.get(f"/api/v1/campaigns/{campaign.pk}/groups/?by=value").json()["results"]
    key = next(group["key"] for group in groups if group["values"] == {"value": "a"})

    made = label(admin, {"campaign": campaign.pk, "group": key}).json()
    assert members() == [0, 2]

    body = {"from": {"campaign": campaign.pk, "states": ["failed"]}}
    assert admin.patch(f"/api/v1/labels/{made['id']}/", body, format="json").status_code == 200
    assert members() == [0, 2, 3]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ({"campaign": 0, "states": []}, "from.campaign 0 is not the id of a campaign"),
        ({"campaign": 999_999, "states": ["failed"]}, "unknown campaign: 999999"),
        ({"campaign": 1, "states": ["lost"]}, "from.states has 'lost', allowed are"),
        ({"campaign": 1}, "from selects nobody: give states or group"),
        ([], "from [] is not an object like"),
    ],
)
def test_what_names_nobody_makes_no_label(admin: APIClient, source: Any, sentence: str) -> None:
    refused = label(admin, source)

    assert refused.status_code == 400
    assert sentence in refused.json()["error"]
    assert not Label.objects.filter(name="found").exists()


def test_a_group_that_a_campaign_does_not_have_means_nobody(admin: APIClient, campaign: Campaign) -> None:
    other = make_campaign(make_host())
    answer(other, other.targets.get().host, {"value": "c"})
    key = admin.get(f"/api/v1/campaigns/{other.pk}/groups/?by=value").json()["results"][0]["key"]
    sentence = f"{key!r} is no group of the answers of campaign {campaign.pk}"
    target = {"campaign": {"id": campaign.pk, "group": key}}
    order = {"sql": "SELECT 1", "target": target}

    made = label(admin, {"campaign": campaign.pk, "group": key})
    drawer = f"/campaigns/{campaign.pk}/groups/{key}/use/"
    browser = Client()
    browser.force_login(User.objects.filter(is_superuser=True)[0])
    labelled = browser.post(drawer, {"do": "label", "label": "found"}, headers={"HX-Request": "true"})
    others = [admin.post(f"/api/v1/campaigns/{name}", order, format="json") for name in ("", "estimate/")]

    assert [(refused.status_code, refused.json()["error"]) for refused in (made, *others)] == [(400, sentence)] * 3
    assert sentence in words_of(labelled)
    assert not Label.objects.filter(name="found").exists()


def test_a_label_is_kept_by_hand_or_by_sql(admin: APIClient, campaign: Campaign) -> None:
    refused = label(admin, {"campaign": campaign.pk, "states": ["failed"]}, queries={"linux": "SELECT 1"})

    assert refused.status_code == 400
    assert "has SQL or hosts of a campaign, not both" in refused.json()["error"]
    assert not Label.objects.filter(name="found").exists()
