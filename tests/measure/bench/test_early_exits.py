"""benchmarks/early_exits.py: shares of certain tokens, of the model's own among them, and of those that stay."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor
from intact.models import build_program
from intact.models.layers import some_layers
from support.eagle import LAYERS, write_model

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("early_exits")
    for name in ("early_exits", "draft_requests", "common"):
        sys.modules.pop(name, None)


def answer(certain: str, right: str) -> tuple[np.ndarray, np.ndarray]:
    return np.array([one == "1" for one in certain]), np.array([one == "1" for one in right])


def test_shares_by_hand(exits):
    found = exits.weigh_exit([answer("1101", "1011"), answer("000011", "111111")])
    assert found == (5 / 10, 4 / 5, 1 / 2, 3 / 10)


def test_an_exit_that_is_never_certain_changes_and_saves_nothing(exits):
    assert exits.weigh_exit([answer("000", "010")]) == (0, 1, 1, 0)


def test_one_that_always_is_never_leaves_the_edge(exits):
    assert exits.weigh_exit([answer("11", "11"), answer("1", "0")]) == (1, 2 / 3, 1 / 2, 1)


@pytest.mark.native
def test_a_layer_that_is_undone_is_as_if_it_were_not_there(exits, tmp_path: Path) -> None:
    path = write_model(tmp_path)
    texts = [[5, 9, 200, 7, 7, 31], [3, 2, 1]]
    with open_checkpoint(path) as checkpoint:
        program = build_program(checkpoint)
    skipping = exits.Skipping(program)
    for skipped in ((), (1,), (2, 4)):
        left = [layer for layer in range(LAYERS) if layer not in skipped]
        plain = NativeExecutor(some_layers(program, left), exchange=lambda *given: None)
        skipping.skipped = set(skipped)
        found, expected = (exits.guesses(one, program.context, texts) for one in (skipping.executor, plain))
        for a, b in zip(found, expected, strict=True):
            assert a.tokens.tolist() == b.tokens.tolist()
            assert a.certainties.tolist() == b.certainties.tolist()


def test_drafts_by_a_part_of_the_layers_pay_only_where_they_are_mostly_right(exits):
    assert exits.best_skipped(1.0, 5, 10, 0.0) == (19 * 10 / (10 + 18 * 5), 18)
    gain, count = exits.best_skipped(0.0, 5, 10, 0.0)
    assert (gain, count) == (10 / 15, 1)
