"""Language models at /mcp, by the SDK's own client, as several people, on a console as it is deployed."""

import json
import time
from datetime import timedelta
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from agents.board import keyspace, redis_client
from campaigns import throttles
from campaigns.launching.models import ApprovalRule, Quota
from campaigns.models import Campaign
from campaigns.tokens import ApiToken
from tests.campaigns.mcp.world import CANARY_ABOVE, NEW, OLD, ORDER, WHY, Connect, World, lines, told
from tests.factories import answer, make_campaign, make_user

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("board"),
    pytest.mark.processes,
]

# --- what tools do ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [OLD, NEW])
async def test_a_model_finds_tables_and_reads_answers(world: World, connect: Connect, mode: str) -> None:
    token = await sync_to_async(world.token)()

    async with connect(token, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        tables = await told(client, "tables", search="port")
        queries = await told(client, "queries", search="listens")
        status = await told(client, "follow", campaign=world.over.pk, wait=30)
        rows = await told(client, "rows", campaign=world.over.pk, where=["pid:2"], order="-host", limit=3)
        rest = await told(client, "rows", campaign=world.over.pk, where=["pid:2"], order="-host", offset=3)
        of_one = await told(client, "rows", campaign=world.over.pk, host=[rows["rows"][0]["host"]["id"]])
        groups = await told(client, "groups", campaign=world.over.pk, by=["pid"])
        counted = await told(client, "sql", campaign=world.over.pk, sql="SELECT count(*) AS n FROM answers")

    assert set(tools) == {"tables", "queries", "estimate", "launch", "follow", "stop", "rows", "groups", "sql"}
    assert all("untrusted" in tools[name].description for name in ("rows", "groups", "sql"))
    assert "reason" in tools["launch"].input_schema["required"]
    assert [tool.name for tool in tools.values() if not tool.annotations.read_only_hint] == ["launch", "stop"]
    assert [table["name"] for table in tables["tables"]] == ["listening_ports"]
    assert tables["tables"][0]["columns"] == [{"name": "name", "type": "TEXT"}]
    assert [query["name"] for query in queries["queries"]] == ["ports"]
    assert (status["status"], status["counts"]["answered"]) == ("expired", 4)
    assert rows["rows"][0]["host"]["hostname"] == "zz-outside"
    assert (rows["rows"][0]["cut"], len(rows["rows"][0]["row"]["name"])) == (["name"], 500)
    assert (rows["next_offset"], len(rest["rows"]), rest["next_offset"]) == (3, 1, None)
    assert sorted((group["values"]["pid"], group["hosts"]) for group in groups["groups"]) == [("1", 4), ("2", 4)]
    assert {row["host"]["hostname"] for row in of_one["rows"]} == {"zz-outside"}
    assert counted["rows"] == [[8]]


async def test_a_launch_over_many_has_a_canary_and_one_over_few_has_none(world: World, connect: Connect) -> None:
    token = await sync_to_async(world.token)()
    few, many = [host.pk for host in world.hosts[:2]], {"all": True}

    async with connect(token) as client:
        estimated = await told(client, "estimate", sql="SELECT 1", target=many)
        small = await told(client, "launch", **{**ORDER, "target": {"hosts": few}})
        large = await told(client, "launch", **ORDER)
        paced = await told(client, "launch", **ORDER, rollout={"per_second": 5, "then": "auto"})
        later = await told(client, "launch", **ORDER, start_at=(timezone.now() + timedelta(hours=1)).isoformat())
        chosen = await told(client, "launch", **ORDER, rollout={"canary": {"count": 1}})
        refused = [
            await told(client, "launch", **ORDER, rollout={"canary": {"percent": 100}}),
            await told(client, "launch", **ORDER, include_late_joiners=True, rollout={"canary": {"percent": 1}}),
        ]
        stopped = await told(client, "stop", campaign=large["id"], reason="seen enough")

    assert estimated["targeted"] == 4
    assert (small["rollout"], small["notes"], small["reason"]) == (None, [], WHY)
    assert large["rollout"] == {"then": "ask", "canary": {"count": CANARY_ABOVE}}
    assert "MCP_CANARY_ABOVE" in large["notes"][0]
    assert paced["rollout"] == {"then": "auto", "per_second": 5, "canary": {"count": CANARY_ABOVE}}
    assert later["rollout"]["canary"] == {"count": CANARY_ABOVE}
    assert (chosen["rollout"], chosen["notes"]) == ({"canary": {"count": 1}}, [])
    assert [sentence[:14] for sentence in refused] == ["rollout.canary"] * 2
    assert stopped["ended_reason"] == "stopped by kim: seen enough"
    assert await sync_to_async(Campaign.objects.count)() == 6


async def test_every_call_is_in_the_audit_without_what_hosts_answered(world: World, connect: Connect) -> None:
    token = await sync_to_async(world.token)()

    async with connect(token) as client:
        await told(client, "rows", campaign=world.over.pk, search="x")
        await told(client, "launch", sql="SELECT 1", target={"all": True})
        await told(client, "nothing", a=1)
        launched = await told(client, "launch", **ORDER)
    found = await lines(action__startswith="tool.")
    read = await lines(action="results.read")
    own = await lines(action="campaign.launched", subject=f"campaign {launched['id']}")

    number = await sync_to_async(ApiToken.objects.values_list("pk", flat=True).get)()
    assert [(line.action, line.details["tool"]) for line in found] == [
        ("tool.called", "rows"),
        ("tool.called", "launch"),
        ("tool.refused", "launch"),
        ("tool.called", "nothing"),
        ("tool.refused", "nothing"),
        ("tool.called", "launch"),
    ]
    assert {(line.who, line.token_id, line.address) for line in [*found, *own]} == {("kim", number, "127.0.0.1")}
    assert (found[0].subject, found[0].details["arguments"]) == (
        f"campaign {world.over.pk}",
        {"campaign": world.over.pk, "search": "x"},
    )
    assert found[2].details["sentence"] == "reason: This field is required."
    assert [line.subject for line in read] == [f"campaign {world.over.pk}"]


async def test_the_audit_keeps_a_beginning_of_large_arguments_once(world: World, connect: Connect) -> None:
    token, large = await sync_to_async(world.token)(), 200_000

    async with connect(token) as client:
        await told(client, "rows", campaign=world.over.pk, colour="ü" * large)
        await told(client, "y" * large, a=1)
    found = await lines(action__startswith="tool.")

    kept = found[0].details["arguments"]
    assert kept.startswith(f'{{"campaign": {world.over.pk}, "colour": "üü')
    assert 65_000 < len(kept.encode()) < 65_600
    assert [sorted(line.details) for line in found] == [["arguments", "tool"], ["sentence", "tool"]] * 2
    assert all(len(json.dumps(line.details, ensure_ascii=False)) < 5_000 for line in found[1:])


# --- who may ---------------------------------------------------------------------------------------------------


async def test_a_token_launches_only_when_it_was_made_to_and_its_owner_may(world: World, connect: Connect) -> None:
    make = sync_to_async(world.token)
    plain, reading = await make(tools_may_launch=False), await make(tools_may_launch=False, access="read")
    observing = await make(role="Observer")

    sentences = []
    for token in (plain, reading, observing):
        async with connect(token) as client:
            sentences.append(await told(client, "launch", **ORDER))
            assert (await told(client, "follow", campaign=world.over.pk))["status"] == "expired"
    async with connect(reading) as client:
        stop = await told(client, "stop", campaign=world.over.pk)
    async with connect(observing) as client:
        steered = await told(client, "stop", campaign=world.over.pk)

    assert "tools may not launch with the token 'model'" in sentences[0]
    assert "reading only" in sentences[1]
    assert "'SELECT 1' is not that of a saved query" in sentences[2]
    assert "reading only" in stop
    assert "not launched by you" in steered
    assert await sync_to_async(Campaign.objects.count)() == 1


async def test_a_scoped_person_sees_his_hosts_alone(world: World, connect: Connect) -> None:
    token = await sync_to_async(world.token)(labels=[world.label])

    async with connect(token) as client:
        found = [
            await told(client, "estimate", sql="SELECT 1", target={"all": True}),
            await told(client, "follow", campaign=world.over.pk),
            await told(client, "rows", campaign=world.over.pk),
            await told(client, "groups", campaign=world.over.pk, by=["name"]),
            await told(client, "sql", campaign=world.over.pk, sql="SELECT host, name FROM answers"),
        ]
        outside = await told(client, "estimate", sql="SELECT 1", target={"hosts": [world.hosts[1].pk]})
        launched = await told(client, "launch", **ORDER)

    estimate, status, rows, groups, counted = found
    assert (estimate["targeted"], status["counts"]["targeted"], len(rows["rows"])) == (1, 1, 2)
    assert (len(groups["groups"]), len(counted["rows"]), launched["expected"]) == (2, 2, 1)
    assert "zz-outside" not in json.dumps(found)
    assert "unknown host" in outside


async def test_approvals_and_quotas_hold_as_at_the_api(world: World, connect: Connect) -> None:
    token = await sync_to_async(world.token)()
    rule = await sync_to_async(ApprovalRule.objects.create)(hosts_above=3)

    async with connect(token) as client:
        waiting = await told(client, "launch", **ORDER)
        asked = await told(client, "follow", campaign=waiting["id"])
        await sync_to_async(rule.delete)()
        await sync_to_async(Quota.objects.create)(person=world.kim, open_campaigns=1)
        over = await told(client, "launch", **ORDER)

    assert (waiting["waits_for"], asked["waits_for"]) == ("approval", "approval")
    assert any("second person" in note for note in waiting["notes"])
    assert over.startswith("open campaigns of kim: 1, allowed are 1")


async def test_strangers_are_told_nothing(world: World, connect: Connect) -> None:
    stranger = await sync_to_async(make_user)("stranger")
    token = await sync_to_async(world.token)(stranger)

    async with connect(token) as client:
        sentences = [
            await told(client, name, **arguments)
            for name, arguments in {
                "queries": {},
                "estimate": {"target": {"all": True}},
                "launch": ORDER,
                "follow": {"campaign": world.over.pk},
                "stop": {"campaign": world.over.pk},
                "rows": {"campaign": 999_999},
                "groups": {"campaign": world.over.pk},
                "sql": {"campaign": world.over.pk, "sql": "SELECT * FROM answers"},
            }.items()
        ]

    assert all("needs" in sentence for sentence in sentences), sentences


# --- what is sent ----------------------------------------------------------------------------------------------


async def test_wrong_arguments_are_named(world: World, connect: Connect) -> None:
    token, number = await sync_to_async(world.token)(), world.over.pk
    wrong: dict[str, tuple[str, Any]] = {
        "nowhere": ("rows", {"campaign": number, "where": ["nowhere:1"]}),
        "unknown member 'colour'": ("rows", {"campaign": number, "colour": "red"}),
        "limit": ("rows", {"campaign": number, "limit": 10_000}),
        "unknown campaign: 999999": ("follow", {"campaign": 999_999}),
        "wait": ("follow", {"campaign": number, "wait": 61}),
        "amount": ("groups", {"campaign": number, "by": ["amount"]}),
        "nothing": ("launch", {**ORDER, "sql": "SELECT * FROM nothing"}),
        "reason": ("launch", {**ORDER, "reason": " "}),
        "target": ("launch", {**ORDER, "target": {"labels": []}}),
        "unknown label": ("estimate", {"target": {"labels": ["mars"]}}),
        "answer": ("sql", {"campaign": number, "sql": "SELECT * FROM answer"}),
        "platform": ("tables", {"platform": "amiga"}),
    }

    async with connect(token) as client:
        sentences = {part: await told(client, tool, **arguments) for part, (tool, arguments) in wrong.items()}

    assert [part for part, sentence in sentences.items() if not isinstance(sentence, str) or part not in sentence] == []


async def test_large_answers_are_pages_that_lead_on(world: World, connect: Connect) -> None:
    token = await sync_to_async(world.token)()
    large = await sync_to_async(make_campaign)(*world.hosts[:1], by=world.boss)
    await sync_to_async(answer)(large, world.hosts[0], *({"n": str(n), "text": "y" * 9_000} for n in range(40)))

    seen: list[str] = []
    async with connect(token) as client:
        page = await told(client, "rows", campaign=large.pk, cut=20_000)
        first = len(page["rows"])
        while True:
            seen += [row["row"]["n"] for row in page["rows"]]
            if page["next_offset"] is None:
                break
            page = await told(client, "rows", campaign=large.pk, cut=20_000, offset=page["next_offset"])
        by_sql = await told(client, "sql", campaign=large.pk, sql="SELECT n, text FROM answers")

    assert seen == [str(n) for n in range(40)]
    assert 5 < first < 12
    assert 5 < len(by_sql["rows"]) < 12
    assert (by_sql["truncated"], "LIMIT" in by_sql["more"]) == (True, True)


async def test_what_no_answer_holds_is_passed_by(world: World, connect: Connect) -> None:
    token = await sync_to_async(world.token)()
    large = await sync_to_async(make_campaign)(*world.hosts[:1], by=world.boss)
    await sync_to_async(answer)(
        large, world.hosts[0], *({"n": n, "text": "y" * (10 if n != "2" else 150_000)} for n in "123")
    )

    seen, refused, offset = [], [], 0
    async with connect(token) as client:
        for _ in range(4):
            page = await told(client, "groups", campaign=large.pk, by=["n", "text"], offset=offset)
            if isinstance(page, str):
                refused.append(page)
                offset = int(page.rsplit(" ", 1)[-1])
                continue
            seen += [group["values"]["n"] for group in page["groups"]]
            if page["next_offset"] is None:
                break
            offset = page["next_offset"]

    assert sorted(seen) == ["1", "3"]
    assert [
        sentence.partition(": ")[2].startswith("group by columns of shorter values, or") for sentence in refused
    ] == [True]


async def test_pages_are_of_the_answers_that_were_there_at_the_first_one(world: World, connect: Connect) -> None:
    token = await sync_to_async(world.token)()
    going = await sync_to_async(make_campaign)(*world.hosts, by=world.boss)
    give = sync_to_async(answer)
    await give(going, world.hosts[0], {"n": "5", "m": "a"}, {"n": "6", "m": "b"}, {"n": "7", "m": "c"})
    read = {"rows": {"order": "n", "limit": 1}, "groups": {"by": ["m"], "limit": 1}}

    seen: dict[str, list[str]] = {"rows": [], "groups": []}
    async with connect(token) as client:
        for place, (tool, asked) in enumerate(read.items(), 1):
            page = await told(client, tool, campaign=going.pk, **asked)
            await give(going, world.hosts[place], {"n": "1", "m": "z"}, {"n": "2", "m": "z"})
            while True:
                seen[tool] += [row["row"]["n"] if tool == "rows" else row["values"]["m"] for row in page[tool]]
                if page["next_offset"] is None:
                    break
                assert page["more"].endswith(f"with offset {page['next_offset']} and up_to {page['up_to']}")
                next_one = {"offset": page["next_offset"], "up_to": page["up_to"]}
                page = await told(client, tool, campaign=going.pk, **asked, **next_one)
        later = await told(client, "rows", campaign=going.pk, order="n")

    assert seen["rows"] == ["5", "6", "7"]
    assert sorted(seen["groups"]) == ["a", "b", "c", "z"]
    assert [row["row"]["n"] for row in later["rows"]] == ["1", "1", "2", "2", "5", "6", "7"]


def test_who_is_not_let_in_hears_why(world: World, address: str) -> None:
    token, old = world.token(), world.token(days=1)
    ApiToken.objects.filter(token_key=old[:15]).update(expiry=timezone.now() - timedelta(days=1))
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}

    def sent(method: str = "POST", content: Any = None, **headers: str) -> httpx.Response:
        given = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream", **headers}
        body: Any = {"json": call} if content is None else {"content": content}
        return httpx.request(method, address, headers=given, timeout=60, **body)

    refused = {
        401: [sent(Authorization=""), sent(Authorization=f"Bearer {old}"), sent(Authorization="Basic eDp5")],
        403: [sent(Origin="https://evil.example"), sent(Origin="null")],
        421: [sent(Host="evil.example"), sent(Host="localhost.evil.example:80")],
        405: [sent("GET", b""), sent("DELETE", b"")],
        413: [sent(content=b"x" * (2**20 + 1))],
    }

    assert sent().status_code == 200
    assert sent(Origin=address).json()["result"]["tools"]
    assert "x-content-type-options" in sent().headers
    for status, answers in refused.items():
        assert [answer.status_code for answer in answers] == [status] * len(answers)
        assert {tuple(answer.headers.get_list("content-type")) for answer in answers} == {("application/json",)}
        sentences = [answer.json()["error"] for answer in answers]
        assert all(status == 413 or (each["code"], bool(each["message"])) == (-32000, True) for each in sentences)
    assert refused[401][0].headers["www-authenticate"] == "Bearer"


def test_calls_are_counted_as_requests_are(world: World, address: str) -> None:
    token, number = world.token(), ApiToken.objects.get().pk
    minute = int(time.time()) // throttles.WINDOW
    for window in (minute, minute + 1):
        redis_client.client().set(keyspace.throttle_key(f"request:token:{number}", window), 1200)

    answer = httpx.post(address, timeout=60, headers={"Authorization": f"Bearer {token}"}, json={})

    assert (answer.status_code, "1200" in answer.json()["error"]["message"]) == (429, True)
    assert 0 < int(answer.headers["retry-after"]) <= throttles.WINDOW
