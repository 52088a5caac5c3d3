"""The Python API of a loaded model: generate, stream, chat, score."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, TypeAlias, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.engine.completion import Chunk, Completion, Job, JobOptions
from intact.engine.mixes import check_partners
from intact.engine.model import prompt_id
from intact.engine.request import Mixing, StreamPrompt
from intact.engine.sampling.definitions import whole
from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.scoring import Scoring
from intact.engine.streaming import SampleStream
from intact.library.embedding import EmbeddingModel
from intact.library.options import GenerateOptions, RequestFields
from intact.library.prompts import Prompt, as_prompts, tokens_of
from intact.models.aspects.step import LOGIT_FRACTION
from intact.numerics.sampling import branch_key
from intact.receipts.decoding import Decoding, StreamSource
from intact.receipts.identity import digests_of
from intact.receipts.make import ChainRecorder, header_of
from intact.receipts.source import PromptSource
from intact.text import ChatPrompt
from intact.text.template import current, read_time

__all__ = ["Chunk", "Completion", "Model", "prompt_id"]

Likeliest: TypeAlias = tuple[tuple[int, int], ...]


class Model(EmbeddingModel):
    """A loaded model, created by `load`. Threads and coroutines may use it concurrently (docs/engine.md).

    Attributes
    ----------
    tokenizer : Tokenizer
        Converts text to tokens and back; has a `chat_template` if the model has one.
    program : Program
        Sequence of operations that computes a token.
    checkpoint : Checkpoint
        The file that the model was loaded from.
    context : int
        Maximum number of tokens in a prompt and its continuation.

    Examples
    --------
    Load a model once and use it from any number of threads::

        model = intact.load("smollm2-135m")
        ((answer,),) = model.generate("The sky is", max_tokens=16)
        print(answer.text)
    """

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        n: int = 1,
        *,
        ids: Sequence[str] | None = None,
        on_error: Literal["raise", "return"] = "raise",
        **options: Unpack[RequestFields],
    ) -> list[list[Completion]]:
        """Generate continuations of prompts.

        Parameters
        ----------
        prompts : str, list of int, ChatPrompt, or a list of these
            Texts (special tokens written in them are recognised), token ids, or messages for the chat template.
        n : int
            Number of samples per prompt, at most 1,048,576.
        ids : list of str, optional
            A name for each prompt. The draws depend on the seed, the name and the sample number. By default the name is
            a digest of the prompt's tokens, so draws never depend on the position in a batch.
        on_error : {'raise', 'return'}
            If a sample fails while running: raise its error once all other samples have ended, or return it as
            `Completion.error`.
        **options
            The fields of `SamplingParameters` (max_tokens, temperature, top_p, stop, seed, ...), of `ServiceFields`
            (logprobs, receipt, priority, draft), of `MixFields` (mix, shadow) and of `AdapterFields` (adapter).

        Returns
        -------
        list of list of Completion
            The n samples of each prompt.

        Raises
        ------
        ParameterError
            If a parameter is invalid, or a prompt is empty or too long; in that case nothing has run.
        CapacityError
            If the cap on the KV cache is too small for a sequence.
        """
        checked = GenerateOptions.of(options, n=n, ids=ids, on_error=on_error)
        jobs = self._jobs(as_prompts(prompts), checked)
        self.run(jobs)
        return _completions(jobs, checked)

    def stream(
        self,
        prompt: Prompt,
        *,
        id: str | None = None,  # noqa: A002
        **options: Unpack[RequestFields],
    ) -> Iterator[Chunk]:
        """Stream the first sample that `generate` would return for a prompt, chunk by chunk.

        Parameters are checked when this is called; leaving the iterator early ends the generation. Each chunk carries
        the log-probability of its token; if `logprobs` is true, a receipt contains them too.
        """
        chunks: deque[Chunk] = deque()

        def listen(_: int, chunk: Chunk | None) -> None:
            if chunk is not None:
                chunks.append(chunk)

        one = _for_one(options, "stream", "use generate")
        checked = GenerateOptions.of(one, ids=None if id is None else [id], listen=listen)
        return self._stream(self._jobs([prompt], checked), chunks, checked)

    def _stream(self, jobs: list[Job], chunks: deque[Chunk], options: GenerateOptions) -> Iterator[Chunk]:
        with self._submitted(jobs):
            while True:
                self._driver.run(lambda: bool(chunks) or jobs[0].done)
                if not chunks:
                    break
                yield chunks.popleft()
        _completions(jobs, options)

    async def agenerate(
        self,
        prompts: Prompt | Sequence[Prompt],
        n: int = 1,
        *,
        ids: Sequence[str] | None = None,
        on_error: Literal["raise", "return"] = "raise",
        **options: Unpack[RequestFields],
    ) -> list[list[Completion]]:
        """`generate` for coroutines: the engine runs in a thread; cancelling the task cancels the samples."""
        loop, finished = asyncio.get_running_loop(), asyncio.Event()
        remaining = 0

        def listen(_: int, chunk: Chunk | None) -> None:
            nonlocal remaining
            remaining -= chunk is None
            if not remaining:
                self._driver.notify(loop, finished.set)

        checked = GenerateOptions.of(options, n=n, ids=ids, on_error=on_error, listen=listen)
        # in a thread: tokenizing a long text or compiling a large constraint takes time
        jobs = await asyncio.to_thread(lambda: self._jobs(as_prompts(prompts), checked))
        remaining = len(jobs) * checked.n
        with self._posted(jobs):
            await finished.wait()
        return _completions(jobs, checked)

    async def astream(
        self,
        prompt: Prompt,
        *,
        id: str | None = None,  # noqa: A002
        **options: Unpack[RequestFields],
    ) -> AsyncIterator[Chunk]:
        """`stream` for coroutines. If the reader falls 64 chunks behind, the sample pauses until it catches up."""
        async with aclosing(self.asamples(prompt, id=id, **options)) as chunks:
            async for _, chunk in chunks:
                if isinstance(chunk, Chunk):
                    yield chunk
                elif chunk.error is not None:
                    raise chunk.error

    async def asamples(
        self,
        prompt: Prompt,
        n: int = 1,
        *,
        id: str | None = None,  # noqa: A002
        **options: Unpack[RequestFields],
    ) -> AsyncGenerator[tuple[int, Chunk | Completion], None]:
        """Stream n samples of one prompt, for coroutines: yield (sample number, chunk), each completion last.

        The order is deterministic, whatever order the engine draws tokens in: the first chunk of each sample, then the
        second of each unfinished sample, and so on. If a sample fails, its `Completion.error` is set. If the reader
        falls 64 chunks per sample behind, all samples pause until it catches up.
        """
        stream = SampleStream(self._driver)
        checked = GenerateOptions.of(options, n=n, ids=None if id is None else [id], listen=stream.listen)
        (job,) = await asyncio.to_thread(lambda: self._jobs([prompt], checked))
        stream.open(job.request, checked.n)
        live = list(range(checked.n))
        with self._posted([job]):
            while live:
                for sample in list(live):
                    chunk = await stream.read(sample)
                    if chunk is None:
                        live.remove(sample)
                        yield sample, _completion(job, sample, checked)
                    else:
                        yield sample, chunk

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        now: datetime | str | None = None,
        id: str | None = None,  # noqa: A002
        **options: Unpack[RequestFields],
    ) -> Completion:
        """Return the answer to a conversation.

        Parameters
        ----------
        messages : sequence of mappings
            The turns, each with `role` and `content`.
        now : datetime or str, optional
            The time for chat templates that include the date, such as "2026-11-20T17:45:00"; by default the current
            time.
        id : str, optional
            The prompt's name, which keys its draws, as in `ids` of `generate`.
        **options
            As in `generate`.

        Raises
        ------
        ParameterError
            If the model has no chat template, the template rejects the messages, or `n` is not 1.
        """
        prompt = _chat_prompt(messages, now)
        return self.generate(prompt, ids=None if id is None else [id], **_for_one(options))[0][0]

    def chat_stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        now: datetime | str | None = None,
        id: str | None = None,  # noqa: A002
        **options: Unpack[RequestFields],
    ) -> Iterator[Chunk]:
        """Stream the answer that `chat` would return, token by token."""
        return self.stream(_chat_prompt(messages, now), id=id, **_for_one(options))

    async def achat(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        now: datetime | str | None = None,
        id: str | None = None,  # noqa: A002
        **options: Unpack[RequestFields],
    ) -> Completion:
        """`chat` for coroutines; cancelling the task cancels the answer."""
        prompt, ids = _chat_prompt(messages, now), None if id is None else [id]
        return (await self.agenerate(prompt, ids=ids, **_for_one(options)))[0][0]

    def achat_stream(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        now: datetime | str | None = None,
        id: str | None = None,  # noqa: A002
        **options: Unpack[RequestFields],
    ) -> AsyncIterator[Chunk]:
        """`chat_stream` for coroutines: ``async for chunk in model.achat_stream(messages)``."""
        return self.astream(_chat_prompt(messages, now), id=id, **_for_one(options))

    @overload
    def logits(self, tokens: Prompt, raw: Literal[False] = False) -> NDArray[np.float32]: ...
    @overload
    def logits(self, tokens: Prompt, raw: Literal[True]) -> tuple[NDArray[np.int32], int]: ...
    def logits(self, tokens: Prompt, raw: bool = False) -> NDArray[np.float32] | tuple[NDArray[np.int32], int]:
        """Compute the logits after each token, (tokens, vocabulary).

        Unlike other calls, this one is not batched with other requests: they wait until the whole sequence has been
        processed, and the most recent of them lose cache pages if this call needs more. `logprobs`, in contrast, shares
        steps with them.

        Returns
        -------
        float32 array, or with `raw` the exact integers (int32) and their scale
            A logit is its integer divided by the scale, 65,536.
        """
        self.refuse_encoder()
        ids, step = self._text(tokens), self.executor.step if raw else self.executor.step_float
        with self._driver.lock:
            steps = self.engine.prefill(ids, adapter=self.adapter_number())
            rows = np.concatenate([step(*parts).copy() for parts in steps])
        return (rows, 1 << LOGIT_FRACTION) if raw else rows

    def logprobs(self, tokens: Prompt) -> NDArray[np.int64]:
        """Compute the log-probability of each token except the first, given the tokens before it.

        Returns
        -------
        int64 array, (tokens - 1,)
            Nats times 2^24.
        """
        scoring = self._scoring(tokens)
        self.run([scoring])
        return scoring.result()[0]

    async def ascores(self, tokens: Prompt, top_logprobs: int = 0) -> tuple[NDArray[np.int64], list[Likeliest]]:
        """`logprobs` for coroutines; also returns the likeliest tokens at each position, as in `Completion.top`.

        The request is batched with other running requests; cancelling the task ends it after the current step.
        """
        loop, finished = asyncio.get_running_loop(), asyncio.Event()
        scoring = await asyncio.to_thread(
            lambda: self._scoring(tokens, top_logprobs, lambda: self._driver.notify(loop, finished.set))
        )
        if not scoring.done:
            with self._posted([scoring]):
                await finished.wait()
        return scoring.result()

    def _scoring(self, tokens: Prompt, top: int = 0, listen: Callable[[], None] = lambda: None) -> Scoring:
        """Return a validated request for the log-probabilities of a sequence."""
        self.refuse_encoder()
        top = SamplingParameters(top_logprobs=top).top_logprobs
        scoring = Scoring(self._text(tokens), top, listen)
        if not scoring.done:
            self.engine.check(scoring.request.prompt)
        return scoring

    def _text(self, prompt: Prompt) -> list[int]:
        tokens = tokens_of(self, prompt, "the text")
        if not tokens:
            raise ParameterError("the text has no tokens to score")
        if len(tokens) > self.context:
            raise ParameterError(f"{len(tokens)} tokens exceed the context of {self.context}")
        return tokens

    def _jobs(self, prompts: Sequence[Prompt], options: GenerateOptions) -> list[Job]:
        """Return a validated job for each prompt."""
        self.refuse_encoder()
        several, parameters = len(prompts) > 1, options.parameters
        jobs = []
        for i, (prompt, shadow) in enumerate(zip(prompts, self._shadows(options, len(prompts)), strict=True)):
            tokens, source = self._read_prompt(prompt, f"prompt {i}" if several else "the prompt", options)
            name = options.name(i, tokens, len(prompts))
            keys = [branch_key(parameters.seed, (name, sample)) for sample in range(options.n)]
            passed: JobOptions = {"priority": options.priority, "draft": options.draft, "listen": options.listen}
            mixing, decoding = self._mixing(options, tokens, shadow)
            passed["mixing"] = mixing
            passed["recorder"] = self._recorder(options, tokens, name, source, decoding=decoding)
            try:
                jobs.append(self.job(tokens, parameters, keys, options.adapter, **passed))
            except ParameterError as error:
                if not several:
                    raise
                raise ParameterError(f"prompt {i}: {error}") from None
        return jobs

    def _read_prompt(
        self, prompt: Prompt, what: str, options: GenerateOptions
    ) -> tuple[list[int], PromptSource | None]:
        """Return a prompt's tokens, and their source if receipts are requested and the prompt is not token ids."""
        if options.hash is None:
            return tokens_of(self, prompt, what), None
        if isinstance(prompt, ChatPrompt):
            source = PromptSource.of_chat(prompt, self.tokenizer)
        elif isinstance(prompt, str | bytes):
            source = PromptSource.of_text(prompt)
        else:
            return tokens_of(self, prompt, what), None
        return source.encode(self.tokenizer, self.context), source

    def _shadows(self, options: GenerateOptions, count: int) -> Sequence[Prompt | None]:
        """Return the shadow prompt of each prompt."""
        if options.shadow is None:
            return [None] * count
        shadows = as_prompts(options.shadow)
        if len(shadows) != count:
            raise ParameterError(f"shadow must have one prompt for each of the {count}, got {len(shadows)}")
        return shadows

    def _mixing(
        self, options: GenerateOptions, tokens: list[int], shadow: Prompt | None
    ) -> tuple[Mixing | None, Decoding | None]:
        """Return the mix for a prompt's samples in two forms: for the engine, and for receipts if requested."""
        if options.chosen is None:
            return None, None
        check_partners(options.chosen, len(self.partners))
        streams, sources = [], []
        for number in options.chosen.models:
            if number:
                streams.append(StreamPrompt(number, np.array(tokens, np.int32)))
                if options.hash is not None:
                    sources.append(StreamSource(model=digests_of(self.partners[number - 1], options.hash)))
                continue
            assert shadow is not None
            read, source = self._read_prompt(shadow, "the shadow", options)
            streams.append(StreamPrompt(0, np.array(read, np.int32)))
            sources.append(StreamSource(tuple(read), source))
        decoding = Decoding.of(options.chosen, tuple(sources)) if options.hash is not None else None
        return Mixing(options.chosen, tuple(streams)), decoding

    def _recorder(
        self,
        options: GenerateOptions,
        tokens: list[int],
        name: str,
        source: PromptSource | None,
        decoding: Decoding | None,
    ) -> ChainRecorder | None:
        """Return the recorder that creates the receipts of a prompt's samples; None if receipts are not requested."""
        if options.hash is None:
            return None
        variant = self.variant(options.adapter)
        first = header_of(
            variant, tuple(tokens), options.parameters, (name, 0), source=source, hash=options.hash, decoding=decoding
        )
        return ChainRecorder(
            lambda sample: replace(first, request=replace(first.request, branch=(name, sample))), options.logprobs
        )


def _chat_prompt(messages: Sequence[Mapping[str, Any]], now: datetime | str | None) -> ChatPrompt:
    return ChatPrompt(messages, now=current() if now is None else read_time(now))


def _for_one(options: RequestFields, call: str = "chat", several: str = "pass generate a ChatPrompt") -> RequestFields:
    """Return the options for a single answer, dropping `n`, which type checkers reject but callers may still pass."""
    others: dict[str, Any] = dict(options)
    if "tools" in others:
        raise ParameterError("tools are part of the prompt: pass generate a ChatPrompt(messages, {'tools': [...]})")
    if "ids" in others:
        raise ParameterError(f"{call} gives one answer, but ids names several: use id")
    if whole(n := others.pop("n", 1)) != 1:
        raise ParameterError(f"{call} gives one answer, got n={n!r:.60}: {several} for several answers")
    return cast(RequestFields, others)


def _completions(jobs: Sequence[Job], options: GenerateOptions) -> list[list[Completion]]:
    completions = [[_completion(job, i, options) for i in range(options.n)] for job in jobs]
    errors = [c.error for several in completions for c in several if c.error is not None]
    if errors and options.on_error == "raise":
        raise errors[0]
    return completions


def _completion(job: Job, sample: int, options: GenerateOptions) -> Completion:
    return replace(job.completion(sample, options.logprobs), seed=options.parameters.seed)
