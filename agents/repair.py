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
_RAW_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")


def repaired(body: bytes) -> bytes:
    """Give `body` as valid UTF-8 without lone surrogates and raw control characters: each becomes U+FFFD."""
    text = body.decode("utf-8", "replace")
    text = _RAW_CONTROL.sub("\\\\ufffd", text)
    return _LONE_SURROGATE.sub(lambda found: "\\ufffd" if found["lone"] else found[0], text).encode()


def without_nul(body: bytes) -> bytes:
    """Give `body` without escaped NULs, which PostgreSQL's text and jsonb refuse."""
    if b"\\u0000" not in body:
        return body
    return _NUL.sub(lambda found: found[0] if found["escaped"] else "", body.decode("utf-8")).encode()
