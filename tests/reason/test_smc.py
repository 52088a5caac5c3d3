"""Sequential Monte Carlo and particle Gibbs: unbiased and invariant, by enumeration of all texts and ancestors."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import pytest

from intact._base.errors import ParameterError
from intact.reason import Answer, Problem, State, find
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.methods import particle_gibbs as gibbs
from intact.reason.methods.ancestor_gibbs import choose_ancestor
from intact.reason.parts.forcing import force
from intact.reason.parts.particles import Trajectory, next_step
from intact.reason.testing.enumeration import EnumeratedProblem, Oracle, Player, outcomes
from intact.reason.testing.toy import MarkovBackend
from intact.reason.weighted import Weighted, logarithm

MODEL = MarkovBackend()
PROBLEM = Problem("p", "ask", read=lambda text: text or None)


def reward(text: str) -> float:
    return (1 + sum("c.ab".index(letter) for letter in text)) / (4 + 4 * len(text))


class Letters:
    digest = ""

    def __init__(self, name: str = "letters") -> None:
        self.name = name

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [reward(state.text) for state in states]


def texts(steps: int, begun: str = "") -> Iterator[tuple[list[str], Fraction]]:
    """Every text of so many letters or fewer, as the texts after its steps, with its probability."""
    if not steps:
        yield [], Fraction(1)
        return
    for letter, chance in MarkovBackend().distribution(begun).items():
        if letter == "$":
            yield [begun], chance
        else:
            for rest, further in texts(steps - 1, begun + letter):
                yield [begun + letter, *rest], chance * further


def target(steps: int, potential: str) -> dict[str, float]:
    """The unnormalised target: p(text) times the last reward, or the rewards of all steps."""
    masses: defaultdict[str, float] = defaultdict(float)
    for path, chance in texts(steps):
        rewards = [reward(text) for text in path]
        masses[path[-1]] += float(chance) * (rewards[-1] if potential == "ratio" else math.prod(rewards))
    return dict(masses)


@pytest.mark.parametrize("potential", ["ratio", "product"])
@pytest.mark.parametrize(("n", "steps", "least"), [(2, 2, 2.0), (2, 2, 0.9), (3, 2, 0.0), (1, 3, 0.5)])
def test_evidence_and_posterior_masses_are_unbiased(n: int, steps: int, least: float, potential: str) -> None:
    """E[Z] = sum of the target, and E[Z W(text)] = the target of each text; least = 2 resamples at every step."""
    exact = target(steps, potential)
    found: Counter[str] = Counter()
    evidence = resampled = 0.0
    method = find("smc")

    def run(oracle: Oracle) -> Answer:
        problem = EnumeratedProblem.of(PROBLEM, oracle)
        begun = method(problem, n=n, steps=steps, least=least, potential=potential, scheme="multinomial")
        return Player(MODEL, oracle, 1, Letters()).play(begun, problem)

    for answer, chance in outcomes(run):
        z = float(chance) * math.exp(answer.details["log_evidence"])
        evidence += z
        resampled += float(chance) * any(size < least * n for size in answer.details["sizes"])
        mass = sum(answer.votes.values())
        for text, vote in answer.votes.items():
            found[text] += z * vote / mass  # type: ignore[assignment]
    # The empty text has no answer, and its mass is missing among the votes; at this model no text ends at once.
    assert math.isclose(evidence, sum(exact.values()), rel_tol=1e-9)
    assert found == pytest.approx(exact, rel=1e-9)
    assert (resampled > 0.2) == (least >= 0.9)


@pytest.mark.parametrize("scheme", ["multinomial", "stratified", "systematic", "residual"])
def test_many_particles_find_the_posterior(scheme: str) -> None:
    exact = target(3, "ratio")
    z = sum(exact.values())
    driver = Driver(
        {"toy": MarkovBackend()}, sampling={"max_tokens": 1, "temperature": 1.0}, services=Services(Letters)
    )
    parameters = {"n": 200, "steps": 3, "scheme": scheme, "least": 0.95}
    problems = [Problem(f"run {i}", "ask", read=PROBLEM.read) for i in range(12)]
    results = [result for _, result in driver.solve([MethodJob(find("smc"), p, parameters) for p in problems])]
    evidence = sum(math.exp(result.answer.details["log_evidence"]) for result in results) / 12
    assert abs(evidence / z - 1) < 0.03
    shares: Counter[str] = Counter()
    for result in results:
        mass = sum(result.answer.votes.values())
        for text, vote in result.answer.votes.items():
            shares[text] += vote / mass / 12  # type: ignore[assignment]
    for text, expected in exact.items():
        assert abs(shares[text] - expected / z) < 0.02


@pytest.mark.parametrize(
    ("n", "steps", "potential"),
    [(2, 2, "ratio"), (2, 3, "product"), pytest.param(3, 2, "ratio", marks=pytest.mark.nightly)],
)
def test_a_sweep_around_a_text_of_the_posterior_leaves_one_of_the_posterior(n: int, steps: int, potential: str) -> None:
    hold_the_posterior(n, steps, potential)


@pytest.mark.parametrize(
    ("n", "steps", "potential"),
    [(2, 2, "ratio"), (2, 2, "product")],
)
def test_a_sweep_that_chooses_ancestors_leaves_the_posterior_too(n: int, steps: int, potential: str) -> None:
    hold_the_posterior(n, steps, potential, ancestors=True)


@pytest.mark.nightly
def test_choosing_ancestors_changes_beginnings_three_times_as_often() -> None:
    """Two particles, three steps: the chance that a text drawn from a sweep begins with another step."""
    assert hold_the_posterior(2, 3, "ratio") == pytest.approx(0.0655, abs=1e-4)
    assert hold_the_posterior(2, 3, "ratio", ancestors=True) == pytest.approx(0.2068, abs=1e-4)


def hold_the_posterior(n: int, steps: int, potential: str, ancestors: bool = False) -> float:
    """A reference drawn from the target, a sweep around it, and a text drawn by its weights: from the target again.

    Returns the chance that this text's first step is another than the reference's.
    """

    def swept(oracle: Oracle, size: int, reference: Trajectory | None) -> list[tuple[Trajectory, float]]:
        problem = EnumeratedProblem.of(PROBLEM, oracle)
        kernel = next_step("letters", "\0")
        reselect = partial(choose_ancestor, problem, scorer="letters", potential=potential) if ancestors else None
        method = gibbs.sweep(
            problem, size, reference, kernel, steps=steps, potential=potential, number=0, reselect=reselect
        )
        texts, spent = Player(MODEL, oracle, 1, Letters()).play(method, problem)
        assert not spent
        return list(zip(texts, map(logarithm, texts.weights), strict=True))

    references = []
    for ((particle, _),), chance in outcomes(lambda oracle: swept(oracle, 1, None)):
        rewards = particle.rewards
        weight = rewards[-1] if potential == "ratio" else math.prod(rewards)
        references.append((particle, float(chance) * weight))
    z = sum(weight for _, weight in references)
    before: Counter[tuple[str, ...]] = Counter()
    after: Counter[tuple[str, ...]] = Counter()
    kept = moved = begun = 0.0
    for reference, weight in references:
        before[texts_of(reference)] += weight / z  # type: ignore[assignment]
        for particles, chance in outcomes(lambda oracle, held=reference: swept(oracle, n, held)):  # type: ignore[misc]
            changed = texts_of(particles[0][0]) != texts_of(reference)
            moved += weight / z * float(chance) * changed
            assert len(particles) == n
            total = sum(math.exp(log) for _, log in particles)
            for i, (particle, log) in enumerate(particles):
                share = weight / z * float(chance) * math.exp(log) / total
                after[texts_of(particle)] += share  # type: ignore[assignment]
                kept += share * (i == 0)
                begun += share * (texts_of(particle)[1] != texts_of(reference)[1])
    assert after == pytest.approx(before, rel=1e-6 if ancestors else 1e-9), "log-probabilities are rounded to 2^-24"
    assert 1 / n < kept < 0.9, "the sweep does move"
    assert (moved > 0.05) == ancestors, "ancestors do change"
    return begun


def test_a_beginning_that_the_rest_follows_in_other_tokens_is_no_ancestor() -> None:
    """A reference whose last letter was written as another token than the likeliest that spells it stays as it is."""
    player = Player(MODEL, Oracle(), 1, Letters())

    def trajectory(text: str, token: int | None = None) -> Trajectory:
        found = Trajectory.begin(PROBLEM.start)
        for letter in text:
            (state,) = player.play(force([found.state], letter, 1), PROBLEM)
            found = found.follow(state, reward(state.text))
        if token is not None:
            last = found.state.pieces[-1]
            state = replace(found.state, pieces=(*found.state.pieces[:-1], replace(last, tokens=(token,))))
            found = Trajectory((*found.states[:-1], state), found.rewards)
        return found

    texts = Weighted((trajectory("a"), trajectory("b")), (Fraction(1), Fraction(10**9)), 2)
    for token, expected in ((None, "ba"), (7, "aa")):
        reference = trajectory("aa", token)
        steps = choose_ancestor(PROBLEM, texts, reference, (0, 1), scorer="letters", potential="ratio")
        place, chosen = player.play(steps, PROBLEM)
        assert chosen.state.text == expected
        assert place == ["aa", "ba"].index(expected)
        assert (chosen is reference) == (token is not None)


def texts_of(particle: Trajectory) -> tuple[str, ...]:
    return tuple(state.text + "$" * state.ended for state in particle.states)


@pytest.mark.parametrize(("method", "sweeps"), [("particle_gibbs", 120), ("ancestor_gibbs", 120)])
def test_particle_gibbs_finds_the_posterior(method: str, sweeps: int) -> None:
    exact = target(3, "product")
    z = sum(exact.values())
    driver = Driver(
        {"toy": MarkovBackend()}, sampling={"max_tokens": 1, "temperature": 1.0}, services=Services(Letters)
    )
    parameters = {"n": 16, "sweeps": sweeps, "steps": 3, "potential": "product"}
    ((_, result),) = driver.solve([MethodJob(find(method), PROBLEM, parameters)])
    assert result.why == "done", result.error
    assert sum(result.answer.votes.values()) == pytest.approx(sweeps)
    for text, expected in exact.items():
        assert abs(result.answer.votes.get(text, 0.0) / sweeps - expected / z) < 0.035


class Cruel(Letters):
    """Likes nothing that begins with a."""

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [0.0 if state.text.startswith("a") else 0.5 for state in states]


@pytest.mark.parametrize("method", ["smc", "particle_gibbs", "ancestor_gibbs"])
def test_texts_of_weight_0_never_win_unless_all_are(method: str) -> None:
    seen: set[Any] = set()
    for seed in range(40):
        driver = Driver(
            {"toy": MarkovBackend()}, sampling={"max_tokens": 1, "temperature": 1.0}, services=Services(Cruel)
        )
        problem = Problem("p", "ask", read=lambda text: text[:1] or None, seed=seed)
        ((_, result),) = driver.solve([MethodJob(find(method), problem, {"n": 2, "steps": 3})])
        assert result.why == "done", result.error
        first = [node["text"] for node in result.trace["nodes"] if "text" in node][:2]
        if method == "smc":
            assert (result.answer.answer == "a") == (first == ["a", "a"])
            assert (result.answer.details["log_evidence"] == -math.inf) == (first == ["a", "a"])
            written = json.loads(json.dumps(result.as_dict(), allow_nan=False))  # JSON has no infinities
            assert (written["details"]["log_evidence"] is None) == (first == ["a", "a"])
        seen.add(result.answer.answer)
    assert len(seen) > 1


class Wrong(Letters):
    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [1.5 for _ in states]


@pytest.mark.parametrize(("method", "parameters"), [("smc", {}), ("smc", {"potential": "x"}), ("particle_gibbs", {})])
def test_what_makes_no_weight_is_named(method: str, parameters: dict[str, Any]) -> None:
    scorer = Letters() if parameters else Wrong()
    with pytest.raises(ParameterError, match="ratio, product" if parameters else r"rewards in \[0, 1\], got 1.5"):
        Player(MODEL, Oracle(), 1, scorer).play(find(method)(PROBLEM, n=2, **parameters), PROBLEM)
