"""Sections on budgets and on errors of choosers, on simulated runs of known truth."""

import re
from dataclasses import replace
from itertools import product
from math import factorial, prod

import numpy as np
import pytest

from intact.evaluate.report.sections import estimation, solve_or_verify
from intact.evaluate.report.sections.base import OmittedError
from intact.evaluate.results import SingleVerdict
from intact.reason.aggregate.rpc import expected_errors, probabilities, prune
from support.report_runs import MANIFEST, arm


def verified(seed, completeness, soundness, problems=60, solutions=8, checks=4, tokens=5):
    """Solutions with several verdicts on each, of known quality; a solution has 10 tokens."""
    rng = np.random.default_rng(seed)
    made = []
    for rate in rng.uniform(0.1, 0.6, problems):
        own = []
        for correct in rng.random(solutions) < rate:
            accept = completeness if correct else 1 - soundness
            verdicts = tuple(SingleVerdict("judge", float(one), tokens) for one in rng.random(checks) < accept)
            own.append({"correct": correct, "answer": "right" if correct else "wrong", "verdicts": verdicts})
        made.append(own)
    return made


def test_good_verdicts_beat_the_vote_and_blind_ones_lose_to_it():
    (good,) = solve_or_verify.SECTION.make([arm(verified(1, 0.95, 0.95))]).numbers.values()
    assert (good.by, good.solutions, good.checks, good.ratio) == ("judge", 8, 4, 0.5)
    of = {one.budget: one for one in good.budgets}
    assert list(of) == [1, 2, 4, 8, 16, 24]  # all 8 with all 4 verdicts cost 24 solutions
    assert of[1].split is None
    assert of[16].vote is None
    assert of[8].difference.low > 0.2
    easy = [
        [one | {"correct": place % 4 > 0, "answer": "right" if place % 4 else "wrong"} for place, one in enumerate(own)]
        for own in verified(2, 0.5, 0.5)
    ]
    (blind,) = solve_or_verify.SECTION.make([arm(easy + verified(3, 0.5, 0.5, 12))]).numbers.values()
    assert {one.budget: one for one in blind.budgets}[8].difference.high < 0


def test_the_most_that_was_drawn_is_the_choice_of_the_method_itself():
    made = verified(4, 0.8, 0.6, tokens=1)
    (found,) = solve_or_verify.SECTION.make([arm(made)]).numbers.values()
    shares = [[sum(v.value for v in one["verdicts"]) for one in own] for own in made]
    wins = [own[own_shares.index(max(own_shares))]["correct"] for own, own_shares in zip(made, shares, strict=True)]
    table = np.array(
        [
            [
                solve_or_verify.best_verified_at(
                    [[v.value for v in one["verdicts"]] for one in own], [one["correct"] for one in own], v
                )[-1]
                for v in (1, 2, 3, 4)
            ]
            for own in made
        ]
    ).mean(axis=0)
    assert table[-1] == pytest.approx(np.mean(wins))
    assert found.budgets[-1].split.accuracy == pytest.approx(max(table))


def test_unreadable_verdicts_count_a_half_and_are_counted():
    made = verified(5, 0.9, 0.9)
    for own in made:
        own[0]["verdicts"] = (SingleVerdict("judge", None, 5), *own[0]["verdicts"][1:])
    (found,) = solve_or_verify.SECTION.make([arm(made)]).numbers.values()
    assert found.unreadable == pytest.approx(1 / 32)


@pytest.mark.parametrize(
    ("change", "because"),
    [
        (lambda one: {"verdicts": ()}, "it does not record verdicts on each of its texts"),
        (lambda one: {"verdicts": (SingleVerdict("judge", 0.3, 5),) * 2}, "the verdicts of judge are neither yes nor"),
        (lambda one: {"verdicts": (SingleVerdict("judge", 1.0, 0),) * 2}, "the tokens of its verdicts are not"),
    ],
)
def test_runs_without_single_verdicts_have_no_split(change, because):
    made = [[one | change(one) for one in own] for own in verified(6, 0.9, 0.9)]
    with pytest.raises(OmittedError, match=re.escape(because)):
        solve_or_verify.SECTION.make([arm(made)])


def drawn(seed, chances, right, n, problems=400):
    """Samples of a model with four texts of known probabilities."""
    rng = np.random.default_rng(seed)
    return [
        [
            {"correct": right[i], "answer": "right" if right[i] else "wrong", "tokens": 7 + i, "logprob": np.log(p)}
            for i, p in ((i, chances[i]) for i in rng.choice(len(chances), n, p=chances))
        ]
        for _ in range(problems)
    ]


def at(temperature, made, **sampling):
    """The same run, drawn at a temperature."""
    method = MANIFEST["method"] | {"sampling": {"temperature": temperature, "max_tokens": 64} | sampling}
    return replace(made, run=replace(made.run, manifest=MANIFEST | {"method": method}))


def pruned_error(chances, right, n):
    """Enumerate how often each text is drawn: the mean squared distance of RPC's estimate from 1."""
    total = 0.0
    for counts in product(range(n + 1), repeat=len(chances)):
        if sum(counts) == n:
            texts = [i for i, count in enumerate(counts) for _ in range(count)]
            kept = prune(probabilities([np.log(chances[i]) for i in texts], None), estimation._fit).kept
            mass = sum(chances[i] for i in {i for i, stays in zip(texts, kept, strict=True) if stays and right[i]})
            ways = factorial(n) / prod(factorial(count) for count in counts)
            total += ways * prod(chance**count for chance, count in zip(chances, counts, strict=True)) * (mass - 1) ** 2
    return total


def test_choosers_by_rewards_are_those_of_a_hand_made_run():
    """One right text of four: its reward is the largest, and half of all, but it has a quarter of the votes."""
    own = [{"correct": place == 0, "answer": "a" if place == 0 else "b"} for place in range(4)]
    for one, reward in zip(own, (3.0, 1.0, 1.0, 1.0), strict=True):
        one["rewards"] = {"judge": reward, "signed": -reward}
    (found,) = estimation.SECTION.make([at(0.7, arm([own] * 10))]).numbers.values()
    assert list(found.choosers) == ["vote", "best by judge", "weighted by judge", "best by signed"]
    totals = {name: (one.total.estimate, one.accuracy) for name, one in found.choosers.items()}
    assert totals == {
        "vote": (0.75**2, 0), "best by judge": (0, 1), "weighted by judge": (0.25, 1), "best by signed": (1, 0)
    }  # fmt: skip
    some = [[*own[:3], own[3] | {"rewards": {"judge": 1.0}}]] * 10
    (found,) = estimation.SECTION.make([at(0.7, arm(some))]).numbers.values()
    assert list(found.choosers) == ["vote", "best by judge", "weighted by judge"]


def test_rpc_is_not_fitted_to_very_many_samples(monkeypatch):
    monkeypatch.setattr(estimation, "_MOST", 100)
    body = estimation.SECTION.make([at(1.0, arm(drawn(1, [0.5, 0.5], [True, False], 4, 40)))])
    (found,) = body.numbers.values()
    assert list(found.choosers) == ["vote", "consistency", "inclusion"]
    assert "RPC is not shown, because its mixture would be fitted to more than 100 samples" in body.blocks[-1].text


@pytest.mark.parametrize("n", [4, 6])
def test_errors_of_choosers_are_those_of_the_known_model(n):
    chances, right = [0.3, 0.2, 0.25, 0.25], [True, True, False, False]
    (found,) = estimation.SECTION.make([at(1.0, arm(drawn(1, chances, right, n)))]).numbers.values()
    known = expected_errors([0.3, 0.2], n)
    assert found.model.low <= float(known.model) <= found.model.high
    assert list(found.choosers) == ["vote", "consistency", "inclusion", "rpc"]
    for name, errors in found.choosers.items():
        total = float(getattr(known, name)) if name != "rpc" else pruned_error(chances, right, n)
        assert errors.total.low <= total <= errors.total.high
        assert errors.estimation.low <= total - float(known.model) <= errors.estimation.high
    assert found.seen_mass > 0.5
    assert found.copies > 0.2
    assert found.choosers["vote"].against_vote is None
    assert not found.why_not


@pytest.mark.parametrize(
    ("made", "because"),
    [
        (at(0.7, arm(drawn(1, [0.5, 0.5], [True, False], 4, 40))), "drawn at temperature 0.7, not 1"),
        (at(1.0, arm(drawn(1, [0.5, 0.5], [True, False], 4, 40)), top_p=0.9), "top_p kept texts from being drawn"),
        (at(1.0, arm(drawn(1, [0.5, 0.5], [True, False], 4, 40)), regex="a*"), "regex kept texts from being drawn"),
    ],
)
def test_probabilities_choose_only_among_texts_of_the_model_itself(made, because):
    body = estimation.SECTION.make([made])
    (found,) = body.numbers.values()
    assert list(found.choosers) == ["vote"]
    assert because in body.blocks[-1].text


def test_errors_need_independent_samples_of_ten_problems():
    with pytest.raises(OmittedError):
        estimation.SECTION.make([arm(drawn(1, [1.0], [True], 4, 9))])
    with pytest.raises(OmittedError):
        estimation.SECTION.make([arm(drawn(1, [1.0], [True], 4, 40), independent=False)])
