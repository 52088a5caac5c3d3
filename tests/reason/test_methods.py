"""The first methods against what their papers say, on a model whose every text can be enumerated."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction
from typing import Any

import pytest

from intact.reason import Problem, State, find
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.methods import particle_filter as filtering
from intact.reason.parts.particles import Trajectory
from intact.reason.populations.transformers import normalise, resample
from intact.reason.testing.enumeration import EnumeratedProblem, Oracle, Player, outcomes
from intact.reason.testing.toy import END, MarkovBackend
from intact.reason.weighted import Weighted

LONGEST = 4
RUNS = 1000


class Letters:
    """A reward for each text: exact, in (0, 1)."""

    digest = ""

    def __init__(self, name: str = "letters") -> None:
        self.name = name

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [reward(state.text) for state in states]


def reward(text: str) -> float:
    return (1 + sum("abc.".index(letter) for letter in text)) / (4 + 4 * len(text))


def answers(method: str, runs: int, longest: int = LONGEST, **parameters: Any) -> list[Any]:
    driver = Driver(
        {"toy": MarkovBackend()},
        sampling={"max_tokens": longest, "temperature": 1.0},
        services=Services(Letters),
        parallel=64,
    )
    problems = [Problem(f"run {i}", "?", lambda text: text) for i in range(runs)]
    results = dict(driver.solve([MethodJob(find(method), problem, parameters) for problem in problems]))
    assert all(result.why == "done" for result in results.values()), results[0].error
    return [results[i].answer for i in range(runs)]


def law() -> dict[str, Fraction]:
    """The exact distribution of a sample's text."""
    total: dict[str, Fraction] = {}
    for text, chance, _ in MarkovBackend().texts(LONGEST):
        total[text] = total.get(text, Fraction(0)) + chance
    assert sum(total.values()) == 1
    return total


def assert_follows(found: Counter[str], expected: dict[str, Fraction], runs: int) -> None:
    """Frequencies within 4.5 standard deviations, for each text and for rare ones together."""
    assert set(found) <= set(expected)
    rare = [text for text, chance in expected.items() if chance * runs < 8]
    groups = [[text] for text in expected if text not in rare] + [rare]
    for group in groups:
        chance = float(sum(expected[text] for text in group))
        deviation = (runs * chance * (1 - chance)) ** 0.5
        assert abs(sum(found[text] for text in group) - runs * chance) <= 4.5 * deviation + 1, group


def test_a_sample_follows_the_model() -> None:
    runs = RUNS
    found = Counter(answer.answer for answer in answers("chain_of_thought", runs))
    assert_follows(found, law(), runs)


def test_best_of_n_follows_its_exact_law() -> None:
    """P(best of n is t): all draws score at most r(t), less all below; among equals by the first of them."""
    n, runs, exact = 3, RUNS, law()
    expected: dict[str, Fraction] = {}
    for value in {reward(text) for text in exact}:
        below = sum(p for text, p in exact.items() if reward(text) < value)
        here = sum(p for text, p in exact.items() if reward(text) == value)
        for text, p in exact.items():
            if reward(text) == value:
                expected[text] = ((below + here) ** n - below**n) * p / here
    assert sum(expected.values()) == 1
    assert_follows(Counter(a.answer for a in answers("best_of_n", runs, n=n, scorer="letters")), expected, runs)


def test_self_consistency_follows_its_exact_law() -> None:
    """Of three votes the majority, or the first of three that differ."""
    runs, exact = RUNS, law()
    expected = {}
    for text, p in exact.items():
        majority = 3 * p * p * (1 - p) + p**3
        pairs = sum(q * q for other, q in exact.items() if other != text)
        first_of_three = p * ((1 - p) ** 2 - pairs)
        expected[text] = majority + first_of_three
    assert sum(expected.values()) == 1
    assert_follows(Counter(a.answer for a in answers("self_consistency", runs, n=3)), expected, runs)


def test_first_finish_follows_its_exact_law() -> None:
    """The shortest of two that end; of equals the first. Who is cut at the limit has not finished."""
    runs = RUNS
    ends: dict[tuple[str, int], Fraction] = {}
    for text, chance, why in MarkovBackend().texts(LONGEST):
        key = (text, len(text) + 1 if why == "end" else 99)
        ends[key] = ends.get(key, Fraction(0)) + chance
    expected: dict[str, Fraction] = {}
    for (text, length), p in ends.items():
        for (other, its), q in ends.items():
            winner = text if length <= its else other  # where nobody finished all vote, and the first wins
            expected[winner] = expected.get(winner, Fraction(0)) + p * q
    assert sum(expected.values()) == 1
    assert_follows(Counter(a.answer for a in answers("first_finish", runs, n=2)), expected, runs)


def test_a_step_of_the_particle_filter_follows_its_exact_law() -> None:
    """Two particles, one step: a text survives by its odds r / (1 - r)."""
    runs, exact = RUNS, law()

    def odds(text: str) -> Fraction:
        r = Fraction(reward(text))
        return r / (1 - r)

    expected: dict[str, Fraction] = {}
    for x, p in exact.items():
        for y, q in exact.items():
            survive = odds(x) / (odds(x) + odds(y))
            best, worse = (x, y) if reward(x) >= reward(y) else (y, x)
            only_worse = (1 - survive) ** 2 if worse == y else survive**2
            expected[worse] = expected.get(worse, Fraction(0)) + p * q * only_worse
            if reward(x) == reward(y):  # whichever stands first after resampling
                expected[worse] -= p * q * only_worse
                expected[x] = expected.get(x, Fraction(0)) + p * q * survive
                expected[y] = expected.get(y, Fraction(0)) + p * q * (1 - survive)
            else:
                expected[best] = expected.get(best, Fraction(0)) + p * q * (1 - only_worse)
    assert abs(sum(expected.values()) - 1) < Fraction(1, 10**9)
    found = Counter(a.answer for a in answers("particle_filter", runs, n=2, scorer="letters", steps=1))
    assert_follows(found, expected, runs)


ENDING = {"": {"a": 1, "b": 1}, "a": {END: 1}, "b": {".": 1}, ".": {"c": 1}, "c": {END: 1}}
"""Either "a", which ends at once, or "b." and "c"."""
ODDS = {"a": 2, "b.": 2, "b.c": 8}


class Odds:
    """Rewards with the odds of `ODDS`."""

    name, digest = "odds", ""

    def score(self, problem: Problem, states: list[State]) -> list[float]:
        return [ODDS[state.text] / (1 + ODDS[state.text]) for state in states]


def masses(ended: str, n: int, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The mean, over all that is random, of the evidence times the share of each text in the last population."""
    found = {"a": 0.0, "b.c": 0.0}
    steps: list[float] = []

    def recorded(pool: Weighted[Trajectory]) -> Weighted[Trajectory]:
        steps.append(pool.log_mass - math.log(len(pool) / n))
        return normalise(pool)

    monkeypatch.setattr(filtering, "normalise", recorded)

    def run(oracle: Oracle) -> dict[str, float]:
        steps.clear()
        problem = EnumeratedProblem.of(Problem("p", "?", lambda text: text), oracle)
        begun = find("particle_filter")(problem, n=n, delimiter=".", ended=ended)
        answer = Player(MarkovBackend(ENDING), oracle, scorer=Odds()).play(begun, problem)
        if ended == "product":
            assert answer.details["log_evidence"] == sum(steps)
        assert answer.population is not None
        last = Counter(text.state.text for text in answer.population)
        return {text: math.exp(sum(steps)) * last[text] / n for text in found}

    for masses, chance in outcomes(run):
        for text, mass in masses.items():
            found[text] += float(chance) * mass
    return found


@pytest.mark.parametrize("n", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_particle_filter_has_a_target_where_ended_texts_weigh_1(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the model's mass each, times the odds on the way: 2, and 2 * 8."""
    assert masses("product", n, monkeypatch) == pytest.approx({"a": 1, "b.c": 8})


@pytest.mark.parametrize("ended", ["authors", "apart"])
def test_the_authors_rules_have_no_target(ended: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the population stands for depends on the number of particles."""
    one, two = (masses(ended, n, monkeypatch) for n in (1, 2))
    assert one == pytest.approx({"a": 1, "b.c": 8})
    assert abs(two["a"] - one["a"]) > 0.2


@pytest.mark.parametrize(("ended", "odds"), [("authors", 4), ("apart", 1), ("product", 8)])
def test_many_particles_come_to_the_odds_that_the_page_states(ended: str, odds: int) -> None:
    driver = Driver({"toy": MarkovBackend(ENDING)}, sampling={"temperature": 1.0}, services=Services(lambda _: Odds()))
    parameters = {"n": 1000, "delimiter": ".", "ended": ended}
    problems = [Problem(f"p{i}", "?", lambda text: text) for i in range(4)]
    last = Counter[str]()
    for _, result in driver.solve([MethodJob(find("particle_filter"), problem, parameters) for problem in problems]):
        last.update(text.state.text for text in result.answer.population)
    assert last["b.c"] / last["a"] == pytest.approx(odds, rel=0.15)


@pytest.mark.parametrize("n", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_a_text_drawn_from_the_last_population_has_its_mass_of_the_target(n: int) -> None:
    """Half of the model's mass each, times the odds on the way: the evidence where the text is drawn has this mean."""
    found = {"a": 0.0, "b.c": 0.0}

    def run(oracle: Oracle) -> tuple[str | None, float]:
        problem = EnumeratedProblem.of(Problem("p", "?", lambda text: text), oracle)
        begun = find("particle_filter")(problem, n=n, delimiter=".", ended="product", final="sample")
        answer = Player(MarkovBackend(ENDING), oracle, scorer=Odds()).play(begun, problem)
        return answer.answer, answer.details["log_evidence"]

    for (text, evidence), chance in outcomes(run):
        found[text] += float(chance) * math.exp(evidence)
    assert found == pytest.approx({"a": 1, "b.c": 8})


def test_a_text_is_drawn_by_its_last_weight_again_under_the_authors_rule() -> None:
    """One step of two texts: drawn twice by odds, for the population and from it."""
    weights = {"": {"a": 1, "b": 1}, "a": {END: 1}, "b": {END: 1}}

    class Two:
        name, digest = "two", ""

        def score(self, problem: Problem, states: list[State]) -> list[float]:
            return [{"a": 0.5, "b": 0.8}[state.text] for state in states]

    def run(oracle: Oracle) -> str | None:
        problem = EnumeratedProblem.of(Problem("p", "?", lambda text: text), oracle)
        begun = find("particle_filter")(problem, n=2, final="sample")
        return Player(MarkovBackend(weights), oracle, scorer=Two()).play(begun, problem).answer

    exact: Counter[str | None] = Counter()
    for answer, chance in outcomes(run):
        exact[answer] += chance
    # of two unlike texts, b with odds 4 and a with 1, come bb (16/25), both (8/25), aa (1/25); then b by 4 to 1
    assert float(exact["b"]) == pytest.approx(1 / 4 + (16 / 25 + 8 / 25 * 4 / 5) / 2)


def test_the_temperature_of_the_weights_is_annealed_as_by_the_authors_program(monkeypatch: pytest.MonkeyPatch) -> None:
    heats: list[float] = []

    def recorded(pool: Weighted[Trajectory], *args: Any, temperature: float = 1.0, **options: Any) -> Any:
        heats.append(temperature)
        return resample(pool, *args, temperature=temperature, **options)

    monkeypatch.setattr(filtering, "resample", recorded)
    problem = EnumeratedProblem.of(Problem("p", "?", lambda text: text), Oracle())
    begun = find("particle_filter")(
        problem, n=1, delimiter=".", steps=6, softness=0.5, first_softness=2.0, annealing=4, scorer="letters"
    )
    forever = MarkovBackend({"": {"a": 1}, "a": {".": 1}, ".": {"a": 1}})
    Player(forever, Oracle(), scorer=Letters()).play(begun, problem)
    assert heats == [1.5, 1.0, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("reduction", ["last", "min", "prod", "mean"])
def test_every_reduction_of_step_rewards_is_used(reduction: str) -> None:
    seen: list[list[str]] = []

    class Spy(Letters):
        def score(self, problem: Problem, states: list[State]) -> list[float]:
            seen.append([state.text for state in states])
            return super().score(problem, states)

    driver = Driver({"toy": MarkovBackend()}, sampling={"max_tokens": 12, "temperature": 1.0}, services=Services(Spy))
    task = MethodJob(
        find("best_of_n"), Problem("x", "?"), {"n": 4, "scorer": "spy", "reduction": reduction, "delimiter": "."}
    )
    ((_, result),) = driver.solve([task])
    texts = [node["text"] for node in result.trace["nodes"] if node["kind"] == "extend"]
    rewards = result.answer.details["rewards"]
    if reduction == "last":
        assert seen == [texts]
        assert rewards == [reward(text) for text in texts]
        return
    for text, value in zip(texts, rewards, strict=True):
        ends = [i + 1 for i, letter in enumerate(text) if letter == "."] + [len(text)]
        steps = [reward(text[:end]) for end in dict.fromkeys(ends)]
        expected = {"min": min(steps), "mean": sum(steps) / len(steps)}
        product = 1.0
        for step in steps:
            product *= step
        assert value == pytest.approx(expected.get(reduction, product), rel=1e-12)
