"""Connections outlive requests and tasks, and only good ones do."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, transaction

from fleet.database import idle
from tests.agents.wire.conftest import eventually

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def nothing_idle() -> Iterator[None]:
    """Begin and end without connections that lie idle."""
    connection.close()
    idle.close_all()
    yield
    connection.close()
    idle.close_all()


def backend() -> int:
    """Give the id of PostgreSQL's process behind this thread's connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def as_a_request(what: Callable[[], int]) -> int:
    """Do it in a thread of its own, whose connection is closed at the end."""

    def done() -> int:
        try:
            return what()
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(done).result()


def test_the_next_request_has_the_connection_of_the_last() -> None:
    first = as_a_request(backend)

    assert as_a_request(backend) == first


def test_one_that_its_server_ended_is_not_given_again() -> None:
    own = backend()
    ended = as_a_request(backend)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [ended])
        assert cursor.fetchone() == (True,)

    assert as_a_request(backend) not in (own, ended)


def test_an_open_transaction_is_not_handed_on() -> None:
    def leaves_one_open() -> int:
        transaction.set_autocommit(False)
        return backend()

    left = as_a_request(leaves_one_open)

    assert as_a_request(backend) != left


@pytest.mark.parametrize("limit", ["LIFE_SECONDS", "IDLE_SECONDS"])
def test_old_ones_are_closed(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    first = as_a_request(backend)
    monkeypatch.setattr(idle, limit, 0.0)

    assert as_a_request(backend) != first


def test_one_to_another_place_is_left_where_it_lies() -> None:
    first = as_a_request(backend)

    assert idle.take(("elsewhere", "", "", "")) is None
    assert as_a_request(backend) == first


def test_as_many_as_ask_are_open_and_few_stay() -> None:
    many = idle.MOST + 4
    together = Barrier(many)

    def meet() -> int:
        found = backend()
        together.wait(30)
        return found

    with ThreadPoolExecutor(many) as pool:
        found = set(pool.map(lambda _: as_a_request(meet), range(many)))

    assert len(found) == many
    eventually(lambda: len(living(found)) == idle.MOST)


def living(backends: set[int]) -> list[int]:
    """Give those of them that are there still."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s)", [list(backends)])
        return [pid for (pid,) in cursor.fetchall()]


FORKS = """
import os
import django
django.setup()
from tests.fleet.database.test_idle import as_a_request, backend

first = as_a_request(backend)
child = os.fork()
if child == 0:
    os._exit(1 if first == as_a_request(backend) else 0)
assert os.waitpid(child, 0)[1] == 0, "the child has its parent's connection"
assert as_a_request(backend) == first
"""


def test_a_child_process_leaves_the_connections_to_its_parent() -> None:
    """In a process of one thread: a lock of libpq that another holds at the fork is held in the child for good."""
    subprocess.run([sys.executable, "-c", FORKS], env=os.environ, check=True, timeout=60)


def test_no_connection_remembers_answers_that_it_took_apart() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_memoize")

        assert cursor.fetchone() == ("off",)
