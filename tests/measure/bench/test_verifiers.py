"""benchmarks/verifiers.py: scorers of a set quality on kept pools, and the library's methods on these."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def verifiers(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("verifiers")
    for name in ("verifiers", "pools", "common"):
        sys.modules.pop(name, None)


def pools(verifiers, count: int = 40):
    """Pools of 8 texts each, of which two are right."""
    answers, right = [0, 1, 1, 2, 3, 3, 3, 0], [1, 0, 0, 0, 0, 0, 0, 1]
    return [verifiers.Pool("set", "model", f"set/{i}", answers, right, list(range(8))) for i in range(count)]


@pytest.mark.parametrize("quality", [0.5, 0.7, 0.9])
def test_the_scorer_has_the_quality_that_is_set(verifiers, quality):
    assert verifiers.reached(pools(verifiers, 200), quality) == pytest.approx(quality, abs=0.03)
    assert verifiers.reached(pools(verifiers), 1.0) == 1.0


def test_scores_are_the_chance_that_a_text_is_right(verifiers):
    """Of the texts with a score near p a share p is right."""
    found = [
        (verifiers.noisy_score(right, 0.8, verifiers.noise(0, "calibrated", i), 0.25), right)
        for i in range(20_000)
        for right in [i % 4 == 0]
    ]
    for low in (0.1, 0.3, 0.5):
        own = [right for score, right in found if low <= score < low + 0.1]
        assert sum(own) / len(own) == pytest.approx(low + 0.05, abs=0.05)


def test_methods_choose_by_the_scores_they_are_given(verifiers):
    (pool,) = pools(verifiers, 1)
    truth = verifiers.Stand(pool, range(8), 1.0, 0)
    answer, texts = truth.play("best_of_n", {"n": 8, "scorer": "truth"})
    assert (truth.is_right(answer), texts) == (True, 8)
    vote, _ = truth.play(verifiers.VOTE, {"n": 8})
    assert not truth.is_right(vote)  # three texts agree on a wrong answer
    late = verifiers.Stand(pool, [1, 2, 7, 3], 1.0, 0)
    answer, texts = late.play("resample_until_verified", {"n": 4, "scorer": "truth"})
    assert (late.is_right(answer), texts) == (True, 3)


def test_a_method_pays_from_where_its_difference_turns_positive(verifiers):
    def cells(*beyond: float):
        fields = {"set": "s", "model": "m", "method": "x", "n": 4, "reached": 0, "texts": 4, "vote": 0, "right": ()}
        return [
            verifiers.Cell(quality=q, beyond=(b, b - 0.1, b + 0.1), **fields)
            for q, b in zip((0.5, 0.6, 0.7), beyond, strict=True)
        ]

    assert verifiers.pays_from(cells(-0.1, -0.05, 0.05), 0) == "0.65"
    assert verifiers.pays_from(cells(-0.1, -0.05, 0.05), 1) == "never"
    assert verifiers.pays_from(cells(0.1, 0.2, 0.3), 0) == "always"


def test_the_kept_table_has_every_method_at_every_quality(verifiers):
    cells = [verifiers.Cell(**one) for one in verifiers.Lines(verifiers.KEPT).all]
    assert {cell.method for cell in cells} == set(verifiers.METHODS)
    for cell in cells:
        assert cell.reached == pytest.approx(cell.quality, abs=0.02)
    assert {cell.quality for cell in cells} == set(verifiers.GRID)
