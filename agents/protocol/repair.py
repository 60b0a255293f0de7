"""Make the JSON of agents readable: they send text as it lies on the disk, whatever its encoding.

Repairs look at the bytes once and know escapes, so that one bad cell never costs its neighbour: `\\\\ud800` is a
backslash and five letters, `\\ud800` is half a character.
"""

import re

# Possessive, and content with a string that never ends: a hostile body costs neither memory nor a second look. What is
# sound goes in one step, however long: a megabyte with one bad cell costs a fortieth of looking at every string.
_TOKEN = re.compile(
    r"""
    (?: [^"NI-]++ | -(?!NaN\b|Infinity\b) | [NI](?!aN\b|nfinity\b)
      | "(?: [^"\\\x00-\x1f]++ | \\[^u\x00-\x1f] | \\u(?![dD][89a-fA-F][0-9a-fA-F]{2})
           | \\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2} )*+" )++
    | (?P<string> "(?: [^"\\]++ | \\. )*+"? )
    | (?P<number> -?(?:NaN|Infinity)\b )
    """,
    re.VERBOSE | re.DOTALL,
)
_LONE_SURROGATE = re.compile(
    r"""(?P<escaped>\\\\)                                  # an escaped backslash protects what follows it
      | (?P<pair>\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})
      | (?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})
    """,
    re.VERBOSE,
)
_RAW_CONTROL = re.compile("[\x00-\x1f]")


def repaired(body: bytes) -> bytes:
    """Give `body` as valid UTF-8 without lone surrogates and raw control characters: each becomes U+FFFD.

    Numbers that JSON does not have (NaN) become text.
    """
    return _TOKEN.sub(_repaired_token, body.decode("utf-8-sig", "replace")).encode()


def _repaired_token(found: re.Match[str]) -> str:
    if found["number"]:
        return f'"{found[0]}"'
    if not found["string"]:
        return found[0]
    text = _RAW_CONTROL.sub(r"\\ufffd", found[0])
    return _LONE_SURROGATE.sub(lambda escape: "\\ufffd" if escape["lone"] else escape[0], text)
