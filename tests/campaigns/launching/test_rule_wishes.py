"""The rule of everybody binds superusers: one wishes it looser, another says yes; the only one is not locked out."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from campaigns.launching.models import ApprovalRule
from fleet.audit.models import AuditEvent
from tests.factories import make_user

pytestmark = [pytest.mark.django_db]
Api = Callable[[User | None], APIClient]
HOURS = [{"days": ["sat"], "from": "00:00", "to": "24:00", "zone": "UTC"}]


@pytest.fixture
def root(db: None) -> User:
    """Give a superuser."""
    return make_user("root", admin=True)


@pytest.fixture
def rule(db: None) -> ApprovalRule:
    """Give the rule of everybody."""
    return ApprovalRule.objects.create(hosts_above=2, tables=["shadow"], hours=HOURS)


def at(rule: ApprovalRule, verb: str = "") -> str:
    return f"/api/v1/approval-rules/{rule.pk}/{verb}"


def patch(client: APIClient, rule: ApprovalRule, body: Any) -> Any:
    return client.patch(at(rule), body, format="json")


def noted() -> list[tuple[str, str]]:
    lines = AuditEvent.objects.filter(action__startswith="approval_rule.").order_by("pk")
    return [*lines.values_list("action", "who")]


@pytest.mark.parametrize(
    "looser", [{"hosts_above": 3}, {"hosts_above": None}, {"tables": []}, {"hours": []}, {"group": "some"}, {}]
)
def test_a_superuser_loosens_it_with_the_yes_of_another_one_alone(
    api: Api, root: User, rule: ApprovalRule, looser: dict[str, Any]
) -> None:
    other, before = make_user("other", admin=True), rule.as_json()
    Group.objects.create(name="some")

    asked = patch(api(root), rule, looser) if looser else api(root).delete(at(rule))
    rule.refresh_from_db()
    own = api(root).post(at(rule, "grant/"))
    granted = api(other).post(at(rule, "grant/"), {"at": asked.json()["wish"]["at"]}, format="json")

    assert (asked.status_code, asked.json()["wish"]["by"]) == (202, "root")
    assert (rule.as_json(), rule.group) == (before, None)
    assert own.status_code == 403
    assert "another superuser has to say yes" in own.json()["error"]
    left = ApprovalRule.objects.filter(pk=rule.pk).first()
    if looser:
        assert granted.status_code == 200, granted.json()
        assert {**granted.json(), **looser} == granted.json()
        assert left is not None
        assert left.wish is None
    else:
        assert (granted.status_code, left) == (204, None)
    done = "approval_rule.kept" if looser else "approval_rule.deleted"
    assert noted() == [("approval_rule.wished", "root"), (done, "other")]
    assert AuditEvent.objects.get(action=done).details["asked_by"] == "root"


def test_stricter_holds_at_once_and_voids_what_was_wished(api: Api, root: User, rule: ApprovalRule) -> None:
    other = make_user("other", admin=True)
    patch(api(root), rule, {"hosts_above": 100})

    stricter = patch(api(root), rule, {"hosts_above": 1})
    late = api(other).post(at(rule, "grant/"))

    assert (stricter.status_code, stricter.json()["hosts_above"], stricter.json()["wish"]) == (200, 1, None)
    assert late.status_code == 409
    rule.refresh_from_db()
    assert rule.hosts_above == 1


def test_a_yes_is_to_what_was_looked_at_in_its_time(api: Api, root: User, rule: ApprovalRule) -> None:
    other = make_user("other", admin=True)
    with time_machine.travel(timezone.now() - timedelta(minutes=5)):
        seen = patch(api(root), rule, {"hosts_above": 3}).json()["wish"]["at"]
    now = patch(api(root), rule, {"hosts_above": None}).json()["wish"]["at"]

    stale = api(other).post(at(rule, "grant/"), {"at": seen}, format="json")
    with time_machine.travel(timezone.now() + timedelta(seconds=rule.expires_after + 1)):
        late = api(other).post(at(rule, "grant/"), {"at": now}, format="json")
        shown = api(other).get(at(rule)).json()["wish"]

    assert (stale.status_code, late.status_code, shown) == (409, 409, None)
    rule.refresh_from_db()
    assert rule.hosts_above == 2


def test_a_no_and_taking_it_back_leave_the_rule(api: Api, root: User, rule: ApprovalRule) -> None:
    other = make_user("other", admin=True)

    for by in (other, root):
        patch(api(root), rule, {"hosts_above": 3})
        assert api(by).post(at(rule, "refuse/")).status_code == 200

    rule.refresh_from_db()
    assert (rule.hosts_above, rule.wish) == (2, None)
    assert noted()[1::2] == [("approval_rule.refused", "other"), ("approval_rule.refused", "root")]


def test_the_only_superuser_is_not_locked_out(api: Api, root: User, rule: ApprovalRule) -> None:
    User.objects.filter(pk=make_user("gone", admin=True).pk).update(is_active=False)

    loosened = patch(api(root), rule, {"hosts_above": 3})
    gone = api(root).delete(at(rule))

    assert (loosened.status_code, gone.status_code) == (200, 204)
    assert noted() == [("approval_rule.kept", "root"), ("approval_rule.deleted", "root")]


def test_who_is_no_superuser_says_neither_yes_nor_no(
    api: Api, root: User, rule: ApprovalRule, administrator: User
) -> None:
    make_user("other", admin=True)
    patch(api(root), rule, {"hosts_above": 3})

    said = [api(administrator).post(at(rule, f"{verb}/")).status_code for verb in ("grant", "refuse")]

    assert said == [403, 403]
    rule.refresh_from_db()
    assert rule.wish is not None


@pytest.fixture
def administrator(db: None) -> User:
    """Give an administrator who is no superuser."""
    made = make_user("administrator")
    made.groups.add(Group.objects.get(name="Administrator"))
    return User.objects.get(pk=made.pk)


def test_the_admin_loosens_it_no_other_way(client: Client, root: User, rule: ApprovalRule) -> None:
    make_user("other", admin=True)
    client.force_login(root)
    page = f"/admin/campaigns/approvalrule/{rule.pk}/"

    told = client.post(
        f"{page}change/", {"hosts_above": "9", "tables": '["shadow"]', "hours": "[]", "expires_after": 60}
    )
    deleted = client.post(f"{page}delete/", {"post": "yes"})
    stricter = client.post(
        f"{page}change/",
        {"hosts_above": "1", "tables": '["shadow"]', "hours": '[{"days": ["sat"], "from": "00:00", "to": "24:00"}]',
         "expires_after": 60},
    )  # fmt: skip

    assert "another superuser has to say yes" in told.content.decode()
    assert (told.status_code, deleted.status_code, stricter.status_code) == (200, 403, 302)
    rule.refresh_from_db()
    assert rule.hosts_above == 1
