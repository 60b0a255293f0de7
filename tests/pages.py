"""What a page says, as tests look at it."""

import html
import re
from typing import Any

A_TIME = re.compile(r"<time .*?</time>|<[^>]*>", re.DOTALL)  # what stands in attributes is not read
BARE = re.compile(r".{0,60}\d{4}-\d\d-\d\d[T ]\d\d:\d\d.{0,20}")


def text_of(response: Any) -> str:
    """Give the HTML of a page in one line: white space says nothing."""
    return " ".join(response.content.decode().split())


def words_of(response: Any) -> str:
    """Give the same with its entities as the characters that people see."""
    return html.unescape(text_of(response))


def bare_moments(response: Any) -> list[str]:
    """Give where a page names a moment that its script cannot show by the clock that was chosen."""
    return BARE.findall(A_TIME.sub("", response.content.decode()))
