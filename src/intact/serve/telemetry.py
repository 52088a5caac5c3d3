"""Trace spans as used by the server's code; they record nothing unless the module `tracing` is active."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from starlette.types import ASGIApp

from intact.engine.completion import Completion
from intact.engine.sampling.parameters import SamplingParameters

_REQUESTED = ("temperature", "top_p", "top_k", "max_tokens", "seed", "frequency_penalty", "presence_penalty")


class Exporter(Protocol):
    """A destination of spans."""

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """Wrap an application so that each request becomes a span."""

    def close(self) -> None:
        """Send pending spans, and shut down."""


class Span:
    """A span that records nothing.

    Attributes
    ----------
    recording : bool
        If true, spans are recorded.
    """

    recording = False

    def child(self, name: str, attributes: Mapping[str, Any]) -> Span:
        """Start a child span."""
        return self

    def note(self, **attributes: Any) -> None:
        """Add attributes; a double underscore in a name stands for a dot."""

    def first_token(self) -> None:
        """Record the time of the first token."""

    def wrote(self, completion: Completion) -> None:
        """Record a finished completion."""

    def failed(self, error: BaseException) -> None:
        """Record that the work failed."""

    def end(self) -> None:
        """End the span."""


_CURRENT: ContextVar[Span] = ContextVar("span", default=Span())  # noqa: B039 (it has no state)


def current() -> Span:
    """Return the span of the current work."""
    return _CURRENT.get()


@contextmanager
def entered(span: Span) -> Iterator[Span]:
    """Make a span current for the block; it ends with the block, and is marked as failed if the block fails."""
    before = _CURRENT.get()
    _CURRENT.set(span)
    try:
        yield span
    except BaseException as error:
        span.failed(error)
        raise
    finally:
        _CURRENT.set(before)  # not by a token: a generator may be closed in another context
        if span is not before:
            span.end()


def span(name: str, **attributes: Any) -> AbstractContextManager[Span]:
    """Run a block in a child span of the current one."""
    return entered(current().child(name, attributes))


def operation(kind: str, model: str, fingerprint: str, **attributes: Any) -> AbstractContextManager[Span]:
    """Run a model's work in a span; `kind` is `chat`, `text_completion` or `invoke_workflow`."""
    return span(
        f"{kind} {model}",
        gen_ai__operation__name=kind,
        gen_ai__provider__name="intact",
        gen_ai__request__model=model,
        gen_ai__response__model=model,
        openai__response__system_fingerprint=fingerprint,
        **attributes,
    )


def request_attributes(parameters: SamplingParameters, n: int, prompt: int) -> dict[str, Any]:
    """Return the attributes of a request for n completions of prompts of the given lengths in tokens."""
    named = {f"gen_ai__request__{name}": getattr(parameters, name) for name in _REQUESTED}
    return named | {"gen_ai__request__choice__count": n, "gen_ai__usage__input_tokens": prompt}


@contextmanager
def prefill_and_decode() -> Iterator[Callable[[], None]]:
    """Run a block in a span `prefill` until the yielded function is first called, then in a span `decode`."""
    whole, begun = current(), False
    with ExitStack() as stack:
        stack.enter_context(span("prefill"))

        def first_token() -> None:
            nonlocal begun
            if not begun:
                begun = True
                stack.close()
                whole.first_token()
                stack.enter_context(span("decode"))

        yield first_token
