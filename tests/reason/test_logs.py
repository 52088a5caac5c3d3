"""Published logs: aggregates over them give the figures that were computed from them once."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from intact._base.exact import exp
from intact.reason.aggregate.best import best_of_n
from intact.reason.aggregate.best_of_majority import best_of_majority
from intact.reason.aggregate.majority_of_bests import majority_of_bests
from intact.reason.aggregate.rpc import perplexity_consistency, prune
from intact.reason.aggregate.votes import vote


@pytest.fixture(scope="module")
def math_log(data_dir: Path) -> list[dict[str, list[object]]]:
    """100 MATH problems, 8 samples each, with correctness and a reward model's scores (logits)."""
    path = data_dir / "logs" / "math_qwen25_rm" / "math_cot_100.jsonl"
    if not path.exists():
        pytest.skip(f"needs {path}")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def game24(data_dir: Path) -> Callable[[str], list[list[int]]]:
    """Correctness of each sample of each puzzle, by the name of the file's method."""

    def load(method: str) -> list[list[int]]:
        folder = data_dir / "logs" / "game24_gpt4"
        paths = sorted(folder.glob(f"*{method}*.json"))
        if not paths:
            pytest.skip(f"needs {folder}")
        puzzles = json.loads(paths[0].read_text())
        return [p["accs"] if "accs" in p else [info["r"] for info in p["infos"]] for p in puzzles]

    return load


@pytest.mark.parametrize(
    ("method", "samples", "right", "solved"),
    [("standard_sample", 100, 734, 33), ("cot_sample", 100, 403, 49), ("propose", None, None, 69)],
)
def test_game24(game24: Callable[[str], list[list[int]]], method: str, samples: int, right: int, solved: int) -> None:
    puzzles = game24(method)
    assert len(puzzles) == 100
    # A perfect reward makes best-of-N the coverage: the best sample is right where any is.
    assert sum(rewards[best] for rewards in puzzles if (best := best_of_n(rewards)) is not None) == solved
    if samples:
        assert {len(rewards) for rewards in puzzles} == {samples}
        assert sum(map(sum, puzzles)) == right


def accuracy(log: list[dict[str, list[object]]], choose: Callable[[list[str], list[float], list[str]], object]) -> int:
    """Problems whose chosen answer is right; each is judged by the log's own verdict on the sample that gave it."""
    right = 0
    for item in log:
        answers = [str(answer) if answer else None for answer in item["pred"]]
        rewards = [float(score[0]) for score in item["pred_score"]]  # type: ignore[index]
        chosen = choose(answers, rewards, item["code"])  # type: ignore[arg-type]
        right += bool(item["score"][answers.index(chosen)]) if chosen is not None else 0  # type: ignore[arg-type]
    return right


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def test_math_with_a_reward_model(math_log: list[dict[str, list[object]]]) -> None:
    assert sum(sum(map(bool, item["score"])) for item in math_log) == 728  # pass@1 of 91.0 per cent
    assert sum(any(item["score"]) for item in math_log) == 96
    assert accuracy(math_log, lambda a, r, t: vote(a).answer) == 93
    assert accuracy(math_log, lambda a, r, t: a[best_of_n(r)]) == 94  # type: ignore[index]


def test_aggregates_lie_between_majority_and_coverage(math_log: list[dict[str, list[object]]]) -> None:
    assert accuracy(math_log, lambda a, r, t: vote(a, list(map(sigmoid, r))).answer) == 94
    assert accuracy(math_log, lambda a, r, t: best_of_majority(a, r, 0)[0]) == 94
    assert accuracy(math_log, lambda a, r, t: best_of_majority(a, r, Fraction(1, 4))[0]) == 93
    assert accuracy(math_log, lambda a, r, t: best_of_majority(a, r, 1)[0]) == 93
    assert accuracy(math_log, lambda a, r, t: majority_of_bests(a, r, 1).answer) == 93, "one draw is the vote"
    assert accuracy(math_log, lambda a, r, t: majority_of_bests(a, r).answer) == 94


def test_rpc_in_style(math_log: list[dict[str, list[object]]]) -> None:
    # The log has no log-probabilities: rewards stand in. One text was scored twice, with noise: the first counts.
    def choose(answers: list[str], rewards: list[float], texts: list[str]) -> object:
        p = [sigmoid(rewards[texts.index(text)]) for text in texts]
        return perplexity_consistency(answers, texts, p, prune(p).kept).answer

    assert accuracy(math_log, choose) == 94
