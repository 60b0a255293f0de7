"""The world of the matrix, for those who walk its table."""

import pytest
from asgiref.sync import sync_to_async

from campaigns.api import wait_for_end
from tests.campaigns.matrix import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Give it, with launches on this connection: what is asked is undone by the transaction around it."""
    monkeypatch.setattr(wait_for_end, "database_sync_to_async", sync_to_async)
    return World()
