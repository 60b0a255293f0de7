"""Ctrl-C in `live`: asks what is to become of the campaign, and never tears a row apart."""

import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

from fleet_live_queries.command.statuses import LeftError

ANSWER_SECONDS = 10.0  # how long to wait for who is no terminal: a script that is interrupted says nothing
QUESTION = "[s]top the campaign, [l]eave it running, or [g]o on following? (Ctrl-C again leaves)"
Choice = Literal["stop", "leave", "go on"]


class Interrupts:
    """Raises KeyboardInterrupt for a Ctrl-C, LeftError for SIGTERM; held back while an answer is written."""

    def __init__(self) -> None:
        self._held = 0  # how many signals it takes to come through
        self._pending: type[BaseException] | None = None

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take both signals for as long as this lasts."""
        kinds: tuple[tuple[signal.Signals, type[BaseException]], ...]
        kinds = ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, LeftError))
        before = {number: signal.signal(number, self._handler(kind)) for number, kind in kinds}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handler(self, kind: type[BaseException]) -> Callable[[int, FrameType | None], Any]:
        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self._held -= 1
            if self._held < 1:
                raise kind
            self._pending = kind

        return on_signal

    @contextmanager
    def held(self, through: int = sys.maxsize) -> Iterator[None]:
        """Let what is inside come to its end first; the signal number `through` waits for nothing."""
        self._held = through
        try:
            yield
        finally:
            self._held = 0
            pending, self._pending = self._pending, None
        if pending is not None:
            raise pending


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end whatever runs as Ctrl-C does: with a sentence, and with nothing left that is half written."""

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def ask(say: Callable[[str], None]) -> Choice:
    """Ask what is to become of the campaign; who says nothing, or interrupts again, leaves."""
    choices: dict[str, Choice] = {"s": "stop", "l": "leave", "g": "go on"}
    try:
        while True:
            say(QUESTION)
            answer = _line().strip().lower()
            if not answer:
                return "leave"
            if answer[0] in choices:
                return choices[answer[0]]
    except KeyboardInterrupt:
        return "leave"


def _line() -> str:
    if sys.stdin is None or sys.stdin.closed:
        return ""
    if not sys.stdin.isatty() and not select.select([sys.stdin], [], [], ANSWER_SECONDS)[0]:
        return ""
    return sys.stdin.readline()
