"""Scans with a state a position, in both executors: bits do not depend on tiers, threads, pages, cuts and the states on
the way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import intact
from intact._base.errors import ModelError
from intact.executors.native import NativeExecutor, available_tiers
from intact.measure.conformance.synthetic import Case, _Builder, cases
from intact.models.ops import ConvolveSilu, Embed, Linear, SelectiveScan, Target, TrapezoidalScan
from intact.models.ops.selective_scan import selective_weights
from intact.models.ops.trapezoidal_scan import trapezoidal_weights
from intact.numerics import fp32
from intact.numerics.dequantize import dequantize
from support.positions import COUNT, CUTS, check_native, check_native_cuts, check_reference_cuts, check_walks, logits_of
from support.tiers import tiers_with
from support.tiny import write_tiny

TIERS = available_tiers()
CASES = {case.name: case for case in cases() if case.name.startswith(("selective ", "trapezoidal "))}
CHANNELS, STATES = 22, 12
SHAPE = (6, 5, 2, 12, 3)
"""Heads, channels of each, groups, states and angles of a trapezoidal scan."""
KINDS = pytest.mark.parametrize("kind", ["selective", "trapezoidal"])


def tensor(b: _Builder, name: str, values: np.ndarray) -> str:
    return b.tensor(name, "F32", values.shape, np.ascontiguousarray(values, "<f4").tobytes())


def unit_rows(b: _Builder, rows: np.ndarray, ends: dict[str, int]) -> None:
    """Token i has row i, whose parts are products with the unit matrix."""
    b.ops.append(Embed(b.buffer("x", rows.shape[1], wide=True), tensor(b, "embed", rows)))
    parts = np.split(np.eye(rows.shape[1]), np.cumsum(list(ends.values()))[:-1])
    names = zip(ends.items(), parts, strict=True)
    b.ops.append(Linear("x", tuple(Target(b.buffer(name, n), tensor(b, f"to.{name}", p)) for (name, n), p in names)))


def bare_case(kind: str = "selective", taps: int = 4) -> tuple[Case, np.ndarray]:
    """A program that is little besides a scan, and the rows of its tokens."""
    rng, b = np.random.default_rng(taps), _Builder("bare")
    if kind == "trapezoidal":
        return trapezoidal_case(rng, b)
    rows = rng.normal(0, 1, (COUNT, 2 * CHANNELS + 2 * STATES)).astype(np.float32)
    rows[:, CHANNELS : 2 * CHANNELS] -= 2  # the steps
    unit_rows(b, rows, {"mixed": CHANNELS, "steps": CHANNELS, "b": STATES, "c": STATES})
    kernel = tensor(b, "taps", rng.normal(0, 0.5, (CHANNELS, taps)))
    bias = tensor(b, "bias", rng.normal(0, 0.2, CHANNELS))
    b.ops.append(ConvolveSilu("mixed", b.buffer("convolved", CHANNELS), kernel, bias, 0, CHANNELS, taps))
    decay = tensor(b, "decay", -np.geomspace(0.01, 16, CHANNELS * STATES).reshape(CHANNELS, STATES))
    skip = tensor(b, "skip", np.ones(CHANNELS))
    names = ("convolved", "steps", "b", "c", b.buffer("scanned", CHANNELS), decay, skip)
    b.ops.append(SelectiveScan(*names, 0, CHANNELS, STATES))
    b.logits("scanned", "F32", 7)
    return b.case([], pages=-(-COUNT // 16)), rows


def trapezoidal_case(rng: np.random.Generator, b: _Builder) -> tuple[Case, np.ndarray]:
    heads, width, groups, states, angles = SHAPE
    ends = {"mixed": heads * width, "b": groups * states, "c": groups * states, "controls": 3 * heads + angles}
    rows = rng.normal(0, 1, (COUNT, sum(ends.values()))).astype(np.float32)
    unit_rows(b, rows, ends)
    values = {
        "step_bias": rng.normal(-2, 1, heads),
        "b_bias": rng.normal(1, 0.2, heads * states),
        "c_bias": rng.normal(1, 0.2, heads * states),
        "skip": rng.normal(1, 0.2, heads),
    }
    names = (*ends, b.buffer("scanned", heads * width), *(tensor(b, name, part) for name, part in values.items()))
    b.ops.append(TrapezoidalScan(*names, 1e-4, 0, *SHAPE))
    b.logits("scanned", "F32", 7)
    return b.case([], pages=-(-COUNT // 16)), rows


@pytest.mark.native
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 5))
@pytest.mark.parametrize("name", CASES)
def test_native_equals_the_reference(name: str, tier: str, threads: int) -> None:
    check_native(CASES[name], tier, threads)


@KINDS
@pytest.mark.parametrize("cuts", CUTS)
def test_the_reference_gives_one_text_the_same_bits_however_it_is_cut(kind: str, cuts: list[int]) -> None:
    check_reference_cuts(bare_case(kind)[0].program, cuts)


@pytest.mark.native
@KINDS
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_native_gives_one_text_the_same_bits_however_it_is_cut(profile: str, kind: str) -> None:
    check_native_cuts(bare_case(kind)[0].program, profile)


@pytest.mark.native
@KINDS
@pytest.mark.parametrize("profile", ["int8", "fp32"])
def test_states_on_the_way_are_taken_up_for_their_own_rows_alone(profile: str, kind: str) -> None:
    check_walks(bare_case(kind)[0].program, profile)


@pytest.mark.native
@KINDS
def test_the_fp32_profile_computes_its_definition(kind: str) -> None:
    case, rows = bare_case(kind)
    targets = next(op for op in case.program.ops if isinstance(op, Linear)).targets
    op = next(iter(case.program.recurrent()))

    def values(name: str) -> np.ndarray:
        t = case.program.tensors[name]
        return dequantize(t.kind, t.data, t.shape)

    parts = [fp32.linear(rows, values(target.weight)) for target in targets]
    if isinstance(op, TrapezoidalScan):
        biases = [values(name).reshape(op.heads, op.states) for name in ("b_bias", "c_bias")]
        scanned = fp32.trapezoidal_scan(
            parts, op.shape, trapezoidal_weights(case.program, op), [*biases, values("skip")]
        )
    else:
        mixed, steps, b, c = parts
        x = fp32.scan_inputs(mixed, values("taps"), values("bias"))
        scanned = fp32.selective_scan(x, b, c, steps, selective_weights(case.program, op), values("skip"))
    expected = fp32.linear(scanned, values("head"))
    for threads, page, ends in ((1, 16, []), (3, 64, [40, 64, 100]), (2, 16, list(range(1, COUNT)))):
        executor = NativeExecutor(case.program, "fp32", threads, page_size=page)
        assert np.array_equal(logits_of(executor, ends), expected), threads


@pytest.mark.native
@pytest.mark.parametrize("architecture", ["mamba", "mamba3"])
def test_samples_forks_and_preemption_leave_bits_alone(tmp_path: Path, architecture: str) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", architecture)
    words = [(37 * i * i + 11 * i + 5) % 301 for i in range(150)]
    prompts = [words[:58], words[:61], words[40:90]]
    options = {"max_tokens": 40, "temperature": 0.9, "seed": 5, "ignore_eos": True}
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
    ("kind", "changes", "problem"),
    [
        ("selective", {"layer": 1}, "scans take the parts of the cache in their order"),
        ("selective", {"states": 257}, "states of 257 columns pass the proven bounds, at most 256"),
        ("trapezoidal", {"layer": 1}, "scans take the parts of the cache in their order"),
        ("trapezoidal", {"states": 257}, "states of 257 columns pass the proven bounds, at most 256"),
        ("trapezoidal", {"angles": 7}, "an angle for at most each pair"),
        ("trapezoidal", {"width": 6}, "reads x, B, C and what leads each position"),
        ("trapezoidal", {"slowest": 0.0}, r"the slowest decay of a trapezoidal scan must lie in \(0, 1\], found 0"),
        ("trapezoidal", {"input_bias": "skip"}, "cannot reshape|biases of B and C"),
    ],
)
def test_scans_beyond_their_bounds_are_refused(kind: str, changes: dict[str, int], problem: str) -> None:
    program = bare_case(kind)[0].program
    ops = tuple(replace(op, **changes) if op in program.recurrent() else op for op in program.ops)
    with pytest.raises((ModelError, ValueError), match=problem):
        NativeExecutor(replace(program, ops=ops))
