"""Whoever may change people and groups gives nothing that he does not have, and touches nobody who has more."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from campaigns.launching.models import Quota
from campaigns.people.roles import ROLES
from campaigns.people.scopes import Scope, is_limited
from tests.factories import make_user

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("quick_passwords")]
VERBS = ("add", "view", "change", "delete")
PASSWORD = "another long one 77"


def permissions(*codenames: str) -> Any:
    return Permission.objects.filter(codename__in=codenames)


@pytest.fixture
def clerk() -> User:
    """Give who may do everything with people and groups, and look at campaigns; no superuser."""
    user = make_user("clerk")
    user.is_staff = True
    user.save()
    user.user_permissions.set(permissions("view_campaign", *(f"{v}_{m}" for v in VERBS for m in ("user", "group"))))
    return user


@pytest.fixture
def desk(clerk: User, client: Client) -> Client:
    """Give the clerk's browser."""
    client.force_login(clerk)
    return client


def person(name: str, *codenames: str, **fields: Any) -> User:
    user = make_user(name)
    User.objects.filter(pk=user.pk).update(**fields)
    user.user_permissions.set(permissions(*codenames))
    return user


def body_of(user: User, **changes: Any) -> dict[str, Any]:
    """Give the whole form of a person, as a browser or a forger posts it."""
    stamp = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}
    return {"username": user.username, "email": "", "first_name": "", "last_name": "", "is_active": "on"} | {
        **stamp,
        **changes,
    }


def everything_of(user: User) -> tuple[Any, ...]:
    fields = User.objects.values("username", "password", "email", "is_active", "is_staff", "is_superuser")
    found = fields.filter(pk=user.pk).first()
    kept = User.objects.get(pk=user.pk) if found else user
    return found, set(kept.user_permissions.all()), set(kept.groups.all())


def change(desk: Client, user: User, **changes: Any) -> Any:
    return desk.post(f"/admin/auth/user/{user.pk}/change/", body_of(user, **changes))


# --- people ----------------------------------------------------------------------------------------------------


def test_nobody_makes_himself_or_another_a_superuser(desk: Client, clerk: User) -> None:
    other = person("other")
    every = list(Permission.objects.values_list("pk", flat=True))

    for user in (clerk, other):
        before = everything_of(user)[1]
        answer = change(desk, user, is_superuser="on", is_staff="on", user_permissions=every, first_name="Kim")
        assert answer.status_code == 302
        user.refresh_from_db()
        assert (user.first_name, user.is_superuser) == ("Kim", False)
        assert set(user.user_permissions.all()) == before


@pytest.mark.parametrize("kept", [True, False], ids=["active", "deactivated"])
@pytest.mark.parametrize(
    "kind",
    ["superuser", "with a permission more", "in a group with one more", "with a quota", "with a quota that is kept"],
)
def test_who_has_more_is_out_of_reach(desk: Client, settings: Any, kind: str, kept: bool) -> None:
    settings.TARGETS_PER_CAMPAIGN_BY_GROUP = {"responders": 20_000}
    above = person("above", is_superuser=kind == "superuser", is_active=kept)
    if kind == "with a permission more":
        above.user_permissions.set(permissions("add_campaign"))
    elif kind == "in a group with one more":
        launchers = Group.objects.create(name="launchers")
        launchers.permissions.set(permissions("add_campaign"))
        above.groups.add(launchers)
    elif kind == "with a quota":
        above.groups.add(Group.objects.create(name="responders"))
    elif kind == "with a quota that is kept":
        above.groups.add(Quota.objects.create(group=Group.objects.create(name="night"), open_campaigns=9).group)
    before = everything_of(above)
    address = f"/admin/auth/user/{above.pk}/"

    new = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    assert change(desk, above, email="me@example.org", is_active="").status_code == 403
    assert desk.post(f"{address}password/", new).status_code == 403
    assert desk.post(f"{address}password/", {"usable_password": "false", "unset-password": "1"}).status_code == 403
    assert desk.post(f"{address}delete/", {"post": "yes"}).status_code == 403
    desk.post(
        "/admin/auth/user/", {"action": "delete_selected", "_selected_action": [above.pk], "post": "yes", "index": "0"}
    )

    assert everything_of(above) == before
    assert desk.get(f"{address}change/").status_code == 200  # to look at


def test_who_sees_some_hosts_only_looks_after_nobody(desk: Client, clerk: User) -> None:
    team, below, group = Group.objects.create(name="team"), person("below"), Group.objects.create(name="plain")
    Scope.objects.create(group=team)
    clerk.groups.add(team)

    assert change(desk, below, email="me@example.org").status_code == 403
    assert desk.post(f"/admin/auth/group/{group.pk}/change/", {"name": "x", "permissions": []}).status_code == 403


def test_who_has_no_more_is_looked_after(desk: Client) -> None:
    below = person("below", "view_campaign")
    address = f"/admin/auth/user/{below.pk}/"

    assert change(desk, below, email="me@example.org", is_active="").status_code == 302
    answer = desk.post(f"{address}password/", {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"})
    assert answer.status_code == 302

    below.refresh_from_db()
    assert (below.email, below.is_active, below.check_password(PASSWORD)) == ("me@example.org", False, True)
    assert desk.post(f"{address}delete/", {"post": "yes"}).status_code == 302
    assert not User.objects.filter(pk=below.pk).exists()


def test_people_are_put_into_groups_that_give_no_more_than_the_editor_has(
    desk: Client, clerk: User, settings: Any
) -> None:
    settings.TARGETS_PER_CAMPAIGN_BY_GROUP = {"responders": 20_000}
    lookers, launchers, responders = (
        Group.objects.create(name=name) for name in ("lookers", "launchers", "responders")
    )
    lookers.permissions.set(permissions("view_campaign"))
    launchers.permissions.set(permissions("add_campaign", "view_campaign"))

    other = person("other")
    for beyond in (launchers, responders):
        assert change(desk, other, is_staff="on", groups=[lookers.pk, beyond.pk]).status_code == 200
        assert not other.groups.exists()
    assert change(desk, other, is_staff="on", groups=[lookers.pk]).status_code == 302
    assert list(other.groups.all()) == [lookers]


def test_nobody_changes_the_groups_he_is_in_himself(desk: Client, clerk: User) -> None:
    lookers = Group.objects.create(name="lookers")

    assert change(desk, clerk, is_staff="on", groups=[lookers.pk]).status_code == 302
    assert not clerk.groups.exists()
    clerk.groups.add(lookers)
    assert change(desk, clerk, is_staff="on", groups=[]).status_code == 302
    assert list(clerk.groups.all()) == [lookers]


def test_a_new_person_has_no_rights(desk: Client) -> None:
    every = list(Permission.objects.values_list("pk", flat=True))
    body = {"username": "new", "password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}

    more = {"is_superuser": "on", "user_permissions": every}
    assert desk.post("/admin/auth/user/add/", {**body, **more}).status_code == 302

    new = User.objects.get(username="new")
    assert (new.is_superuser, new.is_staff, new.get_all_permissions()) == (False, False, set())


# --- groups ----------------------------------------------------------------------------------------------------


def test_groups_are_given_the_permissions_that_their_editor_has(desk: Client, clerk: User) -> None:
    mine = Group.objects.create(name="mine")
    clerk.groups.add(mine)
    look, launch = permissions("view_campaign").get(), permissions("add_campaign").get()

    for address in (f"/admin/auth/group/{mine.pk}/change/", "/admin/auth/group/add/"):
        assert desk.post(address, {"name": "other", "permissions": [look.pk, launch.pk]}).status_code == 200
        assert not Group.objects.exclude(name__in=ROLES).filter(permissions=launch).exists()
    for address in (f"/admin/auth/group/{mine.pk}/change/", "/admin/auth/group/add/"):
        assert desk.post(address, {"name": address[-8:], "permissions": [look.pk]}).status_code == 302

    assert Group.objects.exclude(name__in=ROLES).filter(permissions=look).count() == 2


def test_a_group_that_gives_more_is_out_of_reach(desk: Client) -> None:
    launchers = Group.objects.create(name="launchers")
    launchers.permissions.set(permissions("add_campaign"))
    Group.objects.create(name="within reach")
    address = f"/admin/auth/group/{launchers.pk}/"

    assert desk.post(f"{address}change/", {"name": "x", "permissions": []}).status_code == 403
    assert desk.post(f"{address}delete/", {"post": "yes"}).status_code == 403
    desk.post("/admin/auth/group/", {"action": "delete_selected", "_selected_action": [launchers.pk], "post": "yes"})

    assert Group.objects.get(pk=launchers.pk).name == "launchers"
    assert launchers.permissions.count() == 1


def test_no_group_gets_the_name_of_a_quota(desk: Client, settings: Any) -> None:
    settings.TARGETS_PER_CAMPAIGN_BY_GROUP = {"responders": 20_000}
    mine = Group.objects.create(name="mine")

    for address in (f"/admin/auth/group/{mine.pk}/change/", "/admin/auth/group/add/"):
        assert "has a quota of 20000 hosts" in desk.post(address, {"name": "responders"}).content.decode()

    assert not Group.objects.filter(name="responders").exists()


# --- superusers ------------------------------------------------------------------------------------------------


def test_a_superuser_gives_everything(client: Client) -> None:
    client.force_login(make_user("boss", admin=True))
    other = person("other")
    launch = permissions("add_campaign").get()

    assert change(client, other, is_superuser="on", user_permissions=[launch.pk]).status_code == 302

    other.refresh_from_db()
    assert (other.is_superuser, list(other.user_permissions.all())) == (True, [launch])


@pytest.mark.parametrize("page", ["user", "group"])
def test_the_lists_ask_the_database_the_same_however_long_they_are(
    desk: Client, page: str, django_assert_max_num_queries: Callable[[int], Any]
) -> None:
    for number in range(5):
        person(f"p{number}", "add_campaign")
        Group.objects.create(name=f"g{number}")

    with django_assert_max_num_queries(15):
        assert desk.get(f"/admin/auth/{page}/").status_code == 200


@pytest.mark.parametrize("page", ["/admin/auth/user/add/", "/admin/auth/user/{}/password/"])
def test_a_password_that_opens_nothing_is_called_so(client: Client, settings: Any, page: str) -> None:
    boss = make_user("boss", admin=True)
    client.force_login(boss)
    sentence = "This server takes no passwords (LOCAL_PASSWORDS is false)"

    opens = client.get(page.format(boss.pk)).content.decode()
    settings.LOCAL_PASSWORDS = False
    opens_nothing = client.get(page.format(boss.pk)).content.decode()

    assert (sentence in opens, opens_nothing.count(sentence)) == (False, 1)


@pytest.mark.parametrize("is_superuser", [False, True])
def test_a_role_is_neither_deleted_nor_changed_under_its_members(client: Client, is_superuser: bool) -> None:
    boss = person("boss", is_staff=True, is_superuser=is_superuser)
    boss.groups.set(Group.objects.filter(name="Administrator"))
    client.force_login(boss)

    def told() -> dict[str, set[str]]:
        return {
            group.name: set(group.permissions.values_list("codename", flat=True))
            | {f"members {group.user_set.count()}"}
            for group in Group.objects.all()
        }

    before = told()
    for role in Group.objects.filter(name__in=ROLES):
        page = f"/admin/auth/group/{role.pk}/"
        client.post("/admin/auth/group/", {"action": "delete_selected", "_selected_action": role.pk, "post": "yes"})
        client.post(f"{page}delete/", {"post": "yes"})
        nothing_beside = {"scope-TOTAL_FORMS": "0", "scope-INITIAL_FORMS": "0"}
        changed = client.post(f"{page}change/", {"name": "x", "permissions": [], **nothing_beside})
        assert changed.status_code in (302, 403)

    assert before.keys() == ROLES.keys()
    assert told() == before


def delete_in_every_way(client: Client, team: Group) -> None:
    page = f"/admin/auth/group/{team.pk}/"
    client.post("/admin/auth/group/", {"action": "delete_selected", "_selected_action": team.pk, "post": "yes"})
    client.post(f"{page}delete/", {"post": "yes"})
    if not Group.objects.filter(pk=team.pk).exists():
        return
    kept = {"name": team.name, "scope-TOTAL_FORMS": "1", "scope-INITIAL_FORMS": "1", "scope-0-DELETE": "on"}
    client.post(f"{page}change/", {**kept, "scope-0-id": team.scope.pk, "scope-0-group": team.pk})


def test_a_team_with_members_keeps_its_limit(client: Client) -> None:
    client.force_login(make_user("boss", admin=True))
    team, empty = Group.objects.create(name="Berlin"), Group.objects.create(name="Nobody's")
    for group in (team, empty):
        Scope.objects.create(group=group)
    member = person("member")
    member.groups.add(team)

    delete_in_every_way(client, team)
    delete_in_every_way(client, empty)

    assert is_limited(User.objects.get(pk=member.pk))
    assert list(Group.objects.exclude(name__in=ROLES)) == [team]


def test_who_may_not_change_scopes_puts_nobody_into_a_team_or_out_of_it(desk: Client, clerk: User) -> None:
    team, plain = Group.objects.create(name="Berlin"), Group.objects.create(name="plain")
    Scope.objects.create(group=team)
    member, other = person("member"), person("other")
    member.groups.add(team)

    out, into = change(desk, member, groups=[plain.pk]), change(desk, other, groups=[team.pk])
    beside = change(desk, member, groups=[plain.pk, team.pk])
    refused = [set(user.groups.all()) for user in (member, other)]
    clerk.user_permissions.add(*permissions("change_scope"))
    allowed = change(desk, member, groups=[plain.pk])

    sentence = "putting people into teams needs the permission campaigns.change_scope"
    assert [sentence in answer.content.decode() for answer in (out, into)] == [True, True]
    assert refused == [{plain, team}, set()]
    assert (beside.status_code, allowed.status_code, set(member.groups.all())) == (302, 302, {plain})
