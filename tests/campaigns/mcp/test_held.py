"""Every tool, whoever calls it: what holds it is a clear sentence, and a line of the audit."""

import json
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.utils import timezone
from mcp import MCPError

from campaigns.launching import kill_switch
from campaigns.launching.models import ApprovalRule, Quota
from campaigns.models import Campaign
from campaigns.tokens import ApiToken
from tests.campaigns.mcp.world import ORDER, Connect, World, lines, told
from tests.factories import answer, end, make_campaign

pytestmark = [
    pytest.mark.lengthy,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("board"),
    pytest.mark.processes,
]

READS = {"tables", "queries", "estimate", "follow", "rows", "groups", "sql"}
BOTH = READS | {"launch", "stop"}
LAUNCHING_OFF = "tools may not launch with the token 'model'"
# whose token, or what holds everybody -> the tools that are refused, and what the sentence says
HELD: dict[str, dict[str, str]] = {
    "nothing": {},
    "made for looking": {"launch": "reading only", "stop": "reading only"},
    "not made to launch": {"launch": LAUNCHING_OFF},
    "of an observer": {"launch": "is not that of a saved query", "stop": "not launched by you"},
    "narrowed to labels": {},
    "approval wanted": {},
    "kill switch": {"launch": "switched off"},
    "open campaigns full": {"launch": "open campaigns of kim:"},
    "hosts per hour full": {"launch": "allowed are 1"},
    "rows kept full": {"launch": "rows kept in the campaigns of kim:"},
}


def held(world: World, how: str) -> str:
    """Bring it about; give the token."""
    if how == "approval wanted":
        ApprovalRule.objects.create(hosts_above=0)
    if how == "kill switch":
        kill_switch.turn(world.boss, "an incident", on=False)
    if how.endswith("full"):
        make_campaign(world.hosts[0], by=world.kim)
        answer(mine := make_campaign(world.hosts[0], by=world.kim), world.hosts[0], {"a": "1"}, {"a": "2"})
        end(mine)
        name = how.removesuffix(" full").replace(" ", "_")
        Quota.objects.create(person=world.kim, **{name: 1})
    return world.token(
        **{
            "made for looking": {"access": "read", "tools_may_launch": False},
            "not made to launch": {"tools_may_launch": False},
            "of an observer": {"role": "Observer"},
            "narrowed to labels": {"labels": [world.label]},
        }.get(how, {})
    )


def calls(world: World, stopped: Campaign) -> dict[str, dict[str, Any]]:
    """Give what each tool is called with."""
    over = {"campaign": world.over.pk}
    return {
        "tables": {},
        "queries": {},
        "estimate": {"sql": "SELECT 1", "target": {"all": True}},
        "launch": ORDER,
        "follow": over,
        "stop": {"campaign": stopped.pk},
        "rows": over,
        "groups": {**over, "by": ["pid"]},
        "sql": {**over, "sql": "SELECT count(*) AS n FROM answers"},
    }


def let_go() -> None:
    """Undo what holds everybody."""
    ApprovalRule.objects.all().delete()
    Quota.objects.all().delete()
    kill_switch.turn(User.objects.get(username="boss"), "", on=True)


async def test_every_tool_says_clearly_what_holds_it_and_the_audit_tells(world: World, connect: Connect) -> None:
    for how in HELD:
        await check(world, connect, how)
        await sync_to_async(let_go)()


async def check(world: World, connect: Connect, how: str) -> None:
    """Call every tool while something holds some of them."""
    by = world.boss if how == "of an observer" else world.kim
    mine = await sync_to_async(make_campaign)(world.hosts[0], by=by)
    before = {line.pk for line in await lines()}
    token = await sync_to_async(held)(world, how)

    asked = calls(world, mine)
    async with connect(token) as client:
        answers = {tool: await told(client, tool, **arguments) for tool, arguments in asked.items()}
    refused = {tool: text for tool, text in answers.items() if isinstance(text, str)}
    noted = [line for line in await lines(action__startswith="tool.") if line.pk not in before]
    audit = [(line.action, line.details["tool"]) for line in noted]
    sentences = {line.details["tool"]: line.details["sentence"] for line in noted if line.action == "tool.refused"}

    assert set(asked) == BOTH
    assert set(refused) == set(HELD[how]), refused
    assert all(part in refused[tool] for tool, part in HELD[how].items()), refused
    assert sentences == refused
    refusals = [("tool.refused", tool) for tool in asked if tool in refused]
    assert sorted(audit) == sorted([("tool.called", tool) for tool in asked] + refusals)
    if how == "approval wanted":
        assert answers["launch"]["waits_for"] == "approval"
    if how == "narrowed to labels":
        assert (answers["estimate"]["targeted"], answers["launch"]["expected"]) == (1, 1)
        assert "zz-outside" not in json.dumps(answers)


async def test_the_client_of_a_token_that_is_over_is_told_so(world: World, connect: Connect) -> None:
    expired, revoked, unheld = [await sync_to_async(world.token)() for _ in range(3)]
    moved = ApiToken.objects.filter(token_key=expired[:15]).update
    await sync_to_async(moved)(expiry=timezone.now() - timedelta(seconds=1))
    await sync_to_async(ApiToken.objects.filter(token_key=revoked[:15]).delete)()

    for token in (expired, revoked, unheld):
        if token == unheld:
            await sync_to_async(User.objects.filter(pk=world.kim.pk).update)(is_active=False)
        with pytest.raises(ExceptionGroup) as refused:
            async with connect(token) as client:
                await told(client, "tables")
        assert "with a token of the API that has not expired" in repr(refused.value.split(MCPError)[0])

    assert await lines(action__startswith="tool.") == []
