"""The pages of rules of approval and of quotas: made, changed and deleted as by the API, by whom it lets."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from campaigns.launching import quotas
from campaigns.launching.models import ApprovalRule, Quota
from campaigns.people import roles
from fleet.audit.models import AuditEvent
from tests.factories import make_user

pytestmark = pytest.mark.django_db

RULE = {"hosts_above": "5", "tables": "shadow, certificates", "hours": "", "many": "12", "unit": "3600"}


def as_(user: User) -> Client:
    made = Client()
    made.force_login(user)
    return made


@pytest.fixture
def boss() -> User:
    made = make_user("boss")
    made.groups.add(Group.objects.get(name=roles.ADMINISTRATOR))
    return User.objects.get(pk=made.pk)


@pytest.fixture
def helpdesk() -> Group:
    return Group.objects.create(name="helpdesk")


def lines(of: str) -> list[tuple[str, str]]:
    return [*AuditEvent.objects.filter(action__startswith=of).order_by("pk").values_list("action", "who")]


def test_a_rule_is_made_changed_and_deleted_and_each_is_noted(boss: User, helpdesk: Group) -> None:
    desk, hours = as_(boss), "fri, sat 20:00 to 06:00 Europe/Berlin\n\n 09:00 to 10:00"

    made = desk.post("/people/rules/", {**RULE, "group": helpdesk.pk, "hours": hours})
    rule = ApprovalRule.objects.get()
    kept = rule.as_json()
    page = desk.get(f"/people/rules/{rule.pk}/").content.decode()
    changed = desk.post(f"/people/rules/{rule.pk}/", {**RULE, "hosts_above": ""})
    shown = desk.get("/people/rules/").content.decode()
    rule.refresh_from_db()
    gone = desk.post(f"/people/rules/{rule.pk}/delete/")

    assert [told.status_code for told in (made, changed, gone)] == [302] * 3
    assert kept == {
        "hosts_above": 5,
        "tables": ["shadow", "certificates"],
        "hours": [
            {"days": ["fri", "sat"], "from": "20:00", "to": "06:00", "zone": "Europe/Berlin"},
            {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "09:00", "to": "10:00", "zone": "UTC"},
        ],
        "expires_after": 43_200,
    }
    assert "fri, sat 20:00 to 06:00 Europe/Berlin\nevery day 09:00 to 10:00 UTC" in page
    assert (rule.hosts_above, rule.hours, rule.group) == (None, [], helpdesk)
    assert "SQL that reads shadow, certificates" in shown
    assert not ApprovalRule.objects.exists()
    assert lines("approval_rule.") == [(f"approval_rule.{done}", "boss") for done in ("kept", "kept", "deleted")]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"hosts_above": "-1"}, "greater than or equal to 0"),
        ({"hours": "whenever"}, "&#x27;whenever&#x27; is not a window"),
        ({"hours": "monday 08:00 to 09:00"}, "the day &#x27;monday&#x27;"),
        ({"hours": "25:00 to 26:00"}, "&#x27;25:00&#x27;"),
        ({"hours": "mon 08:00 to 09:00 Mars/Base"}, "&#x27;Mars/Base&#x27;"),
        ({"many": "31", "unit": "86400"}, "1 minute to 30 days"),
        ({"many": "5", "unit": "1"}, "1 minute to 30 days"),
        ({"group": "999999"}, "not one of the available choices"),
    ],
)
def test_what_is_no_rule_is_refused_beside_its_field(boss: User, wrong: dict[str, str], words: str) -> None:
    told = as_(boss).post("/people/rules/", {**RULE, **wrong})

    assert told.status_code == 422
    assert words in told.content.decode()
    assert not ApprovalRule.objects.exists()


def test_nobody_loosens_here_what_binds_himself(boss: User, helpdesk: Group) -> None:
    rule = ApprovalRule.objects.create(group=helpdesk, hosts_above=5, tables=["shadow", "certificates"])
    boss.groups.add(helpdesk)
    desk, page = as_(boss), f"/people/rules/{rule.pk}/"

    looser = desk.post(page, {**RULE, "hosts_above": "6"})
    gone = desk.post(f"{page}delete/", follow=True)
    stricter = desk.post(page, {**RULE, "hosts_above": "4"})

    assert looser.status_code == 403
    for told in (looser, gone):
        assert "binds you as well: who is not in that group loosens it" in told.content.decode()
    assert "Delete…" not in gone.content.decode()
    assert stricter.status_code == 302
    rule.refresh_from_db()
    assert rule.hosts_above == 4


def test_of_two_superusers_one_asks_and_the_other_says_yes_or_no() -> None:
    root, other = make_user("root", admin=True), make_user("other", admin=True)
    rule = ApprovalRule.objects.create(hosts_above=5, tables=["shadow", "certificates"])
    page = f"/people/rules/{rule.pk}/"

    asked = as_(root).post(page, {**RULE, "hosts_above": "50"}, follow=True).content.decode()
    seen = as_(other).get(page)
    waiting = as_(other).get("/approvals/").content.decode()
    own = as_(root).post(f"{page}decide/", {"say": "yes"}, follow=True).content.decode()
    rule.refresh_from_db()
    before = rule.hosts_above
    at = seen.context["wish"].since
    as_(other).post(f"{page}decide/", {"say": "yes", "at": at})

    assert "waits for another superuser" in asked
    assert "Take it back" in asked
    assert "launches over more than 50 hosts" in seen.content.decode()
    assert "root wants to loosen it" in waiting
    assert "another superuser has to say yes" in own
    rule.refresh_from_db()
    assert (before, rule.hosts_above) == (5, 50)
    assert as_(root).post(f"{page}delete/").status_code == 302
    as_(other).post(f"{page}decide/", {"say": "no"})
    assert ApprovalRule.objects.filter(pk=rule.pk, wish__isnull=True).exists()


def test_the_only_superuser_is_told_that_he_decides_alone() -> None:
    root = make_user("root", admin=True)
    rule = ApprovalRule.objects.create(hosts_above=5)

    page = as_(root).get(f"/people/rules/{rule.pk}/").content.decode()
    as_(root).post(f"/people/rules/{rule.pk}/delete/")

    assert "there is no other superuser who could say yes" in page
    assert not ApprovalRule.objects.exists()


# --- quotas ----------------------------------------------------------------------------------------------------


def test_quotas_are_made_changed_and_deleted_and_each_is_noted(boss: User, helpdesk: Group) -> None:
    anna, desk = make_user("anna"), as_(boss)

    desk.post("/people/quotas/", {"group": helpdesk.pk, "open_campaigns": "3", "rows_kept": "0"})
    desk.post("/people/quotas/", {"person": "anna", "hosts_per_hour": "100"})
    of_group, of_anna = Quota.objects.get(group=helpdesk), Quota.objects.get(person=anna)
    shown = desk.get("/people/quotas/").content.decode()
    kept = of_group.as_json()
    told = desk.post(f"/people/quotas/{of_group.pk}/", {"open_campaigns": "4"})
    gone = desk.post(f"/people/quotas/{of_anna.pk}/delete/")

    assert kept == {"open_campaigns": 3, "hosts_per_hour": None, "rows_kept": 0}
    assert "each member of" in shown
    assert "any number" in shown
    assert (told.status_code, gone.status_code) == (302, 302)
    assert [quota.as_json() for quota in Quota.objects.all()] == [
        {"open_campaigns": 4, "hosts_per_hour": None, "rows_kept": None}
    ]
    assert lines("quota.") == [(f"quota.{done}", "boss") for done in ("kept", "kept", "kept", "deleted")]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Give either a group or a person."),
        ({"group": "{group}", "person": "boss"}, "Give either a group or a person."),
        ({"person": "noone"}, "nobody is called &#x27;noone&#x27;"),
        ({"person": "anna"}, "there are quotas of this person already"),
        ({"group": "{group}", "open_campaigns": "-1"}, "greater than or equal to 0"),
        ({"group": "{group}", "rows_kept": str(2**63)}, "less than or equal to"),
    ],
)
def test_what_is_no_quota_is_refused_beside_its_field(
    boss: User, helpdesk: Group, given: dict[str, Any], words: str
) -> None:
    Quota.objects.create(person=make_user("anna"), open_campaigns=1)
    sent = {name: helpdesk.pk if value == "{group}" else value for name, value in given.items()}

    told = as_(boss).post("/people/quotas/", sent)

    assert told.status_code == 422
    assert words in told.content.decode()
    assert Quota.objects.count() == 1


def test_nobody_raises_a_quota_that_binds_himself(helpdesk: Group) -> None:
    keeper = make_user("keeper")
    keeper.groups.add(helpdesk)
    keeper.user_permissions.set(Permission.objects.filter(codename__endswith="_quota"))
    quota, page = Quota.objects.create(group=helpdesk, open_campaigns=3, hosts_per_hour=50), "/people/quotas/"
    desk = as_(User.objects.get(pk=keeper.pk))

    told = [
        desk.post(f"{page}{quota.pk}/", {"open_campaigns": "4", "hosts_per_hour": "50"}),
        desk.post(f"{page}{quota.pk}/", {"open_campaigns": "0", "hosts_per_hour": "50"}),
        desk.post(f"{page}{quota.pk}/", {"open_campaigns": "3"}),
        desk.post(page, {"person": "keeper", "open_campaigns": "9"}),
        desk.post(f"{page}{quota.pk}/delete/", follow=True),
        desk.patch(f"/api/v1/quotas/{quota.pk}/", {"open_campaigns": 4}, content_type="application/json"),
    ]

    assert [one.status_code for one in told] == [403, 403, 403, 403, 200, 403]
    assert all("binds you as well" in one.content.decode() for one in told)
    assert quotas.limits_of(keeper) | {"open_campaigns": 3, "hosts_per_hour": 50} == quotas.limits_of(keeper)
    assert desk.post(f"{page}{quota.pk}/", {"open_campaigns": "2", "hosts_per_hour": "50"}).status_code == 302
