"""What benchmarks/intervals.py, its two neighbours for exact intervals and for reports, and benchmarks/laws.py say."""

from fractions import Fraction

import numpy as np
import pytest

from support.modules import ROOT, load


@pytest.mark.parametrize(
    ("interval", "simulations"),
    [
        *[("clustered", 400), ("mcnemar", 1500), ("tost", 300), ("bootstrap, BCa", 50), ("bootstrap, percentile", 50)],
        pytest.param("clustered", 1500, marks=pytest.mark.slow),
        pytest.param("tost", 600, marks=pytest.mark.slow),
        pytest.param("bootstrap, BCa", 250, marks=pytest.mark.slow),
        pytest.param("bootstrap, percentile", 250, marks=pytest.mark.slow),
    ],
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(interval, simulations):
    """93 to 97 per cent, but for what chance does in so few simulations; the table of study/statistics.md has more."""
    rows = load("benchmarks/intervals.py").measure(simulations, interval)
    assert rows
    for row in rows:
        assert 0.93 - 2 * row.error <= row.holds <= 0.97 + 2 * row.error, row


def test_what_not_to_do_claims_too_much():
    wrong = load("benchmarks/intervals.py").measure(400, "NOT")
    assert [row.holds < 0.9 for row in wrong] == [True, True]


def test_exact_intervals_hold_the_truth_as_often_as_they_say_or_more():
    exact = load("benchmarks/exact_intervals.py")
    rows = [exact.counts(20, 10, 0.9), exact.counts(20, 10, 0.95)]
    rows += [of(level) for of in (exact.place_above, exact.answered, exact.one_set) for level in (0.7, 0.9)]
    assert all(Fraction(str(row.level)) <= row.holds <= 1 for row in rows)
    assert rows[0].width < rows[1].width


@pytest.mark.parametrize("runs", [10, pytest.param(60, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", ["lengths of few", "rounds of few"])
def test_intervals_of_reports_hold_the_truth_about_as_often_as_they_say(case, runs, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    rows = load("benchmarks/report_intervals.py").measure(runs, case)
    assert rows
    for row in rows:
        assert row.holds >= 0.95 - 3 * (0.95 * 0.05 / runs) ** 0.5, row


@pytest.mark.parametrize(
    "case", ["lengths", "saturation", "rounds", "checker", "errors", pytest.param("budgets", marks=pytest.mark.nightly)]
)
def test_a_case_of_reports_gives_its_bounds(case, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    found = load("benchmarks/report_intervals.py").CASES[case](np.random.default_rng(0), 0)
    assert found
    assert all(low <= high for _, low, high in found.values())


def test_forecasts_of_votes_hold_the_truth():
    laws = load("benchmarks/laws.py")
    row = laws.forecasts(laws.FORECAST["majority"][0], "majority", problems=40, repeats=2, seed=1)
    assert min(row["holds"]) >= 1 / 2
    assert row["effective"] > 500


def test_laws_foretell_what_is_known():
    laws = load("benchmarks/laws.py")
    row = laws.accuracy(laws.POPULATIONS[0], problems=1000, repeats=4, seed=0)
    assert row["truth"] == pytest.approx(0.926, abs=0.001)
    assert row["its family"]["exponent"] < 0.08
    assert row["its family"]["within"] == 1
    assert row["its family"]["exponent"] < row["curve"]["exponent"]  # the curve is steeper than its tail
