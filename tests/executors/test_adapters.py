"""Adapters in executors: native equals the reference, and a row sees no adapter but its own."""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, _Builder, cases
from intact.models import build_program
from intact.models.adapters import Adapter, with_adapters
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Adapt, Gather, Linear, Logits, LowRank, Steer
from intact.models.program import Program
from intact.numerics import fp32
from support.tiers import tiers_with
from support.tiny import write_tiny

TIERS = available_tiers()
CASE = next(case for case in cases() if case.name == "adapters")
PROFILES = ("int8", "int8_row", "int4", "fp32")


def run(executor: ReferenceExecutor | NativeExecutor, case: Case) -> list[np.ndarray]:
    executor.reserve_pages(case.pages)
    return [executor.step(step.chunks, step.wanted).copy() for step in case.steps]


@cache
def reference(profile: str) -> list[np.ndarray]:
    return run(ReferenceExecutor(CASE.program, profile=profile), CASE)


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 5))
@pytest.mark.parametrize("profile", PROFILES[:-1])
def test_native_equals_the_reference(profile: str, tier: str, threads: int) -> None:
    got = run(NativeExecutor(CASE.program, profile, threads, tier), CASE)
    assert all(np.array_equal(a, b) for a, b in zip(got, reference(profile), strict=True))


def changes(program: Program, seed: int, rank: int, only: str = "") -> Adapter:
    """A random adapter of all matrices of a program whose names have a part."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, tensor in program.tensors.items():
        if name.startswith("blk.") and len(tensor.shape) == 2 and only in name:
            rows, columns = tensor.shape
            down = rng.standard_normal((rank, columns)) / columns**0.5
            found[name] = down.astype(np.float32), rng.standard_normal((rows, rank)).astype(np.float32) / 4
    return Adapter(Path("random"), found)


def adapted(path: Path, architecture: str = "llama") -> Program:
    with open_checkpoint(write_tiny(path / "tiny.gguf", architecture)) as checkpoint:
        program = build_program(checkpoint)
    steered = {layer: np.full(program.buffers["x"].width, 0.5 - layer, np.float32) for layer in range(program.layers)}
    several = {"all": replace(changes(program, 1, 7), vectors=steered), "values": changes(program, 2, 16, "attn_v")}
    return with_adapters(program, several)


def last_rows(executor: NativeExecutor, texts: np.ndarray, numbers: list[int], size: int) -> list[np.ndarray]:
    """The last row of logits of each text, in chunks of `size` that run together."""
    executor.reserve_pages(len(texts))
    for at in range(0, texts.shape[1], size):
        chunks = [
            SequenceChunk(at, text[at : at + size], np.array([i], np.int32), adapter=number)
            for i, (text, number) in enumerate(zip(texts, numbers, strict=True))
        ]
        ends = np.cumsum([len(chunk.tokens) for chunk in chunks]) - 1
        logits = executor.step(chunks, ends)
    return [row.copy() for row in logits]


@pytest.mark.native
@pytest.mark.parametrize("threads", [1, pytest.param(3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("architecture", ["llama", "gemma3", "starcoder2"])
@pytest.mark.parametrize("profile", PROFILES)
def test_a_row_does_not_depend_on_the_adapters_beside_it(
    tmp_path: Path, profile: str, architecture: str, threads: int
) -> None:
    program = adapted(tmp_path, architecture)
    rng = np.random.default_rng(5)
    texts = rng.integers(0, program.vocabulary, (32, 20)).astype(np.int32)
    texts[:3] = texts[0]  # the same text with each adapter and none
    numbers = [0, 1, -1, *rng.integers(-1, 2, 29).tolist()]
    together = last_rows(NativeExecutor(program, profile, 2), texts, numbers, 20)
    assert len({row.tobytes() for row in together[:3]}) == 3
    for size, i in product((1, 7, 20), range(3)):
        (alone,) = last_rows(NativeExecutor(program, profile, threads), texts[i : i + 1], numbers[i : i + 1], size)
        assert np.array_equal(alone, together[i]), (size, i)
    bare = replace(program, ops=tuple(op for op in program.ops if not isinstance(op, Adapt | Steer)), adapters=())
    (without,) = last_rows(NativeExecutor(bare, profile), texts[:1], [-1], 20)
    assert np.array_equal(without, together[2])


@pytest.mark.native
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_a_change_of_zeros_gives_the_bits_of_none(tmp_path: Path, profile: str) -> None:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf")) as checkpoint:
        program = build_program(checkpoint)
    some = changes(program, 1, 8)
    zeros = {name: (down, np.zeros_like(up)) for name, (down, up) in some.changes.items()}
    vectors = {layer: np.zeros(program.buffers["x"].width, np.float32) for layer in range(program.layers)}
    executor = NativeExecutor(with_adapters(program, {"zeros": Adapter(some.path, zeros, vectors)}), profile)
    text = np.arange(20, dtype=np.int32)[None].repeat(2, 0)
    a, b = last_rows(executor, text, [0, -1], 20)
    assert np.array_equal(a, b)


@pytest.mark.parametrize("number", [-2, 1, 7])
def test_an_adapter_that_the_model_has_not_is_refused(tmp_path: Path, number: int) -> None:
    with open_checkpoint(write_tiny(tmp_path / "tiny.gguf")) as checkpoint:
        program = build_program(checkpoint)
    executor = NativeExecutor(with_adapters(program, {"one": changes(program, 1, 8)}))
    with pytest.raises(ValueError, match=f"no adapter {number}"):
        last_rows(executor, np.arange(4, dtype=np.int32)[None], [number], 4)


def float_program() -> Program:
    """Embed, Linear, Adapt, and a head that gives the rows themselves."""
    b = _Builder("float adapter")
    b.embed(64, low=-6)
    b.linear("x", "F32", ("y", 41))
    b.ops.insert(1, Steer("x", (b.vector("direction", 64, 0.0, 1.0),)))
    change = LowRank(b.matrix("down", "F32", 5, 64), b.matrix("up", "F32", 41, 5))
    b.ops.append(Adapt("x", "y", (change,)))
    b.tensor("head", "F32", (41, 41), np.eye(41, dtype=np.float32).tobytes())
    b.ops.append(Logits("y", "head"))
    return b.case([]).program


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_the_fp32_profile_adds_the_change_to_the_product(tier: str) -> None:
    program = float_program()
    tensors = {n: t.data.view(np.float32).reshape(t.shape) for n, t in program.tensors.items()}
    tokens = np.arange(10, dtype=np.int32)
    chunks = [SequenceChunk(0, tokens, np.array([i], np.int32), adapter=i - 1) for i in range(2)]
    executor = NativeExecutor(program, "fp32", 2, tier)
    executor.reserve_pages(2)
    plain, changed = executor.step_float(chunks, np.arange(20)).copy().reshape(2, 10, -1)
    x = tensors["embed"][tokens]
    linear = next(op for op in program.ops if isinstance(op, Linear))
    assert np.array_equal(plain, fp32.linear(x, tensors[linear.targets[0].weight]))
    x = x + tensors["direction"]
    own = fp32.linear(x, tensors[linear.targets[0].weight])
    assert np.array_equal(changed, own + fp32.linear(fp32.linear(x, tensors["down"]), tensors["up"]))


@pytest.mark.parametrize("profile", ["mxfp8", "int8+wina50"])
@pytest.mark.parametrize("executor", [NativeExecutor, ReferenceExecutor])
def test_profiles_without_adapters_say_so(executor: type, profile: str) -> None:
    program = replace(CASE.program, adapters=("one",))
    with pytest.raises(ParameterError, match="adapters run in the profiles int8 and fp32"):
        executor(program, profile=profile)


def test_gathered_rows_are_no_inputs_of_an_adapter() -> None:
    gather = next(case.program for case in cases() if any(isinstance(op, Gather) for op in case.program.ops))
    with pytest.raises(ModelError, match="rotated or reordered"):
        with_adapters(gather, {"one": Adapter(Path("a"), {"w": (np.zeros((1, 4)), np.zeros((4, 1)))})})
