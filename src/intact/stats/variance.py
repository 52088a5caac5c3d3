"""Components of the variance of a score: problems, prompts and samples.

Random-effects components are unbiased, so one near 0 may be estimated below 0. In standard errors, it then counts as 0,
so the error of a table with prompts is too large rather than 0 by chance.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numpy.typing import ArrayLike

from intact._base.errors import ParameterError
from intact.stats import checks


class Component(NamedTuple):
    """A source of variance.

    Attributes
    ----------
    source
        Name of the source.
    variance
        The component: the variance of its effect on one sample.
    error
        Standard error of the mean if this were the only component.
    """

    source: str
    variance: float
    error: float


class Split(NamedTuple):
    """The mean, its standard error, and the components; the squares of their errors sum to the squared standard error.

    The exception is a one-way table with a component below 0, where the error is the standard error of the problems'
    means.
    """

    mean: float
    error: float
    parts: tuple[Component, ...]


def split_counts(n: ArrayLike, c: ArrayLike) -> Split:
    """Return problem and sample variance from each problem's numbers of samples and of correct samples.

    With `p = c / n` and `v = p (1 - p) / (n - 1)`, the unbiased variance of p around its problem's own rate, the sample
    component is the mean of n v, and the problem component is the variance of p over problems minus the mean of v. With
    equal n this is a one-way analysis of variance.

    Raises
    ------
    ParameterError
        If there are fewer than two problems, or one has a single sample.
    """
    samples, right = checks.problems(n, c)
    if samples.min() < 2:
        raise ParameterError(f"each problem needs at least two samples, but problem {samples.argmin()} has one")
    rates = right / samples
    noise = rates * (1 - rates) / (samples - 1)
    total, within = float(rates.var(ddof=1)), float((samples * noise).mean())
    drawn = rates.size * (within / float(noise.mean()) if within else 1)
    return _split(
        float(rates.mean()),
        total / rates.size,
        ("problem", total - float(noise.mean()), rates.size),
        ("sample", within, drawn),
    )


def split(values: ArrayLike) -> Split:
    """Return problem, prompt and sample variance from a full table.

    Each problem is asked with every prompt, several times: `x_ijk = mean + problem_i + prompt_j + interaction_ij +
    sample_ijk`. The components come from mean squares (Searle, Casella and McCulloch 1992, Variance Components).

    Parameters
    ----------
    values : array
        Problems x prompts x samples, or problems x samples.

    Raises
    ------
    ParameterError
        If a value is missing, or an axis has fewer than two entries.
    """
    table = checks.table(values, "values")
    if table.ndim not in (2, 3) or min(table.shape) < 2:
        raise ParameterError(
            "at least two problems, two samples and, with three axes, two prompts are needed, got an array of shape "
            f"{table.shape}"
        )
    mean, samples = float(table.mean()), table.shape[-1]
    within = float(table.var(axis=-1, ddof=1).mean())
    cells = table.mean(axis=-1)
    if table.ndim == 2:
        total, size = float(cells.var(ddof=1)), len(cells)
        parts = [("problem", total - within / samples, size), ("sample", within, size * samples)]
        return _split(mean, total / size, *parts)
    size, prompts = cells.shape
    rows, columns = cells.mean(axis=1), cells.mean(axis=0)
    rest = cells - rows[:, None] - columns + mean
    both = float((rest**2).sum()) / ((size - 1) * (prompts - 1))
    parts = [
        ("problem", float(rows.var(ddof=1)) - both / prompts, size),
        ("prompt", float(columns.var(ddof=1)) - both / size, prompts),
        ("problem x prompt", both - within / samples, size * prompts),
        ("sample", within, size * prompts * samples),
    ]
    return _split(mean, sum(max(0.0, variance) / count for _, variance, count in parts), *parts)


def _split(mean: float, squared: float, *parts: tuple[str, float, float]) -> Split:
    """Build a `Split` from components and the numbers over which their effects are averaged."""
    components = tuple(
        Component(name, variance, math.sqrt(max(0.0, variance) / count)) for name, variance, count in parts
    )
    return Split(mean, math.sqrt(max(0.0, squared)), components)
