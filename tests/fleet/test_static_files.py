"""Files of the pages as the event loop serves them: read beside it, the same bytes as without one."""

import pytest
from django.test import Client

from tests.on_the_loop import LoopClient

FILE = "/static/campaigns/icon.svg"


@pytest.mark.parametrize(
    "asked", [{}, {"Accept-Encoding": "gzip"}, {"Range": "bytes=2-9"}, {"Range": "bytes=9999999-"}]
)
async def test_a_file_is_whole_and_nobody_is_warned_of_how_it_was_read(asked: dict[str, str]) -> None:
    told = await LoopClient().get(FILE, headers=asked, secure=True)
    alone = Client().get(FILE, headers=asked, secure=True)

    assert told.is_async  # of anything else Django says in the log that it is read to its end first
    assert told.status_code == alone.status_code
    assert b"".join([piece async for piece in told]) == b"".join(alone.streaming_content)
    alone.close()
