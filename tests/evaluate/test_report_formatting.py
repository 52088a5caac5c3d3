"""Numbers as reports print them."""

from types import SimpleNamespace
from typing import Any

import pytest

from intact._base.exact import significant
from intact.evaluate.report.formatting import percent, points, settled
from intact.evaluate.report.sections import calibration


@pytest.mark.parametrize("value", [-0.0, -1e-20, -4e-4, 0.0, 4e-4])
def test_zero_has_no_minus(value: float) -> None:
    assert percent(value) == "0.0%"
    assert points(value / 100) == "+0.0"
    assert str(settled(-0.0)) == str(significant(-0.0, 3)) == "0.0"


def test_the_brier_score_lies_between_0_and_1_with_its_interval() -> None:
    """Of three answers that are stated as sure, the wrong ones miss by 1: the interval of t would reach 2.1."""
    records = [SimpleNamespace(id=str(i), confidence=1.0, correct=i == 0) for i in range(3)]
    arm: Any = SimpleNamespace(records=records)
    found = calibration.measure(arm)
    assert isinstance(found, calibration.CalibrationFindings)
    assert (found.brier.low, found.brier.estimate, found.brier.high) == (0.0, pytest.approx(2 / 3), 1.0)
