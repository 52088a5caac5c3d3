"""Replay traffic against a server with OpenAI's completions API, and measure what its clients see."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from intact._base.errors import EndpointError, ParameterError
from intact._base.packages import check_installed
from intact.measure.bench.traffic import BLOCK, TrafficRequest
from intact.reason.backends.address import endpoint_address
from intact.reason.backends.openai_key import KEY, Key

if TYPE_CHECKING:
    import httpx

PERCENTILES: Final = (50, 90, 99)
METRICS: Final = {
    "ttft": "to the first token",
    "tpot": "a token after the first",
    "itl": "between pieces",
    "e2el": "to the end",
}
"""Latencies of a request, in milliseconds, under the short names used in vLLM's benchmark, with descriptions."""
clock = time.perf_counter


class TimedAnswer(NamedTuple):
    """A request and its answer, with times in seconds from the start of the replay."""

    due: float
    """The time at which the request was due."""
    sent: float
    pieces: tuple[float, ...]
    """Arrival times of the chunks of its text."""
    end: float
    input_tokens: int
    """As counted by the server, else as stated in the file."""
    output_tokens: int
    """As counted by the server, else the number of chunks."""
    error: str | None = None

    def metrics(self) -> dict[str, list[float]]:
        """Return the milliseconds for each of `METRICS`; lists are empty if the answer was too short."""
        if not self.pieces:
            return {name: [] for name in METRICS}
        after = self.output_tokens - 1
        return {
            "ttft": [1000 * (self.pieces[0] - self.sent)],
            "tpot": [1000 * (self.pieces[-1] - self.pieces[0]) / after] if after > 0 else [],
            "itl": [1000 * (later - sooner) for sooner, later in pairwise(self.pieces)],
            "e2el": [1000 * (self.end - self.sent)],
        }


class ReplayTarget(NamedTuple):
    """A server, with settings for sending requests to it.

    Attributes
    ----------
    url : str
        The base address of `/completions`, such as ``http://127.0.0.1:8000/v1``.
    model : str
        The model's name on the server; empty for the first one listed.
    ignore_eos : bool
        If true, ask the server to ignore end tokens, so that answers have the file's lengths. Servers that do not
        support the option reject or ignore it.
    seconds : float
        Timeout per request.
    key : str
        The environment variable that contains the API key.
    """

    url: str
    model: str = ""
    ignore_eos: bool = True
    seconds: float = 600.0
    key: str = KEY


def replay(
    arrivals: Sequence[TrafficRequest],
    target: ReplayTarget,
    *,
    speed: float = 1.0,
    block: int = BLOCK,
    progress: Callable[[int], None] = lambda done: None,
) -> list[TimedAnswer]:
    """Send each request at its arrival time, regardless of how many are pending, and record the answers.

    Parameters
    ----------
    arrivals : sequence of TrafficRequest
    target : ReplayTarget
    speed : float
        Speed relative to the file.
    block : int
        Tokens per block of `hash_ids`.
    progress : callable
        Called with the number of requests that have ended.

    Raises
    ------
    ParameterError
        If the address or the speed is invalid.
    EndpointError
        If the server does not answer, or has no model.
    NotInstalledError
        If httpx is missing.
    """
    check_installed("replaying traffic", "httpx")
    if not 0 < speed <= 1e6:
        raise ParameterError(f"speed must lie in (0, 1,000,000], got {speed}")
    return asyncio.run(_Replay(target, block).run(arrivals, speed, progress))


class _Replay:
    def __init__(self, target: ReplayTarget, block: int) -> None:
        import httpx

        self._key = Key(target.key)
        self._target, self._block, self._http = target, block, httpx
        self._base = endpoint_address(target.url) + "/"
        self._model = target.model

    async def run(
        self, arrivals: Sequence[TrafficRequest], speed: float, progress: Callable[[int], None]
    ) -> list[TimedAnswer]:
        limits = self._http.Limits(max_connections=None, max_keepalive_connections=None)
        timeout = self._http.Timeout(self._target.seconds)
        async with self._http.AsyncClient(
            base_url=self._base, limits=limits, timeout=timeout, headers=self._key.headers, follow_redirects=False
        ) as client:
            self._model = self._model or await self._first_model(client)
            prompts = [arrival.text(number, self._block) for number, arrival in enumerate(arrivals)]
            start, done = clock(), 0

            async def one(number: int) -> TimedAnswer:
                nonlocal done
                due = arrivals[number].timestamp / 1000 / speed
                await asyncio.sleep(max(0.0, start + due - clock()))
                outcome = await self._ask(client, arrivals[number], prompts[number], due, start=start)
                done += 1
                progress(done)
                return outcome

            return list(await asyncio.gather(*map(one, range(len(arrivals)))))

    async def _first_model(self, client: httpx.AsyncClient) -> str:
        where = f"{self._target.url}/models"
        try:
            answer = await client.get("models")
            answer.raise_for_status()
            return str(answer.json()["data"][0]["id"])
        except self._http.HTTPError as error:
            raise EndpointError(f"{where}: {self._key.clean(str(error)) or type(error).__name__}") from None
        except (ValueError, LookupError, TypeError):
            raise EndpointError(f"{where} lists no models; name one") from None

    async def _ask(
        self, client: httpx.AsyncClient, arrival: TrafficRequest, prompt: str, due: float, start: float
    ) -> TimedAnswer:
        body: dict[str, Any] = {
            "model": self._model, "prompt": prompt, "max_tokens": arrival.output_length, "temperature": 0,
            "stream": True, "stream_options": {"include_usage": True},
        }  # fmt: skip
        if self._target.ignore_eos:
            body["ignore_eos"] = True
        pieces: list[float] = []
        usage: Mapping[str, Any] = {}
        error, sent = None, clock() - start
        try:
            async with asyncio.timeout(self._target.seconds), client.stream("POST", "completions", json=body) as answer:
                if answer.status_code != 200:
                    raise EndpointError(
                        f"status {answer.status_code}: {(await answer.aread())[:200].decode(errors='replace')}"
                    )
                async for line in answer.aiter_lines():
                    if line.startswith("data:") and (event := _event(line[5:])):
                        usage = event.get("usage") or usage
                        if any(choice.get("text") for choice in event.get("choices") or ()):
                            pieces.append(clock() - start)
        except (self._http.HTTPError, EndpointError, TimeoutError, ValueError, AttributeError, TypeError) as problem:
            error = self._key.clean(str(problem)) or type(problem).__name__
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        return TimedAnswer(
            due, sent, tuple(pieces), clock() - start, input_tokens=read if type(read) is int else arrival.input_length,
            output_tokens=written if type(written) is int else len(pieces), error=error,
        )  # fmt: skip


def _event(data: str) -> dict[str, Any] | None:
    """Parse an event of the stream; return None at its end."""
    if data.strip() == "[DONE]":
        return None
    event = json.loads(data)
    if isinstance(event, dict) and event.get("error"):
        raise EndpointError(f"{event['error']}"[:200])
    return event if isinstance(event, dict) else None


class Summary(NamedTuple):
    """The figures of a replay, as seen by clients.

    Attributes
    ----------
    requests, failed : int
    seconds : float
        Time from the first request to the last answer.
    late : float
        Maximum delay of this program in sending a request, in milliseconds.
    input_tokens, output_tokens : int
        Tokens of requests that did not fail.
    goodput : float or None
        Requests per second that met every service-level objective; None if none was stated.
    milliseconds : mapping
        The mean and `PERCENTILES` (linearly interpolated) of each of `METRICS`; empty without values.
    errors : mapping
        Number of occurrences of each error message.
    """

    requests: int
    failed: int
    seconds: float
    late: float
    input_tokens: int
    output_tokens: int
    goodput: float | None
    milliseconds: Mapping[str, Mapping[str, float]]
    errors: Mapping[str, int]


def summarize(outcomes: Sequence[TimedAnswer], promises: Mapping[str, float] | None = None) -> Summary:
    """Summarise a replay.

    Parameters
    ----------
    promises : mapping, optional
        Service-level objectives: the maximum `ttft`, `tpot` or `e2el` of a request, in milliseconds.

    Raises
    ------
    ParameterError
        If an objective has an unknown name, or there are no outcomes.
    """
    check_promises(promises or {})
    if not outcomes:
        raise ParameterError("there are no requests to summarise")
    good = [outcome for outcome in outcomes if outcome.error is None]
    found = [outcome.metrics() for outcome in good]
    seconds = max(outcome.end for outcome in outcomes) - min(outcome.sent for outcome in outcomes)
    kept = sum(all(not one[name] or one[name][0] <= most for name, most in (promises or {}).items()) for one in found)
    errors: dict[str, int] = {}
    for outcome in outcomes:
        if outcome.error is not None:
            errors[outcome.error] = errors.get(outcome.error, 0) + 1
    return Summary(
        len(outcomes),
        len(outcomes) - len(good),
        seconds,
        1000 * max(one.sent - one.due for one in outcomes),
        input_tokens=sum(one.input_tokens for one in good),
        output_tokens=sum(one.output_tokens for one in good),
        goodput=kept / seconds if promises else None,
        milliseconds={name: _percentiles([value for one in found for value in one[name]]) for name in METRICS},
        errors=errors,
    )


def check_promises(promises: Collection[str]) -> None:
    """Raise ParameterError if an objective names anything but `ttft`, `tpot` or `e2el`."""
    for name in promises:
        if name not in ("ttft", "tpot", "e2el"):
            raise ParameterError(f"goodput must be ttft, tpot or e2el, got {name!r:.40}")


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"mean": float(np.mean(values))} | {f"p{q}": float(np.percentile(values, q)) for q in PERCENTILES}
