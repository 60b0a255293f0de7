"""Pages that a model can read: as many items as fit, and a sentence how to go on."""

from collections.abc import Sequence
from typing import Any

import msgspec

from fleet.errors import BadInputError

MOST_BYTES = 100_000  # of one answer's items


def page(
    name: str, found: Sequence[Any], asked: dict[str, Any], smaller: str, up_to: int | None = None
) -> dict[str, Any]:
    """Give those of `found` that fit, of which there may be one more than `limit`, and where the next page begins.

    `smaller` says how to ask for less of each; `up_to` is the seq after which answers do not count, None = there is no
    such end. Raise BadInputError when not even one fits.
    """
    kept = fitting(found[: asked["limit"]], f"{smaller}, or pass it by: call again with offset {asked['offset'] + 1}")
    body: dict[str, Any] = {name: kept, "next_offset": None}
    if len(kept) < len(found):
        body["next_offset"] = asked["offset"] + len(kept)
        where = f"offset {body['next_offset']}"
        if up_to is not None:
            body["up_to"], where = up_to, f"{where} and up_to {up_to}"
        body["more"] = f"{len(kept)} are here and more follow: call again with {where}"
    return body


def fitting(found: Sequence[Any], smaller: str) -> list[Any]:
    """Give the first of them that fit MOST_BYTES together. Raise BadInputError when the first alone does not."""
    kept: list[Any] = []
    size = 0
    for item in found:
        size += len(msgspec.json.encode(item))
        if size > MOST_BYTES:
            break
        kept.append(item)
    if found and not kept:
        sentence = f"the first alone has {size} bytes, which is more than the {MOST_BYTES} of an answer: {smaller}"
        raise BadInputError(sentence)
    return kept
