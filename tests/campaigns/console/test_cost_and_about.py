"""The tabs Cost and About of a campaign: figures that PostgreSQL counted, and what the campaign is."""

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from campaigns.answers import costs
from campaigns.console import wording
from campaigns.launching import control, reruns
from campaigns.models import Campaign, Target
from campaigns.people.scopes import Scope
from campaigns.running import brakes, releasing
from campaigns.states import State
from fleet import audit
from tests.factories import answer, end, make_campaign, make_hosts, make_label, make_person, make_user
from tests.pages import text_of

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]

HOSTS = 20


@pytest.fixture
def viewer(client: Client) -> Client:
    """Give a browser of somebody who may look at campaigns and hosts."""
    client.force_login(make_person("campaigns.view_campaign", "agents.view_host"))
    return client


def make_measured() -> Campaign:
    """Give a campaign of twenty hosts: the first took 10 ms, the second 20, and so on; the last told nothing."""
    hosts = make_hosts(HOSTS + 1)
    campaign = make_campaign(*hosts)
    for number, host in enumerate(hosts[:HOSTS], 1):
        answer(campaign, host, wall_ms=number * 10, user_ms=number, system_ms=0, memory_bytes=number * 2**20)
    answer(campaign, hosts[HOSTS])
    return campaign


def test_percentiles_are_those_of_postgresql() -> None:
    found = {cost.name: cost for cost in costs.costs(make_measured(), make_user(admin=True))}

    wall = found["wall"]
    assert (wall.hosts, wall.p50, wall.most) == (HOSTS, 105, 200)
    assert (wall.p90, wall.p99) == (pytest.approx(181), pytest.approx(198.1))
    assert found["memory"].most == HOSTS * 2**20
    assert (found["system"].p50, found["system"].most) == (0, 0)


def test_the_distribution_counts_every_host_once() -> None:
    campaign, boss = make_measured(), make_user(admin=True)

    for measure in costs.MEASURES:
        assert sum(step.hosts for step in costs.spread(campaign, boss, measure)) == HOSTS, measure
    assert len(costs.spread(campaign, boss, "system")) == 1
    assert costs.spread(make_campaign(*make_hosts(1)), boss, "wall") == []


def test_the_ten_dearest_hosts_are_named_and_linked(viewer: Client) -> None:
    campaign = make_measured()
    dear = list(Target.objects.filter(campaign=campaign, wall_ms__gt=100).order_by("-wall_ms"))

    page = text_of(viewer.get(f"/campaigns/{campaign.pk}/?tab=cost"))

    places = [page.index(f'<a href="/hosts/{target.host_id}/">') for target in dear]
    assert len(places) == 10
    assert places == sorted(places)
    assert "105 ms" in page
    assert "20 MiB" in text_of(viewer.get(f"/campaigns/{campaign.pk}/cost/?measure=memory"))
    assert viewer.get(f"/campaigns/{campaign.pk}/cost/?measure=nonsense").status_code == 200


def test_who_sees_some_hosts_sees_what_it_cost_those(client: Client) -> None:
    campaign = make_measured()
    limited, team = make_person("campaigns.view_campaign", "agents.view_host"), Group.objects.create(name="team")
    first = Target.objects.filter(campaign=campaign).earliest("host_id")
    Scope.objects.create(group=team).labels.add(make_label("theirs", first.host))
    limited.groups.add(team)
    client.force_login(limited)

    page = text_of(client.get(f"/campaigns/{campaign.pk}/cost/"))

    assert page.count('<a href="/hosts/') == 1
    assert "200 ms" not in page


def test_a_campaign_that_nobody_measured_says_so(viewer: Client) -> None:
    campaign = make_campaign(*make_hosts(1))

    assert "No host has told what this SQL cost it so far" in text_of(viewer.get(f"/campaigns/{campaign.pk}/cost/"))


# --- About -----------------------------------------------------------------------------------------------------


STOP_IF = {"failed_percent": 50, "silent_percent": 90, "median_wall_ms": 1000, "rows": 100, "denylisted": 3}


def about(client: Client, campaign: Campaign) -> str:
    return text_of(client.get(f"/campaigns/{campaign.pk}/?tab=about"))


def test_about_tells_question_selection_rollout_brakes_limits_and_audit(viewer: Client) -> None:
    boss, hosts = make_user("boss", admin=True), make_hosts(5)
    order: dict[str, Any] = {"rollout": {"canary": {"count": 2}, "per_second": 7, "stop_if": STOP_IF}}
    campaign = make_campaign(
        *hosts, by=boss, sql="SELECT 1 AS a WHERE 1 <2", reason="TICKET-9", answer_within=90, **order
    )
    answer(campaign, hosts[0], {"a": "1"}, wall_ms=40)
    answer(campaign, hosts[1], state=State.FAILED, error="no such table: t")
    audit.note("campaign.exported", by=boss, subject=f"campaign {campaign.pk}", rows=1)

    page = about(viewer, campaign)

    said = {
        *("SELECT 1 AS a WHERE 1 &lt;2", "5 hosts", "TICKET-9", "boss", "Linux 5", "1 min 30 s"),
        *("It asks 2 hosts first; when those have answered it pauses and asks.", "at most 7 hosts a second"),
        *("2 hosts first", "released to 2 of 5 hosts", "limit 50 %", "50 % (1 of 2)", "limit 1,000 ms", "40 ms"),
        *("exported: rows 1", "launched: TICKET-9"),
    }
    assert [words for words in said if words not in page] == []
    assert all(wording.BRAKES[name][0] in page for name in STOP_IF)


def test_about_leads_to_parent_and_reruns_and_tells_who_ended_it_why(viewer: Client) -> None:
    boss, hosts = make_user("boss", admin=True), make_hosts(2)
    campaign = end(make_campaign(*hosts, by=boss))
    Campaign.objects.filter(pk=campaign.pk).update(ended_by="alex", ended_reason="enough")
    campaign.refresh_from_db()
    child = reruns.rerun(campaign, [State.MISSED], boss)

    assert f'<a href="/campaigns/{child.pk}/">campaign {child.pk}</a>' in about(viewer, campaign)
    assert f'asks again what <a href="/campaigns/{campaign.pk}/">' in about(viewer, child)
    assert "<td>alex</td><td>expired: enough</td>" in about(viewer, campaign)
    assert f"<td>boss</td><td>asked again in campaign {child.pk}</td>" in about(viewer, campaign)
    assert "None was ordered" in about(viewer, child)


def test_each_widening_by_itself_is_a_step(viewer: Client) -> None:
    hosts = make_hosts(9)
    campaign = make_campaign(*hosts, rollout={"canary": {"count": 1}, "then": "auto"})
    first = Target.objects.filter(campaign=campaign).alias(hash=releasing.HASH).earliest("hash")
    answer(campaign, first.host)

    releasing.advance(campaign.pk)

    assert "<b>widened</b>: hosts 5" in about(viewer, campaign)


def test_a_brakes_reading_stops_where_its_sentence_says() -> None:
    campaign = make_campaign(*make_hosts(4), rollout={"stop_if": STOP_IF})
    for limit_name, past, sentence in (
        ("rows", {"count_rows": 101}, "brake rows: 101 rows, the limit is 100"),
        (
            "denylisted",
            {"count_denylisted": 3},
            "brake denylisted: 3 hosts died running this SQL before, the limit is 3",
        ),
        ("failed_percent", {"count_failed": 2, "count_answered": 1}, "brake failed_percent: 2 of 3 answers failed"),
    ):
        before = dict(brakes.readings(campaign))
        assert not any(reading.is_past(limit) for reading, limit in before.items())
        for name, value in past.items():
            setattr(campaign, name, value)

        reading = brakes.READ[limit_name](campaign)

        assert reading.is_past(STOP_IF[limit_name])
        assert reading.sentence(STOP_IF[limit_name]).startswith(sentence)
        campaign.refresh_from_db()


def test_a_pause_says_once_who_paused_it_and_why() -> None:
    campaign = make_campaign(*make_hosts(1))

    control.pause(campaign.pk, "boss")
    campaign.refresh_from_db()
    plain = wording.pause(campaign)
    campaign.paused_reason = "the disk is full."
    with_reason = wording.pause(campaign)
    campaign.paused_by, campaign.paused_reason = "rollout", "2 of 5 hosts were asked first: widen, or stop"

    assert plain.startswith("Paused by boss. Nobody")
    assert with_reason.startswith("Paused by boss: the disk is full. Nobody")
    assert wording.pause(campaign).startswith("Paused: 2 of 5 hosts were asked first: widen, or stop. Nobody")
