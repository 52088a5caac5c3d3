"""Integer weights as bytes: what is written is read again, and what is damaged is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import ModelError
from intact.numerics.integers import (
    LAYOUTS,
    TABLED,
    entries_of,
    from_bytes,
    read_header,
    read_inputs,
    shift_of,
    starts_integers,
    to_bytes,
)  # fmt: skip
from intact.numerics.weight_formats import BLOCK_FORMATS
from intact.numerics.weights import BlockWeight, InputIndex, from_blocks, from_floats, model_values, values
from support.weights import random_weight

LAYOUT = [(bits, block, 0) for bits, blocks in LAYOUTS.items() for block in blocks]
LAYOUT += [(bits, block, most) for bits, blocks in TABLED.items() for block in blocks for most in (200, 1984, 32767)]


def equal(a: BlockWeight, b: BlockWeight) -> bool:
    def same(x: object, y: object) -> bool:
        return np.array_equal(x, y) if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) else x == y

    one, other = a._replace(inputs=None), b._replace(inputs=None)
    inputs = [(None, 0) if w.inputs is None else (w.inputs.index.tolist(), w.inputs.count) for w in (a, b)]
    return all(same(x, y) for x, y in zip(one, other, strict=True)) and inputs[0] == inputs[1]


@given(
    layout=st.sampled_from(LAYOUT), rows=st.integers(1, 40), columns=st.integers(1, 100),
    minimum=st.booleans(), seed=st.integers(0, 1 << 32),
)  # fmt: skip
def test_what_is_written_is_read_again(
    layout: tuple[int, int, int], rows: int, columns: int, minimum: bool, seed: int
) -> None:
    weight = random_weight(seed, (layout[0], layout[1]), (rows, columns), table=layout[2], minimum=minimum)
    data = to_bytes(weight)
    assert starts_integers(data)
    assert data.size == read_header(data).nbytes
    assert equal(from_bytes(data), weight)


@given(rows=st.integers(1, 9), columns=st.integers(1, 100), inputs=st.integers(1, 300), seed=st.integers(0, 1 << 32))
def test_an_index_of_inputs_is_kept(rows: int, columns: int, inputs: int, seed: int) -> None:
    index = np.random.default_rng(seed).integers(-1, inputs, columns).astype(np.int32)
    plain = random_weight(seed, (2, 32), (rows, columns))
    weight = plain._replace(inputs=InputIndex(index, inputs))
    data = to_bytes(weight)
    header = read_header(data)
    assert (header.inputs, header.nbytes, data.size) == (inputs, data.size, to_bytes(plain).size + 4 + 4 * columns)
    assert equal(from_bytes(data), weight)
    found = read_inputs(data)
    assert found is not None
    assert (found.index.tolist(), found.count) == (index.tolist(), inputs)
    assert read_inputs(to_bytes(plain)) is None
    summed = np.zeros((rows, inputs))
    for k, i in enumerate(index):
        if i >= 0:
            summed[:, i] += values(plain)[:, k]
    assert np.allclose(model_values(weight), summed)
    assert header.bits_per_weight == pytest.approx(2.5 * columns / inputs)


def test_a_damaged_index_is_refused() -> None:
    weight = random_weight(1, (2, 32), (3, 40))._replace(inputs=InputIndex(np.arange(40, dtype=np.int32), 40))
    for place, value, message in (
        (36, 0, "an index of 0 inputs"),
        (40, -2, "from -2 to 39"),
        (44, 40, "expected -1 to 39"),
    ):
        data = to_bytes(weight).copy()
        data[place : place + 4] = np.frombuffer(np.int32(value).tobytes(), np.uint8)
        with pytest.raises(ModelError, match=message):
            from_bytes(data)
    with pytest.raises(ModelError, match=r"an index of -?\d+ inputs"):
        read_header(to_bytes(weight)[:38])


def test_shifts_are_those_of_the_formats() -> None:
    for form in BLOCK_FORMATS.values():
        table = None if form.table is None else np.array(form.table, np.int16)
        assert shift_of(form.bits, form.zero, table) == form.shift, form.name


@pytest.mark.parametrize("kind", ["IQ2_XXS", "IQ2_XS", "IQ3_S"])
def test_codes_of_codebooks_survive(kind: str) -> None:
    data = np.random.default_rng(1).integers(0, 256, (3, BLOCK_FORMATS[kind].size), np.uint8)
    data[:, 1] &= 0xBB  # no infinite scale
    weight = from_blocks(kind, data.reshape(-1), (3, 256))
    assert equal(from_bytes(to_bytes(weight)), weight)


def test_a_block_format_and_floats_survive() -> None:
    weight = from_floats(np.linspace(-3, 5, 7 * 70, dtype=np.float32).reshape(7, 70), 4)
    assert equal(from_bytes(to_bytes(weight)), weight)
    assert np.array_equal(values(from_bytes(to_bytes(weight))), values(weight))
    blocks = from_blocks("Q4_1", np.arange(2 * 40, dtype=np.uint8) % 60, (2, 64))
    assert equal(from_bytes(to_bytes(blocks)), blocks)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (0, 0, "begins b'INTW'"),
        (4, 3, "version 3"),
        (8, 0, "expected one of"),
        (12, 0, "expected one of"),
        (16, 7, "expected one of"),
        (20, 64, "expected one of"),
        (24, 200, "too far"),
        (28, 2, "expected one of"),
        (16, 5, "bytes of an integer weight"),
    ],
)
def test_a_damaged_header_is_refused(place: int, value: int, message: str) -> None:
    data = to_bytes(random_weight(1, (4, 32), (3, 64))).copy()
    data[place : place + 4] = np.frombuffer(np.int32(value).tobytes(), np.uint8)
    with pytest.raises(ModelError, match=message):
        from_bytes(data)


def test_bytes_that_are_missing_and_exponents_out_of_bounds_are_refused() -> None:
    data = to_bytes(random_weight(1, (4, 32), (3, 64)))
    with pytest.raises(ModelError, match="expected 156"):
        from_bytes(data[:-1])
    wrong = data.copy()
    wrong[-4:] = np.frombuffer(np.int32(500).tobytes(), np.uint8)
    with pytest.raises(ModelError, match="500: expected -200 to 120"):
        from_bytes(wrong)


def test_a_table_has_an_entry_for_each_code() -> None:
    for bits, entries in ((2, 16), (3, 16), (4, 16), (5, 32), (6, 64), (8, 256)):
        weight = random_weight(1, (bits, 16), (2, 32), table=200)
        plain = 36 + 2 * 32 * bits // 8 + 2 * (2 * 2 + 4)
        assert entries_of(bits) == entries
        assert to_bytes(weight).size == plain + 2 * entries


def test_a_table_with_negative_entries_is_refused() -> None:
    data = to_bytes(random_weight(1, (6, 32), (3, 64), table=1984)).copy()
    data[36:38] = 255
    with pytest.raises(ModelError, match=r"a table with entries from -1 to \d+: expected 0 to 32767"):
        from_bytes(data)


def test_a_block_s_sum_of_the_widest_table_stays_in_its_bounds() -> None:
    """r is the least shift that leaves 32,512 of the largest sum of 32 products, for tables of two bytes too."""
    for most in (60, 448, 1984, 16383):
        table = np.array([0, 2 * most, *[most] * 14], np.int16)
        r = shift_of(4, most, table)
        sums = 32 * 127 * most
        assert sums + (1 << r >> 1) >> r <= 32512
        assert sums + (1 << r - 1 >> 1) >> r - 1 > 32512


def test_blocks_of_16_have_half_the_room_of_those_of_32() -> None:
    """Sixteen blocks of 16 share the 32-bit group of eight blocks of 32 (docs/spec/numerics.md, section 4)."""
    assert shift_of(6, 32, None) == 2
    with pytest.raises(ModelError, match="too far"):
        shift_of(6, 30, None)
    with pytest.raises(ModelError, match="too far"):
        shift_of(6, 0, None)
