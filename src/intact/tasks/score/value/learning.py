"""Learn a value head from completions with known outcomes, and evaluate it on held-out problems."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import NotInstalledError, ParameterError
from intact._base.packages import install
from intact.engine.hidden import HiddenState

STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Candidate inverse strengths of the L2 penalty on standardised components."""
FOLDS = 5


class Example(NamedTuple):
    """A completion with its hidden states at several positions: after steps, and finally at the end.

    Attributes
    ----------
    problem : str
        The problem that the completion answers; completions for one problem are never on both sides of a split.
    right : bool
        True if its final answer is right.
    states : tuple of HiddenState
    labels : tuple of float, of the same length, or None
        The target values at these positions, in [0, 1]; by default the final outcome at every position.
    """

    problem: str
    right: bool
    states: tuple[HiddenState, ...]
    labels: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Learnt:
    """A logistic regression on hidden states, and its predictions for held-out problems.

    Attributes
    ----------
    weights : float64 (width,)
    bias : float
    strength : float
        The inverse strength of the penalty: the one in `STRENGTHS` with the highest likelihood on held-out problems.
    held_out : list of list of float
        For each example, the values at its positions, predicted by a regression of the same kind fitted to the other
        folds.
    """

    weights: NDArray[np.float64]
    bias: float
    strength: float
    held_out: list[list[float]]


def learn(examples: Sequence[Example], folds: int = FOLDS) -> Learnt:
    """Fit a value head: logistic regression on all positions of all completions, each with equal total weight.

    Every position is labelled with the completion's final outcome, so the value of an unfinished one is the probability
    that it ends in a right answer (training verifiers: Cobbe et al. 2021, arXiv 2110.14168, with a linear probe instead
    of the network). Labels may also be shares between 0 and 1; the regression then estimates their mean, again by
    cross-entropy.

    Parameters
    ----------
    folds : int
        Number of parts into which the problems are divided; each is evaluated by a head learnt from the others.

    Raises
    ------
    ParameterError
        If scikit-learn is not installed, completions are all right or all wrong, or there are too few problems.
    """
    check_installed()
    from threadpoolctl import threadpool_limits

    problems = {example.problem for example in examples}
    if len(problems) < 2 * folds:
        raise ParameterError(f"{folds} folds need at least {2 * folds} problems, got {len(problems)}")
    if len({example.right for example in examples}) < 2:
        raise ParameterError("learning a value head needs both right and wrong texts, but these are all the same")
    table = _Table.of(examples)
    held_out = np.zeros(len(table.right))
    with threadpool_limits(1):  # many fits, each too small for several threads
        for fold in table.folds(folds):
            held_out[fold] = _fit(table.part(~fold), folds)[0].chances(table.components[fold])
        model, strength = _fit(table, folds)
    values = iter(held_out.tolist())
    return Learnt(model.weights, model.bias, strength, [[next(values) for _ in example.states] for example in examples])


def check_installed() -> None:
    """Raise ParameterError if scikit-learn is missing."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise NotInstalledError(f"learning a value head needs scikit-learn: {install('scikit-learn')}") from error


def _labels(example: Example) -> tuple[float, ...]:
    return example.labels if example.labels is not None else (float(example.right),) * len(example.states)


class _Table(NamedTuple):
    """One row for each position of each completion."""

    components: NDArray[np.float64]
    right: NDArray[np.float64]  # the target value of a position
    problems: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, examples: Sequence[Example]) -> _Table:
        numbers = {problem: i for i, problem in enumerate(dict.fromkeys(example.problem for example in examples))}
        rows = [(example, state) for example in examples for state in example.states]
        return cls(
            np.array([state.floats for _, state in rows]),
            np.array([value for example in examples for value in _labels(example)], np.float64),
            np.array([numbers[example.problem] for example, _ in rows], np.int64),
            np.array([1 / len(example.states) for example, _ in rows]),
        )

    def part(self, rows: NDArray[np.bool_]) -> _Table:
        return _Table(self.components[rows], self.right[rows], self.problems[rows], self.weights[rows])

    def folds(self, count: int) -> Iterator[NDArray[np.bool_]]:
        """Yield the rows of each fold; problems are assigned round-robin, so labels do not matter."""
        order = {problem: i for i, problem in enumerate(dict.fromkeys(self.problems.tolist()))}
        places = np.array([order[problem] for problem in self.problems.tolist()])
        for fold in range(count):
            yield places % count == fold


class _Regression(NamedTuple):
    """Predicted probabilities 1 / (1 + e^-(weights . x + bias))."""

    weights: NDArray[np.float64]
    bias: float

    def chances(self, components: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import expit

        return np.asarray(expit(components @ self.weights + self.bias))


def _fit(table: _Table, folds: int) -> tuple[_Regression, float]:
    """Return the regression with the best penalty on held-out problems, and that penalty's inverse strength."""
    parts = [(table.part(~fold), table.part(fold)) for fold in table.folds(folds)]
    losses = [sum(_loss(_regress(rest, strength), part) for rest, part in parts) for strength in STRENGTHS]
    strength = STRENGTHS[int(np.argmin(losses))]
    return _regress(table, strength), strength


def _loss(model: _Regression, part: _Table) -> float:
    """Return the negative log-probability of the completions' outcomes."""
    chances = np.clip(model.chances(part.components), 1e-12, 1 - 1e-12)
    logs = part.right * np.log(chances) + (1 - part.right) * np.log(1 - chances)
    return float(-(part.weights * logs).sum())


def _regress(table: _Table, strength: float) -> _Regression:
    """Return a regression on standardised components.

    If all completions have the same outcome, return a constant: their smoothed share.
    """
    from sklearn.linear_model import LogisticRegression

    if table.right.max() == 0 or table.right.min() == 1:
        total, right = table.weights.sum(), table.weights @ table.right
        return _Regression(np.zeros(table.components.shape[1]), float(np.log((right + 0.5) / (total - right + 0.5))))
    mean = np.average(table.components, axis=0, weights=table.weights)
    spread = np.sqrt(np.average((table.components - mean) ** 2, axis=0, weights=table.weights))
    spread[spread == 0] = 1
    model = LogisticRegression(C=strength, max_iter=1000)
    scaled = (table.components - mean) / spread
    shares = np.concatenate(
        [table.right, 1 - table.right]
    )  # a position of value v has weight v as right, 1 - v as wrong
    used = shares > 0
    flags = np.repeat([True, False], len(scaled))[used]
    model.fit(np.concatenate([scaled] * 2)[used], flags, (np.concatenate([table.weights] * 2) * shares)[used])
    weights = model.coef_[0] / spread
    return _Regression(weights, float(model.intercept_[0] - weights @ mean))
