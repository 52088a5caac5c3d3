"""Weights with an index of their inputs: a gather stands before their product, and every executor agrees."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from intact._base.errors import ModelError
from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import cases
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.aspects.tables import Buffer
from intact.models.gathers import add_gathers
from intact.models.ops import Gather, Linear
from intact.numerics.dequantize import dequantize
from intact.numerics.gather import gather
from intact.numerics.integers import INTEGER, to_bytes
from intact.numerics.weights import BlockWeight, InputIndex, from_floats, model_values
from support.tiers import tiers_with
from support.tiny import write_tiny

PARTS = ("attn_q.weight", "attn_k.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight")


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Program:
    path = write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", request.param)
    return build_program(open_checkpoint(path))


def replaced(program: Program, weights: dict[str, BlockWeight]) -> Program:
    """The program with some matrices replaced by integer weights, and gathers before them where they have an index."""
    tensors = dict(program.tensors)
    for name, weight in weights.items():
        tensors[name] = Tensor(name, INTEGER, (len(weight.codes), weight.columns), to_bytes(weight))
    ops, buffers = add_gathers(program.ops, program.buffers, tensors)
    return Program(**{**vars(program), "tensors": tensors, "ops": ops, "buffers": buffers})


def floats(program: Program, name: str) -> np.ndarray:
    tensor = program.tensors[name]
    return dequantize(tensor.kind, tensor.data, tensor.shape)


def scattered(program: Program, seed: int) -> dict[str, BlockWeight]:
    """Weights of random columns of the inputs: some twice, some never, some of zeros."""
    found = {}
    for name in program.tensors:
        if name.endswith(PARTS):
            matrix = floats(program, name)
            count = matrix.shape[1]
            draw = np.random.default_rng(seed + (name.endswith("attn_k.weight")) + count)
            index = draw.integers(-1, count, count + 37).astype(np.int32)
            found[name] = from_floats(np.ascontiguousarray(matrix[:, index]), 8)._replace(
                inputs=InputIndex(index, count)
            )
    return found


def run(executor: NativeExecutor | ReferenceExecutor, cuts: tuple[int, ...] = ()) -> np.ndarray:
    """Logits of 21 tokens that come in one chunk or several."""
    executor.reserve_pages(2)
    ends = (0, *cuts, 21)
    rows = []
    for start, end in pairwise(ends):
        chunk = SequenceChunk(start, np.arange(start, end, dtype=np.int32) + 5, np.arange(2, dtype=np.int32))
        rows.append(np.array(executor.step([chunk], np.arange(end - start, dtype=np.int64))))
    return np.concatenate(rows)


def test_rows_are_picked() -> None:
    x = np.array([[10, 20, 30], [1, 2, 3]])
    assert gather(x, np.array([2, -1, 0, 2], np.int32)).tolist() == [[30, 0, 10, 30], [3, 0, 1, 3]]


@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 3))
def test_no_setting_changes_a_bit(base: Program, tier: str, threads: int) -> None:
    program = replaced(base, scattered(base, 1))
    expected = run(ReferenceExecutor(program, 8, 32))
    assert not np.array_equal(expected, run(NativeExecutor(base)))
    for cuts in ((), (1, 2, 15)):
        assert np.array_equal(run(NativeExecutor(program, tier=tier, threads=threads), cuts), expected)


def with_two_digits(program: Program) -> dict[str, BlockWeight]:
    """Weights of some inputs in two digits apart, as the quantiser `llm_int8` stores them."""
    found = {}
    for name in program.tensors:
        if name.endswith(PARTS):
            matrix = floats(program, name)
            count = matrix.shape[1]
            chosen = np.random.default_rng(count).permutation(count)[:9]
            own, apart = np.arange(-(-count // 32) * 32), np.pad(chosen, (0, 23), constant_values=-1)
            own[count:] = own[chosen] = -1
            index = np.concatenate([own, apart, apart]).astype(np.int32)
            found[name] = from_floats(np.ascontiguousarray(matrix[:, index]), 8)._replace(
                inputs=InputIndex(index, count)
            )
    return found


@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 3))
def test_no_setting_changes_a_bit_of_outliers_in_16_bits(base: Program, tier: str, threads: int) -> None:
    program = replaced(base, with_two_digits(base))
    expected = run(ReferenceExecutor(program, 8, 32, "llm_int8"))
    for cuts in ((), (1, 2, 15)):
        assert np.array_equal(run(NativeExecutor(program, "llm_int8", threads, tier), cuts), expected)
    assert not np.array_equal(run(NativeExecutor(program, "int8_row", threads, tier)), expected)
    without = run(NativeExecutor(base, "llm_int8", threads, tier))
    assert np.array_equal(without, run(NativeExecutor(base, "int8_row", threads, tier)))


def test_outliers_beyond_the_columns_of_a_product_are_refused() -> None:
    own, apart = np.full(32768 - 64, -1), np.arange(32)
    index = np.concatenate([own, apart, apart]).astype(np.int32)
    case = next(case for case in cases() if case.name == "gather normed")
    weight = from_floats(np.ones((37, len(index)), np.float32), 8)._replace(inputs=InputIndex(index, 96))
    tensor = Tensor("w", INTEGER, (37, len(index)), to_bytes(weight))
    buffers = case.program.buffers | {"picked": Buffer(len(index))}
    program = replace(case.program, tensors=case.program.tensors | {"w": tensor}, buffers=buffers)
    NativeExecutor(program, "int8_row")
    with pytest.raises(ModelError, match="32800 columns with outliers in 16 bits: a product has at most 32768"):
        NativeExecutor(program, "llm_int8")


def test_sequences_beside_each_other_change_no_bit(base: Program) -> None:
    program = replaced(base, scattered(base, 4))
    alone = run(ReferenceExecutor(program, 8, 32))
    executor = NativeExecutor(program, threads=2)
    executor.reserve_pages(4)
    chunks = [
        SequenceChunk(0, np.arange(count, dtype=np.int32) + first, np.array(pages, np.int32))
        for count, first, pages in ((21, 5, (2, 0)), (7, 40, (3,)), (21, 5, (1,)))
    ]
    got = np.array(executor.step(chunks, np.arange(49, dtype=np.int64)))
    assert np.array_equal(got[:21], alone)
    assert np.array_equal(got[28:], alone)


def test_rows_that_nobody_asks_for_end_early(base: Program) -> None:
    """Behind the last attention only the wanted rows go on; gathers there see the right ones."""
    program = replaced(base, scattered(base, 2))
    whole = run(ReferenceExecutor(program, 8, 32))
    for threads in (1, 2):
        executor = NativeExecutor(program, threads=threads)
        executor.reserve_pages(2)
        chunk = SequenceChunk(0, np.arange(21, dtype=np.int32) + 5, np.arange(2, dtype=np.int32))
        got = executor.step([chunk], np.array([3, 17], np.int64))
        assert np.array_equal(got, whole[[3, 17]])
        assert executor.counters["ended_rows"] == 19


def test_an_index_in_order_changes_nothing(base: Program) -> None:
    plain, indexed = {}, {}
    for name in base.tensors:
        if name.endswith(PARTS):
            matrix = floats(base, name)
            count = matrix.shape[1]
            plain[name] = from_floats(matrix, 8)
            indexed[name] = plain[name]._replace(inputs=InputIndex(np.arange(count, dtype=np.int32), count))
    program = replaced(base, indexed)
    assert np.array_equal(run(NativeExecutor(program)), run(NativeExecutor(replaced(base, plain))))
    assert replaced(base, plain).ops == base.ops


@pytest.mark.native
@pytest.mark.parametrize("tier", available_tiers())
def test_columns_placed_in_heads_equal_the_reference(tier: str) -> None:
    """A program of latent attention, whose rows come in chunks, beside others, and one by one."""
    case = next(case for case in cases() if case.name == "scatter")
    executors = [ReferenceExecutor(case.program), *(NativeExecutor(case.program, "int8", n, tier) for n in (1, 3))]
    found = []
    for executor in executors:
        executor.reserve_pages(case.pages)
        found.append([np.array(executor.step(step.chunks, step.wanted)) for step in case.steps])
    for steps in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(steps, found[0], strict=True))


def test_matrices_with_one_index_share_a_gather(base: Program) -> None:
    program = replaced(base, scattered(base, 3))
    layers = base.layers
    gathers = [op for op in program.ops if isinstance(op, Gather)]
    assert len(gathers) == 4 * layers  # of q, of k, of gate and up, of down
    assert len([op for op in program.ops if isinstance(op, Linear)]) == 6 * layers
    for op in gathers:
        assert program.buffers[op.target].wide == program.buffers[op.source].wide
        assert program.buffers[op.target].width == program.tensors[op.weight].shape[1]


def test_planes_are_added_before_the_one_rounding(base: Program) -> None:
    """Halves of codes side by side over the same inputs: the fp32 profile sees the sum of both in every output."""
    name = next(n for n in base.tensors if n.endswith("ffn_down.weight"))
    matrix = floats(base, name)
    count = matrix.shape[1]
    index = np.tile(np.arange(count, dtype=np.int32), 2)
    weight = from_floats(np.hstack([matrix, 0.25 * matrix]), 8)._replace(inputs=InputIndex(index, count))
    assert np.abs(model_values(weight) - 1.25 * matrix).max() < 0.02 * np.abs(matrix).max()
    summed = model_values(weight).astype("<f4")
    tensors = {**base.tensors, name: Tensor(name, "F32", summed.shape, summed.reshape(-1).view(np.uint8))}
    one = run(NativeExecutor(replaced(base, {name: weight}), "fp32")) / 65536
    other = run(NativeExecutor(Program(**{**vars(base), "tensors": tensors}), "fp32")) / 65536
    assert np.abs(one - other).max() < 1e-3


def test_an_index_beyond_the_inputs_is_refused(base: Program) -> None:
    name = next(n for n in base.tensors if n.endswith("ffn_down.weight"))
    matrix = floats(base, name)
    index = np.full(matrix.shape[1], matrix.shape[1], np.int32)
    weight = from_floats(matrix, 8)._replace(inputs=InputIndex(index, matrix.shape[1]))
    with pytest.raises(ModelError, match=r"ffn_down.*an index from \d+ to \d+: expected -1 to"):
        replaced(base, {name: weight})
