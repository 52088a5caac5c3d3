"""OpenTelemetry traces, if requested, following the conventions for generative AI. This module is optional.

Spans contain names, numbers and reasons, but no text: no prompts, answers, keys, or error messages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import intact
from intact._base.errors import NotInstalledError
from intact._base.packages import install
from intact.engine.completion import Completion
from intact.serve import telemetry
from intact.serve.errors import ApiError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as OpenTelemetrySpan
    from opentelemetry.trace import Tracer

PATHS = ("/v1/", "/api/")
"""Requests below these paths are traced; health and metrics requests are not."""


@dataclass(frozen=True)
class Tracing:
    """An OpenTelemetry tracer.

    Attributes
    ----------
    tracer : opentelemetry.trace.Tracer
    close : callable
        Sends pending spans, and shuts down.
    """

    tracer: Tracer
    close: Callable[[], None] = lambda: None

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application so that each request becomes a span."""
        return TracingMiddleware(app, self.tracer)


def exporting() -> Tracing:
    """Send spans to a collector via OTLP over HTTP; OpenTelemetry's environment variables set endpoint and sampling.

    Raises
    ------
    ParameterError
        If OpenTelemetry is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            f"traces need {error.name}: {install('opentelemetry-sdk', 'opentelemetry-exporter-otlp-proto-http')}"
        ) from error
    own = Resource.create({"service.name": "intact", "service.version": intact.__version__})
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider.get_tracer("intact", intact.__version__), provider.shutdown)


class RecordedSpan(telemetry.Span):
    """An OpenTelemetry span; `above` is the parent context."""

    def __init__(self, tracer: Tracer, recorded: OpenTelemetrySpan, above: Context) -> None:
        from opentelemetry.trace import set_span_in_context

        self._tracer, self._recorded, self._began = tracer, recorded, time.monotonic()
        self._context = set_span_in_context(recorded, above)
        self._tokens, self._reasons = 0, list[str]()

    @property
    def recording(self) -> bool:  # type: ignore[override]
        """If true, the sampler keeps this span."""
        return self._recorded.is_recording()

    def child(self, name: str, attributes: Mapping[str, Any]) -> RecordedSpan:
        """Start a child span."""
        recorded = self._tracer.start_span(name, self._context, attributes=_dotted(attributes))
        return RecordedSpan(self._tracer, recorded, self._context)

    def note(self, **attributes: Any) -> None:
        """Add attributes; a double underscore in a name stands for a dot."""
        self._recorded.set_attributes(_dotted(attributes))

    def first_token(self) -> None:
        """Record the time of the first token."""
        self.note(gen_ai__response__time_to_first_chunk=time.monotonic() - self._began)

    def wrote(self, completion: Completion) -> None:
        """Record a finished completion."""
        self._tokens += len(completion.tokens)
        self._reasons.append(completion.finish)
        self.note(gen_ai__usage__output_tokens=self._tokens, gen_ai__response__finish_reasons=self._reasons)

    def failed(self, error: BaseException) -> None:
        """Record the type of an error; its message may quote the client, so it is left out."""
        from opentelemetry.trace import StatusCode

        code = error.code if isinstance(error, ApiError) else None
        self._recorded.set_status(StatusCode.ERROR)
        self.note(error__type=code or type(error).__name__)

    def rename(self, name: str) -> None:
        """Rename the span."""
        self._recorded.update_name(name)

    def end(self) -> None:
        """End the span."""
        self._recorded.end()


class TracingMiddleware:
    """A span for each admitted request, as a child of the client's span, if it names one (W3C Trace Context)."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        self._app, self._tracer = app, tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request."""
        if scope["type"] != "http" or not scope["path"].startswith(PATHS):
            await self._app(scope, receive, send)
            return
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        method = scope["method"]
        above = TraceContextTextMapPropagator().extract(Headers(scope=scope), Context())
        recorded = self._tracer.start_span(method, above, SpanKind.SERVER, {"http.request.method": method})
        request = RecordedSpan(self._tracer, recorded, above)

        async def send_noting_status(message: Message) -> None:
            if message["type"] == "http.response.start":
                request.note(http__response__status_code=message["status"])
                if message["status"] >= 500:
                    request.failed(ApiError(message["status"], "", code=str(message["status"])))
            await send(message)

        with telemetry.entered(request):
            try:
                await self._app(scope, receive, send_noting_status)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if route is not None:
                    request.rename(f"{method} {route}")
                    request.note(http__route=route)


def _dotted(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items() if value is not None}
