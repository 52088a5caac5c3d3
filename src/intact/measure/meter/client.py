"""Send requests to an endpoint within hard limits."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from intact._base import strict_json
from intact._base.errors import EndpointError, ParameterError
from intact._base.event_stream import EventReader, ReplyLimit
from intact._base.packages import check_installed
from intact.measure.meter.answers import EndpointAnswer
from intact.measure.meter.apis import APIS
from intact.measure.meter.apis.base import Api, Question
from intact.measure.meter.spending import Spending, clock
from intact.reason.backends.address import endpoint_address
from intact.reason.backends.openai import AGAIN
from intact.reason.backends.openai_key import KEY, Key

if TYPE_CHECKING:
    import httpx

LARGEST = 1 << 24
"""Maximum size of a response, in bytes."""
RETRIES = 3
_PAUSE = 1.0
"""Seconds between attempts."""


class MeterExchange(NamedTuple):
    """A request and its response, as JSON, and the answers in it."""

    request: Mapping[str, Any]
    response: Any
    answers: list[EndpointAnswer]


class MeteredEndpoint:
    """A connection to an endpoint.

    Parameters
    ----------
    url : str
        Address, with or without the ``/v1`` of the OpenAI API.
    spending : Spending
    api, model : str
        Names of the API and the model; empty to detect them.
    timeout : float
        Timeout per request, in seconds.
    key : str
        The environment variable that contains the API key, which never appears in results or errors.

    Raises
    ------
    ParameterError
        If the address or the API is invalid.
    NotInstalledError
        If httpx is missing.
    """

    def __init__(
        self,
        url: str,
        spending: Spending,
        *,
        api: str = "",
        model: str = "",
        timeout: float = 120.0,
        key: str = KEY,
    ) -> None:
        check_installed("intact meter", "httpx")
        import httpx

        if api and api not in APIS:
            raise ParameterError(f"--api must be one of {', '.join(APIS)}, got {api!r:.40}")
        self._http, self._key, self.address = httpx, Key(key), endpoint_address(url)
        self._wanted, self.model, self.spending, self._timeout = api, model, spending, timeout
        self.api: Api
        self.notes: list[str] = []
        """Fields that the endpoint rejected."""
        self.owner = ""
        """The engine's name, if its list of models states one."""
        self.dropped: set[str] = set()
        """Names of the fields that the endpoint rejected."""

    async def __aenter__(self) -> Self:
        self.spending.start()
        async with AsyncExitStack() as stack:
            limits = self._http.Limits(max_connections=None, max_keepalive_connections=None)
            secure = self.address.startswith("https")  # plain HTTP needs no certificates, which are slow to load
            self._client: httpx.AsyncClient = await stack.enter_async_context(
                self._http.AsyncClient(limits=limits, timeout=self._timeout, follow_redirects=False, verify=secure)
            )
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def plain_sampling(self) -> bool:
        """If true, requests state all settings of the sampler, so that its distribution is known."""
        return bool(self.api.filters) and not self.dropped & {*self.api.filters, "seed"}

    def clean(self, text: str) -> str:
        """Remove the key from a string."""
        return self._key.clean(text)

    async def find(self, wait: float) -> None:
        """Find the API and the model, waiting until the endpoint answers.

        Raises
        ------
        EndpointError
            If it does not within `wait` seconds, or lists no model.
        """
        end, pause = clock() + wait, 0.05
        while True:
            try:
                await self._find_once()
                return
            except self._http.TransportError as error:
                if clock() + pause > end:
                    reason = self._key.clean(str(error)) or type(error).__name__
                    raise EndpointError(f"{self.address} does not answer within {wait:g} s: {reason}") from None
            await asyncio.sleep(pause)
            pause = min(1.0, 2 * pause)

    async def _find_once(self) -> None:
        """Request the list of models through each API."""
        tried = []
        for name in [self._wanted] if self._wanted else APIS:
            api = APIS[name]()
            for base in self._bases(name):
                self._client.headers = self._http.Headers(api.headers(self._key.secret))
                response = await self._client.get(f"{base}/{api.models}")
                tried.append(f"{base}/{api.models}: HTTP {response.status_code}")
                if response.status_code == 503:
                    raise self._http.ConnectError("it is starting (HTTP 503)")
                if self._listed(api, base, response):
                    return
        raise EndpointError(
            f"no list of models at {self._key.clean('; '.join(tried))}"
            + ("" if self._wanted and self.model else "; name --api and --model if the endpoint has none")
        )

    def _bases(self, name: str) -> list[str]:
        plain = self.address.removesuffix("/v1")
        return [plain] if name == "ollama" else [self.address] if plain != self.address else [f"{plain}/v1", plain]

    def _listed(self, api: Api, base: str, response: httpx.Response) -> bool:
        """Take the API and the model from a response if it is a list of models; no list is needed if both are named."""
        model, owner = self.model, ""
        if response.status_code == 200:
            try:
                listing = strict_json.parse(response.content[:LARGEST], "the list of models", error=EndpointError)
                model = model or api.first_model(listing)
                owner = str((listing.get("data") or [{}])[0].get("owned_by") or api.name)
            except (EndpointError, LookupError, TypeError, AttributeError):
                return False
        elif response.status_code not in (404, 405) or not (self._wanted and self.model):
            return False
        self.api, self.model, self._base, self.owner = api, model, base, owner
        return True

    async def ask(self, question: Question) -> MeterExchange:
        """Send a request, retrying if the endpoint is busy, and read the answers.

        Raises
        ------
        EndpointError
            If the request is rejected or fails, or the response is not an answer.
        SpentError
            If a limit is reached.
        """
        for attempt in range(RETRIES + 1):
            body = self._body(question)
            reserved, read, written = self.spending.reserve(question), None, None
            try:
                async with asyncio.timeout(self.spending.left()):
                    status, content, events = await self._send(body)
                if status == 200:
                    response = self._parsed(content, events=events)
                    reading = self.api.read_events(response) if events else self.api.read(response)
                    read, written = reading.read, reading.written
                    if not reading.answers:
                        raise EndpointError("the response has no answers")
                    return MeterExchange(body, response, reading.answers)
                read = written = 0
                problem = f"HTTP {status}: {' '.join(content[:300].decode('utf-8', 'replace').split())}"
                if status in (400, 422) and self._drop(problem, body):
                    continue
                if status not in AGAIN:
                    raise EndpointError(problem)
            except TimeoutError:
                self.spending.left()  # raises if this was the end of the time
                problem = f"no whole answer within {self._timeout:g} s"
            except self._http.TransportError as error:
                problem = self._key.clean(str(error)) or type(error).__name__
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                if isinstance(error, EndpointError):
                    raise
                raise EndpointError(f"the response is no answer of this API: {error!r:.200}") from None
            finally:
                self.spending.settle(reserved, read, written)
            if attempt < RETRIES:
                await asyncio.sleep(_PAUSE)
        raise EndpointError(f"{problem}, at each of {RETRIES + 1} attempts")

    def _body(self, question: Question) -> dict[str, Any]:
        body = self.api.body(question, self.model)
        return {name: value for name, value in body.items() if name not in self.dropped}

    def _drop(self, problem: str, body: Mapping[str, Any]) -> bool:
        """Stop sending an optional field that a rejection names."""
        refused = [name for name in self.api.optional if name in body and name in problem]
        new = [name for name in refused if name not in self.dropped]
        self.notes += [f"the endpoint refuses {name}, which was left out" for name in new]
        self.dropped.update(new)
        if "logprobs" in new:
            self.dropped.add("top_logprobs")
        return bool(refused)

    async def _send(self, body: Mapping[str, Any]) -> tuple[int, bytes, bool]:
        """Return a response's status, its content without the key, and true if it is a stream of events."""
        async with asyncio.timeout(self._timeout):
            async with self._client.stream("POST", f"{self._base}/{self.api.path}", json=body) as response:
                limit = ReplyLimit(LARGEST, "the response")
                parts = [limit.count(part) async for part in response.aiter_bytes()]
        return response.status_code, self._key.clean_bytes(b"".join(parts)), bool(body.get("stream"))

    @staticmethod
    def _parsed(content: bytes, *, events: bool) -> Any:
        """Parse a response: an object, or the objects of an event stream (``data:`` lines, or plain JSON lines)."""
        if not events:
            return strict_json.parse(content, "the response", error=EndpointError)
        reader = EventReader(ReplyLimit(LARGEST, "the response"), json_lines=True)
        data = reader.feed(content) + reader.close()
        found = [strict_json.parse(one, "an event", error=EndpointError) for one in data]
        if not found:
            raise EndpointError(f"the response is no stream of events: {content[:80]!r}")
        return found
