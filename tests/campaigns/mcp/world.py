"""What models look at: hosts, a campaign, people with tokens; and how a tool is called."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from mcp import Client

from agents.models import Host
from campaigns.models import Query
from campaigns.tokens import ApiToken, Wanted
from fleet.audit.models import AuditEvent
from tests.factories import answer, end, learn, make_campaign, make_hosts, make_label, make_user

CANARY_ABOVE = 2
WHY = "is sshd up everywhere"
ORDER = {"sql": "SELECT 1", "target": {"all": True}, "reason": WHY}
OLD, NEW = "legacy", "auto"  # clients that shake hands, and those that need not
Connect = Callable[..., AbstractAsyncContextManager[Client]]


class World:
    """Four hosts, one of them in the scope of some; a campaign over all; who uses tools, by name."""

    def __init__(self) -> None:
        self.hosts = make_hosts(4)
        self.label = make_label("web", self.hosts[0])
        Host.objects.filter(pk=self.hosts[1].pk).update(hostname="zz-outside")
        self.hosts[1].refresh_from_db()
        learn("linux", "processes", "listening_ports")
        self.boss = make_user("boss", admin=True)
        self.kim = self._operator("kim")
        self.over = make_campaign(*self.hosts, by=self.boss, name="over all", sql="SELECT pid FROM processes")
        for host in self.hosts:
            answer(self.over, host, {"pid": "1", "name": f"of {host.hostname}"}, {"pid": "2", "name": "x" * 900})
        end(self.over)
        Query.objects.create(name="ports", sql="SELECT port FROM listening_ports", description="who listens")

    def _operator(self, name: str) -> User:
        person = make_user(name)
        person.groups.add(Group.objects.get(name="Operator"))
        return person

    def token(self, owner: User | None = None, **wanted: Any) -> str:
        """Make a token, which lets tools launch unless told otherwise."""
        asked = {"name": "model", "tools_may_launch": True, **wanted}
        return ApiToken.objects.make(owner or self.kim, Wanted(**asked))[1]


async def told(client: Client, tool: str, **arguments: Any) -> Any:
    """Call a tool, give its answer; of a refusal the sentence."""
    called = await client.call_tool(tool, arguments)
    text = called.content[0].text
    if called.is_error:
        return text
    assert json.loads(text) == called.structured_content
    return called.structured_content


@sync_to_async
def lines(**wanted: Any) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(**wanted).order_by("id"))
