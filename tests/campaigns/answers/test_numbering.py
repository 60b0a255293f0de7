"""Who sees a part of a campaign's hosts counts answers as if there were no others, at every door, and pages by that."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from agents.models import Label
from campaigns.models import Campaign
from campaigns.people.scopes import Scope
from tests.factories import answer, end, make_campaign, make_hosts, make_label, make_user

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
OURS = ("host-1", "host-4", "host-7")


@pytest.fixture
def campaign(db: None) -> Campaign:
    """Give one of nine hosts that answered one after the other, two rows each; those of OURS bear a label."""
    hosts = make_hosts(9)
    for number, host in enumerate(hosts):
        host.hostname = f"host-{number}"
        host.save()
    make_label("ours", *(host for host in hosts if host.hostname in OURS))
    campaign = make_campaign(*hosts)
    for host in hosts:
        answer(campaign, host, {"n": host.hostname}, {"n": "same"})
    return end(campaign)


@pytest.fixture
def part(campaign: Campaign) -> Client:
    """Give the browser of an administrator who sees the hosts of OURS alone."""
    return signed_in("ada", "ours")


def signed_in(name: str, *labels: str) -> Client:
    user = make_user(name)
    User.objects.filter(pk=user.pk).update(is_staff=True)
    user.groups.add(Group.objects.get(name="Administrator"))
    if labels:
        team = Group.objects.create(name="team")
        Scope.objects.create(group=team).labels.set(Label.objects.filter(name__in=labels))
        user.groups.add(team)
    client = Client()
    client.force_login(user)
    return client


def get(client: Client, address: str) -> Any:
    answered = client.get(address)
    assert answered.status_code == 200, answered.content
    return answered.json()


def paged(client: Client, address: str) -> Iterator[dict[str, Any]]:
    """Walk over a list, following `next`."""
    following: str | None = f"/api/v1/{address}"
    while following:
        page = get(client, following)
        yield from page["results"]
        following = page["next"]


def numbered(items: Any) -> list[tuple[int, str]]:
    return [(item["seq"], item["host"]["hostname"]) for item in items]


def test_every_list_numbers_the_answers_that_are_seen(campaign: Campaign, part: Client) -> None:
    at = f"campaigns/{campaign.pk}"
    wanted = list(zip((1, 2, 3), OURS, strict=True))
    group = next(item for item in paged(part, f"{at}/groups/?by=n") if item["values"] == {"n": "same"})
    export = part.get(f"/api/v1/{at}/export.json").getvalue()

    assert numbered(paged(part, f"{at}/results/?limit=1")) == wanted
    assert numbered(get(part, f"/api/v1/{at}/results/?after=1")["results"]) == wanted[1:]
    assert get(part, f"/api/v1/{at}/results/?after=3")["results"] == []
    assert numbered(paged(part, f"{at}/rows/?limit=2&where=n:same")) == wanted
    assert numbered(paged(part, f"{at}/rows/?limit=1&order=-host&cut=5&where=n:same")) == wanted[::-1]
    assert numbered(paged(part, f"{at}/rows/?limit=1&up_to=2&where=n:same")) == wanted[:2]
    assert numbered(paged(part, f"{at}/groups/{group['key']}/hosts/?limit=1")) == wanted
    assert [item["hosts"] for item in paged(part, f"{at}/groups/?by=n&up_to=2") if item["values"] == {"n": "same"}] == [
        2
    ]
    assert numbered(json.loads(export)) == wanted
    assert [get(part, f"/api/v1/{at}/rows/{seq}/1/") for seq in (1, 2, 3)] == [{"n": name} for name in OURS]
    assert part.get(f"/api/v1/{at}/rows/4/1/").status_code == 404


def test_nothing_else_tells_a_number_of_all(campaign: Campaign, part: Client) -> None:
    other = make_campaign(*(target.host for target in campaign.targets.select_related("host")))
    for target in campaign.targets.select_related("host").order_by("host_id"):
        answer(other, target.host, {"n": "same"})
    at = f"/api/v1/campaigns/{campaign.pk}"
    host = campaign.targets.get(host__hostname="host-7").host_id

    assert get(part, f"{at}/")["last_seq"] == 3
    assert [item["last_seq"] for item in get(part, "/api/v1/campaigns/")["results"]] == [3, 3]
    assert get(part, f"{at}/diff/?with={other.pk}")["as_of_seq"] == 3
    assert [item["seq"] for item in get(part, f"/api/v1/hosts/{host}/results/")["results"]] == [3, 3]
    assert part.post(f"{at}/sql/", {"sql": "SELECT 1"}, "application/json").json()["as_of_seq"] == 3
    assert b'data-last-seq="3"' in part.get(f"/campaigns/{campaign.pk}/").content
    assert b'data-last-seq="3"' in part.get(f"/admin/campaigns/campaign/{campaign.pk}/change/").content
    for kind, row in (("result", campaign.results.get(host_id=host)), ("target", campaign.targets.get(host_id=host))):
        pages = [f"/admin/campaigns/{kind}/{page}" for page in ("", f"{row.pk}/change/")]  # they bear rows' numbers
        assert [part.get(page).status_code for page in pages] == [403, 403]


def test_who_sees_every_host_gets_what_is_stored(campaign: Campaign) -> None:
    boss = signed_in("boss")
    wanted = [(seq, f"host-{seq - 1}") for seq in range(1, 10)]

    assert numbered(paged(boss, f"campaigns/{campaign.pk}/results/?limit=4")) == wanted
    assert get(boss, f"/api/v1/campaigns/{campaign.pk}/")["last_seq"] == 9
    assert "seq" in boss.get("/admin/campaigns/result/").content.decode().lower()


def test_rows_of_a_host_that_one_may_not_see_are_asked_for_in_vain(campaign: Campaign, part: Client) -> None:
    ids = dict(campaign.targets.values_list("hostname", "host_id"))
    address = f"/api/v1/campaigns/{campaign.pk}/rows/?host={ids['host-1']}&host={ids['host-2']}"

    for asked in (address, f"{address}&order=n", f"{address}&cut=9"):
        assert {item["host"]["hostname"] for item in get(part, asked)["results"]} == {"host-1"}
    assert "host-2" not in part.get(f"/campaigns/{campaign.pk}/?host={ids['host-2']}").content.decode()
