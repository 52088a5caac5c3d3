"""Transformers of weighted populations, from which methods are composed; each with a meaning as a measure.

A population represents the measure gamma that gives each value the sum of its weights (`Weighted`). A transformer
states what its result represents, and in what sense (`Keeps`). If every part of a composition represents what it
states, exactly or in expectation, then so does the whole (Ścibior et al. 2018, Denotational validation of higher-order
Bayesian inference, arXiv 1711.03219). `intact.reason.testing.laws` checks the statements by exact enumeration.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, TypeVar, cast

from intact._base.errors import ParameterError
from intact._base.exact import Number
from intact._base.exact import weight as exact_weight
from intact.numerics.sampling import uniform64
from intact.reason.limits import above, at_least
from intact.reason.populations.resampling import Key
from intact.reason.populations.resampling import resample as ancestors
from intact.reason.registry import Part
from intact.reason.weighted import Keeps, Law, Log, Weight, Weighted, mean_weight

X = TypeVar("X")
Y = TypeVar("Y")
H = TypeVar("H", bound=Hashable)
F = TypeVar("F", bound=Callable[..., Any])
Kernel = Callable[[Sequence[X]], Part[Sequence[Y]]]
"""Draws one successor for each of several values, in parallel; a generator, because it may have to query a model."""


def transformer(
    meaning: str, keeps: Keeps, changed: Callable[[Mapping[str, Any]], tuple[str, Keeps] | None] = lambda options: None
) -> Callable[[F], F]:
    """Make a transformer from a function or generator function that maps populations (its first arguments) to one.

    Parameters
    ----------
    meaning : str
        The measure that the result represents, where gamma is the argument's measure.
    keeps : Keeps
        The sense in which the result represents it.
    changed : callable, optional
        Called with the keyword arguments of a call; returns the meaning and its sense if these arguments change either,
        else None.
    """

    def decorate(function: F) -> F:
        law = Law(function.__name__, meaning, keeps)

        def recorded(result: Weighted[Any], arguments: Iterable[Any], options: Mapping[str, Any]) -> Weighted[Any]:
            before = [one.history for one in arguments if isinstance(one, Weighted)]
            other = changed(options)
            return replace(result, history=(*sum(before, ()), law if other is None else Law(law.name, *other)))

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def part(*args: Any, **options: Any) -> Part[Weighted[Any]]:
                return recorded((yield from function(*args, **options)), args, options)

            part.law = law  # type: ignore[attr-defined]
            return cast(F, part)

        @functools.wraps(function)
        def whole(*args: Any, **options: Any) -> Weighted[Any]:
            return recorded(function(*args, **options), args, options)

        whole.law = law  # type: ignore[attr-defined]
        return cast(F, whole)

    return decorate


@transformer("the point mass at the value", "exactly")
def start(value: X, n: int = 1) -> Weighted[X]:
    """Put a mass of 1 on a value, split over n particles."""
    at_least(1, n=n)
    return Weighted((value,) * n, (1,) * n, n)


@transformer("gamma(dx) q(x, dy)", "in expectation")
def sample(population: Weighted[X], kernel: Kernel[X, Y]) -> Part[Weighted[Y]]:
    """Replace each value with a successor drawn by a kernel.

    Draws of different particles may depend on each other, as long as each follows the kernel's law.
    """
    return Weighted(tuple((yield from kernel(population.values))), population.weights, population.whole)


@transformer("gamma, if the kernel leaves it as it is", "in expectation")
def move(population: Weighted[X], kernel: Kernel[X, X]) -> Part[Weighted[X]]:
    """Redraw each value with a kernel whose invariant measure is the population's measure.

    The kernel must not depend on the population that it moves.
    """
    return replace(population, values=tuple((yield from kernel(population.values))))


@transformer("gamma(dx) q(x, dy)", "exactly")
def enumerate_all(population: Weighted[X], outcomes: Callable[[X], Iterable[tuple[Y, Number]]]) -> Weighted[Y]:
    """Replace each value with all its possible successors, weighted by their probability times the value's weight."""
    pairs = [
        (value, _times(weight, exact_weight(chance, "a chance")))
        for old, weight in zip(population.values, population.weights, strict=True)
        for value, chance in outcomes(old)
    ]
    return _population(pairs, population.whole)


@transformer("f(x) gamma(dx)", "exactly")
def weigh(
    population: Weighted[X],
    factor: Callable[[X], Weight] | Sequence[Weight],
    *,
    over: Callable[[X], Weight] | None = None,
    where: Collection[int] | None = None,
) -> Weighted[X]:
    """Multiply each weight by a factor that depends on its value. A random factor with that mean works as well.

    Parameters
    ----------
    factor : callable or sequence
        A function of the value, or one factor per index, which must depend only on the value at that index.
    over : callable, optional
        A divisor of the weight, applied afterwards. For a potential whose value at each step is divided out at the next
        (a twist), only the last value counts.
    where : collection of int, optional
        Indices at which the factor applies; elsewhere it is 1. By default it applies everywhere.
    """
    chosen = range(len(population)) if where is None else set(where)
    weights = list(population.weights)
    for i, value in enumerate(population.values):
        if i in chosen:
            weights[i] = _times(weights[i], factor(value) if callable(factor) else factor[i])
            if over is not None:
                weights[i] = _divided(weights[i], over(value))
    return replace(population, weights=tuple(weights))


def _resampled(options: Mapping[str, Any]) -> tuple[str, Keeps] | None:
    """Return the law of `resample` if its options change the law."""
    if options.get("temperature", 1.0) != 1:
        return "the particles with their weights to the power 1/temperature", "no"
    return ("gamma, if each kept value was drawn by its weight", "in expectation") if options.get("kept") else None


@transformer("gamma", "in expectation", _resampled)
def resample(
    population: Weighted[X],
    key: Key,
    n: int | None = None,
    *,
    scheme: str = "multinomial",
    temperature: float = 1.0,
    kept: Sequence[int] = (),
) -> Weighted[X]:
    """Draw n particles by weight; each then gets the mean weight. If all weights are 0, nothing changes.

    Parameters
    ----------
    key : int or DrawSource
        Key for the draws, which must be fresh.
    n : int, optional
        Number of particles; by default unchanged.
    scheme : str
        multinomial, stratified, systematic or residual: each gives particle i ``n w_i / sum(w)`` children in
        expectation.
    temperature : float
        Weights are raised to 1/temperature first, which changes the measure unless it is 1; the recorded law says so.
    kept : sequence of int
        Indices that get one child each, before the remaining drawn ones: the conditional resampling of particle Gibbs,
        which preserves gamma only if the kept value was drawn by its weight.
    """
    count = len(population) if n is None else n
    at_least(max(1, len(kept)), n=count)
    above(0, temperature=temperature)
    if not any(population.weights):
        return population
    drawn = ancestors(scheme, key, population.relative(temperature), count - len(kept))
    mean = mean_weight(population.weights, len(population), temperature)
    whole = Fraction(population.whole) * count / len(population)
    return Weighted(tuple(population.values[i] for i in (*kept, *drawn)), (mean,) * count, _plain(whole))


@transformer("gamma", "in expectation")
def prune(population: Weighted[X], key: Key, chances: Sequence[Number]) -> Weighted[X]:
    """Keep particle i with its probability, and divide its weight by that probability.

    Raises
    ------
    ParameterError
        If a probability is outside (0, 1].
    """
    exact = [exact_weight(chance, "a chance") for chance in chances]
    if not all(0 < chance <= 1 for chance in exact):
        raise ParameterError(f"probabilities must lie in (0, 1], got {list(chances)}")
    pairs = zip(population.values, population.weights, exact, strict=True)
    kept = key.flips(exact) if not isinstance(key, int) else _flips(key, exact)
    return _population(
        [
            (value, _divided(weight, chance))
            for (value, weight, chance), stays in zip(pairs, kept, strict=True)
            if stays
        ],
        population.whole,
    )


@transformer("gamma of those that have a child", "exactly")
def expand(population: Weighted[X], places: int | Sequence[int]) -> Weighted[X]:
    """Give particles several children, which share their parent's weight.

    Parameters
    ----------
    places : int or sequence of int
        The number of children of each particle, or the index of each child's parent. A particle without children is
        lost, and the measure is then that of the remaining particles.
    """
    if isinstance(places, int):
        at_least(1, places=places)
        places = [i for i in range(len(population)) for _ in range(places)]
    shares = Counter(places)
    return _population(
        [(population.values[i], _divided(population.weights[i], shares[i])) for i in places], population.whole
    )


@transformer("gamma", "exactly")
def merge(population: Weighted[H]) -> Weighted[H]:
    """Merge particles of equal value into one, at the index of the first; its weight is the sum of their weights."""
    groups: dict[H, list[Weight]] = {}
    for value, weight in zip(population.values, population.weights, strict=True):
        groups.setdefault(value, []).append(weight)
    return _population([(value, mean_weight(weights, 1)) for value, weights in groups.items()], population.whole)


@transformer("gamma pushed through the function", "exactly")
def push(population: Weighted[X], function: Callable[[X], Y]) -> Weighted[Y]:
    """Replace each value with a function of it, such as the answer of a completion."""
    return Weighted(tuple(map(function, population.values)), population.weights, population.whole)


@transformer("share gamma + (1 - share) delta", "exactly")
def mix(population: Weighted[X], other: Weighted[X], share: Number) -> Weighted[X]:
    """Combine two populations, weighted by `share` in [0, 1] and 1 - share."""
    portion = exact_weight(share, "a share")
    if portion > 1:
        raise ParameterError(f"a share must lie in [0, 1], got {share}")
    return _joined([(population, portion), (other, 1 - portion)])


@transformer("gamma + delta", "exactly")
def join(population: Weighted[X], other: Weighted[X]) -> Weighted[X]:
    """Concatenate two populations."""
    return _joined([(population, Fraction(1)), (other, Fraction(1))])


@transformer("gamma / its mass", "up to a factor")
def normalise(population: Weighted[X], whole: Number | None = None) -> Weighted[X]:
    """Divide weights by the mass so that they sum to `whole`, by default their number; if all are 0, they are kept.

    The measure of each normalised population is right up to a factor; the mean over several populations is not, since
    the factors differ.
    """
    some = any(population.weights)
    parts = [Fraction(weight) for weight in (population.relative() if some else [0] * len(population))]
    size = len(parts) if whole is None else whole
    share = Fraction(size) / (sum(parts) or 1)
    return replace(population, weights=tuple(part * share for part in parts), whole=size)


@transformer("gamma of those that are kept", "no")
def cut(population: Weighted[X], places: Sequence[int]) -> Weighted[X]:
    """Keep the particles at the given indices, in this order, with their weights; the mass of the others is lost."""
    return _population([(population.values[i], population.weights[i]) for i in places], population.whole)


@transformer("any weights instead of gamma's", "no")
def reweigh(population: Weighted[X], weights: Sequence[Weight]) -> Weighted[X]:
    """Give particles new weights, which may depend on all of them, such as ranks."""
    return _population(list(zip(population.values, weights, strict=True)), population.whole)


def within_places(
    population: Weighted[X], places: Sequence[int], change: Callable[[Weighted[X]], Weighted[X]]
) -> Weighted[X]:
    """Apply transformers that preserve the number of particles to those at the given indices; the others are unchanged.

    The measure is the sum of both parts, so it is preserved in the same sense as by the transformers, except for "up to
    a factor": a factor of one part is not a factor of the whole.
    """
    part = Weighted(
        tuple(population.values[i] for i in places),
        tuple(population.weights[i] for i in places),
        population.whole,
        population.history,
    )
    changed = change(part)
    if len(changed) != len(places):
        raise ParameterError(f"the number of particles must remain {len(places)}, got {len(changed)}")
    values, weights = list(population.values), list(population.weights)
    for i, value, weight in zip(places, changed.values, changed.weights, strict=True):
        values[i], weights[i] = value, weight
    return Weighted(tuple(values), tuple(weights), population.whole, changed.history)


def _population(pairs: Sequence[tuple[X, Weight]], whole: Number) -> Weighted[X]:
    return Weighted(tuple(value for value, _ in pairs), tuple(weight for _, weight in pairs), whole)


def _joined(parts: Sequence[tuple[Weighted[X], Fraction]]) -> Weighted[X]:
    """Concatenate populations over a common whole, with each multiplied by a number."""
    wholes = [Fraction(population.whole) for population, _ in parts]
    whole = math.lcm(*(one.numerator for one in wholes)) if all(wholes) else 1
    pairs = [
        (value, _times(weight, factor * whole / one))
        for (population, factor), one in zip(parts, wholes, strict=True)
        for value, weight in zip(population.values, population.weights, strict=True)
    ]
    return _population(pairs, whole)


def _plain(number: Fraction) -> Number:
    return number.numerator if number.denominator == 1 else number


def _times(weight: Weight, factor: Weight) -> Weight:
    if isinstance(factor, Log):
        return weight * factor
    if factor == 1:
        return weight
    exact = exact_weight(factor, "a factor")
    return Log.of(exact) * weight if isinstance(weight, Log) else Fraction(weight) * exact


def _divided(weight: Weight, divisor: Weight) -> Weight:
    if isinstance(divisor, Log) or isinstance(weight, Log):
        left = weight if isinstance(weight, Log) else Log.of(weight)
        return left if divisor == 1 else left / (divisor if isinstance(divisor, Log) else Log.of(divisor))
    return weight if divisor == 1 else Fraction(weight) / exact_weight(divisor, "a divisor")


def _flips(key: int, chances: Sequence[Fraction]) -> list[bool]:
    """For each probability, return whether the key's uniform number at its index is below it."""
    return [uniform64(key, i) < math.ceil(chance * (1 << 64)) for i, chance in enumerate(chances)]
