"""Drift: send a cassette's requests to the endpoint again, and compare the answers with the recorded ones."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from intact._base.errors import EndpointError, ParameterError
from intact._base.packages import check_installed
from intact.reason.backends.openai_key import KEY, Key
from intact.serve.cassette.cassette import Cassette
from intact.serve.cassette.comparing import answer_texts, generated_tokens, vector_difference
from intact.serve.cassette.content import BodyContent
from intact.serve.cassette.entry import CassetteEntry
from intact.serve.cassette.matching import HttpRequest
from intact.serve.cassette.recorder import NOT_KEPT
from intact.serve.cassette.redaction import REDACTED
from intact.serve.cassette.streams import MOST_BYTES
from intact.serve.cassette.upstream import ENDPOINTS, Api, Upstream, api_of
from intact.serve.exchange import first_difference
from intact.stats.proportions import clopper_pearson

if TYPE_CHECKING:
    import httpx

_VARIABLES: Final[Mapping[Api, str]] = {
    "openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "ollama": "OLLAMA_API_KEY",
}  # fmt: skip
"""Environment variable with the key of each API; `KEY` is used where it is not set."""
LABELS: Final = ("recorded", "now")


@dataclass(frozen=True)
class Limits:
    """Caps of a measurement.

    Attributes
    ----------
    requests, tokens : int
        Maximum number of requests, and of generated tokens, as far as the endpoint counts them.
    seconds : float
        Time after which no further request is sent.
    concurrency : int
        Maximum number of requests at a time.
    """

    requests: int = 300
    tokens: int = 100_000
    seconds: float = 300.0
    concurrency: int = 4

    def __post_init__(self) -> None:
        for name in ("requests", "tokens", "seconds", "concurrency"):
            if getattr(self, name) <= 0:
                raise ParameterError(f"{name} must be above 0, got {getattr(self, name)}")


class DriftedAnswer(NamedTuple):
    """A request whose answer changed.

    Attributes
    ----------
    place : str
        The first place in the answer that differs.
    text : str
        Both values there, for people.
    """

    test: str
    path: str
    occurrence: int
    prompt: str
    place: str
    text: str


class UnmeasuredAnswer(NamedTuple):
    """A request that the endpoint did not answer."""

    test: str
    path: str
    reason: str


@dataclass
class DriftReport:
    """The result of a measurement.

    Attributes
    ----------
    compared : int
        Number of answers that were compared.
    changed : list of DriftedAnswer
    failed : list of UnmeasuredAnswer
    skipped : Counter
        Numbers of recorded requests that were not sent, by reason.
    tokens : int
        Generated tokens, as counted by the endpoint.
    seconds : float
    """

    compared: int = 0
    changed: list[DriftedAnswer] = field(default_factory=list)
    failed: list[UnmeasuredAnswer] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    seconds: float = 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """The exact 95% interval of the share of changed answers (Clopper and Pearson 1934)."""
        return clopper_pearson(len(self.changed), self.compared)

    def to_document(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        low, high = self.interval
        return {
            "compared": self.compared,
            "changed": len(self.changed),
            "share": len(self.changed) / self.compared if self.compared else None,
            "interval": [low, high],
            "level": 0.95,
            "answers": [one._asdict() for one in self.changed],
            "failed": [one._asdict() for one in self.failed],
            "skipped": dict(self.skipped),
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
        }


def measure_drift(
    cassette: Cassette,
    upstreams: Mapping[Api, Upstream],
    limits: Limits,
    *,
    timeout: float = 120.0,
    progress: Callable[[int], None] = lambda done: None,
) -> DriftReport:
    """Send the requests of a cassette again, and compare the answers.

    Not sent are requests that the local model answered, those with redacted values, those that continue a stored
    answer, whose identifier has expired, and what exceeds the limits.

    Parameters
    ----------
    cassette : Cassette
    upstreams : mapping
        The endpoint of each API. Keys come from the environment: ``OPENAI_API_KEY``, ``ANTHROPIC_API_KEY``,
        ``OLLAMA_API_KEY``, or ``INTACT_API_KEY``.
    limits : Limits
    timeout : float
        Timeout of a request in seconds.
    progress : callable
        Called with the number of requests that have ended.

    Raises
    ------
    NotInstalledError
        If httpx is missing.
    """
    check_installed("measuring drift", "httpx")
    return asyncio.run(_Measurement(upstreams, limits, timeout).run(cassette.entries, progress))


class _Measurement:
    def __init__(self, upstreams: Mapping[Api, Upstream], limits: Limits, timeout: float) -> None:
        self._upstreams, self._limits, self._timeout = upstreams, limits, timeout
        self._keys = {api: Key(name if os.environ.get(name) else KEY) for api, name in _VARIABLES.items()}
        self._report = DriftReport()

    async def run(self, entries: Sequence[CassetteEntry], progress: Callable[[int], None]) -> DriftReport:
        import httpx

        began, done, sent, report = time.monotonic(), 0, 0, self._report
        slots = asyncio.Semaphore(self._limits.concurrency)
        tasks: list[asyncio.Task[None]] = []

        async def one(client: httpx.AsyncClient, entry: CassetteEntry) -> None:
            nonlocal done
            try:
                await self._compare(client, entry)
            finally:
                slots.release()
            done += 1
            progress(done)

        async with httpx.AsyncClient(timeout=self._timeout, follow_redirects=False) as client:
            for entry in entries:
                if reason := _reason_to_skip(entry):
                    report.skipped[reason] += 1
                    continue
                await slots.acquire()
                if reason := self._exceeded(sent, time.monotonic() - began):
                    report.skipped[reason] += 1
                    slots.release()
                    continue
                sent += 1
                tasks.append(asyncio.create_task(one(client, entry)))
            await asyncio.gather(*tasks)
        report.seconds = time.monotonic() - began
        return report

    def _exceeded(self, sent: int, seconds: float) -> str:
        limits = self._limits
        if sent >= limits.requests:
            return f"beyond the limit of {limits.requests:,} requests"
        if self._report.tokens >= limits.tokens:
            return f"beyond the limit of {limits.tokens:,} tokens"
        return f"beyond the limit of {limits.seconds:g} seconds" if seconds >= limits.seconds else ""

    async def _compare(self, client: httpx.AsyncClient, entry: CassetteEntry) -> None:
        request, report = entry.request, self._report
        try:
            status, content = await self._answer(client, request)
        except EndpointError as error:
            report.failed.append(UnmeasuredAnswer(entry.scope, request.path, str(error)))
            return
        report.compared += 1
        report.tokens += generated_tokens(content)
        before = {"status": str(entry.answer.status)} | answer_texts(entry.answer.content)
        now = {"status": str(status)} | answer_texts(content)
        place = next((one for one in dict.fromkeys((*before, *now)) if before.get(one) != now.get(one)), None)
        if place is not None:
            text = vector_difference(before.get(place), now.get(place)) or first_difference(
                before.get(place), now.get(place), LABELS
            )
            prompt = _excerpt(request)
            report.changed.append(
                DriftedAnswer(entry.scope, request.path, entry.occurrence, prompt, place=place, text=text)
            )

    async def _answer(self, client: httpx.AsyncClient, request: HttpRequest) -> tuple[int, BodyContent]:
        """Return the endpoint's answer.

        Raises
        ------
        EndpointError
            If there is none, or it is an error of the key or of the moment.
        """
        import httpx

        api = api_of(request.path)
        upstream, key = self._upstreams[api], self._keys[api]
        secret = key.headers.get("Authorization", "").partition(" ")[2]
        headers = dict(request.headers) | ({"x-api-key": secret} if api == "anthropic" and secret else key.headers)
        body = b"" if request.content is None else request.content.data()
        received = bytearray()
        try:
            async with (
                asyncio.timeout(self._timeout),
                client.stream(
                    request.method, upstream.url(request.path, request.query), headers=headers, content=body
                ) as response,
            ):
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > MOST_BYTES:
                        raise EndpointError(f"the answer is larger than {MOST_BYTES:,} bytes")
        except TimeoutError:
            raise EndpointError(f"no answer within {self._timeout:g} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EndpointError(f"{type(error).__name__}: {key.clean(str(error)):.200}") from None
        data = key.clean_bytes(bytes(received))
        if response.status_code in NOT_KEPT or response.status_code >= 500:
            text = " ".join(data[:200].decode(errors="replace").split())
            raise EndpointError(f"HTTP {response.status_code}: {text}")
        return response.status_code, BodyContent.of(data, response.headers.get("content-type", ""))


def _reason_to_skip(entry: CassetteEntry) -> str:
    if entry.origin.kind == "local":
        return "answered by the local model"
    if entry.request.method != "POST" or entry.request.content is None:
        return "without a body"
    if not ENDPOINTS.fullmatch(entry.request.path):  # a file of unknown origin must not start jobs with the user's key
        return "to paths that generate no answer"
    text = json.dumps(entry.request.content.value)
    if REDACTED in text or REDACTED in entry.request.query:
        return "with redacted values"
    return "that continue a stored answer" if '"previous_response_id": "' in text else ""


def _excerpt(request: HttpRequest) -> str:
    """Return the end of the last message or input of a request."""
    value = None if request.content is None else request.content.value
    if isinstance(value, Mapping):
        value = next((value[name] for name in ("messages", "input", "prompt") if name in value), value)
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, Mapping) and isinstance(value.get("content"), str):
        value = value["content"]
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))[-100:]
