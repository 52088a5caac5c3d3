"""From a request to texts: its parameters checked, a place at the gate, the engine's pieces."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from intact.clock import read_time
from intact.engine.completion import Chunk, Completion
from intact.engine.sampling import constraints
from intact.engine.sampling.parameters import DEFINITIONS, SamplingParameters
from intact.errors import IntactError
from intact.serve import tracing
from intact.serve.admission import Ticket
from intact.serve.errors import ApiError, as_api_error
from intact.serve.kept import Kept
from intact.serve.metrics import Metrics
from intact.serve.models import Models, Served
from intact.serve.requests import ChatRequest, Extension, ResponseFormat, Sampled
from intact.serve.service import Threads
from intact.serve.settings import Settings
from intact.serve.tracing import Tracing

T = TypeVar("T")

FORESEEN = 512
"""Tokens of a text that are counted on where it may have more; the engine preempts when more become so long."""
METHODS = 8
"""Reasoning methods at work at a time."""
VERIFYING = 4
"""Receipts that are verified at a time."""
RECEIPTS = 64 << 20
"""Bytes of receipts that are kept to be fetched."""
HEEDED = frozenset({"receipt", "regex", "grammar", "priority", "deadline", "id"})
"""Fields of `intact` that matter to every text."""


@dataclass(eq=False)
class Service:
    """What all endpoints share.

    Attributes
    ----------
    tracing : Tracing or None
        Where traces go, if they are asked for.
    methods, verifying : Threads
        Where reasoning methods work; where receipts are verified.
    ending : bool
        Whether the server is about to end.
    """

    settings: Settings
    models: Models
    tracing: Tracing | None = None
    methods: Threads = field(default_factory=lambda: Threads(METHODS, "intact-method"))
    verifying: Threads = field(default_factory=lambda: Threads(VERIFYING, "intact-verify"))
    ending: bool = False

    def __post_init__(self) -> None:
        self.metrics = Metrics(self.models)
        self.receipts = Kept(RECEIPTS)


@dataclass(frozen=True)
class Order:
    """What is to be written: a prompt, how often, and how.

    Attributes
    ----------
    client : str
        Who asks, for fairness.
    constraint : str or None
        The field that says what the text must match.
    receipt : bool
        Whether texts come with a receipt.
    text : str or None
        The prompt as it was given, if that was as text: without what its tokens begin and end with beside it.
    """

    prompt: list[int]
    n: int
    parameters: SamplingParameters
    client: str
    priority: int = 0
    id: str | None = None
    constraint: str | None = None
    receipt: bool = False
    text: str | None = None


def heed(own: Extension, fields: Collection[str], who: str) -> None:
    """Refuse what would be passed over of the field `intact`: all that says something but `fields`.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    for name, known in Extension.model_fields.items():
        if name not in fields and getattr(own, name) != known.default:
            raise ApiError(400, f"intact.{name} cannot be heeded {who}", f"intact.{name}", "unsupported")


def sampling_of(
    request: Sampled, max_tokens: int, top_logprobs: int = 0, stops: Sequence[str] = (), **constraint: Any
) -> SamplingParameters:
    """A request's parameters of sampling, OpenAI's defaults where it says nothing: temperature 1, all tokens.

    Parameters
    ----------
    stops : sequence of str
        What ends a text beside the request's own stop strings.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    own = request.intact
    given: dict[str, Any] = {"temperature": 1.0}
    for name, definition in DEFINITIONS.items():
        form = request if definition.http == "body" else own
        if definition.http != "endpoint" and (value := getattr(form, name)) is not None:
            given[name] = value
    for name, value in constraint.items():
        if value is None:
            continue
        if name in given:
            where = f"intact.{name}"
            raise ApiError(400, f"{where} cannot be combined with calls that have a grammar", where, "unsupported")
        given[name] = value
    own_stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
    given["stop"] = (*own_stops, *stops)
    if request.logit_bias:
        given["logit_bias"] = {_token(name): bias for name, bias in request.logit_bias.items()}
    try:
        return SamplingParameters(max_tokens=max_tokens, top_logprobs=top_logprobs, **given)
    except IntactError as error:
        raise as_api_error(error, list(DEFINITIONS)) from error


def schema_of(format_: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema of a text that has to be JSON.

    Raises
    ------
    ApiError
        400, if there ought to be one.
    """
    if format_ is None or format_.type == "text":
        return None
    if format_.type == "json_object":
        return {"type": "object"}
    if format_.json_schema is None:
        where = "response_format.json_schema"
        raise ApiError(400, f"{where} is missing", where, "missing_field")
    return format_.json_schema.schema_


def _token(name: str) -> int:
    if not (name.isascii() and name.isdecimal() and len(name) < 10):
        raise ApiError(400, f"logit_bias must map token ids to numbers, got the token {name!r:.60}", "logit_bias")
    return int(name)


def limited(limit: int, settings: Settings, field: str) -> int:
    """A limit of tokens that the server allows.

    Raises
    ------
    ApiError
        400, if it is none.
    """
    if not 1 <= limit <= settings.max_tokens:
        raise ApiError(400, f"{field} must be an integer from 1 to {settings.max_tokens} here, got {limit}", field)
    return limit


def time_of(own: Extension) -> datetime | None:
    """The time that a chat template shall be told, if the request says it.

    Raises
    ------
    ApiError
        400, if it is none.
    """
    try:
        return None if own.now is None else read_time(own.now)
    except IntactError as error:
        raise as_api_error(error, (), "intact.now") from error


def limit_of(request: ChatRequest, settings: Settings) -> int | None:
    """The limit of tokens that a chat asks for, if it does; of OpenAI's two names the newer one goes first.

    Raises
    ------
    ApiError
        400, if it is none that the server allows.
    """
    field = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
    wanted: int | None = getattr(request, field)
    return None if wanted is None else limited(wanted, settings, field)


def choices(request: Sampled, settings: Settings) -> int:
    """How many texts are asked for."""
    n = request.n or 1
    if n > settings.max_choices:
        raise ApiError(400, f"n must be an integer from 1 to {settings.max_choices}, got {n}", "n")
    return n


async def prepared(served: Served, parameters: SamplingParameters, n: int, param: str | None) -> None:
    """Have a constraint of n texts compiled, outside the threads that everything else needs.

    Raises
    ------
    ApiError
        400, if it cannot be used.
    """
    if parameters.constraint is None:
        return
    model = served.loaded
    async with served.compiling:
        with tracing.span("compile constraint", intact__constraint=parameters.constraint.kind):
            await apart(lambda: constraints.compile(model.tokenizer, model.program.vocabulary, parameters, n), param)


async def apart(work: Callable[[], T], param: str | None = None) -> T:
    """Work that takes a while, in a thread; what it refuses is the client's error."""
    try:
        return await asyncio.to_thread(work)
    except IntactError as error:
        raise as_api_error(error, (), param) from error


@asynccontextmanager
async def admitted(served: Served, orders: Sequence[Order], texts: str) -> AsyncIterator[Ticket]:
    """Check what is asked for, and wait for its turn."""
    tokens, first, n = 0, orders[0], sum(order.n for order in orders)
    asked = tracing.requested(first.parameters, n, sum(len(order.prompt) for order in orders))
    kind = "chat" if texts == "messages" else "text_completion"
    with tracing.operation(kind, served.name, served.fingerprint, **asked):
        for order in orders:
            try:
                served.loaded.engine.check(order.prompt)
                order.parameters.check_tokens(served.loaded.program.vocabulary)
            except IntactError as error:
                raise as_api_error(error, ["logit_bias"], texts) from error
            await prepared(served, order.parameters, order.n, order.constraint)
            tokens += len(order.prompt) + order.n * min(order.parameters.max_tokens, FORESEEN)
        async with served.gate.enter(first.client, tokens, n, first.priority) as ticket:
            yield ticket


async def write(served: Served, order: Order, logprobs: bool) -> list[Completion]:
    """All texts of an order."""
    if tracing.here().recording:  # the same texts, but the first token is noticed
        done: dict[int, Completion] = {}
        async with aclosing(pieces(served, order, logprobs)) as coming:
            async for sample, piece in coming:
                if isinstance(piece, Completion):
                    done[sample] = piece
        return [done[sample] for sample in range(order.n)]
    ((completions),) = await served.loaded.agenerate(
        [order.prompt],
        order.n,
        logprobs=logprobs,
        ids=None if order.id is None else [order.id],
        priority=order.priority,
        receipt=order.receipt,
        on_error="return",
        **_fields(order.parameters),
    )
    for completion in completions:
        if completion.error is not None:
            raise as_api_error(completion.error)
    return completions


async def pieces(served: Served, order: Order, logprobs: bool) -> AsyncGenerator[tuple[int, Chunk | Completion], None]:
    """The same, piece by piece."""
    whole = tracing.here()
    with tracing.writing() as first:
        async with aclosing(
            served.loaded.asamples(
                order.prompt,
                order.n,
                logprobs=logprobs,
                id=order.id,
                priority=order.priority,
                receipt=order.receipt,
                **_fields(order.parameters),
            )
        ) as samples:
            async for sample, piece in samples:
                first()
                if isinstance(piece, Completion):
                    if piece.error is not None:
                        raise as_api_error(piece.error)
                    whole.wrote(piece)
                yield sample, piece


def _fields(parameters: SamplingParameters) -> Any:
    return {name: getattr(parameters, name) for name in DEFINITIONS}
