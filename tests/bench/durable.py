"""PostgreSQL and Redis for a benchmark, as they are deployed: what is acknowledged is on the disk."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    numbers = range(1, hosts + 1)
    for start in range(0, hosts, 10_000):
        names = [f"bench-{number}" for number in numbers[start : start + 10_000]]
        Host.objects.bulk_create(Host(host_identifier=name, hostname=name, platform="linux") for name in names)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE agents_host")
