"""Many ids in few words: neighbours are mostly meant together."""

from collections.abc import Iterable


def spans(ids: Iterable[int]) -> str:
    """Write ids as spans, `1-500,502`."""
    found: list[list[int]] = []
    for one in sorted(ids):
        if found and one == found[-1][1] + 1:
            found[-1][1] = one
        else:
            found.append([one, one])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
