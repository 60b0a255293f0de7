"""The server as `live` sees it: an address that refuses with a sentence, or for a while does not answer."""

import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx

ANSWERED, TROUBLE, BAD_INPUT, SILENT, FAILED, NOBODY = range(6)  # exit statuses
REQUEST_SECONDS = 20
AWAY, AWAY_FOR_READERS = (502, 503, 504), (429, 500)  # an order that failed may have been carried out
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0


class StoppedError(Exception):
    """The command ends with this exit status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class AwayError(Exception):
    """The server does not answer, or not as itself: a moment later it may."""

    def __init__(self, sentence: str, *, unsent: bool = False) -> None:
        super().__init__(sentence)
        self.unsent = unsent  # it certainly never saw the request


class Server:
    """One server and who asks it."""

    def __init__(self, url: str, token: str, ca: str, say: Callable[[str], None]) -> None:
        if not url or not token:
            raise StoppedError(BAD_INPUT, "say where the server is and who asks: --url and --token")
        if not (token.isascii() and token.isprintable()):
            raise StoppedError(BAD_INPUT, "the token holds characters that no token has")
        self._url, self._ca, self._say = url, ca, say
        try:
            self._http = httpx.Client(
                base_url=url,
                headers={"Authorization": f"Bearer {token}"},
                verify=_trust(ca),
                timeout=REQUEST_SECONDS,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise StoppedError(BAD_INPUT, f"--url {url!r} is no address: {error}") from error

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Give the answer. Raise StoppedError with the server's sentence, AwayError when it does not answer."""
        try:
            answer = self._http.request(method, path, json=body, headers=headers)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise StoppedError(BAD_INPUT, f"--url {self._url!r} is no address: {error}") from error
        except httpx.TransportError as error:
            raise AwayError(self._silence(error), unsent=isinstance(error, httpx.ConnectError)) from error
        if answer.status_code in AWAY or (method == "GET" and answer.status_code in AWAY_FOR_READERS):
            raise AwayError(_sentence(answer))
        if not answer.is_success:
            raise StoppedError(BAD_INPUT if answer.status_code == 400 else TROUBLE, _sentence(answer))
        try:
            return answer.json()
        except ValueError as error:
            raise StoppedError(TROUBLE, f"{self._url} answers, but not as this server does") from error

    def ask_until(self, seconds: float, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Ask again, with growing pauses, until there is an answer. Raise StoppedError when there is none in time."""
        deadline, pause, said = time.monotonic() + seconds, FIRST_PAUSE, False
        while True:
            try:
                answer = self.ask(method, path, body, headers)
            except AwayError as away:
                if time.monotonic() + pause > deadline:
                    raise StoppedError(TROUBLE, str(away)) from away
                if not said:
                    self._say(f"{away}; asking again for up to {seconds:.0f} seconds")
                said = True
                time.sleep(pause)
                pause = min(LONGEST_PAUSE, pause * 2)
            else:
                if said:
                    self._say("the server answers again")
                return answer

    def _silence(self, error: httpx.TransportError) -> str:
        why = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in why:
            trusted = f"CA file {self._ca!r}" if self._ca else "the system's CAs; another is named by --ca"
            why = f"{why} (trusted: {trusted})"
        return f"no answer from {self._url}: {why}"


def _trust(ca: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) if not isinstance(error, ssl.SSLError) else "it holds no certificate"
        raise StoppedError(BAD_INPUT, f"CA file {ca!r} (--ca, FLEET_CA) cannot be used: {why or error}") from error


def _sentence(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.request.method} {answer.request.url.path} was answered with status {answer.status_code}"
