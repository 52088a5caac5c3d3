"""Laws of transformers, kernels, decisions and methods, checked by exact enumeration on small models.

The meaning of a program with random choices is the expected measure of the population that it makes. Here every outcome
of every choice is enumerated, with its probability as a fraction, so a law either holds or fails. Populations are tried
in order of size, so an error names the smallest one that breaks the law.

    from intact.reason.testing.laws import check_transformer

    check_transformer(lambda population, draws: my_resample(population, draws))
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from intact.reason.populations.transformers import Kernel, expand, reweigh, sample, start, weigh
from intact.reason.problem import Problem, State
from intact.reason.registry import Method
from intact.reason.testing.enumeration import EnumeratedProblem, Oracle, Player, outcomes
from intact.reason.testing.toy import END, MarkovBackend
from intact.reason.weighted import Keeps, Log, Weighted

X = TypeVar("X", bound=Hashable)
Y = TypeVar("Y", bound=Hashable)
T = TypeVar("T")
Measure: TypeAlias = Mapping[X, Fraction]
"""The mass of each value; values with no mass may be missing."""
Change: TypeAlias = Callable[[Weighted[str], Oracle], Any]
"""One or several transformers of a population of letters; draws come from the oracle instead of a key."""
WEIGHTS: Final = (Fraction(1), Fraction(0), Fraction(3), Fraction(1, 2))
TWO_LETTERS: Final = {"": {"a": 2, "b": 1, END: 1}, "a": {"a": 1, END: 1}, "b": {"a": 1, "b": 2, END: 1}}
"""The model on which laws of methods are enumerated; its texts end after zero, one or two letters."""


class LawError(AssertionError):
    """Raised when a law does not hold."""


def finish(part: Any) -> Any:
    """Run a generator that makes no requests and return its result; return anything else unchanged."""
    if not isinstance(part, Generator):
        return part
    try:
        request = next(part)
    except StopIteration as stop:
        return stop.value
    raise LawError(f"a finite model does not answer requests, got {request!r:.60}")


def expected(run: Callable[[Oracle], Weighted[X]]) -> dict[X, Fraction]:
    """Return the expected measure of the population that a program makes, taken over all its choices."""
    found: dict[X, Fraction] = {}
    for population, chance in outcomes(run):
        for value, mass in population.measure().items():
            found[value] = found.get(value, Fraction(0)) + chance * mass
    return without_zeros(found)


def without_zeros(measure: Measure[X]) -> dict[X, Fraction]:
    """Return a measure without the values of zero mass."""
    return {value: mass for value, mass in measure.items() if mass}


def populations(most: int = 3, weights: Sequence[Fraction] = WEIGHTS) -> Iterator[Weighted[str]]:
    """Yield populations of letters with exact weights, smallest first; the whole is their size, or 2."""
    for size in range(1, most + 1):
        for values in itertools.product("ab", repeat=size):
            for chosen in itertools.product(weights[: 5 - size], repeat=size):
                for whole in sorted({size, 2}):
                    yield Weighted(values, chosen, whole)


def check_transformer(
    change: Change,
    meaning: Callable[[Measure[str]], Measure[Any]] = without_zeros,
    keeps: Keeps = "in expectation",
    most: int = 3,
) -> None:
    """Check that a transformer's result has the stated measure, for all small populations.

    Parameters
    ----------
    change : callable
        Called with a population and an oracle, which is passed on in place of a key.
    meaning : callable
        Maps the population's measure to the stated one; by default the measure is unchanged.
    keeps : {'exactly', 'in expectation', 'up to a factor'}
        The sense in which the law holds: for every outcome, on average over outcomes, or for every outcome up to a
        factor.
    most : int
        Maximum number of particles.

    Raises
    ------
    LawError
        If the measure differs; the message names the smallest such population.
    """
    for population in populations(most):
        stated = without_zeros(meaning(population.measure()))
        run = partial(_changed, change, population)
        if keeps == "in expectation":
            _require(expected(run), stated, population)
            continue
        for result, _ in outcomes(run):
            found = without_zeros(result.measure())
            if keeps == "up to a factor" and found and stated:
                found, stated = _normalised(found), _normalised(stated)
            _require(found, stated, population)


def _changed(change: Change, population: Weighted[str], oracle: Oracle) -> Weighted[Any]:
    result: Weighted[Any] = finish(change(population, oracle))
    return result


def _normalised(measure: Measure[X]) -> dict[X, Fraction]:
    mass = sum(measure.values())
    return {value: one / mass for value, one in measure.items()}


def _require(found: Measure[Any], stated: Measure[Any], population: Weighted[Any]) -> None:
    if found != stated:
        weights = ", ".join(f"{value}: {weight}" for value, weight in zip(population, population.weights, strict=True))
        raise LawError(
            f"for the particles {weights} over {population.whole} the result represents {_written(found)}, "
            f"but {_written(stated)} is stated"
        )


def _written(measure: Measure[Any]) -> str:
    return "{" + ", ".join(f"{value}: {mass}" for value, mass in sorted(measure.items(), key=str)) + "}"


def check_kernel(kernel: Callable[[Oracle], Kernel[X, X]], invariant: Measure[X]) -> None:
    """Check that a kernel leaves a measure invariant, so that it may be used with `move`.

    Raises
    ------
    LawError
        If the measure is not invariant.
    """
    population = Weighted(tuple(invariant), tuple(invariant.values()))
    _require(expected(lambda oracle: finish(sample(population, kernel(oracle)))), without_zeros(invariant), population)


def check_decision(decide: Callable[[Weighted[str]], str | None], most: int = 3) -> None:
    """Check, on all small populations, the properties that every decision by mass must have.

    The answer must stay the same when all weights are doubled, when each particle is split in two, when the order is
    reversed (except for ties), and when the weight of a particle with that answer is increased.

    Parameters
    ----------
    decide : callable
        Maps a population of answers to an answer.

    Raises
    ------
    LawError
        If a property fails.
    """
    for population in populations(most):
        answer = decide(population)
        masses = sorted(population.measure().values(), reverse=True)
        tied = len(masses) > 1 and masses[0] == masses[1]
        raised = list(population.weights)
        for i in population.where(lambda value, winner=answer: value == winner):  # type: ignore[misc]
            raised[i] = Fraction(1) + raised[i]  # type: ignore[operator]
        reverse = Weighted(population.values[::-1], population.weights[::-1], population.whole)
        others = {
            "with doubled weights": weigh(population, lambda _: 2),
            "with each particle split in two": expand(population, 2),
            "with more weight for its own particles": reweigh(population, raised),
            "in the other order": population if tied else reverse,
        }
        for how, other in others.items():
            if (found := decide(other)) != answer:
                raise LawError(f"for {population.values} with {population.weights} it is {answer}, but {how} {found}")


@dataclass(frozen=True)
class FiniteModel:
    """A model of words with `depth` letters: the probabilities of letters, and the factors that weight partial words.

    Attributes
    ----------
    chances : mapping
        For each prefix, the probability of each next letter.
    factors : mapping
        For each non-empty word, the factor of its weight.
    """

    depth: int
    chances: Mapping[str, Mapping[str, Fraction]]
    factors: Mapping[str, Fraction]

    def outcomes(self, word: str) -> list[tuple[str, Fraction]]:
        """Return the possible next words with their probabilities."""
        return [(word + letter, chance) for letter, chance in self.chances[word].items()]

    def kernel(self, oracle: Oracle) -> Kernel[str, str]:
        """Return the kernel that appends a letter."""

        def draw(words: Sequence[str]) -> Generator[Any, Any, list[str]]:
            yield from ()
            return [oracle.choose(self.outcomes(word)) for word in words]

        return draw

    def measure(self) -> dict[str, Fraction]:
        """Return the mass of each word: the product of its probabilities and factors."""
        masses = {"": Fraction(1)}
        for _ in range(self.depth):
            masses = {
                longer: mass * chance * self.factors[longer]
                for word, mass in masses.items()
                for longer, chance in self.outcomes(word)
            }
        return without_zeros(masses)

    def prefix_measure(self, length: int) -> dict[str, Fraction]:
        """Return the measure of the words after a number of steps."""
        return FiniteModel(length, self.chances, self.factors).measure()

    def run(self, oracle: Oracle, n: int, between: Sequence[Change]) -> Weighted[str]:
        """Write words with n particles, and apply a transformer after each step."""
        words = start("", n)
        for change in between:
            words = finish(sample(words, self.kernel(oracle)))
            words = finish(change(weigh(words, self.factors.__getitem__), oracle))
        return words


def check_composition(model: FiniteModel, n: int, between: Sequence[Change]) -> None:
    """Check that n particles, with transformers between the steps, represent the model's measure.

    Raises
    ------
    LawError
        If they do not represent that measure.
    """
    found = expected(lambda oracle: model.run(oracle, n, between))
    if found != model.measure():
        raise LawError(f"{n} particles represent {_written(found)}, but the measure is {_written(model.measure())}")


MethodLaw: TypeAlias = Callable[[Method, Mapping[str, Any]], None]
"""A check of a method with parameters; raises `LawError`."""


class _Position:
    """A scorer for texts of two letters: its scores are exact doubles in (0, 1) that differ from step to step."""

    name, digest = "letters", ""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [(1 + state.text.count("b") + (state.text[:1] == "a")) / 8 for state in states]


def method_measures(
    method: Method, parameters: Mapping[str, Any], n: int
) -> tuple[dict[str, float], list[tuple[Any, float]]]:
    """Return the expected measure of the texts behind a method's decision, and its answers with their probabilities.

    The method writes texts of at most two letters (`TWO_LETTERS`), in two steps of one letter if it has steps.

    Raises
    ------
    LawError
        If the method has no parameter n, or does not end with a decision function of `intact.reason.parts.composing`.
    """
    own = {parameter.name for parameter in method.parameters}
    if "n" not in own:
        raise LawError(f"{method.name} has no parameter n for the number of texts")
    fixed = {"n": n, "steps": 2, "delimiter": "\0"}
    values = {**parameters, **{name: value for name, value in fixed.items() if name in own}}
    begun, masses, answers = (
        Problem("p", "ask", lambda text: text or None),
        dict[str, float](),
        list[tuple[Any, float]](),
    )

    def run(oracle: Oracle) -> Any:
        problem = EnumeratedProblem.of(begun, oracle)
        player = Player(MarkovBackend(TWO_LETTERS), oracle, 1 if "steps" in own else 2, _Position())
        return player.play(method(problem, **values), problem)

    for answer, chance in outcomes(run):
        if answer.population is None:
            raise LawError(f"{method.name} is not decided by a decision function of intact.reason.parts.composing")
        answers.append((answer, float(chance)))
        population = answer.population
        for value, weight in zip(population.values, population.weights, strict=True):
            text = value if isinstance(value, State) else value.state
            mass = math.exp(weight.value) if isinstance(weight, Log) else float(weight)
            masses[text.text] = masses.get(text.text, 0.0) + float(chance) * mass / float(population.whole)
    return masses, answers


def measure(method: Method, parameters: Mapping[str, Any]) -> None:
    """The texts behind the decision represent the same measure for n = 1 and n = 2: the measure of a single text."""
    one, _ = method_measures(method, parameters, 1)
    two, _ = method_measures(method, parameters, 2)
    for text in sorted(one.keys() | two.keys()):
        if not math.isclose(one.get(text, 0.0), two.get(text, 0.0), rel_tol=1e-9, abs_tol=1e-12):
            raise LawError(
                f"the text {text!r} has the mass {one.get(text, 0.0):.9g} with one particle, but "
                f"{two.get(text, 0.0):.9g} with two"
            )


def evidence(method: Method, parameters: Mapping[str, Any]) -> None:
    """The detail `log_evidence` is the logarithm of an estimate whose mean is the mass of a single text."""
    one, _ = method_measures(method, parameters, 1)
    _, answers = method_measures(method, parameters, 2)
    if not all("log_evidence" in answer.details for answer, _ in answers):
        raise LawError(f"{method.name} has no detail log_evidence")
    mean = math.fsum(chance * math.exp(answer.details["log_evidence"]) for answer, chance in answers)
    if not math.isclose(mean, math.fsum(one.values()), rel_tol=1e-9):
        raise LawError(f"the evidence is {mean:.9g} on average; expected {math.fsum(one.values()):.9g}")


METHOD_LAWS: Final[Mapping[str, MethodLaw]] = {"measure": measure, "evidence": evidence}
"""The laws that a method may declare (`intact.reason.parts.composing.composed`), by name."""
