"""Many ids in few words."""

import pytest

from fleet.audit.spans import spans


@pytest.mark.parametrize(
    ("ids", "written"),
    [([], ""), ([7], "7"), ([3, 1, 2], "1-3"), ([1, 2, 4, 6, 7], "1-2,4,6-7")],
)
def test_neighbours_are_written_as_one_span(ids: list[int], written: str) -> None:
    assert spans(ids) == written
