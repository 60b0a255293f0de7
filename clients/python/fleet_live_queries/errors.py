"""What can go wrong, each with the sentence that the API gave."""

from typing import Any


class FleetError(Exception):
    """Something is wrong; the text is a sentence for people."""

    def __init__(self, sentence: str, *, status: int = 0, fields: dict[str, Any] | None = None) -> None:
        super().__init__(sentence)
        self.status = status  # of HTTP; 0 = the server did not say
        self.fields = fields or {}


class BadInputError(FleetError):
    """The server cannot take what it was told (400, 413), or the client knows that it would not."""


class NotSignedInError(FleetError):
    """The token is none, or is none any more (401)."""


class ForbiddenError(FleetError):
    """Who asks may not do this (403)."""


class NotFoundError(FleetError):
    """There is no such thing (404)."""


class ConflictError(FleetError):
    """The campaign's status does not allow it (409)."""


class TooManyError(FleetError):
    """Too much was asked for (429). `retry_after` is in seconds; None = waiting is no help."""

    def __init__(self, sentence: str, *, retry_after: float | None, fields: dict[str, Any] | None = None) -> None:
        super().__init__(sentence, status=429, fields=fields)
        self.retry_after = retry_after


class ServerError(FleetError):
    """The server failed (5xx), or answers as no such server does."""


class UnreachableError(FleetError):
    """No answer came. `unsent`: the server certainly never saw the request; `slow`: it may be at work on it still."""

    def __init__(self, sentence: str, *, unsent: bool = False, slow: bool = False) -> None:
        super().__init__(sentence)
        self.unsent, self.slow = unsent, slow


class SocketClosedError(FleetError):
    """The socket was refused, cut or closed; code 0 = it was never open, or cut without a word."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(reason or f"the socket was closed with code {code}")
        self.code = code


class MissingLibraryError(FleetError):
    """What was asked for needs a library that is not installed."""


KINDS: dict[int, type[FleetError]] = {
    400: BadInputError,
    401: NotSignedInError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    413: BadInputError,
}
