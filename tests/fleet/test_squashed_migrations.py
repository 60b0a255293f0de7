"""A new database is made in one step per app; one that stands at any of the steps before comes to the very same."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from campaigns.operating import servers
from tests.postgresql import run

AGENTS = ("agents", "0001_squashed_0013_online_samples")
CAMPAIGNS = ("campaigns", "0001_squashed_0024_tools_of_tokens_by_default")
# What migrations write, without numbers that depend on the order, without moments and what is drawn by lot.
WRITTEN = (
    """SELECT app_label, model, codename, p.name FROM auth_permission p
        JOIN django_content_type c ON c.id = content_type_id""",
    """SELECT g.name, codename FROM auth_group g LEFT JOIN auth_group_permissions ON group_id = g.id
        LEFT JOIN auth_permission p ON p.id = permission_id""",
    "SELECT stream, entry FROM campaigns_streamcursor",
    """SELECT id, length(name), old_keys_up_to, place LIKE '%.' || 'agents_installation'::regclass::oid
        FROM agents_installation""",
)

# What PostgreSQL writes by lot: a key of the dump's, and, from some minor versions on, versions of columns.
OF_ITS_OWN = re.compile(r"^(\\(un)?restrict .*|ALTER TABLE ONLY .* SET \(pg_attver=.*)$", re.MULTILINE)


@contextmanager
def new_database(name: str) -> Iterator[None]:
    """Be connected to a database without a table."""
    before = connection.settings_dict["NAME"]
    name = f"{before}_{name}"
    rows_of(f"CREATE DATABASE {name}")
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
        rows_of(f"DROP DATABASE {name} WITH (FORCE)")  # sessions end a moment after they were told to


def rows_of(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else []


def migrate(*to: str) -> None:
    call_command("migrate", *to, verbosity=0)


def migrate_without_squashes(*to: str) -> None:
    """Migrate as a version does that has the single steps alone."""
    load = MigrationLoader.load_disk

    def load_single_steps(loader: Any) -> None:
        load(loader)
        loader.disk_migrations = {key: step for key, step in loader.disk_migrations.items() if not step.replaces}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MigrationLoader, "load_disk", load_single_steps)
        migrate(*to)


def recorded() -> set[tuple[str, str]]:
    """Give the migrations that the database itself says were done."""
    return set(MigrationRecorder(connection).applied_migrations())


def made() -> tuple[str, list[Any], list[str]]:
    """Give all of the schema, to the letter, then what was written, then the tables that have rows."""
    schema = OF_ITS_OWN.sub("", run("pg_dump", "--schema-only"))
    written = [sorted(rows_of(sql), key=repr) for sql in WRITTEN]
    tables = sorted(connection.introspection.table_names())
    return schema, written, [table for table in tables if rows_of(f'SELECT FROM "{table}" LIMIT 1')]


@pytest.mark.django_db(transaction=True)
def test_a_database_of_any_version_comes_to_what_a_new_one_is() -> None:
    with new_database("new"):
        migrate()
        new = made()
        loader = MigrationLoader(connection)
        replaced = {step for squash in (AGENTS, CAMPAIGNS) for step in loader.disk_migrations[squash].replaces}
        assert not replaced & set(loader.graph.nodes)
        assert {AGENTS, CAMPAIGNS} <= set(loader.graph.nodes)

    with new_database("old"):
        migrate("auth")
        migrate_without_squashes("agents", "0001_initial")
        migrate_without_squashes("campaigns", "0001_initial")
        then = MigrationLoader(connection).project_state([("campaigns", "0001_initial")]).apps
        host = then.get_model("agents", "Host").objects.create(host_identifier="before", hostname="before")
        owner = then.get_model("auth", "User").objects.create(username="before", password="hashed")
        then.get_model("campaigns", "ApiToken").objects.create(user=owner, digest="before")

        migrate("agents", "0008")
        migrate("campaigns", "0011")
        assert not {AGENTS, CAMPAIGNS} & recorded()
        migrate("agents", "0012")
        migrate("campaigns")  # to its end, while the app that it stands on is not there
        assert {AGENTS, CAMPAIGNS} & recorded() == {CAMPAIGNS}
        migrate()
        assert {AGENTS, CAMPAIGNS} <= recorded()
        ((keys_up_to,),) = rows_of("SELECT old_keys_up_to FROM agents_installation")
        ((stamp,),) = rows_of("SELECT password_stamp FROM campaigns_apitoken")
        assert (keys_up_to, len(stamp)) == (host.pk, 32)  # steps over rows were done: here there were some

        rows_of("DELETE FROM campaigns_apitoken; DELETE FROM auth_user; DELETE FROM agents_host")
        rows_of("UPDATE agents_installation SET old_keys_up_to = 0")
        assert made() == new

        rows_of("DELETE FROM django_migrations WHERE name LIKE '0001_squashed_%'")  # as the version before left it
        assert "every migration is in" in str([*servers._migrations()])
        migrate()
        assert {AGENTS, CAMPAIGNS} <= recorded()
        assert made() == new
