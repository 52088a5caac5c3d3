"""Short convolutions: executors agree, rows kept beside keys and values move and are shared as these are."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, Step, _Builder, cases
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.lfm2 import Lfm2
from intact.models.ops import Attend, Convolve, Embed, Linear, Target
from intact.models.program import Program
from intact.numerics import fp32
from intact.numerics.dequantize import dequantize
from intact.quantizing import quantize
from support.examples import examples
from support.gguf_writer import write_gguf
from support.tiers import tiers_with
from support.tiny import write_tiny

TIERS = available_tiers()
CASES = {case.name: case for case in cases() if case.name.startswith("convolution ")}


def run(executor: ReferenceExecutor | NativeExecutor, case: Case) -> list[np.ndarray]:
    executor.reserve_pages(case.pages)
    return [executor.step(step.chunks, step.wanted).copy() for step in case.steps]


def program_of(tmp_path: Path) -> Program:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", "lfm2")) as checkpoint:
        return build_program(checkpoint)


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


def bare(rows: np.ndarray, weight: np.ndarray) -> Case:
    """A program that is little besides a convolution: rows (M, 3 n) that a product by the unit matrix gives it."""
    count, width = rows.shape[0], weight.shape[0]
    b = _Builder("bare")
    b.tensor("embed", "F32", rows.shape, rows.astype("<f4").tobytes())
    b.ops.append(Embed(b.buffer("x", 3 * width, wide=True), "embed"))
    unit = np.eye(3 * width, dtype="<f4")
    b.tensor("unit", "F32", unit.shape, unit.tobytes())
    b.ops.append(Linear("x", (Target(b.buffer("parts", 3 * width), "unit"),)))
    b.tensor("taps", "F32", weight.shape, weight.astype("<f4").tobytes())
    b.ops.append(Convolve("parts", b.buffer("convolved", width, wide=True), "taps", 0, width, weight.shape[1]))
    b.logits("convolved", "F32", 7)
    chunk = SequenceChunk(0, np.arange(count, dtype=np.int32), np.arange(count // 16 + 1, dtype=np.int32))
    return b.case([Step((chunk,), np.arange(count))])


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
@given(st.integers(1, 40), st.integers(1, 4), st.sampled_from([0.01, 1.0, 100.0, 30000.0]), st.integers(0, 2**32))
@examples(25)
def test_rows_of_any_size(tier: str, width: int, taps: int, size: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.clip(rng.normal(0, size, (20, 3 * width)), -32000, 32000).astype(np.float32)
    weight = np.clip(rng.normal(0, rng.choice([0.1, 1, 255]), (width, taps)), -255.9, 255.9).astype(np.float32)
    case = bare(rows, weight)
    (expected,) = run(ReferenceExecutor(case.program), case)
    (got,) = run(NativeExecutor(case.program, "int8", 2, tier), case)
    assert np.array_equal(got, expected)


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_sums_at_their_bound(tier: str) -> None:
    """Everything saturates: B, C and x, their products, and sums of four taps of the largest weight."""
    rows = np.full((6, 9), 32767.99, np.float32) * np.where(np.arange(9) % 2, 1, -1)
    rows[3] *= -1
    case = bare(rows, np.full((3, 4), 255.99998, np.float32))
    (expected,) = run(ReferenceExecutor(case.program), case)
    (got,) = run(NativeExecutor(case.program, "int8", 1, tier), case)
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("taps", [1, 3, 4])
def test_the_fp32_profile_computes_its_definition(taps: int) -> None:
    rng = np.random.default_rng(taps)
    case = bare(rng.normal(0, 1, (20, 3 * 24)).astype(np.float32), rng.normal(0, 1, (24, taps)).astype(np.float32))

    def tensor(name: str) -> np.ndarray:
        t = case.program.tensors[name]
        return dequantize(t.kind, t.data, t.shape)

    parts = fp32.linear(tensor("embed"), tensor("unit"))
    expected = fp32.linear(fp32.convolve(parts, tensor("taps")), tensor("head"))
    for threads in (1, 3):
        executor = NativeExecutor(case.program, "fp32", threads)
        executor.reserve_pages(case.pages)
        assert np.array_equal(executor.step_float(case.steps[0].chunks, case.steps[0].wanted), expected)


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 3))
@pytest.mark.parametrize("pattern", [[0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0]])
def test_wanted_rows_alone_go_on_behind_the_last_layer_that_mixes_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: list[int], tier: str, threads: int
) -> None:
    monkeypatch.setattr(Lfm2, "sample", {**Lfm2.sample, "attention.head_count_kv": pattern})
    program = program_of(tmp_path)
    assert [type(op) for op in program.ops if isinstance(op, Attend | Convolve)] == [
        Attend if heads else Convolve for heads in pattern
    ]
    tokens = np.arange(5, 30, dtype=np.int32)
    chunk = [SequenceChunk(0, tokens, np.array([1, 0], np.int32))]
    every, some = np.arange(25), np.array([3, 11, 24])
    reference = ReferenceExecutor(program)
    reference.reserve_pages(2)
    expected = reference.step(chunk, every).copy()
    executor = NativeExecutor(program, "int8", threads, tier)
    executor.reserve_pages(2)
    assert np.array_equal(executor.step(chunk, every), expected)
    assert np.array_equal(executor.step(chunk, some), expected[some])
    assert executor.counters["ended_rows"] == 22
    following = executor.step([SequenceChunk(25, tokens[:1], np.array([1, 0], np.int32))], np.array([0]))
    whole = [SequenceChunk(0, np.append(tokens, tokens[0]), np.array([1, 0], np.int32))]
    assert np.array_equal(following.copy(), executor.step(whole, np.array([25])))


@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_pages_hold_the_rows_of_convolutions(tmp_path: Path, profile: str) -> None:
    program = program_of(tmp_path)
    assert (program.layers, len(program.convolutions())) == (1, 3)
    executor = NativeExecutor(program, profile, page_size=32)
    depth = 32  # a head's width of 24, padded to 16
    attention = 3 * depth + 8 if profile == "int8" else 2 * 24 * 4
    row = 2 * 96 + 4 if profile == "int8" else 4 * 96
    assert executor.page_bytes == 32 * (attention + 3 * row)


@pytest.mark.native
def test_convolutions_take_their_parts_of_the_cache_in_order(tmp_path: Path) -> None:
    program = program_of(tmp_path)
    ops = tuple(replace(op, layer=2 - op.layer) if isinstance(op, Convolve) else op for op in program.ops)
    with pytest.raises(ValueError, match="convolutions take the parts of the cache in their order"):
        NativeExecutor(replace(program, ops=ops))


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("shortconv.l_cache", 5, "l_cache must be an integer from 1 to 4"),
        ("shortconv.l_cache", 2, r"shortconv\.conv\.weight has shape \(96, 3\), expected \(96, 2\)"),
        ("attention.head_count_kv", [0, 0, 0, 0], "0 for layers with a convolution, and for at least one other"),
        ("attention.head_count_kv", [0, 1, 3, 0], "0 for layers with a convolution"),
        ("attention.head_count_kv", [0, 1], "has 2 entries, expected 4"),
        ("attention.head_count_kv", [0, 0, 1, 0], r"tensor blk\.1\.shortconv\.in_proj\.weight is missing"),
    ],
)
def test_wrong_numbers_of_convolutions_are_refused(tmp_path: Path, key: str, value: object, problem: str) -> None:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", "lfm2")) as checkpoint:
        metadata = dict(checkpoint.metadata) | {f"lfm2.{key}": value}
        tensors = {name: (t.kind, t.shape, t.data.tobytes()) for name, t in checkpoint.tensors.items()}
        path = write_gguf(tmp_path / "changed.gguf", metadata, tensors)
    with pytest.raises(ModelError, match=problem):
        intact.load(path)


@pytest.mark.parametrize(("value", "problem"), [(300.0, "weights of 256 and more"), (np.nan, "NaN or infinite")])
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, value: float, problem: str) -> None:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf", "lfm2", ["F32"])) as checkpoint:
        tensors = {name: (t.kind, t.shape, t.data.tobytes()) for name, t in checkpoint.tensors.items()}
        metadata = dict(checkpoint.metadata)
    name = "blk.2.shortconv.conv.weight"
    kind, shape, data = tensors[name]
    values = np.frombuffer(data, "<f4").copy()
    values[7] = value
    path = write_gguf(tmp_path / "changed.gguf", metadata, tensors | {name: (kind, shape, values.tobytes())})
    for executor in ("native", "reference"):
        with pytest.raises(ModelError, match=rf"(?s)blk\.2\.shortconv\.conv\.weight.*{problem}"):
            intact.load(path, executor=executor).logits([3])


@pytest.mark.native
def test_a_model_with_convolutions_is_quantised(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "lfm2", ["F32"])
    quantize(path, tmp_path / "out", "int8-32")
    with open_checkpoint(tmp_path / "out") as checkpoint:
        kinds = {name: tensor.kind for name, tensor in checkpoint.tensors.items()}
    assert kinds["blk.0.shortconv.conv.weight"] == "F32"
    assert kinds["blk.0.shortconv.in_proj.weight"] == kinds["blk.0.shortconv.out_proj.weight"] != "F32"
    whole, parts = (intact.load(p, "fp32").logits([5, 9, 33]) for p in (path, tmp_path / "out"))
    assert 0 < np.abs(whole - parts).max() < 0.05 * np.abs(whole).max()


def test_profiles_that_run_no_experts_run_lfm2(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "lfm2")
    for profile in ("mxfp4", "mxfp8", "mxfp8e5m2", "int8+wina50"):
        fast, slow = (intact.load(path, profile=profile, executor=name) for name in ("native", "reference"))
        assert np.array_equal(fast.logits([3, 5, 8, 13], raw=True)[0], slow.logits([3, 5, 8, 13], raw=True)[0])
    with pytest.raises(ParameterError, match="mixtures of experts run in the profiles int8 and fp32"):
        intact.load(write_tiny(tmp_path / "moe.gguf", "lfm2moe"), profile="mxfp8")
