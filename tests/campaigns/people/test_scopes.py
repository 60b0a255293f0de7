"""Which hosts a person may see, by the groups he is in."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.db import connection
from django.test import Client

from agents.board import clock
from agents.models import Host, Label
from campaigns.launching.launch import Order, launch, start
from campaigns.models import Campaign
from campaigns.people import scopes
from campaigns.people.roles import ADMINISTRATOR, OPERATOR
from campaigns.people.scopes import Scope
from campaigns.selecting import frozen
from tests.factories import learn, make_campaign, make_host, make_label, make_user

pytestmark = pytest.mark.django_db
INLINE = {f"labelmembership_set-{name}": "0" for name in ("TOTAL_FORMS", "INITIAL_FORMS")}


@pytest.fixture
def hosts() -> dict[str, Label]:
    """Make three hosts: one in Berlin, one in Munich, and one laptop that is in both."""
    berlin, munich, both = (make_host(hostname=name) for name in ("berlin", "munich", "both"))
    return {
        "berlin": make_label("berlin", berlin, both),
        "munich": make_label("munich", munich, both),
        "laptops": make_label("laptops", both),
    }


def team(name: str, *labels: Label) -> Group:
    """Make a group with a scope."""
    group = Group.objects.create(name=name)
    Scope.objects.create(group=group).labels.set(labels)
    return group


def seen(user: Any) -> set[str]:
    return {host.hostname for host in scopes.hosts_for(user)}


def member_of(*groups: Group) -> User:
    user = make_user("anna")
    user.groups.set(groups)
    return user


def test_who_is_in_no_group_with_a_scope_sees_every_host(hosts: dict[str, Label]) -> None:
    anna = member_of(Group.objects.create(name="without"))

    assert seen(anna) == {"berlin", "munich", "both"}
    assert not scopes.is_limited(anna)


def test_scopes_of_several_groups_add_up(hosts: dict[str, Label]) -> None:
    anna = member_of(team("b", hosts["berlin"]), team("l", hosts["laptops"]))

    assert seen(anna) == {"berlin", "both"}
    assert scopes.is_limited(anna)


def test_a_limit_holds_whatever_group_without_one_a_person_is_in_as_well(hosts: dict[str, Label]) -> None:
    anna = member_of(Group.objects.get(name="Administrator"), team("m", hosts["munich"]))

    assert seen(anna) == {"munich", "both"}


def test_a_scope_without_labels_shows_no_host(hosts: dict[str, Label]) -> None:
    anna = member_of(team("empty"))
    hosts["berlin"].delete()

    assert seen(anna) == set()


@pytest.mark.usefixtures("board")
def test_who_sees_no_host_is_told_that_there_is_none_of_the_name_he_gives(
    hosts: dict[str, Label], client: Client
) -> None:
    client.force_login(member_of(team("nobody's"), Group.objects.get(name="Operator")))
    asked = {
        "/api/v1/campaigns/estimate/": {"sql": "SELECT 1", "target": {"hosts": ["berlin"]}},
        f"/api/v1/labels/{hosts['berlin'].pk}/hosts/": {"hosts": ["berlin"]},
    }

    for address, body in asked.items():
        told = client.post(address, body, content_type="application/json")
        assert (told.status_code, told.json()["error"]) == (400, "unknown host: 'berlin'")


def test_a_scope_whose_label_is_deleted_shows_less_and_never_more(hosts: dict[str, Label]) -> None:
    anna = member_of(team("b", hosts["berlin"]))
    hosts["berlin"].delete()

    assert seen(anna) == set()


def test_superusers_see_all_and_who_is_not_signed_in_nobody(hosts: dict[str, Label]) -> None:
    root = User.objects.create_superuser("root")
    root.groups.add(team("b", hosts["berlin"]))

    assert len(seen(root)) == 3
    assert seen(AnonymousUser()) == set()


def test_what_narrows_further_takes_away_and_adds_nothing(hosts: dict[str, Label]) -> None:
    anna = member_of(team("b", hosts["berlin"]))
    scopes.narrow(anna, [hosts["munich"].pk])

    assert seen(anna) == {"both"}


def test_the_condition_of_raw_sql_means_the_same_hosts(hosts: dict[str, Label]) -> None:
    anna = member_of(team("b", hosts["berlin"]))
    scopes.narrow(anna, [hosts["munich"].pk])

    text, values = scopes.condition(scopes.limits_of(anna), "host_id")
    members = "SELECT DISTINCT hostname FROM agents_labelmembership JOIN agents_host ON agents_host.id = host_id WHERE "
    with connection.cursor() as cursor:
        cursor.execute(members + text, values)
        assert cursor.fetchall() == [("both",)]
    assert scopes.from_json(scopes.as_json(scopes.limits_of(anna))) == scopes.limits_of(anna)


def test_limits_cost_one_query_for_each_object_of_a_person(
    hosts: dict[str, Label], django_assert_num_queries: Any
) -> None:
    anna = member_of()

    with django_assert_num_queries(1):
        for _ in range(3):
            assert not scopes.is_limited(anna)


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize(("now", "meant"), [("laptops", {"both"}), ("munich", {"both"}), ("", {"berlin", "both"})])
def test_what_starts_later_asks_whom_its_launcher_might_ask_and_still_may(
    hosts: dict[str, Label], now: str, meant: set[str]
) -> None:
    berliners = team("b", hosts["berlin"])
    anna = member_of(berliners, Group.objects.get(name=OPERATOR))
    order = Order(sql="SELECT 1", target={"all": True}, timeout=60, start_at=clock.now() + timedelta(hours=1))
    campaign = launch(order, anna)
    Campaign.objects.update(start_at=clock.now())
    if now:
        berliners.scope.labels.set([hosts[now]])
    else:
        berliners.scope.delete()

    start(campaign.pk)

    assert {host.hostname for host in frozen.hosts_of(campaign.ranges.all())} == meant


def test_tables_of_kinds_outside_the_scope_are_in_no_list(hosts: dict[str, Label], client: Client) -> None:
    for platform, table in (("linux", "apt_sources"), ("darwin", "launchd"), ("windows", "registry")):
        learn(platform, "processes", table)
    Host.objects.filter(hostname="munich").update(platform="darwin", osquery_version="5.23.0")
    Host.objects.filter(hostname="berlin").update(platform="linux", osquery_version="5.23.0")
    anna, boss = member_of(team("b", hosts["berlin"])), make_user("boss", admin=True)
    anna.user_permissions.add(Permission.objects.get(codename="add_campaign"))

    def listed(by: User) -> list[str]:
        client.force_login(by)
        return [table["name"] for table in client.get("/api/v1/schema/").json()["results"]]

    def found(by: User, words: str) -> str:
        client.force_login(by)
        return client.get("/find/", {"q": words}).content.decode()

    assert listed(boss) == ["apt_sources", "launchd", "processes", "registry"]
    assert listed(anna) == ["apt_sources", "processes"]
    assert scopes.tables_for(anna, search="process")[0]["platforms"] == ["linux"]
    assert "SELECT+%2A+FROM+launchd" in found(boss, "launchd")
    assert "SELECT+%2A+FROM+launchd" not in found(anna, "launchd")
    assert "SELECT+%2A+FROM+apt_sources" in found(anna, "apt")


def test_a_label_that_hosts_of_others_bear_keeps_its_name(hosts: dict[str, Label], client: Client) -> None:
    anna = member_of(team("b", hosts["berlin"]), Group.objects.get(name=ADMINISTRATOR))
    anna.is_staff = True
    anna.save()
    client.force_login(anna)

    def called(label: Label, name: str) -> list[str]:
        """Try every door; give what the label was called after each."""
        names = []
        for address, sent in (
            (f"/api/v1/labels/{label.pk}/", {"name": f"{name} by API"}),
            (f"/labels/{label.pk}/", {"name": f"{name} by page"}),
            (f"/admin/agents/label/{label.pk}/change/", {"name": f"{name} in admin", **INLINE}),
        ):
            if address.startswith("/api/"):
                client.patch(address, sent, content_type="application/json")
            else:
                client.post(address, sent)
            names.append(Label.objects.get(pk=label.pk).name)
        return names

    assert called(hosts["munich"], "south") == ["munich", "munich", "munich"]
    assert called(hosts["laptops"], "mobile") == ["mobile by API", "mobile by page", "mobile in admin"]
    answer = client.patch(f"/api/v1/labels/{hosts['munich'].pk}/", {"name": "south"}, content_type="application/json")
    assert answer.status_code == 403
    assert answer.json()["error"].endswith("outside of your scope: who sees all of them gives it another name")
    same = {"name": "munich", "description": "the south"}
    assert (
        client.patch(f"/api/v1/labels/{hosts['munich'].pk}/", same, content_type="application/json").status_code == 200
    )


@pytest.mark.usefixtures("board")
def test_pages_do_not_call_wrong_what_is_not_for_one_to_see(hosts: dict[str, Label], client: Client) -> None:
    anna = member_of(Group.objects.get(name="Observer"), team("m", hosts["munich"]))
    client.force_login(anna)
    outside = Host.objects.get(hostname="berlin")
    campaign = make_campaign(outside)

    pages = [client.get(address) for address in (f"/hosts/{outside.pk}/", f"/campaigns/{campaign.pk}/", "/nothing/")]

    assert [page.status_code for page in pages] == [404, 404, 404]
    words = ("one of those that you see", "not for you to see", "not for you to see")
    assert all(said in page.content.decode() for page, said in zip(pages, words, strict=True))
