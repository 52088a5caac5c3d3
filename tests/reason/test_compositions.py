"""Transformers of weighted populations: what each means, by enumeration of every outcome; and methods made of them."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intact._base.errors import ParameterError
from intact.numerics.sampling import branch_key
from intact.reason import Problem, all_methods, find
from intact.reason.parts.composing import composition_pattern, vote, write
from intact.reason.populations import resampling, transformers
from intact.reason.populations.resampling import SCHEMES
from intact.reason.populations.transformers import (
    cut,
    enumerate_all,
    expand,
    join,
    merge,
    mix,
    move,
    normalise,
    prune,
    push,
    resample,
    reweigh,
    sample,
    start,
    weigh,
    within_places,
)
from intact.reason.problem import Piece, State
from intact.reason.testing.checks import CHECKS, Check, ToyTrial, checks_of
from intact.reason.testing.enumeration import Oracle, Player, ancestries, outcomes
from intact.reason.testing.laws import (
    METHOD_LAWS,
    Change,
    FiniteModel,
    LawError,
    check_composition,
    check_decision,
    check_kernel,
    check_transformer,
    expected,
    finish,
    method_measures,
    without_zeros,
)
from intact.reason.testing.toy import END, MarkovBackend
from intact.reason.weighted import Log, Weighted

F = Fraction
ALL = {name: one for name, one in vars(transformers).items() if hasattr(one, "law")}


# The exact laws of resampling that the enumeration uses, against the code that runs


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("weights", "n"), [([1, 2, 3], 2), ([0, 3, 1], 3), ([F(1, 2), F(1, 6)], 3), ([2], 2), ([1, 1], 1)]
)
def test_the_enumerated_law_of_a_scheme_is_that_of_its_code(
    scheme: str, weights: list[Any], n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over cells of the uniforms' cube in which no choice can change."""
    cells = n * sum(resampling.integer_weights(weights))
    edges = [-((-cell << 64) // cells) for cell in range(cells)]
    coded: Counter[tuple[int, ...]] = Counter()
    points = list(itertools.product(edges, repeat=1 if scheme == "systematic" else n))
    for point in points:
        monkeypatch.setattr(resampling, "uniforms", lambda key, count, point=point: list(point[:count]))
        coded[tuple(resampling.resample(scheme, 0, weights, n))] += 1
    stated: dict[tuple[int, ...], Fraction] = {}
    for chosen in itertools.product(*ancestries(scheme, weights, n)):
        places = tuple(place for part, _ in chosen for place in part)
        stated[places] = stated.get(places, F(0)) + math.prod((chance for _, chance in chosen), start=F(1))
    assert stated == {places: F(count, len(points)) for places, count in coded.items()}


# Transformers

CHANCES = {"a": [("a", F(1, 3)), ("b", F(2, 3))], "b": [("c", F(1))]}


def kernel(oracle: Oracle) -> Any:
    def draw(values: Sequence[str]) -> Any:
        yield from ()
        return [oracle.choose(CHANCES[value]) for value in values]

    return draw


def coupled(oracle: Oracle) -> Any:
    """All particles of one value draw the same."""

    def draw(values: Sequence[str]) -> Any:
        yield from ()
        drawn = {value: oracle.choose(CHANCES[value]) for value in sorted(set(values))}
        return [drawn[value] for value in values]

    return draw


def through(measure: Mapping[str, Fraction]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    for value, mass in measure.items():
        for after, chance in CHANCES[value]:
            found[after] = found.get(after, F(0)) + mass * chance
    return found


def scaled(**factors: Fraction) -> Callable[[Mapping[str, Fraction]], dict[str, Fraction]]:
    return lambda measure: {value: mass * factors[value] for value, mass in measure.items()}


def reread(measure: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {"x": sum(measure.values(), F(0))}


def mixed(measure: Mapping[str, Fraction]) -> dict[str, Fraction]:
    return {value: measure.get(value, F(0)) * F(1, 4) + F(3, 4) * (value == "c") for value in "abc"}


def counted(value: str) -> Fraction:
    return F(1) if value == "a" else F(2, 5)


SAME = without_zeros
LAWS: dict[str, tuple[Change, Any]] = {
    "sample": (lambda p, draws: sample(p, kernel(draws)), through),
    "sample coupled": (lambda p, draws: sample(p, coupled(draws)), through),
    "enumerate_all": (lambda p, draws: enumerate_all(p, CHANCES.__getitem__), through),
    "weigh": (lambda p, draws: weigh(p, counted), scaled(a=F(1), b=F(2, 5))),
    "weigh over": (lambda p, draws: weigh(weigh(p, counted), lambda value: F(3), over=counted), scaled(a=F(3), b=F(3))),
    "expand": (lambda p, draws: expand(p, 3), SAME),
    "expand unequally": (lambda p, draws: expand(p, [*range(len(p)), 0, *range(len(p))]), SAME),
    "merge": (lambda p, draws: merge(p), SAME),
    "push": (lambda p, draws: push(p, lambda value: "x"), reread),
    "join": (lambda p, draws: join(p, p), scaled(a=F(2), b=F(2))),
    "join expanded": (lambda p, draws: join(expand(p, 2), resample(p, draws, 3)), scaled(a=F(2), b=F(2))),
    "mix": (lambda p, draws: mix(p, start("c", 2), F(1, 4)), mixed),
    "prune": (lambda p, draws: prune(p, draws, [F(1, i + 1) for i in range(len(p))]), SAME),
    "normalise": (lambda p, draws: normalise(p), SAME),
    "normalise to 1": (lambda p, draws: normalise(p, 1), SAME),
    **{
        f"resample {scheme} to {n or 'as many'}": (
            lambda p, draws, scheme=scheme, n=n: resample(p, draws, n, scheme=scheme), SAME,
        )
        for scheme in SCHEMES
        for n in (None, 1, 2)
    },
}  # fmt: skip


@pytest.mark.parametrize("name", LAWS)
def test_a_transformer_means_what_it_states(name: str) -> None:
    change, meaning = LAWS[name]
    mixture = name == "join expanded"
    keeps = "in expectation" if mixture else ALL[name.split()[0]].law.keeps
    check_transformer(change, meaning, keeps)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_transformer_of_a_part_keeps_the_whole(scheme: str) -> None:
    def change(population: Weighted[str], draws: Oracle) -> Weighted[str]:
        places = population.where(lambda value: value == "a")
        if not places:
            return population
        return within_places(population, places, lambda part: resample(part, draws, scheme=scheme))

    check_transformer(change)


def test_the_recorded_law_of_resampling_is_that_of_its_options() -> None:
    population = Weighted(("a", "b"), (F(1), F(3)), 2)

    def recorded(**options: Any) -> tuple[str, str]:
        (law,) = resample(population, 0, **options).history
        assert law.name == "resample"
        return law.meaning, law.keeps

    assert recorded() == recorded(temperature=1.0, kept=()) == ("gamma", "in expectation")
    assert recorded(temperature=2.0) == ("the particles with their weights to the power 1/temperature", "no")
    assert recorded(kept=[0]) == ("gamma, if each kept value was drawn by its weight", "in expectation")
    assert recorded(kept=[0], temperature=2.0)[1] == "no"


BROKEN: dict[str, tuple[Change, Any, Any]] = {
    "a cut": (lambda p, draws: cut(p, [0]), SAME, "up to a factor"),
    "weights of ranks": (lambda p, draws: reweigh(p, [i + 1 for i in range(len(p))]), SAME, "up to a factor"),
    "a mean of what is normalised": (lambda p, draws: normalise(p, 1), SAME, "in expectation"),
    "resampling by tempered weights": (
        lambda p, draws: resample(p, draws, temperature=2.0), SAME, "in expectation",
    ),
    "a particle that is always kept": (lambda p, draws: resample(p, draws, kept=[0]), SAME, "in expectation"),
    "resampling as if it were exact": (lambda p, draws: resample(p, draws), SAME, "exactly"),
    "expansion without some": (lambda p, draws: expand(p, [0, 0]), SAME, "exactly"),
    "a part normalised by itself": (
        lambda p, draws: within_places(p, p.where(lambda value: value == "a"), normalise), SAME, "up to a factor",
    ),
    "pruning without its weight": (
        lambda p, draws: cut(p, [i for i, stays in enumerate(draws.flips([F(1, 2)] * len(p))) if stays]),
        SAME, "in expectation",
    ),
    "a set in place of a merge": (lambda p, draws: cut(p, [p.values.index(v) for v in set(p)]), SAME, "exactly"),
    "a proposal that never draws b": (lambda p, draws: weigh(push(p, lambda value: "a"), counted), SAME, "exactly"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_law_is_found_out(name: str) -> None:
    change, meaning, keeps = BROKEN[name]
    with pytest.raises(LawError, match=r"for the particles .* the result represents \{"):
        check_transformer(change, meaning, keeps)


def texts_of_a_letter(corrected: bool) -> dict[str, F]:
    """The measure of texts with a cap of two tokens, the end being one; corrected, only ended ones weigh."""

    def run(oracle: Oracle) -> Weighted[str]:
        problem = Problem("p", "ask")
        texts = Player(MarkovBackend(), oracle, 2).play(sample(start(problem.start, 1), write), problem)
        texts = weigh(texts, lambda text: int(text.complete)) if corrected else texts
        return push(texts, lambda text: text.text)

    return expected(run)


def test_texts_that_a_cap_cuts_keep_their_measure_only_if_they_weigh_nothing() -> None:
    """A cut text is the beginning of many, so that it would have the mass of them all."""
    model = {text: F(chance) for text, chance, why in MarkovBackend().texts(6, "\0", "") if why == "end"}
    short = {text: chance for text, chance in model.items() if len(text) < 2}
    assert texts_of_a_letter(corrected=True) == short
    cut_too = texts_of_a_letter(corrected=False)
    assert cut_too["ab"] > model["ab"]
    assert sum(cut_too.values()) == 1 > sum(short.values())


def test_the_share_right_of_samples_that_stop_at_a_right_one_is_too_large() -> None:
    """Drawn until right, two at most, each right with a chance of 1/2: the mean share right is 5/8."""

    class Right:
        name, digest = "right", ""

        def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
            return [float(state.text == "a") for state in states]

    model = MarkovBackend({"": {"a": 1, "b": 1}, "a": {END: 1}, "b": {END: 1}})

    def mean_share(name: str, **parameters: Any) -> F:
        def run(oracle: Oracle) -> F:
            player, problem = Player(model, oracle, 2, Right()), Problem("p", "ask", read=lambda text: text)
            player.play(find(name)(problem, n=2, **parameters), problem)
            return F(sum(state.text == "a" for state in player.written), len(player.written))

        return sum((share * chance for share, chance in outcomes(run)), F(0))

    assert mean_share("resample_until_verified") == F(5, 8)
    assert mean_share("best_of_n") == F(1, 2)


def test_the_smallest_population_that_breaks_a_law_is_named() -> None:
    with pytest.raises(
        LawError, match=r"for the particles a: 1, a: 1 over 2 the result represents {a: 1/2}, but {a: 1} is stated"
    ):
        check_transformer(lambda p, draws: cut(p, [0]))


def test_pruning_by_a_key_keeps_with_the_chances_that_are_given() -> None:
    population, kept = start("a", 4), [0] * 4
    chances = [F(1), F(1, 2), F(1, 4), F(1, 100)]
    for i in range(2000):
        found = prune(push(population, lambda _: 0), branch_key(i, ("prune",)), chances)
        for weight in found.weights:
            kept[[1, 2, 4, 100].index(int(weight))] += 1  # type: ignore[arg-type]
    for count, chance in zip(kept, chances, strict=True):
        assert abs(count - 2000 * chance) <= 4.5 * math.sqrt(2000 * chance * (1 - chance))


def test_bad_arguments_are_named() -> None:
    one = start("a", 2)
    for wrong, why in (
        (lambda: start("a", 0), "n must be at least 1"),
        (lambda: resample(one, 1, 0), "n must be at least 1"),
        (lambda: resample(one, 1, scheme="all"), "multinomial, stratified, systematic, residual"),
        (lambda: resample(one, 1, temperature=0.0), "temperature must be above 0"),
        (lambda: prune(one, 1, [0, 1]), r"probabilities must lie in \(0, 1\]"),
        (lambda: mix(one, one, 1.5), r"a share must lie in \[0, 1\]"),
        (lambda: weigh(one, lambda _: -1), "a factor must be at least 0"),
        (lambda: within_places(one, [0], lambda part: expand(part, 2)), "the number of particles must remain 1, got 2"),
        (lambda: composition_pattern("start (sample"), "is not a composition"),
    ):
        with pytest.raises(ParameterError, match=why):
            wrong()  # type: ignore[no-untyped-call]


def test_weights_of_0_stay_as_they_are() -> None:
    for none in (F(0), Log.of(0)):
        population = Weighted(("a", "b"), (none, none), 2)
        assert not population.mass
        assert population.log_mass == -math.inf
        assert resample(population, 1).values == ("a", "b")
        assert not any(normalise(population).weights)
        assert population.effective_size == 0
    assert Log.of(0) * Log.of(3) == Log.of(0) / Log.of(0) == Log(-math.inf)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.fractions(0, 4, max_denominator=8)), min_size=1, max_size=4),
    st.sampled_from(sorted(SCHEMES)),
)
def test_logarithms_mean_what_exact_weights_mean(pairs: list[tuple[str, Fraction]], scheme: str) -> None:
    values, weights = zip(*pairs, strict=True)
    exact = Weighted(values, weights, 3)
    logs = Weighted(values, tuple(map(Log.of, weights)), 3)
    assert logs.log_mass == pytest.approx(exact.log_mass, abs=1e-9)
    assert logs.effective_size == pytest.approx(exact.effective_size)
    for change in (
        lambda p: weigh(p, lambda value: F(2, 3) if value == "a" else F(0)),
        lambda p: weigh(p, lambda value: F(1), over=lambda value: F(5, 7)),
        lambda p: expand(p, 3),
        merge,
        lambda p: mix(p, p, F(1, 3)),
        lambda p: normalise(p) if any(p.weights) else p,
        lambda p: prune(p, 7, [F(1, 2)] * len(p)),
    ):
        found, stated = change(logs).measure(), change(exact).measure()
        assert {k: float(v) for k, v in found.items()} == pytest.approx({k: float(v) for k, v in stated.items()})
    if any(weights):
        one, other = resample(logs, 5, 2, scheme=scheme), resample(exact, 5, 2, scheme=scheme)
        assert float(sum(one.measure().values())) == pytest.approx(float(sum(other.measure().values())))


# Compositions

FRACTIONS = st.builds(F, st.integers(0, 6), st.integers(1, 4))


@st.composite
def models(draw: st.DrawFn) -> FiniteModel:
    """A model of two letters and two steps, with rational chances and factors."""
    words = [*"ab", *map("".join, itertools.product("ab", repeat=2))]
    chances = {}
    for word in ("", "a", "b"):
        chance = F(draw(st.integers(0, 4)), 4)
        chances[word] = {letter: one for letter, one in (("a", chance), ("b", 1 - chance)) if one}
    return FiniteModel(2, chances, {word: draw(FRACTIONS) for word in words})


def refreshed(population: Weighted[str], draws: Oracle, model: FiniteModel) -> Any:
    """Move by a Metropolis kernel that has the words' own measure as its invariant one."""
    return move(population, metropolis(model.prefix_measure(len(population.values[0])))(draws))


def metropolis(measure: Mapping[str, Fraction], ratio: bool = True) -> Callable[[Oracle], Any]:
    """Propose any word of the measure, all alike likely, and accept it with min(1, its mass over that of the old)."""
    words = sorted(measure)

    def of(oracle: Oracle) -> Any:
        def draw(values: Sequence[str]) -> Any:
            yield from ()
            new = []
            for value in values:
                other = oracle.choose([(word, F(1, len(words))) for word in words])
                accept = min(F(1), measure[other] / measure[value]) if ratio else F(1, 2)
                taken = oracle.choose([one for one in ((other, accept), (value, 1 - accept)) if one[1]])
                new.append(taken)
            return new

        return draw

    return of


PARTS: dict[str, Change] = {
    "nothing": lambda p, draws: p,
    "expand": lambda p, draws: expand(p, 2),
    "merge": lambda p, draws: merge(p),
    "prune": lambda p, draws: prune(p, draws, [F(1, 2), *[F(1)] * (len(p) - 1)]) if len(p) else p,
    "mix": lambda p, draws: mix(p, p, F(1, 3)),
    **{
        f"{scheme} to {n}": (lambda p, draws, scheme=scheme, n=n: resample(p, draws, n, scheme=scheme) if len(p) else p)
        for scheme in SCHEMES
        for n in (1, 2)
    },
}


@settings(max_examples=60)
@given(models(), st.integers(1, 2), st.lists(st.sampled_from(sorted(PARTS)), min_size=2, max_size=2))
def test_transformers_that_keep_the_measure_compose(model: FiniteModel, n: int, between: list[str]) -> None:
    check_composition(model, n, [PARTS[name] for name in between])


@settings(max_examples=20)
@given(models(), st.sampled_from(sorted(SCHEMES)))
def test_moves_that_leave_the_measure_invariant_compose(model: FiniteModel, scheme: str) -> None:
    """Resample-move: the population's weights are those that the words' measure gives, in expectation."""

    def moved(population: Weighted[str], draws: Oracle) -> Any:
        alive = resample(population, draws, 1, scheme=scheme)
        return finish(refreshed(alive, draws, model)) if any(alive.weights) else alive

    check_composition(model, 2, [moved, moved])


def test_a_composition_with_a_cut_is_found_out() -> None:
    half = {"a": F(1, 2), "b": F(1, 2)}
    model = FiniteModel(2, {"": half, "a": half, "b": half}, dict.fromkeys(("a", "b", "aa", "ab", "ba", "bb"), F(1)))
    check_composition(model, 2, [PARTS["nothing"]] * 2)
    with pytest.raises(LawError, match="2 particles represent"):
        check_composition(model, 2, [lambda p, draws: cut(p, [0]), PARTS["nothing"]])


def test_the_worked_example_of_two_bits() -> None:
    """Two fair bits weighed by 1 or 3, then by 1 + a + b: Z = 9/2; the normalised estimate of P(a = 1) is biased."""
    half = {"0": F(1, 2), "1": F(1, 2)}
    factors = {"0": F(1), "1": F(3), "00": F(1), "01": F(2), "10": F(2), "11": F(3)}
    model = FiniteModel(2, {"": half, "0": half, "1": half}, factors)
    between: list[Change] = [lambda p, draws: resample(p, draws), lambda p, draws: p]
    exact = {"00": F(1, 4), "01": F(1, 2), "10": F(3, 2), "11": F(9, 4)}
    assert model.measure() == exact
    assert expected(lambda oracle: model.run(oracle, 2, between)) == exact
    biased = expected(lambda oracle: push(normalise(model.run(oracle, 2, between)), lambda word: word[0]))
    assert biased == {"0": F(449, 1280), "1": F(831, 1280)}
    assert biased["1"] != sum(mass for word, mass in exact.items() if word[0] == "1") / F(9, 2) == F(5, 6)


def test_kernels_are_told_apart_by_what_they_leave() -> None:
    target = {"a": F(1, 2), "b": F(1), "c": F(1, 4)}
    check_kernel(metropolis(target), target)
    with pytest.raises(LawError, match=r"but {a: 1/2, b: 1, c: 1/4} is stated"):
        check_kernel(metropolis(target, ratio=False), target)


def test_traces_of_several_lengths_need_the_ratio_of_their_lengths() -> None:
    """Traces 0, 10, 11 of scores 1, 2, 3: redraw one bit of n and run on; accepted with min(1, q' n / (q n'))."""
    scores = {"0": 1, "10": 2, "11": 3}
    chances = {"0": F(1, 2), "10": F(1, 4), "11": F(1, 4)}
    target = {trace: chances[trace] * scores[trace] for trace in scores}

    def of(oracle: Oracle, ratio: bool = True) -> Any:
        def draw(values: Sequence[str]) -> Any:
            yield from ()
            new = []
            for old in values:
                site = oracle.choose([(i, F(1, len(old))) for i in range(len(old))])
                fitting = {trace: chance for trace, chance in chances.items() if trace[:site] == old[:site]}
                mass = sum(fitting.values())
                proposed = oracle.choose([(trace, chance / mass) for trace, chance in fitting.items()])
                accept = min(F(1), F(scores[proposed], scores[old]) * (F(len(old), len(proposed)) if ratio else 1))
                new.append(oracle.choose([one for one in ((proposed, accept), (old, 1 - accept)) if one[1]]))
            return new

        return draw

    check_kernel(of, target)
    with pytest.raises(LawError):
        check_kernel(lambda oracle: of(oracle, ratio=False), target)


# Decisions


def ballot(population: Weighted[str]) -> str | None:
    states = [State("ask", ("p", i), (Piece(value),), "end") for i, value in enumerate(population)]
    texts = Weighted(tuple(states), population.weights, population.whole)
    return vote(Problem("p", "ask"), texts).answer


def test_a_vote_obeys_the_laws_of_decisions() -> None:
    check_decision(ballot)


@pytest.mark.parametrize(
    ("decide", "how"),
    [
        (lambda p: p.values[0], "in the other order"),
        (lambda p: "a" if sum(map(F, p.weights)) > 2 else "b", "with doubled weights"),
        (lambda p: max(p.values, key=p.values.count) if len(p) < 3 else p.values[-1], "split in two"),
        (lambda p: min(p.measure(), key=p.measure().__getitem__), "more weight for its own"),
    ],
)
def test_a_decision_that_breaks_a_law_is_found_out(decide: Any, how: str) -> None:
    with pytest.raises(LawError, match=how):
        check_decision(decide)


# Methods

COMPOSED = {name: one for name, one in all_methods().items() if one.composition}
DECISIONS = {"vote", "choose"}


@pytest.mark.parametrize("name", COMPOSED)
def test_a_method_declares_transformers_and_laws_that_there_are(name: str) -> None:
    method = COMPOSED[name]
    assert set(re.findall(r"\w+", method.composition)) <= ALL.keys() | DECISIONS
    assert set(method.laws) <= METHOD_LAWS.keys()
    assert method.as_dict()["composition"] == method.composition
    assert method.as_dict()["laws"] == list(method.laws)


OWN: list[Any] = [
    pytest.param(name, check, id=f"{name} {check.name}")
    for name, one in COMPOSED.items()
    for check in checks_of(one)[len(CHECKS) :]
]


@pytest.mark.parametrize(("name", "check"), OWN)
def test_a_method_is_the_composition_that_it_declares_and_obeys_its_laws(name: str, check: Check) -> None:
    check.function(ToyTrial.of(COMPOSED[name], name))


@pytest.mark.parametrize(
    ("scheme", "potential"),
    [
        pytest.param(scheme, potential, marks=[] if i % 2 == j else pytest.mark.slow)
        for i, scheme in enumerate(SCHEMES)
        for j, potential in enumerate(("ratio", "product"))
    ],
)
def test_smc_means_the_same_whatever_its_parameters(scheme: str, potential: str) -> None:
    for least in (0.0, 0.9, 2.0):
        for law in ("measure", "evidence"):
            METHOD_LAWS[law](COMPOSED["smc"], {"scheme": scheme, "potential": potential, "least": least})


def test_the_particle_filter_means_something_else_for_each_number_of_particles() -> None:
    with pytest.raises(LawError, match="with one particle, but"):
        METHOD_LAWS["measure"](COMPOSED["particle_filter"], {})


def test_the_measure_of_smc_is_the_model_times_the_last_reward() -> None:
    """By hand: a 1/2, b 1/4, end 1/4 first; after a: a, end; after b: a, b, end with 1/4, 1/2, 1/4."""
    found, _ = method_measures(COMPOSED["smc"], {"potential": "ratio"}, 2)
    chances = {"": F(1, 4), "a": F(1, 4), "aa": F(1, 4), "b": F(1, 16), "ba": F(1, 16), "bb": F(1, 8)}
    stated = {text: chance * {"": 1, "bb": 3}.get(text, 2) / 8 for text, chance in chances.items()}
    assert found == pytest.approx({text: float(mass) for text, mass in stated.items()})


def test_outcomes_are_all_and_their_chances_sum_to_1() -> None:
    found = list(outcomes(lambda oracle: oracle.ancestors("stratified", [1, 2, 3], 2)))
    assert sum(chance for _, chance in found) == 1


# What documents say

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_of_transformers_is_what_the_code_declares() -> None:
    rows = re.findall(
        r"^\| `(\w+)\(.*\)` \| (.+) \| (.+) \|$", (DOCS / "spec" / "compositions.md").read_text("utf-8"), re.MULTILINE
    )
    assert rows == [(law.name, law.meaning, law.keeps) for law in (ALL[name].law for name, *_ in rows)]
    assert {name for name, *_ in rows} == ALL.keys()


@pytest.mark.parametrize("name", COMPOSED)
def test_the_page_of_a_composition_has_it_with_its_laws(name: str) -> None:
    page = (DOCS / "methods" / f"{name}.md").read_text("utf-8")
    assert f"**Composition.** `{COMPOSED[name].composition}`" in page
    assert all(f"`{law}`" in page for law in COMPOSED[name].laws)


def test_a_method_without_a_number_of_texts_has_no_measure() -> None:
    with pytest.raises(LawError, match="chain_of_thought has no parameter n for the number of texts"):
        method_measures(find("chain_of_thought"), {}, 2)
