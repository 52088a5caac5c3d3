"""Quantisers of several planes against their papers' rules: trits, outlier columns, widely linear phases."""

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.numerics.activations import SCHEMES, quantize
from intact.numerics.gather import gather
from intact.numerics.matmul import matmul
from intact.numerics.outliers import outlier_blocks, with_rest
from intact.numerics.weights import BlockWeight, centred, model_values
from intact.quantizing.mixing import size_of
from intact.quantizing.quantizers import QUANTIZERS, InputStatistics, QuantizedMatrix, parse_spec, parse_target
from intact.quantizing.quantizers.fairy2i import phases, real_form, widely_linear
from intact.quantizing.quantizers.fixed import fix_rows
from intact.quantizing.quantizers.ptqtp import PAIRS, fit_planes, levels_of, nearest_pairs


def quantized(text: str, matrix: np.ndarray, inputs: InputStatistics | None = None) -> QuantizedMatrix:
    spec = parse_spec(text)
    return QUANTIZERS[spec.quantizer](matrix, spec, inputs)


def relative(got: np.ndarray, matrix: np.ndarray) -> float:
    return float(np.sqrt(np.mean((got - matrix) ** 2) / np.mean(matrix.astype(float) ** 2)))


def alternate(w: np.ndarray) -> np.ndarray:
    """Return the two scales of one block by PTQTP's rule, with matrices and over all nine pairs."""
    pairs = np.array(PAIRS, float)
    s = np.repeat(np.sign(w)[:, None], 2, axis=1)
    scales = np.zeros(2)
    for _ in range(50):
        ridge = 1e-8
        while ridge < 1 and np.linalg.cond(s.T @ s + ridge * np.eye(2)) > 1e6:
            ridge *= 10
        new = np.linalg.solve(s.T @ s + ridge * np.eye(2), s.T @ w)
        moved = np.abs(new - scales).max() >= 1e-4 * np.abs(new).max()
        scales = new
        if not moved:
            break
        s = pairs[np.round(np.abs(w[:, None] - pairs @ scales), 2).argmin(axis=1)]  # ties to the first
    return scales


def test_free_scales_are_those_of_the_alternation() -> None:
    x = fix_rows(np.random.default_rng(3).standard_normal((40, 128)).astype(np.float32)).x
    got = fit_planes(x)
    for row, scales in zip(x, got, strict=True):
        assert scales == pytest.approx(alternate(row), rel=1e-6)


@pytest.mark.parametrize("scales", [(5.0, 2.0), (4.0, 4.0), (0.0, 0.0), (-3.0, 7.5), (6.0, 0.0), (2.0, 1.0)])
def test_each_weight_takes_the_nearest_pair_and_of_equals_the_sparser(scales: tuple[float, float]) -> None:
    x = np.arange(-40.0, 41.0)[None]
    got = nearest_pairs(x, levels_of(np.array([scales])))[0]
    values = np.array(PAIRS, float) @ scales
    for value, pair in zip(x[0], got, strict=True):
        distance = np.abs(value - values)
        assert distance[pair] == distance.min()
        assert pair == np.flatnonzero(distance == distance.min())[0]


def test_two_free_planes_err_less_than_tied_ones() -> None:
    matrix = np.random.default_rng(5).standard_normal((32, 512)).astype(np.float32)
    free, tied = (model_values(quantized(spec, matrix).weight) for spec in ("ptqtp:trits", "ptqtp:trits2"))
    assert relative(free, matrix) < relative(tied, matrix) < 0.18
    weight = quantized("ptqtp:trits", matrix).weight
    assert (weight.bits, weight.columns) == (2, 1024)
    assert weight.inputs is not None
    assert weight.inputs.index.tolist() == [*range(512), *range(512)]
    assert set(np.unique(centred(weight))) == {-1, 0, 1}


def test_zeros_and_rows_that_are_padded_stay_exact() -> None:
    matrix = np.zeros((3, 40), np.float32)
    matrix[1, 5:20] = 0.5
    weight = quantized("ptqtp:trits-32", matrix).weight
    got = model_values(weight)
    assert np.all(got[matrix == 0] == 0)
    assert np.allclose(got, matrix, rtol=1e-4)
    assert weight.inputs is not None
    assert weight.inputs.index.tolist() == [*range(40), *[-1] * 24] * 2


def test_grids_of_planes_belong_to_their_quantisers() -> None:
    for text in ("trits", "gptq:phases1"):
        with pytest.raises(ParameterError, match=r"has several planes; use it with (ptqtp|fairy2i)"):
            parse_spec(text)
    with pytest.raises(
        ParameterError, match="planes have 40960 columns for 20480 inputs; products support at most 32768"
    ):
        quantized("ptqtp:trits", np.ones((1, 20480), np.float32))


def test_the_widely_linear_form_is_the_matrix() -> None:
    """y = U x + W conj(x), exactly, in integers."""
    draw = np.random.default_rng(1)
    a, x = draw.integers(-1000, 1000, (6, 10)), draw.integers(-50, 50, 10)
    (ur, ui), (wr, wi) = widely_linear(a)
    z = x[:5] + 1j * x[5:]
    y = (ur + 1j * ui) @ z + (wr + 1j * wi) @ z.conj()
    assert np.array_equal(np.concatenate([y.real, y.imag]), 2 * (a @ x))
    assert np.array_equal(real_form(ur, ui, conjugate=False) + real_form(wr, wi, conjugate=True), 2 * a)


@pytest.mark.parametrize(("grid", "stages"), [("phases1", 1), ("phases2", 2)])
def test_phases_are_those_of_complex_numbers(grid: str, stages: int) -> None:
    """Against the rule in complex float64: the nearest of 1, i, -1, -i by phase, means of sizes, then what is left."""
    matrix = np.random.default_rng(7).standard_normal((8, 128)).astype(np.float32)
    a = matrix.astype(float)
    n, k = 4, 64
    a11, a12, a21, a22 = a[:n, :k], a[:n, k:], a[n:, :k], a[n:, k:]
    wanted = np.zeros_like(a)
    u, w = ((a11 + a22) + 1j * (a21 - a12)) / 2, ((a11 - a22) + 1j * (a12 + a21)) / 2
    for left, conjugate in ((u, False), (w, True)):
        for _ in range(stages):
            turn = np.round(np.angle(left) / (np.pi / 2)) % 4
            real = turn % 2 == 0
            re, im = np.abs(left.real[real]).mean(), np.abs(left.imag[~real]).mean()
            one = np.where(real, re * np.sign(left.real), 1j * im * np.sign(left.imag))
            left = left - one
            wanted += real_form(one.real, one.imag, conjugate)
    assert np.abs(model_values(quantized(f"fairy2i:{grid}", matrix).weight) - wanted).max() < 1e-3


def test_a_second_stage_errs_less() -> None:
    matrix = np.random.default_rng(8).standard_normal((64, 256)).astype(np.float32)
    one, two = (relative(model_values(quantized(f"fairy2i:phases{t}", matrix).weight), matrix) for t in (1, 2))
    assert two < 0.4 < one < 0.65
    assert phases(np.zeros((1, 1), np.int64), np.zeros((1, 1), np.int64))[2:] == (0, 0)


def test_odd_matrices_have_no_halves() -> None:
    with pytest.raises(ParameterError, match="a matrix of 3 x 64 cannot be halved; expected even numbers"):
        quantized("fairy2i:phases1", np.ones((3, 64), np.float32))


def statistics(largest: np.ndarray, exponent: int = -10) -> InputStatistics:
    sizes = np.round(largest * 2.0**-exponent).astype(np.int64)
    return InputStatistics(8, exponent, np.diag(sizes * sizes), sizes, sizes)


def test_outliers_are_wide_and_the_rest_as_without_them() -> None:
    draw = np.random.default_rng(9)
    matrix = draw.standard_normal((16, 96)).astype(np.float32)
    matrix[:, 40] *= 50
    matrix[3] *= 1000
    matrix[5, [7, 40]] = 0
    matrix[6, np.arange(96) != 7] *= 1e-4
    largest = np.full(96, 5.99)
    apart = [7, 40, 95]
    largest[apart] = [6.0, 80.0, 7.5]
    weight = quantized("llm_int8:int8s-row@largest", matrix, statistics(largest)).weight
    assert weight.inputs is not None
    index = weight.inputs.index
    assert [i for i in range(96) if index[i] != i] == apart
    assert index[96:].tolist() == [*apart, *[-1] * 29] * 2
    got = model_values(weight)
    size = np.abs(matrix[:, apart]).max(axis=1, keepdims=True)
    rest = np.delete(np.arange(96), apart)
    most = np.abs(matrix[:, rest]).max(axis=1, keepdims=True)
    floor = (size + most) * 2.0**-14
    assert np.all(np.abs(got - matrix)[:, apart] <= size / 127 / 128 * 0.55 + floor)
    assert np.all(np.abs(got - matrix)[:, rest] <= most / 127 * 0.55 + floor)
    sizes = np.abs(centred(weight)[:, 128:]).max()
    assert sizes <= 64


def product(x: np.ndarray, weight: BlockWeight, scheme: str) -> np.ndarray:
    """A product as a program has it, in a scheme of activations: inputs gathered, quantised and multiplied."""
    index = None if weight.inputs is None else weight.inputs.index
    blocks = 0 if index is None or not SCHEMES[scheme].outliers else outlier_blocks(index)
    weight = with_rest(weight, blocks) if blocks else weight
    rows = np.rint(x * (1 << 20)).astype(np.int64)
    rows = rows if weight.inputs is None else gather(rows, weight.inputs.index)
    return np.ldexp(matmul(quantize(rows, 20, SCHEMES[scheme], blocks), weight, 20).astype(float), -20)


def test_outliers_cost_other_inputs_no_precision() -> None:
    """The paper's case: a few inputs are 60 times as large as the others (arXiv 2208.07339, section 4)."""
    draw = np.random.default_rng(3)
    matrix = draw.standard_normal((24, 256)).astype(np.float32)
    x = draw.standard_normal((40, 256))
    x[:, [3, 80, 200]] *= 60
    weight = quantized("llm_int8:int8s-row@largest", matrix, statistics(np.abs(x).max(axis=0))).weight
    plain = quantized("int8s-row@largest", matrix).weight
    exact = x @ matrix.T.astype(float)
    error = {
        (name, scheme): relative(product(x, one, scheme), exact)
        for name, one in (("apart", weight), ("plain", plain))
        for scheme in ("int8_row", "llm_int8")
    }
    assert error["plain", "llm_int8"] == error["plain", "int8_row"]
    assert error["apart", "llm_int8"] < error["apart", "int8_row"] / 10
    assert error["apart", "llm_int8"] < error["plain", "int8_row"] / 10


def test_without_outliers_it_is_rounding() -> None:
    matrix = np.random.default_rng(10).standard_normal((4, 64)).astype(np.float32)
    weight = quantized("llm_int8:int8s-row@largest", matrix, statistics(np.full(64, 5.9))).weight
    other = quantized("int8s-row@largest", matrix).weight
    assert weight.inputs is None
    for one, two in zip(weight, other, strict=True):
        assert np.array_equal(one, two)


def test_a_mixture_cannot_plan_with_outliers() -> None:
    with pytest.raises(
        ParameterError, match="the number of bits that llm_int8:int8s-row@largest needs depends on the text"
    ):
        parse_target("mix:8.6(llm_int8:int8s-row@largest|int4-32)")


@pytest.mark.parametrize("block", ["16", "32", "64", "row"])
def test_columns_of_most_impact_are_rounded_twice(block: str) -> None:
    """Against the rule in float64: the errors of one rounding rank the columns, and are rounded again in these."""
    draw = np.random.default_rng(11)
    matrix = draw.standard_normal((12, 192)).astype(np.float32)
    matrix[4] *= 100
    sizes = draw.uniform(0.1, 2, 192)
    inputs = statistics(sizes)
    once = model_values(quantized(f"int2-{block}", matrix).weight)
    cost = ((once - matrix.astype(float)) ** 2).sum(axis=0) * inputs.second.diagonal()
    apart = np.sort(np.argsort(-cost)[:32])
    weight = quantized(f"impact5:int2-{block}", matrix, inputs).weight
    assert weight.inputs is not None
    assert weight.inputs.index.tolist() == [*range(192), *apart]
    got = model_values(weight)
    rest = np.delete(np.arange(192), apart)
    assert np.abs(got - once)[:, rest].max() < 1e-3 * np.abs(matrix).max()
    assert relative(got[:, apart], matrix[:, apart]) < 0.5 * relative(once[:, apart], matrix[:, apart])


def test_shares_are_whole_blocks_and_mixtures_plan_with_them() -> None:
    matrix = np.random.default_rng(12).standard_normal((8, 640)).astype(np.float32)
    inputs = statistics(np.ones(640))
    for share, columns in ((2, 32), (5, 32), (10, 64), (20, 128)):
        spec = parse_spec(f"impact{share}:int2-16")
        weight = QUANTIZERS[spec.quantizer](matrix, spec, inputs).weight
        assert weight.columns == 640 + columns
        assert size_of(matrix.shape, spec, in_file=False) == 16 * 3 * 8 * weight.columns
    assert parse_target("mix:3.2(impact2:int2-16|impact10:int2-16|impact20:int2-16)")
    with pytest.raises(ParameterError, match="impact5 supports the grids int2, int3, int4, not nf4"):
        parse_spec("impact5:nf4")
    with pytest.raises(ParameterError, match="impact5:int2-32@search needs calibration"):
        quantized("impact5:int2-32", matrix)


def test_ridges_keep_the_first_round_apart() -> None:
    """At the beginning both planes are equal: both scales get half of the size each."""
    assert fit_planes(np.full((1, 32), 4.0))[0] == pytest.approx([2, 2], rel=1e-3)
    assert fit_planes(np.zeros((1, 32)))[0].tolist() == [0, 0]


def test_weights_that_were_trained_as_four_phases_are_kept() -> None:
    """iFairy's matrices: U of four phases with a size for the real and one for the imaginary ones, and no W."""
    which = np.random.default_rng(5).integers(0, 4, (24, 48))
    re = np.where(which % 2 == 0, 1 - which, 0) * np.float32(0.037)
    im = np.where(which % 2 == 1, 2 - which, 0) * np.float32(0.0211)
    matrix = np.block([[re, -im], [im, re]]).astype(np.float32)
    assert np.abs(model_values(quantized("fairy2i:phases1", matrix).weight) - matrix).max() <= 0.037 * 2.0**-15
