"""PostgreSQL and Redis for a benchmark, as they are deployed: what is acknowledged is on the disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fleet.embedded.postgres import EmbeddedPostgres
from fleet.embedded.redis import EmbeddedRedis

SECRET = "the secret of the bench"


@contextmanager
def durable_servers(hosts: int) -> Iterator[tuple[EmbeddedPostgres, EmbeddedRedis]]:
    """Start both for this process and its children, with so many hosts, a user and an enroll secret named `bench`."""
    folder = Path(tempfile.mkdtemp(prefix="flq-bench-"))
    folder.chmod(0o711)
    postgres, redis = EmbeddedPostgres(folder / "postgres"), EmbeddedRedis(folder / "redis")
    try:
        postgres.start()
        redis.start()
        os.environ.update(
            DATABASE_URL=postgres.url,
            REDIS_URL=redis.url,
            DJANGO_SETTINGS_MODULE="fleet.settings",
            SECRET_KEY="only-for-the-bench-" + "x" * 50,
            NODE_KEY_SECRETS="only-for-the-bench",
            ALLOWED_HOSTS="localhost,127.0.0.1",
            SECURE_COOKIES="false",
            LOG_LEVEL="WARNING",
            LAUNCHES_PER_MINUTE="0",
        )
        _prepare(hosts)
        yield postgres, redis
    finally:
        redis.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(hosts: int) -> None:
    import django

    django.setup()

    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.db import connection

    from agents.board import rebuilding
    from agents.models import EnrollSecret, Host

    call_command("migrate", verbosity=0)
    rebuilding.finish({})
    User.objects.create_superuser("bench")
    EnrollSecret.objects.offer("bench", SECRET)
    first = Host.objects.create(host_identifier="bench-1", hostname="bench-1", platform="linux")
    names = [field.column for field in Host._meta.concrete_fields if not field.primary_key]
    alike = ", ".join("'bench-' || number" if name in ("host_identifier", "hostname") else name for name in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO agents_host ({', '.join(names)}) SELECT {alike} FROM agents_host,"
            " generate_series(2, %s) AS number WHERE id = %s ORDER BY number",
            [hosts, first.pk],
        )
        for name in ("agents_host", "campaigns_campaign", "campaigns_target", "campaigns_result"):
            _forgive_older_trees(cursor, name)
        cursor.execute("VACUUM ANALYZE agents_host")


def _forgive_older_trees(cursor: Any, table: str) -> None:
    """Let an older work tree, that is measured as well, leave columns out that it does not know."""
    cursor.execute(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND attnotnull AND NOT atthasdef AND NOT attisdropped AND attidentity = ''",
        [table],
    )
    kinds = {
        "text": "''",
        "character varying": "''",
        "boolean": "false",
        "jsonb": "'{}'",
        "integer": "0",
        "bigint": "0",
    }
    for column, kind in cursor.fetchall():
        if kind in kinds:
            cursor.execute(f"ALTER TABLE {table} ALTER {column} SET DEFAULT {kinds[kind]}")
