"""Learn a multifurcation head by least squares on observed next tokens, and evaluate it on held-out problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.engine.hidden import HiddenState
from intact.tasks.score.value.next_head import MOST_TOKENS

RIDGES = (0.01, 0.1, 1.0, 10.0)
"""Candidate penalties of the shared direction, relative to the number of examples.

The one with the smallest error is chosen.
"""
SHRINK = 4.0
"""Pseudo-observations that shrink a token's bias towards 0, and the penalty of its own direction."""
RANK = 4
"""Number of directions in addition to the shared one."""
FOLDS = 5

Floats = NDArray[np.float64]


class NextExample(NamedTuple):
    """An observed token.

    Attributes
    ----------
    problem : str
        Its problem; tokens of one problem are never on both sides of a split.
    state : HiddenState
        The hidden state from which it was sampled.
    word : str
        Its text; empty for the end of a completion.
    value : float
        Its reward, the target of the head.
    """

    problem: str
    state: HiddenState
    word: str
    value: float


@dataclass(frozen=True)
class NextLearnt:
    """A head in floating point, and its mean squared errors on held-out problems.

    Attributes
    ----------
    rows : float64 (1 + RANK, width)
    tokens : mapping of str to list of float
        Maps each token to its factors and its bias.
    ridge : float
        The penalty chosen from `RIDGES`.
    constant, shared, whole : float
        Errors of a constant prediction (the mean), of the shared direction only, and of the whole head, on tokens that
        also occur in other problems.
    seen : float
        The share of held-out tokens that also occur in other problems.
    """

    rows: Floats
    tokens: Mapping[str, list[float]]
    ridge: float
    constant: float
    shared: float
    whole: float
    seen: float


def learn_next(examples: Sequence[NextExample]) -> NextLearnt:
    """Fit a head to rewards of observed tokens; other tokens are unobserved (the paper's partial supervision).

    The fit has three steps of penalised least squares: a direction and a constant shared by all tokens; a bias for each
    token, fitted to the residuals; and a direction for each token, fitted to the remaining residuals. Of these last
    directions, the `RANK` largest singular directions are kept.

    Raises
    ------
    ParameterError
        If there are too few problems, or nothing to learn from.
    """
    problems = list(dict.fromkeys(example.problem for example in examples))
    if len(problems) < FOLDS:
        raise ParameterError(f"{FOLDS} folds need at least {FOLDS} problems, got {len(problems)}")
    place = {problem: i % FOLDS for i, problem in enumerate(problems)}
    table = _Table.of(examples)
    fold = np.array([place[example.problem] for example in examples])
    errors = [[_errors(table.part(fold != i), table.part(fold == i), ridge) for i in range(FOLDS)] for ridge in RIDGES]
    sums = [np.sum(one, axis=0) for one in errors]
    best = int(np.argmin([one[2] for one in sums]))
    constant, shared, whole, count = sums[best].tolist()
    fitted = _fit(table, RIDGES[best])
    frequent = Counter(table.words).most_common(MOST_TOKENS)
    tokens = {word: fitted.line(word) for word, _ in frequent}
    some = max(count, 1)
    return NextLearnt(
        fitted.rows,
        tokens,
        RIDGES[best],
        constant / some,
        shared=shared / some,
        whole=whole / some,
        seen=count / len(examples),
    )


class _Table(NamedTuple):
    """One row for each observed token."""

    components: Floats
    words: list[str]
    values: Floats

    @classmethod
    def of(cls, examples: Sequence[NextExample]) -> _Table:
        components = np.array([example.state.floats for example in examples])
        return cls(components, [one.word for one in examples], np.array([one.value for one in examples]))

    def part(self, rows: NDArray[np.bool_]) -> _Table:
        words = [word for word, chosen in zip(self.words, rows.tolist(), strict=True) if chosen]
        return _Table(self.components[rows], words, self.values[rows])


class _Fitted(NamedTuple):
    """A head in the components' own units; all tokens share the first row."""

    rows: Floats
    constant: float
    biases: Mapping[str, float]
    factors: Mapping[str, Floats]
    center: Floats

    def line(self, word: str) -> list[float]:
        factors = np.concatenate([[1.0], self.factors.get(word, np.zeros(len(self.rows) - 1))])
        bias = self.constant + self.biases[word] - float(factors @ (self.rows @ self.center))
        return [*factors.tolist(), bias]


def _fit(table: _Table, ridge: float) -> _Fitted:
    center = table.components.mean(axis=0)
    spread = table.components.std(axis=0)
    spread[spread == 0] = 1
    rows = (table.components - center) / spread
    constant = float(table.values.mean())
    left = table.values - constant
    gram = rows.T @ rows + ridge * len(rows) * np.eye(rows.shape[1])
    shared = np.linalg.solve(gram, rows.T @ left)
    left = left - rows @ shared
    places: dict[str, list[int]] = {}
    for i, word in enumerate(table.words):
        places.setdefault(word, []).append(i)
    biases = {word: float(left[here].sum()) / (len(here) + SHRINK) for word, here in places.items()}
    own = {}
    for word, here in places.items():
        if len(here) > 1:
            rest = left[here] - biases[word]
            kernel = rows[here] @ rows[here].T + SHRINK * rows.shape[1] * np.eye(len(here))
            own[word] = rows[here].T @ np.linalg.solve(kernel, rest)
    directions, factors = np.zeros((0, rows.shape[1])), dict[str, Floats]()
    if own:
        u, s, v = np.linalg.svd(np.array(list(own.values())), full_matrices=False)
        directions = v[:RANK]
        factors = dict(zip(own, u[:, :RANK] * s[:RANK], strict=True))
    return _Fitted(np.vstack([shared[None], directions]) / spread, constant, biases, factors, center=center)


def _errors(known: _Table, other: _Table, ridge: float) -> tuple[float, float, float, float]:
    """Return the squared errors of the mean, the shared direction and the whole head on known tokens, and the count."""
    fitted = _fit(known, ridge)
    seen = np.array([word in fitted.biases for word in other.words], bool)
    part = other.part(seen)
    if not len(part.words):
        return 0.0, 0.0, 0.0, 0.0
    products = (part.components - fitted.center) @ fitted.rows.T
    lines = np.array([fitted.factors.get(word, np.zeros(len(fitted.rows) - 1)) for word in part.words])
    shared = fitted.constant + products[:, 0]
    whole = shared + np.array([fitted.biases[word] for word in part.words]) + (products[:, 1:] * lines).sum(axis=1)
    squares = [float(((part.values - guess) ** 2).sum()) for guess in (fitted.constant, shared, whole)]
    return squares[0], squares[1], squares[2], float(len(part.words))
