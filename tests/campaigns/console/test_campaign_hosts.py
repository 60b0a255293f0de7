"""The tabs Hosts and Errors of a campaign: sorted, narrowed, and what is done with hosts that were chosen there."""

from collections.abc import Callable
from datetime import timedelta
from hashlib import md5
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from agents.models import Host, HousekeepingQuery, Label, LabelMembership, Presence
from campaigns.answers.target_list import SORTS
from campaigns.models import Campaign, Target
from campaigns.people.scopes import Scope
from campaigns.selecting import selection
from campaigns.states import State
from tests.factories import answer, end, make_campaign, make_hosts, make_label, make_person
from tests.pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

ERROR = "no such table: <b>x</b> & y"
DIGEST = md5(ERROR.encode(), usedforsecurity=False).hexdigest()
SCRIPT = {"HTTP_HX_REQUEST": "true"}


@pytest.fixture
def person(client: Client) -> Callable[..., Client]:
    """Give a browser of somebody with these permissions, who may look at campaigns and hosts."""

    def log_in(*more: str) -> Client:
        client.force_login(make_person("campaigns.view_campaign", "agents.view_host", *more))
        return client

    return log_in


@pytest.fixture
def hosts() -> list[Host]:
    """Give six hosts, of which the first was seen just now and the second an hour ago."""
    made = make_hosts(6)
    for host, ago in ((made[0], timedelta(0)), (made[1], timedelta(hours=1))):
        Presence.objects.create(host=host, last_seen=timezone.now() - ago)
    return made


@pytest.fixture
def campaign(hosts: list[Host]) -> Campaign:
    """Give an ended campaign: two answered, two failed alike, one failed with more than that text, one was missed."""
    made = make_campaign(*hosts, sql="SELECT 1 AS one")
    for number, host in enumerate(hosts[:2], 1):
        cost = {"wall_ms": number * 10, "user_ms": number, "system_ms": 1, "memory_bytes": number * 1024}
        answer(made, host, *[{"one": "1"}] * number, deliveries=number, delivered_at=timezone.now(), **cost)
    for host in hosts[2:4]:
        answer(made, host, state=State.FAILED, error=ERROR)
    answer(made, hosts[4], state=State.FAILED, error=f"{ERROR}, and more")
    return end(made)


def shown_in(page: str, hosts: list[Host]) -> list[Host]:
    """Give the hosts that a page links to, in its order."""
    at = {host: page.find(f'<th scope="row"> <a href="/hosts/{host.pk}/">') for host in hosts}
    return sorted((host for host in hosts if at[host] >= 0), key=lambda host: at[host])


# --- the list --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", SORTS)
def test_every_column_sorts_both_ways_over_the_whole_list(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host], order: str
) -> None:
    up = text_of(person().get(f"/campaigns/{campaign.pk}/hosts/?order={order}"))
    down = text_of(person().get(f"/campaigns/{campaign.pk}/hosts/?order=-{order}"))

    assert 'aria-sort="ascending"' in up
    assert 'aria-sort="descending"' in down
    assert set(shown_in(up, hosts)) == set(shown_in(down, hosts)) == set(hosts)
    assert shown_in(up, hosts) != shown_in(down, hosts)


def test_hosts_that_told_nothing_stand_last_either_way(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host]
) -> None:
    for order, first in (("wall", hosts[0]), ("-wall", hosts[1]), ("seen", hosts[1]), ("-seen", hosts[0])):
        page = text_of(person().get(f"/campaigns/{campaign.pk}/hosts/?order={order}"))

        assert shown_in(page, hosts)[0] == first, order
        assert set(shown_in(page, hosts)[:2]) == set(hosts[:2]), order


def test_hosts_that_told_a_part_of_what_it_cost_are_shown(person: Callable[..., Client], hosts: list[Host]) -> None:
    made = make_campaign(*hosts)
    for host, cost in zip(hosts, ({"wall_ms": 3}, {"user_ms": 4}, {"system_ms": 5}, {"memory_bytes": 6}), strict=False):
        answer(made, host, **cost)

    told = person().get(f"/campaigns/{made.pk}/hosts/").content.decode()

    assert "user 4 ms, system — ms" in told
    assert "user — ms, system 5 ms" in told


def test_state_text_presence_and_error_narrow_each_other(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host]
) -> None:
    narrowed = {
        "state=failed": hosts[2:5],
        f"error={DIGEST}": hosts[2:4],
        f"error={DIGEST}&search={hosts[3].hostname}": hosts[3:4],
        "search=AND MORE": hosts[4:5],
        "online=yes": hosts[:1],
        "online=no": hosts[1:],
        "online=yes&state=failed": [],
    }
    for question, meant in narrowed.items():
        page = text_of(person().get(f"/campaigns/{campaign.pk}/hosts/?{question}"))

        assert shown_in(page, hosts) == meant, question
        assert f"{len(meant)} host" in page


@pytest.mark.parametrize("question", ["order=nonsense", "order=-", "error=zz", "online=maybe", "page=1000", "page=x"])
def test_what_is_no_question_is_asked_nothing(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host], question: str
) -> None:
    page = person().get(f"/campaigns/{campaign.pk}/hosts/?{question}")

    assert page.status_code == 200
    assert shown_in(text_of(page), hosts) == hosts


# --- errors ----------------------------------------------------------------------------------------------------


def test_errors_name_their_hosts_and_lead_to_exactly_those(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host]
) -> None:
    page = text_of(person().get(f"/campaigns/{campaign.pk}/errors/"))

    assert page.count('<li class="error-group">') == 2
    assert (
        f'/campaigns/{campaign.pk}/?tab=hosts&amp;state=failed&amp;error={DIGEST}" data-show-tab="hosts">2 hosts'
        in page
    )
    assert all(f'<a href="/hosts/{host.pk}/">' in page for host in hosts[2:5])
    assert "no such table: &lt;b&gt;x&lt;/b&gt; &amp; y" in page


def test_errors_without_a_text_and_of_hosts_that_were_never_asked_are_groups_too(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host]
) -> None:
    Target.objects.filter(campaign=campaign, host=hosts[4]).update(error="")
    Target.objects.filter(campaign=campaign, host=hosts[5]).update(state=State.UNSUPPORTED, error="no such column: z")

    page = text_of(person().get(f"/campaigns/{campaign.pk}/errors/"))

    assert "The host gave no text." in page
    assert "no such column: z" in page
    assert page.count('<li class="error-group">') == 3


# --- chosen hosts ----------------------------------------------------------------------------------------------


def again(browser: Client, campaign: Campaign, given: dict[str, Any], **more: Any) -> HttpResponse:
    return browser.post(f"/campaigns/{campaign.pk}/hosts/again/", given, **more)


def test_chosen_hosts_are_asked_again_whatever_became_of_them(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host]
) -> None:
    response = again(person("campaigns.add_campaign"), campaign, {"host": [hosts[0].pk, hosts[3].pk]}, **SCRIPT)

    child = Campaign.objects.latest("pk")
    assert response["HX-Redirect"] == f"/campaigns/{child.pk}/"
    assert (child.parent, child.sql, child.expected) == (campaign, campaign.sql, 2)
    assert child.target == {"hosts": [hosts[0].pk, hosts[3].pk]}


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 6), ({"state": "failed"}, 3), ({"error": DIGEST}, 2), ({"search": "and more"}, 1)]
)
def test_all_that_match_are_asked_again(
    person: Callable[..., Client], campaign: Campaign, given: dict[str, str], expected: int
) -> None:
    again(person("campaigns.add_campaign"), campaign, {"all": "1", **given})

    assert Campaign.objects.latest("pk").expected == expected


def test_only_hosts_of_the_campaign_are_meant(person: Callable[..., Client], campaign: Campaign) -> None:
    (stranger,) = make_hosts(1)

    response = again(person("campaigns.add_campaign"), campaign, {"host": [stranger.pk, "x", "-1", 2**70]}, **SCRIPT)

    assert response.status_code == 400
    assert "choose one or more" in response.content.decode()
    assert Campaign.objects.latest("pk") == campaign


def test_more_hosts_than_can_be_named_are_refused_with_a_way_out(
    person: Callable[..., Client], campaign: Campaign, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("campaigns.launching.reruns.MOST_HOSTS", 1)
    assert selection.MOST_HOSTS == 50_000

    response = again(person("campaigns.add_campaign"), campaign, {"all": "1", "error": DIGEST}, **SCRIPT)

    assert response.status_code == 400
    assert "allowed are 1: narrow the list" in response.content.decode()


def test_hosts_of_an_open_campaign_are_not_asked_again_yet(person: Callable[..., Client], hosts: list[Host]) -> None:
    campaign = make_campaign(*hosts)
    browser = person("campaigns.add_campaign")

    by_script = again(browser, campaign, {"host": [hosts[0].pk]}, **SCRIPT)
    by_form = again(browser, campaign, {"host": [hosts[0].pk]})

    assert by_script.status_code == 409
    assert "it can be rerun when it has ended" in by_script.content.decode()
    assert "it can be rerun when it has ended" in text_of(browser.get(by_form["Location"]))


def label(browser: Client, campaign: Campaign, name: str, **given: Any) -> HttpResponse:
    return browser.post(f"/campaigns/{campaign.pk}/hosts/label/", {"label": name, **given}, **SCRIPT)


def test_chosen_hosts_are_put_into_a_new_label_and_into_one_that_is_there(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host]
) -> None:
    make_label("web", hosts[5])
    browser = person("agents.change_label", "agents.add_label")

    made = label(browser, campaign, " broken ", all="1", error=DIGEST)
    added = label(browser, campaign, "web", host=[hosts[0].pk, hosts[1].pk])

    assert "2 hosts put into the new label broken." in made["HX-Trigger"]
    assert "2 hosts put into the label web." in added["HX-Trigger"]
    members = {name: set(Label.objects.get(name=name).hosts.all()) for name in ("broken", "web")}
    assert members == {"broken": set(hosts[2:4]), "web": {hosts[0], hosts[1], hosts[5]}}


def test_labels_that_are_not_kept_by_hand_and_names_that_are_none_are_refused(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host]
) -> None:
    by_sql = make_label("by sql")
    HousekeepingQuery.objects.create(label=by_sql, kind="label", platform="linux", sql="SELECT 1")
    refusals = {"by sql": 409, "": 400, "  ": 400, "a\0b": 400, "x" * 101: 400}
    browser = person("agents.change_label", "agents.add_label")

    for name, status in refusals.items():
        response = label(browser, campaign, name, host=[hosts[0].pk])

        assert response.status_code == status, name
        assert response["Content-Type"].startswith("text/plain")
    assert not LabelMembership.objects.filter(label=by_sql).exists()


def test_who_may_not_label_or_ask_does_neither(
    person: Callable[..., Client], campaign: Campaign, hosts: list[Host]
) -> None:
    browser = person()
    page = text_of(browser.get(f"/campaigns/{campaign.pk}/?tab=hosts"))

    assert "Ask these again" not in page
    assert "Label these" not in page
    assert label(browser, campaign, "web", host=[hosts[0].pk]).status_code == 403
    assert again(browser, campaign, {"host": [hosts[0].pk]}).status_code == 403
    assert label(person("agents.change_label"), campaign, "new", host=[hosts[0].pk]).status_code == 403
    assert not Label.objects.filter(name__in=["web", "new"]).exists()


def test_who_sees_some_hosts_sees_and_chooses_those_alone(
    client: Client, campaign: Campaign, hosts: list[Host]
) -> None:
    permissions = ("campaigns.view_campaign", "campaigns.add_campaign", "agents.view_host", "agents.change_label")
    limited = make_person(*permissions, "agents.add_label")
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team).labels.add(make_label("theirs", hosts[0], hosts[2]))
    limited.groups.add(team)
    client.force_login(limited)

    listed = text_of(client.get(f"/campaigns/{campaign.pk}/hosts/"))
    errors = text_of(client.get(f"/campaigns/{campaign.pk}/errors/"))
    label(client, campaign, "chosen", all="1")

    assert shown_in(listed, hosts) == [hosts[0], hosts[2]]
    assert "2 hosts" in listed
    assert "1 host" in errors
    assert hosts[3].hostname not in errors
    assert set(Label.objects.get(name="chosen").hosts.all()) == {hosts[0], hosts[2]}
