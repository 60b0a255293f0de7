"""Make the JSON of agents readable: they send text as it lies on the disk, whatever its encoding.

Repairs look at the bytes once and know escapes, so that one bad cell never costs its neighbour: `\\\\ud800` is a
backslash and five letters, `\\ud800` is half a character.
"""

import re

_HEX = "[0-9a-fA-F]"
_HIGH, _LOW = rf"u[dD][89abAB]{_HEX}{_HEX}", rf"u[dD][c-fC-F]{_HEX}{_HEX}"  # halves of a character, after a backslash
# What is sound goes in one step, or in a few: a megabyte with one bad cell costs a fortieth of looking at every string.
# Classes are possessive, groups never: where one of these ends amid its text, Python before 3.11.5 goes on from there.
# Greedy ones remember each of their turns, so they have few, but for escapes: a string of nothing else takes 100 MB.
_OTHER, _PLAIN = r'[^"NI-]', r'[^"\\\x00-\x1f]*+'
_LETTER = r"(?!-?NaN\b|-?Infinity\b)[NI-]"
_BETWEEN = rf"{_OTHER}*+(?:{_LETTER}{_OTHER}*+){{0,99}}"  # strings
_PAIR_OR_CHARACTER = rf"\\(?!{_LOW})(?!{_HIGH}(?!\\{_LOW}))(?:{_HIGH}\\)?[^\x00-\x1f]"
_STRING = rf'"{_PLAIN}(?:{_PAIR_OR_CHARACTER}{_PLAIN})*"'
_GOES_ON = rf"{_BETWEEN}(?:{_STRING}{_BETWEEN}){{0,99}}"
_TOKEN = re.compile(
    rf"""(?:{_OTHER}|{_LETTER}|{_STRING}){_GOES_ON}"""
    r"""|(?P<string>"[^"\\]*+(?:\\.[^"\\]*+)*"?)"""  # also one that never ends
    r"""|(?P<number>-?(?:NaN|Infinity)\b)""",
    re.DOTALL,
)
_LONE_SURROGATE = re.compile(
    rf"""(?P<escaped>\\\\)  # an escaped backslash protects what follows it
      | (?P<pair>\\{_HIGH}\\{_LOW})
      | (?P<lone>\\(?:{_HIGH}|{_LOW}))
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
