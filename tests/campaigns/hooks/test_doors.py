"""Hooks by the API and the pages: what is shown of a secret, whose hooks are seen, what is sent by hand."""

from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from campaigns.hooks.models import Delivery, Hook
from fleet.audit.models import AuditEvent
from fleet.confirming import CONFIRMED_AT
from tests.campaigns.hooks.receiver import Receiver
from tests.factories import bearer, make_label, make_person, make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("board")]


def test_a_program_makes_tries_and_follows_a_hook(
    owner: User, there: Receiver, deliver: Callable[[], None], client: Client
) -> None:
    head = bearer(owner)

    made = client.post("/api/v1/hooks/", {"name": "pager", "address": there.address}, "application/json", **head)
    number = made.json()["id"]
    there.statuses = [503]
    tried = client.post(f"/api/v1/hooks/{number}/test/", content_type="application/json", **head)
    deliver()

    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    assert tried.status_code == 202
    listed = client.get(f"/api/v1/hooks/{number}/deliveries/?state=waiting", **head).json()["results"]
    assert [(one["event"], one["status"], one["tries"]) for one in listed] == [("hook.test", 503, 1)]
    again = client.post(
        f"/api/v1/hooks/{number}/deliveries/{listed[0]['id']}/resend/", content_type="application/json", **head
    )
    deliver()
    assert again.status_code == 202
    assert client.get(f"/api/v1/hooks/{number}/deliveries/", **head).json()["results"][0]["answer"] == "thank you"
    assert "secret" not in client.get(f"/api/v1/hooks/{number}/", **head).json()
    rotated = client.post(f"/api/v1/hooks/{number}/rotate/", content_type="application/json", **head).json()["secret"]
    assert rotated not in str(list(AuditEvent.objects.values_list("details", flat=True)))
    assert client.delete(f"/api/v1/hooks/{number}/", **head).status_code == 204
    actions = set(AuditEvent.objects.filter(subject=f"hook {number}").values_list("action", flat=True))
    assert actions == {f"hook.{what}" for what in ("made", "tried", "sent_again", "rotated", "deleted")}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"name": "x", "address": "http://10.0.0.1/"}, "address"),
        ({"name": "x", "address": "https://8.8.8.8/", "events": ["nonsense"]}, "nonsense"),
        ({"name": "x", "address": "https://8.8.8.8/", "kind": "pigeon"}, "pigeon"),
        ({"name": "x"}, "address"),
        ({"name": "x", "address": "https://8.8.8.8/", "secret": "mine"}, "unknown member 'secret'"),
    ],
)
def test_what_is_wrong_with_a_hook_is_named(owner: User, client: Client, body: dict[str, str], sentence: str) -> None:
    refused = client.post("/api/v1/hooks/", body, "application/json", **bearer(owner))

    assert refused.status_code == 400
    assert sentence in refused.json()["error"]


def test_a_token_for_less_than_its_owner_keeps_no_hooks(owner: User, client: Client, there: Receiver) -> None:
    owner.groups.add(Group.objects.get(name="Observer"))
    owner = User.objects.get(pk=owner.pk)
    for wanted in ({"role": "Observer"}, {"labels": [make_label("web")]}):
        refused = client.get("/api/v1/hooks/", **bearer(owner, **wanted))

        assert refused.status_code == 403
        assert "this token is for less" in refused.json()["error"]


def test_the_secret_stands_on_the_page_once(owner: User, there: Receiver, client: Client) -> None:
    client.force_login(owner)

    made = client.post("/settings/hooks/", {"name": "pager", "kind": "webhook", "address": there.address}, follow=True)
    secret = Hook.objects.get().secret

    assert secret in made.content.decode()
    assert secret not in client.get(f"/settings/hooks/{Hook.objects.get().pk}/").content.decode()


def test_the_page_shows_each_message_with_its_answer_as_text_and_sends_it_again(
    make_hook: Callable[..., Hook], owner: User, there: Receiver, deliver: Callable[[], None], client: Client
) -> None:
    there.statuses, there.answer = [500], b"<script>alert(1)</script>\xff\x00"
    hook = make_hook()
    client.force_login(owner)
    client.post(f"/settings/hooks/{hook.pk}/control/", {"to": "test"})
    deliver()

    page = client.get(f"/settings/hooks/{hook.pk}/").content.decode()
    client.post(f"/settings/hooks/{hook.pk}/{Delivery.objects.get().pk}/resend/")
    deliver()

    assert "<b>500</b>" in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert Delivery.objects.get().state == Delivery.State.DELIVERED


def test_hooks_of_others_are_looked_at_by_auditors_and_stopped_by_administrators(
    make_hook: Callable[..., Hook], client: Client
) -> None:
    hook = make_hook()
    auditor, boss = make_person("campaigns.view_hook"), make_user(admin=True)

    seen = client.get(f"/api/v1/hooks/{hook.pk}/", **bearer(auditor))
    refused = client.post(f"/api/v1/hooks/{hook.pk}/stop/", content_type="application/json", **bearer(auditor))
    stopped = client.post(f"/api/v1/hooks/{hook.pk}/stop/", content_type="application/json", **bearer(boss))
    rotated = client.post(f"/api/v1/hooks/{hook.pk}/rotate/", content_type="application/json", **bearer(boss))

    assert (seen.status_code, refused.status_code, stopped.status_code, rotated.status_code) == (200, 404, 200, 403)
    assert stopped.json()["stopped_reason"] == f"stopped by {boss.username}"


def test_a_hook_that_its_owner_stopped_is_started_by_him_alone(
    make_hook: Callable[..., Hook], owner: User, client: Client
) -> None:
    hook, boss = make_hook(), make_user(admin=True)
    address = f"/api/v1/hooks/{hook.pk}/"
    client.post(f"{address}stop/", content_type="application/json", **bearer(owner))

    by_boss = client.post(f"{address}start/", content_type="application/json", **bearer(boss))
    client.force_login(boss)
    page = client.get(f"/settings/hooks/{hook.pk}/").content.decode()
    by_owner = client.post(f"{address}start/", content_type="application/json", **bearer(owner))

    assert (by_boss.status_code, by_owner.status_code) == (403, 200)
    assert "only its owner starts it" in by_boss.json()["error"]
    assert 'value="start"' not in page


def test_a_new_address_wants_the_password_again_and_a_new_name_does_not(
    make_hook: Callable[..., Hook], owner: User, there: Receiver, client: Client
) -> None:
    hook = make_hook()
    page, api, json = f"/settings/hooks/{hook.pk}/", f"/api/v1/hooks/{hook.pk}/", "application/json"
    client.force_login(owner)
    session = client.session
    session[CONFIRMED_AT] = 1.0  # long ago
    session.save()

    named = client.post(page, {"name": "bell", "address": there.address})
    moved = client.post(page, {"name": "bell", "address": f"{there.address}&y=2"})
    same = client.patch(api, {"name": "gong", "address": there.address}, json)
    away = client.patch(api, {"address": f"{there.address}&y=2"}, json)
    program = client.patch(api, {"address": f"{there.address}&y=3"}, json, **bearer(owner))

    assert (named["Location"], moved["Location"].partition("?")[0]) == (page, "/confirm/")
    assert (same.status_code, away.status_code, program.status_code) == (200, 403, 200)
    assert "your password or second factor again" in away.json()["error"]
    hook.refresh_from_db()
    assert (hook.name, hook.address) == ("gong", f"{there.address}&y=3")
