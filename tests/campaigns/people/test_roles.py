"""What the four groups may: what the table says, and nothing else."""

from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from campaigns.people import roles
from tests.factories import make_user

pytestmark = pytest.mark.django_db
LOOKS = {"campaigns.view_campaign", "campaigns.view_query", "agents.view_host", "agents.view_label"}


def of(role: str) -> set[str]:
    """Give what somebody with this role may, as Django tells it."""
    user = make_user(role)
    user.groups.add(Group.objects.get(name=role))
    return user.get_all_permissions()


def test_every_permission_of_the_table_is_one_that_exists() -> None:
    known = roles.known_permissions()

    assert [
        pattern for right in roles.TABLE for pattern in right.permissions if not roles.chosen(known, [pattern])
    ] == []


def test_groups_have_what_the_table_says_after_the_migrations() -> None:
    known = roles.known_permissions()

    for role in roles.ROLES:
        assert of(role) == roles.chosen(known, roles.patterns_of(role))


def test_an_auditor_looks_at_everything_and_changes_nothing() -> None:
    may = of(roles.AUDITOR)

    assert all(".view_" in name for name in may)
    assert {
        f"{one.content_type.app_label}.{one.codename}"
        for one in Permission.objects.filter(codename__startswith="view_")
    } == may


def test_an_observer_looks_and_runs_what_is_flagged() -> None:
    may = of(roles.OBSERVER)

    assert may > LOOKS
    assert {name for name in may if ".view_" not in name} == {roles.LAUNCH_FLAGGED}


def test_what_stands_apart_comes_with_no_role_but_the_administrators() -> None:
    apart = roles.chosen(roles.known_permissions(), [pattern for right in roles.APART for pattern in right.permissions])
    looking = {name for name in apart if ".view_" in name}

    assert of(roles.OPERATOR) & apart == set()
    assert of(roles.OBSERVER) & apart == set()
    assert of(roles.AUDITOR) & apart == looking
    assert of(roles.ADMINISTRATOR) >= apart


def test_a_group_that_was_changed_follows_the_table_again_after_a_migration() -> None:
    group = Group.objects.get(name=roles.OBSERVER)
    group.permissions.set(Permission.objects.filter(codename="switch_live_queries"))

    call_command("migrate", verbosity=0)

    assert set(group.permissions.values_list("codename", flat=True)) >= {"view_campaign", "launch_flagged"}
    assert not group.permissions.filter(codename="switch_live_queries").exists()


@pytest.mark.parametrize("name", ["people.md", "security.md"])
def test_the_docs_have_the_table(name: str) -> None:
    docs = Path(__file__).parents[3] / "docs" / name

    assert f"-->\n\n{roles.as_markdown()}\n\n<!--" in docs.read_text()
