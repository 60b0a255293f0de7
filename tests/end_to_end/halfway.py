"""Something between client and server, as proxies are: plain on the client's side; it can cut, refuse, swallow."""

import select
import socket
import ssl
import threading
from contextlib import suppress
from urllib.parse import urlsplit


class Halfway:
    """Hands connections on to a server; `begun` holds the first line of each."""

    def __init__(self, console: str, trust: ssl.SSLContext) -> None:
        parts = urlsplit(console)
        self._to, self._trust = (parts.hostname or "", parts.port or 0), trust
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.begun: list[str] = []
        self.refuses_sockets = False
        self.answers_to_swallow = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, path: str = "/ws/") -> int:
        """Cut what is open to this path, without a word; give how many there were."""
        found = [client for client, line in zip(self._open, self.begun, strict=False) if path in line]
        for client in found:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        return len(found)

    def close(self) -> None:
        self._door.close()
        self.cut("")

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            first = client.recv(65536)
            line = first.split(b"\r\n")[0].decode()
            self.begun.append(line)
            self._open.append(client)
            if "/ws/" in line and self.refuses_sockets:
                return
            plain = socket.create_connection(self._to)
            with self._trust.wrap_socket(plain, server_hostname=self._to[0]) as server:
                server.sendall(first)
                self._hand_on(client, server)

    def _hand_on(self, client: socket.socket, server: ssl.SSLSocket) -> None:
        """Hand both ways on in one thread: OpenSSL lets nobody read and write one connection at once."""
        while True:
            ready = [server] if server.pending() else select.select([client, server], [], [])[0]
            if client in ready:
                if not (piece := client.recv(65536)):
                    return
                server.sendall(piece)
            if server in ready:
                server.setblocking(False)
                try:
                    piece = server.recv(65536)
                except ssl.SSLWantReadError:  # what came is of TLS itself
                    continue
                finally:
                    server.setblocking(True)
                if not piece:
                    return
                if self.answers_to_swallow:
                    self.answers_to_swallow -= 1
                    return
                client.sendall(piece)
