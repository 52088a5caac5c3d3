"""Gated recurrences in both executors: bits do not depend on tiers, threads, pages, cuts and the states on the way."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, _Builder, cases
from intact.models.ops import Embed, GatedRecurrence, Linear, Target
from intact.models.ops.gated_recurrence import room_values
from intact.numerics import fp32
from intact.numerics.dequantize import dequantize
from support.positions import COUNT, CUTS, check_native, check_native_cuts, check_reference_cuts, check_walks, logits_of
from support.tiers import tiers_with
from support.tiny import write_tiny

TIERS = available_tiers()
CASES = {case.name: case for case in cases() if case.name.startswith("recurrence ")}
CHANNELS = 43


def bare_case() -> tuple[Case, np.ndarray]:
    """A program that is little besides a recurrence: token i has row i, of which a unit matrix makes the parts."""
    rng, b = np.random.default_rng(5), _Builder("bare")
    rows = rng.normal(0, 1, (COUNT, 2 * CHANNELS)).astype(np.float32)
    rows[:, CHANNELS:] += np.linspace(-2, 8, CHANNELS, dtype=np.float32)

    def tensor(name: str, values: np.ndarray) -> str:
        return b.tensor(name, "F32", values.shape, np.ascontiguousarray(values, "<f4").tobytes())

    b.ops.append(Embed(b.buffer("x", rows.shape[1], wide=True), tensor("embed", rows)))
    parts = zip(("input", "forget"), np.split(np.eye(rows.shape[1]), 2), strict=True)
    targets = [Target(b.buffer(name, CHANNELS), tensor(f"to.{name}", part)) for name, part in parts]
    b.ops.append(Linear("x", tuple(targets)))
    room = tensor("room", np.linspace(0, 1, CHANNELS))
    b.ops.append(GatedRecurrence("input", "forget", b.buffer("state", CHANNELS), room, 0, CHANNELS))
    b.logits("state", "F32", 7)
    return b.case([], pages=-(-COUNT // 16)), rows


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 5))
@pytest.mark.parametrize("name", CASES)
def test_native_equals_the_reference(name: str, tier: str, threads: int) -> None:
    check_native(CASES[name], tier, threads)


@pytest.mark.parametrize("cuts", CUTS)
def test_the_reference_gives_one_text_the_same_bits_however_it_is_cut(cuts: list[int]) -> None:
    check_reference_cuts(bare_case()[0].program, cuts)


@pytest.mark.native
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_native_gives_one_text_the_same_bits_however_it_is_cut(profile: str) -> None:
    check_native_cuts(bare_case()[0].program, profile)


@pytest.mark.native
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_states_on_the_way_are_taken_up_for_their_own_rows_alone(profile: str) -> None:
    check_walks(bare_case()[0].program, profile)


@pytest.mark.native
@pytest.mark.parametrize("tier", TIERS)
def test_states_in_pages_are_the_references_to_the_last_bit(tier: str) -> None:
    """Results show 16 bits of a state's 32 behind the point."""
    program, page = bare_case()[0].program, 64
    reference, native = ReferenceExecutor(program, 8, page), NativeExecutor(program, "int8", 1, tier, page_size=page)
    for executor in (reference, native):
        logits_of(executor, [])
    rows = page * (4 + 4) * CHANNELS + 16 * page  # shares, inputs, exponents of codes
    for number in (2, 3):  # of the two whole blocks
        expected = reference.read_page(number).view(np.int64)[-CHANNELS:]
        found = native.read_page(number)[rows : rows + 8 * CHANNELS].view(np.int64)
        assert np.array_equal(found, expected)
        assert np.count_nonzero(expected & 0xFFFF) > CHANNELS // 2


@pytest.mark.native
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("tier", TIERS)
def test_the_fp32_profile_computes_its_definition(tier: str, bounded: bool) -> None:
    case, rows = bare_case()
    op = next(op for op in case.program.ops if isinstance(op, GatedRecurrence))
    op = op if bounded else replace(op, room=None)
    program = replace(
        case.program, ops=tuple(op if isinstance(one, GatedRecurrence) else one for one in case.program.ops)
    )

    def values(name: str) -> np.ndarray:
        t = program.tensors[name]
        return dequantize(t.kind, t.data, t.shape)

    x, forget = (fp32.linear(rows, values(f"to.{name}")) for name in ("input", "forget"))
    expected = fp32.linear(fp32.recurrence(x, forget, room_values(program, op)), values("head"))
    for threads, page, ends in ((1, 16, []), (3, 64, [40, 64, 100]), (2, 16, list(range(1, COUNT)))):
        executor = NativeExecutor(program, "fp32", threads, tier, page_size=page)
        assert np.array_equal(logits_of(executor, ends), expected), threads


@pytest.mark.native
def test_samples_forks_and_preemption_leave_bits_alone(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", "hgrn_bit")
    words = [(37 * i * i + 11 * i + 5) % 301 for i in range(150)]
    prompts = [words[:58], words[:61], words[40:90]]
    options: dict[str, Any] = {"max_tokens": 40, "temperature": 0.9, "seed": 5, "ignore_eos": True}
    whole = intact.load(path)
    expected = [[one.tokens for one in whole.generate([prompt], n=3, **options)[0]] for prompt in prompts]
    page = whole.executor.page_bytes
    for settings in ({"page_size": 16, "chunk": 7}, {"page_size": 64, "drafter": "off"}, {"cache_bytes": 12 * page}):
        model = intact.load(path, **settings)
        found = model.generate(prompts, n=3, **options)
        assert [[one.tokens for one in some] for some in found] == expected, settings
    assert model.engine.counters.preemptions > 0


@pytest.mark.native
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"layer": 1}, "scans take the parts of the cache in their order"),
        ({"target": "x"}, "leads from a number and a forget gate of each channel, all narrow"),
        ({"channels": 7}, "leads from a number and a forget gate of each channel, all narrow"),
    ],
)
def test_recurrences_that_do_not_fit_are_refused(changes: dict[str, Any], problem: str) -> None:
    program = bare_case()[0].program
    ops = tuple(replace(op, room=None, **changes) if isinstance(op, GatedRecurrence) else op for op in program.ops)
    with pytest.raises((ModelError, ValueError), match=problem):
        NativeExecutor(replace(program, ops=ops))


@pytest.mark.parametrize("value", [-0.001, 1.001])
def test_bounds_beyond_0_and_1_are_refused(value: float) -> None:
    program = bare_case()[0].program
    values = np.full(CHANNELS, value, "<f4")
    tensor = replace(program.tensors["room"], data=values.view(np.uint8))
    with pytest.raises(ModelError, match=r"tensor room: 1 minus a forget gate's bound must lie in \[0, 1\]"):
        ReferenceExecutor(replace(program, tensors={**program.tensors, "room": tensor}))
