"""A loaded model with its engine: the layer below the Python API, on which receipts and methods build."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, Unpack

import numpy as np

from intact._base.errors import ModelError, ParameterError
from intact._base.memory import trim_heap
from intact.checkpoints.formats import Checkpoint
from intact.engine.completion import Job, JobOptions
from intact.engine.draft.base import Drafter
from intact.engine.driver import EngineDriver
from intact.engine.encoding import REFUSAL, check_request
from intact.engine.engine import Engine
from intact.engine.head_job import HeadJob
from intact.engine.page_store import Pages
from intact.engine.remote_prompts import PageSource, RemotePrompts
from intact.engine.request import Mixing
from intact.engine.sampling.model_defaults import SamplingDefaults, sampling_defaults
from intact.engine.sampling.parameters import SamplingParameters
from intact.engine.scoring import Scoring
from intact.executors.base import Executor
from intact.models import Program
from intact.numerics import VERSION
from intact.text import Tokenizer

Submittable: TypeAlias = Job | Scoring | HeadJob
"""A request and the object that owns it."""
_PARTS: Final = {
    *("_driver", "adapters", "base", "checkpoint", "engine", "executor", "own", "partners", "program", "tokenizer")
}
"""Attributes that `close` removes."""


@dataclass(frozen=True, eq=False)
class Partner:
    """Another model loaded with the main one: a partner for mixes, or the same model with an adapter.

    Attributes
    ----------
    changed_by : Path or None
        Its adapter's file or folder, followed by the scaling factor if one was given.
    """

    checkpoint: Checkpoint
    program: Program
    tokenizer: Tokenizer
    executor: Executor
    changed_by: Path | None = None

    @property
    def path(self) -> Path:
        """File or folder of the checkpoint."""
        return self.checkpoint.path

    @property
    def own(self) -> Partner:
        """The model itself; mirrors the attribute of `LoadedModel`."""
        return self


def check_vocabularies(model: Partner, other: Partner) -> None:
    """Raise if two models cannot be mixed.

    Raises
    ------
    ParameterError
        If their vocabularies differ.
    """
    sizes = model.program.vocabulary, other.program.vocabulary
    if sizes[0] != sizes[1]:
        raise ParameterError(
            f"{other.path} has {sizes[1]:,} logits, but {model.path} has {sizes[0]:,}: mixes need the same vocabulary"
        )
    a, b = model.tokenizer, other.tokenizer
    different = (token for token in range(min(a.size, b.size)) if a.token_bytes(token) != b.token_bytes(token))
    found = next(different, None)
    if a.size != b.size or found is not None:
        where = f"{b.size:,} and {a.size:,} tokens" if found is None else f"token {found} differs"
        raise ParameterError(
            f"the vocabulary of {other.path} differs from that of {model.path} ({where}): mixes need the same one"
        )


class LoadedModel:
    """A checkpoint, its program and tokenizer, and the engine that runs requests.

    Attributes
    ----------
    tokenizer : Tokenizer
        Converts text to tokens and back; has a `chat_template` if the model does.
    program : Program
        Sequence of operations that computes a token, including the default adapter if there is one.
    checkpoint : Checkpoint
        File that the model was loaded from.
    context : int
        Maximum number of tokens in a prompt and its continuation.
    partners : tuple of Partner
        Other models that mixes can use.
    base : Partner
        The model without an adapter.
    adapters : mapping
        The adapted model for each adapter name, in the order of the adapters' numbers.
    adapter : str
        Default adapter of requests that name none; "" for no adapter.
    own : Partner
        The model with the default adapter.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        program: Program,
        tokenizer: Tokenizer,
        engine: Engine,
        partners: tuple[Partner, ...] = (),
        adapters: Mapping[str, Partner] | None = None,
        adapter: str = "",
        prompts: PageSource | None = None,
    ) -> None:
        self.path = checkpoint.path
        self.program, self.executor, self.tokenizer, self.engine = program, engine.executor, tokenizer, engine
        self.context = program.context
        self.checkpoint, self.partners, self.adapters = checkpoint, partners, dict(adapters or {})
        self.base = Partner(checkpoint, program, tokenizer, engine.executor)
        self._take(adapter)
        self._driver = EngineDriver(engine)
        self._remote = None if prompts is None else RemotePrompts(prompts, engine, self._driver.post)

    @property
    def sampling_defaults(self) -> SamplingDefaults:
        """Sampling settings recommended by the model's own files; they apply only on request."""
        return sampling_defaults(self.checkpoint)

    def adapted(self, adapter: str) -> Self:
        """Return this model with a different default adapter, or with none for "".

        The result shares everything with this model and is closed with it.

        Raises
        ------
        ParameterError
            If the model has no adapter of that name.
        """
        other = copy(self)
        other._take(adapter)
        return other

    def on(self, engine: Engine) -> Self:
        """Return the same model on another engine; that engine's executor runs all or part of the same computation."""
        other = copy(self)
        other.engine, other.executor, other._driver = engine, engine.executor, EngineDriver(engine)
        other._remote = None
        return other

    def _take(self, adapter: str) -> None:
        self.own = self.variant(adapter)
        self.adapter, self.program = adapter, self.own.program

    def variant(self, adapter: str | None) -> Partner:
        """Return the model with an adapter; "": without one; None: with the default adapter.

        Raises
        ------
        ParameterError
            If the model has no adapter of that name.
        """
        if adapter is None:
            return self.own
        if adapter and adapter not in self.adapters:
            known = ", ".join(self.adapters) or "none; name them with `adapters` of intact.load (--adapter NAME=PATH)"
            raise ParameterError(
                f"adapter must name one of the model's adapters, got {adapter!r:.60}; available: {known}"
            )
        return self.adapters[adapter] if adapter else self.base

    def adapter_number(self, adapter: str | None = None) -> int:
        """Return the number that requests use for an adapter, or -1 for none; raises like `variant`."""
        self.variant(adapter)
        name = self.adapter if adapter is None else adapter
        return list(self.adapters).index(name) if name else -1

    def job(
        self,
        prompt: Sequence[int],
        parameters: SamplingParameters,
        keys: list[int],
        adapter: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job:
        """Create a generation job with the given random keys; `run` executes it.

        Parameters
        ----------
        adapter : str, optional
            Adapter name, as for `variant`.
        **options
            `priority`, `draft`, `listen`, `recorder`, `known`, `mixing` and `spread`, as for `Job`.

        Raises
        ------
        ParameterError, CapacityError
            If the request cannot run.
        """
        self.refuse_encoder()
        parameters.check_tokens(self.program.vocabulary)
        self.engine.check(prompt)
        mixing = options.get("mixing")
        number = self.adapter_number(adapter)
        if mixing is not None and number >= 0:
            raise ParameterError("mixes do not support adapters: give adapter='' or no mix")
        job = Job(
            self.tokenizer,
            parameters,
            prompt,
            keys=keys,
            context=self.context if mixing is None else self._room(prompt, mixing),
            vocabulary=self.program.vocabulary,
            **options,
        )
        job.request.adapter = number
        return job

    def _room(self, prompt: Sequence[int], mixing: Mixing) -> int:
        """Return the maximum length of a sequence such that none of its streams exceeds its model's context.

        Raises
        ------
        ParameterError, CapacityError
            If a stream cannot run.
        """
        if 1 + len(mixing.streams) > self.engine.scheduler.rows:
            raise ParameterError(
                f"a mix of {1 + len(mixing.streams)} streams needs at least as many rows: load the model with rows=16"
            )
        rooms = [self.context]
        for stream in mixing.streams:
            context = self.partners[stream.model - 1].program.context if stream.model else self.context
            if not 0 < len(stream.tokens) < context:
                raise ParameterError(
                    f"the prompt of a mix's stream has {len(stream.tokens)} tokens; "
                    f"expected 1 to {context - 1}, since its model's context is {context}"
                )
            rooms.append(context - len(stream.tokens) + len(prompt))
        return min(rooms)

    def run(self, jobs: Sequence[Submittable], between: Callable[[], None] | None = None) -> None:
        """Run requests to completion, sharing steps with all other active requests.

        Parameters
        ----------
        between : callable, optional
            Called once or twice per step, also while another thread drives the engine; if it raises, the requests end.
        """

        def done() -> bool:
            if between is not None:
                between()
            return all(job.done for job in jobs)

        with self._submitted(jobs):
            self._driver.run(done)

    @contextmanager
    def exclusive(self) -> Iterator[Engine]:
        """Lock the engine so that this thread can run steps for all requests by hand (docs/dev/engine.md)."""
        with self._driver.lock:
            yield self.engine

    def info(self) -> dict[str, Any]:
        """Return a description of the model and its configuration."""
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
            "file_bytes": sum(tensor.stored_bytes for tensor in self.program.tensors.values()),
            "profile": self.executor.profile,
            "numerics": VERSION,
            **self.executor.description,
        }

    def close(self) -> None:
        """Free the memory: weights, cached pages, vocabulary, the mapped file. Closing again does nothing.

        Active requests end with the same error that later calls raise. Waits for a step of another thread to finish.

        Raises
        ------
        RuntimeError
            If this thread holds the engine itself (`exclusive`).
        """
        if self._remote is not None:
            self._remote.close()
        with suppress(ModelError):  # already closed, or being closed by another thread
            self._driver.close(self._closed)
            closing: list[Executor | Checkpoint | Drafter | Pages] = [
                self.executor,
                self.checkpoint,
                *self.engine.stores,
            ]
            for partner in self.partners:
                closing += [partner.executor, partner.checkpoint]
            if self.engine.drafting is not None:
                closing.append(self.engine.drafting.drafter)
            for name in _PARTS:
                del self.__dict__[name]
            for part in closing:
                part.close()
            trim_heap()

    @property
    def _closed(self) -> str:
        return f"the model {self.path.name} has been closed: load it again"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    if not TYPE_CHECKING:  # hidden from type checkers, so that they report unknown attributes

        def __getattr__(self, name: str) -> Any:
            """Raise `ModelError` for the attributes that `close` removed."""
            if name in _PARTS:
                raise ModelError(self._closed)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        if "program" not in self.__dict__:
            return f"Model({self.path.name!r}, closed)"
        adapter = f", adapter {self.adapter!r}" if self.adapter else ""
        return f"Model({self.path.name!r}, {self.program.architecture}, {self.executor.profile}{adapter})"

    @contextmanager
    def _submitted(self, jobs: Sequence[Submittable]) -> Iterator[None]:
        """Queue jobs; on exit, cancel those that have not ended."""
        self._check(jobs)
        try:
            with self._driver.lock:
                self._driver.lock.check()  # the model may have been closed while this thread waited
                self._add(jobs)
            yield
        finally:
            if not all(job.done for job in jobs):
                if self._driver.lock.unavailable:  # an abandoned stream may be garbage-collected during a step
                    self._driver.post(lambda: self._cancel(jobs), lasting=True)
                else:
                    with self._driver.lock:
                        self._cancel(jobs)

    @contextmanager
    def _posted(self, jobs: Sequence[Submittable]) -> Iterator[None]:
        """Queue jobs from a coroutine, which must not block on the lock."""
        self._check(jobs)
        try:
            self._driver.post(lambda: self._add(jobs))
            yield
        finally:
            if not all(job.done for job in jobs):
                self._driver.post(lambda: self._cancel(jobs), lasting=True)

    def refuse_encoder(self) -> None:
        """Raise if the model cannot generate text.

        Raises
        ------
        ParameterError
            If the model is an encoder.
        """
        if self.engine.whole:
            raise ParameterError(f"{self.path.name}: {REFUSAL}")

    def _check(self, jobs: Sequence[Submittable]) -> None:
        """Raise if a job does not suit the kind of model; raises like `check_request`."""
        for job in jobs:
            check_request(job.request, self.engine.whole)

    def _add(self, jobs: Sequence[Submittable]) -> None:
        for job in jobs:
            if not job.done:
                if job.request.adapter is None:
                    job.request.adapter = self.adapter_number()
                (self._remote or self.engine).add(job.request)

    def _cancel(self, jobs: Sequence[Submittable]) -> None:
        for job in jobs:
            if self._remote is not None:
                self._remote.release(job.request)
            self.engine.cancel(job.request)


def prompt_id(tokens: Sequence[int]) -> str:
    """Return a prompt's id: the first 16 hexadecimal digits of SHA-256 over its tokens as little-endian int32."""
    return hashlib.sha256(np.array(tokens, "<i4").tobytes()).hexdigest()[:16]
