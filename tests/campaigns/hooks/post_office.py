"""A small real server of mail: it answers each verb as it is told, and keeps what it took."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any


class PostOffice(socketserver.ThreadingTCPServer):
    """`answers` hold how a line that begins so is answered, in place of 250; `sent` what was taken, and for whom."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, str] = {}
        self.sent: list[tuple[str, EmailMessage]] = []

    def address(self, *to: str, user: str = "") -> str:
        """Give the address of a notification by mail."""
        return f"mailto://{user}127.0.0.1:{self.server_address[1]}?from=fleet@example.com&to={','.join(to)}"

    def receivers(self) -> list[str]:
        """Give to whom mails went."""
        return [to for to, _ in self.sent]


class _Handler(socketserver.StreamRequestHandler):
    server: PostOffice
    timeout = 90
    to = ""

    def handle(self) -> None:
        self._say("220 here")
        for line in self.rfile:
            verb, _, more = line.decode().strip().partition(" ")
            kind, colon, place = more.rpartition(":")  # FROM or TO, which Python writes in either case
            text = f"{verb.upper()} {kind.upper()}{colon}{place}".strip()
            if text.startswith("RCPT"):
                self.to = text.partition("<")[2].partition(">")[0]
            if refused := next((said for begins, said in self.server.answers.items() if text.startswith(begins)), ""):
                self._say(refused)
            elif text == "DATA":
                self._take()
            else:
                self._say("250-here\r\n250 AUTH PLAIN LOGIN" if text.startswith("EHLO") else "250 well")

    def _take(self) -> None:
        self._say("354 go on")
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return  # who sent it was ended
            lines.append(line)
        self.server.sent.append((self.to, message_from_bytes(b"".join(lines), policy=policy.default)))
        self._say("250 taken")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


@contextmanager
def post_office() -> Iterator[Any]:
    """Serve until the end of the block."""
    server = PostOffice()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
