"""`python -m fleet.serve APP`: serve one of `fleet.asgi`'s apps with granian, over TLS when there is a certificate.

TLS is done by rustls on a thread beside Python's, in this one process: that is what makes a handshake cheap
(docs/performance.md). Signals are ours: whoever is held is answered before the server lets go of its connections.
"""

import argparse
import asyncio
import importlib
import logging
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from fleet.cancelling import end
from fleet.errors import SetupError
from fleet.loading import loading
from fleet.text import show_all_uncaught, show_refusal

if TYPE_CHECKING:
    from fleet.asgi import Application

BACKLOG = 4096  # connections that came while the loop was at work
MOST_AT_ONCE = 1_000_000  # requests; the limits that matter are the gateway's own, and those of open files
GRACE_SECONDS = 5.0  # for requests under way when the server is told to stop
RELEASE_SECONDS = 3.0  # for the server to let go of connections whose requests were ended


class CannotServeError(Exception):
    """The sentence says what is in the way."""


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m fleet.serve", description=__doc__)
    parser.add_argument("app", choices=("application", "gateway", "console"), help="application = both tiers in one")
    parser.add_argument("--host", default="127.0.0.1", help="an address or a name; 0.0.0.0 or :: = all addresses")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--certificate", type=Path, help="PEM, with its chain; without one: plain HTTP")
    parser.add_argument("--key", type=Path, help="its key, PEM")
    parser.add_argument("--client-ca", type=Path, help="serve only who shows a certificate of this CA (mutual TLS)")
    options = parser.parse_args(arguments)
    for name in ("certificate", "key", "client_ca"):
        path = getattr(options, name)
        if path is not None and not path.is_file():
            parser.error(f"--{name.replace('_', '-')} {path} is no file")
    if (options.certificate is None) != (options.key is None):
        parser.error("--certificate and --key belong together")
    if options.client_ca is not None and options.certificate is None:
        parser.error("--client-ca needs --certificate and --key: without TLS nobody shows a certificate")
    return options


def make_server(
    app: "Application",
    host: str,
    port: int,
    certificate: Path | None = None,
    key: Path | None = None,
    client_ca: Path | None = None,
) -> Server:
    """Make the server of one address. Agents are of any age, so TLS 1.2 is taken as well."""
    return Server(
        app,
        address=host,
        port=port,
        interface=Interfaces.ASGINL,  # we start and stop the app ourselves
        http=HTTPModes.http1,
        backlog=BACKLOG,
        backpressure=MOST_AT_ONCE,
        http1_settings=HTTP1Settings(header_read_timeout=int(settings.HEAD_SECONDS * 1000)),
        log_level=LogLevels.error,
        ssl_cert=certificate,
        ssl_key=key,
        ssl_protocol_min=SSLProtocols.tls12,
        ssl_ca=client_ca,
        ssl_client_verify=client_ca is not None,
    )


async def serve(app: "Application", servers: list[Server], stop: asyncio.Event) -> None:
    """Start the app, serve until `stop` is set, answer whoever is held, and let go of everything."""
    await app.start()
    running = [asyncio.ensure_future(server.serve()) for server in servers]
    await asyncio.sleep(0)  # each server has made its own tasks, and takes no connection yet
    lasting = asyncio.all_tasks()
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait([*running, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    letting_go = asyncio.ensure_future(app.let_go())
    for server in servers:
        server.stop()  # type: ignore[no-untyped-call]
    await letting_go
    await asyncio.wait(running, timeout=GRACE_SECONDS)
    await app.stop()
    await end(asyncio.all_tasks() - lasting)  # of connections that outlasted the grace
    await asyncio.wait(running, timeout=RELEASE_SECONDS)  # ended sooner, it prints a traceback when it lets go
    for each in running:
        if each.done():
            each.result()
    await end(running)


def addresses_of(host: str, port: int) -> list[str]:
    """Give the addresses a name stands for. Raise CannotServeError when one cannot be listened on."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, kind, _, _, place in found:
            with socket.socket(family, kind) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(place)
    except OSError as error:
        raise CannotServeError(f"cannot listen on port {port} of {host}: {error.strerror}") from error
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


async def _main(options: argparse.Namespace) -> None:
    with loading():
        app: Application = getattr(importlib.import_module("fleet.asgi"), options.app)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    addresses = addresses_of(options.host, options.port)
    files = options.certificate, options.key, options.client_ca
    await serve(app, [make_server(app, address, options.port, *files) for address in addresses], stop)


def main() -> int:
    """Serve until told to stop."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    show_all_uncaught()
    options = read_options()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each held read is an open file
    # Never closed: the server's threads may still tell the loop of connections that end, and would print tracebacks.
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    try:
        runner.run(_main(options))
    except (CannotServeError, ImproperlyConfigured, SetupError) as error:
        show_refusal(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
