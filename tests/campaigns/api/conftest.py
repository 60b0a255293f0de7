"""One of everything, for tests that walk the whole API."""

from typing import Any

import pytest

from tests.campaigns.api.world import World


@pytest.fixture
def world(transactional_db: None, board: None, carves_folder: Any, settings: Any) -> World:
    """Give one of everything."""
    return World()
