"""`/v1/completions`: texts go on; with `echo` and `logprobs` the prompt is scored too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Any

from intact.engine.completion import LOGPROB_SCALE, Completion
from intact.serve.admission import Ticket
from intact.serve.errors import ApiError
from intact.serve.generation import (
    HEEDED,
    Order,
    Service,
    admitted,
    apart,
    choices,
    heed,
    limited,
    pieces,
    sampling_of,
    write,
)
from intact.serve.models import Served
from intact.serve.replies import FINISH, head, receipt_of, usage
from intact.serve.requests import CompletionRequest
from intact.serve.sse import Frame
from intact.text import Tokenizer

LENGTH = 16
"""Tokens that are written where nobody says how many."""
Top = Sequence[tuple[int, int]]


@asynccontextmanager
async def _placed(
    service: Service, request: CompletionRequest, client: str
) -> AsyncIterator[tuple[Served, list[Order], Ticket]]:
    """A model, what it is to write, and a place at its gate."""
    heed(request.intact, HEEDED, "by /v1/completions")
    n, limit = choices(request, service.settings), LENGTH if request.max_tokens is None else request.max_tokens
    prompts = _prompts(request.prompt)
    if n * len(prompts) > service.settings.max_choices:
        most = service.settings.max_choices
        raise ApiError(400, f"{n} texts of {len(prompts)} prompts are more than {most}", "prompt")
    if request.best_of not in (None, n):
        raise ApiError(400, "best_of other than n is not supported; intact.method best_of_n is", "best_of")
    if limit == 0 and not request.echo:
        raise ApiError(400, "max_tokens may be 0 with echo alone", "max_tokens")
    limit = limited(limit or 1, service.settings, "max_tokens")  # 0 writes nothing
    parameters = sampling_of(request, limit, request.logprobs or 0)
    async with service.models.lease(request.model) as served:
        encode, own = partial(served.loaded.tokenizer.encode, most=served.loaded.context), request.intact
        orders = []
        for i, prompt in enumerate(prompts):
            where = f"prompt[{i}]" if len(prompts) > 1 else "prompt"
            ids = prompt if isinstance(prompt, list) else await apart(partial(encode, prompt), where)
            _check(ids, served, where)
            text = prompt if isinstance(prompt, str) else None
            orders.append(Order(ids, n, parameters, client, own.priority, own.id, None, own.receipt, text))
        async with admitted(served, orders, "prompt") as ticket:
            yield served, orders, ticket


def _prompts(prompt: str | list[str] | list[int] | list[list[int]]) -> Sequence[str | list[int]]:
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise ApiError(400, "there is no prompt", "prompt")
    if isinstance(prompt[0], int):
        return [prompt]
    return prompt


def _check(ids: list[int], served: Served, where: str) -> None:
    vocabulary = served.loaded.program.vocabulary
    for i, token in enumerate(ids):
        if not 0 <= token < vocabulary:
            raise ApiError(400, f"{where}: token {i} must lie in [0, {vocabulary}), got {token}", where)


async def answer(service: Service, request: CompletionRequest, client: str) -> dict[str, Any]:
    """All texts."""
    async with _placed(service, request, client) as (served, orders, ticket):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_texts(served, order, request)) for order in orders]
        texts = [text for task in tasks for text in task.result()]
        completions = [completion for completion, _ in texts]
        ticket.used = sum(len(order.prompt) for order in orders) + sum(len(one.tokens) for one in completions)
        first = head(served, "text_completion", request.model)
        if request.intact.receipt:
            service.receipts.add(client, first["id"], completions)
        return {
            **first,
            "choices": [{"index": index, **choice} for index, (_, choice) in enumerate(texts)],
            "usage": usage(orders, completions),
        }


async def _texts(served: Served, order: Order, request: CompletionRequest) -> list[tuple[Completion, dict[str, Any]]]:
    """What one prompt went on to, n times."""
    echoed = await _echo(served, order, request)
    if request.max_tokens == 0:
        completions = [_nothing(order)] * order.n
    else:
        completions = await write(served, order, request.logprobs is not None)
    choice = partial(_choice, served.loaded.tokenizer, order, request, echoed)
    return [(completion, choice(completion)) for completion in completions]


def _nothing(order: Order) -> Completion:
    return Completion("", (), (), "length", len(order.prompt))


def _choice(
    tokenizer: Tokenizer, order: Order, request: CompletionRequest, echoed: Scribe, completion: Completion
) -> dict[str, Any]:
    scribe = echoed.copy()
    scribe.add(completion.tokens, completion.logprobs or (), completion.top, completion.text)
    logprobs = scribe.logprobs() if request.logprobs is not None else None
    choice = {"text": scribe.text, "logprobs": logprobs, "finish_reason": FINISH[completion.finish]}
    return choice | receipt_of(order, completion)


async def chunks(service: Service, request: CompletionRequest, client: str) -> AsyncGenerator[dict[str, Any], None]:
    """Texts in pieces, a token each; one prompt after the other."""
    async with _placed(service, request, client) as (served, orders, ticket):
        first = head(served, "text_completion", request.model)
        with_usage = bool(request.stream_options and request.stream_options.include_usage)
        if with_usage:
            first["usage"] = None
        done: dict[int, Completion] = {}

        def chunk(index: int, text: str, logprobs: Any, finish: str | None = None) -> dict[str, Any]:
            choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
            return {**first, "choices": [choice]}

        def frame(index: int) -> Frame:
            return Frame(lambda text: chunk(index, text, None))

        ticket.used = 0
        for number, order in enumerate(orders):
            echoed = await _echo(served, order, request)
            scribes = [echoed.copy() for _ in range(order.n)]
            frames = [frame(number * order.n + sample) for sample in range(order.n)]
            for sample in range(order.n) if request.echo else ():
                logprobs = echoed.logprobs() if request.logprobs is not None else None
                yield chunk(number * order.n + sample, echoed.text, logprobs)
            if request.max_tokens == 0:
                for sample in range(order.n):
                    done[number * order.n + sample] = _nothing(order)
                    yield chunk(number * order.n + sample, "", None, "length")
                continue
            async with aclosing(pieces(served, order, request.logprobs is not None)) as coming:
                async for sample, piece in coming:
                    index = number * order.n + sample
                    if isinstance(piece, Completion):
                        done[index] = piece
                        last = chunk(index, "", None, FINISH[piece.finish])
                        last["choices"][0] |= receipt_of(order, piece)
                        yield last
                    elif request.logprobs is not None:
                        scribe = scribes[sample]
                        start = len(scribe.tokens)
                        scribe.add([piece.token], [piece.logprob], [piece.top], piece.text)
                        yield chunk(index, piece.text, scribe.logprobs(start))
                    elif piece.text:
                        yield frames[sample].with_text(piece.text)
            read = sum(len(one.prompt) for one in orders[: number + 1])
            ticket.used = read + sum(len(one.tokens) for one in done.values())
        completions = [done[index] for index in range(len(done))]
        if request.intact.receipt:
            service.receipts.add(client, first["id"], completions)
        if with_usage:
            yield {**first, "choices": [], "usage": usage(orders, completions)}


async def _echo(served: Served, order: Order, request: CompletionRequest) -> Scribe:
    """The prompt, if it is to be repeated, with its log-probabilities if these are asked for.

    A prompt that was given as text is repeated as it was given, without the tokens that were put around it.
    """
    tokenizer = served.loaded.tokenizer
    scribe = Scribe(tokenizer, request.logprobs or 0)
    if not request.echo:
        return scribe
    stream, shown = tokenizer.stream(skip_special=False, continuation=False), slice(None)
    if order.text is not None:
        before, after = tokenizer.around
        shown = slice(len(before), len(order.prompt) - len(after))
    logprobs: Sequence[int | None] = [None] * len(order.prompt)
    tops: Sequence[Top] = ()
    if request.logprobs is not None:
        values, likeliest = await served.loaded.ascores(order.prompt, request.logprobs)
        logprobs, tops = [None, *values.tolist()], [(), *likeliest] if likeliest else ()
    pieces = [""] * len(order.prompt)
    pieces[shown] = [stream.push(token) for token in order.prompt[shown]]
    text = "".join(pieces) + stream.flush() if order.text is None else order.text
    scribe.add(order.prompt, logprobs, tops, text, pieces)
    return scribe


class Scribe:
    """Notes a text with its tokens, as the older interface tells them.

    Parameters
    ----------
    top : int
        How many of the likeliest tokens are told; the token itself always is.
    """

    def __init__(self, tokenizer: Tokenizer, top: int) -> None:
        self._tokenizer, self._top, self._length = tokenizer, top, 0
        self._stream = tokenizer.stream()
        self.text = ""
        self.tokens: list[str] = []
        self._logprobs: list[float | None] = []
        self._tops: list[dict[str, float] | None] = []
        self._offsets: list[int] = []

    def copy(self) -> Scribe:
        """Another that goes on from here."""
        other = Scribe(self._tokenizer, self._top)
        other.text, other._length, other.tokens = self.text, len(self.text), list(self.tokens)
        other._logprobs, other._tops, other._offsets = list(self._logprobs), list(self._tops), list(self._offsets)
        return other

    def add(
        self,
        tokens: Sequence[int],
        logprobs: Sequence[int | None],
        tops: Sequence[Top] | None,
        text: str,
        pieces: Iterable[str] | None = None,
    ) -> None:
        """Note tokens, and the text that they make.

        A token's offset is the number of characters that are complete before it; `pieces` says what each adds to them,
        where it is not as in a text that goes on.
        """
        pieces = map(self._read, tokens) if pieces is None else pieces
        for i, (token, logprob, piece) in enumerate(zip(tokens, logprobs, pieces, strict=False)):
            self.tokens.append(self._spelt(token))
            self._logprobs.append(None if logprob is None else logprob / LOGPROB_SCALE)
            likeliest = {self._spelt(one): value / LOGPROB_SCALE for one, value in (tops[i] if tops else ())}
            if logprob is not None:
                likeliest.setdefault(self._spelt(token), logprob / LOGPROB_SCALE)
            self._tops.append(None if logprob is None else likeliest)
            self._offsets.append(self._length)
            self._length += len(piece)
        self.text += text

    def logprobs(self, start: int = 0) -> dict[str, Any]:
        """What was noted from a token on."""
        return {
            "tokens": self.tokens[start:],
            "token_logprobs": self._logprobs[start:],
            "top_logprobs": self._tops[start:],
            "text_offset": self._offsets[start:],
        }

    def _read(self, token: int) -> str:
        return self._stream.push(token) if token < self._tokenizer.size else ""

    def _spelt(self, token: int) -> str:
        """A token as text; one that is no text by itself by its bytes, so that no two are the same."""
        spelling = self._tokenizer.token_bytes(token) if token < self._tokenizer.size else b""
        try:
            return spelling.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelling)
