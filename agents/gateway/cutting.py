"""Cut a distributed write to whole rows while it arrives, so that a huge one never lies in memory as a whole.

Bytes go in piece by piece and come out as the same JSON object with fewer rows: of each query's array the first rows
that fit into the limit, of the other members the small ones. Brackets and strings are all that is looked at; whether
what is left is JSON is decided by who parses it.
"""

import re
from collections.abc import Callable, Generator

from agents.protocol import messages

SMALL_MEMBERS = {"node_key", "statuses", "messages", "stats", "queries"}  # the last where it is no object
SMALL_MEMBER_BYTES = 2**20
LONGEST_NAME = 1_000  # bytes of a name that is looked at

QUOTE, OBJECT, ARRAY, OBJECT_ENDS, ARRAY_ENDS = b'"{[}]'
_SPACE = re.compile(rb"[ \t\r\n]*+")
_SCALAR = re.compile(rb'[^ \t\r\n,:"\[\]{}]*+')
# Classes are possessive, groups never: where one of these ends amid its text, Python before 3.11.5 goes on from there.
_INSIDE, _OUTSIDE = rb'[^"\\]*+(?:\\.[^"\\]*+)*', rb'[^"\[\]{}]*+'  # of strings
_IN_STRING = re.compile(_INSIDE, re.DOTALL)
_TEXT = rb'%s(?:"%s"%s)*' % (_OUTSIDE, _INSIDE, _OUTSIDE)
# Everything up to the next bracket that is not of a flat object: rows are flat, so most of them go in one step.
_FLAT = re.compile(rb"(?:%s\{%s\})*%s" % (_TEXT, _TEXT, _TEXT), re.DOTALL)

Steps = Generator[None, None, None]  # a step ends where the next piece is needed


class NotJsonError(Exception):
    """The body is no JSON object."""


class Cutter:
    """One body on its way: rows above `limit` bytes of a query, or after `max_body` bytes of the body, are left out."""

    def __init__(self, limit: int, max_body: int) -> None:
        self._limit, self._most = limit, max_body
        self._seen = 0
        self._piece, self._at = b"", 0
        self._out = bytearray()
        self._start, self._ceiling = 0, 0  # of the value under way in the output; a ceiling of 0 = it did not fit
        self._answers: dict[int, bool] = {}  # campaign -> rows were left out
        self._steps: Steps | None = self._body()
        self._is_whole = False

    @property
    def held(self) -> int:
        """Give the bytes held in memory."""
        return len(self._out)

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body."""
        self._seen += len(piece)
        if self._steps is None:
            return
        self._piece, self._at = self._piece[self._at :] + piece, 0
        try:
            next(self._steps)
        except NotJsonError:
            self.drop()

    def drop(self) -> None:
        """Let go of everything, and take no more."""
        self._steps = None
        self._is_whole = False
        self._out.clear()

    def content(self) -> bytes | bytearray:
        """Give what is left of the body; empty when it was no JSON object."""
        return self._out if self._is_whole else b""

    # --- the body's own shape ---------------------------------------------------------------------------------

    def _body(self) -> Steps:
        self._out += b"{"
        yield from self._object(self._member)
        left_out = [f'"{messages.query_name(campaign)}"' for campaign, is_cut in self._answers.items() if is_cut]
        self._begin_member(b'"truncated"')
        self._out += f"[{','.join(left_out)}]}}".encode()
        self._is_whole = True
        yield from self._next()
        raise NotJsonError

    def _member(self, raw: bytes, name: object) -> Steps:
        if name == "queries" and (yield from self._next()) == OBJECT:
            self._begin_member(raw)
            self._out += b"{"
            yield from self._object(self._answer)
            self._out += b"}"
        elif name in SMALL_MEMBERS:
            start = len(self._out)
            self._begin_member(raw)
            if not (yield from self._value(SMALL_MEMBER_BYTES)):
                del self._out[start:]
        else:
            yield from self._value(0)

    def _answer(self, raw: bytes, name: object) -> Steps:
        campaign = messages.campaign_of(name)
        if campaign is None or (campaign not in self._answers and len(self._answers) >= messages.MOST_ANSWERS):
            yield from self._value(0)
            return
        self._begin_member(raw)
        if (yield from self._next()) == ARRAY:
            self._answers[campaign] = yield from self._rows()
        else:
            self._answers[campaign] = not (yield from self._value(self._room()))
            if self._answers[campaign]:
                self._out += b"[]"

    def _rows(self) -> Generator[None, None, bool]:
        """Pass on the elements of an array as long as they fit; say whether some did not."""
        yield from self._take(b"[")
        end = len(self._out) + self._room() - 1  # the last byte is the closing bracket's
        self._out += b"["
        if (yield from self._next()) == ARRAY_ENDS:
            self._at += 1
            self._out += b"]"
            return False
        before = b""
        while (yield from self._value(min(end - len(self._out), self._room()), before)):
            before = b","
            if (yield from self._take(b",]")) == ARRAY_ENDS:
                self._out += b"]"
                return False
        yield from self._rest_of_container(depth=1)
        self._out += b"]"
        return True

    def _room(self) -> int:
        return self._limit if self._seen <= self._most else 0

    def _begin_member(self, raw: bytes) -> None:
        if self._out[-1] != OBJECT:
            self._out += b","
        self._out += raw + b":"

    # --- any JSON ---------------------------------------------------------------------------------------------

    def _object(self, each: Callable[[bytes, object], Steps]) -> Steps:
        """Walk over an object; `each` is given a member's name, raw and read, and has to take its value."""
        yield from self._take(b"{")
        if (yield from self._next()) == OBJECT_ENDS:
            self._at += 1
            return
        while True:
            raw = yield from self._name()
            yield from self._take(b":")
            yield from each(raw, messages.value_of(raw))
            if (yield from self._take(b",}")) == OBJECT_ENDS:
                return

    def _name(self) -> Generator[None, None, bytes]:
        """Take a member's name, with its quotes; empty when it is too long to be one of ours."""
        if (yield from self._next()) != QUOTE:
            raise NotJsonError
        start = len(self._out)
        yield from self._value(LONGEST_NAME)
        raw = bytes(self._out[start:])
        del self._out[start:]
        return raw

    def _value(self, room: int, before: bytes = b"") -> Generator[None, None, bool]:
        """Pass on the next value after `before` if both fit into `room` bytes; say whether they did."""
        first = yield from self._next()
        self._start = len(self._out)
        self._ceiling = self._start + room if room > 0 else 0
        self._out += before
        if first == QUOTE:
            yield from self._string()
        elif first in b"[{":
            self._pass(self._at + 1)
            yield from self._rest_of_container(depth=1)
        else:
            yield from self._scalar()
        if not self._ceiling:
            del self._out[self._start :]
        return bool(self._ceiling)

    def _rest_of_container(self, depth: int) -> Steps:
        while depth:
            self._pass(_end(_FLAT, self._piece, self._at))
            if self._at == len(self._piece):
                yield
            elif self._piece[self._at] == QUOTE:
                yield from self._string()
            else:
                depth += 1 if self._piece[self._at] in b"[{" else -1
                self._pass(self._at + 1)

    def _string(self) -> Steps:
        self._pass(self._at + 1)
        while True:
            self._pass(_end(_IN_STRING, self._piece, self._at))
            if self._at < len(self._piece) and self._piece[self._at] == QUOTE:
                self._pass(self._at + 1)
                return
            yield  # at the end, or at a backslash whose other half is still to come

    def _scalar(self) -> Steps:
        is_empty = True
        while True:
            end = _end(_SCALAR, self._piece, self._at)
            is_empty = is_empty and end == self._at
            self._pass(end)
            if self._at < len(self._piece):
                break
            yield
        if is_empty:
            raise NotJsonError

    def _pass(self, end: int) -> None:
        """Go on to `end`, and pass on what lies before it as long as the value under way fits."""
        if self._ceiling:
            if len(self._out) + end - self._at > self._ceiling:
                self._ceiling = 0
                del self._out[self._start :]
            else:
                self._out += self._piece[self._at : end]
        self._at = end

    def _next(self) -> Generator[None, None, int]:
        """Skip white space; give the byte after it, which stays."""
        while True:
            self._at = _end(_SPACE, self._piece, self._at)
            if self._at < len(self._piece):
                return self._piece[self._at]
            yield

    def _take(self, allowed: bytes) -> Generator[None, None, int]:
        byte = yield from self._next()
        if byte not in allowed:
            raise NotJsonError
        self._at += 1
        return byte


def _end(pattern: re.Pattern[bytes], piece: bytes, at: int) -> int:
    """Give where a pattern that matches anything, if only nothing, ends."""
    found = pattern.match(piece, at)
    return found.end() if found else at
