"""A model in memory with its engine: everything below the Python API; receipts and methods build on it."""

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
"""A request with its owner."""
_PARTS: Final = {
    *("_driver", "adapters", "base", "checkpoint", "engine", "executor", "own", "partners", "program", "tokenizer")
}
"""The attributes that hold the model, which a closed one no longer has."""


@dataclass(frozen=True, eq=False)
class Partner:
    """Another model beside a loaded one: for mixes, or the same one with an adapter.

    Attributes
    ----------
    changed_by : Path or None
        Its adapter's file or folder, with the factor behind it, if one was given.
    """

    checkpoint: Checkpoint
    program: Program
    tokenizer: Tokenizer
    executor: Executor
    changed_by: Path | None = None

    @property
    def path(self) -> Path:
        """Its file or folder."""
        return self.checkpoint.path

    @property
    def own(self) -> Partner:
        """Itself, as a loaded model has one that it is."""
        return self


def check_vocabularies(model: Partner, other: Partner) -> None:
    """Raise if two models cannot be mixed.

    Raises
    ------
    ParameterError
        If their tokens differ.
    """
    sizes = model.program.vocabulary, other.program.vocabulary
    if sizes[0] != sizes[1]:
        raise ParameterError(
            f"{other.path} has {sizes[1]:,} logits, {model.path} has {sizes[0]:,}: mixes need the same vocabulary"
        )
    a, b = model.tokenizer, other.tokenizer
    different = (token for token in range(min(a.size, b.size)) if a.token_bytes(token) != b.token_bytes(token))
    found = next(different, None)
    if a.size != b.size or found is not None:
        where = f"{a.size:,} and {b.size:,} tokens" if found is None else f"token {found} is another"
        raise ParameterError(f"{other.path} has other tokens than {model.path} ({where}): mixes need the same ones")


class LoadedModel:
    """A checkpoint, its program and tokenizer, and the engine that runs requests.

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
    partners : tuple of Partner
        Other models, which mixes take rows of.
    base : Partner
        The model without an adapter.
    adapters : mapping
        Of each adapter by its name the model that has it, in the order of their numbers.
    adapter : str
        That of requests which name none, or ""; `program` has it.
    own : Partner
        The model with that adapter.
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
        """The sampling settings that the model's own files recommend; nothing applies them unless asked to."""
        return sampling_defaults(self.checkpoint)

    def adapted(self, adapter: str) -> Self:
        """Return the model for requests that take an adapter, or none by "", where they name none themselves.

        It shares everything with this one, and is closed with it.

        Raises
        ------
        ParameterError
            If there is no adapter of that name.
        """
        other = copy(self)
        other._take(adapter)
        return other

    def on(self, engine: Engine) -> Self:
        """Return the same model on another engine, whose executor computes the same or a part of it."""
        other = copy(self)
        other.engine, other.executor, other._driver = engine, engine.executor, EngineDriver(engine)
        other._remote = None
        return other

    def _take(self, adapter: str) -> None:
        self.own = self.variant(adapter)
        self.adapter, self.program = adapter, self.own.program

    def variant(self, adapter: str | None) -> Partner:
        """Return the model that a request runs on, by the name of its adapter; "": the model without one.

        Raises
        ------
        ParameterError
            If there is no adapter of that name.
        """
        if adapter is None:
            return self.own
        if adapter and adapter not in self.adapters:
            known = ", ".join(self.adapters) or "none: name them by `adapters` of intact.load (--adapter NAME=PATH)"
            raise ParameterError(f"adapter must name one of the model's, got {adapter!r:.60}; there are {known}")
        return self.adapters[adapter] if adapter else self.base

    def adapter_number(self, adapter: str | None = None) -> int:
        """Return the number that an adapter has in requests, -1 for none; errors as of `variant`."""
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
        """Make a request by the keys of its draws; `run` runs it.

        Parameters
        ----------
        adapter : str, optional
            As for `variant`.
        **options
            `priority`, `draft`, `listen`, `recorder`, `known`, `mixing` and `spread`, as of `Job`.

        Raises
        ------
        ParameterError, CapacityError
            If it cannot run.
        """
        self.refuse_encoder()
        parameters.check_tokens(self.program.vocabulary)
        self.engine.check(prompt)
        mixing = options.get("mixing")
        number = self.adapter_number(adapter)
        if mixing is not None and number >= 0:
            raise ParameterError("mixes take no adapters: give adapter='' or no mix")
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
        """Return the most tokens of a text so that none of its streams exceeds its model's context.

        Raises
        ------
        ParameterError, CapacityError
            If a stream cannot run.
        """
        if 1 + len(mixing.streams) > self.engine.scheduler.rows:
            raise ParameterError(f"a mix of {1 + len(mixing.streams)} streams needs as many rows: load with rows=16")
        rooms = [self.context]
        for stream in mixing.streams:
            context = self.partners[stream.model - 1].program.context if stream.model else self.context
            if not 0 < len(stream.tokens) < context:
                raise ParameterError(
                    f"the prompt of a mix's stream has {len(stream.tokens)} tokens; "
                    f"expected 1 to {context - 1}, as its model's context is {context}"
                )
            rooms.append(context - len(stream.tokens) + len(prompt))
        return min(rooms)

    def run(self, jobs: Sequence[Submittable], between: Callable[[], None] | None = None) -> None:
        """Run requests to their ends, beside whatever else runs.

        Parameters
        ----------
        between : callable, optional
            Called once or twice a step, also while another thread runs it; an error that it raises ends the requests.
        """

        def done() -> bool:
            if between is not None:
                between()
            return all(job.done for job in jobs)

        with self._submitted(jobs):
            self._driver.run(done)

    @contextmanager
    def exclusive(self) -> Iterator[Engine]:
        """Hold the engine for this thread alone, to run its steps oneself (docs/engine.md); they serve all requests."""
        with self._driver.lock:
            yield self.engine

    def info(self) -> dict[str, Any]:
        """Describe the model and how it runs."""
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

        Requests that run end with the error that every later use gives. The step of another thread is waited for.

        Raises
        ------
        RuntimeError
            If this thread holds the engine itself (`exclusive`).
        """
        if self._remote is not None:
            self._remote.close()
        with suppress(ModelError):  # it is closed, or another thread closes it
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

    if not TYPE_CHECKING:  # type checkers shall find no other attributes than there are

        def __getattr__(self, name: str) -> Any:
            """Raise, for the parts that a closed model no longer has."""
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
        """Queue jobs; at the end those that have not ended are cancelled."""
        self._check(jobs)
        try:
            with self._driver.lock:
                self._driver.lock.check()  # it may have been closed while this thread waited
                self._add(jobs)
            yield
        finally:
            if not all(job.done for job in jobs):
                if self._driver.lock.unavailable:  # an abandoned stream is collected in the midst of a step
                    self._driver.post(lambda: self._cancel(jobs), lasting=True)
                else:
                    with self._driver.lock:
                        self._cancel(jobs)

    @contextmanager
    def _posted(self, jobs: Sequence[Submittable]) -> Iterator[None]:
        """Queue jobs from a coroutine, which must not wait for the lock."""
        self._check(jobs)
        try:
            self._driver.post(lambda: self._add(jobs))
            yield
        finally:
            if not all(job.done for job in jobs):
                self._driver.post(lambda: self._cancel(jobs), lasting=True)

    def refuse_encoder(self) -> None:
        """Raise if the model writes no texts.

        Raises
        ------
        ParameterError
            If it is an encoder.
        """
        if self.engine.whole:
            raise ParameterError(f"{self.path.name}: {REFUSAL}")

    def _check(self, jobs: Sequence[Submittable]) -> None:
        """Raise if a job does not fit the model; errors as of `check_request`."""
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
    """Name a prompt by the first 16 hexadecimal digits of SHA-256 over its tokens as little-endian int32."""
    return hashlib.sha256(np.array(tokens, "<i4").tobytes()).hexdigest()[:16]
