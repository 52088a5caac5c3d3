import pytest

from intact.evaluate.intervals import wilson


def test_the_score_interval_holds_the_shares_whose_test_does_not_reject() -> None:
    for successes, trials in ((0, 5), (3, 10), (50, 100), (99, 100), (7, 7)):
        low, high = wilson(successes, trials)
        assert 0 <= low <= successes / trials <= high <= 1
        for share in (low, high):
            if 0 < share < 1:
                z = (successes - trials * share) / (trials * share * (1 - share)) ** 0.5
                assert abs(z) == pytest.approx(1.959963984540054)
    assert wilson(0, 0) == (0.0, 1.0)
