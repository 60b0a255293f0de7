"""The groups of answers in the console: found, compared with an earlier run, and their hosts asked and labelled."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from agents.models import Host, Label
from campaigns.answers.groups import groups
from campaigns.models import Campaign, Query
from tests.factories import answer, make_campaign, make_host, make_hosts, make_label, make_person, make_user
from tests.pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]
As = Callable[[User], Client]
SQL = "SELECT name, version FROM os_version"


@pytest.fixture
def hosts() -> list[Host]:
    """Give five hosts."""
    return make_hosts(5)


def run(hosts: list[Host], *versions: str, **order: Any) -> Campaign:
    """Give a campaign in which each host answered its version."""
    made = make_campaign(*hosts, sql=SQL, **order)
    for host, version in zip(hosts, versions, strict=False):
        answer(made, host, {"name": "osqueryd", "version": version})
    return made


@pytest.fixture
def campaign(hosts: list[Host]) -> Campaign:
    """Give a campaign that three hosts answered, two of them alike."""
    return run(hosts, "5.1", "5.2", "5.1")


def key_of(campaign: Campaign, *by: str, place: int = 0) -> str:
    """Give the key of a group; 0 = the most common."""
    key: str = groups(campaign, by, "-hosts", 9, 0)[place]["key"]
    return key


def drawer(campaign: Campaign, *by: str) -> str:
    return f"/campaigns/{campaign.pk}/groups/{key_of(campaign, *by)}/"


@pytest.mark.parametrize("by", ["", "version"])
def test_the_same_answers_are_one_group(as_: As, observer: User, campaign: Campaign, by: str) -> None:
    response = as_(observer).get(f"/campaigns/{campaign.pk}/?tab=groups&by={by}")

    assert re.findall(r"data-opens-drawer>(\d+)</a>", text_of(response)) == ["2", "1"]
    assert [line.hosts for line in response.context["lines"]] == [2, 1]


def test_values_that_differ_by_what_nobody_sees_are_told_apart(
    as_: As, hosts: list[Host], django_user_model: type[User]
) -> None:
    query = Query.objects.create(name="versions", sql=SQL)
    before = run(hosts, "5.1", "5.1", "", "5.1", "5.1")
    after = run(hosts, "5.1", "5.1 ", "\u00a0", "\t5.1 ", "")
    Campaign.objects.update(query=query)
    boss = as_(django_user_model.objects.create_superuser("boss"))
    told = ["5.1 (ends with a blank)", "\u00a0 (blanks only)", "5.1 (begins and ends with a blank)"]

    for address in (
        f"/campaigns/{after.pk}/?tab=groups&by=version",
        f"/campaigns/{after.pk}/compare/?with={before.pk}",
        f"/queries/{query.pk}/latest/?by=version",
    ):
        shown = re.sub(r"<[^>]*>", "", boss.get(address).content.decode())
        said = re.sub(r"[ \t\n]+", " ", shown)
        assert [words for words in told if words not in said] == [], address
    assert "(empty)" in said


def test_groups_are_made_by_several_columns_in_the_order_of_the_sql(
    as_: As, observer: User, campaign: Campaign
) -> None:
    response = as_(observer).get(f"/campaigns/{campaign.pk}/groups/", {"by": ["version", "nothing", "name"]})

    assert response.context["by"] == ["name", "version"]
    assert [line.content for line in response.context["lines"]] == [["osqueryd", "5.1"], ["osqueryd", "5.2"]]


def test_columns_beyond_the_most_are_said(as_: As, observer: User, hosts: list[Host]) -> None:
    campaign = make_campaign(*hosts, sql=SQL)
    row = {f"column {number}": "1" for number in range(12)}
    answer(campaign, hosts[0], row)

    response = as_(observer).get(f"/campaigns/{campaign.pk}/groups/", {"by": list(row)})

    assert "The first 10 columns make the groups: 2 more are ticked than can be." in text_of(response)


def test_a_column_without_a_name_is_called_so_everywhere(as_: As, hosts: list[Host]) -> None:
    runs = [make_campaign(*hosts, sql=SQL) for _ in range(2)]
    for run, cell in zip(runs, "ab", strict=True):
        answer(run, hosts[0], {"": cell, "name": "x"})
    browser = as_(make_user(admin=True))

    pages = {
        "groups": browser.get(f"/campaigns/{runs[1].pk}/groups/", {"by": [""]}),
        "a group": browser.get(drawer(runs[1], "")),
        "compare": browser.get(f"/campaigns/{runs[1].pk}/compare/", {"with": runs[0].pk}),
    }

    for where, page in pages.items():
        assert page.status_code == 200, where
        assert "(no name)" in page.content.decode(), where


def test_the_rarest_come_first_when_asked_for(as_: As, observer: User, campaign: Campaign) -> None:
    browser = as_(observer)

    found = browser.get(f"/campaigns/{campaign.pk}/groups/?by=version&order=hosts").context["lines"]

    assert [line.content for line in found] == [["5.2"], ["5.1"]]
    assert browser.get(f"/campaigns/{campaign.pk}/groups/?by=nothing&order=odd&with=x&page=-1").status_code == 200


@pytest.mark.parametrize("by", [[], ["version"]])
def test_groups_are_found_by_what_they_hold(as_: As, observer: User, campaign: Campaign, by: list[str]) -> None:
    browser = as_(observer)

    found = browser.get(f"/campaigns/{campaign.pk}/groups/", {"by": by, "group_search": "5.2"})
    nothing = browser.get(f"/campaigns/{campaign.pk}/groups/", {"by": by, "group_search": "100% <b>\u202e"})

    assert [line.hosts for line in found.context["lines"]] == [1]
    assert "No group is like “<bdi>100% &lt;b&gt;⟨U+202E⟩</bdi>”." in text_of(nothing)


def test_a_group_names_its_hosts(as_: As, observer: User, campaign: Campaign, hosts: list[Host]) -> None:
    browser = as_(observer)

    named = text_of(browser.get(drawer(campaign, "version"), headers={"HX-Request": "true"}))
    found = browser.get(drawer(campaign, "version"), {"search": hosts[2].hostname.upper()})

    assert [f">{host.hostname}<" in named for host in hosts] == [True, False, True, False, False]
    assert "<h1" not in named
    assert "5.1" in named
    assert [host_id for host_id, *_ in found.context["hosts"]] == [hosts[2].pk]
    for odd in ("odd", "0" * 32):
        missing = browser.get(f"/campaigns/{campaign.pk}/groups/{odd}/")
        assert (missing.status_code, "There is no such group" in text_of(missing)) == (404, True)


def test_hosts_of_a_large_group_come_in_pages_and_picks_stay(as_: As, operator: User) -> None:
    hosts = [make_host(hostname=f"many-{number:03}") for number in range(120)]
    campaign = run(hosts, *["5.1"] * 120)

    second = as_(operator).get(drawer(campaign), {"page": 2, "host": [hosts[0].pk, hosts[119].pk]})

    assert [name for _, name, _ in second.context["hosts"]] == [host.hostname for host in hosts[100:]]
    assert [picked for *_, picked in second.context["hosts"]] == [False] * 19 + [True]
    assert second.context["picked_elsewhere"] == [hosts[0].pk]
    assert (second.context["total"], second.context["has_next"]) == (120, False)


# --- asking and labelling --------------------------------------------------------------------------------------


def test_the_hosts_of_a_group_are_asked(as_: As, operator: User, campaign: Campaign, hosts: list[Host]) -> None:
    browser, key = as_(operator), key_of(campaign, "version")

    group = browser.post(f"/campaigns/{campaign.pk}/groups/{key}/use/", {"do": "ask"}, follow=True)
    one = browser.post(f"/campaigns/{campaign.pk}/groups/{key}/use/", {"do": "ask", "host": hosts[2].pk}, follow=True)

    begun = group.context["form"].initial
    assert (begun["kind"], begun["earlier"], begun["group"]) == ("campaign", campaign.pk, key)
    typed = {"page": "p1", "sql": SQL, "kind": "campaign", "earlier": campaign.pk, "group": key, "timeout": "600"}
    browser.post("/ask/", typed)
    assert Campaign.objects.latest("pk").target == {"campaign": {"id": campaign.pk, "group": key}}
    assert one.context["form"].initial["hosts"] == f"#{hosts[2].pk}\n"


@pytest.mark.parametrize("asked", [{"of": "1", "group": "odd"}, {"of": "999999", "group": "0" * 32}])
def test_a_group_that_is_none_is_not_asked(as_: As, operator: User, asked: dict[str, str]) -> None:
    assert not as_(operator).get("/ask/", asked).context["form"]["kind"].value()


def test_the_hosts_of_a_group_are_labelled(as_: As, campaign: Campaign, hosts: list[Host]) -> None:
    may = make_person(
        "campaigns.view_campaign", "agents.view_host", "agents.view_label", "agents.add_label", "agents.change_label"
    )
    browser, use = as_(may), f"{drawer(campaign, 'version')}use/"
    fragment = {"HX-Request": "true"}

    made = browser.post(use, {"do": "label", "label": "old ones"}, headers=fragment)
    again = browser.post(use, {"do": "label", "label": "old ones", "host": hosts[0].pk}, headers=fragment)

    assert "2 hosts put into the new label old ones." in text_of(made)
    assert "0 hosts put into the label old ones: all of them were in it already." in text_of(again)
    assert sorted(Label.objects.get(name="old ones").hosts.values_list("pk", flat=True)) == [hosts[0].pk, hosts[2].pk]
    picked = browser.post(use, {"do": "label", "label": "one", "host": [hosts[0].pk, hosts[1].pk]})
    assert picked["Location"] == f"/labels/{Label.objects.get(name='one').pk}/"
    assert list(Label.objects.get(name="one").hosts.all()) == [hosts[0]], "who is not of the group is not put in"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "is no name of a label"),
        ("x" * 101, "is no name of a label"),
        ("a\0b", "is no name of a label"),
        ("Linux", "is built in"),
        ("new", "making it needs the permission agents.add_label"),
    ],
)
def test_what_speaks_against_a_label_is_said(as_: As, campaign: Campaign, name: str, sentence: str) -> None:
    make_label("by hand")
    Label.objects.get_or_create(name="Linux", defaults={"built_in": "linux"})
    rights = ["campaigns.view_campaign", "agents.change_label"] + ([] if name == "new" else ["agents.add_label"])
    before = Label.objects.count()

    said = as_(make_person(*rights)).post(
        f"{drawer(campaign)}use/", {"do": "label", "label": name}, headers={"HX-Request": "true"}
    )

    assert sentence in text_of(said)
    assert Label.objects.count() == before


def test_who_may_only_look_labels_and_asks_nobody(as_: As, observer: User, campaign: Campaign) -> None:
    browser = as_(observer)

    page = text_of(browser.get(drawer(campaign)))
    said = browser.post(f"{drawer(campaign)}use/", {"do": "label", "label": "x"}, headers={"HX-Request": "true"})

    assert 'value="ask"' not in page
    assert 'value="label"' not in page
    assert "needs the permission agents.change_label" in text_of(said)


# --- compared with an earlier run ------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [[], ["version"]])
def test_groups_stand_beside_those_of_an_earlier_run(as_: As, observer: User, hosts: list[Host], by: list[str]) -> None:
    before = run(hosts, "5.0", "5.1", "5.1", "5.2", "5.3")
    now = run(hosts, "5.1", "5.1", "5.1", "5.2", "5.4")

    response = as_(observer).get(f"/campaigns/{now.pk}/groups/", {"by": by, "with": before.pk})
    whole = as_(observer).get(f"/campaigns/{now.pk}/groups/", {"by": by, "with": before.pk, "unchanged": "yes"})

    found = [(line.compared.before, line.compared.now, line.compared.change) for line in response.context["lines"]]
    assert sorted(found[:3]) == [(0, 1, 1), (1, 0, -1), (1, 0, -1)], "what came or went stands first"
    assert found[3:] == [(2, 3, 1)]
    assert len(whole.context["lines"]) == 5
    page = text_of(response)
    assert page.count('class="mark came"') == 1
    assert page.count('class="mark went"') == 2
    linked = re.findall(r'href="(/campaigns/\d+/groups/[^"]+/)"', page)
    assert [as_(observer).get(address).status_code for address in linked] == [200] * 5


def test_earlier_runs_of_the_same_sql_are_offered_kin_first(as_: As, observer: User, hosts: list[Host]) -> None:
    parent = run(hosts, "5.1")
    others = [run(hosts, "5.1") for _ in range(2)]
    make_campaign(*hosts, sql="SELECT 2")
    shown = run(hosts, "5.1")
    Campaign.objects.filter(pk=shown.pk).update(parent=parent)
    rerun = run(hosts, "5.1")
    Campaign.objects.filter(pk=rerun.pk).update(parent=shown)

    runs = as_(observer).get(f"/campaigns/{shown.pk}/groups/").context["runs"]

    assert [each.pk for each in runs] == [rerun.pk, parent.pk, *(each.pk for each in reversed(others))]


def test_runs_of_others_are_not_offered_to_who_sees_only_his_own(as_: As, hosts: list[Host]) -> None:
    mine = make_person("campaigns.add_campaign")
    other = run(hosts, "5.1")
    own = run(hosts, "5.2", by=mine)

    page = as_(mine).get(f"/campaigns/{own.pk}/groups/", {"with": other.pk})

    assert page.context["runs"] == []
    assert page.context["earlier"] is None
