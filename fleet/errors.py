"""Errors that people read. Each carries one sentence with the value that was wrong and what is allowed."""

LONGEST, END = 1_500, 500  # characters of a sentence, and of its end, where it says what is wrong


class FleetError(Exception):
    """Something a person asked for cannot be done; the sentence says why."""

    status = 400
    for_programs = ""  # what the API says after the sentence; people are told in the words of their page

    def __init__(self, sentence: str, field: str = "") -> None:
        super().__init__(sentence)
        self.sentence, self.field = readable(sentence), field


class BadInputError(FleetError):
    """A value is wrong; `field` names the member of the body it came in."""


class NotFoundError(FleetError):
    """What is named is not there, or nothing that the person may look at: nobody is told which."""

    status = 404


class TooLargeError(FleetError):
    """The body is larger than anything that is asked for in one request."""

    status = 413


class ConflictError(FleetError):
    """The thing is not in a state that allows this."""

    status = 409


class ForbiddenError(FleetError):
    """The person lacks a permission, which the sentence names."""

    status = 403


class UnavailableError(FleetError):
    """A server that is needed does not answer; later it may, `wait` seconds from now at the soonest."""

    status = 503
    wait = 2


class TooManyError(FleetError):
    """The person asked too often; `wait` are the seconds after which it may go again, 0 = that is not known."""

    status = 429

    def __init__(self, sentence: str, wait: int = 0) -> None:
        super().__init__(sentence)
        self.wait = wait


class SetupError(Exception):
    """A setting is missing or cannot be used; the sentence names it. For whoever starts a process."""


def readable(sentence: str) -> str:
    """Leave out the middle of a sentence that nobody would read: what is wrong in it may be all of a body."""
    return sentence if len(sentence) <= LONGEST else f"{sentence[: LONGEST - END]} … {sentence[-END:]}"


def words_of(error: BaseException) -> str:
    """Give what another program's error says, PostgreSQL's with its indented second line, within a sentence."""
    return " ".join(str(error).split())
