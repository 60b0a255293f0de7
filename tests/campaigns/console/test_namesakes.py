"""Hosts of one name in one list, wherever a list of hosts is: told apart by their numbers."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from agents.carving.models import Carve
from agents.models import Host
from campaigns.console.namesakes import among
from campaigns.models import Campaign, Query
from campaigns.states import State
from tests.factories import answer, end, make_campaign, make_host, make_label, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board", "carves_folder")]


def two_runs(*hosts: Host) -> Campaign:
    """Give the second of two runs of a query over these hosts, in which all of them gave something else."""
    user = make_user("boss", admin=True)
    query = Query.objects.create(name="all of it", sql="SELECT 1", created_by=user)
    for version in "1", "2":
        made = make_campaign(*hosts, by=user)
        Campaign.objects.filter(pk=made.pk).update(query=query)
        for host in hosts:
            answer(made, host, {"version": version}, wall_ms=5, user_ms=5)
            Carve.objects.create(host=host, campaign_id=made.pk, carve_id=version, announced_at=timezone.now())
        end(made)
    made.refresh_from_db()
    return made


def lists(campaign: Campaign, label: int) -> dict[str, str]:
    """Give every page and fragment that lists hosts of the campaign, of its query or of the label."""
    browser = Client()
    browser.force_login(campaign.created_by)

    def shown(address: str, asked: dict[str, Any] | None = None) -> str:
        told = browser.get(address, asked or {})
        assert told.status_code == 200, address
        return told.content.decode()

    at = f"/campaigns/{campaign.pk}/"
    groups = shown(f"{at}groups/")
    key = re.search(r"/groups/([0-9a-f]+)/", groups)
    assert key is not None
    failed = Campaign.objects.get(count_failed__gt=0)
    before = Campaign.objects.exclude(pk__in=(campaign.pk, failed.pk)).get()
    return {
        "answers": shown(at),
        "hosts": shown(f"{at}hosts/"),
        "cost": shown(f"{at}cost/"),
        "errors": shown(f"/campaigns/{failed.pk}/errors/"),
        "a group": shown(f"{at}groups/{key[1]}/"),
        "compare": shown(f"{at}compare/", {"with": before.pk}),
        "a label": shown(f"/labels/{label}/"),
        "last answers": shown(f"/queries/{campaign.query_id}/latest/"),
    }


def test_hosts_of_one_name_are_told_apart_in_every_list() -> None:
    first, second, other = make_host(hostname="twin"), make_host(hostname="TWIN"), make_host(hostname="alone")
    hosts = (first, second, other)
    label = make_label("some", *hosts)
    campaign = two_runs(*hosts)
    failed = make_campaign(*hosts, by=campaign.created_by)
    Campaign.objects.filter(pk=failed.pk).update(query=campaign.query)
    for host in hosts:
        answer(failed, host, state=State.FAILED, error="no such table: disks")

    told = lists(campaign, label.pk)

    for where, page in told.items():
        numbers = re.findall(r'<span class="dim">#(\d+)</span>', page)
        assert {str(first.pk), str(second.pk)} <= set(numbers), where
        assert str(other.pk) not in numbers, where


def test_every_link_to_the_rows_of_a_host_leads_to_its_own_alone() -> None:
    first, second = make_host(hostname="twin"), make_host(hostname="twin")
    campaign = make_campaign(first, second, by=make_user("boss", admin=True))
    query = Query.objects.create(name="all of it", sql="SELECT 1", created_by=campaign.created_by)
    Campaign.objects.filter(pk=campaign.pk).update(query=query)
    for host in first, second:
        answer(campaign, host, *({"n": f"{host.pk}/{line}"} for line in range(600)))
    browser = Client()
    browser.force_login(campaign.created_by)
    pages = [f"/queries/{query.pk}/latest/", *(f"/hosts/{host.pk}/answers/{campaign.pk}/" for host in (first, second))]

    links = [
        unescape(link)
        for page in pages
        for link in re.findall(r'href="([^"]+)">all of them', browser.get(page).content.decode())
    ]

    hosts = [set(re.findall(r"<td>(\d+)/\d+</td>", browser.get(link).content.decode())) for link in links]
    assert hosts == [{str(first.pk)}, {str(second.pk)}] * 2


def test_a_list_of_groups_has_no_hosts_to_tell_apart() -> None:
    assert among([{"hosts": 3, "row": {}}]) == frozenset()
