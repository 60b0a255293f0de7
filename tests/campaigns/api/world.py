"""One of everything that the API shows, and where it stands in the addresses of its operations."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group, User
from rest_framework.test import APIClient

from agents.carving import store
from agents.carving.models import Carve, CarveBlock
from agents.models import EnrollSecret
from campaigns.answers.models import QueryView
from campaigns.hooks import keeping
from campaigns.hooks.models import Hook
from campaigns.launching.launch import Order, launch
from campaigns.launching.models import ApprovalRule, Quota
from campaigns.models import Campaign, Query
from campaigns.recurring.models import Schedule
from campaigns.tokens import ApiToken
from tests.contract import DOCUMENT
from tests.factories import answer, end, learn, make_campaign, make_host, make_label, make_user

OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


class World:
    """One of everything, under other names than in the document's examples, and a client that may do everything."""

    def __init__(self) -> None:
        self.boss, self.bob = make_user("boss", admin=True), make_user("bob", admin=True)
        self.hosts = [make_host(), make_host(), make_host()]
        learn("linux", "listening_ports")
        self.query = Query.objects.create(name="open ports", sql="SELECT 1", created_by=self.boss)
        self.label = make_label("servers", *self.hosts[:2])
        self.before = self.ended({"pid": "1", "port": "22"})
        self.ended_now = self.ended({"pid": "1", "port": "22"}, {"pid": "2", "port": "4444"})
        Campaign.objects.filter(pk__in=[self.before.pk, self.ended_now.pk]).update(query=self.query)
        self.client = APIClient()
        self.client.force_authenticate(self.boss)

    def ended(self, *rows: dict[str, str]) -> Campaign:
        """Give a campaign that two hosts answered, long ago."""
        campaign = make_campaign(*self.hosts, by=self.boss)
        answer(campaign, self.hosts[0], *rows)
        answer(campaign, self.hosts[1], {"pid": "7", "port": "80"}, wall_ms=12)
        return end(campaign, timedelta(days=1))

    def running(self, **order: Any) -> Campaign:
        """Give a campaign that goes on."""
        return make_campaign(*self.hosts, by=self.boss, **order)

    def waiting(self, by: User | None = None) -> Campaign:
        """Give a campaign, of another person unless said, that waits for a second one."""
        ApprovalRule.objects.filter(group=None).delete()
        rule = ApprovalRule.objects.create(hosts_above=0)
        campaign = launch(Order(sql="SELECT 1", target={"all": True}, timeout=60), by or self.bob)
        rule.delete()
        assert campaign.waits_for == "approval"
        return campaign

    def carve(self) -> Carve:
        """Give a carve of which all is here."""
        Campaign.objects.filter(pk=self.ended_now.pk).update(sql="SELECT * FROM carves WHERE carve = 1")
        at = self.ended_now.ended_at
        facts = {"block_count": 1, "block_size": 5, "carve_size": 5, "received_blocks": 1, "received_bytes": 5}
        carve = Carve.objects.create(
            **facts,
            host=self.hosts[0],
            carve_id="guid",
            campaign_id=self.ended_now.pk,
            path="/etc/hosts",
            session_id="s",
            begun_at=at,
            announced_at=at,
            completed_at=at,
        )
        store.write(carve, 0, b"bytes")
        CarveBlock.objects.create(carve=carve, number=0, size=5)
        return carve

    def hook(self, *, stopped: bool = False) -> Hook:
        """Give a hook."""
        hook = keeping.make(Hook(name="chat", address="https://1.1.1.1/fleet"), self.boss)
        if stopped:
            keeping.stop(hook, self.boss)
        return hook


def group_key(world: World) -> str:
    found = world.client.get(f"/api/v1/campaigns/{world.ended_now.pk}/groups/?by=port").json()
    return str(found["results"][0]["key"])


def paused(world: World) -> Campaign:
    campaign = world.running()
    assert world.client.post(f"/api/v1/campaigns/{campaign.pk}/pause/").status_code == 200
    return campaign


def rule(world: World) -> ApprovalRule:
    return ApprovalRule.objects.get_or_create(group=Group.objects.last(), defaults={"hosts_above": 9_999})[0]


def wished(world: World) -> dict[str, Any]:
    """Give the rule of everybody, which another superuser wants to be looser."""
    everybodys = ApprovalRule.objects.get_or_create(group=None, defaults={"hosts_above": 9_999})[0]
    client = APIClient()
    client.force_authenticate(world.bob)
    looser = {"hosts_above": 1 + (everybodys.hosts_above or 0)}
    asked = client.patch(f"/api/v1/approval-rules/{everybodys.pk}/", looser, format="json")
    assert asked.status_code == 202, asked.json()
    return {"id": everybodys.pk}


def view(world: World) -> QueryView:
    return world.query.views.get_or_create(name="ports by host", defaults={"sql": "SELECT 1"})[0]


def schedule(world: World) -> Schedule:
    """Give a schedule."""
    found = Schedule.objects.first()
    if found is None:
        order = {"query": world.query.pk, "every": 60, "target": {"all": True}}
        made = world.client.post("/api/v1/schedules/", order, format="json")
        assert made.status_code == 201, made.json()
        found = Schedule.objects.get(pk=made.json()["id"])
    return found


def of_hook(world: World) -> dict[str, Any]:
    hook = world.hook()
    return {"id": hook.pk, "delivery": keeping.test(hook, world.boss).pk}


def approved(world: World) -> dict[str, Any]:
    return {"campaign_id": world.waiting().pk}


# What stands in the address, by the operation or the first word of its path.
PLACES: dict[str, Callable[[World], dict[str, Any]]] = {
    "campaigns": lambda world: {"id": world.ended_now.pk, "seq": 1, "place": 1, "key": group_key(world)},
    "campaigns_stop_create": lambda world: {"id": world.running().pk},
    "campaigns_pause_create": lambda world: {"id": world.running().pk},
    "campaigns_resume_create": lambda world: {"id": paused(world).pk},
    "campaigns_widen_create": lambda world: {"id": world.running(rollout={"canary": {"count": 1}}).pk},
    "campaigns_approve_create": lambda world: {"id": world.waiting().pk},
    "campaigns_reject_create": lambda world: {"id": world.waiting().pk},
    "campaigns_withdraw_create": lambda world: {"id": world.waiting(world.boss).pk},
    "campaigns_destroy": lambda world: {"id": world.ended({"pid": "1"}).pk},
    "approvals": approved,
    "approval_rules_grant_create": wished,
    "approval_rules_refuse_create": wished,
    "approval-rules": lambda world: {"id": rule(world).pk},
    "quotas": lambda world: {"id": Quota.objects.get_or_create(person=world.bob, defaults={"rows_kept": 9})[0].pk},
    "hosts": lambda world: {"id": world.hosts[0].pk},
    "labels": lambda world: {"id": world.label.pk},
    "labels_destroy": lambda world: {"id": make_label("gone").pk},
    "queries": lambda world: {"id": world.query.pk, "view": view(world).pk},
    "queries_destroy": lambda world: {"id": Query.objects.create(name="gone", sql="SELECT 1").pk},
    "enroll-secrets": lambda world: {"id": EnrollSecret.objects.offer("laptops", "long enough for a secret").pk},
    "tokens": lambda world: {"id": ApiToken.objects.create(user=world.boss)[0].pk},
    "carves": lambda world: {"id": world.carve().pk},
    "hooks": of_hook,
    "schedules": lambda world: {"id": schedule(world).pk},
    "hooks_start_create": lambda world: {"id": world.hook(stopped=True).pk},
}


def values_of(world: World, name: str, path: str) -> dict[str, Any]:
    """Give what may stand in an address: ids, and keys, of what there is."""
    return PLACES.get(name, PLACES.get(path.split("/")[3], lambda _: {}))(world) if "{" in path else {}


def place(world: World, name: str, path: str) -> str:
    """Put real things into an address."""
    return path.format(**values_of(world, name, path))
