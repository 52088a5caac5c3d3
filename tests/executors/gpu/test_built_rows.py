"""Rows built so that a rounding, a bound or a sum is just reached: a GPU gives the native executor's bits for them."""

from fractions import Fraction

import numpy as np
import pytest

from intact.checkpoints.formats import Tensor
from intact.executors.gpu.checking import first_difference
from intact.executors.native import NativeExecutor
from intact.executors.reference import ReferenceExecutor
from intact.executors.wgpu import WgpuExecutor
from intact.measure.conformance.synthetic import random_bytes, random_tensor
from intact.models.aspects.step import SequenceChunk
from intact.models.aspects.tables import Buffer
from intact.models.ops import Attend, Embed, Gate, Hadamard, Linear, Logits, Multiply, Rope, Steer, Target
from intact.models.program import Program
from intact.numerics.activations import BLOCK, LARGEST, quantize, to_bytes
from intact.numerics.attention import quantize_keys, quantize_values
from intact.numerics.gate import GATES
from intact.numerics.hadamard import SIZES, hadamard
from intact.numerics.rope import rotation
from support.gpu import device

PAGE = 16
PAGES = 24


def floats(name, values):
    values = np.asarray(values, np.float32)
    return Tensor(name, "F32", values.shape, values.view(np.uint8).reshape(-1))


def matrix(name, kind, rows, columns, size=1.0):
    data = random_tensor(f"built rows|{name}", kind, (rows, columns), size)
    return Tensor(name, kind, (rows, columns), np.frombuffer(data, np.uint8))


def build(rows, ops=(), buffers=(), tensors=(), head=("x", "F32"), **shape):
    """A program whose buffer ``x`` holds row i of some integers (fewer than 34 bits) in sequences with adapter i."""
    rows = np.asarray(rows, np.int64)
    names, added = [], []
    for part, values in (("high", rows >> 12 << 12), ("low", rows & 4095)):  # each exact in float32
        names.append(tuple(f"{part}.{i}" for i in range(len(rows))))
        added += [floats(name, row / 2.0**20) for name, row in zip(names[-1], values, strict=True)]
    source, kind = head
    kept = {"x": Buffer(rows.shape[1], True), **dict(buffers)}
    own = [floats("embed", np.zeros((1, rows.shape[1]))), matrix("head", kind, 5, kept[source].width, 16.0)]
    return Program(
        architecture="built",
        buffers=kept,
        ops=(Embed("x", "embed"), *(Steer("x", vectors) for vectors in names), *ops, Logits(source, "head")),
        tensors={tensor.name: tensor for tensor in (*own, *added, *tensors)},
        vocabulary=1,
        context=1 << 19,
        **{"rotations": (), "layers": 0, "kv_heads": 1, "head_width": 16, **shape},
    )


def executors(program):
    device()
    both = (WgpuExecutor(program, page_size=PAGE, threads=1), NativeExecutor(program, page_size=PAGE, threads=1))
    for executor in both:
        executor.reserve_pages(PAGES)
    return both


def chunk(adapter, position=0, pages=None):
    pages = [adapter % PAGES] if pages is None else pages
    return SequenceChunk(position, np.zeros(1, np.int32), np.array(pages, np.int32), adapter=adapter)


def same_step(both, chunks):
    """Run a step on both; return the head's inputs, which are equal as the logits are."""
    wanted = np.arange(len(chunks))
    found = [(executor.step(chunks, wanted).copy(), executor.head_inputs(wanted).copy()) for executor in both]
    for gpu, native in zip(*found, strict=True):
        assert np.array_equal(gpu, native)
    return found[0][1]


def quantized_alike(rows):
    heads = same_step(executors(build(rows)), [chunk(i) for i in range(len(rows))])
    assert np.array_equal(heads, to_bytes(quantize(rows, 20)))


def test_the_largest_value_of_a_row_is_at_the_bound_of_an_exponent_or_just_above():
    """127 * 8191 * 2^e and its neighbours."""
    tops = [(LARGEST << e if e >= 0 else LARGEST >> -e) + add for e in (-18, -7, -1, 0, 1, 6, 13) for add in (-1, 0, 1)]
    rows = np.zeros((len(tops), 100), np.int64)  # the last blocks are zero
    rows[:, 0] = tops
    rows[:, 1:40:2] = np.array(tops)[:, None] * np.arange(20) // 21
    rows[1::2] *= -1
    quantized_alike(np.concatenate([rows, rows[:1] * 0]))


def test_codes_about_halves_round_alike_under_every_scale():
    """Every scale of a block from 1 to 8191, with values at and beside the halves between two codes."""
    scales = np.arange(1, 8192)
    codes = np.array([126, -126, 125, -125, 120, -3, 64, 0, 1, -90])
    halves = (scales[:, None] * (2 * codes + 1)) >> 1
    values = np.concatenate([halves - 1, halves, halves + 1], axis=1)
    values = np.clip(values, -127 * scales[:, None], 127 * scales[:, None])
    blocks = np.concatenate([values, 127 * scales[:, None], np.zeros((len(scales), 1), np.int64)], axis=1)
    assert blocks.shape == (8191, BLOCK)
    rows = np.concatenate([blocks, blocks[:1]]).reshape(32, 256, BLOCK)
    largest = np.broadcast_to(blocks[-1], (32, 1, BLOCK))  # so that no row is shifted
    rows = np.concatenate([rows, largest], axis=1).reshape(32, -1)
    assert set(quantize(rows, 20).scale.reshape(-1).tolist()) == set(range(1, 8192))
    quantized_alike(rows)


def sums_below(s, of):
    """A scale and a sum of codes of `of` inputs whose product is in [8191.5 * 2^s, 8192 * 2^s)."""
    least, most = 16383 << s >> 1, 8192 << s
    return next(
        (a, -(-least // a))
        for a in range(8191, 0, -1)
        if -(-least // a) * a < most and 127 <= -(-least // a) <= 126 * of
    )


@pytest.mark.parametrize(("kind", "of"), [("Q4_1", 32), ("Q2_K", 16)])
def test_sums_of_blocks_that_just_round_up_to_the_next_shift(kind, of):
    """Sums of 8191.5 * 2^s, which minima of blocks of 32 and of 16 multiply."""
    rows = []
    for s in range(1, 11 if of == 32 else 10):
        a, total = sums_below(s, of)
        row = np.zeros((8, BLOCK), np.int64)
        codes = np.full(BLOCK, 0)
        codes[0] = 127  # the scale is a
        codes[1:of] = (total - 127) // (of - 1)
        codes[1 : 1 + (total - 127) % (of - 1)] += 1
        row[0] = codes * a
        row[1, 0], row[1, 1], row[1, 2] = LARGEST, -LARGEST, 8191  # the exponent is 0, the sum is small
        for block in range(2, 8):  # odd multiples of 2^s, which another shift would round
            row[block, :3] = np.array([127, -127, 2 * block - 3]) << s
        rows.append(row.reshape(-1))
    weight = matrix("w", kind, 33, 256)
    program = build(
        np.array(rows), [Linear("x", (Target("y", "w"),))], {"y": Buffer(33, True)}, [weight], head=("y", "F32")
    )
    same_step(executors(program), [chunk(i) for i in range(len(rows))])


def attention(rows, width=16, turns=None):
    """Keys, values and a query (narrow) from the thirds of a row, rotated by turns, and attention with one head."""
    ops = [Multiply("x", name, None, Fraction(1), start=i * width) for i, name in enumerate("kvq")]
    buffers = {name: Buffer(width, False) for name in "kvqo"}
    ops += [] if turns is None else [Rope(name, 0, 1, width, True) for name in "qk"]
    shape = {"layers": 1, "head_width": width, "rotations": () if turns is None else (turns,)}
    ops.append(Attend("q", "k", "v", "o", 0, 1, 1, width, Fraction(1, 4)))
    program = build(np.asarray(rows) * 16, ops, buffers, head=("o", "F32"), **shape)
    return executors(program)


def filled(top, seed, width=16):
    """A vector with this largest magnitude, and others below it."""
    rest = random_bytes(f"built rows|{seed}|{top}", 4 * width).view("<u4").astype(np.int64) % (2 * top + 1) - top
    rest[seed % width] = top if seed % 2 else -top
    return rest


def scrambled(both):
    """Fill all pages with other bytes, as those that a finished request leaves."""
    for page in range(PAGES):
        data = random_bytes(f"built rows|page {page}", both[1].page_bytes)
        for executor in both:
            executor.write_page(page, data)


def same_pages(both):
    for page in range(PAGES):
        gpu, native = (executor.read_page(page) for executor in both)
        assert np.array_equal(gpu, native)


def test_scales_of_keys_and_values_that_just_pass_an_integer():
    """Largest magnitudes of 8 + 2047 k and 2 + 127 k, their neighbours, and slots that held other bytes."""
    keys = [8 + 2047 * k + add for k in (0, 1, 2, 7, 100, 1 << 14, (1 << 18) - 9) for add in (-1, 0, 1)]
    values = [2 + 127 * k + add for k in (0, 1, 5, 128, 4000, 1 << 18, (1 << 22) - 3) for add in (-1, 0, 1)]
    narrow = [
        np.concatenate([filled(k, 1), filled(v, 2), filled(77, i)])
        for i, (k, v) in enumerate(zip(keys, values, strict=True))
    ]
    both = attention(narrow)
    scrambled(both)
    same_step(both, [chunk(i) for i in range(len(narrow))])
    same_pages(both)
    assert quantize_keys(narrow[4][None, :16]).scale[0] == 256 + 2  # the ceiling of 256 + 2048 / 2047
    assert quantize_values(narrow[4][None, 16:32]).scale[0] == 64 + 2


def test_slots_that_held_other_bytes_are_overwritten():
    """Positions one after another into every slot of a page."""
    both = attention([np.concatenate([filled(999 + i, i), filled(5000 + i, i), filled(77, i)]) for i in range(21)])
    scrambled(both)
    for i in range(21):
        same_step(both, [chunk(i, position=i, pages=[3, 1])])
    same_pages(both)


def test_a_weight_of_4095_and_a_half_stays_a_weight():
    """The largest product of a probability and a scale is 8191 * 2^30, so that rounding gives 4096."""
    top = 8191 * 127 // 64
    assert quantize_values(np.full((1, 16), top)).scale[0] == 8191
    row = np.concatenate([filled(700, 1), np.full(16, top), filled(300, 2)])
    small = np.concatenate([filled(650, 1), filled(top // 3, 4), filled(310, 2)])
    both = attention([row, small])
    for position, which in enumerate([0, 0, 1, 0, 1]):
        same_step(both, [chunk(which, position, [2])])


@pytest.mark.parametrize("sign", [1, -1])
def test_sums_over_5000_equal_positions_do_not_overflow(sign):
    """The same page 312 times: the sum of weights of 4095 times codes of 127 passes 31 bits."""
    row = np.concatenate([filled(700, 1), np.full(16, sign * 8191 * 127 // 64), filled(300, 2)])
    both = attention([row])
    for position in range(PAGE):
        same_step(both, [chunk(0, position, [5])])
    assert 4095 * 127 * 5000 > 1 << 31
    same_step(both, [chunk(0, 5000, [5] * 312 + [6])])
    same_pages(both)


@pytest.mark.parametrize("size", SIZES)
def test_rotated_rows_are_sums_and_differences_of_all_columns(size):
    """More columns than a workgroup has threads, with the largest magnitudes."""
    rows = random_bytes("built rows|hadamard", 4 * 3 * 512).view("<i4").astype(np.int64).reshape(3, 512) * 7
    program = build(rows, [Hadamard("x", "y", size)], {"y": Buffer(512, True)}, head=("y", "F32"))
    heads = same_step(executors(program), [chunk(i) for i in range(3)])
    assert np.array_equal(heads, to_bytes(quantize(hadamard(rows, size), 20)))


def test_a_key_is_kept_after_all_threads_have_rotated_it():
    """Pairs of neighbours in a head wider than a workgroup: threads keep columns that later ones have rotated."""
    width = 128
    rows = [np.concatenate([filled(999 + i, 3 * i + j, width) for j in range(3)]) for i in range(3)]
    for row in rows:
        row[64:66] = 70000  # the largest magnitude is that of a column which rotation has changed
    both = attention(rows, width, rotation(10000.0, width, {}))
    for i in range(3):
        same_step(both, [chunk(i, position=i, pages=[3])])
    same_pages(both)


@pytest.mark.parametrize("kind", GATES)
def test_gates_at_the_ends_of_their_ranges(kind):
    """All columns of the result are those of the definition, not only the codes of the head's input."""
    device()
    edges = [0, 1, 65536, 425984, 458752, 1048576, 1 << 25, 23456789, 345678901, 1 << 29]
    x = np.array([sign * edge + add for edge in edges for sign in (-1, 1) for add in (-1, 0, 1)])
    row = np.concatenate([x, np.roll(x, 7) + 12345]) * 16
    narrow = {name: Buffer(len(x), False) for name in ("gate", "up")}
    ops = [Multiply("x", name, None, Fraction(1), start=i * len(x)) for i, name in enumerate(narrow)]
    ops.append(Gate("gate", "up", "y", kind))
    program = build([row], ops, {**narrow, "y": Buffer(len(x), True)}, head=("y", "F32"))
    gpu, reference = WgpuExecutor(program, page_size=PAGE, threads=1), ReferenceExecutor(program, page_size=PAGE)
    gpu.reserve_pages(1)
    reference.reserve_pages(1)
    chunks = [chunk(0)]
    found = first_difference(reference, gpu._runner, gpu._plan, lambda: gpu._upload(chunks), chunks)
    assert found.kind == "Logits"  # the last one, whose result is no row
