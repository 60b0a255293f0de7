"""One stage for all faults of a run. `make test` runs a short selection, `make faults` (FAULTS=all) every one."""

from collections.abc import Iterator

import pytest

from tests.faults.chaos import CROWD
from tests.faults.stage import Stage
from tests.servers import open_folder


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Give an installation with its three hundred hosts to each file of tests."""
    made = Stage(open_folder())
    try:
        made.start()
        made.join(CROWD)
        yield made
    finally:
        made.stop()
