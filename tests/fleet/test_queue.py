"""Hints that cannot be sent."""

import logging

import pytest
from django.db import transaction
from kombu.exceptions import ChannelError, OperationalError

from fleet import queue
from fleet.celery import app

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_connection_that_is_half_closed_fails_no_verb(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with app.producer_pool.acquire() as producer:
        channel = producer.channel
    monkeypatch.setattr(channel, "connection", None)  # as Kombu leaves it when Redis goes away in a bad moment
    monkeypatch.setattr(channel, "_pool", None)

    with caplog.at_level(logging.WARNING, "fleet.queue"):
        queue.enqueue("campaigns.note_worker")

    assert "AttributeError" in caplog.text


@pytest.mark.parametrize("error", [OperationalError("away"), ChannelError("OOM command not allowed")])
def test_whatever_refuses_a_hint_fails_no_verb(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(app, "send_task", refuse)

    queue.enqueue("campaigns.note_worker")

    assert "the sweep sends it again" in caplog.text


def test_a_task_that_no_queue_has_is_refused_before_anything_is_committed() -> None:
    with pytest.raises(KeyError, match="nothing"), transaction.atomic():
        queue.enqueue("campaigns.nothing")
