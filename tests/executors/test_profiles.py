"""Profiles with other activations: each is what it says, every executor agrees, and receipts state it."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import intact
from intact._base.errors import ParameterError, ReceiptError
from intact._native import kernels
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.measure.conformance.synthetic import random_tensor
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Linear
from intact.models.ops.linear import kept_inputs
from intact.numerics.activations import INT8, SCHEMES, Quantized, Scheme, block_sums, quantize
from intact.numerics.exact_product import dropped, exact_product, shift_limbs
from intact.numerics.profiles import parse_profile
from intact.numerics.sparsity import Sparsity, column_norms, sparsify
from intact.numerics.weights import BlockWeight, from_blocks, model_values
from intact.receipts.document import Receipt
from intact.receipts.model_digests import Numerics
from intact.receipts.verify import verify
from support.examples import examples
from support.tiers import tiers_with
from support.tiny import write_tiny

TIERS = available_tiers()
OTHERS = [scheme for scheme in SCHEMES.values() if scheme is not INT8 and not scheme.wide and not scheme.static]
MIXED = (
    "int8_row", "llm_int8", "int4", "mxint8", "mxfp4", "mxfp6", "mxfp8", "mxfp8e5m2", "int8+wina50", "mxfp4+teal25",
    "int8+random40",
)  # fmt: skip


def native(tier: str, x: np.ndarray, fraction: int, scheme: Scheme) -> kernels.Rows:
    return kernels.quantize_to(tier, x, fraction, *scheme.native)


def assert_rows(rows: kernels.Rows, expected: Quantized) -> None:
    assert np.array_equal(rows.codes, expected.codes)
    assert np.array_equal(rows.scale, expected.scale)
    assert np.array_equal(rows.exponent, expected.exponent)
    for block in (32, 16):
        sums, exponent = block_sums(expected, block)
        assert np.array_equal(getattr(rows, f"minima{block}")[:, : sums.shape[1]], sums)
        assert np.array_equal(getattr(rows, f"minima{block}_exp"), exponent)


def draw(rng: np.random.Generator, rows: int, columns: int, bits: int) -> np.ndarray:
    x = np.rint(np.clip(rng.normal(0, 2.0**bits, (rows, columns)), -(2.0**61), 2.0**61)).astype(np.int64)
    x[rng.random(x.shape) < rng.choice([0, 0.3, 0.99])] = 0
    return x


@pytest.mark.native
@pytest.mark.parametrize("scheme", OTHERS, ids=lambda s: s.name)
@given(st.integers(1, 3), st.integers(1, 130), st.integers(0, 61), st.integers(0, 2**32))
@examples(60)
def test_rows_are_quantised_as_in_the_reference(scheme: Scheme, rows: int, columns: int, bits: int, seed: int) -> None:
    x = draw(np.random.default_rng(seed), rows, columns, bits)
    for tier in TIERS:
        assert_rows(native(tier, x, 16, scheme), quantize(x, 16, scheme))


@pytest.mark.native
@pytest.mark.parametrize("scheme", OTHERS, ids=lambda s: s.name)
def test_rows_at_the_edges_of_their_exponent(scheme: Scheme) -> None:
    most = scheme.largest * scheme.largest_scale
    for edge in (1, scheme.largest, scheme.largest + 1, most - 1, most, most + 1, 1 << 20, most << 30, (1 << 61) - 1):
        x = np.stack([np.full(70, edge), np.full(70, -edge), np.linspace(-edge, edge, 70).astype(np.int64)])
        expected = quantize(x, 20, scheme)
        assert np.abs(expected.codes.astype(int)).max() <= scheme.largest
        assert 1 <= expected.scale.min() <= expected.scale.max() <= scheme.largest_scale
        for tier in TIERS:
            assert_rows(native(tier, x, 20, scheme), expected)


LEVELS = {
    "int4": [*range(8)],
    "mxfp4": [0, 0.5, 1, 1.5, 2, 3, 4, 6],
    "mxfp6": [m / 8 for m in range(8)] + [2.0**e * (1 + m / 8) for e in range(3) for m in range(8)],
    "mxfp8": [m / 512 for m in range(8)] + [2.0**e * (1 + m / 8) for e in range(-6, 9) for m in range(8)][:-1],
    "mxfp8e5m2": [m / 65536 for m in range(4)] + [2.0**e * (1 + m / 4) for e in range(-14, 16) for m in range(4)],
}


UNITS = {"mxfp4": 2, "mxfp6": 8, "mxfp8": 512, "mxfp8e5m2": 65536}


@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_those_of_the_formats_and_the_nearest(name: str) -> None:
    """An independent search among the levels that the formats' definitions give."""
    scheme = SCHEMES[name]
    unit = scheme.step * (1 if name == "int4" else UNITS[name])
    levels = np.unique(np.array([s * level for level in LEVELS[name] for s in (1, -1)]) * unit)
    assert levels.max() == scheme.largest
    x = draw(np.random.default_rng(3), 8, 64, 40)
    a = quantize(x, 0, scheme)
    assert set(a.codes.ravel().tolist()) <= set(levels.tolist())
    scale = np.repeat(a.scale.astype(float), 32, axis=1) * 2.0 ** a.exponent[:, None]
    errors = np.abs(x[..., None] / scale[..., None] - levels).min(axis=-1)
    assert (np.abs(x / scale - a.codes) <= errors + 2.0**-6 * unit).all()
    if scheme.power:
        assert (np.log2(a.scale) % 1 == 0).all()


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_1", "Q6_K", "Q2_K"])
@pytest.mark.parametrize("name", ["mxfp8", "mxfp8e5m2"])
def test_products_of_wide_codes_are_exact(name: str, kind: str) -> None:
    """Python's integers, of weights with minima and without, in blocks of 32 and of 16."""
    rng = np.random.default_rng(1)
    columns = 512
    w = from_blocks(kind, np.frombuffer(random_tensor("w", kind, (5, columns), 1.0), np.uint8), (5, columns))
    a = quantize(draw(rng, 3, columns, 30), 16, SCHEMES[name])
    table = range(1 << w.bits) if w.table is None else w.table.tolist()
    plain = w._replace(minimum=None, minimum_exp=None)
    for m, n in np.ndindex(3, 5):
        total = 0
        for b in range(columns // w.block):
            at = range(b * w.block, (b + 1) * w.block)
            acc = sum(int(a.codes[m, i]) * (table[w.codes[n, i]] - w.zero) for i in at)
            total += acc * ((int(w.scale[n, b]) * int(a.scale[m, b * w.block // 32]) + 32) >> 6)
        left = 6 + 20 + int(w.scale_exp[n]) + int(a.exponent[m])
        exact = Fraction(total) * Fraction(2) ** left
        assert exact_product(a, plain, 20)[m, n] == (exact + Fraction(1, 2)).__floor__()
    real = a.codes * np.repeat(a.scale.astype(float), 32, axis=1) * 2.0 ** a.exponent[:, None].astype(float)
    expected = real @ model_values(w).astype(float).T
    assert np.abs(exact_product(a, w, 20) / 2**20 - expected).max() < 2e-3 * np.abs(expected).max()


@given(st.integers(-(1 << 60), 1 << 60), st.integers(-(1 << 60), 1 << 60), st.integers(-40, 90))
@examples(200)
def test_sums_of_two_limbs_are_shifted_as_one_number(high: int, low: int, s: int) -> None:
    whole = high * 65536 + low
    if s <= 16:
        whole = min(max(whole, -(1 << 62)), 1 << 62)
    if s >= 0:
        expected = (whole + (1 << s >> 1)) >> s if s < 79 else 0
    else:
        expected = min(max(whole, 1 - (1 << 31)), (1 << 31) - 1) << min(-s, 31)
    found = shift_limbs(np.array([high]), np.array([low]), np.array([s]))
    assert found.tolist() == [expected]


def test_wide_rows_keep_their_bits_where_they_are_shifted_to_the_left() -> None:
    """Codes of 32 bits: a row of 2^40 is scaled up, and no value of it is cut off at 31 bits."""
    x = np.array([[1 << 40, (1 << 40) - (1 << 36), 3 << 20, -(1 << 33)]])
    a = quantize(x, 16, SCHEMES["mxfp8e5m2"])
    values = a.codes * np.repeat(a.scale.astype(float), 32, axis=1) * 2.0 ** (a.exponent[:, None].astype(float) + 16)
    assert values[0, :4].tolist() == [float(1 << 40), float(1 << 40), float(3 << 20), -float(1 << 33)]


def test_ties_go_to_the_even_level() -> None:
    block = np.zeros((1, 32), np.int64)
    block[0, :8] = np.array([12, 10, 14, 5, 7, 1, 3, 9]) * 4 << 12  # halves of E2M1's unit, below a largest of 6
    block[0, 8] = 96 << 12
    codes = quantize(block, 0, SCHEMES["mxfp4"]).codes[0, :9].tolist()
    assert codes == [v * 8 for v in (6, 4, 8, 2, 4, 0, 2, 4, 12)]


def test_one_scale_serves_a_whole_row() -> None:
    a = quantize(draw(np.random.default_rng(0), 4, 96, 30), 16, SCHEMES["int8_row"])
    assert (a.scale == a.scale[:, :1]).all()


@given(st.integers(1, 100), st.integers(1, 99), st.booleans(), st.integers(0, 2**32))
@examples(60)
def test_the_inputs_of_the_largest_scores_stay(columns: int, percent: int, weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = draw(rng, 3, columns, 12)
    a = quantize(x, 16)
    norms = rng.integers(0, 1 << 15, columns).astype(np.int32) if weighted else None
    keep = Sparsity("wina", percent).kept(columns)
    expected = sparsify(a, columns, keep, norms)
    for row in range(3):
        sizes = [abs(int(c)) * int(a.scale[row, i // 32]) for i, c in enumerate(a.codes[row, :columns])]
        order = sorted(range(columns), key=lambda i: (-sizes[i] * (1 if norms is None else int(norms[i])), i))
        stays = set(order[:keep])
        assert [i in stays and int(a.codes[row, i]) for i in range(columns)] == expected.codes[row, :columns].tolist()
    for tier in TIERS:
        for rule in ("wina", "random"):
            rows = kernels.quantize_wide(tier, x, 16)
            kernels.sparsify(tier, rows, columns, keep, norms, rule == "random")
            assert_rows(rows, sparsify(a, columns, keep, norms, rule))


def test_norms_are_those_of_the_columns() -> None:
    w = np.random.default_rng(0).standard_normal((300, 40)).astype(np.float32)
    w[:, 3] *= 7
    norms = column_norms([w[:100], w[100:]])
    exact = np.linalg.norm(w.astype(float), axis=0)
    assert norms.max() >= 1 << 14
    assert np.allclose(norms / norms.max(), exact / exact.max(), atol=2.0**-13)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    return build_program(open_checkpoint(write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")))


def run(executor: NativeExecutor | ReferenceExecutor, cuts: tuple[int, ...] = ()) -> np.ndarray:
    executor.reserve_pages(2)
    rows = []
    for start, end in pairwise((0, *cuts, 21)):
        chunk = SequenceChunk(start, np.arange(start, end, dtype=np.int32) + 5, np.arange(2, dtype=np.int32))
        rows.append(np.array(executor.step([chunk], np.arange(end - start, dtype=np.int64))))
    return np.concatenate(rows)


@pytest.mark.parametrize("name", ["mxfp8", "mxfp8e5m2"])
def test_wide_codes_and_values_of_many_bits_stay_within_int64(name: str) -> None:
    """Tables up to 32,767 as large as an input can be, over the most inputs: the sum keeps its sign and its size."""
    columns = 32768
    table = np.zeros(16, np.int16)
    table[1] = 32767
    w = BlockWeight(
        np.ones((1, columns), np.uint8), 4, 32, 0, 5, table, np.full((1, columns // 32), 32767, np.int16),
        np.array([-30], np.int32), None, None, columns,
    )  # fmt: skip
    scheme = SCHEMES[name]
    a = quantize(np.full((1, columns), scheme.largest << 12, np.int64), 16, scheme)
    assert (a.scale == 1 << 12).all()
    assert (a.codes == scheme.largest).all()
    assert dropped(table.astype(np.int64)) == 13
    exact = columns * 32767**2 * 2.0**-30 * scheme.largest * 2**-4
    exact = min(exact, 2.0**50)  # where results are clipped
    assert abs(exact_product(a, w, 0)[0, 0] / exact - 1) < 1e-4


@pytest.mark.native
@pytest.mark.parametrize("profile", MIXED)
@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 3))
def test_no_setting_changes_a_bit(program: Program, profile: str, tier: str, threads: int) -> None:
    expected = run(ReferenceExecutor(program, profile=profile))
    assert not np.array_equal(expected, run(NativeExecutor(program)))
    for cuts in ((), (1, 2, 15)):
        assert np.array_equal(run(NativeExecutor(program, profile, tier=tier, threads=threads), cuts), expected)


@pytest.mark.native
@pytest.mark.parametrize("profile", ["mxfp4", "mxfp8", "mxfp8e5m2", "int8+wina50"])
def test_sequences_beside_each_other_change_no_bit(program: Program, profile: str) -> None:
    alone = run(ReferenceExecutor(program, profile=profile))
    executor = NativeExecutor(program, profile, threads=2)
    executor.reserve_pages(4)
    chunks = [
        SequenceChunk(0, np.arange(count, dtype=np.int32) + first, np.array(pages, np.int32))
        for count, first, pages in ((21, 5, (2, 0)), (7, 40, (3,)), (21, 5, (1,)))
    ]
    got = np.array(executor.step(chunks, np.arange(49, dtype=np.int64)))
    assert np.array_equal(got[:21], alone)
    assert np.array_equal(got[28:], alone)


def test_products_keep_their_share_of_inputs(program: Program) -> None:
    op = next(op for op in program.ops if isinstance(op, Linear))
    kept = kept_inputs(program, op, parse_profile("int8+wina65"))
    assert kept is not None
    assert kept.keep == -(-program.buffers[op.source].width * 35 // 100)
    executor = NativeExecutor(program, "int8+teal65")
    executor.recording = True
    run(executor)
    found = executor.recorded(program.ops.index(op))
    assert ((found.codes != 0).sum(axis=1) <= kept.keep).all()


@pytest.mark.parametrize(
    "name",
    ["int9", "", "fp32+wina50", "int8+wina0", "int8+wina100", "int8+", "mxfp4+top5", "mxfp8+wina50", "mxfp8e5m2+teal5"],
)
def test_a_profile_that_does_not_exist_is_refused(name: str, tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    with pytest.raises(ParameterError, match=r"profile(: sparse inputs go with| must)"):
        intact.load(path, name)
    with pytest.raises(ReceiptError, match="profile"):
        Numerics.from_document({"version": "1", "profile": name, "bits": 8})


def test_receipts_state_the_profile_and_are_verified_in_it(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "tiny.gguf")
    model = intact.load(path, "mxfp4+wina25")
    completion = model.generate("the cat", max_tokens=8, receipt=True)[0][0]
    receipt = completion.receipt
    assert receipt is not None
    receipt = Receipt.parse(receipt.encode())
    assert receipt.header.numerics.profile == "mxfp4+wina25"
    (verdict,) = verify(model, [receipt])
    assert verdict.outcome == "true"
    (verdict,) = verify(intact.load(path), [receipt])
    assert (verdict.outcome, verdict.what) == ("unverifiable", "numerics")
