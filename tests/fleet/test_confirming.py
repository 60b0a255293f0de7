"""What is dangerous asks once more who sits there, in the console, the admin and the API with a session alike."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone

from agents.carving.models import Carve
from agents.models import EnrollSecret
from campaigns.launching import kill_switch
from campaigns.launching.models import ApprovalRule, Quota
from campaigns.tokens import ApiToken
from tests.factories import make_host
from tests.fleet.signing_in import PASSWORD

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("board", "quick_passwords")]


@pytest.fixture
def stale(kim: User) -> Any:
    """Give a browser whose person signed in an hour ago."""
    client, now = Client(), timezone.now()
    with time_machine.travel(now - timedelta(hours=1), tick=False):
        assert client.post("/login/", {"username": "kim", "password": PASSWORD}).status_code == 302
    return client


def of_rules_and_quotas(kim: User, group: Group) -> list[tuple[str, str, dict[str, Any]]]:
    rule, quota = ApprovalRule.objects.create(group=group), Quota.objects.create(person=kim)
    pages = ("/people/rules/", f"/people/rules/{rule.pk}/", f"/people/rules/{rule.pk}/delete/")
    pages += (f"/people/rules/{rule.pk}/decide/", "/people/quotas/", f"/people/quotas/{quota.pk}/")
    pages += (f"/people/quotas/{quota.pk}/delete/", "/admin/campaigns/approvalrule/add/", "/admin/campaigns/quota/add/")
    return [("post", page, {"hosts_above": 5}) for page in pages]


def dangerous(kim: User) -> list[tuple[str, str, dict[str, Any]]]:
    """Give one of each kind: method, address, form."""
    secret, group = EnrollSecret.objects.offer("s", "a secret of sixteen"), Group.objects.create(name="g")
    token, _ = ApiToken.objects.create(user=kim)
    return [
        ("post", "/settings/live-queries/", {"to": "off", "reason": "x"}),
        ("post", "/settings/secrets/", {"name": "new"}),
        ("post", f"/settings/secrets/{secret.pk}/revoke/", {}),
        ("post", "/tokens/", {"name": "t", "access": "read", "days": "3"}),
        ("get", "/account/app/", {}),
        ("get", "/account/passkeys/add/", {}),
        ("get", "/admin/auth/user/add/", {}),
        ("post", "/admin/auth/user/add/", {"username": "new"}),
        ("post", f"/admin/auth/user/{kim.pk}/change/", {"username": "other"}),
        ("post", f"/admin/auth/user/{kim.pk}/password/", {"password1": "x"}),
        ("post", f"/admin/auth/user/{kim.pk}/delete/", {"post": "yes"}),
        ("post", f"/admin/auth/group/{group.pk}/change/", {"name": "other"}),
        ("post", "/admin/auth/user/", {"action": "remove_second_factors", "_selected_action": [kim.pk]}),
        ("post", f"/admin/campaigns/apitoken/{token.pk}/delete/", {"post": "yes"}),
        *of_rules_and_quotas(kim, group),
        ("post", "/admin/agents/enrollsecret/add/", {"name": "new"}),
        ("post", "/admin/campaigns/livequeries/add/", {"enabled": ""}),
    ]


def test_what_is_dangerous_is_not_done_but_sent_to_where_one_shows_who_one_is(kim: User, stale: Client) -> None:
    asked = dangerous(kim)

    for method, address, form in asked:
        answer = getattr(stale, method)(address, form, headers={"Referer": "http://testserver/settings/"})

        assert answer.status_code == 302, address
        assert answer["Location"].startswith("/confirm/?next=%2F"), address
    assert kill_switch.is_on()
    assert list(EnrollSecret.objects.values_list("name", "revoked_at")) == [("s", None)]
    assert (User.objects.get().username, Group.objects.filter(name="g").count(), ApiToken.objects.count()) == (
        "kim",
        1,
        1,
    )


def test_a_form_is_sent_back_to_its_page_and_works_after_the_password(kim: User, stale: Client) -> None:
    off = {"to": "off", "reason": "x"}
    sent = stale.post("/settings/live-queries/", off, headers={"Referer": "http://testserver/settings/"})

    wrong = stale.post(sent["Location"], {"password": "wrong", "next": "/settings/"})
    right = stale.post(sent["Location"], {"password": PASSWORD, "next": "/settings/"})
    still_on = kill_switch.is_on()
    stale.post("/settings/live-queries/", off)

    assert (wrong.status_code, "not your password" in wrong.content.decode()) == (400, True)
    assert right["Location"] == "/settings/"
    assert still_on
    assert not kill_switch.is_on()


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "live-queries/disable/", {"reason": "x"}),
        ("get", "enroll-secrets/", None),
        ("post", "enroll-secrets/", {"name": "new"}),
        ("post", "tokens/", {"name": "t"}),
        ("get", "carves/{carve}/file", None),
        ("post", "approval-rules/", {"group": None}),
        ("patch", "approval-rules/{rule}/", {"hosts_above": 7}),
        ("delete", "approval-rules/{rule}/", {}),
        ("post", "approval-rules/{rule}/grant/", {}),
        ("post", "approval-rules/{rule}/refuse/", {}),
        ("post", "quotas/", {"person": "kim"}),
        ("patch", "quotas/{quota}/", {"rows_kept": 7}),
        ("delete", "quotas/{quota}/", {}),
    ],
)
def test_the_api_asks_sessions_and_no_tokens(kim: User, stale: Client, method: str, path: str, body: Any) -> None:
    carve = Carve.objects.create(host=make_host(), carve_id="g", announced_at=timezone.now())
    group = Group.objects.create(name="g")
    rule, quota = ApprovalRule.objects.create(group=group), Quota.objects.create(group=group)
    address = f"/api/v1/{path.format(carve=carve.pk, rule=rule.pk, quota=quota.pk)}"
    _, token = ApiToken.objects.create(user=kim)

    with_session = getattr(stale, method)(address, body, "application/json")
    with_token = getattr(Client(), method)(
        address, body, "application/json", headers={"Authorization": f"Bearer {token}"}
    )

    assert with_session.status_code == 403
    assert "/confirm/" in with_session.json()["error"]
    assert with_token.status_code != 403


def test_a_browser_that_wants_a_carve_is_sent_to_show_who_sits_there(kim: User, stale: Client) -> None:
    answer = stale.get("/api/v1/carves/1/file", headers={"Accept": "text/html,*/*"})

    assert answer["Location"] == "/confirm/?next=%2Fapi%2Fv1%2Fcarves%2F1%2Ffile"


def test_who_clicked_on_a_file_comes_back_to_the_page_with_the_link(kim: User, stale: Client) -> None:
    came_from = {"Accept": "text/html,*/*", "Referer": "http://testserver/campaigns/7/?tab=hosts"}

    answer = stale.get("/api/v1/carves/1/file", headers=came_from)

    assert answer["Location"] == "/confirm/?next=%2Fcampaigns%2F7%2F%3Ftab%3Dhosts"


def test_guessing_there_locks_as_it_does_at_the_door(kim: User, stale: Client, settings: Any) -> None:
    settings.WRONG_PASSWORDS_OF_NAME_AT_ADDRESS = 2

    answers = [stale.post("/confirm/", {"password": "wrong"}).status_code for _ in range(2)]
    locked = stale.post("/confirm/", {"password": PASSWORD})

    assert answers == [400, 400]
    assert (locked.status_code, locked["Retry-After"]) == (429, "900")


def test_secrets_are_listed_for_who_showed_lately_who_he_is(kim: User, stale: Client) -> None:
    EnrollSecret.objects.offer("of-the-lab", "a secret of sixteen")

    hidden = stale.get("/settings/").content.decode()
    stale.post("/confirm/", {"password": PASSWORD})
    shown = stale.get("/settings/").content.decode()

    assert "of-the-lab" not in hidden
    assert "of-the-lab" in shown
