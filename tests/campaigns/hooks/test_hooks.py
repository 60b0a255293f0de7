"""Hooks: what is told, signed how, to whom, where to, and what becomes of what is not taken."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from prometheus_client import CollectorRegistry, generate_latest
from standardwebhooks import Webhook, WebhookVerificationError

from campaigns.hooks import keeping, networks, posting, sending, telling
from campaigns.hooks.models import Delivery, Event, Hook, HookEvent
from campaigns.launching import approvals, control
from campaigns.launching.models import ApprovalRule
from campaigns.launching.rollout import ASKS
from campaigns.models import Campaign
from campaigns.operating.figures import House
from campaigns.operating.processes import processes
from campaigns.people.scopes import Scope
from campaigns.running.sweeps import BRAKE
from campaigns.states import Status
from fleet.audit.models import AuditEvent
from fleet.errors import BadInputError, ConflictError
from tests.campaigns.hooks.conftest import RIGHTS
from tests.campaigns.hooks.receiver import Receiver
from tests.factories import answer, end, make_campaign, make_host, make_label, make_person
from tests.pages import words_of

DOCS, CODE = Path(__file__).parents[3] / "docs/hooks.md", re.compile(r"```python\n(.*?)```", re.DOTALL)
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


def kinds() -> list[str]:
    return list(HookEvent.objects.order_by("pk").values_list("kind", flat=True))


def told(there: Receiver) -> list[dict[str, Any]]:
    return [json.loads(body) for _, body in there.came]


# --- what is told ----------------------------------------------------------------------------------------------


def test_each_step_of_a_campaign_is_an_event_in_its_own_transaction() -> None:
    campaign = make_campaign(make_host(), make_host())
    Campaign.objects.filter(pk=campaign.pk).update(status=Status.PAUSED, paused_by=ASKS)
    Campaign.objects.filter(pk=campaign.pk).update(status=Status.RUNNING, paused_by="")
    Campaign.objects.filter(pk=campaign.pk).update(status=Status.PAUSED, paused_by="ada")  # a person did: no event
    control.stop(campaign.pk, BRAKE, "brake rows: 9 rows, the limit is 5")
    campaign.refresh_from_db()
    end(campaign)

    assert kinds() == [Event.STARTED, Event.WAITING, Event.BRAKED, Event.ENDED]
    assert HookEvent.objects.get(kind=Event.BRAKED).facts["ended_reason"] == "brake rows: 9 rows, the limit is 5"


def test_what_is_rolled_back_is_no_event() -> None:
    with transaction.atomic():
        make_campaign(make_host())
        transaction.set_rollback(True)

    assert kinds() == []


def test_a_launch_that_wants_an_approval_is_told_to_approvers_and_again_when_it_is_taken_back(
    make_hook: Callable[..., Hook], deliver: Callable[[], None], there: Receiver
) -> None:
    ApprovalRule.objects.create(hosts_above=0)
    approver = make_person("campaigns.add_hook", "campaigns.approve_campaign", "campaigns.launch_flagged")
    make_hook(approver)
    launcher = make_person("campaigns.add_campaign", "agents.view_host")

    campaign = make_campaign(make_host(), by=launcher)
    approvals.reject(campaign.pk, approver, "no")
    deliver()

    assert kinds() == []
    assert [one["type"] for one in told(there)] == [Event.APPROVAL_WANTED]
    assert told(there)[0]["data"]["campaign"]["waits_for"] == "approval"


def test_a_message_is_signed_with_both_secrets_and_holds_counts_and_links_and_no_row(
    make_hook: Callable[..., Hook], deliver: Callable[[], None], there: Receiver, owner: User
) -> None:
    hook = make_hook(events=[Event.ENDED])
    first = hook.secret
    second = keeping.rotate(hook, owner)
    campaign = make_campaign(host := make_host(), name="ports")
    answer(campaign, host, {"pid": "secret-of-a-row"})
    end(campaign)

    deliver()

    (headers, body), *others = there.came
    assert others == []
    for secret in (first, second):
        assert Webhook(secret).verify(body, headers)["type"] == Event.ENDED
    with pytest.raises(WebhookVerificationError):
        Webhook(keeping.new_secret()).verify(body, headers)
    by_hand: dict[str, Any] = {}
    exec(next(code for code in CODE.findall(DOCS.read_text()) if "def is_ours" in code), by_hand)  # noqa: S102 - ours
    assert [by_hand["is_ours"](secret, headers, body) for secret in (first, second, keeping.new_secret())] == [
        *(True, True, False),
    ]
    assert not by_hand["is_ours"](first, headers, body + b" ")
    data = json.loads(body)["data"]
    assert data["campaign"]["counts"]["answered"] == 1
    assert data["campaign"]["url"] == f"https://fleet.example/campaigns/{campaign.pk}/"
    assert data["sentence"].startswith(f"campaign {campaign.pk} (ports) is expired: 1 of 1 answered, 1 row")
    assert b"secret-of-a-row" not in body
    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.status, delivery.answer) == (Delivery.State.DELIVERED, 200, "thank you")
    assert delivery.took_ms is not None


def test_a_hook_hears_what_it_wants_and_what_is_its_owners_when_it_says_so(
    make_hook: Callable[..., Hook], deliver: Callable[[], None], owner: User
) -> None:
    for_all, mine = make_hook(), make_hook(only_mine=True, events=[Event.STARTED])

    theirs, own = make_campaign(make_host()), make_campaign(make_host(), by=owner)
    end(own)
    deliver()

    assert list(mine.deliveries.values_list("campaign_id", "kind")) == [(own.pk, Event.STARTED)]
    assert set(for_all.deliveries.values_list("campaign_id", flat=True)) == {theirs.pk, own.pk}


# --- to whom ---------------------------------------------------------------------------------------------------


def test_a_hook_sees_what_its_owner_sees_also_when_that_becomes_less_before_it_is_sent(
    make_hook: Callable[..., Hook], there: Receiver, deliver: Callable[[], None]
) -> None:
    inside, outside = make_host(), make_host()
    scoped, later = make_person(*RIGHTS), make_person(*RIGHTS)
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team).labels.add(make_label("berlin", inside))
    scoped.groups.add(team)
    make_hook(scoped), make_hook(later)
    both, hidden = make_campaign(inside, outside), make_campaign(outside)
    answer(both, inside), answer(both, outside)
    end(both), end(hidden)

    telling.step()
    later.groups.add(team)
    deliver()

    for person in (scoped, later):
        found = Delivery.objects.filter(hook__owner=person, kind=Event.ENDED)
        bodies = [json.loads(one.body)["data"]["campaign"] for one in found.filter(state=Delivery.State.DELIVERED)]
        assert [(one["id"], one["counts"]["targeted"], one["partial"]) for one in bodies] == [(both.pk, 1, True)]
    assert set(Delivery.objects.filter(state=Delivery.State.DEAD).values_list("campaign_id", flat=True)) == {hidden.pk}


@pytest.mark.parametrize("loss", ["deactivated", "right", "sight"])
def test_a_hook_whose_owner_loses_his_right_stops_and_says_so(
    make_hook: Callable[..., Hook], there: Receiver, deliver: Callable[[], None], owner: User, loss: str
) -> None:
    hook, idle = make_hook(), make_hook(events=[Event.BRAKED])
    campaign = make_campaign(make_host())
    telling.spread()
    if loss == "deactivated":
        User.objects.filter(pk=owner.pk).update(is_active=False)
    else:
        kept = ["add_hook"] if loss == "sight" else ["view_campaign"]
        owner.user_permissions.set(Permission.objects.filter(codename__in=kept))

    deliver()  # before the step that looks at all of them
    telling.stop_without_right()

    for one in (hook, idle):
        one.refresh_from_db()
        assert owner.username in one.stopped_reason
    assert there.came == []
    assert hook.deliveries.get(campaign_id=campaign.pk).error.startswith("the hook is stopped")
    assert AuditEvent.objects.filter(action="hook.stopped", subject=f"hook {hook.pk}").exists()
    with pytest.raises(ConflictError):
        keeping.start(Hook.objects.select_related("owner").get(pk=hook.pk), owner)


# --- when it is not taken --------------------------------------------------------------------------------------


def test_what_is_not_taken_is_tried_over_a_day_then_given_up_and_sent_again_by_hand(
    make_hook: Callable[..., Hook], there: Receiver, deliver: Callable[[], None], owner: User
) -> None:
    hook = make_hook()
    there.statuses, there.answer = [500] * 11, b"x" * 5_000
    keeping.test(hook, owner)
    waits = []

    for _ in range(11):
        deliver()
        delivery = Delivery.objects.get()
        waits.append((delivery.due_at - (delivery.tried_at or delivery.due_at)).total_seconds())
        Delivery.objects.filter(state=Delivery.State.WAITING).update(due_at=timezone.now())

    assert [round(wait) for wait in waits[:10]] == list(sending.WAITS)
    assert 23 * 3600 < sum(sending.WAITS) < 25 * 3600
    assert (delivery.state, delivery.tries, delivery.status) == (Delivery.State.DEAD, 11, 500)
    assert delivery.error.startswith("given up after 11 tries")
    assert delivery.answer == "x" * 1_000
    deliver()
    assert len(there.came) == 11
    keeping.send_again(delivery, owner)
    deliver()
    assert Delivery.objects.get().state == Delivery.State.DELIVERED
    assert len({headers["webhook-id"] for headers, _ in there.came}) == 1


def test_a_receiver_that_is_gone_for_good_stops_the_hook(
    make_hook: Callable[..., Hook], there: Receiver, deliver: Callable[[], None], owner: User
) -> None:
    hook = make_hook()
    there.statuses = [410]
    keeping.test(hook, owner)

    deliver()

    hook.refresh_from_db()
    assert "410" in hook.stopped_reason
    with pytest.raises(ConflictError, match="start it first"):
        keeping.send_again(Delivery.objects.select_related("hook").get(), owner)


def test_a_redirect_is_not_followed(
    make_hook: Callable[..., Hook], there: Receiver, deliver: Callable[[], None], owner: User
) -> None:
    there.statuses, there.headers = [302], {"location": there.address}
    keeping.test(make_hook(), owner)

    deliver()

    assert len(there.came) == 1
    told = Delivery.objects.get()
    assert (told.state, told.status) == (Delivery.State.WAITING, 302)
    assert told.answer == f"it redirects to {there.address}, and redirects are not followed. thank you"


def test_a_hook_that_is_not_taken_is_said_to_who_keeps_it_and_who_runs_the_server(
    make_hook: Callable[..., Hook], there: Receiver, deliver: Callable[[], None], owner: User, client: Client
) -> None:
    there.statuses, there.answer = [503] * 3, b"later"
    hook = make_hook()
    keeping.test(hook, owner)
    client.force_login(owner)

    def told() -> tuple[bool, str, list[str]]:
        Delivery.objects.update(due_at=timezone.now())
        deliver()
        registry = CollectorRegistry()
        registry.register(House())
        figure = next(
            one for one in generate_latest(registry).decode().splitlines() if one[:20] == "fleet_hooks_failing "
        )
        found = [finding.sentence for finding in processes() if "hook" in finding.sentence]
        return "it was answered with 503" in words_of(client.get("/settings/hooks/")), figure[-3:], found

    first, _, third, fourth = [told() for _ in range(4)]

    assert first == (True, "0.0", [])
    assert third == (True, "1.0", [f"the hook pager of {owner.username} is not taken: it was answered with 503"])
    assert fourth == (False, "0.0", [])


def test_a_message_that_was_taken_and_is_sent_again_or_given_up_is_no_trouble(
    make_hook: Callable[..., Hook], deliver: Callable[[], None], owner: User
) -> None:
    hook = make_hook()
    delivery = keeping.test(hook, owner)
    deliver()
    delivery.refresh_from_db()

    keeping.send_again(delivery, owner)
    waiting = Hook.objects.with_last_try().get().trouble
    keeping.stop(hook, owner)
    hook.refresh_from_db()
    keeping.start(hook, owner)

    assert Delivery.objects.get().state == Delivery.State.DEAD
    assert (waiting, Hook.objects.with_last_try().get().trouble, Hook.objects.failing()) == ("", "", [])


def test_what_came_of_the_last_message_is_looked_up_and_not_searched_for(make_hook: Callable[..., Hook]) -> None:
    hook, now = make_hook(), timezone.now()
    Delivery.objects.bulk_create(
        Delivery(hook=hook, message_id=str(number), kind=Event.ENDED, tried_at=now) for number in range(5_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE campaigns_delivery")

    plan = Hook.objects.with_last_try().explain(analyze=True)

    assert "Sort Key: u0" not in plan
    assert "deliveries_by_try" in plan


def test_a_message_of_celery_that_comes_twice_and_one_that_is_lost_change_nothing(
    make_hook: Callable[..., Hook], there: Receiver, owner: User
) -> None:
    hook = make_hook()
    keeping.test(hook, owner)
    telling.step()
    lease = Hook.objects.get().lease
    telling.step()  # it is held: nobody else is sent to it
    assert Hook.objects.get().lease == lease

    Hook.objects.update(held_until=timezone.now() - timedelta(seconds=1))  # whoever had it died
    telling.step()
    sending.send(hook.pk, lease)
    assert there.came == []
    sending.send(hook.pk, lease + 1)
    sending.send(hook.pk, lease + 1)

    assert len(there.came) == 1


def test_a_slow_receiver_has_its_time_and_keeps_no_other_waiting(
    make_hook: Callable[..., Hook], there: Receiver, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "WHOLE_SECONDS", 0.3)
    there.holds = threading.Event()
    slow = [make_hook(address=there.address.replace("127.0.0.1", "localhost")) for _ in range(6)]
    quick = make_hook()
    for hook in (*slow, quick):
        keeping.test(hook, owner)

    telling.step()
    held = list(Hook.objects.filter(held_until__gt=timezone.now()))
    began = time.monotonic()
    sending.send(slow[0].pk, 1)

    assert sorted(hook.host for hook in held) == ["127.0.0.1", *["localhost"] * telling.AT_ONCE_PER_HOST]
    assert time.monotonic() - began < 5
    assert slow[0].deliveries.get().error == "no answer within 0.3 seconds"


def test_a_receiver_that_drips_has_its_time_as_well(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "WHOLE_SECONDS", 0.4)
    settings.HOOKS_ALLOWED_NETWORKS = ["127.0.0.1"]
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)  # a machine may be so busy that the time is over before anybody comes

        def drip() -> None:
            with suppress(OSError), server.accept()[0] as peer:
                while not done.wait(0.05):
                    peer.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        outcome = posting.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {})
        done.set()
        thread.join()

    assert outcome.status is None
    assert outcome.took_ms < 3_000


@pytest.mark.parametrize(
    ("status", "closes"),
    [(200, True), (410, True), (500, True), (200, False)],
    ids=["taken", "gone", "broken", "taken and no more said"],
)
def test_a_status_counts_whatever_becomes_of_the_rest_of_the_answer(
    status: int, closes: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(posting, "WHOLE_SECONDS", 30.0 if closes else 3.0)
    settings.HOOKS_ALLOWED_NETWORKS = ["127.0.0.1"]
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def talk() -> None:
            with suppress(OSError), server.accept()[0] as peer:
                peer.recv(65_536)
                peer.sendall(b"HTTP/1.1 %d Said\r\ncontent-length: 9\r\n\r\nthan" % status)
                if not closes:
                    done.wait(30)

        thread = threading.Thread(target=talk)
        thread.start()
        outcome = posting.post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"", {})
        done.set()
        thread.join()

    assert (outcome.status, outcome.answer, outcome.error) == (status, "than", "")


# --- where to --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1"),  # noqa: S104
        *("224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1", "::ffff:127.0.0.1"),
        *("64:ff9b::7f00:1", "2002:7f00:1::", "::ffff:10.0.0.1", "198.18.0.1", "192.0.2.1", "240.0.0.1"),
        *("172.31.255.255", "127.9.9.9", "192.0.0.8", "192.0.0.170", "192.88.99.1", "198.51.100.1", "203.0.113.1"),
        *("239.1.1.1", "100.127.255.254", "64:ff9b::a00:1", "64:ff9b::6440:1", "64:ff9b::a9fe:a9fe", "64:ff9b::"),
        *("2002:a00:1::", "2002:6440:1::", "2001:0:a00:1::1", "2001:0:808:808::f5ff:fffe", "::ffff:0:a00:1"),
        *("2606:4700::5efe:a00:1", "2606:4700::200:5efe:7f00:1", "::ffff:100.64.0.1", "feff::1", "fdff::1"),
        *("100::1", "2001:db8::1", "2001:2::1", "2001:10::1", "3fff::1", "febf::1"),
        *("2001:1::1", "2001:3::1", "2001:4:112::1", "2001:20::1", "2001:30::1", "2002:e000:1::", "2002:c000:9::"),
        *("64:ff9b:1::7f00:1", "64:ff9b:1::808:808", "::7f00:1", "::808:808", "5f00::1", "fec0::1", "4000::1"),
    ],
)
def test_no_network_within_is_reached_unless_it_is_allowed(address: str, settings: Any) -> None:
    with pytest.raises(networks.RefusedAddressError, match="HOOKS_ALLOWED_NETWORKS"):
        networks.check(address)

    settings.HOOKS_ALLOWED_NETWORKS = [address]
    networks.check(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::", "2606:4700::5efe:808:808"]
)
def test_public_addresses_are_reached(address: str) -> None:
    networks.check(address)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ftp://example.com/", "is no URL like"),
        ("https://", "is no URL like"),
        ("nonsense", "is no URL like"),
        ("http://[::1", "is no URL"),
        ("https://example.com:99999/", "has the port 99999, allowed are 1 to 65535"),
        ("https://example.com:0/", "has the port 0, allowed are 1 to 65535"),
        ("https://a:b@example.com/", "holds a name or a password"),
        ("http://localhost/", "loopback"),
        ("http://2130706433/", "loopback"),
        ("http://0x7f.1/", "loopback"),
        ("http://127.1/", "loopback"),
        ("http://[::ffff:7f00:1]/", "loopback"),
        ("http://no-such-name.invalid/", "cannot be found"),
    ],
)
def test_an_address_that_is_none_or_within_is_refused_when_it_is_saved(
    owner: User, address: str, sentence: str
) -> None:
    with pytest.raises(BadInputError, match=sentence):
        keeping.make(Hook(name="x", address=address), owner)

    assert not Hook.objects.exists()


@pytest.mark.parametrize("addresses", [["1.1.1.1", "10.0.0.1"], ["10.0.0.1", "1.1.1.1"]])
def test_a_name_of_which_one_address_lies_within_is_refused_whole(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.HOOKS_ALLOWED_NETWORKS = []
    monkeypatch.setattr(networks, "look_up", lambda *_: addresses)

    with pytest.raises(BadInputError, match=r"'both.example' is 10\.0\.0\.1, which is in a private"):
        networks.resolve("both.example", 443, 1.0)


def test_a_name_that_points_elsewhere_by_now_is_refused_at_the_connection(
    make_hook: Callable[..., Hook], there: Receiver, deliver: Callable[[], None], owner: User, settings: Any
) -> None:
    keeping.test(make_hook(), owner)
    settings.HOOKS_ALLOWED_NETWORKS = []

    deliver()

    assert there.came == []
    assert "loopback" in Delivery.objects.get().error


def test_a_name_is_resolved_once_for_each_connection(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, real = [], socket.getaddrinfo

    def once(host: Any, *args: Any, **more: Any) -> Any:
        if host == "receiver.example":
            asked.append(host)
            return real("127.0.0.1" if len(asked) == 1 else "127.0.0.2", *args, **more)
        return real(host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", once)
    outcome = posting.post(f"http://receiver.example:{there.server_port}/", b"{}", {})

    assert outcome.is_taken
    assert asked == ["receiver.example"]
    assert there.came[0][0]["host"] == f"receiver.example:{there.server_port}"


def test_what_is_wrong_of_events_is_named(owner: User, make_hook: Callable[..., Hook]) -> None:
    with pytest.raises(BadInputError, match=r"'campaign.begun', allowed are campaign.started"):
        make_hook(events=["campaign.begun"])


def test_old_deliveries_are_forgotten(make_hook: Callable[..., Hook], owner: User) -> None:
    hook = make_hook()
    old, young = (keeping.test(hook, owner) for _ in range(2))
    Delivery.objects.update(state=Delivery.State.DELIVERED)
    Delivery.objects.filter(pk=old.pk).update(created_at=timezone.now() - telling.KEPT - timedelta(days=1))

    telling.step()

    assert list(Delivery.objects.all()) == [young]
