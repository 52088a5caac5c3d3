"""Cuts of programs: ranges that cover everything once, and the logits of the whole program at every degree."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from executors.test_gather import replaced, with_two_digits
from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.base import Exchanger, Executor
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.library.parallel.cut import cut_program, cut_tensor, divide, divide_heads
from intact.measure.conformance.synthetic import with_largest_inputs
from intact.models import Program, build_program
from intact.models.aspects.cutting import Part
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import AllGather, Attend, Linear, Logits
from intact.numerics.integers import from_bytes, slice_rows, to_bytes
from intact.numerics.kv_codecs import CODECS
from intact.numerics.weights import from_floats
from support.folders import write_folder
from support.ranks import Make, Step, run_ranks, run_steps
from support.tiny import write_tiny
from support.variants import VARIANTS

ARCHITECTURES = ["llama", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "granite", "starcoder2"]
SHARES = [(1, 1), (1, 1, 1), (3, 1), (1, 5, 2)]


def covering(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    """Return all pairs of two parameters; those are slow without which each value of both occurs."""
    return [
        pytest.param(a, b, marks=[] if (i - j) % min(len(first), len(second)) == 0 else pytest.mark.slow)
        for i, a in enumerate(first)
        for j, b in enumerate(second)
    ]


@given(st.integers(1, 500), st.lists(st.integers(1, 9), min_size=1, max_size=8), st.sampled_from([1, 16]))
def test_parts_cover_all_columns_once_and_none_is_empty(total: int, shares: list[int], unit: int) -> None:
    if total < len(shares):
        with pytest.raises(ParameterError, match="fewer processes"):
            divide(total, shares, unit)
        return
    parts = divide(total, shares, unit)
    assert (parts[0].start, parts[-1].stop) == (0, total)
    assert all(a.stop == b.start for a, b in pairwise(parts))
    assert all(part.width > 0 for part in parts)


def test_parts_follow_the_shares() -> None:
    assert divide(96, (2, 1)) == (Part(0, 64), Part(64, 96))
    assert divide(100, (1, 1), 16) == (Part(0, 48), Part(48, 100))


@given(st.integers(1, 6), st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=8))
def test_every_head_has_one_rank_and_finds_its_kv_head_there(kv: int, group: int, shares: list[int]) -> None:
    try:
        parts = divide_heads(kv * group, kv, shares)
    except ParameterError:
        assert len(shares) > kv
        return
    assert [h for part in parts.heads for h in range(part.start, part.stop)] == list(range(kv * group))
    for own, keys in zip(*parts, strict=True):
        local = own.width // keys.width
        assert own.width == local * keys.width
        for h in range(own.width):  # as executors number them
            assert (own.start + h) // group == keys.start + h // local


@pytest.mark.parametrize("bits", [4, 8])
def test_rows_of_stored_integers_are_those_of_the_weight(bits: int) -> None:
    whole = from_floats(np.random.default_rng(1).normal(size=(23, 70)).astype(np.float32), bits)
    part = from_bytes(slice_rows(to_bytes(whole), 5, 19))
    for name in ("codes", "scale", "scale_exp"):
        assert (getattr(part, name) == getattr(whole, name)[5:19]).all()
    assert (part.columns, part.zero, part.shift) == (whole.columns, whole.zero, whole.shift)


def program_of(path: Path) -> Program:
    return build_program(open_checkpoint(path))


def steps() -> list[Step]:
    """A prompt of which all rows are wanted; one row after it; a batch with a tree of drafts; nothing wanted."""
    pages, others = np.arange(4, dtype=np.int32), np.arange(4, 8, dtype=np.int32)
    tree = np.array([-1, 0, 0, 2], np.int32)
    one = SequenceChunk(40, np.array([9], np.int32), pages)
    drafts = SequenceChunk(41, np.array([5, 7, 8, 11], np.int32), pages, tree)
    return [
        ([SequenceChunk(0, np.arange(3, 43, dtype=np.int32), pages)], np.arange(40)),
        ([one], np.array([0])),
        ([drafts, SequenceChunk(0, np.arange(50, 71, dtype=np.int32), others)], np.array([2, 24])),
        ([SequenceChunk(21, np.array([6, 7], np.int32), others)], np.zeros(0, np.int64)),
    ]


def native(profile: str = "int8", tier: str | None = None, threads: int = 1) -> Make:
    def make(program: Program, exchange: Exchanger | None) -> Executor:
        return NativeExecutor(program, profile, threads, tier, exchange=exchange)

    return make


def reference(program: Program, exchange: Exchanger | None) -> Executor:
    return ReferenceExecutor(program, exchange=exchange)


def assert_same(program: Program, make: Make, shares: tuple[int, ...], which: list[Step]) -> None:
    whole, cut = run_steps(make(program, None), which), run_ranks(program, make, shares, which)
    for i, (a, b) in enumerate(zip(whole, cut, strict=True)):
        assert a.shape == b.shape or not len(a)
        assert np.array_equal(a, b) or not len(a), i


@pytest.mark.native
@pytest.mark.parametrize(("architecture", "shares"), covering(ARCHITECTURES, SHARES))
def test_cut_programs_give_the_same_logits(architecture: str, shares: tuple[int, ...], tmp_path: Path) -> None:
    assert_same(program_of(write_tiny(tmp_path / "m.gguf", architecture)), native(), shares, steps())


@pytest.mark.native
@pytest.mark.parametrize(
    ("variant", "ranks"), covering(["qwen2", "qwen3-untied", "llama-biases", "phi4-mini", "cohere2"], [2, 4])
)
def test_cut_programs_of_folders_give_the_same_logits(variant: str, ranks: int, tmp_path: Path) -> None:
    program = program_of(write_folder(tmp_path / "m", VARIANTS[variant], variant))
    heads = next(op for op in program.ops if isinstance(op, Attend))
    if ranks > heads.heads:
        pytest.skip("fewer heads than ranks")
    assert_same(program, native(), (1,) * ranks, steps())


@pytest.mark.native
@pytest.mark.parametrize(
    "profile",
    [
        *("fp32", "int4", "int8_row", "int8_static", "mxfp8", "mxfp8e5m2", "int8+teal50"),
        *(f"int8+kv-{codec}" for codec in CODECS),
    ],
)
def test_cut_programs_of_every_profile_give_the_same_logits(profile: str, tmp_path: Path) -> None:
    which = steps()
    which = [step for step in which if all(chunk.parents is None for chunk in step[0])] if profile == "fp32" else which
    program = program_of(write_tiny(tmp_path / "m.gguf", "qwen3"))
    assert_same(with_largest_inputs(program), native(profile), (2, 1), which)


@pytest.mark.native
def test_cut_programs_with_outliers_in_16_bits_give_the_same_logits(tmp_path: Path) -> None:
    program = program_of(write_tiny(tmp_path / "m.gguf", "llama"))
    assert_same(replaced(program, with_two_digits(program)), native("llm_int8"), (2, 1), steps())


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), covering(available_tiers(), [1, 3]))
def test_cut_programs_on_every_tier_give_the_same_logits(tier: str, threads: int, tmp_path: Path) -> None:
    program = program_of(write_tiny(tmp_path / "m.gguf", "llama"))
    assert_same(program, native(tier=tier, threads=threads), (1, 1), steps())


@pytest.mark.native
def test_ranks_of_different_tiers_agree(tmp_path: Path) -> None:
    program, which = program_of(write_tiny(tmp_path / "m.gguf", "gemma3")), steps()
    held = available_tiers()
    tiers = [held[0], "scalar", held[len(held) // 2]]

    def make(part: Program, exchange: Exchanger | None) -> Executor:
        return NativeExecutor(part, "int8", 2, tiers.pop(), exchange=exchange)

    whole = run_steps(NativeExecutor(program, "int8", 2), which)
    cut = run_ranks(program, make, (1, 1, 1), which)
    assert all(np.array_equal(a, b) or not len(a) for a, b in zip(whole, cut, strict=True))
    assert not tiers


def test_the_reference_runs_cut_programs(tmp_path: Path) -> None:
    assert_same(program_of(write_tiny(tmp_path / "m.gguf", "qwen3")), reference, (1, 1, 1), steps()[1:])


def test_each_rank_has_its_rows_of_every_matrix_alone(tmp_path: Path) -> None:
    program = program_of(write_tiny(tmp_path / "m.gguf", "llama"))
    parts = [cut_program(program, (1, 1), rank) for rank in range(2)]
    for whole, *cut in zip(_matrices(program), *map(_matrices, parts), strict=True):
        if "attn_k" in whole or "attn_v" in whole:
            continue  # ranks that share a KV head both have it
        shapes = [program.tensors[whole].shape, *(part.tensors[n].shape for part, n in zip(parts, cut, strict=True))]
        assert shapes[1][0] + shapes[2][0] == shapes[0][0]
        assert min(shapes[1][0], shapes[2][0]) > 0
    assert "token_embd.weight" in parts[0].tensors
    assert "token_embd.weight" not in parts[1].tensors


def _matrices(program: Program) -> list[str]:
    return [
        name
        for op in program.ops
        if isinstance(op, Linear | Logits)
        for name in ([t.weight for t in op.targets] if isinstance(op, Linear) else [op.weight])
    ]


def test_parts_of_mapped_tensors_are_views(tmp_path: Path) -> None:
    program = program_of(write_tiny(tmp_path / "m.gguf", "llama"))
    tensor = program.tensors["blk.0.ffn_up.weight"]
    assert np.shares_memory(cut_tensor(tensor, Part(2, 5)).data, tensor.data)


@pytest.mark.parametrize(
    ("architecture", "what"),
    [
        ("gpt-oss", "mixtures of experts"),
        ("lfm2", "convolutions"),
        ("mamba", "without attention"),
        ("mamba2", "without attention"),
        ("mamba3", "without attention"),
        ("falcon-h1", "state-space layers"),
        ("deepseek2", "latent attention"),
        ("olmo2", "norms over whole rows"),
    ],
)
def test_what_cannot_be_cut_is_refused_by_name(architecture: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=what):
        cut_program(program_of(write_tiny(tmp_path / "m.gguf", architecture)), (1, 1), 1)


def test_more_ranks_than_heads_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="use at most 3"):
        cut_program(program_of(write_tiny(tmp_path / "m.gguf", "llama")), (1,) * 4, 0)


@pytest.mark.native
def test_a_part_without_other_ranks_is_refused(tmp_path: Path) -> None:
    part = cut_program(program_of(write_tiny(tmp_path / "m.gguf", "llama")), (1, 1), 0)
    assert any(isinstance(op, AllGather) for op in part.ops)
    for make in (native(), reference):
        with pytest.raises(ParameterError, match="several processes"):
            make(part, None)
