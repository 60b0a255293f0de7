"""Where enrollments meet: those that come while others are being kept wait a moment and are kept together.

An ASGI app in front of Django's, which it hands everything else. A fleet that comes at once costs a transaction for
every few hundred hosts instead of one each, and none of the framework's middleware. One thread does it, so that a
gateway needs one connection of PostgreSQL, given back when nobody waits.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import msgspec
from django.conf import settings
from django.db import connection

from agents.enrolling.application import Application, EnrollmentRefusedError
from agents.enrolling.enrollment import Outcome, enroll_all
from agents.protocol import messages
from agents.protocol.node_key import NodeKeys
from fleet.addresses import address_of, certificate_of

PATH = "/api/osquery/enroll"
MOST_TOGETHER = 200
GATHER_SECONDS = 0.02  # so that of a fleet that comes at once not every other one begins a batch of its own
MOST_WAITING = 4000  # more would wait in vain: agents give up after 16 seconds

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class Sent(NamedTuple):
    """The body of an enroll request, the address it came from, and the name of the certificate that was shown."""

    body: bytes
    address: str | None
    certificate: str = ""


class Desk:
    """Takes enrollments one by one and has them kept in batches."""

    def __init__(self, django: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._django = django
        self._thread = ThreadPoolExecutor(1, "enrolling")
        self._waiting: list[tuple[Sent, asyncio.Future[bytes]]] = []
        self._work: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope.get("path") != PATH or scope.get("method") != "POST":
            await self._django(scope, receive, send)
            return
        answer = await self._enroll(Sent(await _body(receive), *_origin_of(scope)))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": answer})

    async def _enroll(self, sent: Sent) -> bytes:
        if len(self._waiting) >= MOST_WAITING:
            return messages.error("too many hosts enroll at once, come again")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append((sent, answer))
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._keep_all())
        return await answer

    async def _keep_all(self) -> None:
        """Keep who waits until nobody does."""
        loop = asyncio.get_running_loop()
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            together, self._waiting = self._waiting[:MOST_TOGETHER], self._waiting[MOST_TOGETHER:]
            try:
                answers = await loop.run_in_executor(self._thread, keep, [sent for sent, _ in together])
            except Exception as error:  # whatever it is, nobody may be left waiting, and the next batch is tried
                for _, answer in together:
                    if not answer.done():
                        answer.set_exception(error)
                self._thread.submit(_disconnect)
                continue
            for (_, answer), text in zip(together, answers, strict=True):
                if not answer.done():  # it is when its client is gone
                    answer.set_result(text)
        self._thread.submit(_disconnect)


def _disconnect() -> None:
    connection.close()  # of the thread that calls


async def _body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


def _origin_of(scope: Scope) -> tuple[str | None, str]:
    """Give the address, and the certificate's name, both as trusted proxies tell them."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    meta = {
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "HTTP_X_FORWARDED_FOR": headers.get(b"x-forwarded-for", ""),
        "HTTP_X_CLIENT_CERTIFICATE_NAME": headers.get(b"x-client-certificate-name", ""),
    }
    return address_of(meta) or None, certificate_of(meta)


def keep(sent: Sequence[Sent]) -> list[bytes]:
    """Enroll; give what each is to hear: a node key, or an `error`."""
    read = [_read(one) for one in sent]
    outcomes = iter(enroll_all([one for one in read if isinstance(one, Application)]))
    return [_answer(next(outcomes) if isinstance(one, Application) else one) for one in read]


def _read(sent: Sent) -> Application | EnrollmentRefusedError:
    members = messages.members_of(sent.body)
    body = None if members is None else {name: messages.value_of(raw) for name, raw in members.items()}
    try:
        return Application.read(body, sent.address, sent.certificate)
    except EnrollmentRefusedError as refusal:
        return refusal


def _answer(outcome: Outcome) -> bytes:
    """Write an answer; agents look at nothing else of a refusal than the missing key."""
    if isinstance(outcome, EnrollmentRefusedError):
        return messages.error(str(outcome))
    host, enrolled = outcome
    return msgspec.json.encode({"node_key": _keys().issue(host.pk, host.epoch, enrolled)})


@cache
def _keys() -> NodeKeys:
    return NodeKeys(settings.NODE_KEY_SECRETS)
