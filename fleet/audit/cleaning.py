"""What may stand in a line: what JSON and PostgreSQL both can say, and no secret."""

from datetime import date, datetime
from typing import Any

SECRET_NAMES = ("password", "secret", "token", "node_key", "enroll_secret", "cookie", "authorization")
LEFT_OUT = "(not kept)"
LONGEST_TEXT = 2**20  # characters; SQL has 64 KiB, 65,536 host ids in spans at most half of it


def cleaned(value: Any) -> Any:
    """Give the value as JSON that a line can hold; numbers with fractions become text, which has one spelling."""
    if isinstance(value, dict):
        return {
            shortened(name, 200): LEFT_OUT if str(name).lower() in SECRET_NAMES else cleaned(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [cleaned(inner) for inner in value]
    if value is None or isinstance(value, bool) or (isinstance(value, int) and type(value) is int):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    return shortened(value, LONGEST_TEXT)


def shortened(value: object, longest: int) -> str:
    """Give the text without what no text has, and say how much was cut."""
    text = str(value).replace("\0", "␀").encode("utf-8", "replace").decode()
    if len(text) <= longest:
        return text
    return text[: longest - 1] + "…"
