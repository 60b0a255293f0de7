"""How many of something there are, in words: one of them is never a plural."""


def plural(number: float | None, one: str, many: str = "") -> str:
    """Give the word, a noun or a verb, that goes with so many: `many`, or `one` with an s where that is all."""
    return one if number == 1 else many or f"{one}s"


def counted(number: int, one: str, many: str = "") -> str:
    """Give `1 row`, `2 rows`, `0 rows`."""
    return f"{number} {plural(number, one, many)}"
