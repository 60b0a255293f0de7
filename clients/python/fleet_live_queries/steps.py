"""What is said to the server, as steps without I/O: a generator yields what is to be done and is sent what came of it.

`Client` and `AsyncClient` carry steps out; nothing here waits, opens or reads. This is where requests are said again.
"""

import json
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from fleet_live_queries.errors import KINDS, FleetError, ServerError, TooManyError, UnreachableError
from fleet_live_queries.wording import counted

Json = dict[str, Any]
AWAY, AWAY_FOR_READERS = (502, 503, 504), (500, 502, 503, 504)  # an order that failed may have been carried out
AWAY_WHERE_LONG = (502, 503)  # after 504 the server may be at work on the first one still
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0
PATIENCE = 30.0  # seconds


@dataclass(frozen=True)
class Request:
    """To be sent over HTTP; gives an Answer. `streams`: Chunk takes its content; `repeats`: twice does no harm.

    `seconds`: how long the server may be silent over it; not sent again after that: it would be worked on twice.
    """

    method: str
    path: str
    query: dict[str, Any] = field(default_factory=dict)
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    streams: bool = False
    repeats: bool = False
    seconds: float | None = None  # None = as for every request

    @property
    def may_be_repeated(self) -> bool:
        """Say whether it does the same however often it arrives."""
        return self.repeats or self.method == "GET" or "Idempotency-Key" in self.headers


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]  # names in lower case
    content: bytes


@dataclass(frozen=True)
class Chunk:
    """The next bytes of what streams; none = its end."""


@dataclass(frozen=True)
class Pause:
    """To wait this many seconds."""

    seconds: float


@dataclass(frozen=True)
class OpenSocket:
    """To open the socket; raises SocketClosedError."""

    path: str


@dataclass(frozen=True)
class Receive:
    """The next frame, a text; raises SocketClosedError when none came for so long, or the socket is closed."""

    seconds: float


@dataclass(frozen=True)
class CloseSocket:
    """To close the socket, when it is open."""


@dataclass(frozen=True)
class Tell:
    """A sentence for people who watch."""

    sentence: str


@dataclass(frozen=True)
class Give:
    """A value for the caller, of steps that give many."""

    value: Any


Step = Request | Chunk | Pause | OpenSocket | Receive | CloseSocket | Tell | Give
T = TypeVar("T")
Steps = Generator[Step, Any, T]


class Run(Generic[T]):
    """Steps that are carried out: `sent` or `failed` is what came of the last one, `result` what comes of all."""

    result: T

    def __init__(self, steps: Steps[T], tell: Callable[[str], Any] | None) -> None:
        self._steps, self._tell = steps, tell
        self.sent: Any = None
        self.failed: FleetError | None = None

    def next(self) -> Step | None:
        """Give what is to be done next, or a value for the caller; None = the end."""
        while True:
            sent, failed, self.sent, self.failed = self.sent, self.failed, None, None
            try:
                step = self._steps.send(sent) if failed is None else self._steps.throw(failed)
            except StopIteration as end:
                self.result = end.value
                return None
            if not isinstance(step, Tell):
                return step
            if self._tell is not None:
                self._tell(step.sentence)

    def close(self) -> None:
        """Leave the steps where they are."""
        self._steps.close()


class Patience:
    """How long something is tried again, with growing pauses."""

    def __init__(self, seconds: float, *, at_first: bool = False) -> None:
        self._seconds, self._deadline = seconds, time.monotonic() + seconds
        self._pause = FIRST_PAUSE
        self.told = False
        self.at_first = at_first  # also when the very first try reached nobody

    def wait(self, error: FleetError, at_least: float = 0.0) -> Steps[None]:
        """Wait before the next try. Raise the error when time would be up."""
        pause = max(self._pause, at_least)
        if time.monotonic() + pause > self._deadline:
            raise error
        if not self.told:
            yield Tell(f"{error}; asking again for up to {counted(round(self._seconds), 'second')}")
        self.told = True
        yield Pause(pause)
        self._pause = min(LONGEST_PAUSE, self._pause * 2)


def call(request: Request, patience: Patience | None = None) -> Steps[Any]:
    """Send until there is an answer, and give its JSON. Raise what the server refuses with."""
    answer = yield from answered(request, patience)
    if not answer.content:
        return None
    try:
        return json.loads(answer.content)
    except ValueError as error:
        raise ServerError("it answers, but not as this server does", status=answer.status) from error


def answered(request: Request, patience: Patience | None = None) -> Steps[Answer]:
    """Send until there is an answer that is no refusal. Retry-After is obeyed, within patience."""
    patience = patience or Patience(PATIENCE)
    while True:
        try:
            answer: Answer = yield request
        except UnreachableError as away:
            is_worked_on = away.slow and request.seconds is not None
            repeated = (request.may_be_repeated and not is_worked_on) or (away.unsent and patience.told)
            if not repeated or (away.unsent and not (patience.told or patience.at_first)):
                raise
            yield from patience.wait(away)
            continue
        if 200 <= answer.status < 300:
            if patience.told:
                yield Tell("the server answers again")
            return answer
        error = refusal(request, answer)
        if not _passes(request, answer, error):
            raise error
        yield from patience.wait(error, seconds_to_wait(answer) or 0.0)


def _passes(request: Request, answer: Answer, error: FleetError) -> bool:
    if isinstance(error, TooManyError):
        return error.retry_after is not None  # nothing was done yet
    if request.may_be_repeated and request.seconds is not None:
        return answer.status in AWAY_WHERE_LONG
    if request.may_be_repeated:
        return answer.status in (AWAY_FOR_READERS if request.method == "GET" else AWAY)
    return answer.status == 503 and seconds_to_wait(answer) is not None


def seconds_to_wait(answer: Answer) -> float | None:
    """Read Retry-After, in seconds; None = it is not said."""
    told = answer.headers.get("retry-after", "")
    return float(told) if told.isascii() and told.isdecimal() else None


def refusal(request: Request, answer: Answer) -> FleetError:
    """Give the error that an answer is, with the API's sentence."""
    fields: dict[str, Any] = {}
    try:
        said = json.loads(answer.content)
        sentence, fields = str(said["error"]), said.get("fields") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        sentence = f"{request.method} {request.path} was answered with status {answer.status}"
    if answer.status == 429:
        return TooManyError(sentence, retry_after=seconds_to_wait(answer), fields=fields)
    return KINDS.get(answer.status, ServerError)(sentence, status=answer.status, fields=fields)
