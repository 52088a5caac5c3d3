"""Mixtures of experts, layer norms and soft caps: executors agree, and no row sees what others of its step pass."""

from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ModelError, ParameterError
from intact._native import kernels
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, Step, _Builder, cases
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Embed, Experts, Gate, Linear, Norm
from intact.models.program import Program
from intact.numerics import fp32
from intact.numerics.dequantize import dequantize
from intact.numerics.experts import SCALE_FRACTION, SCALE_LIMIT, ExpertWeights, Groups, best_in_groups, choose
from intact.numerics.integers import INTEGER
from intact.quantizing import quantize
from support.examples import examples
from support.gguf_writer import write_gguf
from support.tiers import tiers_with
from support.tiny import write_tiny

TIERS = available_tiers()
MIXED = (
    *("experts softmax", "experts softmax of chosen", "experts sigmoid", "experts sigmoid of chosen"),
    *("experts softmax groups", "experts sigmoid of chosen groups", "experts sigmoid of chosen squared"),
)
NAMES = (*MIXED, "layer norm 1", "layer norm 100")
CASES = {case.name: case for case in cases() if case.name in (*NAMES, "layer norm accumulated")}
MIXTURES = ("olmoe", "qwen2moe", "qwen3moe", "lfm2moe", "deepseek2", "deepseek3")


def run(executor: ReferenceExecutor | NativeExecutor, case: Case) -> list[np.ndarray]:
    executor.reserve_pages(case.pages)
    return [executor.step(step.chunks, step.wanted).copy() for step in case.steps]


@cache
def reference(name: str) -> list[np.ndarray]:
    return run(ReferenceExecutor(CASES[name].program, CASES[name].bits), CASES[name])


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 5))
@pytest.mark.parametrize("name", CASES)
def test_native_equals_the_reference(name: str, tier: str, threads: int) -> None:
    case = CASES[name]
    got = run(NativeExecutor(case.program, "int8", threads, tier, case.bits), case)
    assert all(np.array_equal(a, b) for a, b in zip(got, reference(name), strict=True))


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_a_layer_norm_of_rows_beyond_its_limit(tier: str) -> None:
    """Rows of up to 2^50, all of one sign and mixed: their sums would not fit 64 bits at the greatest width."""
    b = _Builder("wide rows")
    table = np.full((4, 64), 250_000, np.float32) * np.array([[1], [-1], [1], [1e-5]], np.float32)
    table[2, ::3] *= -1
    b.tensor("embed", "F32", table.shape, table.tobytes())
    b.ops.append(Embed(b.buffer("x", 64, wide=True), "embed", Fraction(4095)))
    b.ops.append(Norm("x", b.buffer("normed", 64), b.vector("gain", 64, 1.0, 0.5), 1e-5, centered=True))
    b.logits("normed")
    case = b.case([Step((SequenceChunk(0, np.arange(4, dtype=np.int32), np.zeros(1, np.int32)),), np.arange(4))])
    (expected,) = run(ReferenceExecutor(case.program), case)
    (got,) = run(NativeExecutor(case.program, "int8", 2, tier), case)
    assert np.array_equal(got, expected)


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_more_rows_than_are_packed_together_pass_one_expert(tier: str) -> None:
    case = CASES["experts sigmoid"]
    tokens = np.arange(150, dtype=np.int32) % case.program.vocabulary
    step = case.steps[0]._replace(
        chunks=(SequenceChunk(0, tokens, np.arange(5, dtype=np.int32)),), wanted=np.arange(150)
    )
    case = case._replace(steps=(step,))
    (expected,) = run(ReferenceExecutor(case.program, case.bits), case)
    (got,) = run(NativeExecutor(case.program, "int8", 3, tier, case.bits), case)
    assert np.array_equal(got, expected)


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 40), st.data(), st.sampled_from([8, 14, 18, 31]), st.integers(0, 2**32))
@examples(60)
def test_choices_and_weights_equal_the_reference(
    tier: str, count: int, data: st.DataObject, bits: int, seed: int
) -> None:
    used = data.draw(st.integers(1, count))
    scores = np.random.default_rng(seed).integers(-(1 << bits) + 1, 1 << bits, count) >> data.draw(st.integers(0, 8))
    for number, kind in enumerate(get_args(ExpertWeights)):
        for factor in (1 << 18, (1 << 20) - 1, 123_457):
            expected = choose(scores[None], used, kind, factor)
            got = kernels.choose_experts(tier, scores.astype(np.int32), used, number, factor)
            assert np.array_equal(got, np.stack([expected.experts[0], expected.weights[0]], axis=1))
            bias = np.random.default_rng(seed).integers(-(1 << 31), 1 << 31, count)
            limit = SCALE_LIMIT << SCALE_FRACTION
            for scales in (None, np.random.default_rng(seed).integers(-limit + 1, limit, count)):
                expected = choose(scores[None], used, kind, factor, bias, scales=scales)
                got = kernels.choose_experts(tier, scores.astype(np.int32), used, number, factor, bias, scale=scales)
                assert np.array_equal(got, np.stack([expected.experts[0], expected.weights[0]], axis=1))


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 9), st.integers(2, 6), st.data(), st.sampled_from([3, 14, 31]), st.integers(0, 2**32))
@examples(60)
def test_choices_in_groups_equal_the_reference(
    tier: str, count: int, size: int, data: st.DataObject, bits: int, seed: int
) -> None:
    groups = Groups(count, data.draw(st.integers(1, count)))
    used = data.draw(st.integers(1, groups.used * size))
    rng = np.random.default_rng(seed)
    scores = rng.integers(-(1 << bits) + 1, 1 << bits, count * size)
    for bias in (None, rng.integers(-(1 << bits), 1 << bits, count * size)):
        expected = choose(scores[None], used, "sigmoid of chosen", 1 << 18, bias, groups)
        number = get_args(ExpertWeights).index("sigmoid of chosen")
        rest = (bias, *groups)
        got = kernels.choose_experts(tier, scores.astype(np.int32), used, number, 1 << 18, *rest)
        assert np.array_equal(got, np.stack([expected.experts[0], expected.weights[0]], axis=1))
        assert len(set((expected.experts[0] // size).tolist())) <= groups.used


def test_a_group_counts_by_its_largest_score_or_with_biases_by_the_sum_of_two() -> None:
    scores = np.array([[10, 0, 0, 7, 7, 0, 8, 8, 9]])
    assert best_in_groups(scores, 2, Groups(3, 1), False).tolist() == [[0, 1]]  # among equals the least number
    assert best_in_groups(scores, 2, Groups(3, 1), True).tolist() == [[6, 8]]
    assert best_in_groups(scores, 3, Groups(3, 2), True).tolist() == [[6, 7, 8]]
    tied = np.array([[5, 5, 5, 5]])
    assert best_in_groups(tied, 2, Groups(2, 1), True).tolist() == [[0, 1]]
    with pytest.raises(ValueError, match="groups of one size"):
        kernels.choose_experts(TIERS[0], np.zeros(4, np.int32), 3, 0, 1, None, 2, 1)


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_shares_of_small_sigmoids_equal_the_reference(tier: str) -> None:
    """Sums of the size of 10^-6, which is added to them."""
    number = get_args(ExpertWeights).index("sigmoid of chosen")
    scores = np.array([-13, -14, -13, -15]) * 65536
    for used in (1, 3, 4):
        expected = choose(scores[None], used, "sigmoid of chosen", 1 << 18)
        got = kernels.choose_experts(tier, scores.astype(np.int32), used, number, 1 << 18)
        assert np.array_equal(got, np.stack([expected.experts[0], expected.weights[0]], axis=1))
        assert 0 < got[:, 1].sum() < 1 << 18


def program_of(tmp_path: Path, architecture: str) -> Program:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", architecture)) as checkpoint:
        return build_program(checkpoint)


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("architecture", MIXTURES)
@pytest.mark.parametrize("profile", ["int8", "int8_row", "fp32"])
def test_a_row_does_not_depend_on_the_strangers_of_its_step(
    tmp_path: Path, architecture: str, profile: str, threads: int
) -> None:
    """One text alone, and beside 63 others that together pass every expert; in chunks of 1, 7 and all."""
    program = program_of(tmp_path, architecture)
    rng = np.random.default_rng(5)
    texts = rng.integers(0, program.vocabulary, (64, 20)).astype(np.int32)
    alone = {}
    for size in (1, 7, 20):
        executor = NativeExecutor(program, profile, threads)
        executor.reserve_pages(1)
        for at in range(0, 20, size):
            part = texts[0, at : at + size]
            logits = executor.step([SequenceChunk(at, part, np.zeros(1, np.int32))], np.array([len(part) - 1]))
        alone[size] = logits[0].copy()
    executor = NativeExecutor(program, profile, 2)
    executor.reserve_pages(64)
    chunks = [SequenceChunk(0, text, np.array([i], np.int32)) for i, text in enumerate(texts)]
    together = executor.step(chunks, np.array([19], np.int64))[0]
    assert all(np.array_equal(row, together) for row in alone.values())


@pytest.mark.parametrize("name", MIXED)
def test_the_fp32_profile_adds_in_order_of_experts(name: str) -> None:
    """One layer written out in NumPy, in float32, operation by operation."""
    case = CASES[name]
    program = case.program
    experts = next(op for op in program.ops if isinstance(op, Experts))
    embed, norm, router, _, last, logits = program.ops
    assert isinstance(norm, Norm)
    assert isinstance(router, Linear)
    assert isinstance(last, Linear)

    def tensor(key: str) -> np.ndarray:
        t = program.tensors[key]
        return dequantize(t.kind, t.data, t.shape)

    tokens = case.steps[0].chunks[0].tokens
    x = fp32.embed(tensor(embed.weight), tokens)
    normed = fp32.rmsnorm(x, tensor(norm.gain), norm.eps)
    scores = fp32.linear(normed, tensor(router.targets[0].weight))
    keys = scores if experts.bias is None else fp32.sigmoid(scores) + tensor(experts.bias)
    groups = Groups(experts.groups, experts.groups_used)
    chosen = best_in_groups(keys, experts.used, groups, experts.bias is not None)
    added = np.zeros_like(x)
    for m, ids in enumerate(chosen):
        if experts.weights == "softmax":
            weights = fp32.softmax(scores[m])[ids]
        elif experts.weights == "sigmoid":
            weights = fp32.sigmoid(scores[m][ids])
        elif experts.weights == "sigmoid of chosen":
            weights = fp32.divide_by_sum(fp32.sigmoid(scores[m][ids]), 1e-6)
        else:
            weights = fp32.softmax(scores[m][ids])
        weights = weights * np.float32(experts.factor)
        for e, w in zip(ids, weights, strict=True):
            expert = experts.experts[e]
            biases = (
                None if key is None else tensor(key) for key in (expert.gate_bias, expert.up_bias, expert.down_bias)
            )
            gate_bias, up_bias, down_bias = biases
            gate = fp32.linear(normed[m : m + 1], tensor(expert.gate), gate_bias)
            up = fp32.linear(normed[m : m + 1], tensor(expert.up), up_bias)
            hidden = fp32.gate(experts.kind, gate, up)
            added[m] = added[m] + fp32.linear(hidden, tensor(expert.down), down_bias)[0] * w
    y = fp32.linear(x + added if experts.accumulate else added, tensor(last.targets[0].weight))
    expected = fp32.linear(y, tensor(logits.weight))
    for threads in (1, 3):
        executor = NativeExecutor(program, "fp32", threads)
        executor.reserve_pages(case.pages)
        assert np.array_equal(executor.step_float(case.steps[0].chunks, case.steps[0].wanted), expected)


@pytest.mark.parametrize("profile", ["mxfp8", "mxfp8e5m2", "int8_static", "int8+wina50"])
def test_profiles_that_run_no_experts_say_so(tmp_path: Path, profile: str) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "olmoe")
    for executor in ("reference", "native"):
        with pytest.raises(ParameterError, match="mixtures of experts run in the profiles int8 and fp32"):
            intact.load(path, profile=profile, executor=executor)


def test_a_gate_may_have_no_up(tmp_path: Path) -> None:
    program = program_of(tmp_path, "starcoder2")
    assert {op.up for op in program.ops if isinstance(op, Gate)} == {None}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("expert_used_count", 9, "expert_used_count must be an integer from 1 to 8"),
        ("expert_count", 2000, "expert_count must be an integer from 0 to 1024"),
        ("expert_count", 7, r"ffn_gate_inp\.weight has shape \(8, 96\), expected \(7, 96\)"),
        ("expert_gating_func", 2, "expert_gating_func"),
        ("expert_weights_scale", 4.5, "expert_weights_scale must be a positive number"),
    ],
)
def test_wrong_numbers_of_experts_are_refused(tmp_path: Path, key: str, value: object, problem: str) -> None:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", "qwen3moe")) as checkpoint:
        metadata = dict(checkpoint.metadata) | {f"qwen3moe.{key}": value}
        tensors = {name: (t.kind, t.shape, t.data.tobytes()) for name, t in checkpoint.tensors.items()}
        path = write_gguf(tmp_path / "changed.gguf", metadata, tensors)
    with pytest.raises(ModelError, match=problem):
        intact.load(path)


@pytest.mark.native
def test_experts_are_quantised_one_by_one(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "qwen2moe", ["F32"])
    quantize(path, tmp_path / "out", "int8-32")
    with open_checkpoint(tmp_path / "out") as checkpoint:
        kinds = {name: tensor.kind for name, tensor in checkpoint.tensors.items()}
    assert kinds["blk.1.ffn_down_exps.5.weight"] == kinds["blk.0.ffn_gate_inp.weight"] == INTEGER
    whole, parts = (intact.load(p, "fp32").logits([5, 9, 33]) for p in (path, tmp_path / "out"))
    assert 0 < np.abs(whole - parts).max() < 0.05 * np.abs(whole).max()


@pytest.mark.parametrize(
    ("architecture", "spec", "problem"),
    [
        ("olmoe", "gptq:int4-32", "the inputs of experts are not collected"),
        ("olmoe", "rotate+int4-32", "transforms do not support mixtures of experts"),
        ("stablelm", "rotate+int4-32", "or layer norms"),
    ],
)
def test_what_is_not_done_to_experts_is_refused(tmp_path: Path, architecture: str, spec: str, problem: str) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", architecture)
    (tmp_path / "text.txt").write_text("the cat sat on the mat " * 100)
    with pytest.raises(ParameterError, match=problem):
        quantize(path, tmp_path / "out", spec, calibrate=tmp_path / "text.txt", context=32, windows=2)
    assert not (tmp_path / "out").exists()
