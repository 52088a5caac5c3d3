"""A request for a text that several workers write together, and its result: values stored in journals and receipts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, Literal, NamedTuple

import numpy as np

from intact._base.errors import ParameterError
from intact.engine.shared_cache.rules import LAYOUTS, NAMES, VERSION
from intact.numerics.sampling import Sampling, branch_key

Ending = Literal["answer", "finish", "time"]


@dataclass(frozen=True)
class SharedRequest:
    """A text for workers to write together.

    Attributes
    ----------
    prompt : tuple of int
        Tokens that all workers see first.
    n, tokens, layout, doubt, conclude, mark, delimiter, ends, finish
        As in the method `hogwild` (`intact.reason.methods.hogwild`).
    sampling : Sampling
        Sampling of the workers' tokens.
    seed, branch
        With a worker's number, the random key of its draws.
    """

    prompt: tuple[int, ...]
    n: int
    tokens: int
    layout: str
    doubt: int
    conclude: int
    mark: str
    delimiter: str
    ends: str
    finish: str
    sampling: Sampling
    seed: int
    branch: tuple[str | int, ...]

    def __post_init__(self) -> None:
        if not 1 <= self.n <= len(NAMES):
            raise ParameterError(f"n must lie in [1, {len(NAMES)}], got {self.n!r:.40}")
        if self.layout not in LAYOUTS:
            raise ParameterError(f"layout must be one of {', '.join(LAYOUTS)}, got {self.layout!r:.40}")
        if not self.prompt or not self.delimiter:
            raise ParameterError("workers need a non-empty prompt and a non-empty step delimiter")

    def to_document(self) -> dict[str, Any]:
        """Return the request as JSON, with the version of the definition, and a digest in place of the prompt."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        prompt = sha256(np.array(self.prompt, "<i4").tobytes()).hexdigest()
        sampling, branch = list(self.sampling), list(self.branch)
        return own | {"version": VERSION, "prompt": prompt, "sampling": sampling, "branch": branch}

    def key(self, worker: int) -> int:
        """Return the random key of a worker's draws."""
        return branch_key(self.seed, (*self.branch, worker))


class WorkerStep(NamedTuple):
    """A step written by a worker.

    Attributes
    ----------
    worker, number : int
        Number of the worker, from 0, and of the step within the worker's steps, from 1.
    round : int
        Round in which it was finished, from 1; 0 if it never was.
    tokens : tuple of int
        Drawn tokens, including an end token that ended the step.
    """

    worker: int
    number: int
    round: int
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class SharedText:
    """The text that workers wrote together.

    Attributes
    ----------
    text : str
        Everything after the prompt, in the last writer's view and including what it wrote.
    steps : tuple of WorkerStep
        Finished steps in the order in which they were finished, then unfinished ones by worker.
    conclusion : tuple of int
        Tokens after `SharedRequest.finish`.
    rounds : int
        Number of rounds.
    by : int or None
        Worker whose step ended the work.
    ended : Ending
        Stop reason: "answer": a worker's step ended the work; "finish": all workers were done, and the answer was then
        requested; "time": they were stopped.
    read : int
        Number of computed positions whose tokens no worker drew.
    operations : int
        Total multiply-adds, by the caller's cost per position.
    """

    text: str
    steps: tuple[WorkerStep, ...]
    conclusion: tuple[int, ...]
    rounds: int
    by: int | None
    ended: Ending
    read: int
    operations: int

    @property
    def drawn(self) -> int:
        """Number of drawn tokens."""
        return sum([len(step.tokens) for step in self.steps]) + len(self.conclusion)

    @property
    def sequential(self) -> int:
        """Number of sequential tokens."""
        return self.rounds + len(self.conclusion)

    def to_document(self) -> dict[str, Any]:
        """Return the text as a JSON object."""
        steps = [[step.worker, step.number, step.round, list(step.tokens)] for step in self.steps]
        return asdict(self) | {"steps": steps, "conclusion": list(self.conclusion)}

    @classmethod
    def from_document(cls, value: Mapping[str, Any]) -> SharedText:
        """Parse the output of `to_document`."""
        steps = tuple(
            [WorkerStep(worker, number, round_, tuple(tokens)) for worker, number, round_, tokens in value["steps"]]
        )
        return cls(**dict(value) | {"steps": steps, "conclusion": tuple(value["conclusion"])})
