"""Make the JSON of agents readable: they send text as it lies on the disk, whatever its encoding.

Repairs look at the bytes once and know escapes, so that one bad cell never costs its neighbour: `\\\\u0000` is a
backslash and six letters, `\\u0000` is a NUL.
"""

import re

_LONE_SURROGATE = re.compile(
    r"""(?P<escaped>\\\\)                                  # an escaped backslash protects what follows it
      | (?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})
      | (?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})
    """,
    re.VERBOSE,
)
_NUL = re.compile(r"(?P<escaped>\\\\)|(?P<nul>\\u0000)")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_RAW_CONTROL = re.compile("[\x00-\x1f]")


def repaired(body: bytes) -> bytes:
    """Give `body` as valid UTF-8 without lone surrogates and raw control characters: each becomes U+FFFD."""
    return _STRING.sub(_repaired_string, body.decode("utf-8", "replace")).encode()


def _repaired_string(found: re.Match[str]) -> str:
    text = _RAW_CONTROL.sub(r"\\ufffd", found[0])
    return _LONE_SURROGATE.sub(lambda escape: "\\ufffd" if escape["lone"] else escape[0], text)


def without_nul(body: bytes) -> bytes:
    """Give `body` without escaped NULs, which PostgreSQL's text and jsonb refuse."""
    if b"\\u0000" not in body:
        return body
    return _NUL.sub(lambda found: found[0] if found["escaped"] else "", body.decode("utf-8")).encode()
