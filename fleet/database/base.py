"""The engine: a connection that a request or task is done with is kept for the next, whichever thread that runs in.

Under ASGI each request has a thread of its own and would connect anew: to a process that has to learn the catalogue
before its first statement. Django's pool needs psycopg 3, the one of django-db-connection-pool SQLAlchemy.
"""

import time
from typing import Any

from django.db.backends.postgresql import base
from django.utils.asyncio import async_unsafe

from fleet.database import idle

PLACE = ("host", "port", "dbname", "user")
# Rows are taken out of answers by lateral joins, each of whose inputs is another answer. The planner hopes to meet some
# twice as soon as campaigns share a table, and then keeps and compares them all: 2.6 times the time of a million rows.
WITHOUT_MEMORY = "SET enable_memoize = off"


class DatabaseWrapper(base.DatabaseWrapper):
    """Connects as Django's own does, unless a connection to the same place lies idle."""

    _held: idle.Held | None = None

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Give one that lay idle, or a new one."""
        leads_to = tuple(str(conn_params.get(name, "")) for name in PLACE)
        self._held = idle.take(leads_to)
        if self._held is None:
            self._held = idle.Held(self._connect(conn_params), leads_to, time.monotonic())
        return self._held.connection

    def _connect(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        with connection.cursor() as cursor:
            cursor.execute(WITHOUT_MEMORY)
        connection.commit()
        return connection

    def _close(self) -> None:
        if self._held is None or self._held.connection is not self.connection:
            super()._close()  # type: ignore[misc]  # the stubs lack it
            return
        with self.wrap_database_errors:
            idle.keep(self._held)
        self._held = None

    def close_pool(self) -> None:
        """Close what lies idle: a database is about to be dropped or copied, or the time zone changes."""
        idle.close_all()
