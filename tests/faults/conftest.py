"""One stage for all faults of a run. `make test` runs a short selection, `make faults` (FAULTS=all) every one."""

import os
from collections.abc import Iterator

import pytest

from tests.faults.chaos import CROWD
from tests.faults.stage import Stage
from tests.servers import open_folder


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is long, unless all are wanted."""
    if os.environ.get("FAULTS") == "all":
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


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
