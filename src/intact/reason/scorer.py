"""The protocol of scorers, which give each text a number."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from intact.reason.problem import Problem, State

Scores: TypeAlias = Sequence[float]
Scoring: TypeAlias = Generator[object, Any, Scores]
"""What yields requests (`intact.reason.requests`), and returns scores."""


class TokenNeeds(NamedTuple):
    """The reports with each token that scorers need.

    Attributes
    ----------
    rivals : int
        How many of the likeliest tokens.
    spread : bool
        If true, the spread of the whole distribution, by back ends that know it.
    """

    rivals: int = 0
    spread: bool = False

    def joined(self, rivals: int, spread: bool) -> TokenNeeds:
        """Return what these and others need."""
        return TokenNeeds(max(self.rivals, rivals), self.spread or spread)


class Scorer(Protocol):
    """Gives each state a finite number, more for better ones; methods that need it in [0, 1] say so.

    A scorer that asks a model writes `score` as a generator that yields requests, as methods do: these are charged,
    journalled and merged into the same batches. Any other returns the numbers at once.

    Attributes
    ----------
    name : str
        What the trace calls it.
    digest : str
        What its numbers depend on besides problem and texts (weights, parameters), to keep them in the journal; empty:
        they are quick to compute again.

    A scorer may also state `least` and `most`, the range of its numbers, and `reads`, "tokens" if it judges by the
    tokens' log-probabilities, else "texts": then what it is of no use for is refused before anything is written. With
    `rivals`, methods that name it in a parameter have so many of the likeliest tokens reported with each token; with
    `spread` = True the spread of the whole distribution too, by back ends that know it.
    """

    name: str
    digest: str

    def score(self, problem: Problem, states: Sequence[State]) -> Scores | Scoring:
        """Judge texts, finished or not; in order."""
        ...
