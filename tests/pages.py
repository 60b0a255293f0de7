"""What a page says, as tests look at it."""

import html
from typing import Any


def text_of(response: Any) -> str:
    """Give the HTML of a page in one line: white space says nothing."""
    return " ".join(response.content.decode().split())


def words_of(response: Any) -> str:
    """Give the same with its entities as the characters that people see."""
    return html.unescape(text_of(response))
