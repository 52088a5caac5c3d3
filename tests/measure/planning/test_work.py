"""The counted work of ranks: the executor's sizes, the bytes that really move, and short programs that count it all."""

from dataclasses import replace
from pathlib import Path

import pytest

from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor
from intact.library.parallel.cut import cut_program
from intact.measure.planning.measure import count_messages, measure_cut
from intact.measure.planning.repeats import repeated_order, shorten
from intact.measure.planning.work import PAGE, ModelWork, StepRows
from intact.models import Program, build_program
from support.tiny import write_tiny

SHARES = [(1,), (1, 1), (1, 1, 1), (3, 1)]


@pytest.fixture(scope="module", params=["llama", "qwen2", "gemma3"])
def program(request, tmp_path_factory) -> Program:
    path: Path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return build_program(open_checkpoint(write_tiny(path, architecture=request.param)))


@pytest.mark.parametrize("name", ["lfm2", "mamba", "mamba2", "mamba3", "qwen35", "qwen3next"])
def test_pages_with_recurrent_rows_have_the_counted_bytes(name, tmp_path):
    program = build_program(open_checkpoint(write_tiny(tmp_path / "tiny.gguf", architecture=name)))
    counted = PAGE * sum(op.position_bytes(program, PAGE) for op in program.ops)
    states = PAGE * len(program.recurrent())  # of each the state divided by positions is rounded up
    assert 0 <= counted - NativeExecutor(program, threads=1, page_size=PAGE).page_bytes <= states


@pytest.mark.parametrize("shares", SHARES)
def test_memory_is_that_of_the_executor(program, shares):
    work = ModelWork.of(program)
    for rank in range(len(shares)):
        part = program if len(shares) == 1 else cut_program(program, shares, rank)
        executor = NativeExecutor(part, threads=1, exchange=None if len(shares) == 1 else lambda *given: None)
        memory = work.memory(work.part(shares, rank))
        assert PAGE * memory.position == executor.page_bytes
        assert memory.weights == pytest.approx(executor.description["weight_bytes"], rel=0.01)  # minima differ in form
        executor.close()


def test_messages_and_logits_are_those_of_real_ranks(program):
    rows = StepRows(2, 1, 40)
    cuts = [measure_cut(program, shares, steps={rows: 2}) for shares in SHARES]
    assert len({cut.logits[rows] for cut in cuts}) == 1
    for cut, shares in zip(cuts, SHARES, strict=True):
        works = [times.work for times in cut.ranks[rows]]
        hub, *others = count_messages(works)
        assert hub.bytes == sum(one.bytes for one in others) == cut.moved[rows]
        assert hub.number == (len(shares) - 1) * (2 * len(works[0].transfers) - 1)
        assert all(times.busy > 0 for times in cut.ranks[rows])


def layered(program: Program, times: int) -> Program:
    """A program whose layers stand several times after one another."""
    first = next(i for i, op in enumerate(program.ops) if type(op).__name__ == "Norm")
    last = max(i for i, op in enumerate(program.ops) if type(op).__name__ == "Norm")
    ops, tensors = list(program.ops[:first]), dict(program.tensors)
    for number in range(times):
        for op in program.ops[first:last]:
            names = {
                field: f"{number}.{value}"
                for field, value in vars(op).items()
                if isinstance(value, str) and value in program.tensors
            }
            if hasattr(op, "targets"):
                renamed = tuple(replace(t, weight=f"{number}.{t.weight}") for t in op.targets)
                names |= {"targets": renamed}
            ops.append(replace(op, **names))
    for number in range(times):
        tensors |= {f"{number}.{name}": tensor for name, tensor in program.tensors.items()}
    return replace(program, ops=(*ops, *program.ops[last:]), tensors=tensors, layers=times * program.layers)


@pytest.mark.parametrize("times", [2, 5, 9])
def test_a_short_program_counts_what_the_whole_one_does(program, times):
    whole = layered(program, times)
    short, repeat = shorten(whole)
    assert len(repeated_order(short, repeat)) == len(whole.ops)
    assert (repeat is not None) == (len(short.ops) < len(whole.ops))
    assert repeat is not None or times < 5
    for shares in SHARES:
        counted, all_of_it = ModelWork.of(whole), ModelWork(whole)
        for rank in range(len(shares)):
            one, other = counted.part(shares, rank), all_of_it.part(shares, rank)
            assert counted.memory(one) == all_of_it.memory(other)
            for rows in (StepRows(1, 1, 9), StepRows(3, 1, 40), StepRows(1, 24, 0)):
                assert counted.step(one, rows) == all_of_it.step(other, rows)


def test_planning_reads_no_weights(program):
    work = ModelWork.of(program)
    assert all(tensor.data.strides == (0,) for tensor in work.program.tensors.values())
