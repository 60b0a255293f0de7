"""A server that is away is told in one line; a mistake keeps its traceback."""

import io
import logging
from contextlib import suppress

import psycopg2
import pytest
import redis
from django.conf import settings
from django.db import OperationalError, connection, transaction
from kombu.exceptions import OperationalError as BrokerError
from psycopg2.errors import DiskFull

from agents.board.keyspace import NoBoardError
from fleet.outages import is_outage
from fleet.text import LogLine, LogObject


def fail(error: Exception) -> None:
    raise error


def nobody_listens() -> BaseException:
    with pytest.raises(psycopg2.OperationalError) as found:
        psycopg2.connect("host=127.0.0.1 port=1 connect_timeout=1")
    return found.value


@pytest.mark.parametrize(
    "error",
    [
        nobody_listens(),
        DiskFull("No space left on device"),
        redis.ConnectionError("gone"),
        redis.exceptions.OutOfMemoryError("full"),
        redis.ResponseError("Error running script: @user_script: 19: -OOM command not allowed"),
        BrokerError("gone"),
        NoBoardError(),
    ],
)
def test_a_server_that_is_away_is_an_outage(error: BaseException) -> None:
    assert is_outage(error)


@pytest.mark.parametrize("error", [redis.ResponseError("WRONGTYPE"), ValueError("x"), psycopg2.DataError("too long")])
def test_what_was_asked_wrongly_is_none(error: BaseException) -> None:
    assert not is_outage(error)


@pytest.mark.django_db
def test_a_cancelled_statement_of_the_real_server_is_none() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 10")
        with pytest.raises(OperationalError) as found, transaction.atomic():
            cursor.execute("SELECT pg_sleep(1)")

    assert not is_outage(found.value)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "formatter", [LogLine(settings.LOGGING["formatters"]["line"]["format"], style="{"), LogObject()]
)
def test_only_mistakes_are_logged_with_a_traceback(formatter: logging.Formatter) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    logger = logging.Logger("tried")  # noqa: LOG001 - nobody else writes to it
    logger.addHandler(handler)

    for error in (redis.ConnectionError("nobody listens"), held_by_another(), KeyError("a mistake")):
        with suppress(Exception):
            fail(error)
        logger.error("step failed", exc_info=error)

    away, held, mistake = written.getvalue().split("step failed")[1:]
    assert "nobody listens" in away
    assert "canceling statement due to lock timeout" in held
    assert "Traceback" not in away + held
    assert "Traceback" in mistake


def held_by_another() -> OperationalError:
    """Wait in vain for what a session holds that stands still."""
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(1)")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = 10")
            with pytest.raises(OperationalError) as found, transaction.atomic():
                cursor.execute("SELECT pg_advisory_lock(1)")
    finally:
        other.close()
    return found.value
