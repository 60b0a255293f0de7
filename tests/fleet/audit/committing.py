"""The end of a transaction, within the one that a test runs in."""

from django.db import connection


def commit() -> None:
    """Let the deferred triggers work, as the end of a transaction does."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED")
