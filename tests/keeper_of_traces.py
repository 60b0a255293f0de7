"""One who keeps traces, as OpenTelemetry's collectors do: OTLP over HTTP, on a real port."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """What came of one part of a trace; moments in nanoseconds since 1970."""

    trace: bytes
    own: bytes
    parent: bytes
    name: str
    began: int
    ended: int
    is_error: bool
    told: dict[str, Any]
    by: dict[str, Any]  # the process


class Keeper:
    """Takes what is posted; `hold` lets every post wait for ever, as a keeper does that stands still."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.going = Event()
        self.going.set()
        self.came = Event()

    def hold(self) -> None:
        """Answer nobody any more."""
        self.going.clear()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """Keep one post."""
        assert path == "/v1/traces", path
        self.came.set()
        self.going.wait()
        self.headers.append(headers)
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            by = _values(resource.resource.attributes)
            for scope in resource.scope_spans:
                self.spans += [_span(span, by) for span in scope.spans]


@contextmanager
def listening() -> Iterator[tuple[str, Keeper]]:
    """Let one listen; give its address, for OTEL_EXPORTER_OTLP_ENDPOINT."""
    keeper = Keeper()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            keeper.take(self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", keeper
    finally:
        keeper.going.set()
        server.shutdown()
        server.server_close()


def _span(span: Any, by: dict[str, Any]) -> Span:
    times = span.start_time_unix_nano, span.end_time_unix_nano
    failed = span.status.code == span.status.STATUS_CODE_ERROR
    return Span(
        span.trace_id, span.span_id, span.parent_span_id, span.name, *times, failed, _values(span.attributes), by
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
