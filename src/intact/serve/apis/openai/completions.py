"""`/v1/completions`: continue prompts, or fill in text before a suffix; with `echo`, score the prompt too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from fastapi import APIRouter

from intact.engine.completion import Chunk, Completion
from intact.numerics.sampling import LOGPROB_SCALE
from intact.serve import methods
from intact.serve.admission import Admission
from intact.serve.errors import ApiError
from intact.serve.forms import FormRoute
from intact.serve.generation import FINISH, TextJob, admitted, each_prompt, encode_text, stream, usage, write
from intact.serve.listing import TokenListing, tokens_of
from intact.serve.mixes import each_shadow
from intact.serve.models import Served
from intact.serve.replies import CancellableResponse, ChunkTemplate, EventStream, JsonReply, as_events, head
from intact.serve.requests import MIX, MIX_FIELDS, SHADOW, TEXT_FIELDS, CompletionRequest, check_limit, with_seed
from intact.serve.service import Client, Service, TheService
from intact.text import Tokenizer

LENGTH = 16
"""Default maximum number of tokens per completion."""
Top = Sequence[tuple[int, int]]

router = APIRouter(route_class=FormRoute)


@router.post("/v1/completions")
async def text_completions(body: CompletionRequest, service: TheService, client: Client) -> CancellableResponse:
    """Continue prompts."""
    seconds = service.seconds(body.intact.deadline)
    if body.stream:
        return EventStream(as_events(chunks(service, body, client)), seconds)
    return JsonReply(lambda: answer(service, body, client), seconds)


@asynccontextmanager
async def _admitted(
    service: Service, request: CompletionRequest, client: str
) -> AsyncIterator[tuple[Served, list[TextJob], Admission]]:
    """Validate a request, lease its model, and wait for admission."""
    own = request.intact
    own.accept_only(TEXT_FIELDS | MIX_FIELDS, "on /v1/completions")
    if request.model not in service.models.names and methods.split(request.model)[1] is not None:
        raise ApiError(400, "methods answer conversations: use /v1/chat/completions", "model", "unsupported")
    mix = own.chosen_mix()
    n, most = request.choices(service.settings), service.settings.max_choices
    limit = LENGTH if request.max_tokens is None else request.max_tokens
    prompts = each_prompt(request.prompt)
    if n * len(prompts) > most:
        raise ApiError(400, f"{n} texts for each of {len(prompts)} prompts exceed the limit of {most}", "prompt")
    if request.best_of not in (None, n):
        raise ApiError(400, "best_of must equal n; use intact.method best_of_n instead", "best_of")
    if limit == 0 and not request.echo:
        raise ApiError(400, "max_tokens may be 0 only with echo", "max_tokens")
    if request.echo and request.suffix is not None:
        raise ApiError(400, "echo cannot be combined with suffix", "echo", "unsupported")
    if request.echo and mix is not None:
        raise ApiError(400, f"{MIX} cannot be combined with echo: a prompt is not sampled", MIX, "unsupported")
    shadows = each_shadow(own, len(prompts))
    limit = check_limit(limit or 1, service.settings, "max_tokens")  # with 0 nothing is generated
    parameters = with_seed(request, service.settings).sampling(limit, request.logprobs or 0)
    async with service.models.lease(request.model) as leased:
        served, jobs = leased.mixing(mix), []
        for i, (prompt, shadow) in enumerate(zip(prompts, shadows, strict=True)):
            where = f"prompt[{i}]" if len(prompts) > 1 else "prompt"
            ids = await encode_text(served, prompt, request.suffix, where)
            shadow_ids = None if shadow is None else await encode_text(served, shadow, request.suffix, SHADOW)
            text = prompt if isinstance(prompt, str) else None
            jobs.append(TextJob(ids, n, parameters, client, own=own, text=text, shadow=shadow_ids))
        async with admitted(served, jobs, "text_completion", "prompt") as admission:
            yield served, jobs, admission


async def answer(service: Service, request: CompletionRequest, client: str) -> dict[str, Any]:
    """Return all completions."""
    async with _admitted(service, request, client) as (served, jobs, admission):
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_texts(served, job, request)) for job in jobs]
        texts = [text for task in tasks for text in task.result()]
        completions = [completion for completion, _ in texts]
        counts = usage(jobs, completions)
        admission.used = counts["total_tokens"]
        first = head("text_completion", request.model, served.fingerprint, jobs[0].parameters.seed)
        if request.intact.receipt:
            service.receipts.add(client, first["id"], completions)
        choices = [{"index": index, **choice} for index, (_, choice) in enumerate(texts)]
        return {**first, "choices": choices, "usage": counts}


async def _texts(served: Served, job: TextJob, request: CompletionRequest) -> list[tuple[Completion, dict[str, Any]]]:
    """Return the completions of one prompt, each with its choice."""
    echo, found = await _echo(served, job, request), []
    with_logprobs = request.logprobs is not None
    completions = [_empty(job)] * job.n if request.max_tokens == 0 else await write(served, job, with_logprobs)
    for completion in completions:
        text = echo.copy()
        if with_logprobs:
            text.add_drawn(tokens_of(served.loaded.tokenizer, completion))
        text.text += completion.text
        logprobs = text.logprobs() if with_logprobs else None
        choice = {"text": text.text, "logprobs": logprobs, "finish_reason": FINISH[completion.finish]}
        found.append((completion, choice | job.receipt(completion)))
    return found


def _empty(job: TextJob) -> Completion:
    return Completion("", (), (), "length", prompt_tokens=len(job.prompt))


async def chunks(service: Service, request: CompletionRequest, client: str) -> AsyncGenerator[dict[str, Any], None]:
    """Yield completions in chunks, one prompt after another."""
    async with _admitted(service, request, client) as (served, jobs, admission):
        first = head("text_completion", request.model, served.fingerprint, jobs[0].parameters.seed)
        done = dict[int, Completion]()
        if request.usage_wanted:
            first["usage"] = None

        def chunk(index: int, text: str, logprobs: Any, finish: str | None = None) -> dict[str, Any]:
            choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
            return {**first, "choices": [choice]}

        def template(index: int) -> ChunkTemplate:
            return ChunkTemplate(lambda text: chunk(index, text, None))

        admission.used = 0
        for number, job in enumerate(jobs):
            echo, base = await _echo(served, job, request), number * job.n
            texts = [echo.copy() for _ in range(job.n)]
            templates = [template(base + sample) for sample in range(job.n)]
            listings = [TokenListing(served.loaded.tokenizer) for _ in texts]
            for sample in range(job.n) if request.echo else ():
                logprobs = echo.logprobs() if request.logprobs is not None else None
                yield chunk(base + sample, echo.text, logprobs)
            if request.max_tokens == 0:
                for sample in range(job.n):
                    done[base + sample] = _empty(job)
                    yield chunk(base + sample, "", None, "length")
                continue
            async with aclosing(stream(served, job, request.logprobs is not None)) as parts:
                async for sample, part in parts:
                    logprobs, text = None, texts[sample]
                    if request.logprobs is not None:
                        listing, start = listings[sample], len(text)
                        text.add_drawn(listing.end(part) if isinstance(part, Completion) else listing.push(part))
                        logprobs = text.logprobs(start) if len(text) > start else None
                    if isinstance(part, Completion):
                        done[base + sample] = part
                        last = chunk(base + sample, "", logprobs, FINISH[part.finish])
                        last["choices"][0] |= job.receipt(part)
                        yield last
                    elif logprobs is not None:
                        yield chunk(base + sample, part.text, logprobs)
                    elif part.text:
                        yield templates[sample].with_text(part.text)
            admission.used = usage(jobs[: number + 1], list(done.values()))["total_tokens"]
        completions = [done[index] for index in range(len(done))]
        if request.intact.receipt:
            service.receipts.add(client, first["id"], completions)
        if request.usage_wanted:
            yield {**first, "choices": [], "usage": usage(jobs, completions)}


async def _echo(served: Served, job: TextJob, request: CompletionRequest) -> TextLogprobs:
    """Return the prompt if it is to be echoed, with its log-probabilities if requested.

    A prompt given as text is echoed verbatim, without the special tokens around it.
    """
    tokenizer = served.loaded.tokenizer
    echo = TextLogprobs(tokenizer)
    if not request.echo:
        return echo
    decoder, inner = tokenizer.stream(skip_special=False, continuation=False), slice(None)
    if job.text is not None:
        before, after = tokenizer.around
        inner = slice(len(before), len(job.prompt) - len(after))
    logprobs: Sequence[int | None] = [None] * len(job.prompt)
    tops: Sequence[Top] = ()
    if request.logprobs is not None:
        values, likeliest = await served.loaded.ascores(job.prompt, request.logprobs)
        logprobs, tops = [None, *values.tolist()], [(), *likeliest] if likeliest else ()
    parts = [""] * len(job.prompt)
    parts[inner] = [decoder.push(token) for token in job.prompt[inner]]
    text = "".join(parts) + decoder.flush() if job.text is None else job.text
    echo.add(job.prompt, logprobs, tops, text, parts=parts)
    return echo


class TextLogprobs:
    """A completion with its tokens' log-probabilities, in the format of this older API."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer, self._length, self._stream = tokenizer, 0, tokenizer.stream()
        self.text = ""
        self._fields: dict[str, list[Any]] = {
            name: [] for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset")
        }

    def __len__(self) -> int:
        return len(self._fields["tokens"])

    def copy(self) -> TextLogprobs:
        """Return a copy that can be extended independently."""
        other = TextLogprobs(self._tokenizer)
        other.text, other._length = self.text, len(self.text)
        other._fields = {name: list(values) for name, values in self._fields.items()}
        return other

    def add(
        self,
        tokens: Sequence[int],
        logprobs: Sequence[int | None],
        tops: Sequence[Top] | None,
        text: str,
        parts: Iterable[str] | None = None,
    ) -> None:
        """Append tokens and their text.

        A token's offset is the number of complete characters before it; `parts` are the tokens' strings, by default as
        they appear in a continuation.
        """
        parts = map(self._read, tokens) if parts is None else parts
        for i, (token, logprob, part) in enumerate(zip(tokens, logprobs, parts, strict=False)):
            likeliest = {self._spelling(one): value / LOGPROB_SCALE for one, value in (tops[i] if tops else ())}
            if logprob is not None:
                likeliest.setdefault(self._spelling(token), logprob / LOGPROB_SCALE)
            entry = (
                self._spelling(token),
                None if logprob is None else logprob / LOGPROB_SCALE,
                None if logprob is None else likeliest,
                self._length,
            )
            for values, value in zip(self._fields.values(), entry, strict=True):
                values.append(value)
            self._length += len(part)
        self.text += text

    def add_drawn(self, chunks: Sequence[Chunk]) -> None:
        """Append sampled tokens; their text is added separately."""
        self.add([one.token for one in chunks], [one.logprob for one in chunks], [one.top for one in chunks], "")

    def logprobs(self, start: int = 0) -> dict[str, Any]:
        """Return the field `logprobs`, starting at a token."""
        return {name: values[start:] for name, values in self._fields.items()}

    def _read(self, token: int) -> str:
        return self._stream.push(token) if token < self._tokenizer.size else ""

    def _spelling(self, token: int) -> str:
        """Return a token as text; tokens that are not valid text are spelled as bytes, so that all are distinct."""
        spelling = self._tokenizer.token_bytes(token) if token < self._tokenizer.size else b""
        try:
            return spelling.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelling)
