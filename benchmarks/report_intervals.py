"""Measure by simulation how often intervals in reports contain the truth: a table of study/statistics.md.

    python benchmarks/report_intervals.py [--simulations 400] [--only slope] [--json FILE]

Runs with a known truth are simulated and measured as in the sections of reports, so a row may use a biased estimate,
such as a law's where the law is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from intervals import Row, row_of, run

from intact.evaluate.report.sections import estimation, solve_or_verify
from intact.evaluate.results import ItemSample, SingleVerdict
from intact.reason.aggregate.rpc import expected_errors
from intact.stats.association import cliffs_delta, share_of_samples, slope
from intact.stats.choosing_at_k import majority_at_k
from intact.stats.coverage import pass_at_k
from intact.stats.laws.resampling import resampling_limits
from intact.stats.laws.revision import RevisionChain, sequential_saturation
from intact.stats.laws.saturation import Saturation, saturation_interval
from intact.stats.laws.verifier import Verifier, best_attempts, ceiling

Bounds = tuple[float, float, float]
"""The truth, and an interval's bounds."""
Found = dict[tuple[str, str], Bounds]
"""Bounds by interval and by description."""


def lengths(problems: int) -> Callable[[np.random.Generator, int], Found]:
    """Simulate hard problems with long texts, where longer texts of a problem are wrong more often."""

    def simulate(rng: np.random.Generator, _: int) -> Found:
        hard = np.repeat(rng.uniform(-1, 1, problems), 8)
        longer = rng.uniform(-80, 80, hard.size)
        right = rng.random(hard.size) < 0.5 - 0.25 * hard - 0.002 * longer
        tokens, clusters = 200 + 100 * hard + longer, np.repeat(np.arange(problems), 8).tolist()
        within = slope(tokens, right, clusters, within=True)
        delta = cliffs_delta(tokens, right, clusters)
        of = f"length and correctness, {problems} problems, 8 samples each"
        return {
            ("slope within problems", of): (-0.002, within.low, within.high),
            ("Cliff's delta", of): (length_delta(), delta.low, delta.high),
        }

    return simulate


@cache
def length_delta() -> float:
    """Return Cliff's delta of `lengths`, over pairs of one problem, by quadrature.

    For a problem with chance `p - s x` at length x, uniform on [-1, 1], a pair of a right and a wrong text has the
    chances (right ones at x, wrong ones at y) `(p - s x) (1 - p + s y) / 4`.
    """
    x = (np.arange(1000) + 0.5) / 500 - 1
    wins = pairs = 0.0
    for hard in (np.arange(200) + 0.5) / 100 - 1:
        good = 0.5 - 0.25 * hard - 0.16 * x
        bad = 1 - good
        below = np.cumsum(bad) - bad / 2
        wins += float(good @ (2 * below - bad.sum()))
        pairs += float(good.sum() * bad.sum())
    return wins / pairs


def saturation(rng: np.random.Generator, seed: int) -> Found:
    """Simulate problems of which seven in ten can be solved, all with the chance 0.15: the law is right."""
    true, numbers = Saturation(0.7, 0.15), [1, 2, 4, 8, 16, 32]
    right = rng.binomial(32, 0.15 * (rng.random(100) < 0.7))
    found = saturation_interval(numbers, np.array([pass_at_k(32, right, k) for k in numbers]).T, seed=seed)
    gain = float(true.accuracy(64) - true.accuracy(32))
    last = float(true.accuracy(32) - true.accuracy(16))
    of = "coverage, 100 problems, 32 samples each"
    return {
        ("saturation: limit", of): (0.7, found.f_max.low, found.f_max.high),
        ("saturation: N*", of): (true.point(), found.point.low, found.point.high),
        ("saturation: last doubling, observed", of): (last, found.last_doubling.low, found.last_doubling.high),
        ("saturation: next doubling, predicted", of): (gain, found.next_doubling.low, found.next_doubling.high),
    }


def rounds(problems: int) -> Callable[[np.random.Generator, int], Found]:
    """Simulate four rounds of revision with equal chances for all problems."""

    def simulate(rng: np.random.Generator, seed: int) -> Found:
        true = RevisionChain(0.4, 0.3, 0.1)
        states = [rng.random(problems) < true.first]
        for _ in range(4):
            mends, spoils = rng.random(problems) < true.mended, rng.random(problems) < true.spoilt
            states.append(np.where(states[-1], ~spoils, mends))
        drafts = np.array(states).T
        found = sequential_saturation([[one] for one in drafts.tolist()], seed=seed)
        before, after = drafts[:, :-1], drafts[:, 1:]
        mended = share_of_samples((~before & after).sum(axis=1), (~before).sum(axis=1))
        spoilt = share_of_samples((before & ~after).sum(axis=1), before.sum(axis=1))
        gain = float(true.accuracy(8) - true.accuracy(4))
        of = f"4 rounds, {problems} problems"
        return {
            ("revision: mended", of): (true.mended, mended.low, mended.high),
            ("revision: spoilt", of): (true.spoilt, spoilt.low, spoilt.high),
            ("revision: limit", of): (true.limit, found.limit.low, found.limit.high),
            ("revision: N*", of): (true.point(), found.point.low, found.point.high),
            ("revision: next doubling, predicted", of): (gain, found.next_doubling.low, found.next_doubling.high),
        }

    return simulate


def checker(rng: np.random.Generator, seed: int) -> Found:
    """Simulate a checker of known quality on problems with beta(2, 2) distributed rates."""
    rates, true = np.sort(np.random.default_rng(7).beta(2, 2, 4_000)), Verifier(0.9, 0.8)
    priors = np.full(rates.size, 1 / rates.size)
    right = rng.binomial(32, rng.beta(2, 2, 100))
    hits, misses = rng.binomial(right, true.completeness), rng.binomial(32 - right, 1 - true.soundness)
    limits = resampling_limits(np.full(100, 32), right, hits, misses, seed=seed)
    reachable, of = ceiling(rates, priors, true), "100 problems, 32 samples each"
    found: Found = {
        ("checker: completeness", of): (0.9, limits.completeness.low, limits.completeness.high),
        ("checker: soundness", of): (0.8, limits.soundness.low, limits.soundness.high),
        ("checker: reachable by resampling", of): (reachable, limits.ceiling.low, limits.ceiling.high),
    }
    for best in limits.best:
        attempts = best_attempts(rates, priors, true, fluke=best.fluke, most=100).attempts
        found[f"checker: best K if a wrong answer costs {-best.fluke:g}", of] = (attempts, best.low, best.high)
    return found


TEXTS = ((0.3, 0.2, 0.25, 0.25), (0.6, 0.1, 0.2, 0.1), (0.05, 0.1, 0.45, 0.4))
"""Probabilities of four texts, the first two of them right, for three kinds of problems."""


def errors(rng: np.random.Generator, _: int) -> Found:
    """Simulate eight samples of each of some problems of three kinds."""
    samples = {}
    for place, kind in enumerate(rng.integers(0, 3, 100)):
        drawn = rng.choice(4, 8, p=TEXTS[kind])
        samples[str(place)] = [
            ItemSample(f"{i}", "right" if i < 2 else "wrong", bool(i < 2), 7 + int(i), float(np.log(TEXTS[kind][i])),
                       "end")
            for i in drawn
        ]  # fmt: skip
    measured = estimation.measure(samples, {"temperature": 1})
    assert isinstance(measured, estimation.EstimationFindings)
    known = [expected_errors(one[:2], 8) for one in TEXTS]
    model = float(sum(one.model for one in known)) / 3
    of = "100 problems, 8 samples each"
    found: Found = {("errors: of the model", of): (model, measured.model.low, measured.model.high)}
    for name in ("vote", "consistency", "inclusion"):
        total, part = float(sum(getattr(one, name) for one in known)) / 3, measured.choosers[name]
        found[f"errors: {name}, total", of] = (total, part.total.low, part.total.high)
        found[f"errors: {name}, of estimation", of] = (total - model, part.estimation.low, part.estimation.high)
    return found


def verified(rng: np.random.Generator, problems: int) -> dict[str, list[ItemSample]]:
    """Draw eight solutions with four verdicts each, for problems of different difficulty."""
    made = {}
    for place, rate in enumerate(rng.uniform(0.1, 0.6, problems)):
        right = rng.random(8) < rate
        yes = rng.random((8, 4)) < np.where(right, 0.8, 0.3)[:, None]
        made[str(place)] = [
            ItemSample(
                f"{i}", "right" if good else f"wrong {rng.integers(3)}", bool(good), 10, -1.0, "end",
                verdicts=tuple(SingleVerdict("judge", float(one), 5) for one in yes[i]),
            )
            for i, good in enumerate(right)
        ]  # fmt: skip
    return made


@cache
def verified_truth() -> tuple[np.ndarray, np.ndarray]:
    """Return accuracy by numbers of solutions and verdicts, and of votes of 1 to 8, over 20,000 other problems."""
    samples = list(verified(np.random.default_rng(99), 20_000).values())
    right = [[bool(one.correct) for one in own] for own in samples]
    scores = [[[v.value for v in one.verdicts] for one in own] for own in samples]
    splits = np.array(
        [
            np.mean([solve_or_verify.best_verified_at(*each, v) for each in zip(scores, right, strict=True)], axis=0)
            for v in range(1, 5)
        ]
    )
    answers = [[one.answer for one in own] for own in samples]
    return splits.T, np.array([majority_at_k(answers, right, k).mean() for k in range(1, 9)])


def budgets(rng: np.random.Generator, _: int) -> Found:
    """Compare the split that a report names with the truth for that split."""
    measured = solve_or_verify.measure(verified(rng, 60))
    assert isinstance(measured, solve_or_verify.SplitFindings)
    splits, votes = verified_truth()
    found: Found = {}
    for one in measured.budgets:
        if one.difference is not None and one.split is not None:
            truth = splits[one.split.solutions - 1, one.split.checks - 1] - votes[int(one.budget) - 1]
            of = f"budget of {one.budget:g}, 60 problems"
            found["solve or verify: split minus vote", of] = (float(truth), one.difference.low, one.difference.high)
    return found


CASES: dict[str, Callable[[np.random.Generator, int], Found]] = {
    "lengths": lengths(60),
    "lengths of few": lengths(15),
    "saturation": saturation,
    "rounds": rounds(100),
    "rounds of few": rounds(25),
    "checker": checker,
    "errors": errors,
    "budgets": budgets,
}


def measure(simulations: int, only: str = "", seed: int = 0) -> list[Row]:
    """Simulate the cases whose name contains `only`."""
    rows = []
    for number, (name, simulate) in enumerate(CASES.items()):
        if only not in name:
            continue
        found: dict[tuple[str, str], list[Bounds]] = {}
        for repeat in range(simulations):
            for key, bounds in simulate(np.random.default_rng([seed, number, repeat]), repeat).items():
                found.setdefault(key, []).append(bounds)
        rows += [row_of(interval, of, bounds) for (interval, of), bounds in found.items()]
    return rows


if __name__ == "__main__":
    run(__doc__, measure, 400, ".4g")
