"""Campaigns of which nothing came: every tab says why in words, and what to do next, instead of an empty table."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agents.models import Host
from campaigns.launching.launch import Order, launch, start
from campaigns.models import Campaign
from campaigns.states import State
from tests.factories import answer, end, learn, make_campaign, make_hosts, make_label, make_user
from tests.pages import A_TIME, words_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

TABS = ("rows", "groups", "hosts", "errors", "cost", "about")


def cannot_run(hosts: list[Host]) -> Campaign:
    """Give a campaign of SQL that none of its hosts turned out to run."""
    campaign = make_campaign(*hosts)
    campaign.targets.update(state=State.UNSUPPORTED, error="no such table: sip_config")
    campaign.move(State.WAITING, State.UNSUPPORTED, len(hosts))
    campaign.save_counts()
    return end(campaign)


def test_a_campaign_that_no_host_can_run_says_so_on_every_tab_and_what_to_do_next(
    as_: Callable[[User], Client],
) -> None:
    campaign = cannot_run(make_hosts(3))
    browser = as_(make_user(admin=True))

    pages = {tab: words_of(browser.get(f"/campaigns/{campaign.pk}/?tab={tab}")) for tab in TABS}
    lists = [words_of(browser.get(path)) for path in ("/campaigns/", "/")]

    for tab in ("rows", "groups"):
        assert "No host can run this SQL: a table or column is missing on each." in pages[tab], tab
        assert "What went wrong, and where" in pages[tab], tab
        assert f'href="/ask/?campaign={campaign.pk}">Change the question and ask again' in pages[tab], tab
    assert 'id="groups-tools"' not in pages["groups"]
    assert "data-empty" in pages["rows"]
    assert "no such table: sip_config" in pages["errors"]
    assert "Ask these again" not in pages["errors"]  # the same SQL would be refused
    asks = f"/ask/?campaign={campaign.pk}&of={campaign.pk}&states=unsupported"
    assert f'href="{asks}">Ask them in other words' in pages["errors"]
    begins = browser.get(asks).context["form"].initial
    assert (begins["sql"], begins["earlier"], begins["states"]) == (campaign.sql, campaign.pk, ["unsupported"])
    assert "No host ran this SQL, so it cost none of them anything." in pages["cost"]
    assert "3 cannot run it" in lists[0]
    for read in (A_TIME.sub("", page) for page in (*pages.values(), *lists)):
        assert "NaN" not in read
        assert "0 of 0" not in read


def test_who_answered_without_a_row_or_failed_is_told_and_led_on(as_: Callable[[User], Client]) -> None:
    silent, failing = make_hosts(2)
    campaign = make_campaign(silent, failing)
    answer(campaign, silent)
    answer(campaign, failing, state=State.FAILED)
    running = words_of(as_(make_user(admin=True)).get(f"/campaigns/{campaign.pk}/"))
    ended = words_of(as_(make_user(admin=True)).get(f"/campaigns/{end(campaign).pk}/"))

    assert "No rows yet. They come with the first answers." in running
    assert "1 host answered, without a row." in ended
    assert "data-if-errors >What went wrong" in ended


def test_a_start_at_which_no_host_can_run_the_sql_is_told_in_words_of_people(as_: Callable[[User], Client]) -> None:
    learn("linux", "processes")
    learn("darwin", "sip_config")
    linux, mac = make_hosts(1), make_hosts(1, platform="darwin")
    for host in (*linux, *mac):
        Host.objects.filter(pk=host.pk).update(osquery_version="5.23.0")
    label = make_label("moving", *mac)
    later = timezone.now() + timedelta(hours=1)
    campaign = launch(
        Order("SELECT name FROM sip_config", {"labels": ["moving"]}, start_at=later), make_user(admin=True)
    )
    label.hosts.set(linux)

    Campaign.objects.filter(pk=campaign.pk).update(start_at=timezone.now())
    start(campaign.pk)

    page = words_of(as_(make_user(admin=True)).get(f"/campaigns/{campaign.pk}/"))
    assert "It did not begin: sql 'SELECT name FROM sip_config' is wrong on every host that is meant" in page
    assert "force" not in page
    assert "Nobody was asked." in page
    assert "0 rows" not in words_of(as_(make_user(admin=True)).get("/campaigns/"))
