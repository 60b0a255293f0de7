"""The pages of people: who has what, who gives what to whom, and the hosts that teams see."""

import html
import re
from collections.abc import Callable

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from campaigns.people import giving, roles, scopes
from campaigns.people.scopes import Scope
from fleet.audit.models import AuditEvent
from tests.factories import make_host, make_label, make_user

pytestmark = pytest.mark.django_db

KEPT = {"is_active": "on"}


@pytest.fixture
def boss() -> User:
    return with_role("boss", roles.ADMINISTRATOR)


def with_role(name: str, role: str) -> User:
    user = make_user(name)
    user.groups.add(Group.objects.get(name=role))
    return User.objects.get(pk=user.pk)


def as_(user: User) -> Client:
    made = Client()
    made.force_login(user)
    return made


@pytest.fixture(autouse=True)
def _shown_who_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleet.confirming.require", lambda request: None)


def test_an_administrator_gives_a_role_a_right_and_a_team_and_it_is_audited(boss: User) -> None:
    anna, berlin = make_user("anna"), make_label("berlin", make_host(hostname="b"))
    make_host(hostname="m")
    desk = as_(boss)
    desk.post("/people/teams/new/", {"name": "Berliners", "labels": [berlin.pk]})
    team = Group.objects.get(name="Berliners")

    given = {"roles": [roles.OPERATOR], "rights": [roles.LAUNCH_CARVE], "teams": [team.pk], **KEPT}
    told = desk.post(f"/people/{anna.pk}/", given)

    anna = User.objects.get(pk=anna.pk)
    assert told.status_code == 302, told.content.decode()
    assert anna.has_perms([roles.LAUNCH, roles.LAUNCH_CARVE])
    assert not anna.has_perm(roles.LAUNCH_RESTRICTED)
    assert [host.hostname for host in scopes.hosts_for(anna)] == ["b"]
    noted = AuditEvent.objects.get(action="rights.changed")
    assert noted.details["now"]["teams"] == ["Berliners"]
    page = desk.get("/people/").content.decode()
    assert "Berliners" in page
    assert "Operator" in page


def test_what_is_not_ticked_is_taken_and_other_groups_and_permissions_stay(boss: User) -> None:
    anna = with_role("anna", roles.OPERATOR)
    other = Group.objects.create(name="other")
    anna.groups.add(other)

    as_(boss).post(f"/people/{anna.pk}/", {"roles": [roles.OBSERVER]})

    anna = User.objects.get(pk=anna.pk)
    assert set(anna.groups.values_list("name", flat=True)) == {roles.OBSERVER, "other"}
    assert not anna.is_active


def test_the_page_of_a_person_shows_what_he_has_and_kept_as_it_stands_changes_nothing(boss: User) -> None:
    anna, desk = with_role("anna", roles.OPERATOR), as_(boss)
    team = Group.objects.create(name="Berliners")
    Scope.objects.create(group=team)
    desk.post(
        f"/people/{anna.pk}/",
        {"roles": [roles.OPERATOR, roles.AUDITOR], "rights": [roles.LAUNCH_CARVE], "teams": [team.pk], **KEPT},
    )
    before = giving.Given.of(User.objects.get(pk=anna.pk))
    assert before.rights == {roles.LAUNCH_CARVE}

    page = desk.get(f"/people/{anna.pk}/").content.decode()
    ticked = [
        re.findall('name="([a-z_]+)"|value="([^"]*)"', box) for box in re.findall("<input[^>]* checked[^>]*>", page)
    ]
    form: dict[str, list[str]] = {}
    for box in ticked:
        name = next(name for name, _ in box if name)
        form.setdefault(name, []).append(next((value for _, value in box if value), "on"))
    desk.post(f"/people/{anna.pk}/", form)

    assert before.roles == {roles.OPERATOR, roles.AUDITOR}
    assert giving.Given.of(User.objects.get(pk=anna.pk)) == before


@pytest.mark.parametrize("case", ["himself", "a superuser", "limited", "auditor"])
def test_nobody_gives_to_himself_above_himself_or_within_a_limit(boss: User, case: str) -> None:
    by, other = boss, make_user("anna")
    if case == "himself":
        other = boss
    elif case == "a superuser":
        other = make_user("root", admin=True)
    elif case == "limited":
        team = Group.objects.create(name="team")
        scopes.Scope.objects.create(group=team)
        boss.groups.add(team)
    else:
        by = with_role("auditor", roles.AUDITOR)
    before = set(other.groups.values_list("name", flat=True))

    told = as_(by).post(f"/people/{other.pk}/", {"roles": [roles.AUDITOR], **KEPT})

    assert told.status_code == 403
    assert set(other.groups.values_list("name", flat=True)) == before
    assert as_(by).get(f"/people/{other.pk}/").status_code == 200


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"roles": [roles.OPERATOR]}, "gives rights that you lack: you cannot give or take it"),
        ({"rights": [roles.LAUNCH_CARVE]}, "carve files from hosts: you lack this right"),
        ({"teams": ["Berliners"]}, "putting people into teams needs the permission campaigns.change_scope"),
    ],
    ids=["role", "right", "team"],
)
def test_nobody_gives_what_he_lacks(given: dict[str, list[str]], sentence: str) -> None:
    clerk, anna = make_user("clerk"), make_user("anna")
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user"]))
    team = Group.objects.create(name="Berliners")
    Scope.objects.create(group=team)

    told = as_(clerk).post(f"/people/{anna.pk}/", given | {"teams": [team.pk] if "teams" in given else []} | KEPT)

    assert told.status_code == 403
    assert sentence in html.unescape(told.content.decode())
    assert giving.Given.of(User.objects.get(pk=anna.pk)) == giving.Given.of(make_user("as she was"))


def test_who_sees_some_hosts_only_makes_changes_and_deletes_no_team(boss: User) -> None:
    some, other = Group.objects.create(name="some"), Group.objects.create(name="other")
    for team in (some, other):
        Scope.objects.create(group=team)
    boss.groups.add(some)
    desk = as_(boss)

    for address in ("/people/teams/new/", f"/people/teams/{some.pk}/", f"/people/teams/{other.pk}/delete/"):
        told = desk.post(address, {"name": "changed"}, follow=True)
        assert "sees some hosts only changes no teams: he could lift his own limit" in told.content.decode()

    assert set(Group.objects.exclude(name__in=roles.ROLES)) == {some, other}
    assert scopes.limits_of(User.objects.get(pk=boss.pk)) == scopes.NOBODY


def test_who_may_not_see_people_hears_which_permission_is_missing() -> None:
    told = as_(with_role("op", roles.OPERATOR)).get("/people/")

    assert told.status_code == 403
    assert roles.SEE_PEOPLE in told.content.decode()


def test_a_team_with_members_stays_and_one_without_goes(boss: User) -> None:
    team = Group.objects.create(name="team")
    scopes.Scope.objects.create(group=team)
    make_user("anna").groups.add(team)
    desk = as_(boss)

    desk.post(f"/people/teams/{team.pk}/delete/")
    assert Group.objects.filter(pk=team.pk).exists()

    team.user_set.clear()
    desk.post(f"/people/teams/{team.pk}/delete/")
    assert not Group.objects.filter(pk=team.pk).exists()


def test_forms_of_people_want_their_token(boss: User) -> None:
    strict: Callable[..., Client] = Client
    made = strict(enforce_csrf_checks=True)
    made.force_login(boss)

    assert made.post(f"/people/{make_user('anna').pk}/", KEPT).status_code == 403


def test_the_list_asks_the_database_the_same_however_many_people_there_are(
    boss: User, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    for number in range(20):
        with_role(f"p{number}", roles.OBSERVER)
    desk = as_(boss)

    with django_assert_max_num_queries(18):  # type: ignore[attr-defined]
        assert desk.get("/people/").status_code == 200
