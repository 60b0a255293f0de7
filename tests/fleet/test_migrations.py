"""Migrations run beside what they migrate: no operation on a large table keeps others from it for long.

Whoever adds one that this test refuses writes it another way (the sentence says which) or lists it with the reason.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.apps import apps
from django.contrib.postgres.operations import AddConstraintNotValid, AddIndexConcurrently, RemoveIndexConcurrently
from django.core.management import CommandError, call_command
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation

import agents.migrations

LARGE = {("agents", "host"), ("campaigns", "target"), ("campaigns", "result"), ("campaigns", "campaign")}
# What is done at once whatever the size, since only PostgreSQL's catalogue changes, or without keeping anybody waiting.
QUICK = (
    migrations.AlterModelOptions,
    migrations.AlterModelManagers,
    migrations.RemoveField,
    migrations.RemoveConstraint,
    AddIndexConcurrently,
    RemoveIndexConcurrently,
    AddConstraintNotValid,
)
ONLY_PYTHON = {"choices", "help_text", "editable", "blank", "verbose_name", "validators", "default", "error_messages"}
FIRST = "the table was made in the same release"
# (app, migration, operation) -> why it may be so
LISTED = {
    ("agents", "0001_initial", "AddField host.labels"): FIRST,
    ("agents", "0009_kinds_of_osquery", "AddIndex host"): "hosts are few beside answers: a million take a second",
    ("campaigns", "0001_initial", "AddIndex campaign"): FIRST,
    ("campaigns", "0001_initial", "AddConstraint campaign"): FIRST,
    ("campaigns", "0001_initial", "AddConstraint result"): FIRST,
    ("campaigns", "0001_initial", "AddConstraint target"): FIRST,
    ("campaigns", "0006_sql_digest", "AddIndex campaign"): "one row per campaign: thousands",
    ("campaigns", "0007_audit", "AlterField result.campaign"): "drops a constraint of the database, looks at no row",
    ("campaigns", "0007_audit", "AlterField target.campaign"): "drops a constraint of the database, looks at no row",
    ("campaigns", "0015_approvals", "AddConstraint campaign"): "one row per campaign: thousands",
    ("campaigns", "0021_schedules", "AddField campaign.schedule"): "one row per campaign: thousands",
}
# Raw SQL and Python can do anything: each is looked at by whoever adds it.
LOOKED_AT = {
    ("agents", "0002_table_settings"): "settings of a table that was just made",
    ("agents", "0008_installation"): "one row",
    ("agents", "0010_label_sql"): "labels are few",
    ("campaigns", "0002_table_settings"): "settings of tables that were just made, and one row",
    ("campaigns", "0012_token_access"): "tokens are few",
    ("campaigns", "0014_roles_and_scopes"): "groups are few",
    ("campaigns", "0019_hooks"): "a trigger on campaigns: its lock is held for a moment, no row is looked at",
}
# Not null and without a default of the database: the version before could add no row beside these. All of them came
# before the first release; later ones have null=True or db_default=…
BEFORE_THE_FIRST_RELEASE = {"agents": 12, "campaigns": 18}


def operations() -> Iterator[tuple[str, str, Operation]]:
    for (app, name), migration in sorted(MigrationLoader(None).disk_migrations.items()):
        if app in ("agents", "campaigns") and not migration.replaces:  # what replaces others is for new databases alone
            yield from ((app, name, operation) for operation in _flat(migration.operations))


def _flat(found: list[Operation]) -> Iterator[Operation]:
    for operation in found:
        if isinstance(operation, migrations.SeparateDatabaseAndState):
            yield from _flat(list(operation.database_operations))
        else:
            yield operation


def trouble_with(app: str, name: str, operation: Operation) -> str | None:
    """Say why an operation may not be as it is; None when it may."""
    if isinstance(operation, migrations.RunSQL | migrations.RunPython):
        return None if (app, name) in LOOKED_AT else "say in LOOKED_AT which rows it changes, and why that is quick"
    model = getattr(operation, "model_name", "") or getattr(operation, "name", "")
    if (app, model.lower()) not in LARGE or isinstance(operation, (migrations.CreateModel, *QUICK)):
        return None
    field = getattr(operation, "field", None)
    said = f"{type(operation).__name__} {model}" + (f".{operation.name}" if field is not None else "")  # type: ignore[attr-defined]
    if (app, name, said) in LISTED:
        return None
    if isinstance(operation, migrations.AddField):
        return _trouble_with_field(app, name, said, operation.field)
    if isinstance(operation, migrations.AlterField) and _changes_python_alone(app, model, operation):
        return None
    return f"{said}: AddIndexConcurrently, AddConstraintNotValid and ValidateConstraint lock nobody out; else list it"


def _trouble_with_field(app: str, name: str, said: str, field: "models.Field[Any, Any]") -> str | None:
    if field.unique or field.db_index or field.remote_field is not None:
        return f"{said}: its index is built under a lock: add the field without, then AddIndexConcurrently"
    if field.null or field.has_db_default() or int(name[:4]) <= BEFORE_THE_FIRST_RELEASE[app]:
        return None
    return f"{said}: the version before, which runs beside it, cannot add a row: give it null=True or db_default=…"


def _changes_python_alone(app: str, model: str, operation: migrations.AlterField) -> bool:
    """Compare with the field as it is now, as long as no later migration changed it."""
    now = apps.get_model(app, model)._meta.get_field(operation.name)
    (_, _, _, before), (_, _, _, after) = now.deconstruct(), operation.field.deconstruct()
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    return changed <= ONLY_PYTHON and type(now) is type(operation.field)


def test_the_version_before_can_add_rows_beside_every_column_that_came_since() -> None:
    """Of tables that are not large as well: it runs beside this one for the length of a deploy."""
    found = set()
    for app, name, operation in operations():
        if isinstance(operation, migrations.AddField) and int(name[:4]) > BEFORE_THE_FIRST_RELEASE[app]:
            field: Any = apps.get_model(app, operation.model_name)._meta.get_field(operation.name)
            if not (field.many_to_many or field.null or field.has_db_default()):
                found.add(f"{app} {name}: {operation.model_name}.{operation.name}")

    assert found == set()


def test_no_operation_keeps_others_from_a_large_table_for_long() -> None:
    found = [f"{app} {name}: {said}" for app, name, each in operations() if (said := trouble_with(app, name, each))]

    assert found == []


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (migrations.AddIndex("target", models.Index(fields=["state"], name="states")), "AddIndexConcurrently"),
        (migrations.AddField("result", "size", models.IntegerField(default=0)), "db_default"),
        (migrations.AddField("host", "place", models.TextField(null=True, db_index=True)), "under a lock"),
        (migrations.AlterField("target", "row_count", models.BigIntegerField()), "list it"),
        (migrations.RunSQL("UPDATE campaigns_target SET late = false"), "LOOKED_AT"),
    ],
)
def test_what_locks_is_refused(operation: Operation, said: str) -> None:
    app = "agents" if getattr(operation, "model_name", "") == "host" else "campaigns"

    assert said in (trouble_with(app, "9999_new", operation) or "")


@contextmanager
def somebody_reading(table: str) -> Iterator[None]:
    """Hold the lock of whoever reads a table, in another session."""
    other = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None, "context": None})
    try:
        with other.cursor() as cursor:
            cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")  # noqa: S608 - our own names
            yield
    finally:
        other.close()


LATER = """
from django.db import migrations
class Migration(migrations.Migration):
    dependencies = [("agents", "{last}")]
    operations = [migrations.RunSQL("ALTER TABLE agents_carve ADD later int", "ALTER TABLE agents_carve DROP later")]
"""


@pytest.fixture
def one_to_do(
    transactional_db: None, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[str, str]]:
    """Put a migration of a table after those that there are, to be done by the test; give its key."""
    ((_, last),) = MigrationLoader(None).graph.leaf_nodes("agents")
    folder = tmp_path / "and_one_more"
    folder.mkdir()
    for file in Path(agents.migrations.__path__[0]).iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "9999_later.py").write_text(LATER.format(last=last))
    monkeypatch.syspath_prepend(tmp_path)
    settings.MIGRATION_MODULES = {"agents": folder.name}
    yield "agents", "9999_later"
    call_command("migrate", "agents", last, verbosity=0)


def test_a_migration_waits_briefly_for_a_lock_and_is_tried_again(
    one_to_do: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with somebody_reading("agents_carve"), pytest.raises(CommandError, match="at each of 2 tries"):
        call_command("migrate", lock_timeout=0.1, lock_tries=2, verbosity=0)
    assert "it is tried again" in capsys.readouterr().err

    with ThreadPoolExecutor(1) as pool:
        with somebody_reading("agents_carve"):
            trying = pool.submit(_migrate)
            while "it is tried again" not in capsys.readouterr().err:
                assert not trying.done()
        trying.result()

    assert one_to_do in MigrationLoader(connection).applied_migrations


def _migrate() -> None:
    try:
        call_command("migrate", lock_timeout=0.1, verbosity=0)
    finally:
        connection.close()  # of this thread
