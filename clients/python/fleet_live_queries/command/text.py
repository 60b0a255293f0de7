"""How a text that others wrote is printed: never as markup, never as control. The server's own rule, `fleet.text`."""

import unicodedata

JOINERS = "\u200c\u200d"  # invisible, and letters and emoji of honest texts need them
SPELT_OUT = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, bidi and other formats, half characters, ends of lines


def shown(value: object) -> str:
    r"""Give the text as one line that is safe to print: controls as `\x1b`, what turns or hides text as `⟨U+202E⟩`."""
    text = str(value)
    return text if text.isprintable() else "".join(map(_character, text))


def shown_lines(value: object) -> str:
    """Give the text as `shown` does, with its lines kept: for texts of our own that hold others'."""
    return "\n".join(map(shown, str(value).split("\n")))


def _character(character: str) -> str:
    if character.isprintable() or character in JOINERS or unicodedata.category(character) not in SPELT_OUT:
        return character
    number = ord(character)
    return rf"\x{number:02x}" if number < 0xA0 else f"⟨U+{number:04X}⟩"
