"""AB-MCTS-M: its mixed model against dense normal densities, and its search step by step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from intact.reason import Problem, Result, State, find
from intact.reason.driving.driver import Driver
from intact.reason.driving.services import MethodJob, Services
from intact.reason.methods.ab_mcts_m import choose_child, choose_model, settled
from intact.reason.populations.mixed import SCALES, fit
from intact.reason.populations.variates import RandomStream
from support.script import ScriptBackend

GROUPS: list[list[list[float]]] = [
    [[0.1, 0.4, 0.5], [0.9], [0.3, 0.2]],
    [[0.5, 0.52], [0.9], [0.3, 0.2, 0.6, 0.1]],
    [[0.2, 0.7]] * 3,
    [[0.3]],
    [],
]


def conditional(groups: Sequence[Sequence[float]], between: float, within: float) -> tuple[float, list[Any]]:
    """The density of all rewards, and the conditional mean and variance of the next of each group and of a new one.

    Written from the covariance of all rewards, .04 + between^2 (same group) + within^2 (same reward).
    """
    places = np.array([i for i, one in enumerate(groups) for _ in one], int)
    centred = np.array([y - 0.5 for one in groups for y in one])
    covariance = 0.04 + (places[:, None] == places) * between**2 + np.eye(len(places)) * within**2
    density = math.exp(-0.5 * centred @ np.linalg.solve(covariance, centred)) / math.sqrt(np.linalg.det(covariance))
    found = []
    for group in (*range(len(groups)), -1):
        shared = 0.04 + (places == group) * between**2
        gain = np.linalg.solve(covariance, shared)
        found.append((0.5 + gain @ centred, 0.04 + between**2 + within**2 - gain @ shared))
    return density, found


@pytest.mark.parametrize("groups", GROUPS)
def test_the_grid_has_the_moments_of_the_integral(groups: list[list[float]]) -> None:
    """Means and second moments of the posterior predictive laws, against a dense grid of another kind."""
    steps = [(i + 0.5) / 12 for i in range(60)]
    masses, moments = [], []
    for s in steps:
        for t in steps:
            density, found = conditional(groups, 0.2 * s, 0.3 * t)
            masses.append(density * math.exp(-(s * s + t * t) / 2))
            moments.append([part for m, v in found for part in (m, v + m * m)])
    expected = np.array(masses) @ np.array(moments) / sum(masses)
    posterior = fit(groups)
    weights = np.array([cell.mass for cell in posterior.cells])
    for place, group in enumerate((*range(len(groups)), None)):
        parts = np.array([posterior.predict(cell, group) for cell in posterior.cells])
        mean = weights @ parts[:, 0] / weights.sum()
        second = weights @ (parts[:, 1] + parts[:, 0] ** 2) / weights.sum()
        assert (mean, second) == pytest.approx(tuple(expected[2 * place : 2 * place + 2]), abs=3e-4)


@pytest.mark.parametrize("groups", GROUPS)
def test_each_point_of_the_grid_is_conditioned_as_a_normal_law(groups: list[list[float]]) -> None:
    posterior = fit(groups)
    densities = []
    for i, cell in enumerate(posterior.cells):
        s, t = SCALES[i // len(SCALES)], SCALES[i % len(SCALES)]
        density, found = conditional(groups, 0.2 * s, 0.3 * t)
        for (mean, variance), group in zip(found, (*range(len(groups)), None), strict=True):
            assert posterior.predict(cell, group) == pytest.approx((mean, variance))
        lowest = 2 ** (1 / 6) / (math.log(2) / 3)
        tails = lowest ** ((i // len(SCALES) == 0) + (i % len(SCALES) == 0))
        densities.append(density * s * t * math.exp(-(s * s + t * t) / 2) * tails)
    masses = [cell.mass for cell in posterior.cells]
    assert masses == pytest.approx([density / max(densities) for density in densities], rel=1e-6, abs=1e-12)


def test_draws_have_the_predictive_law() -> None:
    groups, count = GROUPS[0], 4000
    posterior, stream = fit(groups), RandomStream(7)
    weights = np.array([cell.mass for cell in posterior.cells])
    for group in (0, 1, None):
        parts = np.array([posterior.predict(cell, group) for cell in posterior.cells])
        mean = weights @ parts[:, 0] / weights.sum()
        variance = weights @ (parts[:, 1] + parts[:, 0] ** 2) / weights.sum() - mean**2
        drawn = [posterior.draw(group, stream) for _ in range(count)]
        assert abs(np.mean(drawn) - mean) < 4 * math.sqrt(variance / count)
        assert np.var(drawn) == pytest.approx(variance, rel=0.15)


def test_a_child_whose_scores_are_nearly_all_the_same_is_left_alone() -> None:
    assert settled([0.5, 0.501, 0.5, 0.9])
    assert not settled([0.5, 0.5, 0.5])
    assert not settled([0.5, 0.5, 0.9, 0.9])
    dead, alive = [0.9] * 4, [0.1, 0.3]
    chosen = {choose_child([dead, alive], key) for key in range(40)}
    assert chosen == {1, None}, "the better one is settled"
    assert {choose_child([dead, dead], key) for key in range(10)} == {None}
    assert choose_child([], 1) is None


def test_a_new_answer_is_rarer_the_better_the_best_child_is() -> None:
    """One good child among bad ones: with it as the reference, a new one is what the others are."""
    good = [choose_child([[0.9, 0.95, 0.85], [0.1], [0.15], [0.1]], key) for key in range(60)]
    assert good.count(0) > 40
    alike = [choose_child([[0.4, 0.6], [0.5], [0.45]], key) for key in range(60)]
    assert alike.count(None) > 6


def test_who_writes_is_drawn_by_what_all_have_written() -> None:
    better = [choose_model([[0.2, 0.1, 0.3, 0.2], [0.8, 0.9, 0.85, 0.9]], key) for key in range(40)]
    assert better.count(1) > 34
    assert {choose_model([[], [], []], key) for key in range(40)} == {0, 1, 2}
    assert {choose_model([[0.1, 0.2], []], key) for key in range(40)} == {0, 1}


class Judge:
    """Rewards in turn."""

    name, digest = "judge", ""

    def __init__(self) -> None:
        self.left = iter([0.5, 0.9, 0.2, 0.7, 0.4, 0.8, 0.6, 0.3])

    def score(self, problem: Problem, states: Sequence[State]) -> list[float]:
        return [next(self.left) for _ in states]


def searched(seed: int, models: str) -> Result:
    backends = {name: ScriptBackend(lambda prompt, text, number: "x") for name in ("one", "two")}
    driver = Driver(backends, services=Services(lambda _: Judge()))
    job = MethodJob(find("ab_mcts_m"), Problem("p", "ask", seed=seed), {"n": 8, "models": models})
    ((_, result),) = driver.solve([job])
    assert result.why == "done", result.error
    return result


def drawn(groups: list[list[float]], group: int | None, stream: RandomStream) -> float:
    """One draw, from densities of all rewards at the points of the same grid."""
    points = [(s, t) for s in SCALES for t in SCALES]
    found = [conditional(groups, 0.2 * s, 0.3 * t) for s, t in points]
    lowest = 2 ** (1 / 6) / (math.log(2) / 3)
    masses = [
        density * s * t * math.exp(-(s * s + t * t) / 2) * lowest ** ((s == SCALES[0]) + (t == SCALES[0]))
        for (s, t), (density, _) in zip(points, found, strict=True)
    ]
    cell = int(np.searchsorted(np.cumsum(masses), stream.uniform() * sum(masses), side="right"))
    mean, variance = found[cell][1][len(groups) if group is None else group]
    return mean + math.sqrt(variance) * stream.normal()


def below(place: int, tree: dict[int | None, list[int]], rewards: list[float]) -> list[float]:
    return [rewards[place], *[score for child in tree[place] for score in below(child, tree, rewards)]]


@pytest.mark.parametrize("models", ["", "one, two"])
def test_the_search_step_by_step(models: str) -> None:
    """Every answer's parent and writer, from another implementation of the model and of the tree."""
    widths = set()
    for seed in range(3):
        result = searched(seed, models)
        written = [node for node in result.trace["nodes"] if node["kind"] == "extend"]
        rewards = result.answer.details["rewards"]
        writers = result.answer.details["models"]
        problem = Problem("p", "ask", seed=seed)
        parents: list[int | None] = []
        for turn in range(8):
            subtree: dict[int | None, list[int]] = {None: []}
            for i, parent in enumerate(parents):
                subtree[i] = []
                subtree[parent].append(i)

            at: int | None = None
            depth = 0
            while subtree[at]:
                groups = [below(child, subtree, rewards) for child in subtree[at]]
                stream = RandomStream(problem.key("child", turn, depth))
                draws = [drawn(groups, i, stream) for i in range(len(groups))]
                if drawn(groups, None, stream) > max(draws):
                    break
                at, depth = subtree[at][int(np.argmax(draws))], depth + 1
            parents.append(at)
            assert bool(written[turn].get("other_prompt")) == (at is not None)
            if at is not None:
                assert written[turn]["parent"] == written[at]["branch"]
            if models:
                stream = RandomStream(problem.key("model", turn))
                own = {"one": [], "two": []}
                for reward, writer in zip(rewards, writers[:turn], strict=False):
                    own[writer].append(reward)
                seen = [scores for scores in own.values() if scores]
                if not seen:
                    expected = ["one", "two"][int(2 * stream.uniform())]
                else:
                    places = {name: seen.index(scores) if scores else None for name, scores in own.items()}
                    values = {name: drawn(seen, place, stream) for name, place in places.items()}
                    expected = max(values, key=values.__getitem__)
                assert writers[turn] == expected
            else:
                assert writers[turn] == ""
        assert result.answer.details["wide"] == parents.count(None)
        widths.add(parents.count(None))
    assert widths != {8}, "the search goes deeper"
