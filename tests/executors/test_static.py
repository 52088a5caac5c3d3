"""Static activations: one scale a product from calibration, stored with the model, the same bits everywhere."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ModelError, ParameterError
from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.checkpoints.formats.safetensors import Stored, read_safetensors, write_safetensors
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import Case, cases, with_largest_inputs
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.input_limits import SUFFIX
from intact.models.ops import Linear
from intact.numerics.activations import LARGEST, FixedScale, fixed_scale, quantize_fixed
from intact.numerics.matmul import matmul
from intact.numerics.weights import from_floats
from intact.quantizing import quantize
from intact.quantizing.calibration import Calibration, Collector, products
from intact.quantizing.output import storable
from intact.receipts.document import Receipt
from intact.receipts.identity import measure
from intact.receipts.verify import verify
from support.examples import examples
from support.tiers import tiers_with
from support.tiny import write_tiny

TIERS = available_tiers()
TEXT = "the cat sat on the mat and the dog ran to the man " * 60
PROFILE = "int8_static"


@given(st.floats(2.0**-40, 2.0**30, width=32))
@examples(200)
def test_the_largest_input_has_the_largest_code(largest: float) -> None:
    to = fixed_scale(largest)
    assert 4096 < to.scale <= 8191
    unit = Fraction(2) ** to.exponent
    assert 126 * to.scale * unit < Fraction(largest) <= (127 * to.scale + Fraction(1, 2)) * unit
    fraction = 30 - int(np.frexp(largest)[1])
    x = Fraction(largest) * Fraction(2) ** fraction
    assert x.denominator == 1
    assert quantize_fixed(np.array([[int(x), -int(x)]]), fraction, to).codes[0, :2].tolist() == [127, -127]


@given(st.integers(1, 3), st.integers(1, 70), st.integers(0, 61), st.integers(-8, 50), st.integers(0, 2**32))
@examples(100)
def test_codes_are_the_nearest_up_to_the_largest(rows: int, columns: int, bits: int, fraction: int, seed: int) -> None:
    """Python's rationals: no code is further from the input than half a step and what the reciprocal loses."""
    rng = np.random.default_rng(seed)
    x = np.rint(np.clip(rng.normal(0, 2.0**bits, (rows, columns)), -(2.0**61), 2.0**61)).astype(np.int64)
    to = fixed_scale(float(np.float32(2.0 ** rng.uniform(-10, 10))))
    a = quantize_fixed(x, fraction, to)
    assert (a.scale == to.scale).all()
    assert (a.exponent == to.exponent).all()
    step = to.scale * Fraction(2) ** to.exponent
    for code, value in zip(a.codes[:, :columns].ravel().tolist(), x.ravel().tolist(), strict=True):
        exact = Fraction(value) / Fraction(2) ** fraction / step
        assert abs(code - min(max(exact, Fraction(-127)), Fraction(127))) <= Fraction(1, 2) + Fraction(1, 32)


def test_inputs_beyond_the_largest_are_clipped_to_it() -> None:
    a = quantize_fixed(np.array([[1 << 61, -(1 << 61), 1 << 20, -(1 << 20), 0]]), 20, fixed_scale(1.0))
    assert a.codes[0, :5].tolist() == [127, -127, 127, -127, 0]


def test_a_product_is_that_of_the_clipped_inputs() -> None:
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(7, 96)).astype(np.float32)
    x = rng.normal(size=(5, 96))
    y = matmul(quantize_fixed(np.rint(x * 2**20).astype(np.int64), 20, fixed_scale(1.5)), from_floats(weights, 8), 20)
    exact = np.clip(x, -1.5, 1.5) @ weights.T
    assert np.abs(y / 2**20 - exact).max() < 0.02 * np.abs(exact).max()


@pytest.mark.parametrize("largest", [-1.0, 2.0**31, float("nan"), float("inf")])
def test_a_largest_input_is_a_size(largest: float) -> None:
    with pytest.raises(ValueError, match="must lie in 0 to 2"):
        fixed_scale(largest)


def test_products_whose_inputs_were_all_zero_have_the_least_scale() -> None:
    assert fixed_scale(0.0) == fixed_scale(2.0**-40) == FixedScale((LARGEST_UNITS + 126) // 127, -59)


LARGEST_UNITS = 1 << 19
assert LARGEST_UNITS < LARGEST


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "qwen2")


@pytest.fixture(scope="module")
def model(source: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static") / "model"
    return quantize(source, folder, "keep", static=True, calibrate=text, context=32, windows=4).path


@pytest.fixture(scope="module")
def program(model: Path) -> Program:
    return build_program(open_checkpoint(model))


def run(executor: NativeExecutor | ReferenceExecutor, cuts: tuple[int, ...] = ()) -> np.ndarray:
    executor.reserve_pages(2)
    rows, ends = [], (*cuts, 21)
    for start, end in zip((0, *cuts), ends, strict=True):
        chunk = SequenceChunk(start, np.arange(start, end, dtype=np.int32) + 5, np.arange(2, dtype=np.int32))
        rows.append(np.array(executor.step([chunk], np.arange(end - start, dtype=np.int64))))
    return np.concatenate(rows)


def test_the_scales_are_those_of_the_text(source: Path, program: Program) -> None:
    """Each product's largest input over the windows, gathered here from the engine's own rows."""
    plain = build_program(open_checkpoint(source))
    sample = Calibration(tuple(intact.load(source).tokenizer.encode(TEXT)), 32, 4)
    ops = list(products(plain))
    tops = dict.fromkeys(ops, 0.0)
    for window in Collector(plain).inputs(sample, ops):
        for op, a in zip(ops, window, strict=True):
            values = a.codes * np.repeat(a.scale.astype(float), 32, axis=1) * 2.0 ** a.exponent[:, None].astype(float)
            tops[op] = max(tops[op], float(np.abs(values).max()))
    for op, top in tops.items():
        linear = program.ops[op]
        assert isinstance(linear, Linear)
        assert linear.largest is not None
        (stored,) = program.tensors[linear.largest].data.view("<f4").tolist()
        assert abs(stored / top - 1) < 2.0**-18


@pytest.mark.native
@pytest.mark.parametrize("profile", [PROFILE, f"{PROFILE}+wina50"])
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 3))
def test_no_setting_changes_a_bit(program: Program, profile: str, tier: str, threads: int) -> None:
    expected = run(ReferenceExecutor(program, profile=profile))
    assert not np.array_equal(expected, run(NativeExecutor(program, "int8_row")))
    for cuts in ((), (1, 2, 15)):
        assert np.array_equal(run(NativeExecutor(program, profile, tier=tier, threads=threads), cuts), expected)


def logits(case: Case, executor: NativeExecutor | ReferenceExecutor) -> np.ndarray:
    executor.reserve_pages(case.pages)
    return np.concatenate([np.array(executor.step(*step)) for step in case.steps])


@pytest.mark.native
@pytest.mark.parametrize("name", ["matrix Q2_K 8", "matrix Q4_1 8", "gather normed", "decoder gemma"])
def test_weights_with_minima_take_clipped_rows(name: str) -> None:
    """The sums for minima, of blocks of 16 and of 32, are those of the clipped codes."""
    case = next(case for case in cases() if case.name == name)
    program = with_largest_inputs(case.program)
    expected = logits(case, ReferenceExecutor(program, case.bits, 16, PROFILE))
    for tier in TIERS:
        assert np.array_equal(logits(case, NativeExecutor(program, PROFILE, 2, tier, case.bits, 16)), expected)


@pytest.mark.native
def test_sequences_beside_each_other_change_no_bit(program: Program) -> None:
    alone = run(ReferenceExecutor(program, profile=PROFILE))
    executor = NativeExecutor(program, PROFILE, threads=2)
    executor.reserve_pages(4)
    chunks = [
        SequenceChunk(0, np.arange(count, dtype=np.int32) + first, np.array(pages, np.int32))
        for count, first, pages in ((21, 5, (2, 0)), (7, 40, (3,)), (21, 5, (1,)))
    ]
    got = np.array(executor.step(chunks, np.arange(49, dtype=np.int64)))
    assert np.array_equal(got[:21], alone)
    assert np.array_equal(got[28:], alone)


def test_what_enters_a_product_is_clipped_to_its_scale(program: Program) -> None:
    executor = NativeExecutor(program, PROFILE)
    executor.recording = True
    run(executor)
    op = next(i for i, op in enumerate(program.ops) if isinstance(op, Linear))
    linear = program.ops[op]
    assert isinstance(linear, Linear)
    assert linear.largest is not None
    a = executor.recorded(op)
    to = fixed_scale(float(program.tensors[linear.largest].data.view("<f4")[0]))
    assert set(a.scale.ravel().tolist()) == {to.scale}
    assert set(a.exponent.tolist()) == {to.exponent}


def test_other_profiles_do_not_see_the_scales(source: Path, model: Path) -> None:
    tokens = [5, 9, 40, 77, 12]
    for profile in ("int8", "fp32"):
        assert np.array_equal(intact.load(model, profile).logits(tokens), intact.load(source, profile).logits(tokens))


def test_receipts_state_the_scales_and_are_verified_by_them(source: Path, model: Path, tmp_path: Path) -> None:
    static = intact.load(model, PROFILE)
    receipt = static.generate("the cat", max_tokens=8, receipt=True)[0][0].receipt
    assert receipt is not None
    receipt = Receipt.parse(receipt.encode())
    assert receipt.header.numerics.profile == PROFILE
    assert [v.outcome for v in verify(static, [receipt])] == ["true"]
    (verdict,) = verify(intact.load(model), [receipt])
    assert (verdict.outcome, verdict.what) == ("unverifiable", "numerics")
    other = with_scales(model, tmp_path / "other", lambda value: value * np.float32(2))
    (verdict,) = verify(intact.load(other, PROFILE), [receipt])
    assert (verdict.outcome, verdict.what) == ("unverifiable", "weights")


def with_scales(model: Path, to: Path, change: Callable[[np.float32], np.float32 | None]) -> Path:
    """Copy a model with other scales; those that become None are left out."""
    to.mkdir()
    for file in model.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    tensors = {}
    for name, tensor in read_safetensors(model / "model.safetensors").items():
        data = tensor.data
        if name.endswith(SUFFIX):
            value = change(data.view("<f4")[0])
            if value is None:
                continue
            data = np.frombuffer(np.float32(value).astype("<f4").tobytes(), np.uint8)
        tensors[name] = storable(Tensor(name, tensor.kind, tensor.shape, data))
    stored = [Stored(t.name, t.kind, t.shape, t.data.nbytes) for t in tensors.values()]
    write_safetensors(to / "model.safetensors", stored, lambda name: tensors[name].data.tobytes(), {})
    return to


def test_scales_that_cannot_be_are_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the largest input is -1; expected a number from 0 to"):
        intact.load(with_scales(model, tmp_path / "negative", lambda _: np.float32(-1)))
    with pytest.raises(ModelError, match="NaN or infinite"):
        intact.load(with_scales(model, tmp_path / "nan", lambda _: np.float32("nan")))
    seen: list[float] = []

    def first_alone(value: np.float32) -> np.float32 | None:
        seen.append(float(value))
        return value if len(seen) == 1 else None

    with pytest.raises(ModelError, match=r"largest_input is missing: .* with the same input"):
        intact.load(with_scales(model, tmp_path / "first", first_alone))


def test_a_model_without_scales_says_how_to_get_them(source: Path, program: Program) -> None:
    for executor in ("native", "reference"):
        with pytest.raises(ParameterError, match=r"needs a model with scales .* intact quantize --static writes one"):
            intact.load(source, PROFILE, executor=executor)
    with pytest.raises(ParameterError, match="adapters run in the profiles int8 and fp32"):
        NativeExecutor(replace(program, adapters=("one",)), PROFILE)


def test_scales_differ_by_the_text_alone(model: Path, source: Path, text: Path, tmp_path: Path) -> None:
    """Threads change nothing, another text does; what is quantised besides gets scales of the same inputs."""
    options = {"context": 32, "windows": 4}
    again = quantize(source, tmp_path / "again", "keep", static=True, calibrate=text, threads=1, **options)
    assert again.static
    assert (again.matrices, again.bits_per_weight) == (0, 0)
    roots = [measure(build_program(open_checkpoint(path))).root for path in (again.path, model)]
    assert roots[0] == roots[1]
    other = tmp_path / "other.txt"
    other.write_text(TEXT.replace("cat", "dog"))
    changed = quantize(source, tmp_path / "changed", "keep", static=True, calibrate=other, **options)
    assert changed.digest != again.digest
    both = quantize(source, tmp_path / "both", "gptq:int4-32", static=True, calibrate=text, **options)
    assert limits(both.path) == limits(model)
    planes = quantize(source, tmp_path / "planes", "ptqtp:trits-32", static=True, calibrate=text, **options)
    fast, slow = (intact.load(planes.path, PROFILE, executor=name) for name in ("native", "reference"))
    assert np.array_equal(fast.logits([5, 9, 7]), slow.logits([5, 9, 7]))
    dropped = quantize(model, tmp_path / "dropped", "int8-32")
    assert not limits(dropped.path)


def limits(path: Path) -> dict[str, float]:
    found = read_safetensors(path / "model.safetensors")
    return {name: float(t.data.view("<f4")[0]) for name, t in found.items() if name.endswith(SUFFIX)}


def test_mistakes_are_named_before_the_work(source: Path, text: Path, tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="static needs a calibration text"):
        quantize(source, tmp_path / "out", "keep", static=True)
    with pytest.raises(ParameterError, match="keep leaves everything unchanged"):
        quantize(source, tmp_path / "out", "keep")
    with pytest.raises(ParameterError, match="a GGUF file has no place for input scales"):
        quantize(source, tmp_path / "out.gguf", "q8_0", static=True, calibrate=text)
    with pytest.raises(ParameterError, match="static activations are not supported for mixtures of experts"):
        quantize(write_tiny(tmp_path / "moe.gguf", "olmoe"), tmp_path / "out", "keep", static=True, calibrate=text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["moe.gguf"]
