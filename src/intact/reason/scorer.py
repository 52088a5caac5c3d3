"""The protocol of scorers, which assign a number to each completion."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from intact.reason.problem import Problem, State

Scores: TypeAlias = Sequence[float]
Scoring: TypeAlias = Generator[object, Any, Scores]
"""A generator that yields requests (`intact.reason.requests`) and returns scores."""


class TokenNeeds(NamedTuple):
    """Per-token data that scorers require.

    Attributes
    ----------
    rivals : int
        Number of likeliest tokens per position.
    spread : bool
        If true, the spread of the full distribution, from back ends that know it.
    """

    rivals: int = 0
    spread: bool = False

    def joined(self, rivals: int, spread: bool) -> TokenNeeds:
        """Return the union of these and other needs."""
        return TokenNeeds(max(self.rivals, rivals), self.spread or spread)


class Scorer(Protocol):
    """Assign each state a finite number, higher for better states; methods that need scores in [0, 1] say so.

    A scorer that queries a model writes `score` as a generator that yields requests, as methods do: these requests are
    charged, journalled and merged into the same batches. Any other scorer returns the numbers directly.

    Attributes
    ----------
    name : str
        Its name in traces.
    digest : str
        Digest of everything its scores depend on besides the problem and the texts (weights, parameters), so that
        scores can be journalled; empty if they are cheap to recompute.

    A scorer may also declare `least` and `most`, the range of its scores, and `reads`: "tokens" if it uses the tokens'
    log-probabilities, else "texts". An unsuitable scorer is then rejected before anything is generated. If it declares
    `rivals`, methods that name it in a parameter request that many likeliest tokens per position; with `spread` = True,
    they also request the spread of the full distribution, from back ends that know it.
    """

    name: str
    digest: str

    def score(self, problem: Problem, states: Sequence[State]) -> Scores | Scoring:
        """Score texts, finished or unfinished, in order."""
        ...
