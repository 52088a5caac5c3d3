"""benchmarks/input_cuts.py: the bytes that move are counted exactly, and those of cuts by inputs by hand."""

import importlib
import sys
from pathlib import Path

import pytest

from intact.checkpoints.formats import open_checkpoint
from intact.library.parallel.channel import HEADER
from intact.measure.planning.measure import measure_cut
from intact.measure.planning.work import StepRows
from intact.models import build_program
from support.tiny import write_tiny

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("input_cuts")
    sys.modules.pop("input_cuts", None)


@pytest.mark.parametrize("architecture", ["llama", "gemma3"])
def test_what_is_counted_moves(cuts, architecture, tmp_path):
    program = build_program(open_checkpoint(write_tiny(tmp_path / "m.gguf", architecture)))
    rows = StepRows(1, 1, 40)
    for degree in (2, 3):
        times = measure_cut(program, (1,) * degree, steps={rows: 1})
        found = cuts.count_traffic(program, degree, by_inputs=False)
        assert found.bytes == times.moved[rows]
        assert found.exchanges == len(times.ranks[rows][0].exchanges)


@pytest.mark.parametrize(("kind", "sums"), [("Q8_0", 1), ("Q4_1", 2)])
@pytest.mark.parametrize("degree", [2, 3])
def test_cuts_by_inputs_by_hand(cuts, degree, kind, sums, tmp_path):
    """Of the four exchanges of a layer with sums alone two are of maxima and two of sums; minima add one to each."""
    layers, width, hidden, heads, size = 2, 96, 160, 3, 32
    path = write_tiny(
        tmp_path / "m.gguf", kinds=[kind], layers=layers, width=width, hidden=hidden, heads=heads, head_width=size
    )
    program = build_program(open_checkpoint(path))
    head = HEADER.size
    embedding = degree - 1
    now = cuts.count_traffic(program, degree, by_inputs=False)
    layer = 4 * (heads * size + width + hidden + width) + 8 * head
    assert now == (1 + 4 * layers, embedding * (4 * width + head) + layers * (degree - 1) * layer)
    found = cuts.count_traffic(program, degree, by_inputs=True)
    projection = sums * (16 + 2 * head) + (8 * sums + 4) * width + 2 * head
    assert found == (
        1 + layers * 2 * (1 + sums),
        embedding * (4 * width + head) + layers * 2 * (degree - 1) * projection,
    )
