"""The world of the matrix, for those who walk its table."""

import pytest

from tests.campaigns.matrix import World


@pytest.fixture
def world() -> World:
    """Give it."""
    return World()
