"""Launches that wait for the end: on the event loop, so that no other request waits with them."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.test import Client, RequestFactory
from rest_framework.response import Response
from rest_framework.test import APIClient

from agents.models import Host
from campaigns import doorbell
from campaigns.api.wait_for_end import until_over, waiting
from campaigns.models import Campaign
from campaigns.people.scopes import UNLIMITED, Scope
from campaigns.running.targeting import write_range
from campaigns.tokens import ApiToken
from campaigns.watching.readers import Reader, readers
from fleet import turns
from fleet.handler import GONE
from tests.factories import answer, bearer, end, make_campaign, make_host, make_hosts, make_label, make_user
from tests.on_the_loop import LoopClient

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board")]
Api = Callable[[User | None], APIClient]
ORDER = {"sql": "SELECT 1", "target": {"all": True}}


def test_when_the_time_is_up_the_campaign_and_what_came_so_far_are_given(api: Api, operator: User) -> None:
    make_host()

    answered = api(operator).post("/api/v1/campaigns/?wait=0", ORDER, format="json")

    assert answered.status_code == 202
    body = answered.json()
    assert (body["status"], body["results"], body["next"]) == ("targeting", [], None)
    assert body["id"] == Campaign.objects.get().pk
    assert body["url"].startswith("http://testserver/campaigns/")


def test_an_earlier_campaign_that_ended_is_given_at_once(api: Api, operator: User) -> None:
    hosts = make_hosts(2)
    headers = {"Idempotency-Key": "k"}
    client = api(operator)
    campaign = Campaign.objects.get(
        pk=client.post("/api/v1/campaigns/", ORDER, format="json", headers=headers).json()["id"]
    )
    finish(campaign, hosts)

    body = client.post("/api/v1/campaigns/?wait=60", ORDER, format="json", headers=headers)

    assert body.status_code == 200
    assert [item["rows"] for item in body.json()["results"]] == [[{"a": "1"}], [{"a": "1"}]]


def finish(campaign: Campaign, hosts: list[Host]) -> None:
    """Let all hosts answer and the campaign end."""
    for number in list(campaign.ranges.values_list("number", flat=True)):
        write_range(campaign.pk, number)
    campaign.refresh_from_db()
    for host in hosts:
        answer(campaign, host, {"a": "1"})
    end(campaign)
    doorbell.ring(campaign.pk)


async def test_others_are_served_while_a_launch_waits(operator: User) -> None:
    hosts = await sync_to_async(make_hosts)(2)
    client = LoopClient()
    await client.aforce_login(operator)

    async def launch() -> Any:
        return await client.post("/api/v1/campaigns/?wait=30", json.dumps(ORDER), content_type="application/json")

    waiting = [asyncio.create_task(launch()) for _ in range(5)]
    async with asyncio.timeout(20):
        while len(readers._readers) < 5:
            assert (await client.get("/api/v1/campaigns/")).status_code == 200
    assert not any(task.done() for task in waiting)
    async for campaign in Campaign.objects.all():
        await sync_to_async(finish)(campaign, hosts)

    answers = await asyncio.gather(*waiting)

    assert [answer.status_code for answer in answers] == [200] * 5
    assert all(len(answer.json()["results"]) == 2 for answer in answers)
    assert not readers._readers


async def test_who_waits_is_not_left_alone_when_the_first_one_who_waited_leaves(operator: User) -> None:
    hosts = await sync_to_async(make_hosts)(2)
    client = LoopClient()
    await client.aforce_login(operator)
    how = {"content_type": "application/json", "headers": {"Idempotency-Key": "k"}}
    waiting = []
    for viewers in (1, 2):
        asked = client.post("/api/v1/campaigns/?wait=60", json.dumps(ORDER), **how)
        waiting.append(asyncio.create_task(asked))
        async with asyncio.timeout(20):
            while sum(reader.viewers for reader in readers._readers.values()) < viewers:
                await asyncio.sleep(0.01)
    waiting[0].cancel()
    await asyncio.wait(waiting[:1])
    await sync_to_async(finish)(await Campaign.objects.aget(), hosts)

    async with asyncio.timeout(30):  # long before the time is up
        assert (await waiting[1]).status_code == 200
    assert not readers._readers


async def test_a_reader_is_not_opened_any_more_when_the_only_one_who_waits_for_it_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began = asyncio.Event()

    async def look(_: Reader) -> None:
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Reader, "_look", look)
    entering = asyncio.create_task(readers.enter(1, UNLIMITED))
    await began.wait()
    entering.cancel()
    await asyncio.wait([entering])

    assert not readers._readers
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_nobody_waits_for_the_end_for_who_left_while_it_was_launched(rf: RequestFactory) -> None:
    launched = Response({"id": 5}, status=201)

    assert waiting(lambda _: launched)(rf.post("/?wait=60", **{GONE: True})) is launched


async def test_who_waits_gives_up_his_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "AT_ONCE", 2)
    monkeypatch.setattr(turns, "TURN_SECONDS", 3600)
    hosts = await sync_to_async(make_hosts)(4)
    campaigns = [(await sync_to_async(make_campaign)(host)).pk for host in hosts]

    async def app(scope: Any, *_: Any) -> None:
        await until_over(scope["campaign"], 60)

    in_turn = turns.Turns(app)
    waiting = [asyncio.create_task(in_turn({"path": "/", "campaign": campaign}, None, None)) for campaign in campaigns]
    async with asyncio.timeout(20):
        while len(readers._readers) < len(campaigns):
            assert not any(task.done() for task in waiting)
            await asyncio.sleep(0.01)  # without a pause, the threads that look them up would hardly run
    for task in waiting:
        task.cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)

    assert all(isinstance(how, asyncio.CancelledError) for how in ended)


async def test_who_may_less_when_the_wait_is_over_is_given_less(operator: User) -> None:
    hosts = await sync_to_async(make_hosts)(2)
    people = {name: await sync_to_async(launcher)(name) for name in ("deactivated", "scoped", "as before")}
    browsers = {name: LoopClient() for name in (*people, "signed out")}
    for name, browser in browsers.items():
        await browser.aforce_login(people.get(name, operator))
    shown = {"Authorization": (await sync_to_async(bearer)(operator))["HTTP_AUTHORIZATION"]}
    browsers["token revoked"] = LoopClient()  # signed in by nothing else

    async def launch(name: str) -> tuple[str, Any]:
        more = {"headers": shown} if name == "token revoked" else {}
        order = json.dumps(ORDER)
        address = "/api/v1/campaigns/?wait=30"
        return name, await browsers[name].post(address, order, content_type="application/json", **more)

    waiting = [asyncio.create_task(launch(name)) for name in browsers]
    async with asyncio.timeout(60):
        while len(readers._readers) < len(waiting):
            assert [task.result()[1].content for task in waiting if task.done()] == []
            await asyncio.sleep(0.01)  # without a pause, the threads that launch would hardly run
    await sync_to_async(take_away)(people, browsers["signed out"].session.session_key, hosts[0])
    async for campaign in Campaign.objects.all():
        await sync_to_async(finish)(campaign, hosts)

    told = dict(await asyncio.gather(*waiting))

    gone = ("deactivated", "signed out", "token revoked")
    assert {name: told[name].status_code for name in gone} == dict.fromkeys(gone, 401)
    assert "has ended" in told["deactivated"].json()["error"]
    seen = {name: [item["host"]["id"] for item in told[name].json()["results"]] for name in ("scoped", "as before")}
    assert seen == {"scoped": [hosts[0].pk], "as before": [host.pk for host in hosts]}


def launcher(name: str) -> User:
    made = make_user(name)
    made.groups.add(Group.objects.get(name="Operator"))
    return made


def take_away(people: dict[str, User], session: str, seen: Host) -> None:
    """Let rights end while their persons wait."""
    User.objects.filter(pk=people["deactivated"].pk).update(is_active=False)
    Session.objects.filter(pk=session).delete()
    ApiToken.objects.all().delete()
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team).labels.add(make_label("ours", seen))
    people["scoped"].groups.add(team)


@pytest.mark.parametrize("wait", ["61", "-1", "x", "1.5", "", "100000"])
def test_a_wait_that_cannot_be_launches_nothing(api: Api, operator: User, wait: str) -> None:
    make_host()

    refused = api(operator).post(f"/api/v1/campaigns/?wait={wait}", ORDER, format="json")

    assert refused.status_code == 400
    assert f"wait {wait!r} is not a number of seconds from 0 to 60" in refused.json()["error"]
    assert not Campaign.objects.exists()


def test_who_may_only_launch_may_wait_for_what_he_launched(api: Api, stranger: User) -> None:
    make_host()
    stranger.user_permissions.add(Permission.objects.get(codename="add_campaign"))
    launcher = User.objects.get(pk=stranger.pk)

    waited = api(launcher).post("/api/v1/campaigns/?wait=0", ORDER, format="json")

    assert (waited.status_code, waited.json()["results"]) == (202, [])


def test_what_is_refused_is_refused_without_waiting(api: Api, operator: User) -> None:
    assert api(operator).post("/api/v1/campaigns/?wait=60", ORDER, format="json").status_code == 400
    assert api(None).post("/api/v1/campaigns/?wait=60", ORDER, format="json").status_code == 401


async def test_static_files_are_served_on_the_event_loop_and_off_it(client: Client) -> None:
    path = "/static/campaigns/icon.svg"

    answers = [await LoopClient().get(path), await sync_to_async(client.get)(path)]

    assert [answer["Content-Type"] for answer in answers] == ["image/svg+xml"] * 2
    assert (await LoopClient().get("/static/nothing")).status_code == 404
    for served in answers:
        served.close()
