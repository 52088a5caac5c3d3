"""The counted work of a pipeline's ranks: sizes of real ranks, the bytes that move, sums as of the whole model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.library.parallel.pipeline import PART_ROWS, Work, split
from intact.library.parallel.start import PipelineExecutor
from intact.measure.planning.pipeline import simulate_pipeline
from intact.measure.planning.stages import StagesWork
from intact.measure.planning.work import PAGE, ModelWork, StepRows
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from measure.planning.test_search import kind
from support.tiny import write_tiny

STEPS = [StepRows(1, 1, 40), StepRows(3, 1, 9), StepRows(1, 24, 0), StepRows(1, 150, 0)]
SHARES = [(1,), (1, 1), (1, 1, 1), (3, 1)]


@pytest.fixture(scope="module", params=["llama", "gemma3", "qwen3moe", "deepseek2", "lfm2", "mamba", "mamba2"])
def path(request, tmp_path_factory) -> Path:
    return write_tiny(
        tmp_path_factory.mktemp("models") / "tiny.gguf", architecture=request.param, layers=4, context=256
    )


def stages_of(path: Path) -> tuple[ModelWork, StagesWork]:
    model = ModelWork.of(build_program(open_checkpoint(path)))
    assert model.whole is not None
    return model, StagesWork(model.whole, model.sizes)


def pages(rows: StepRows) -> int:
    return -(-(rows.position + rows.each) // PAGE)


def run(executor, rows: StepRows) -> None:
    numbers = np.arange(rows.texts * pages(rows), dtype=np.int32).reshape(rows.texts, -1)
    tokens = np.arange(3, 3 + rows.each, dtype=np.int32) % 100
    wanted = np.arange(rows.texts, dtype=np.int64) * rows.each + rows.each - 1
    executor.step([SequenceChunk(rows.position, tokens, one) for one in numbers], wanted)


@pytest.mark.parametrize("shares", [(1, 1), (3, 1)])
def test_memory_and_messages_are_those_of_real_ranks(path, shares):
    _, work = stages_of(path)
    parts = f"here*{shares[0]},local*{shares[1]}"
    with intact.load(
        path, pipeline_parallel=parts, threads=1, page_size=PAGE, drafter="off", prefix_cache=False
    ) as model:
        executor = model.executor
        assert isinstance(executor, PipelineExecutor)
        for one, memory in zip(executor.memory, work.memory(shares), strict=True):
            assert memory.weights == pytest.approx(one.weight_bytes, rel=0.01, abs=4000)  # the head of one output
            assert PAGE * memory.position == pytest.approx(one.page_bytes, abs=4 * PAGE)  # a state divided by positions
        for rows in STEPS:
            executor.reserve_pages(rows.texts * pages(rows))
            before = sum(executor.moved.values())
            run(executor, rows)
            step = work.step(shares, rows)
            moved = sum(sum(one[1:]) for part in step.parts for one in part)
            assert sum(executor.moved.values()) - before == moved, rows
            assert simulate_pipeline([kind()] * 2, step).bytes == moved


def test_stages_do_the_work_of_the_whole_model(path):
    model, work = stages_of(path)
    for rows in STEPS:
        whole = model.step(model.program, rows).total
        for shares in SHARES:
            step = work.step(shares, rows)
            segments = [step.embedding, step.head, *(one.segment for part in step.parts for one in part)]
            if rows.each <= PART_ROWS:
                assert sum(one.macs for one in segments) == whole.macs
            assert sum(one.bytes for one in segments) >= whole.bytes
            rows_of_parts = [sum(len(c.tokens) for c in part.chunks) for part in split(_work(rows), PART_ROWS)]
            assert len(step.parts) == len(rows_of_parts)


def _work(rows: StepRows) -> Work:
    tokens, numbers = np.zeros(rows.each, np.int32), np.zeros(8, np.int32)
    return Work([SequenceChunk(rows.position, tokens, numbers)] * rows.texts, np.arange(rows.texts))


def test_memory_of_all_ranks_is_that_of_the_whole_model(path):
    model, work = stages_of(path)
    whole = model.memory(model.program)
    for shares in SHARES:
        found = work.memory(shares)
        assert sum(one.position for one in found) == whole.position
        assert sum(one.weights for one in found) == whole.weights


def test_more_ranks_than_layers_are_refused(path):
    _, work = stages_of(path)
    with pytest.raises(ParameterError, match="4 layers cannot be divided between 5 processes"):
        work.memory((1,) * 5)


def test_a_step_of_many_texts_goes_in_parts(path):
    _, work = stages_of(path)
    step = work.step((1, 1), StepRows(150, 1, 9))
    assert len(step.parts) == 3
    one = work.step((1, 1), StepRows(PART_ROWS, 1, 9))
    assert step.parts[0] == step.parts[1] == one.parts[0]


def test_by_hand():
    from intact.measure.planning.stages import PipelineWork, StageWork
    from intact.measure.planning.work import Segment
    from measure.planning.test_step import FAST, RATES

    def part(*macs, plan=0, entering=10, leaving=10):
        first, *others = (Segment(one, 0, 0) for one in macs)
        return StageWork(first), *(StageWork(one, plan, entering, leaving) for one in others)

    one = PipelineWork(Segment(1, 0, 0), Segment(5, 0, 0), (part(3, 4, 2),))
    times = simulate_pipeline([FAST] * 3, one)
    assert (times.seconds, times.busy, times.bytes) == (1 + 3 + 4 + 2 + 5, (9.0, 4.0, 2.0), 40)
    several = PipelineWork(Segment(0, 0, 0), Segment(0, 0, 0), (part(3, 4, 2),) * 4)
    assert simulate_pipeline([FAST] * 3, several).seconds == 3 + 4 * 4 + 2  # the slowest rank never waits
    alone = PipelineWork(Segment(1, 0, 0), Segment(5, 0, 0), (part(3),) * 4)
    assert simulate_pipeline([FAST], alone).seconds == 1 + 4 * 3 + 5
    slow = replace(FAST, latency=10.0, bandwidth=2.0, rates=RATES._replace(message=0.5, copy=0.25, spoke=3.0, row=0.1))
    hub = replace(FAST, rates=RATES._replace(hub=7.0, step=11.0))
    step = PipelineWork(Segment(1, 0, 0), Segment(5, 0, 0), (part(3, 4, plan=20, entering=40, leaving=30),))
    came = 1 + 3 + (20 + 40) / 2 + 10
    done = came + 3 * 0.5 + (20 + 40 + 30) * 0.25 + (3 + 40 * 0.1) + 4
    assert simulate_pipeline([hub, slow], step).seconds == pytest.approx(done + 10 + 30 / 2 + 7 + 5 + 11)
