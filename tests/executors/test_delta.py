"""The gated delta rule in both executors: bits do not depend on tiers, threads, pages and cuts."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ModelError, ParameterError
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, _Builder, cases
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Embed, GatedDelta, Linear, Target
from intact.models.ops.gated_delta import delta_weights
from intact.numerics import fp32
from intact.numerics.delta import DeltaShape
from intact.numerics.dequantize import dequantize
from support.examples import examples
from support.tiers import tiers_with

TIERS = available_tiers()
CASES = {case.name: case for case in cases() if case.name.startswith("delta ")}
SHAPE = DeltaShape(6, 5, 3, 12)
COUNT = 150


def run(executor: ReferenceExecutor | NativeExecutor, case: Case) -> list[np.ndarray]:
    executor.reserve_pages(case.pages)
    return [executor.step(step.chunks, step.wanted).copy() for step in case.steps]


def bare_case(shape: DeltaShape = SHAPE, rate: float = 8.0, size: float = 1.0) -> tuple[Case, np.ndarray]:
    """A program that is little besides the rule: token i has row i, whose parts are products with the unit matrix."""
    rng, b = np.random.default_rng(shape.groups), _Builder("bare")
    rows = rng.normal(0, 1, (COUNT, shape.channels + 2 * shape.heads)).astype(np.float32)
    rows[:, 2 * shape.columns : shape.channels] *= size  # the values

    def tensor(name: str, values: np.ndarray) -> str:
        return b.tensor(name, "F32", values.shape, np.ascontiguousarray(values, "<f4").tobytes())

    b.ops.append(Embed(b.buffer("x", rows.shape[1], wide=True), tensor("embed", rows)))
    ends = (("mixed", shape.channels), ("steps", shape.heads), ("beta", shape.heads))
    parts = np.split(np.eye(rows.shape[1]), np.cumsum([count for _, count in ends])[:-1])
    targets = [Target(b.buffer(name, n), tensor(f"to.{name}", p)) for (name, n), p in zip(ends, parts, strict=True)]
    b.ops.append(Linear("x", tuple(targets)))
    taps = tensor("taps", rng.normal(0, 0.5, (shape.channels, 4)))
    heads = (
        tensor("step_bias", rng.normal(-2, 1, shape.heads)),
        tensor("decay", -np.geomspace(0.01, rate, shape.heads)),
    )
    found = b.buffer("found", shape.inner)
    sizes = (shape.heads, shape.width, shape.groups, shape.states, 4)
    b.ops.append(GatedDelta("mixed", "steps", "beta", found, taps, *heads, 0, *sizes, shape.tiled))
    b.logits("found", "F32", 7)
    return b.case([], pages=-(-COUNT // 16)), rows


def logits_of(executor: ReferenceExecutor | NativeExecutor, ends: list[int]) -> np.ndarray:
    """The logits of a text that is cut at some places."""
    count = -(-COUNT // executor.page_size)
    executor.reserve_pages(count + 1)
    pages, out = np.arange(count, 0, -1, dtype=np.int32), []
    for start, end in zip([0, *ends], [*ends, COUNT], strict=True):
        chunk = SequenceChunk(start, np.arange(start, end, dtype=np.int32), pages)
        out.append(executor.step_float([chunk], np.arange(end - start)).copy())
    return np.concatenate(out)


@cache
def reference(name: str) -> list[np.ndarray]:
    return run(ReferenceExecutor(CASES[name].program, CASES[name].bits, 16), CASES[name])


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 5))
@pytest.mark.parametrize("name", CASES)
def test_native_equals_the_reference(name: str, tier: str, threads: int) -> None:
    case, expected = CASES[name], reference(name)
    assert all(np.abs(part).max() > 0 for part in expected)
    got = run(NativeExecutor(case.program, "int8", threads, tier, case.bits, 16), case)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_states_that_come_to_the_limit_are_counted(tier: str) -> None:
    case, _ = bare_case(size=20000.0)
    reference, native = ReferenceExecutor(case.program), NativeExecutor(case.program, "int8", 2, tier)
    expected = logits_of(reference, [70])
    assert np.array_equal(logits_of(native, [3, 100]), expected)
    assert native.saturated == reference.saturated > 0
    small = ReferenceExecutor(bare_case()[0].program)
    logits_of(small, [])
    assert small.saturated == 0


def test_the_reference_gives_one_text_the_same_bits_however_it_is_cut() -> None:
    program = bare_case()[0].program
    expected = logits_of(ReferenceExecutor(program), [])
    for page, ends in ((16, list(range(1, COUNT))), (80, [63, 64, 65, 128])):
        assert np.array_equal(logits_of(ReferenceExecutor(program, 8, page), ends), expected), page


@pytest.mark.native
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_native_gives_one_text_the_same_bits_however_it_is_cut(profile: str) -> None:
    program = bare_case()[0].program
    expected = logits_of(NativeExecutor(program, profile, 1), [])
    if profile == "int8":
        assert np.array_equal(expected, logits_of(ReferenceExecutor(program), []))

    @given(
        st.lists(st.integers(1, COUNT - 1), max_size=12, unique=True),
        st.sampled_from([16, 32, 48, 64, 80, 128, 208]),
        st.integers(1, 3),
        st.sampled_from(TIERS),
    )
    @examples(25)
    def cut(ends: list[int], page: int, threads: int, tier: str) -> None:
        executor = NativeExecutor(program, profile, threads, tier, page_size=page)
        assert np.array_equal(logits_of(executor, sorted(ends)), expected)

    cut()


@pytest.mark.native
@pytest.mark.parametrize("tiled", [False, True])
def test_the_fp32_profile_computes_its_definition(tiled: bool) -> None:
    shape = SHAPE._replace(tiled=tiled)
    case, rows = bare_case(shape)
    op = next(op for op in case.program.ops if isinstance(op, GatedDelta))
    targets = next(op for op in case.program.ops if isinstance(op, Linear)).targets

    def values(name: str) -> np.ndarray:
        t = case.program.tensors[name]
        return dequantize(t.kind, t.data, t.shape)

    mixed, steps, beta = (fp32.linear(rows, values(target.weight)) for target in targets)
    inputs = fp32.scan_inputs(mixed, values("taps"), np.zeros(shape.channels, np.float32))
    found = fp32.delta(inputs, steps, beta, shape, delta_weights(case.program, op))
    expected = fp32.linear(found, values("head"))
    for threads, page, ends in ((1, 16, []), (3, 64, [40, 64, 100]), (2, 16, list(range(1, COUNT)))):
        executor = NativeExecutor(case.program, "fp32", threads, page_size=page)
        assert np.array_equal(logits_of(executor, ends), expected), threads


@pytest.mark.native
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_chains_of_drafts_that_are_not_followed_leave_no_trace(profile: str) -> None:
    """They run across the end of a block, whose state is then computed again."""
    program, pages = bare_case()[0].program, np.arange(10, dtype=np.int32)
    makers = [NativeExecutor] + [ReferenceExecutor] * (profile == "int8")
    for make in makers:
        executor = make(program, profile=profile)
        executor.reserve_pages(10)
        assert not executor.trees
        text = np.arange(COUNT, dtype=np.int32)
        expected = executor.step([SequenceChunk(0, text[:80], pages)], np.arange(60, 80)).copy()
        executor.step([SequenceChunk(0, text[:60], pages)], np.arange(0))
        executor.step([SequenceChunk(60, text[100:120], pages)], np.arange(20))
        found = [executor.step([SequenceChunk(p, text[p : p + 1], pages)], np.arange(1)).copy() for p in range(60, 80)]
        assert np.array_equal(np.concatenate(found), expected)
        with pytest.raises(ParameterError, match="consecutive tokens or chains of drafts, no trees"):
            executor.step([SequenceChunk(80, text[:2], pages, np.array([-1, -1], np.int32))], np.arange(2))


@pytest.mark.native
def test_pages_hold_rows_and_states_and_travel_whole() -> None:
    program, pages, text = bare_case()[0].program, np.arange(5, dtype=np.int32), np.arange(COUNT, dtype=np.int32)
    for make in (NativeExecutor, ReferenceExecutor):
        executor = make(program)
        executor.reserve_pages(10)
        expected = executor.step([SequenceChunk(0, text[:140], pages)], np.arange(139, 140)).copy()
        executor.step([SequenceChunk(0, text[:139], pages)], np.arange(0))
        for page in range(5):
            data = executor.read_page(page)
            assert len(data) == executor.page_bytes
            executor.write_page(9 - page, data)
        last = SequenceChunk(139, text[139:140], np.arange(9, 4, -1, dtype=np.int32))
        assert np.array_equal(executor.step([last], np.arange(1)), expected)


@pytest.mark.native
def test_wanted_rows_alone_go_on_behind_the_last_rule() -> None:
    program, text = bare_case()[0].program, np.arange(COUNT, dtype=np.int32)
    pages, every, some = np.arange(3, dtype=np.int32), np.arange(70), np.array([3, 64, 69])
    for tier in TIERS:
        for threads in (1, 3):
            executor = NativeExecutor(program, "int8", threads, tier)
            executor.reserve_pages(3)
            expected = executor.step([SequenceChunk(0, text[:70], pages)], every).copy()
            assert np.array_equal(executor.step([SequenceChunk(0, text[:70], pages)], some), expected[some])
            assert executor.counters["ended_rows"] == 67


def test_what_does_not_fit_is_refused_by_name() -> None:
    program = bare_case()[0].program
    values = np.array([0.5] * SHAPE.heads, "<f4")
    tensor = replace(program.tensors["decay"], data=values.view(np.uint8))
    for make in (NativeExecutor, ReferenceExecutor):
        with pytest.raises(ModelError, match=r"tensor decay: decays must lie in \[-709, 0\], found 0\.5"):
            make(replace(program, tensors={**program.tensors, "decay": tensor}))
    ops = tuple(replace(op, layer=1) if isinstance(op, GatedDelta) else op for op in program.ops)
    with pytest.raises(ValueError, match="scans take the parts of the cache in their order"):
        NativeExecutor(replace(program, ops=ops))
