"""OpenTelemetry traces, if asked for: what a request goes through, in the words of the conventions for generative AI.

A span has names, numbers and reasons, never a text: neither prompts, answers, keys, nor the messages of errors. Where
nobody traces, a span costs a look into a context variable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import intact
from intact.engine.completion import Completion
from intact.engine.sampling.parameters import SamplingParameters
from intact.errors import ParameterError, install
from intact.serve.errors import ApiError

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span as Recorded
    from opentelemetry.trace import Tracer

PATHS = "/v1/"
"""What is traced; who asks for health and figures is not."""
_REQUESTED = ("temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty")


@dataclass(frozen=True)
class Tracing:
    """Where spans go.

    Attributes
    ----------
    tracer : opentelemetry.trace.Tracer
    close : callable
        Sends what is left, and ends.
    """

    tracer: Tracer
    close: Callable[[], None] = lambda: None


def exporting() -> Tracing:
    """Spans go to a collector, by OTLP over HTTP; OpenTelemetry's own variables say where, and what is sampled.

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
        raise ParameterError(f"traces need {error.name}: {install('otel')}") from error
    own = Resource.create({"service.name": "intact", "service.version": intact.__version__})
    provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracing(provider.get_tracer("intact", intact.__version__), provider.shutdown)


class _Place(NamedTuple):
    """Where in a trace the work at hand stands."""

    tracer: Tracer
    context: Context
    span: Span


_HERE: ContextVar[_Place | None] = ContextVar("trace", default=None)


class Span:
    """A span, or nothing where nobody traces."""

    def __init__(self, recorded: Recorded | None = None) -> None:
        self._recorded, self._began = recorded, time.monotonic()
        self._tokens, self._reasons = 0, list[str]()

    @property
    def recording(self) -> bool:
        """Whether anybody traces."""
        return self._recorded is not None and self._recorded.is_recording()

    def note(self, **attributes: Any) -> None:
        """Add attributes; a double underscore in a name stands for a dot."""
        if self._recorded is not None:
            self._recorded.set_attributes(_dotted(attributes))

    def first(self) -> None:
        """The first token is there."""
        self.note(gen_ai__response__time_to_first_chunk=time.monotonic() - self._began)

    def wrote(self, completion: Completion) -> None:
        """A text is done."""
        self._tokens += len(completion.tokens)
        self._reasons.append(completion.finish)
        self.note(gen_ai__usage__output_tokens=self._tokens, gen_ai__response__finish_reasons=self._reasons)

    def failed(self, error: BaseException) -> None:
        """What it was about has failed; the message may quote the client, so it is not told."""
        if self._recorded is not None:
            from opentelemetry.trace import StatusCode

            code = error.code if isinstance(error, ApiError) else None
            self._recorded.set_status(StatusCode.ERROR)
            self.note(error__type=code or type(error).__name__)


_OFF = Span()


def here() -> Span:
    """The span that the work at hand belongs to."""
    place = _HERE.get()
    return _OFF if place is None else place.span


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Span]:
    """A span around a block, below the one that is `here`; it fails if the block does."""
    place = _HERE.get()
    if place is None:
        yield _OFF
        return
    from opentelemetry.trace import set_span_in_context

    recorded = place.tracer.start_span(name, place.context, attributes=_dotted(attributes))
    made = Span(recorded)
    _HERE.set(_Place(place.tracer, set_span_in_context(recorded, place.context), made))
    try:
        yield made
    except BaseException as error:
        made.failed(error)
        raise
    finally:
        _HERE.set(place)  # not by a token: a generator may be closed in another context
        recorded.end()


@contextmanager
def operation(kind: str, model: str, fingerprint: str, **attributes: Any) -> Iterator[Span]:
    """The span of a model's work: `chat`, `text_completion` or `invoke_workflow`."""
    with span(
        f"{kind} {model}",
        gen_ai__operation__name=kind,
        gen_ai__provider__name="intact",
        gen_ai__request__model=model,
        gen_ai__response__model=model,
        openai__response__system_fingerprint=fingerprint,
        **attributes,
    ) as made:
        yield made


def requested(parameters: SamplingParameters, n: int, prompt: int) -> dict[str, Any]:
    """Attributes of what a request asks for."""
    named = {f"gen_ai__request__{name}": getattr(parameters, name) for name in _REQUESTED}
    return named | {"gen_ai__request__choice__count": n, "gen_ai__usage__input_tokens": prompt}


@contextmanager
def writing() -> Iterator[Callable[[], None]]:
    """Spans `prefill`, until the function that it gives is called, and `decode` from there on."""
    whole, begun = here(), False
    with ExitStack() as stack:
        stack.enter_context(span("prefill"))

        def first() -> None:
            nonlocal begun
            if not begun:
                begun = True
                stack.close()
                whole.first()
                stack.enter_context(span("decode"))

        yield first


class Traced:
    """A span for each request that was let in, below that of the client, if it names one (W3C Trace Context)."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app, self._tracer = app, tracing.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http" or not scope["path"].startswith(PATHS):
            await self._app(scope, receive, send)
            return
        from opentelemetry.context import Context
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        method = scope["method"]
        above = TraceContextTextMapPropagator().extract(Headers(scope=scope), Context())
        recorded = self._tracer.start_span(method, above, SpanKind.SERVER, {"http.request.method": method})
        made = Span(recorded)
        _HERE.set(_Place(self._tracer, set_span_in_context(recorded, above), made))

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                made.note(http__response__status_code=message["status"])
                if message["status"] >= 500:
                    made.failed(ApiError(message["status"], "", code=str(message["status"])))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except BaseException as error:
            made.failed(error)
            raise
        finally:
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                recorded.update_name(f"{method} {route}")
                made.note(http__route=route)
            _HERE.set(None)
            recorded.end()


def _dotted(attributes: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("__", "."): value for name, value in attributes.items() if value is not None}
