"""How much of answers a page draws at once: browsers take seconds over tens of thousands of elements.

The rest is asked for: the grid, the drawer of a group, the next page, or a file has it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CELLS = 450  # of all tables of a page
LINES = 100
FEWEST_LINES = 4  # of each host
FEWEST_COLUMNS = 6
FEWEST_CELLS = 6  # of each group
LONGEST_NAME = 60  # characters


def lines_of_each(hosts: int) -> int:
    """Say how many rows of each host a page shows that has so many hosts."""
    return max(FEWEST_LINES, LINES // max(1, hosts))


def columns_beside(lines: int, most: int) -> int:
    """Say how many columns fit into a table of so many lines; `most` however few those are."""
    return min(most, max(FEWEST_COLUMNS, CELLS // max(1, lines)))


def cells_of_each(groups: int) -> int:
    """Say how many cells of each group a page shows that has so many groups."""
    return max(FEWEST_CELLS, CELLS // max(1, groups))


def first_cells(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], most: int
) -> tuple[list[Sequence[tuple[str, Any]]], int]:
    """Give the first so many cells of some rows, by row and in the order of the columns, and how many are left out."""
    shown: list[Sequence[tuple[str, Any]]] = []
    left = 0
    for row in rows:
        cells = [(name, row[name]) for name in columns if name in row]
        if most or not cells:
            shown.append(cells[:most])
        left += max(0, len(cells) - most)
        most = max(0, most - len(cells))
    return shown, left
