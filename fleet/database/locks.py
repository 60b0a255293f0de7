"""Locks that belong to no row: PostgreSQL's advisory ones, which are let go when the transaction ends.

And how long a transaction waits for those of rows.
"""

from django.db import connection


def take(name: str) -> bool:
    """Take the lock of this name, within the caller's transaction; False, at once, when somebody else holds it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext(%s))", [name])
        return bool(cursor.fetchone()[0])


def wait_at_most(seconds: int) -> None:
    """Let the caller's transaction wait for each lock so long at most; then OperationalError."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{seconds}s"])
