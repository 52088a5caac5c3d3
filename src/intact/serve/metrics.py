"""Prometheus metrics, and an access log with one line per request; neither contains the text of requests."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from intact.serve.models import Models, Served

_ACCESS = logging.getLogger("intact.serve.access")
_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_COUNTERS = {
    "steps": "Steps of the engine.",
    "rows": "Rows that went through the model.",
    "prefilled": "Rows of prompts.",
    "decoded": "Rows of texts that were being written.",
    "cached_tokens": "Tokens that the cache saved.",
    "preemptions": "Texts that gave their pages back for a while.",
    "drafted": "Tokens that were guessed.",
    "accepted": "Guesses that came true.",
    "saturated": "Numbers of recurrent states that came to the limit of their integers.",
}
"""Fields of the engine's counters, with their descriptions."""


class Metrics:
    """Prometheus metrics; model metrics are read on request."""

    def __init__(self, models: Models | None) -> None:
        self._models, self._registry = models, CollectorRegistry()
        self.requests = Counter(
            "intact_requests", "Requests that were answered.", ("route", "status"), registry=self._registry
        )
        timed = partial(Histogram, labelnames=("route",), buckets=_SECONDS, registry=self._registry)
        self.seconds = timed("intact_request_seconds", "Seconds from a request to the end of its answer.")
        self.first = timed("intact_first_token_seconds", "Seconds from a request to the first event of its stream.")
        self._registry.register(self)

    def text(self) -> bytes:
        """Return all metrics in Prometheus format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the models."""
        served = () if self._models is None else self._models.served.values()
        engines = [(one.name, one.model.engine) for one in served if one.model]
        gauges: dict[str, tuple[str, Callable[[Served], float]]] = {
            "intact_requests_running": ("Requests that are being worked on.", lambda one: one.admission.running),
            "intact_requests_waiting": ("Requests that wait for their turn.", lambda one: one.admission.waiting),
            "intact_model_loaded": ("Whether a model is in memory.", lambda one: one.model is not None),
        }
        for name, (text, read) in gauges.items():
            yield _family(name, text, [((one.name,), read(one)) for one in served])
        yield GaugeMetricFamily("intact_tasks", "Tasks of the event loop.", _tasks())
        pages = [((name, "held"), engine.held) for name, engine in engines]
        pages += [((name, "idle"), engine.index.idle) for name, engine in engines]
        yield _family("intact_cache_pages", "Pages of the KV cache, by state.", pages, ("model", "state"))
        sizes = [((name,), engine.pool.page_bytes / engine.pool.page_size) for name, engine in engines]
        yield _family("intact_cache_bytes_per_token", "What a token takes in the KV cache.", sizes)
        kept = [(name, [store.counts.as_dict() for store in engine.stores]) for name, engine in engines]
        pages = [
            ((name, event), sum(counts[event] for counts in several))
            for name, several in kept
            for event in (several[0] if several else ())
        ]
        text = "Pages of prompts, of the folder of --prefix-cache or of --prefill, by what was done with them."
        yield _family("intact_prefix_cache_pages", text, pages, ("model", "event"), kind=CounterMetricFamily)
        for field, text in _COUNTERS.items():
            values = [((name,), getattr(engine.counters, field)) for name, engine in engines]
            yield _family(f"intact_engine_{field}", text, values, kind=CounterMetricFamily)


def _family(
    name: str,
    text: str,
    values: Iterable[tuple[Sequence[str], float]],
    labels: Sequence[str] = ("model",),
    kind: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily,
) -> Metric:
    family = kind(name, text, labels=labels)
    for keys, value in values:
        family.add_metric(keys, value)
    return family


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # there is no loop in this thread
        return 0


class AccessMiddleware:
    """Counts requests and logs them as they end."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, first = time.monotonic(), 0, 0.0
        streamed = sent = False

        async def send_noting_status(message: Message) -> None:
            nonlocal status, first, streamed, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                streamed = any(value.startswith(b"text/event-stream") for _, value in message["headers"])
            elif not sent and message.get("body"):
                sent, first = True, time.monotonic() - began
            await send(message)

        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            self._note(scope, status, time.monotonic() - began, first if streamed else 0.0)

    def _note(self, scope: Scope, status: int, seconds: float, first: float) -> None:
        route = getattr(scope.get("route"), "path", "other")
        status = status or 499  # the client disconnected before an answer began
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if first:
            self._metrics.first.labels(route).observe(first)
        note: dict[str, Any] = {
            "client": scope.get("intact.client", ""),
            "method": scope["method"],
            "path": scope["path"][:200],
            "status": status,
            "ms": round(1000 * seconds, 1),
        }
        text = "%(client)s %(method)s %(path)s %(status)s %(ms)s ms"
        if (error := scope.get("state", {}).get("error")) is not None:
            note |= {"code": error.code or error.kind} | ({"field": error.param[:80]} if error.param else {})
            text += " %(code)s" + (" at %(field)s" if error.param else "")
        _ACCESS.info(text, note)
