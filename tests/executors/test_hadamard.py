"""Rotated inputs: the sums are exact, every executor agrees, and a checkpoint says by itself what it needs."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ModelError, ParameterError
from intact._native import fp32 as native_fp32
from intact._native import kernels
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Hadamard, Linear
from intact.models.rotations import rotation_size
from intact.numerics.hadamard import LIMIT, SIZES, block_size, hadamard, hadamard_float
from intact.quantizing import quantize
from intact.quantizing.quantizers.transforms.hadamard import turn_inputs
from support.examples import examples
from support.tiers import tiers_with
from support.tiny import write_tiny

TIERS = available_tiers()


def matrix(size: int) -> np.ndarray:
    """Sylvester's matrix: the parity of the bits that row and column have in common."""
    at = np.arange(size)
    return np.array([[-1 if bin(i & j).count("1") % 2 else 1 for j in at] for i in at], object)


@given(st.sampled_from(SIZES), st.integers(1, 3), st.integers(0, 62), st.integers(0, 2**32))
@examples(40)
def test_rows_are_rotated_exactly(size: int, blocks: int, bits: int, seed: int) -> None:
    x = np.random.default_rng(seed).integers(-(1 << bits), 1 << bits, (2, blocks * size))
    clipped = np.clip(x, -LIMIT, LIMIT).astype(object).reshape(-1, size)
    expected = (clipped @ matrix(size)).astype(np.int64).reshape(x.shape)
    assert np.array_equal(hadamard(x, size), expected)
    for tier in TIERS:
        assert np.array_equal(kernels.hadamard(tier, x, size), expected)


@pytest.mark.parametrize("size", SIZES)
def test_the_fp32_profile_adds_in_the_same_order(size: int) -> None:
    x = np.random.default_rng(size).standard_normal(4 * size).astype(np.float32) * np.float32(1e3)
    expected = hadamard_float(x, size)
    assert np.abs(expected - (x.reshape(-1, size) @ matrix(size).astype(float)).reshape(-1)).max() < 1
    for tier in TIERS:
        assert np.array_equal(native_fp32.hadamard(tier, x, size), expected)


def test_weights_and_inputs_turn_alike() -> None:
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((5, 96)).astype(np.float32), rng.integers(-100, 100, (3, 96))
    assert np.allclose(hadamard(x, 32) @ turn_inputs(w, 32).T, x @ w.T, atol=1e-3)
    assert [block_size(128, n) for n in (576, 1536, 96, 100)] == [64, 128, 32, None]


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tiny")
    quantize(write_tiny(place / "tiny.gguf", request.param), place / "rotated", "hadamard64+int8")
    return place


@pytest.fixture(scope="module")
def program(folder: Path) -> Program:
    return build_program(open_checkpoint(folder / "rotated"))


def run(executor: NativeExecutor | ReferenceExecutor, cuts: tuple[int, ...] = ()) -> np.ndarray:
    """Logits of 21 tokens that come in one chunk or several."""
    executor.reserve_pages(2)
    rows = []
    for start, end in pairwise((0, *cuts, 21)):
        chunk = SequenceChunk(start, np.arange(start, end, dtype=np.int32) + 5, np.arange(2, dtype=np.int32))
        rows.append(np.array(executor.step([chunk], np.arange(end - start, dtype=np.int64))))
    return np.concatenate(rows)


def test_a_quantised_folder_says_that_inputs_are_rotated(folder: Path, program: Program) -> None:
    rotations = [op for op in program.ops if isinstance(op, Hadamard)]
    products = [op for op in program.ops if isinstance(op, Linear)]
    fitting = [op for op in products if block_size(64, program.buffers[op.source].width)]
    assert len(rotations) == len(fitting) >= 3 * program.layers
    for op in rotations:
        width = program.buffers[op.source].width
        assert program.buffers[op.target].wide
        assert program.buffers[op.target].width == width
        assert op.size == block_size(64, width)
    before = intact.load(folder / "tiny.gguf", "fp32").logits(list(range(5, 26)))
    after = intact.load(folder / "rotated", "fp32").logits(list(range(5, 26)))
    assert np.abs(before - after).max() < 0.1 * np.abs(before).max()


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 3))
def test_no_setting_changes_a_bit(program: Program, tier: str, threads: int) -> None:
    expected = run(ReferenceExecutor(program, 8, 32))
    for cuts in ((), (1, 2, 15)):
        assert np.array_equal(run(NativeExecutor(program, tier=tier, threads=threads), cuts), expected)


@pytest.mark.native
def test_sequences_beside_each_other_change_no_bit(program: Program) -> None:
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
    only = np.array(executor.step(chunks, np.array([3, 30], np.int64)))
    assert np.array_equal(only, alone[[3, 2]])


def test_fp32_threads_and_tiers_agree(program: Program) -> None:
    expected = run(NativeExecutor(program, "fp32", threads=1))
    for tier in TIERS:
        assert np.array_equal(run(NativeExecutor(program, "fp32", tier=tier, threads=2), (7,)), expected)


def test_sizes_that_cannot_be_are_refused() -> None:
    for size, columns, message in ((48, 96, "blocks of 48"), (64, 96, "do not fill rows of 96")):
        with pytest.raises(ModelError, match=message):
            rotation_size(np.array([size], np.float32), columns, "here")


def test_a_rotated_model_is_not_changed_again(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="rotated in blocks of"):
        quantize(folder / "rotated", tmp_path / "again", "int4")
    with pytest.raises(ParameterError, match="no transform can follow hadamard64"):
        quantize(folder / "tiny.gguf", tmp_path / "other", "hadamard64+permute+int4")


def test_statistics_are_those_of_rotated_inputs(folder: Path, tmp_path: Path) -> None:
    """GPTQ reads what the program's products read: it errs less than rounding on the text that it saw."""
    text = tmp_path / "text.txt"
    text.write_text("the cat sat on the mat and the dog ran to the man " * 400)
    errors = {}
    for name in ("nearest", "gptq"):
        out = tmp_path / name
        quantize(
            folder / "tiny.gguf", out, f"hadamard32+{name}:int3-32", calibrate=text, context=32, windows=8, threads=2
        )
        errors[name] = intact.load(out, "fp32").logits(list(range(5, 26)))
    assert not np.array_equal(errors["nearest"], errors["gptq"])
