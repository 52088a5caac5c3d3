"""The library's face: load a model, generate, stream, chat, score."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

from intact.catalogue import DEFAULT, resolve
from intact.clock import current, read_time
from intact.engine.completion import LOGPROB_SCALE, Chunk, Completion
from intact.engine.draft.drafting import check_drafter, make_drafting
from intact.engine.driver import EngineDriver
from intact.engine.engine import DEFAULT_CHUNK, DEFAULT_ROWS, Engine
from intact.engine.job import Job, Listener, Recorder
from intact.engine.sampling.definitions import check_unicode, integer, whole
from intact.engine.sampling.parameters import SamplingFields, SamplingParameters
from intact.engine.scoring import Scoring
from intact.engine.sequence import Request
from intact.errors import ModelError, ParameterError
from intact.executors.base import LOGIT_FRACTION, PROFILES, Executor, Profile
from intact.formats import Checkpoint, open_checkpoint
from intact.memory import usable
from intact.models import Program, build_program
from intact.numerics import VERSION
from intact.numerics.sampling import branch_key
from intact.receipts.canonical import HashName
from intact.receipts.make import ChainRecorder, header_of, wanted_hash
from intact.receipts.request import PromptSource
from intact.text import Conversation, Tokenizer

__all__ = ["LOGPROB_SCALE", "Chunk", "Completion", "Model", "load", "prompt_id"]

Prompt: TypeAlias = str | Sequence[int] | Conversation
Likeliest: TypeAlias = tuple[tuple[int, int], ...]
MOST_SAMPLES = 1 << 20  # of a prompt: the keys of all their draws are made first
UNREAD = 64  # pieces of an asynchronous stream that may wait for their reader before its samples pause


class Model:
    """A loaded model. Made by `load`; several threads and coroutines may use it at once (docs/engine.md).

    Attributes
    ----------
    tokenizer : Tokenizer
        Text to tokens and back; its `chat_template` if the model has one.
    program : Program
        The operations that a token passes through.
    checkpoint : Checkpoint
        The file that it came from.
    context : int
        The most tokens of a prompt and its continuation.
    """

    def __init__(self, checkpoint: Checkpoint, program: Program, tokenizer: Tokenizer, engine: Engine) -> None:
        self.path = checkpoint.path
        self.program, self.executor, self.tokenizer, self.engine = program, engine.executor, tokenizer, engine
        self.context = program.context
        self.checkpoint = checkpoint
        self._driver = EngineDriver(engine)

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        n: int = 1,
        *,
        logprobs: bool = False,
        ids: Sequence[str] | None = None,
        priority: int = 0,
        draft: bool = True,
        receipt: bool | HashName = False,
        on_error: Literal["raise", "return"] = "raise",
        **sampling: Unpack[SamplingFields],
    ) -> list[list[Completion]]:
        """Continue prompts.

        Parameters
        ----------
        prompts : str, list of int, Conversation, or a list of these
            Texts (special tokens written in them count as such), token ids, or messages for the chat template.
        n : int
            Samples of each prompt, 1,048,576 at most.
        logprobs : bool
            Whether completions carry the log-probabilities of their tokens.
        ids : list of str, optional
            A name for each prompt; the draws depend on seed, name and sample number. By default a digest of the
            prompt's tokens, so that they never depend on a place in a batch.
        priority : int
            From -8 to 8: how soon, beside what others ask of the same model at the same time.
        draft : bool
            Whether the model's drafter may guess ahead. Like `priority`, it changes no token.
        receipt : bool, 'sha256' or 'blake3'
            Whether completions carry a receipt, by which others can verify them (docs/receipts.md); True: by SHA-256.
            The first one of a model reads its weights again, to digest them.
        on_error : {'raise', 'return'}
            What to do where one sample fails while running: raise its error once all others have ended, or return it
            as `Completion.error`.
        **sampling
            The fields of `SamplingParameters`: max_tokens, temperature, top_p, stop, seed, ...

        Returns
        -------
        list of list of Completion
            For each prompt its n samples.

        Raises
        ------
        ParameterError
            If a parameter is impossible, or a prompt is empty or too long; nothing has run then.
        CapacityError
            If the KV cache's cap is too small for a sequence.
        """
        _check_on_error(on_error)
        asked = _Receipts(wanted_hash(receipt), logprobs)
        jobs = self._asked(self._prompts(prompts), n, _parameters(sampling), ids, priority, draft, None, asked)
        self.run(jobs)
        return _completions(jobs, n, logprobs, on_error)

    def stream(
        self,
        prompt: Prompt,
        *,
        logprobs: bool = False,
        id: str | None = None,  # noqa: A002
        priority: int = 0,
        draft: bool = True,
        receipt: bool | HashName = False,
        **sampling: Unpack[SamplingFields],
    ) -> Iterator[Chunk]:
        """Continue one prompt token by token: the first sample that `generate` would give, piece by piece.

        Parameters are checked when this is called; leaving the iterator early ends the generation. Each piece carries
        its log-probability; `logprobs` says whether a receipt does.
        """
        pieces: deque[Chunk] = deque()
        parameters, ids = _parameters(sampling), None if id is None else [id]
        asked = _Receipts(wanted_hash(receipt), logprobs)

        def listen(_: int, piece: Chunk | None) -> None:
            if piece is not None:
                pieces.append(piece)

        jobs = self._asked([prompt], 1, parameters, ids, priority, draft, listen, asked)
        return self._stream(jobs, pieces)

    def _stream(self, jobs: list[Job], pieces: deque[Chunk]) -> Iterator[Chunk]:
        with self._submitted(jobs):
            while True:
                self._driver.run(lambda: bool(pieces) or jobs[0].done)
                if not pieces:
                    break
                yield pieces.popleft()
        _completions(jobs, 1, False, "raise")

    async def agenerate(
        self,
        prompts: Prompt | Sequence[Prompt],
        n: int = 1,
        *,
        logprobs: bool = False,
        ids: Sequence[str] | None = None,
        priority: int = 0,
        draft: bool = True,
        receipt: bool | HashName = False,
        on_error: Literal["raise", "return"] = "raise",
        **sampling: Unpack[SamplingFields],
    ) -> list[list[Completion]]:
        """`generate` for coroutines: the engine runs in a thread; cancelling the task cancels the samples."""
        _check_on_error(on_error)
        loop, finished = asyncio.get_running_loop(), asyncio.Event()
        left = 0

        def listen(_: int, piece: Chunk | None) -> None:
            nonlocal left
            left -= piece is None
            if not left:
                self._driver.tell(loop, finished.set)

        parameters, asked = _parameters(sampling), _Receipts(wanted_hash(receipt), logprobs)
        jobs = await asyncio.to_thread(  # a long text and a large constraint take their time
            lambda: self._asked(self._prompts(prompts), n, parameters, ids, priority, draft, listen, asked)
        )
        left = len(jobs) * n
        with self._posted(jobs):
            await finished.wait()
        return _completions(jobs, n, logprobs, on_error)

    async def astream(
        self,
        prompt: Prompt,
        *,
        logprobs: bool = False,
        id: str | None = None,  # noqa: A002
        priority: int = 0,
        draft: bool = True,
        receipt: bool | HashName = False,
        **sampling: Unpack[SamplingFields],
    ) -> AsyncIterator[Chunk]:
        """`stream` for coroutines. A reader who falls `UNREAD` pieces behind pauses the sample until it catches up."""
        samples = self.asamples(
            prompt, logprobs=logprobs, id=id, priority=priority, draft=draft, receipt=receipt, **sampling
        )
        async with aclosing(samples) as pieces:
            async for _, piece in pieces:
                if isinstance(piece, Chunk):
                    yield piece
                elif piece.error is not None:
                    raise piece.error

    async def asamples(
        self,
        prompt: Prompt,
        n: int = 1,
        *,
        logprobs: bool = False,
        id: str | None = None,  # noqa: A002
        priority: int = 0,
        draft: bool = True,
        receipt: bool | HashName = False,
        **sampling: Unpack[SamplingFields],
    ) -> AsyncGenerator[tuple[int, Chunk | Completion], None]:
        """Continue one prompt n times, for coroutines: each sample's number and piece, last its completion.

        The order is part of the result: the first token of each sample, the second of each that goes on, and so forth,
        whichever the engine drew before. A failure is its sample's `Completion.error`. A reader who falls behind by
        `UNREAD` pieces a sample pauses all of them until it catches up.
        """
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        pieces: list[deque[Chunk | None]] = []
        told = read = 0  # each written by one side alone: the engine's thread, and the loop's
        hungry = called = False  # the reader waits; it has been called, and has not come yet

        def wake() -> None:
            nonlocal called
            called = False
            if not woken.done():
                woken.set_result(None)

        def listen(sample: int, piece: Chunk | None) -> None:
            nonlocal told, called
            pieces[sample].append(piece)
            told += 1
            request.paused = told - read >= UNREAD * n
            if hungry:  # now, or since the line before: another of the samples may be the one it waits for
                request.paused = False
            if not called:
                called = True
                self._driver.tell(loop, wake)

        parameters, ids = _parameters(sampling), None if id is None else [id]
        asked = _Receipts(wanted_hash(receipt), logprobs)
        (job,) = await asyncio.to_thread(
            lambda: self._asked([prompt], n, parameters, ids, priority, draft, listen, asked)
        )
        request = job.request
        pieces += [deque() for _ in range(n)]
        live = list(range(n))
        with self._posted([job]):
            while live:
                for sample in list(live):
                    while not pieces[sample]:
                        woken = loop.create_future()
                        hungry = True
                        if request.paused:
                            request.paused = False
                            self._driver.post(lambda: None)
                        if not pieces[sample]:
                            await woken
                        hungry = False
                    piece = pieces[sample].popleft()
                    read += 1
                    if request.paused and told - read <= UNREAD * n // 2:
                        request.paused = False
                        self._driver.post(lambda: None)
                    if piece is None:
                        live.remove(sample)
                        yield sample, job.completion(sample, logprobs)
                    else:
                        yield sample, piece

    def chat(
        self, messages: Sequence[Mapping[str, Any]], *, now: datetime | str | None = None, **parameters: Any
    ) -> Completion:
        """Answer a conversation: `messages` are mappings with `role` and `content`; other parameters as in `generate`.

        Parameters
        ----------
        now : datetime or str, optional
            The time that a chat template is told which writes the date, such as "2026-11-20T17:45:00"; by default the
            clock's.

        Raises
        ------
        ParameterError
            If the model has no chat template, or the template refuses the messages; if several answers are asked for.
        """
        return self.generate(_conversation(messages, now), **_for_one(parameters))[0][0]

    def chat_stream(
        self, messages: Sequence[Mapping[str, Any]], *, now: datetime | str | None = None, **parameters: Any
    ) -> Iterator[Chunk]:
        """`chat`, token by token."""
        return self.stream(_conversation(messages, now), **_for_one(parameters))

    @contextmanager
    def exclusive(self) -> Iterator[Engine]:
        """The engine for this thread alone, to run its steps oneself (docs/engine.md); they serve all requests."""
        with self._driver.turn:
            yield self.engine

    @overload
    def logits(self, tokens: Prompt, raw: Literal[False] = False) -> NDArray[np.float32]: ...
    @overload
    def logits(self, tokens: Prompt, raw: Literal[True]) -> tuple[NDArray[np.int32], int]: ...
    def logits(self, tokens: Prompt, raw: bool = False) -> NDArray[np.float32] | tuple[NDArray[np.int32], int]:
        """Logits after each token, (tokens, vocabulary).

        Unlike all else it shares no steps: others wait until the whole text is through, and the youngest of them give
        their pages where it needs more. `logprobs` runs beside them.

        Returns
        -------
        float32 array, or with `raw` the exact integers (int32) and their scale
            A logit is its integer divided by the scale, 65,536.
        """
        ids, step = self._text(tokens), self.executor.step if raw else self.executor.step_float
        with self._driver.turn:
            rows = np.concatenate([step(*parts).copy() for parts in self.engine.prefill(ids)])
        return (rows, 1 << LOGIT_FRACTION) if raw else rows

    def logprobs(self, tokens: Prompt) -> NDArray[np.int64]:
        """Log-probability of each token but the first, given those before it: int64 (tokens - 1,), nats times 2^24."""
        scoring = self._scoring(tokens)
        self.run([scoring])
        return scoring.result()[0]

    async def ascores(self, tokens: Prompt, top_logprobs: int = 0) -> tuple[NDArray[np.int64], list[Likeliest]]:
        """`logprobs` for coroutines, and the likeliest tokens at the place of each, as in `Completion.top`.

        The text shares steps with whatever else runs; cancelling the task ends it after the one at hand.
        """
        loop, finished = asyncio.get_running_loop(), asyncio.Event()
        scoring = await asyncio.to_thread(
            lambda: self._scoring(tokens, top_logprobs, lambda: self._driver.tell(loop, finished.set))
        )
        if not scoring.done:
            with self._posted([scoring]):
                await finished.wait()
        return scoring.result()

    def _scoring(self, tokens: Prompt, top: int = 0, listen: Callable[[], None] = lambda: None) -> Scoring:
        """What scores a text, checked."""
        top = SamplingParameters(top_logprobs=top).top_logprobs
        scoring = Scoring(self._text(tokens), top, listen)
        if not scoring.done:
            self.engine.check(scoring.request.prompt)
        return scoring

    def info(self) -> dict[str, Any]:
        """What the model is and how it runs."""
        kinds: dict[str, int] = {}
        for tensor in self.program.tensors.values():
            kinds[tensor.kind] = kinds.get(tensor.kind, 0) + 1
        return {
            "path": str(self.path),
            "architecture": self.program.architecture,
            "layers": self.program.layers,
            "context": self.context,
            "vocabulary": self.program.vocabulary,
            "tensors": dict(sorted(kinds.items())),
            "file_bytes": sum(tensor.data.nbytes for tensor in self.program.tensors.values()),
            "profile": self.executor.profile,
            "numerics": VERSION,
            **self.executor.description,
        }

    def close(self) -> None:
        """Give the checkpoint's map back."""
        self.checkpoint.close()

    def __repr__(self) -> str:
        return f"Model({self.path.name!r}, {self.program.architecture}, {self.executor.profile})"

    def _prompts(self, prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
        if isinstance(prompts, str | bytes | Conversation):
            return [prompts]
        many = list(_sequence(prompts, "prompts"))
        if not many:
            raise ParameterError("there is no prompt: give a text, token ids, or a list of these")
        each = [isinstance(item, str | bytes | Conversation) or _is_sequence(item) for item in many]
        if any(each) and not all(each):
            item = many[each.index(False)]
            raise ParameterError(
                f"prompts mixes prompts with other things, such as {item!r:.60}: "
                "give a text, token ids, or a list of these"
            )
        return many if any(each) else [many]

    def _tokens(self, prompt: Prompt, what: str) -> list[int]:
        if isinstance(prompt, str | bytes):
            return self.tokenizer.encode(prompt, most=self.context)
        if isinstance(prompt, Conversation):
            return prompt.encode(self.tokenizer, self.context)
        tokens = []
        for i, token in enumerate(_sequence(prompt, what)):
            number = whole(token)
            if isinstance(token, Mapping):
                raise ParameterError(f"{what} is a list of messages: use chat, or give them as Conversation(messages)")
            if number is None:
                raise ParameterError(f"{what}: token {i} must be an integer, got {token!r:.60}")
            if not 0 <= number < self.program.vocabulary:
                raise ParameterError(f"{what}: token {i} must lie in [0, {self.program.vocabulary}), got {token}")
            tokens.append(number)
        return tokens

    def _text(self, prompt: Prompt) -> list[int]:
        tokens = self._tokens(prompt, "the text")
        if not tokens:
            raise ParameterError("there are no tokens to score")
        if len(tokens) > self.context:
            raise ParameterError(f"{len(tokens)} tokens exceed the context of {self.context}")
        return tokens

    def _asked(
        self,
        prompts: Sequence[Prompt],
        n: int,
        parameters: SamplingParameters,
        ids: Sequence[str] | None,
        priority: int,
        draft: bool,
        listen: Listener | None,
        receipts: _Receipts,
    ) -> list[Job]:
        """A job for each prompt, in whatever form it is."""
        _check_boolean("logprobs", receipts.logprobs)
        sources = [self._source(prompt) if receipts.hash is not None else None for prompt in prompts]
        tokens = []
        for i, (prompt, source) in enumerate(zip(prompts, sources, strict=True)):
            what = f"prompt {i}" if len(prompts) > 1 else "the prompt"
            made = self._tokens(prompt, what) if source is None else source.encode(self.tokenizer, self.context)
            tokens.append(made)
        return self._jobs(tokens, n, parameters, ids, priority, draft, listen, receipts, sources)

    def _source(self, prompt: Prompt) -> PromptSource | None:
        if isinstance(prompt, Conversation):
            return PromptSource.of_chat(prompt, self.tokenizer)
        return PromptSource.of_text(prompt) if isinstance(prompt, str | bytes) else None

    def _jobs(
        self,
        prompts: list[list[int]],
        n: int,
        parameters: SamplingParameters,
        ids: Sequence[str] | None,
        priority: int,
        draft: bool,
        listen: Listener | None = None,
        receipts: _Receipts | None = None,
        sources: Sequence[PromptSource | None] = (),
    ) -> list[Job]:
        """A job for each prompt, checked."""
        n = integer("n", n, 1, MOST_SAMPLES)
        _check_boolean("draft", draft)
        priority = integer("priority", priority, -8, 8)
        if ids is not None and (isinstance(ids, str) or len(_sequence(ids, "ids")) != len(prompts)):
            raise ParameterError(f"ids must be a list that names each of the {len(prompts)} prompts, got {ids!r:.60}")
        parameters.check_tokens(self.program.vocabulary)
        jobs = []
        for i, tokens in enumerate(prompts):
            try:
                self.engine.check(tokens)
            except ParameterError as error:
                raise error if len(prompts) == 1 else ParameterError(f"prompt {i}: {error}") from None
            name = prompt_id(tokens) if ids is None else ids[i]
            if not isinstance(name, str):
                raise ParameterError(
                    f"ids[{i}] must be a string, got {name!r:.60}: prompts of one name share their draws"
                )
            check_unicode(f"ids[{i}]", name)
            keys = [branch_key(parameters.seed, (name, sample)) for sample in range(n)]
            recorder = None
            if receipts is not None and receipts.hash is not None:
                recorder = self._recorder(receipts, tokens, parameters, name, sources[i])
            limits = self.context, self.program.vocabulary
            jobs.append(Job(self.tokenizer, parameters, tokens, keys, *limits, priority, draft, listen, recorder))
        return jobs

    def job(
        self,
        prompt: Sequence[int],
        parameters: SamplingParameters,
        keys: list[int],
        *,
        recorder: Recorder | None = None,
        known: Sequence[Sequence[int]] | None = None,
    ) -> Job:
        """One request by the keys of its draws; `run` runs it. Parameters as of `Job`.

        Raises
        ------
        ParameterError, CapacityError
            If it cannot run.
        """
        parameters.check_tokens(self.program.vocabulary)
        self.engine.check(prompt)
        limits = self.context, self.program.vocabulary
        draft = known is None
        return Job(self.tokenizer, parameters, prompt, keys, *limits, draft=draft, recorder=recorder, known=known)

    def run(self, jobs: Sequence[_Asked], between: Callable[[], None] | None = None) -> None:
        """Run requests to their ends, beside whatever else runs.

        Parameters
        ----------
        between : callable, optional
            Called once or twice a step, also while another thread has its turn; what it raises ends them.
        """

        def done() -> bool:
            if between is not None:
                between()
            return all(job.done for job in jobs)

        with self._submitted(jobs):
            self._driver.run(done)

    def _recorder(
        self,
        receipts: _Receipts,
        tokens: list[int],
        parameters: SamplingParameters,
        name: str,
        source: PromptSource | None,
    ) -> ChainRecorder:
        """Makes the receipts of a prompt's samples."""
        assert receipts.hash is not None
        first = header_of(self, tuple(tokens), parameters, (name, 0), source, receipts.hash)
        return ChainRecorder(
            lambda sample: replace(first, request=replace(first.request, branch=(name, sample))), receipts.logprobs
        )

    @contextmanager
    def _submitted(self, jobs: Sequence[_Asked]) -> Iterator[None]:
        """Have the jobs queued; what has not ended by the end is cancelled."""
        try:
            with self._driver.turn:
                self._add(jobs)
            yield
        finally:
            if not all(job.done for job in jobs):
                if self._driver.turn.barred:  # a stream that nobody holds any more is collected in the midst of a step
                    self._driver.post(lambda: self._cancel(jobs), lasting=True)
                else:
                    with self._driver.turn:
                        self._cancel(jobs)

    @contextmanager
    def _posted(self, jobs: Sequence[_Asked]) -> Iterator[None]:
        """The same for coroutines, which must not wait for their turn."""
        try:
            self._driver.post(lambda: self._add(jobs))
            yield
        finally:
            if not all(job.done for job in jobs):
                self._driver.post(lambda: self._cancel(jobs), lasting=True)

    def _add(self, jobs: Sequence[_Asked]) -> None:
        for job in jobs:
            if not job.done:
                self.engine.add(job.request)

    def _cancel(self, jobs: Sequence[_Asked]) -> None:
        for job in jobs:
            self.engine.cancel(job.request)


class _Asked(Protocol):
    """A request and its owner: a job, or a scoring."""

    request: Request

    @property
    def done(self) -> bool: ...


class _Receipts(NamedTuple):
    """Which receipts are wanted: by what hash, None for none at all; and whether with log-probabilities."""

    hash: HashName | None
    logprobs: bool = False


def _check_boolean(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise ParameterError(f"{name} must be True or False, got {value!r:.60}")


def _check_on_error(value: object) -> None:
    if value not in ("raise", "return"):
        raise ParameterError(f"on_error must be 'raise' or 'return', got {value!r:.60}")


def _conversation(messages: Sequence[Mapping[str, Any]], now: datetime | str | None) -> Conversation:
    return Conversation(messages, now=current() if now is None else read_time(now))


def _for_one(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of one answer, without the number of answers."""
    if whole(n := parameters.pop("n", 1)) != 1:
        raise ParameterError(f"chat gives one answer, got n={n!r:.60}: give generate a Conversation for several")
    return parameters


def _parameters(fields: SamplingFields) -> SamplingParameters:
    return SamplingParameters.by_name(cast(dict[str, Any], fields))


def _completions(
    jobs: Sequence[Job], n: int, logprobs: bool, on_error: Literal["raise", "return"]
) -> list[list[Completion]]:
    completions = [[job.completion(i, logprobs) for i in range(n)] for job in jobs]
    errors = [c.error for several in completions for c in several if c.error is not None]
    if errors and on_error == "raise":
        raise errors[0]
    return completions


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _sequence(value: Any, what: str) -> Sequence[Any]:
    if isinstance(value, str | bytes) or not _is_sequence(value):
        raise ParameterError(f"{what} must be a text or a list of token ids, got {value!r:.60}")
    sequence: Sequence[Any] = value
    return sequence


def prompt_id(tokens: Sequence[int]) -> str:
    """Name a prompt by the first 16 hexadecimal digits of SHA-256 over its tokens as little-endian int32."""
    return hashlib.sha256(np.array(tokens, "<i4").tobytes()).hexdigest()[:16]


def load(
    name_or_path: str | os.PathLike[str] = DEFAULT,
    profile: Profile = "int8",
    threads: int | None = None,
    *,
    bits: Literal[8, 4] = 8,
    executor: Literal["native", "reference"] = "native",
    page_size: int = 32,
    chunk: int = DEFAULT_CHUNK,
    rows: int = DEFAULT_ROWS,
    cache_bytes: int | None = None,
    prefix_cache: bool = True,
    drafter: str = "auto",
) -> Model:
    """Load a model from a catalogue name, a GGUF file, or a folder of safetensors.

    Parameters
    ----------
    profile : {'int8', 'fp32'}
        Integer arithmetic (docs/numerics.md), or FP32 in one fixed order on the untouched weights
        (docs/numerics_fp32.md).
    threads : int, optional
        By default INTACT_THREADS, else the cores this process may use. Never changes a bit; nor does anything below but
        `bits`.
    bits : {8, 4}
        Codes of matrices that the checkpoint stores as floats. This one is part of the result.
    executor : {'native', 'reference'}
        The C++ executor, or its definition in NumPy, which leaves threads to NumPy.
    page_size, chunk, rows : int
        Positions a page of the KV cache, prompt tokens a step, rows a step.
    cache_bytes : int, optional
        A hard cap on the KV cache; by default a quarter of the memory that this process may use.
    prefix_cache : bool
        Whether prompts that begin alike share what was computed, also after the first has ended.
    drafter : {'auto', 'lookup', 'recycling', 'off'}
        Who guesses ahead (docs/drafting.md).

    Raises
    ------
    FormatError, ModelError, ParameterError
        Naming the file and what in it was wrong.
    """
    if profile not in PROFILES:
        raise ParameterError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    width = whole(bits)
    if width not in (8, 4):
        raise ParameterError(f"bits must be 8 or 4, got {bits!r}")
    page_size = integer("page_size", page_size, 16, 1 << 16)
    if page_size % 16:
        raise ParameterError(f"page_size must be an integer from 16 to 65536 and a multiple of 16, got {page_size}")
    chunk, rows = integer("chunk", chunk, 1, 1 << 16), integer("rows", rows, 1, 1 << 16)
    if cache_bytes is None:
        memory = usable()
        cache_bytes = memory and memory // 4
    else:
        cache_bytes = integer("cache_bytes", cache_bytes, 1, 1 << 62)
    _check_boolean("prefix_cache", prefix_cache)
    check_drafter(drafter)
    if executor not in ("native", "reference") or (executor == "reference" and profile != "int8"):
        raise ParameterError(f"there is no executor {executor!r} for the profile {profile}")
    import tokenizers  # noqa: F401  what stays in memory before what comes and goes: it leaves fewer holes

    checkpoint = open_checkpoint(Path(resolve(name_or_path)))
    try:
        program = build_program(checkpoint)
        tokenizer = Tokenizer.from_checkpoint(checkpoint)  # before the weights: its making takes memory for a moment
        runner: Executor
        if executor == "native":
            from intact.executors.native import NativeExecutor

            runner = NativeExecutor(program, profile, threads, bits=width, page_size=page_size)
            if profile == "int8":
                checkpoint.rest()  # the weights have been converted
        else:
            from intact.executors.reference import ReferenceExecutor

            runner = ReferenceExecutor(program, width, page_size)
    except ModelError as error:
        if str(checkpoint.path) in str(error):
            raise
        raise ModelError(f"{checkpoint.path}: {error}") from error  # what knows a tensor alone
    engine = Engine(
        runner,
        program.context,
        chunk=chunk,
        rows=rows,
        cache_bytes=cache_bytes,
        prefix_cache=prefix_cache,
        drafting=make_drafting(drafter, program.vocabulary, runner.trees),
    )
    return Model(checkpoint, program, tokenizer, engine)
