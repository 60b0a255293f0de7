"""Whose turn it is: one task sends to a hook, all of one receiver get theirs, and what changes meanwhile stands."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from campaigns.hooks import keeping, posting, sending, telling
from campaigns.hooks.models import Delivery, Event, Hook, HookEvent
from campaigns.hooks.posting import Outcome
from campaigns.people.scopes import Scope
from fleet.errors import BadInputError
from tests.campaigns.hooks.conftest import RIGHTS
from tests.campaigns.hooks.receiver import Receiver
from tests.factories import answer, end, make_campaign, make_host, make_label, make_person

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


@contextmanager
def meanwhile(monkeypatch: pytest.MonkeyPatch, do: Callable[[], Any]) -> Iterator[None]:
    """Do something once while the receiver has a message in hand."""
    real, waiting = sending.post, [do]

    def posted(*args: Any) -> Outcome:
        outcome = real(*args)
        if waiting:
            waiting.pop()()
        return outcome

    with monkeypatch.context() as patched:
        patched.setattr(sending, "post", posted)
        yield


# --- one task --------------------------------------------------------------------------------------------------


def test_a_task_that_waited_long_in_the_queue_holds_its_hook_from_its_first_try_on(
    make_hook: Callable[..., Hook], there: Receiver, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = make_hook()
    keeping.test(hook, owner), keeping.test(hook, owner)
    telling.step()
    lease = Hook.objects.get().lease
    Hook.objects.update(held_until=timezone.now() + timedelta(milliseconds=1))  # it waited for a minute
    leases: list[int] = []

    def hand_out_later() -> None:
        telling.hand_out(timezone.now() + timedelta(seconds=30))
        leases.append(Hook.objects.get().lease)

    with meanwhile(monkeypatch, hand_out_later):
        sending.send(hook.pk, lease)

    assert leases == [lease + 1]  # nobody else was sent to it
    assert len(there.came) == 2
    assert not Hook.objects.filter(held_until__gt=timezone.now()).exists()


def test_a_task_whose_hook_was_given_to_another_ends(
    make_hook: Callable[..., Hook], there: Receiver, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = make_hook()
    keeping.test(hook, owner), keeping.test(hook, owner)
    telling.step()
    until = timezone.now() + timedelta(minutes=5)

    with meanwhile(monkeypatch, lambda: Hook.objects.update(lease=99, held_until=until)):
        sending.send(hook.pk, Hook.objects.get().lease)

    assert len(there.came) == 1
    assert (Hook.objects.get().lease, Hook.objects.get().held_until) == (99, until)


def test_all_hooks_of_one_receiver_get_their_turn(make_hook: Callable[..., Hook], owner: User) -> None:
    hooks = [make_hook() for _ in range(3 * telling.AT_ONCE_PER_HOST)]
    seen: list[set[int]] = []

    for _ in range(3):
        for hook in hooks:
            keeping.test(hook, owner)
        telling.step()
        held = list(Hook.objects.filter(held_until__gt=timezone.now()))
        seen.append({hook.pk for hook in held})
        for hook in held:
            sending.send(hook.pk, hook.lease)

    assert [len(some) for some in seen] == [telling.AT_ONCE_PER_HOST] * 3
    assert set.union(*seen) == {hook.pk for hook in hooks}


def test_a_service_is_told_by_its_host(owner: User) -> None:
    hooks = [
        Hook(kind=Hook.Kind.NOTIFICATION, address=address)
        for address in ("mailtos://a:b@one.example", "slack://T1/B/x")
    ]

    assert [hook.host for hook in hooks] == ["mailtos://one.example", "slack://t1"]


# --- what changes meanwhile ------------------------------------------------------------------------------------


def test_a_stop_during_a_try_stands(
    make_hook: Callable[..., Hook], there: Receiver, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = make_hook()
    keeping.test(hook, owner)
    telling.step()
    there.statuses = [500]

    with meanwhile(monkeypatch, lambda: keeping.stop(hook, owner)):
        sending.send(hook.pk, Hook.objects.get().lease)

    assert (Delivery.objects.get().state, Delivery.objects.get().tries) == (Delivery.State.DEAD, 0)
    assert Delivery.objects.get().error.startswith("the hook is stopped")


def test_a_resend_during_a_try_stands(
    make_hook: Callable[..., Hook], there: Receiver, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = make_hook()
    keeping.test(hook, owner)
    Delivery.objects.update(tries=10)
    telling.step()
    there.statuses = [500]

    with meanwhile(monkeypatch, lambda: keeping.send_again(Delivery.objects.select_related("hook").get(), owner)):
        sending.send(hook.pk, Hook.objects.get().lease)

    assert (Delivery.objects.get().state, Delivery.objects.get().tries) == (Delivery.State.WAITING, 0)


def test_a_deletion_during_a_try_stands(
    make_hook: Callable[..., Hook], there: Receiver, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = make_hook()
    keeping.test(hook, owner)
    telling.step()
    there.statuses = [410]
    number, lease = hook.pk, Hook.objects.get().lease

    with meanwhile(monkeypatch, lambda: keeping.drop(hook, owner)):
        sending.send(number, lease)

    assert not Hook.objects.exists()
    assert not Delivery.objects.exists()


# --- what it costs ---------------------------------------------------------------------------------------------


def test_an_idle_step_asks_as_much_however_many_hooks_there_are(make_hook: Callable[..., Hook]) -> None:
    counts = []
    for many in (1, 5):
        for _ in range(many):
            make_hook()
        with CaptureQueriesContext(connection) as asked:
            telling.step()
        counts.append(len(asked))
        with CaptureQueriesContext(connection) as asked:
            telling.stop_without_right()
        counts.append(len(asked))

    assert counts[:2] == counts[2:]


def test_a_backlog_is_told_in_small_transactions_without_reading_rows(
    make_hook: Callable[..., Hook], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "EVENTS_AT_ONCE", 2)
    inside, outside, scoped = make_host(), make_host(), make_person(*RIGHTS)
    team = Group.objects.create(name="team")
    Scope.objects.create(group=team).labels.add(make_label("berlin", inside))
    scoped.groups.add(team)
    make_hook(scoped)
    campaign = make_campaign(inside, outside)
    answer(campaign, inside, {"a": "1"})
    end(campaign)
    HookEvent.objects.all().delete()
    HookEvent.objects.bulk_create(HookEvent(kind=Event.ENDED, campaign_id=campaign.pk) for _ in range(5))

    with CaptureQueriesContext(connection) as asked:
        telling.step()

    texts = [one["sql"] for one in asked.captured_queries]
    assert Delivery.objects.count() == 5
    assert not HookEvent.objects.exists()
    assert sum("pg_try_advisory" in text for text in texts) == 3
    assert not any("jsonb_array_elements" in text for text in texts)
    assert sum("auth_permission" in text and "user_id" in text for text in texts) <= 3 * 2


def test_a_look_up_that_takes_long_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(posting, "WHOLE_SECONDS", 1.0)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30) and [])

    outcome = posting.post("http://receiver.example/", b"{}", {})
    with pytest.raises(BadInputError, match="cannot be found: no answer within"):
        posting.check_reachable("http://receiver.example/")
    answered.set()

    assert outcome.error.startswith("the host 'receiver.example' cannot be found: no answer within")
    assert outcome.took_ms < 5_000
