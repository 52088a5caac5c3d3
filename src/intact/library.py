"""The library's face: load a model, generate, stream, chat, score."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from intact.catalogue import DEFAULT, resolve
from intact.engine.cache import PagePool
from intact.engine.engine import DEFAULT_CHUNK, DEFAULT_ROWS, SCORED_ROWS, Engine, Event
from intact.engine.parameters import SamplingParameters
from intact.errors import ModelError, ParameterError
from intact.executors.base import LOGIT_FRACTION, PROFILES, Executor, Profile
from intact.formats import Checkpoint, open_checkpoint
from intact.models import Program, build_program
from intact.numerics import VERSION
from intact.numerics.sampling import branch_key
from intact.text import Detokenizer, StopStrings, Tokenizer

Prompt: TypeAlias = str | Sequence[int]
Finish: TypeAlias = Literal["stop", "length", "context"]
LOGPROB_SCALE = 1 << 24


@dataclass(frozen=True)
class Completion:
    """One continuation of a prompt.

    Attributes
    ----------
    text : str
        What was written, without the token or string that ended it.
    tokens : tuple of int
        All tokens that were drawn, the one that ended it included.
    logprobs : tuple of int or None
        Natural log-probability of each token under the model (temperature 1), times 2^24; None unless asked for.
    finish : {'stop', 'length', 'context'}
        An end token or stop string, `max_tokens`, or the context's end.
    prompt_tokens : int
        Tokens of the prompt.
    """

    text: str
    tokens: tuple[int, ...]
    logprobs: tuple[int, ...] | None
    finish: Finish
    prompt_tokens: int


@dataclass(frozen=True)
class Chunk:
    """A token of a stream, and the text that it makes certain (which may be empty, or more than its own)."""

    text: str
    token: int
    logprob: int


@dataclass
class _Writer:
    """Turns a branch's tokens into text and finds its end."""

    detokenizer: Detokenizer
    stops: StopStrings
    ends: frozenset[int]
    vocabulary: int
    prompt_tokens: int
    limit: int
    finish_at_limit: Finish
    tokens: list[int] = field(default_factory=list)
    logprobs: list[int] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    finish: Finish | None = None

    def push(self, event: Event) -> str:
        """Take a token; the text that is certain now."""
        self.tokens.append(event.token)
        self.logprobs.append(event.logprob)
        ended = event.token in self.ends
        if event.token >= self.vocabulary:
            text = ""  # a row of an embedding that is padded beyond the vocabulary
        else:
            text = self.detokenizer.flush() if ended else self.detokenizer.push(event.token)
        piece, stopped = self.stops.push(text)
        if not stopped and not ended and len(self.tokens) == self.limit:
            more, stopped = self.stops.push(self.detokenizer.flush())
            piece += more
            self.finish = self.finish_at_limit
        if stopped or ended:
            self.finish = "stop"
        if self.finish and not stopped:
            piece += self.stops.flush()
        self.text.append(piece)
        return piece

    def completion(self, logprobs: bool) -> Completion:
        """What was written."""
        scores = tuple(self.logprobs) if logprobs else None
        return Completion("".join(self.text), tuple(self.tokens), scores, self.finish or "length", self.prompt_tokens)


class Model:
    """A loaded model. Made by `load`; not thread-safe.

    Attributes
    ----------
    tokenizer : Tokenizer
        Text to tokens and back; its `chat_template` if the model has one.
    program : Program
        The operations that a token passes through.
    context : int
        The most tokens of a prompt and its continuation.
    """

    def __init__(
        self, checkpoint: Checkpoint, program: Program, executor: Executor, tokenizer: Tokenizer, chunk: int, rows: int
    ) -> None:
        self.path = checkpoint.path
        self.program, self.executor, self.tokenizer = program, executor, tokenizer
        self.context = program.context
        self._checkpoint = checkpoint
        self._pool = PagePool(executor)
        self._limits = (chunk, rows)

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        n: int = 1,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        min_p: float = 0.0,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        logprobs: bool = False,
        ids: Sequence[str] | None = None,
    ) -> list[list[Completion]]:
        """Continue prompts.

        Parameters
        ----------
        prompts : str, list of int, or a list of these
            Texts (special tokens written in them count as such) or token ids.
        n : int
            Samples of each prompt.
        max_tokens, temperature, top_p, top_k, min_p, seed, stop
            See `SamplingParameters`.
        logprobs : bool
            Whether completions carry the log-probabilities of their tokens.
        ids : list of str, optional
            A name for each prompt; the draws depend on seed, name and sample number. By default a digest of the
            prompt's tokens, so that they never depend on a place in a batch.

        Returns
        -------
        list of list of Completion
            For each prompt its n samples.

        Raises
        ------
        ParameterError
            If a parameter is impossible, or a prompt is empty or too long; nothing has run then.
        """
        many = self._prompts(prompts)
        stops = StopStrings(stop).stops
        parameters = SamplingParameters(max_tokens, temperature, top_p, top_k, min_p, seed, stops)
        engine, writers = self._submit(many, n, parameters, ids)
        for _ in self._run(engine, writers):
            pass
        flat = [writer.completion(logprobs) for writer in writers]
        return [flat[i : i + n] for i in range(0, len(flat), n)]

    def stream(
        self,
        prompt: Prompt,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        min_p: float = 0.0,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        id: str | None = None,  # noqa: A002
    ) -> Iterator[Chunk]:
        """Continue one prompt token by token: the first sample that `generate` would give, piece by piece.

        Parameters are checked when this is called; leaving the iterator early ends the generation.
        """
        stops = StopStrings(stop).stops
        parameters = SamplingParameters(max_tokens, temperature, top_p, top_k, min_p, seed, stops)
        engine, writers = self._submit(
            [self._tokens(prompt, "the prompt")], 1, parameters, None if id is None else [id]
        )
        return (Chunk(text, event.token, event.logprob) for event, text in self._run(engine, writers))

    def chat(self, messages: Sequence[Mapping[str, Any]], logprobs: bool = False, **parameters: Any) -> Completion:
        """Answer a conversation: `messages` are mappings with `role` and `content`; parameters as in `generate`.

        Raises
        ------
        ParameterError
            If the model has no chat template, or the template refuses the messages.
        """
        return self.generate(self.tokenizer.encode_chat(messages), logprobs=logprobs, **parameters)[0][0]

    def chat_stream(self, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Iterator[Chunk]:
        """`chat`, token by token."""
        return self.stream(self.tokenizer.encode_chat(messages), **parameters)

    @overload
    def logits(self, tokens: Prompt, raw: Literal[False] = False) -> NDArray[np.float32]: ...
    @overload
    def logits(self, tokens: Prompt, raw: Literal[True]) -> tuple[NDArray[np.int32], int]: ...
    def logits(self, tokens: Prompt, raw: bool = False) -> NDArray[np.float32] | tuple[NDArray[np.int32], int]:
        """Logits after each token, (tokens, vocabulary).

        Returns
        -------
        float32 array, or with `raw` the exact integers (int32) and their scale
            A logit is its integer divided by the scale, 65,536.
        """
        steps = self._engine().prefill(self._text(tokens))
        if raw:
            return np.concatenate([self.executor.step(*step).copy() for step in steps]), 1 << LOGIT_FRACTION
        return np.concatenate([self.executor.step_float(*step).copy() for step in steps])

    def logprobs(self, tokens: Prompt) -> NDArray[np.int64]:
        """Log-probability of each token but the first, given those before it: int64 (tokens - 1,), nats times 2^24."""
        ids = self._text(tokens)
        out: list[NDArray[np.int64]] = []
        for chunks, wanted in self._engine().prefill(ids, SCORED_ROWS):
            start = chunks[0].position
            following = np.array(ids[start + 1 : start + 1 + len(wanted)], np.int64)
            logits = self.executor.step(chunks, wanted[: len(following)])
            out.append(self.executor.log_probabilities(logits, following))
        return np.concatenate(out)

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
        self._checkpoint.close()

    def __repr__(self) -> str:
        return f"Model({self.path.name!r}, {self.program.architecture}, {self.executor.profile})"

    def _prompts(self, prompts: Prompt | Sequence[Prompt]) -> list[list[int]]:
        if isinstance(prompts, str | bytes):
            return [self._tokens(prompts, "the prompt")]
        many = list(_sequence(prompts, "prompts"))
        if not many:
            raise ParameterError("there is no prompt: give a text, token ids, or a list of these")
        if all(isinstance(item, str | bytes) or _is_sequence(item) for item in many):
            return [self._tokens(item, f"prompt {i}" if len(many) > 1 else "the prompt") for i, item in enumerate(many)]
        return [self._tokens(many, "the prompt")]

    def _tokens(self, prompt: Prompt, what: str) -> list[int]:
        if isinstance(prompt, str | bytes):
            return self.tokenizer.encode(prompt)
        tokens = []
        for i, token in enumerate(_sequence(prompt, what)):
            if isinstance(token, bool | np.bool_) or not isinstance(token, int | np.integer):
                raise ParameterError(f"{what}: token {i} must be an integer, got {token!r:.60}")
            if not 0 <= token < self.program.vocabulary:
                raise ParameterError(f"{what}: token {i} must lie in [0, {self.program.vocabulary}), got {token}")
            tokens.append(int(token))
        return tokens

    def _text(self, prompt: Prompt) -> list[int]:
        tokens = self._tokens(prompt, "the text")
        if not tokens:
            raise ParameterError("there are no tokens to score")
        if len(tokens) > self.context:
            raise ParameterError(f"{len(tokens)} tokens exceed the context of {self.context}")
        return tokens

    def _submit(
        self, prompts: list[list[int]], n: int, parameters: SamplingParameters, ids: Sequence[str] | None
    ) -> tuple[Engine, list[_Writer]]:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise ParameterError(f"n must be a positive integer, got {n!r}")
        if ids is not None and (isinstance(ids, str) or len(_sequence(ids, "ids")) != len(prompts)):
            raise ParameterError(f"ids must be a list that names each of the {len(prompts)} prompts, got {ids!r:.60}")
        engine, writers = self._engine(), []
        for i, tokens in enumerate(prompts):
            name = prompt_id(tokens) if ids is None else str(ids[i])
            keys = [branch_key(parameters.seed, (name, sample)) for sample in range(n)]
            try:
                branches = engine.submit(
                    tokens, parameters.sampling, keys, parameters.max_tokens, self.program.vocabulary
                )
            except ParameterError as error:
                raise error if len(prompts) == 1 else ParameterError(f"prompt {i}: {error}") from None
            room = self.context - len(tokens)
            for _ in branches:
                writers.append(
                    _Writer(
                        self.tokenizer.stream(),
                        StopStrings(parameters.stop),
                        self.tokenizer.eos_ids,
                        self.tokenizer.size,
                        len(tokens),
                        min(parameters.max_tokens, room),
                        "length" if parameters.max_tokens <= room else "context",
                    )
                )
        return engine, writers

    def _run(self, engine: Engine, writers: list[_Writer]) -> Iterator[tuple[Event, str]]:
        try:
            for event in engine.run():
                writer = writers[event.sequence]
                if writer.finish is None:
                    text = writer.push(event)
                    if writer.finish is not None:
                        engine.finish(event.sequence)
                    yield event, text
        finally:
            engine.close()

    def _engine(self) -> Engine:
        return Engine(self.executor, self._pool, self.context, *self._limits)


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
) -> Model:
    """Load a model from a catalogue name, a GGUF file, or a folder of safetensors.

    Parameters
    ----------
    profile : {'int8', 'fp32'}
        Integer arithmetic (docs/numerics.md), or FP32 in one fixed order on the untouched weights
        (docs/numerics_fp32.md).
    threads : int, optional
        By default INTACT_THREADS, else the cores this process may use. Never changes a bit; nor do the next five.
    bits : {8, 4}
        Codes of matrices that the checkpoint stores as floats. This one is part of the result.
    executor : {'native', 'reference'}
        The C++ executor, or its definition in NumPy.
    page_size, chunk, rows : int
        Positions a page of the KV cache, prompt tokens a step, rows a step.

    Raises
    ------
    FormatError, ModelError, ParameterError
        Naming the file and what in it was wrong.
    """
    if profile not in PROFILES:
        raise ParameterError(f"profile must be one of {', '.join(PROFILES)}, got {profile!r}")
    if not isinstance(bits, int) or bits not in (8, 4):
        raise ParameterError(f"bits must be 8 or 4, got {bits!r}")
    for name, value, least in (("page_size", page_size, 16), ("chunk", chunk, 1), ("rows", rows, 1)):
        multiple = " and a multiple of 16" if least == 16 else ""
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 1 << 16 or value % least:
            raise ParameterError(f"{name} must be an integer from {least} to 65536{multiple}, got {value!r}")
    if executor not in ("native", "reference") or (executor == "reference" and profile != "int8"):
        raise ParameterError(f"there is no executor {executor!r} for the profile {profile}")
    checkpoint = open_checkpoint(Path(resolve(name_or_path)))
    try:
        program = build_program(checkpoint)
        tokenizer = Tokenizer.from_checkpoint(checkpoint)  # before the weights: its making takes memory for a moment
        runner: Executor
        if executor == "native":
            from intact.executors.native import NativeExecutor

            runner = NativeExecutor(program, profile, threads, bits=bits, page_size=page_size)
        else:
            from intact.executors.reference import ReferenceExecutor

            runner = ReferenceExecutor(program, bits, page_size)
    except ModelError as error:
        if str(checkpoint.path) in str(error):
            raise
        raise ModelError(f"{checkpoint.path}: {error}") from error  # what knows a tensor alone
    return Model(checkpoint, program, runner, tokenizer, chunk, rows)
