"""Logs of methods by difficulty, the training data of `intact.reason.parts.choice`."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from intact._base.errors import ParameterError
from intact.reason.aggregate.votes import check_lengths, vote
from intact.reason.parts.choice import EDGES, Arm, Log, PolicyOutcome, Trial, common, fixed, outcome, pilot_arm


class SampledAnswers(NamedTuple):
    """Samples of a problem: for each, the answer (None if there is none), the verdict, and the number of tokens."""

    answers: Sequence[str | None]
    correct: Sequence[bool]
    tokens: Sequence[int]


def ladder(samples: Mapping[str, SampledAnswers], sizes: Iterable[int]) -> dict[Arm, dict[str, Trial]]:
    """Return the log of votes over the first 1, 2, 4, ... of a fixed list of samples.

    Smaller votes use the first samples of larger ones, so a single run gives the results for all sizes.

    Raises
    ------
    ParameterError
        If a problem has fewer samples than a size, or its numbers of answers, verdicts and token counts differ.
    """
    log: dict[Arm, dict[str, Trial]] = {}
    for n in sizes:
        trials = log.setdefault(pilot_arm(n), {})
        for problem, drawn in samples.items():
            check_lengths(**drawn._asdict())
            if not 1 <= n <= len(drawn.answers):
                raise ParameterError(f"{problem} has {len(drawn.answers)} samples, but {n} are needed")
            tally = vote(drawn.answers[:n])
            right = tally.answer is not None and bool(drawn.correct[drawn.answers.index(tally.answer)])
            votes = {answer: float(count) for answer, count in tally.weights.items()}
            trials[problem] = Trial(right, sum(drawn.tokens[:n]), votes)
    return log


class Class(NamedTuple):
    """Problems of similar difficulty, and the outcome of each arm on them.

    Attributes
    ----------
    low, high : float
        Bounds of their difficulty, such as agreement; `low` is inclusive, `high` is exclusive.
    problems : int
    outcomes : mapping of Arm to PolicyOutcome
        Empty if there are no problems.
    """

    low: float
    high: float
    problems: int
    outcomes: Mapping[Arm, PolicyOutcome]


def by_difficulty(log: Log, difficulty: Mapping[str, float], edges: Sequence[float] = EDGES) -> list[Class]:
    """Tabulate arms by difficulty: the agreement of a pilot run, or pass@1 if answers are known.

    Bounds are absolute, not quantiles (Liu et al. 2025, arXiv 2502.06703).

    Raises
    ------
    ParameterError
        If edges are not increasing, or a problem of the log has no difficulty.
    """
    if sorted(set(edges)) != list(edges):
        raise ParameterError(f"edges must increase, got {list(edges)}")
    held: list[list[str]] = [[] for _ in range(len(edges) + 1)]
    for problem in common(log):
        if problem not in difficulty:
            raise ParameterError(f"the difficulty of {problem} is unknown")
        held[bisect_right(edges, difficulty[problem])].append(problem)
    bounds = [-math.inf, *edges, math.inf]
    return [
        Class(low, high, len(names), {arm: outcome(fixed(arm), log, names) for arm in log} if names else {})
        for (low, high), names in zip(itertools.pairwise(bounds), held, strict=True)
    ]
