"""A request for a text that workers write together, and the text: values that the journal and receipts keep."""

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
    """A text that workers write together.

    Attributes
    ----------
    prompt : tuple of int
        The tokens that all see first.
    n, tokens, layout, doubt, conclude, mark, delimiter, ends, finish
        As of the method `hogwild` (`intact.reason.methods.hogwild`).
    sampling : Sampling
        Of the workers' tokens.
    seed, branch
        With a worker's number the key of its draws.
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
            raise ParameterError("workers need a prompt and a delimiter of steps, which are not empty")

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON has it, with the version of the definition and a digest in the place of the prompt."""
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        prompt = sha256(np.array(self.prompt, "<i4").tobytes()).hexdigest()
        sampling, branch = list(self.sampling), list(self.branch)
        return own | {"version": VERSION, "prompt": prompt, "sampling": sampling, "branch": branch}

    def key(self, worker: int) -> int:
        """Return the key of a worker's draws."""
        return branch_key(self.seed, (*self.branch, worker))


class WorkerStep(NamedTuple):
    """A step that a worker wrote.

    Attributes
    ----------
    worker, number : int
        Whose it is, from 0, and which of its steps, from 1.
    round : int
        That in which it was finished, from 1; 0 for one that never was.
    tokens : tuple of int
        What was drawn, an end token that ended it included.
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
        What the last writer saw behind the prompt, and wrote.
    steps : tuple of WorkerStep
        Finished steps in the order in which they were finished, then those that were not, by workers.
    conclusion : tuple of int
        The tokens behind `SharedRequest.finish`.
    rounds : int
        Rounds of tokens.
    by : int or None
        The worker whose step ended the work.
    ended : Ending
        "answer": by such a step; "finish": all were through, and were asked for the answer; "time": they were stopped.
    read : int
        Positions that the model computed of texts that no worker drew.
    operations : int
        Multiply-adds of all, by the cost of a position that the caller gave.
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
        """Tokens that were drawn."""
        return sum([len(step.tokens) for step in self.steps]) + len(self.conclusion)

    @property
    def sequential(self) -> int:
        """Tokens one after the other."""
        return self.rounds + len(self.conclusion)

    def to_document(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        steps = [[step.worker, step.number, step.round, list(step.tokens)] for step in self.steps]
        return asdict(self) | {"steps": steps, "conclusion": list(self.conclusion)}

    @classmethod
    def from_document(cls, value: Mapping[str, Any]) -> SharedText:
        """Read what `to_document` returns."""
        steps = tuple(
            [WorkerStep(worker, number, round_, tuple(tokens)) for worker, number, round_, tokens in value["steps"]]
        )
        return cls(**dict(value) | {"steps": steps, "conclusion": tuple(value["conclusion"])})
