"""Home and the pages of hosts: what is there, what runs, and all that is known of one host."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from django.utils.html import strip_tags

from agents.inventory.models import OnlineSample
from agents.models import Host, Presence
from campaigns.console import host_console, wording
from campaigns.console.home_pages import EXAMPLES
from campaigns.launching import control
from campaigns.launching.models import ApprovalRule
from campaigns.models import Campaign, Result
from campaigns.people.scopes import Scope
from campaigns.running.targeting import write_range
from campaigns.states import State
from fleet.text import visible
from tests.factories import answer, make_campaign, make_host, make_hosts, make_label, make_person, make_user
from tests.pages import text_of, words_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

As = Callable[[User], Client]


def seen(host: Host, seconds_ago: int) -> None:
    Presence.objects.create(host=host, last_seen=timezone.now() - timedelta(seconds=seconds_ago))


def test_home_counts_who_is_there_by_platform(as_: As) -> None:
    here, lately, gone = make_host(), make_host(platform="windows"), make_host()
    for host, ago in ((here, 1), (lately, 3_600), (gone, 200_000)):
        seen(host, ago)

    page = as_(make_user(admin=True)).get("/")

    assert page.context["totals"] == {"enrolled": 3, "online": 1, "lately": 2}
    assert [(line["label"], line["online"], line["enrolled"]) for line in page.context["platforms"]] == [
        ("Linux", 1, 2),
        ("Windows", 0, 1),
    ]


@pytest.mark.parametrize(
    ("right", "to"),
    [
        ("campaigns.approve_campaign", "/approvals/"),
        ("campaigns.switch_live_queries", "/settings/"),
        ("agents.view_label", "/labels/"),
        ("auth.view_user", "/people/"),
    ],
)
def test_who_has_nothing_at_home_is_led_to_his_first_place(as_: As, right: str, to: str) -> None:
    browser = as_(make_person(right))

    assert browser.get("/").headers["Location"] == to
    assert browser.get(to).status_code == 200
    assert as_(make_user()).get("/").status_code == 403


def test_home_draws_who_was_online_over_a_day_and_no_line_where_nobody_counted(as_: As) -> None:
    now = timezone.now()
    seen(make_host(), 1)
    for minutes, linux, windows in ((1_500, 90, 0), (700, 4, 2), (695, 5, 2), (300, 9, 1), (5, 3, 0)):
        at = now - timedelta(minutes=minutes)
        OnlineSample.objects.create(at=at, platform="linux", hosts=linux)
        OnlineSample.objects.create(at=at, platform="windows", hosts=windows)
    team, limited = Group.objects.create(name="team"), make_person("agents.view_host")
    Scope.objects.create(group=team).labels.add(make_label("theirs", make_host()))
    limited.groups.add(team)

    with time_machine.travel(now, tick=False):
        page = as_(make_user(admin=True)).get("/")
        narrow = as_(limited).get("/")

    curve = page.context["curve"]
    assert (curve.most, curve.least, [layer.name for layer in curve.layers]) == (10, 1, ["Windows", "Linux"])
    both, linux = (layer.areas for layer in curve.layers)
    assert both[0] == "493.3,100.0 493.3,40.0 496.7,30.0 496.7,100.0"
    assert linux[0] == "493.3,100.0 493.3,60.0 496.7,50.0 496.7,100.0"
    assert (len(both), both[2]) == (3, "956.7,100.0 956.7,70.0 960.0,90.0 960.0,100.0")
    assert "most 10, fewest 1, counted since" in text_of(page)
    assert "Online over the last day" not in text_of(narrow)


def test_home_tells_apart_what_runs_and_what_waits_for_someone(as_: As, operator: User) -> None:
    running = make_campaign(make_host(), by=operator)
    waiting = make_campaign(*make_hosts(3), by=operator, rollout={"canary": {"count": 1}})
    control.hold(waiting, "rollout", "1 of 3 hosts were asked first: widen, or stop")

    page = as_(operator).get("/")

    assert [campaign.pk for campaign in page.context["waiting"]] == [waiting.pk]
    assert [(campaign.pk, may_stop) for campaign, may_stop in page.context["under_way"]] == [(running.pk, True)]
    assert "were asked first: widen, or stop" in text_of(page)


def test_how_many_are_under_way_is_drawn_anew_with_them(as_: As, operator: User) -> None:
    make_campaign(make_host())

    part = as_(operator).get("/").content.decode().partition('id="under-way"')[2].partition("</section>")[0]

    assert 'Under way <span class="dim">1</span>' in part


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_is_asked_of_everybody_online_with_one_click(as_: As, operator: User, number: int) -> None:
    here, gone = make_hosts(2)
    seen(here, 1)
    seen(gone, 3_600)

    response = as_(operator).post(f"/ask/example/{number}/")

    campaign = Campaign.objects.get()
    assert response["Location"] == f"/campaigns/{campaign.pk}/"
    assert (campaign.name, campaign.sql, campaign.expected) == (*EXAMPLES[number], 1)


def test_what_speaks_against_an_example_is_said(as_: As, operator: User) -> None:
    response = as_(operator).post("/ask/example/0/", follow=True)

    assert "selects no enrolled host" in text_of(response)


def test_who_may_see_nothing_is_told(as_: As) -> None:
    assert as_(make_user()).get("/").status_code == 403


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("", ["web-1", "web-2", "db-1"]),
        ("search=WEB", ["web-1", "web-2"]),
        ("search=serial-9", ["db-1"]),
        ("search=10.0.0.7", ["web-2"]),
        ("platform=windows", ["db-1"]),
        ("label=web", ["web-1"]),
        ("online=yes", ["web-1"]),
        ("online=no", ["web-2", "db-1"]),
        ("doubt=yes", ["web-2"]),
        ("gone=yes", ["old-1"]),
        ("search=nowhere", []),
        ("platform=nope&label=nope&page=x", ["web-1", "web-2", "db-1"]),
    ],
)
def test_hosts_are_found(as_: As, question: str, found: list[str]) -> None:
    one = make_host(hostname="web-1")
    make_host(hostname="web-2", addresses="10.0.0.7", in_doubt_since=timezone.now())
    make_host(hostname="db-1", platform="windows", hardware_serial="SERIAL-9")
    make_host(hostname="old-1", revoked_at=timezone.now())
    make_label("web", one)
    seen(one, 1)

    page = as_(make_user(admin=True)).get(f"/hosts/?{question}")

    assert sorted(host.hostname for host, _ in page.context["lines"]) == sorted(found)


def read(page: Any) -> str:
    return " ".join(strip_tags(words_of(page)).split())


@pytest.mark.parametrize("address", ["/", "/hosts/"])
def test_where_no_host_is_enrolled_the_revoked_ones_are_named(as_: As, address: str) -> None:
    administrator, scoped = make_user(admin=True), make_user("scoped")
    team = Group.objects.create(name="web")
    Scope.objects.create(group=team).labels.add(make_label("web"))
    scoped.groups.add(Group.objects.get(name="Auditor"), team)

    assert "No host has enrolled yet." in read(as_(administrator).get(address))
    make_host(hostname="old-1", revoked_at=timezone.now())
    page = as_(administrator).get(address)
    assert "No host is enrolled any more. 1 revoked host is kept." in read(page)
    assert b'href="/hosts/?gone=yes"' in page.content
    assert "No host that you may see is enrolled." in read(as_(scoped).get(address))
    assert "revoked host is" not in read(as_(scoped).get(address))


def test_a_search_that_finds_nobody_leads_to_revoked_hosts_that_are_like_it(as_: As) -> None:
    make_host(hostname="web-1")
    make_hosts(2, hostname="old-1", revoked_at=timezone.now())
    browser = as_(make_user(admin=True))

    page = browser.get("/hosts/?search=OLD&online=no&page=1")
    assert "No enrolled host is like this. 2 revoked hosts are kept. Show all" in read(page)
    led = browser.get("/hosts/?search=OLD&online=no&gone=yes")
    assert b"search=OLD&amp;online=no&amp;gone=yes" in page.content
    assert [host.hostname for host, _ in led.context["lines"]] == ["old-1", "old-1"]
    assert "No host is like this. Show all" in read(browser.get("/hosts/?search=nowhere"))
    assert "No host is like this. Show all" in read(browser.get("/hosts/?search=web&gone=yes"))


def test_a_list_of_many_hosts_asks_few_questions(
    as_: As, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    make_label("web", *make_hosts(40))
    browser = as_(make_user(admin=True))
    browser.get("/hosts/")

    with django_assert_max_num_queries(14):  # type: ignore[attr-defined]
        browser.get("/hosts/")


def test_a_host_is_shown_with_its_facts_in_words(as_: As) -> None:
    host = make_host(hostname="web-1", physical_memory=68_719_476_736, cpu_brand="A\u202eB")
    answer(make_campaign(host, sql="SELECT 42"), host, {"a": "1"})

    page = text_of(as_(make_user(admin=True)).get(f"/hosts/{host.pk}/"))

    assert "64 GiB" in page
    assert "A⟨U+202E⟩B" in page
    assert "SELECT 42" in page


def test_another_host_of_the_same_name_is_named(as_: As) -> None:
    host, twin = make_host(hostname="web-1"), make_host(hostname="WEB-1")

    page = text_of(as_(make_user(admin=True)).get(f"/hosts/{host.pk}/"))

    assert f"#{twin.pk} ({twin.host_identifier})" in page


def test_one_host_is_asked_from_its_page(as_: As, operator: User) -> None:
    host, _ = make_hosts(2)

    asked = text_of(as_(operator).post(f"/hosts/{host.pk}/ask/", {"sql": "SELECT 7 AS seven"}))

    campaign = Campaign.objects.get()
    assert campaign.target == {"hosts": [host.pk]}
    address = f"/hosts/{host.pk}/ask/{campaign.pk}/"
    assert f'hx-get="{address}"' in asked
    for number in campaign.ranges.values_list("number", flat=True):
        write_range(campaign.pk, number)
    campaign.refresh_from_db()
    answer(campaign, host, {"seven": "7"})
    shown = as_(operator).get(address)
    assert (shown.status_code, "<td>7</td>" in text_of(shown)) == (286, True)


def test_wrong_sql_for_one_host_is_said_in_place(as_: As, operator: User) -> None:
    host = make_host()

    page = text_of(as_(operator).post(f"/hosts/{host.pk}/ask/", {"sql": "SELEC 1"}))

    assert "syntax error" in page
    assert not Campaign.objects.exists()


def test_what_a_host_answered_to_others_is_for_those_who_may_see_campaigns(as_: As, operator: User) -> None:
    host = make_host()
    campaign = make_campaign(host, by=operator)
    Campaign.objects.filter(pk=campaign.pk).update(created_by=make_user())
    asker = make_person("campaigns.add_campaign", "agents.view_host")

    assert as_(asker).get(f"/hosts/{host.pk}/ask/{campaign.pk}/").status_code == 404
    assert as_(operator).get(f"/hosts/{host.pk}/ask/{campaign.pk}/").status_code == 200


def test_a_host_is_revoked_and_trusted_by_those_who_may_change_it(as_: As) -> None:
    host = make_host(in_doubt_since=timezone.now(), in_doubt_reason="two")
    looker = make_person("agents.view_host")

    assert as_(looker).post(f"/hosts/{host.pk}/revoke/").status_code == 403
    assert as_(looker).post(f"/hosts/{host.pk}/trust/").status_code == 403
    boss = make_user(admin=True)
    as_(boss).post(f"/hosts/{host.pk}/trust/")
    as_(boss).post(f"/hosts/{host.pk}/revoke/")

    host.refresh_from_db()
    assert (host.in_doubt_since, host.in_doubt_reason) == (None, "")
    assert host.revoked_at is not None


def test_a_browser_keeps_its_colours_and_times(as_: As, operator: User) -> None:
    browser = as_(operator)

    response = browser.post("/preferences/", {"theme": "dark", "times": "utc", "next": "/campaigns/"})
    browser.post("/preferences/", {"theme": "pink", "next": "https://elsewhere.example/"})

    assert response["Location"] == "/campaigns/"
    assert 'data-theme="dark" data-times="utc"' in text_of(browser.get("/campaigns/"))


def test_a_preference_leads_nowhere_else(as_: As, operator: User) -> None:
    response = as_(operator).post("/preferences/", {"theme": "dark", "next": "https://elsewhere.example/"})

    assert response["Location"] == "/"


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, ""),
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (68_719_476_736, "64 GiB"),
        (2**50, "1024 TiB"),
    ],
)
def test_sizes_are_written_as_people_count_memory(size: int | None, words: str) -> None:
    assert wording.binary_size(size) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("é\n\t", "é\n\t"),
        ("a\u202eb", "a⟨U+202E⟩b"),
        ("\u200b", "⟨U+200B⟩"),
        ("\x1b[1m", "⟨U+001B⟩[1m"),
    ],
)
def test_what_cannot_be_seen_is_shown_as_a_mark(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_an_answer_that_comes_while_its_campaign_is_read_is_shown_with_its_columns(operator: User) -> None:
    host = make_host()
    campaign = make_campaign(host, by=operator, target={"hosts": [host.pk]})
    before = Campaign.objects.get(pk=campaign.pk)
    answer(campaign, host, {"seven": "7"})

    shown = host_console.context_of(host, before)

    assert (shown["columns"], shown["rows"]) == (["seven"], [["7"]])


def test_the_rows_of_a_last_answer_are_shown_on_the_page_of_its_host(as_: As) -> None:
    host, other = make_hosts(2)
    campaign = make_campaign(host, other)
    answer(campaign, host, {"port": "22", "<b>": "\u202eodd"})
    answer(campaign, other, {"port": "443"})
    address = f"/hosts/{host.pk}/answers/{campaign.pk}/"
    observer = make_person("agents.view_host", "campaigns.view_campaign")

    page = as_(observer).get(f"/hosts/{host.pk}/").content.decode()
    rows = as_(observer).get(address).content.decode()

    assert f'hx-get="{address}"' in page
    assert "<td>22</td>" in rows
    assert "⟨U+202E⟩odd" in rows
    assert "443" not in rows
    assert as_(observer).get(f"/hosts/{host.pk}/answers/999/").status_code == 404


def test_a_try_that_failed_hides_no_answer_of_a_host(as_: As) -> None:
    host, other = make_hosts(2)
    known = make_campaign(host, sql="SELECT port FROM listening_ports", name="ports as known")
    answer(known, host, {"port": "22"})
    older = make_campaign(host, sql=known.sql, name="older ports")
    Result.objects.filter(pk=answer(older, host).pk).update(received_at=timezone.now() - timedelta(days=1))
    for state, error in ((State.FAILED, "disk <i>full</i>"), (State.DENYLISTED, "died of it")):
        again = make_campaign(host, other, sql=known.sql, name=f"again {state}")
        answer(again, other, {"port": "443"})
        Result.objects.filter(pk=answer(again, host, state=state).pk).update(error=error)
    never = make_campaign(host, sql="SELECT 1 FROM no_such", name="never known")
    Result.objects.filter(pk=answer(never, host, state=State.FAILED).pk).update(error="no such table: no_such")
    observer = make_person("agents.view_host", "campaigns.view_campaign")

    page = text_of(as_(observer).get(f"/hosts/{host.pk}/"))

    assert f'hx-get="/hosts/{host.pk}/answers/{known.pk}/"' in page
    assert "<b>ports as known</b>" in page
    assert "older ports" not in page
    assert "Asked again, it refused the SQL" in page
    assert f'died of it (<a href="/campaigns/{again.pk}/">' in page
    assert "disk" not in page
    assert "failed: no such table: no_such" in page
    assert page.index("never known") < page.index("ports as known")


@pytest.mark.parametrize(
    ("role", "address", "advice"),
    [
        ("Observer", "/", "Write a question"),
        ("Observer", "/ask/", "choose “Save as…”"),
        ("Auditor", "/schedules/", "and let it"),
        ("Auditor", "/people/quotas/", "Make some below"),
        ("Auditor", "/people/rules/", "Make one below"),
    ],
)
def test_an_empty_page_advises_nobody_to_do_what_he_may_not(as_: As, role: str, address: str, advice: str) -> None:
    ApprovalRule.objects.all().delete()

    person = make_user()
    person.groups.add(Group.objects.get(name=role))

    assert advice in words_of(as_(make_user(admin=True)).get(address))
    assert advice not in words_of(as_(person).get(address))
