"""A gateway at the board."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.agents.board.gate import Gate


@pytest.fixture
def gate(board: None, loop: asyncio.AbstractEventLoop, settings: Any) -> Iterator[Gate]:
    """Give a gateway's claims."""
    made = Gate(loop, settings.REDIS_URL)
    yield made
    loop.run_until_complete(made.store.close())
