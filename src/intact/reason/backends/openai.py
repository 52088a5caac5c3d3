"""OpenAI-compatible endpoints as a back end: many requests at a time, with every kind of failure contained.

HTTP uses httpx. Retries and event parsing are implemented here, because the key must be removed from anything an
endpoint sends back, and an endpoint may send any number of bytes in any form: bytes are counted and cleaned before they
are parsed. The package openai buffers lines of any length, waits at most 8 seconds between attempts, and needs 0.9
seconds of CPU time to import (version 3.54; httpx: 0.15).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import aclosing
from email.utils import parsedate_to_datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

from intact._base.errors import EndpointError, IntactError, NotInstalledError, ParameterError
from intact._base.event_stream import EventReader, ReplyLimit
from intact._base.packages import install
from intact.numerics.sampling import branch_key
from intact.reason.backends.address import endpoint_address
from intact.reason.backends.base import Generation, Heat, Written
from intact.reason.backends.openai_key import KEY, Key
from intact.reason.backends.openai_wire import LONGEST_TOKEN, Arrival, Continues, as_continues, body_of
from intact.reason.limits import above, at_least, within
from intact.reason.problem import Piece, Prompt

if TYPE_CHECKING:
    import httpx

WAIT = 0.02  # seconds that a step waits for data
LONGEST_PAUSE = 60.0
DENSE = 64
"""Average number of bytes per token that is considered implausible; about four is usual."""
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504)
pause_for = asyncio.sleep

_CAVEATS = (
    "the endpoint's arithmetic and batches are its own: the same request may give another text next time",
    "seeds are asked for; nothing shows whether they are honoured",
    "texts are sent as text, and tokenised anew at every continuation",
    "tokens are counted as they arrive, or as the endpoint says if that is more",
    "what it goes on to write after a stop string, or for a request that failed, is neither seen nor charged",
    "races are decided by tokens, but losers are charged all that they wrote until they were cut",
    "operations are not counted",
)


class _Again(NamedTuple):
    """A failure that a retry may fix: its message, and the number of seconds the endpoint asks the client to wait."""

    message: str
    after: float | None = None


class OpenAIBackend:
    """A model behind an HTTP endpoint with OpenAI's APIs: completions for plain text, chat for conversations.

    The key is read from the environment and sent in one header; it never appears in a trace, journal or message.
    Redirects are not followed.

    Parameters
    ----------
    url : str
        Base address of `/completions` and `/chat/completions`, such as ``http://127.0.0.1:8000/v1``.
    model : str
        Name of the model on the endpoint.
    context : int
        Maximum number of tokens of a prompt and its continuation, if known.
    concurrency : int
        Maximum number of concurrent requests.
    seconds : float
        Timeout of one attempt, from beginning to end.
    retries : int
        Number of retries if the endpoint is busy, failing or unreachable; there are none once part of an answer has
        arrived.
    pause : float
        Pause before the first retry, in seconds; doubled each time, up to 60. `Retry-After` takes precedence.
    largest : int
        Maximum size of an answer, in bytes.
    continues : {'no', 'vllm', 'prefill'}
        The way in which the endpoint continues an answer in a conversation (`openai_wire.Continues`).
    count : callable, optional
        Counts the tokens of a string; by default its bytes, an upper bound for byte-level tokenizers.
    key : str
        Environment variable that holds the key.
    extra : mapping
        Further fields of each request.

    Raises
    ------
    ParameterError
        If the address, a number or `continues` is invalid, the model name is empty, or httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        context: int = 1 << 30,
        concurrency: int = 16,
        seconds: float = 600.0,
        retries: int = 4,
        pause: float = 1.0,
        largest: int = 1 << 26,
        continues: Continues = "no",
        count: Callable[[str], int] | None = None,
        key: str = KEY,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        _httpx()  # raises if it is missing
        self.url = endpoint_address(url)
        if not model:
            raise ParameterError(f"{self.url} needs the model's name: append it after #, as in {self.url}#NAME")
        at_least(1, context=context, concurrency=concurrency, largest=largest)
        at_least(0, retries=retries)
        as_continues(continues)
        above(0, seconds=seconds)
        within(0, LONGEST_PAUSE, pause=pause)
        self.context, self.model = context, model
        self._seconds, self._retries, self._pause, self._largest = seconds, retries, pause, largest
        self.continues, self._extra, self._count = continues, dict(extra or {}), count
        self._key = Key(key)
        self._notes: dict[str, None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._slots, self._concurrency = asyncio.Semaphore(concurrency), concurrency
        self._tasks: dict[Generation, tuple[asyncio.Task[None], Arrival]] = {}  # only used in the loop's thread
        self._ended: SimpleQueue[tuple[Generation, Written]] = SimpleQueue()
        self._live: dict[Generation, Arrival] = {}
        self._cancelled: set[Generation] = set()
        self._held: dict[Heat, list[Generation]] = {}

    @property
    def identity(self) -> str:
        """The address and the model name; nothing more is known about the model."""
        extra = hashlib.sha256(json.dumps(self._extra, sort_keys=True).encode()).hexdigest()[:16]
        return f"openai {self.url} {self.model} {self.continues} {extra}"

    @property
    def vocabulary(self) -> str:
        """A vocabulary of its own, shared with no other back end."""
        return self.identity

    @property
    def caveats(self) -> tuple[str, ...]:
        """Guarantees that no endpoint can give, and irregularities observed in this one."""
        own = [] if self._count else ["prompts are charged by their bytes: at least as much as their tokens"]
        if self.continues == "no":
            own.append("answers of conversations cannot be continued")
        return (*_CAVEATS, *own, *self._notes)

    def count(self, part: Prompt | Piece) -> int:
        """Return a piece's token count as reported by the endpoint; for other text, the caller's count or its bytes."""
        if isinstance(part, Piece):
            return len(part.tokens) or self._size(part.text)
        if isinstance(part, str):
            return self._size(part)
        return sum([self._size(role) + self._size(content) + 8 for role, content in part])

    def _size(self, text: str) -> int:
        return self._count(text) if self._count is not None else len(text.encode("utf-8", "replace"))

    def operations(self, start: int, count: int) -> int:
        """Return 0, because an endpoint's computation is unknown."""
        return 0

    def start(self, generations: Sequence[Generation]) -> None:
        """Send requests, up to the concurrency limit."""
        for generation in generations:
            self._live[generation] = arrival = Arrival(generation.parameters, self._key.clean)
            self._running().call_soon_threadsafe(self._begin, generation, arrival)

    def step(self) -> list[Generation]:
        """Wait briefly for answers; the runners of a race are returned together."""
        ended: list[Generation] = []
        some = False
        while self._live:
            try:
                generation, written = self._ended.get(timeout=0 if some and not self._cancelled else WAIT)
            except Empty:
                if self._cancelled:  # cancelled ones are returned at once
                    continue
                break
            some, generation.written = True, written
            self._cancelled.discard(generation)
            self._note(generation, self._live.pop(generation))
            ended += [generation] if generation.heat is None else self._arrived(generation, generation.heat)
        self._cut()
        return ended

    def cancel(self, generations: Sequence[Generation]) -> None:
        """Close these generations' connections."""
        for generation in generations:
            if generation in self._live and generation not in self._cancelled:
                self._cancelled.add(generation)
                self._running().call_soon_threadsafe(self._drop, generation)

    def close(self) -> None:
        """Cancel all requests and stop the thread."""
        if self._loop is not None:
            self.cancel(list(self._live))
            self.step()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _arrived(self, generation: Generation, heat: Heat) -> list[Generation]:
        """Record the end of a runner; return the whole race if it was the last runner."""
        written = generation.written
        assert written is not None
        heat.counts[generation.runner] = len(written.tokens)
        heat.leave(generation.runner, written.why in ("end", "stop"))
        runners = self._held.setdefault(heat, [])
        runners.append(generation)
        if heat.live:
            return []
        for runner in runners:
            if runner.written is not None and runner.runner not in heat.winners:
                why = runner.written.why
                runner.written = runner.written._replace(why="cancelled" if why in ("end", "stop") else why)
        return self._held.pop(heat)

    def _cut(self) -> None:
        """Cancel runners that are past the end of their race."""
        for generation, arrival in self._live.items():
            heat = generation.heat
            if heat is not None and heat.limit is not None and arrival.arrived > heat.limit:
                self.cancel([generation])

    def _note(self, generation: Generation, arrival: Arrival) -> None:
        """Record irregularities in an answer."""
        counted = self.count(generation.state.prompt) + sum(map(self.count, generation.state.pieces))
        silent, unlisted = arrival.begun and not arrival.claimed, arrival.events and not arrival.listed
        odd = {
            "the endpoint claimed fewer tokens than arrived: those that arrived were charged": (
                0 < arrival.claimed < arrival.arrived
            ),
            "the endpoint claimed more tokens than arrived: all that it claimed were charged": (
                arrival.listed and arrival.claimed > arrival.arrived + 1
            ),
            "the endpoint does not report log-probabilities: methods that need them fail": unlisted,
            "the endpoint does not say how many tokens it wrote: an event with text counts as one": (
                silent and arrival.done and not arrival.stopped
            ),
            f"some answers have more than {DENSE} bytes a token: the endpoint seems to count too few; "
            f"at least one was charged for every {LONGEST_TOKEN} bytes": (
                arrival.size > DENSE * max(arrival.arrived, arrival.claimed)
            ),
            "some answers broke off: of these only what arrived was charged": silent and not arrival.done,
            "the endpoint says that prompts have more tokens than were charged": arrival.prompt > counted,
            "part of what the model wrote came in a field of its own (reasoning) and is not read": arrival.hidden,
        }
        self._notes |= {note: None for note, holds in odd.items() if holds}

    # The following methods run in the thread

    def _running(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run, args=(self._loop, self._serve()), daemon=True)
            self._client = self._made()
            self._thread.start()
        return self._loop

    def _made(self) -> httpx.AsyncClient:
        headers = {"Accept-Encoding": "identity", "Content-Type": "application/json"} | self._key.headers
        module = _httpx()
        timeout = module.Timeout(self._seconds, connect=min(10.0, self._seconds))
        limits = module.Limits(max_connections=self._concurrency)
        secure = self.url.startswith("https")  # plain HTTP needs no certificates, which are slow to load
        client: httpx.AsyncClient = module.AsyncClient(headers=headers, timeout=timeout, limits=limits, verify=secure)
        return client

    async def _serve(self) -> None:
        """Cancel running tasks when the loop is stopped, and close the connections."""
        for task, _ in self._tasks.values():
            task.cancel()
        await _others()
        await self._client.aclose()
        await asyncio.get_running_loop().shutdown_asyncgens()
        await _others()  # the garbage collector may have started to close generators

    def _begin(self, generation: Generation, arrival: Arrival) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(generation, arrival))
        self._tasks[generation] = task, arrival

    def _drop(self, generation: Generation) -> None:
        found = self._tasks.pop(generation, None)
        if found is not None:
            task, arrival = found
            task.cancel()
            self._ended.put((generation, arrival.broken("cancelled")))

    async def _answer(self, generation: Generation, arrival: Arrival) -> None:
        try:
            async with self._slots:
                await self._request(generation, arrival)
            written = arrival.written()
        except IntactError as error:
            written = arrival.broken("error", str(error))
        except Exception as error:
            written = arrival.broken("error", f"{type(error).__name__}: {self._key.clean(str(error)):.200}")
        if self._tasks.pop(generation, None) is not None:
            self._ended.put((generation, written))

    async def _request(self, generation: Generation, arrival: Arrival) -> None:
        """Send a request, and retry if that may help."""
        key = branch_key(generation.parameters.seed, generation.branch)
        path, body = body_of(generation, self.model, self.continues, key)
        content = json.dumps(body | self._extra).encode()
        for attempt in range(self._retries + 1):
            again = await self._attempt(path, content, arrival)
            if again is None:
                return
            if arrival.begun:
                raise EndpointError(f"{again.message}, in the middle of an answer")
            pause = min(LONGEST_PAUSE, self._pause * 2**attempt) if again.after is None else again.after
            if attempt == self._retries:
                raise EndpointError(f"{again.message}, at all {attempt + 1} attempts")
            if pause > LONGEST_PAUSE:
                raise EndpointError(
                    f"{again.message}; it asks to wait {pause:.0f} s, more than the limit of {LONGEST_PAUSE:.0f} s"
                )
            await pause_for(pause)

    async def _attempt(self, path: str, content: bytes, arrival: Arrival) -> _Again | None:
        httpx = _httpx()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream("POST", f"{self.url}/{path}", content=content) as response,
            ):
                if response.status_code != 200:
                    return await self._refusal(response)
                await self._read(response, arrival)
        except (TimeoutError, httpx.TimeoutException):
            return None if arrival.done else _Again(f"no complete answer within {self._seconds:g} s")
        except httpx.TransportError as error:
            reason = self._key.clean(str(error))
            return None if arrival.done else _Again(f"no connection ({type(error).__name__}: {reason:.100})")
        return None

    async def _read(self, response: httpx.Response, arrival: Arrival) -> None:
        """Read events until the stream ends or the rest is irrelevant; the usage follows the last token."""
        limit = ReplyLimit(self._largest, "the answer")
        async with _chunks(response) as chunks:
            if "event-stream" not in response.headers.get("content-type", ""):
                arrival.take(self._key.clean_bytes(b"".join([limit.count(chunk) async for chunk in chunks])))
                return
            events = EventReader(limit)
            async for chunk in chunks:
                for data in events.feed(chunk):
                    arrival.take(self._key.clean_bytes(data))
                    if arrival.stopped:
                        return
                if events.done:
                    return

    async def _refusal(self, response: httpx.Response) -> _Again:
        """Read the body of a response with a status other than 200.

        Raises
        ------
        EndpointError
            If a retry would not help.
        """
        body = b""
        async with _chunks(response) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > 1 << 12:
                    break
        text = " ".join(self._key.clean_bytes(body)[:200].decode("utf-8", "replace").split())
        message = f"HTTP {response.status_code} {response.reason_phrase}: {text}"
        if response.status_code not in AGAIN:
            raise EndpointError(message)
        return _Again(message, _after(response.headers.get("retry-after"), response.headers.get("date")))


def _chunks(response: httpx.Response) -> aclosing[AsyncGenerator[bytes, None]]:
    """Yield the chunks of a response; close the response if the caller stops early."""
    return aclosing(cast("AsyncGenerator[bytes, None]", response.aiter_raw()))


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        raise NotInstalledError(f"endpoints need httpx: {install('httpx')}") from error
    return httpx


async def _others() -> None:
    """Wait until no other task runs in this loop."""
    await asyncio.sleep(0)  # calls from other threads may start tasks
    await asyncio.gather(*asyncio.all_tasks() - {asyncio.current_task()}, return_exceptions=True)


def _run(loop: asyncio.AbstractEventLoop, last: Coroutine[Any, Any, None]) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(last)
    loop.close()


def _after(header: str | None, date: str | None) -> float | None:
    """Return the delay of a Retry-After header in seconds; a date is taken relative to the endpoint's own date."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - parsedate_to_datetime(date or "")).total_seconds()
        except (ValueError, TypeError):  # not dates, or one of them without a time zone
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
