"""GGUF's block types as specs: what is written is what was chosen, near the least error, as gguf-py reads it."""

import itertools
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from intact._base.errors import ModelError, ParameterError
from intact.numerics.dequantize import dequantize
from intact.numerics.encode import WRITTEN, BlockScales, encode
from intact.numerics.grids import GRIDS
from intact.numerics.weight_formats import BLOCK_FORMATS, BlockFields
from intact.numerics.weight_formats.iq_grids import GRIDS as CODEBOOKS
from intact.numerics.weights import from_blocks, values
from intact.quantizing.quantizers import QUANTIZERS, InputStatistics, parse_spec
from intact.quantizing.quantizers.block_scales import BlockProblem, round_half
from intact.quantizing.quantizers.block_types import BLOCK_SPECS, BLOCK_TYPES, PLAIN_TYPES
from intact.quantizing.quantizers.codebooks import MoveSearch, search_of, sizes_of

ROWS, COLUMNS = 12, 512
RELATIVE = {  # of Gaussian weights: the error's root mean square in their standard deviations
    "q8_0": 0.005, "q6_k": 0.018, "q5_k": 0.036, "q5_1": 0.036, "q5_0": 0.043, "q4_k": 0.074, "q4_1": 0.074,
    "q4_0": 0.086, "iq4_nl": 0.078, "iq4_xs": 0.079, "mxfp4": 0.118, "q3_k": 0.155, "q2_k": 0.285,
    "iq3_s": 0.135, "iq3_xxs": 0.187, "iq2_s": 0.252, "iq2_xs": 0.303, "iq2_xxs": 0.345, "iq1_s": 0.51,
    "iq1_m": 0.46,
}  # fmt: skip


def matrix_of(rows: int = ROWS) -> NDArray[np.float32]:
    draw = np.random.default_rng(5)
    matrix = draw.standard_normal((rows, COLUMNS)) * np.exp2(draw.integers(-6, 1, (rows, 1)))
    matrix[1] = 0
    matrix[2, :256] = 0
    matrix[3, 32:64] *= 2.0**-20
    return matrix.astype(np.float32)


@cache
def statistics() -> InputStatistics:
    draw = np.random.default_rng(6)
    x = np.round(draw.standard_normal((2048, COLUMNS)) * np.exp(draw.standard_normal(COLUMNS)) * 1000).astype(np.int64)
    x[:, 7] = 0
    second = (x.astype(np.float64).T @ x.astype(np.float64)).astype(np.int64)  # below 2^53
    return InputStatistics(len(x), -10, second, np.abs(x).max(axis=0), np.abs(x).sum(axis=0))


def test_every_type_that_is_written_is_a_spec() -> None:
    assert {kind.name for kind in BLOCK_TYPES.values()} == set(WRITTEN)
    for name, kind in BLOCK_TYPES.items():
        spec = parse_spec(name)
        assert str(spec) == f"nearest:{BLOCK_SPECS[name]}"
        assert spec.bits_per_weight() == 8 * kind.form.size / kind.form.values
        halves = 16 * (1 + (kind.form.minimum_at is not None))
        assert spec.stored_bits() == kind.form.bits + halves / kind.form.block
        table = np.array(kind.form.table or range(1 << kind.form.bits))
        levels = np.array(GRIDS[kind.grid].levels)
        assert np.array_equal(table[kind.codes(GRIDS[kind.grid].levels)] - kind.form.zero, levels)


@pytest.mark.parametrize("name", WRITTEN)
def test_random_blocks_are_packed_as_they_were_unpacked(name: str) -> None:
    form = BLOCK_FORMATS[name]
    blocks = np.random.default_rng(1).integers(0, 256, (6, 2, form.size)).astype(np.uint8)
    for half in form.halves:
        half.write(blocks, half.read(blocks) & np.uint16(0x3BFF))  # finite
    codes, scale, minimum = form.unpack(blocks)
    halves = tuple(half.read(blocks).view(np.float16).astype(np.float64) for half in form.halves)
    stored = minimum if form.minimum_at is None or form.name in ("Q2_K", "Q4_K", "Q5_K") else None
    again = encode(name, codes.reshape(6, -1), BlockScales(halves, scale, stored))
    assert np.array_equal(again, blocks.reshape(-1))


@pytest.mark.parametrize("name", list(BLOCK_TYPES))
@pytest.mark.parametrize("quantizer", ["nearest", "imatrix", "gptq"])
def test_the_file_holds_the_weight_that_was_chosen(name: str, quantizer: str) -> None:
    if quantizer == "gptq" and name not in PLAIN_TYPES:
        with pytest.raises(ParameterError, match=f"gptq supports the rules .*, not {name}"):
            parse_spec(f"gptq:{name}")
        return
    spec = parse_spec(f"{quantizer}:{name}")
    matrix = matrix_of()
    made = QUANTIZERS[quantizer](matrix, spec, None if quantizer == "nearest" else statistics())
    assert made.blocks is not None
    kind = BLOCK_TYPES[name].name
    for mine, theirs in zip(made.weight, from_blocks(kind, made.blocks, matrix.shape), strict=True):
        assert np.array_equal(mine, theirs) if isinstance(mine, np.ndarray) else mine == theirs
    read = dequantize(kind, made.blocks, matrix.shape).astype(np.float64)
    assert np.abs(values(made.weight) - read).max() <= 2.0**-13 * np.abs(matrix).max()
    assert np.all(np.abs(read[1]) <= 2.0**-16)
    if quantizer == "nearest":
        living = [0, *range(4, ROWS)]
        error = np.square(read - matrix)[living].sum(axis=1) / np.square(matrix.astype(np.float64))[living].sum(axis=1)
        assert np.sqrt(error).max() < 1.1 * RELATIVE[name]


@pytest.mark.parametrize("name", list(BLOCK_TYPES))
def test_gguf_py_reads_the_same_floats(name: str) -> None:
    quants = pytest.importorskip("gguf.quants")
    kind = BLOCK_TYPES[name].name
    made = QUANTIZERS["nearest"](matrix_of(), parse_spec(name), None)
    assert made.blocks is not None
    theirs = quants.dequantize(made.blocks.reshape(ROWS, -1), quants.GGMLQuantizationType[kind])
    assert np.array_equal(theirs, dequantize(kind, made.blocks, (ROWS, COLUMNS)))


@pytest.mark.parametrize("name", ["q4_0", "q5_1", "q8_0", "mxfp4"])
def test_the_error_is_below_that_of_the_reference_quantiser(name: str) -> None:
    quants = pytest.importorskip("gguf.quants")
    kind = quants.GGMLQuantizationType[BLOCK_TYPES[name].name]
    matrix = matrix_of(64)
    made = QUANTIZERS["nearest"](matrix, parse_spec(name), None)
    assert made.blocks is not None
    ours = dequantize(kind.name, made.blocks, matrix.shape)
    theirs = quants.dequantize(quants.quantize(matrix, kind), kind)
    assert np.square(ours - matrix).sum() < np.square(theirs - matrix).sum()


@pytest.mark.parametrize("name", [name for name in BLOCK_TYPES if name != "mxfp4"])
def test_weights_of_errors_lower_the_weighted_error(name: str) -> None:
    matrix, inputs = matrix_of(), statistics()
    plain = QUANTIZERS["nearest"](matrix, parse_spec(name), None).weight
    weighted = QUANTIZERS["imatrix"](matrix, parse_spec(f"imatrix:{name}"), inputs).weight
    h = inputs.second.diagonal().astype(np.float64)
    before, after = ((np.square(values(w) - matrix) * h).sum() for w in (plain, weighted))
    assert after < before


def weights_of(inputs: InputStatistics | None) -> NDArray[np.float64]:
    """The weights of errors, of two rows: second moments as integers below 2^8 in each block of 256."""
    if inputs is None:
        return np.ones((2, COLUMNS))
    second = inputs.second.diagonal().reshape(-1, 256).astype(np.float64)
    whole = np.maximum(1, np.floor(second / second.max(axis=1, keepdims=True) * 256 + 0.5))
    return np.tile(whole.reshape(-1), (2, 1))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", [name for name, kind in BLOCK_TYPES.items() if kind.codebook and not kind.moved])
def test_no_entry_and_no_sign_of_a_codebook_errs_less(name: str, weighted: bool) -> None:
    kind, matrix = BLOCK_TYPES[name], matrix_of()[[0, 4]]
    inputs = statistics() if weighted else None
    spec = parse_spec(f"imatrix:{name}" if weighted else name)
    made = QUANTIZERS[spec.quantizer](matrix, spec, inputs).blocks
    assert made is not None
    scale = kind.form.unpack(made.reshape(2, COLUMNS // 256, -1)).scale
    d = np.ascontiguousarray(made.reshape(2, -1, kind.form.size)[..., :2]).view("<f2")[..., 0].astype(np.float64)
    assert scale is not None
    steps = np.repeat(d[..., None] * scale * 2.0**-kind.form.fraction, kind.form.block, axis=-1).reshape(-1, 8)
    entries = {tuple(sizes) for sizes in sizes_of(kind)}
    width = len(next(iter(entries)))
    sizes = np.array(sorted(entries))
    read = dequantize(kind.name, made, matrix.shape).astype(np.float64).reshape(-1, 8)
    wanted = matrix.astype(np.float64).reshape(-1, 8)
    h = weights_of(inputs).reshape(-1, 8)
    for i in range(0, len(read), 5):
        chosen = (h[i] * (read[i] - wanted[i]) ** 2).sum()
        best = np.inf
        for signs in itertools.product((-1, 1), repeat=8) if kind.even_signs else [np.where(wanted[i] < 0, -1, 1)]:
            if kind.even_signs and np.prod(signs) < 0:
                continue
            error = 0.0
            for at in range(0, 8, width):
                part = slice(at, at + width)
                values_of = steps[i, part] * sizes * np.array(signs)[part]
                error += (h[i, part] * (values_of - wanted[i, part]) ** 2).sum(axis=1).min()
            best = min(best, error)
        assert chosen <= best * (1 + 1e-5) + 1e-12


@pytest.mark.parametrize("weighted", [False, True])
def test_no_entry_and_no_move_of_iq1_s_errs_less(weighted: bool) -> None:
    quants = pytest.importorskip("gguf.quants")
    quants.IQ1_S.init_grid()
    grid = quants.IQ1_S.grid.reshape(-1, 8).astype(np.float64)  # -1, 0, 1
    draw = np.random.default_rng(4)
    y = np.round(draw.standard_normal((32, 3, 1, 8)) * 1e6)
    weight = draw.integers(1, 257, (32, 1, 1, 8)) if weighted else None
    search = MoveSearch(BlockProblem(BLOCK_TYPES["iq1_s"], y, np.zeros((3, 1), np.int64), weight))
    step = draw.uniform(5e4, 3e5, (3, 1, 8))  # of eighths
    got = search.levels(step) * step
    assert len(np.unique(np.sign(np.round(search.levels(step)) % 8 - 4))) == 2  # both moves occur
    h = np.broadcast_to(1 if weight is None else weight, y.shape)
    for row, part in itertools.product(range(3), range(8)):
        want, own, s = (a[:, row, 0, part].reshape(4, 8) for a in (y, h, got))
        best = min(
            (own[:, None] * (8 * step[row, 0, part] * (grid + move) - want[:, None]) ** 2).sum(-1).min(-1).sum()
            for move in (0.125, -0.125)
        )
        assert (own * (s - want) ** 2).sum() == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_search_of_iq1_m_is_over_all_entries_and_both_moves(weighted: bool) -> None:
    draw = np.random.default_rng(4)
    y = np.round(draw.standard_normal((16, 3, 1, 8)) * 1e6)
    weight = draw.integers(1, 257, (16, 1, 1, 8)) if weighted else None
    up = sizes_of(BLOCK_TYPES["iq1_m"])
    search = search_of(BlockProblem(BLOCK_TYPES["iq1_m"], y, np.zeros((3, 1), np.int64), weight))
    step = draw.uniform(5e4, 3e5, (3, 1, 8))
    got = search.levels(step) * step
    h = np.broadcast_to(1 if weight is None else weight, y.shape)
    both = np.concatenate([up, up - 2])
    for row, part, half in itertools.product(range(3), range(8), range(2)):
        want, own, s = (a[8 * half : 8 * half + 8, row, 0, part] for a in (y, h, got))
        best = (own * (step[row, 0, part] * both - want) ** 2).sum(axis=1).min()
        assert (own * (s - want) ** 2).sum() == pytest.approx(best, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["iq1_s", "iq1_m"])
def test_iq1_shrinks_no_block(name: str, weighted: bool) -> None:
    matrix, inputs = matrix_of()[[0, 4]], statistics() if weighted else None
    made = QUANTIZERS["imatrix" if weighted else "nearest"](matrix, parse_spec(name), inputs).blocks
    assert made is not None
    read, wanted = (a.astype(np.float64) for a in (dequantize(name.upper(), made, matrix.shape), matrix))
    h = weights_of(inputs)
    got, own = ((h * wanted * a).reshape(-1, 256).sum(axis=1) for a in (read, wanted))
    assert got == pytest.approx(own, rel=1e-3)


def test_one_block_of_iq1_s_is_moved_one_way() -> None:
    codes = BLOCK_FORMATS["IQ1_S"].unpack(np.zeros((1, 1, 50), np.uint8)).codes
    pack = BLOCK_FORMATS["IQ1_S"].pack
    assert pack is not None
    codes[0, 0, 40] |= 4
    with pytest.raises(ValueError, match="moved up and down"):
        pack(BlockFields(codes, np.ones((1, 1, 8), np.int64)))


def test_codes_outside_a_codebook_are_refused() -> None:
    blocks = np.zeros((1, 1, 256), np.uint8)
    fields = BlockFields(blocks, np.ones((1, 1, 8), np.int64))
    missing = next(
        i for i in range(3**8) if not np.isin(sum((i // 3**k % 3) << 2 * k for k in range(8)), CODEBOOKS["IQ2_XXS"])
    )
    blocks[0, 0, :8] = [missing // 3**k % 3 for k in range(8)]
    pack = BLOCK_FORMATS["IQ2_XXS"].pack
    assert pack is not None
    with pytest.raises(ValueError, match="no entries of the codebook of IQ2_XXS"):
        pack(fields)
    blocks[0, 0, :8] = 0
    blocks[0, 0, 0] = 4
    with pytest.raises(ValueError, match="an odd number of negative values"):
        pack(fields)


def test_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    matrix = matrix_of(200)
    for name in ("q4_k", "q6_k", "q5_0", "iq2_xs"):
        whole = values(QUANTIZERS["nearest"](matrix, parse_spec(name), None).weight)
        part = values(QUANTIZERS["nearest"](matrix[150:170], parse_spec(name), None).weight)
        assert np.array_equal(whole[150:170], part)


def test_halves_are_those_of_numpy_but_0_and_infinity() -> None:
    x = np.random.default_rng(2).standard_normal(4000) * np.exp2(np.random.default_rng(3).integers(-30, 17, 4000))
    with np.errstate(over="ignore"):
        wanted = x.astype(np.float16).astype(np.float64)
    known = np.isfinite(wanted) & (wanted != 0)
    assert np.array_equal(round_half(x)[known], wanted[known])
    assert np.all(round_half(np.zeros(3)) == 2.0**-24)
    assert round_half(np.array([-1e9]))[0] == -65504


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("int4-16@q4_0", "the rule q4_0 can only be used as int4-32@q4_0"),
        ("int5@q4_0", "the rule q4_0 can only be used as int4-32@q4_0"),
        ("ptqtp:trits2@q4_0", "ptqtp supports the rules search, largest, power, e4m3, not q4_0"),
        ("imatrix:int4-32", "imatrix supports the rules .*, not search"),
        ("int4@q9_0", "no rule named 'q9_0'"),
    ],
)
def test_what_no_type_holds_is_refused(text: str, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parse_spec(text)


def test_rows_that_blocks_do_not_divide_take_the_fallback_of_llama_cpp() -> None:
    wanted = {"q2_k": "q4_0", "q3_k": "q4_0", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0", "iq4_xs": "iq4_nl"}
    for name, other in wanted.items():
        assert parse_spec(f"gptq:{name}").fitting(576) == parse_spec(f"gptq:{other}")
        assert parse_spec(name).fitting(512) == parse_spec(name)
    with pytest.raises(ParameterError, match="blocks of 32 values do not divide rows of 72"):
        parse_spec("q4_0").layout(72)


def test_values_that_no_half_reaches_are_named() -> None:
    matrix = np.full((1, 256), 1e9, np.float32)
    with pytest.raises(ModelError, match="too large for Q4_0, whose scales are float16 numbers of at most 65504"):
        QUANTIZERS["nearest"](matrix, parse_spec("q4_0"), None)
