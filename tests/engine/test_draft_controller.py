"""The controller drafts where it pays, on any curve of costs, and loses next to nothing where it does not."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact.engine.draft.base import Acceptance, make_tree
from intact.engine.draft.controller import LARGEST, MOST_ROWS, Controller, Costs
from intact.engine.drafting import DRAFTERS
from support.drafting import observed
from support.examples import examples

CURVES = {
    "memory": lambda rows: max(1.0, rows / 8),
    "slope": lambda rows: 1 + 0.15 * (rows - 1),
    "steep": lambda rows: 1 + 0.6 * (rows - 1),
    "linear": lambda rows: float(rows),
    "stairs": lambda rows: 1 + 0.8 * ((rows - 1) // 4),
}


class Coin:
    """A draft whose guesses come true by chance; its estimates are honest measurements."""

    def __init__(self, chance, rng, acceptance=None):
        self.chance, self.rng = chance, rng
        self.acceptance = acceptance or Acceptance([0.5])
        self.proposals = 0

    def propose(self, limit, floor=0.0):
        self.proposals += 1
        self.length = int(math.log(self.rng.random()) / math.log(self.chance)) if self.chance else 0
        estimate = self.acceptance.chances[0]
        chances = [c for c in itertools.accumulate([estimate] * limit, lambda a, b: a * b) if c >= floor]
        return make_tree(range(len(chances)), range(-1, len(chances) - 1), chances, ["coin"] * len(chances))

    def extend(self, tokens):
        for i in range(len(tokens)):
            self.acceptance.observe(0, i < self.length)
            if i >= self.length:
                break


class Simulation:
    """Steps on a clock of their own."""

    def __init__(self, curve, noise=0.0, seed=0):
        self.now, self.curve, self.noise, self.rng = 0.0, curve, noise, random.Random(seed)
        self.controller = Controller(clock=lambda: self.now)
        self.tokens = self.nodes = 0

    def step(self, drafts, others=0):
        trees = self.controller.propose(drafts, [50] * len(drafts), others)
        rows = len(drafts) + others + sum(len(tree.tokens) for tree in trees if tree)
        self.nodes += rows - len(drafts) - others
        self.now += self.curve(rows) * 0.01 * math.exp(self.rng.gauss(0, self.noise))
        paths = [
            list(range(min(draft.length, len(tree.tokens)))) if tree else []
            for draft, tree in zip(drafts, trees, strict=True)
        ]
        self.controller.report(trees, paths)
        for draft, path in zip(drafts, paths, strict=True):
            draft.extend([0] * (len(path) + 1))
            self.tokens += len(path) + 1
        return trees

    def speed(self):
        return self.tokens / self.now * 0.01


def best_speed(curve, chance, most=24):
    return max(sum(chance**i for i in range(nodes + 1)) / curve(1 + nodes) for nodes in range(most + 1))


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("chance", [0.0, 0.1, 0.3, 0.6, 0.9])
def test_the_speed_comes_near_the_best(curve, chance):
    simulation = Simulation(CURVES[curve], noise=0.03)
    draft = Coin(chance, random.Random(1))
    for _ in range(200):
        simulation.step([draft])
    simulation.tokens = simulation.now = 0
    for _ in range(1500):
        simulation.step([draft])
    best = best_speed(CURVES[curve], chance)
    assert simulation.speed() > 0.9 * best
    assert simulation.speed() > 0.985


@pytest.mark.parametrize("curve", CURVES)
def test_where_nothing_is_accepted_less_than_three_hundredths_are_lost(curve):
    simulation = Simulation(CURVES[curve], noise=0.03)
    draft = Coin(0.0, random.Random(0))
    for _ in range(300):
        simulation.step([draft])
    assert simulation.speed() > 0.97


def test_where_rows_cost_their_full_price_nothing_is_drafted():
    simulation = Simulation(CURVES["linear"])
    draft = Coin(0.9, random.Random(0))
    for _ in range(100):
        simulation.step([draft])
    before = simulation.nodes
    for _ in range(400):
        simulation.step([draft])
    assert simulation.nodes - before < 20


def test_many_sequences_share_the_rows_that_pay():
    """With 8 rows for the price of one, 4 sequences have 4 nodes; those likelier to be right get them."""
    simulation = Simulation(CURVES["memory"])
    drafts = [Coin(chance, random.Random(i)) for i, chance in enumerate((0.95, 0.95, 0.1, 0.1))]
    for _ in range(400):
        trees = simulation.step(drafts)
    assert sum(len(tree.tokens) for tree in trees if tree) >= 4
    assert not trees[2]
    assert not trees[3]
    assert simulation.speed() > 4 * 1.3


def test_sixty_four_sequences_at_the_full_price_are_left_alone():
    simulation = Simulation(lambda rows: 1 + rows / 8)
    drafts = [Coin(0.5, random.Random(i)) for i in range(64)]
    for _ in range(200):
        simulation.step(drafts)
    assert simulation.speed() > 0.985 * 64 / 9
    assert not Simulation(lambda rows: 1 + rows / 8).controller.interested(0)


def test_a_machine_that_slows_down_for_everyone_changes_nothing():
    slow = [1.0]
    simulation = Simulation(lambda rows: slow[0] * (1 + 0.15 * (rows - 1)), noise=0.05)
    draft = Coin(0.8, random.Random(1))
    for step in range(3000):
        slow[0] = 3.0 if step // 250 % 2 else 1.0
        simulation.step([draft])
    assert simulation.tokens / simulation.now * 0.01 > 0.9 * best_speed(CURVES["slope"], 0.8) * 6000 / 12000


def test_drafting_returns_when_a_text_becomes_predictable():
    simulation = Simulation(CURVES["slope"])
    draft = Coin(0.0, random.Random(1), Acceptance([0.5], memory=50))
    for _ in range(500):
        simulation.step([draft])
    assert not simulation.step([draft])[0]
    draft.chance = 0.95
    for _ in range(100):
        simulation.step([draft])
    before = simulation.tokens
    for _ in range(100):
        simulation.step([draft])
    assert simulation.tokens - before > 300


def test_an_outlier_does_not_switch_drafting_off():
    """Now and then a step takes a hundred times as long: the steps behind it draft as if nothing had happened."""
    simulation = Simulation(CURVES["slope"])
    draft = Coin(0.9, random.Random(1))
    for _ in range(200):
        simulation.step([draft])
    for _ in range(8):
        simulation.curve = lambda rows: 100 * CURVES["slope"](rows)
        simulation.step([draft])
        simulation.curve = CURVES["slope"]
        behind = [simulation.step([draft])[0] for _ in range(49)]
        assert sum(map(bool, behind[:10])) >= 9
        assert sum(map(bool, behind)) >= 45


def test_drafts_share_a_step_with_a_prompt():
    simulation = Simulation(CURVES["slope"])
    draft = Coin(0.9, random.Random(1))
    for _ in range(200):
        simulation.step([draft])
    assert any(simulation.step([draft], others=200)[0] for _ in range(5))
    costs = simulation.controller.costs.seconds(np.array([1, 8]))
    for _ in range(50):
        simulation.step([draft], others=200)
    assert simulation.controller.costs.seconds(np.array([1, 8])) == pytest.approx(costs), (
        "steps with prompts are no measure"
    )


def test_drafts_that_are_not_open_get_nothing_and_limits_hold():
    simulation = Simulation(CURVES["memory"])
    controller, draft = simulation.controller, Coin(0.99, random.Random(1), Acceptance([0.97]))
    for limits in ([0, 5, 3], [1, 1, 50], [50, 50, 50]):
        trees = controller.propose([draft, None, draft], limits)
        assert trees[1] is None
        assert all(tree is None or len(tree.tokens) <= limit for tree, limit in zip(trees, limits, strict=True))
        controller.report(trees, [[], [], []])
    assert controller.propose([], []) == []


@given(
    st.integers(1, 400), st.integers(0, 300), st.lists(st.tuples(st.integers(1, 700), st.floats(1e-6, 10)), max_size=20)
)
@examples(60)
def test_no_step_gets_more_rows_than_it_may_whatever_was_measured(sequences, others, measured):
    controller = Controller()
    for rows, seconds in measured:
        controller.costs.observe(rows, seconds)
    drafts = [Coin(0.9, random.Random(0), Acceptance([0.97])) for _ in range(sequences)]
    interested = controller.interested(sequences, others)
    trees = controller.propose(drafts, [20] * sequences, others)
    assert len(trees) == sequences
    assert sum(len(tree.tokens) for tree in trees if tree) <= MOST_ROWS
    assert sum(draft.proposals for draft in drafts) == (sequences if interested else 0)


@given(st.lists(st.tuples(st.integers(1, 2000), st.floats(0, 1000)), max_size=40))
def test_costs_are_finite_and_positive_whatever_was_measured(measured):
    costs = Costs()
    for rows, seconds in measured:
        costs.observe(rows, seconds)
    curve = costs.seconds(np.arange(1, LARGEST + 100))
    assert np.isfinite(curve).all()
    assert (curve > 0).all()


def test_old_measurements_yield_to_fresh_neighbours():
    costs = Costs()
    costs.observe(1, 1.0)
    for _ in range(5):
        costs.observe(4, 9.0)
    assert costs.seconds(np.array([4]))[0] == pytest.approx(9.0, rel=0.01)
    for _ in range(400):
        costs.observe(3, 1.5)
    assert costs.seconds(np.array([4]))[0] < 1.8


@pytest.mark.parametrize(("chance", "seldom"), [(0.0, True), (0.9, False)])
def test_asking_that_takes_time_and_brings_nothing_is_asked_seldom(chance, seldom):
    simulation = Simulation(CURVES["slope"])
    draft = Coin(chance, random.Random(1))
    guess = draft.propose

    def slow(limit, floor=0.0):
        simulation.now += 0.05 * 0.01
        return guess(limit, floor)

    draft.propose = slow
    for _ in range(300):
        simulation.step([draft])
        draft.length = getattr(draft, "length", 0)
    before = draft.proposals
    for _ in range(400):
        simulation.step([draft])
    assert (draft.proposals - before < 80) == seldom
    assert (draft.proposals - before > 350) != seldom


def test_a_step_for_which_nobody_was_asked_teaches_nothing():
    controller = Controller()
    assert not controller.learning
    controller.propose([Coin(0.5, random.Random(0))], [5])
    assert controller.learning
    controller.report([None], [[]])
    controller.propose([], [])
    assert not controller.learning


def test_statistics_count_by_drafter():
    controller = Controller()
    tree = make_tree([5, 6, 7], [-1, 0, -1], [0.9, 0.8, 0.1], ["lookup", "lookup", "recycling"])
    controller.propose([None, None], [9, 9])
    controller.report([tree, None], [[0, 1], []])
    statistics = controller.statistics
    assert statistics.steps == 2
    assert statistics.drafted == 1
    assert statistics.proposed == {"lookup": 2, "recycling": 1}
    assert statistics.accepted == {"lookup": 2}
    assert statistics.rejected == {"lookup": 0, "recycling": 1}
    assert statistics.acceptance == pytest.approx(2 / 3)
    assert statistics.mean_accepted == 2
    assert statistics.tokens_per_step == 2
    assert Controller().statistics.acceptance == 0


@pytest.mark.parametrize("name", ["lookup", "recycling", "stand", "auto"])
def test_on_a_text_that_never_does_as_guessed_a_real_drafter_loses_less_than_three_hundredths(name):
    """An adversary: each token is one that no node guesses, while pairs of tokens keep coming back."""
    drafter, rng = DRAFTERS[name](30, True), random.Random(3)
    simulation = Simulation(CURVES["slope"])
    text = [0, 1]
    draft = drafter.open(text)
    for _ in range(400):
        tree = simulation.controller.propose([draft], [20])[0]
        shadow = draft.propose(24)
        guessed = set(shadow.tokens.tolist()) if shadow else set()
        text.append(rng.choice([token for token in range(6) if token not in guessed] or [29]))
        simulation.now += CURVES["slope"](1 + (len(tree.tokens) if tree else 0)) * 0.01
        simulation.controller.report([tree], [[]])
        draft.extend(text[-1:])
        drafter.learn(observed(text[-2:-1], [rng.sample(range(30), 10)], [[-1, -1, *text][-4:-2]]))
    assert 400 / (simulation.now / 0.01) > 0.97
