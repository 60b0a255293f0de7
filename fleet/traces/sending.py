"""Sends parts of traces in OpenTelemetry's protocol over HTTP, from a thread beside, to where the environment says.

The SDK's own variables hold: OTEL_EXPORTER_OTLP_…, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER (by
the trace's id, so a campaign is kept whole or not at all), OTEL_BSP_….
"""

import atexit
import os
import threading
import time
from hashlib import sha256

from django.conf import settings
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.re import parse_env_headers

from fleet.traces import Part

SERVICE = "fleet-live-queries"  # unless the environment says otherwise
LAST_SECONDS = 3.0  # for what waits to be sent when the process ends: less than anybody waits before he kills it
SCOPE = InstrumentationScope("fleet.traces")
NANO = 1_000_000_000


class Sender:
    """The one of this process. Parts wait in memory, 2,048 at most; who comes when it is full is lost and logged."""

    def __init__(self) -> None:
        own = Resource.create({SERVICE_NAME: SERVICE, "process.pid": os.getpid()})
        resource = own.merge(OTELResourceDetector().detect())
        # Not its processors and its tracers, which make ids of their own: what it read of the environment.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        headers = parse_env_headers(settings.TRACES_HEADERS, liberal=True)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(headers=headers or None))
        self._ids = RandomIdGenerator()
        self._leaving, self._left = threading.Event(), threading.Event()
        threading.Thread(target=self._wait_for_the_end, name="traces", daemon=True).start()
        atexit.register(self._leave)

    def send(self, part: Part) -> None:
        """Let it be sent soon, if the sampler wants this trace."""
        ended = part.ended or time.time()
        digest = sha256(part.trace.encode()).digest()
        trace, whole = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
        decision = self._provider.sampler.should_sample(None, trace, part.name).decision
        if not decision.is_sampled():  # type: ignore[no-untyped-call]
            return
        flags = TraceFlags(TraceFlags.SAMPLED)
        parent = None if part.is_whole else SpanContext(trace, whole, is_remote=True, trace_flags=flags)
        own = whole if part.is_whole else self._ids.generate_span_id()
        span = ReadableSpan(
            part.name,
            SpanContext(trace, own, is_remote=False, trace_flags=flags),
            parent,
            self._provider.resource,
            part.attributes,
            kind=SpanKind.INTERNAL,
            instrumentation_scope=SCOPE,
            status=Status(StatusCode.ERROR, part.error) if part.error else Status(StatusCode.OK),
            start_time=int(part.began * NANO),
            end_time=int(max(part.began, ended) * NANO),  # machines' clocks differ
        )
        self._processor.on_end(span)

    def _leave(self) -> None:
        self._leaving.set()
        self._left.wait(LAST_SECONDS)

    def _wait_for_the_end(self) -> None:
        """Send what waits when the process ends: by a thread, because the SDK would wait 30 seconds for a dead end."""
        self._leaving.wait()
        self._processor.shutdown()  # type: ignore[no-untyped-call]
        self._left.set()


SENDER = Sender()  # made when the first part is to be sent, after whatever forks there were; once, whatever the threads
