"""What a text must be to be kept, and how one that others wrote is printed: people, hosts and headers send anything.

What is printed is never markup and never control: `shown` is the one rule for terminals, messages and log lines.
"""

import json
import logging
import os
import re
import sys
import threading
import traceback
import unicodedata
from datetime import UTC, datetime
from types import TracebackType

from fleet.outages import is_held_up, is_outage

JOINERS = "\u200c\u200d"  # invisible, and letters and emoji of honest texts need them
KEPT_MARKS = 0x2100  # characters below it are looked up once
VALUE = re.compile(r"(?:\s*\b(?P<name>\w+)=)?%[-+ #0]*\d*(?:\.\d+)?[sdrif]")  # how log lines name what they speak of
RESERVED = ("at", "level", "logger", "event", "process", "exception")
SPELT_OUT = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, bidi and other formats, half characters, ends of lines


def is_text(value: str) -> bool:
    """Say whether Postgres can hold it and UTF-8 can say it: no NUL, no lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def shown(value: object) -> str:
    r"""Give the text as one line that is safe to print: controls as `\x1b`, what turns or hides text as `⟨U+202E⟩`."""
    text = str(value)
    return text if text.isprintable() else "".join(map(_character, text))


def shown_lines(value: object) -> str:
    """Give the text as `shown` does, with its lines kept: for texts of our own that hold others'."""
    return "\n".join(map(shown, str(value).split("\n")))


def visible(value: object) -> str:
    """Give the text for a page: all that is not seen, joiners too, or moves its neighbours as marks; lines are kept."""
    text = str(value)
    return text if text.isascii() and text.isprintable() else text.translate(_MARKS)


class _Marks(dict[int, str]):
    """What characters are shown as; looked up once for those of most texts, so that a whole page costs little."""

    def __missing__(self, number: int) -> str:
        character = chr(number)
        is_seen = character in "\n\t" or unicodedata.category(character) not in SPELT_OUT
        shown_as = character if is_seen else f"⟨U+{number:04X}⟩"
        if number < KEPT_MARKS:
            self[number] = shown_as
        return shown_as


_MARKS = _Marks()


def _character(character: str) -> str:
    if character.isprintable() or character in JOINERS or unicodedata.category(character) not in SPELT_OUT:
        return character
    number = ord(character)
    return rf"\x{number:02x}" if number < 0xA0 else f"⟨U+{number:04X}⟩"


class InALine(logging.Filter):
    """Leaves out where in the code an event was met: it says nothing of what somebody else did wrong."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let it pass without its trace."""
        record.exc_info = None
        return True


class LogLine(logging.Formatter):
    """One event is one line, whatever text it quotes; the lines of a traceback are indented below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write the line."""
        return shown(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        """Write the traceback: an exception quotes what was sent, which could look like a line of its own."""
        return _indented(_outage_of(ei) or super().formatException(ei))  # type: ignore[arg-type]  # of the stubs alone

    def formatStack(self, stack_info: str) -> str:
        """Write the stack likewise."""
        return _indented(super().formatStack(stack_info))


class LogObject(logging.Formatter):
    """One event is one JSON object: `at`, `level`, `logger`, `event`, and what the event names (`campaign=%s`)."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the object."""
        members: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            **_event_of(record),
            "process": record.process,
        }
        if record.exc_info:
            members["exception"] = _outage_of(record.exc_info) or self.formatException(record.exc_info)
        return json.dumps(members, default=str)


def _outage_of(exc_info: object) -> str:
    """Give the one line that says all when a server is away, or who holds a lock stands still.

    "" = something else went wrong, which has to be found.
    """
    error = exc_info[1] if isinstance(exc_info, tuple) else None
    if error is None or not (is_outage(error) or is_held_up(error)):
        return ""
    return traceback.format_exception_only(error)[-1].strip()


def _event_of(record: logging.LogRecord) -> dict[str, object]:
    """Give what happened, and its named values as they are; values without a name stand in the event itself."""
    pattern, values = str(record.msg), record.args
    found = list(VALUE.finditer(pattern))
    if not isinstance(values, tuple) or not len(found) == len(values) == pattern.count("%"):
        return {"event": record.getMessage()}
    event, told, end = "", {}, 0
    for place, value in zip(found, values, strict=True):
        event, end = event + pattern[end : place.start()], place.end()
        if name := place["name"]:
            told[f"{name}_" if name in RESERVED else name] = value
        else:
            event += place[0] % (value,)
    return {"event": (event + pattern[end:]).strip(), **told}


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in shown_lines(text).split("\n"))


def show_all_uncaught() -> None:
    """Let what nobody catches, in any thread, be printed by `show_uncaught`."""
    sys.excepthook = show_uncaught
    threading.excepthook = _show_uncaught_of_thread


def _show_uncaught_of_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not isinstance(told.exc_value, SystemExit):
        show_uncaught(told.exc_type, told.exc_value, told.exc_traceback)


def show_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print what nobody caught, as Python does, without the controls that it may quote (a `sys.excepthook`)."""
    if _is_json():
        _print_object("nobody caught an exception", (kind, error, trace))
    else:
        sys.stderr.write(shown_lines("".join(traceback.format_exception(kind, error, trace))))


def show_refusal(error: BaseException) -> None:
    """Print why a process does not start: the sentence, as its log would have it."""
    if _is_json():
        _print_object(str(error), None)
    else:
        sys.stderr.write(f"{error}\n")


def _is_json() -> bool:
    """Look at the environment: the settings may be what is wrong."""
    return os.environ.get("LOG_FORMAT") == "json"


def _print_object(event: str, error: tuple[type[BaseException], BaseException, TracebackType | None] | None) -> None:
    record = logging.LogRecord("fleet", logging.CRITICAL, "", 0, event, (), error)
    sys.stderr.write(f"{LogObject().format(record)}\n")
