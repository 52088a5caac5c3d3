"""What entered the head: the same bytes from every executor, however the step was cut; the logits follow from them."""

import numpy as np
import pytest

from intact._base.errors import ParameterError
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.reference import ReferenceExecutor
from intact.models import build_program
from intact.models.aspects.step import LOGIT_FRACTION, SequenceChunk
from intact.numerics import fp32
from intact.numerics.activations import Quantized, quantize, to_bytes
from intact.numerics.dequantize import dequantize
from intact.numerics.fixed import sat32
from intact.numerics.matmul import matmul
from support.tiers import tiers_with
from support.tiny import write_tiny

pytestmark = pytest.mark.native
TIERS = available_tiers()
TEXT = np.arange(10, 50, dtype=np.int32)
PAGES = np.array([4, 1, 2], np.int32)


@pytest.fixture(scope="module", params=["gemma3", "llama"])
def program(request, tmp_path_factory):
    return build_program(open_checkpoint(write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", request.param)))


def heads(executor, cut, wanted=None):
    """The bytes of all rows of the text, computed in chunks that end at these places, and their logits."""
    executor.reserve_pages(8)
    entered, logits = [], []
    for start, end in zip([0, *cut], [*cut, len(TEXT)], strict=True):
        rows = np.arange(end - start) if wanted is None else np.array([end - start - 1])
        logits.append(executor.step([SequenceChunk(start, TEXT[start:end], PAGES)], rows).copy())
        entered.append(executor.head_inputs(np.arange(len(rows))))
    return np.concatenate(entered), np.concatenate(logits)


@pytest.fixture(scope="module")
def expected(program):
    return heads(ReferenceExecutor(program, page_size=16), [])


def test_the_logits_follow_from_the_bytes(program, expected):
    executor = ReferenceExecutor(program, page_size=16)
    entered, logits = expected
    width = program.buffers[program.ops[-1].source].width
    blocks = -(-width // 32)
    assert entered.shape == (len(TEXT), 34 * blocks + 4)
    codes, scale, exponent = np.split(entered, [32 * blocks, 34 * blocks], axis=1)
    a = Quantized(
        codes.view(np.int8),
        np.ascontiguousarray(scale).view("<i2").astype(np.int16),
        np.ascontiguousarray(exponent).view("<i4")[:, 0].astype(np.int32),
    )
    assert not a.codes[:, width:].any()
    assert np.array_equal(sat32(matmul(a, executor._memory.weight(program.ops[-1].weight), LOGIT_FRACTION)), logits)


@pytest.mark.parametrize(("tier", "threads"), tiers_with(1, 2, 3))
def test_every_tier_gives_the_bytes_of_the_reference(program, expected, tier, threads):
    executor = NativeExecutor(program, threads=threads, tier=tier, page_size=16)
    assert np.array_equal(heads(executor, [])[0], expected[0])
    assert np.array_equal(heads(executor, [1, 2, 9, 33])[0], expected[0])
    last, _ = heads(executor, [5, 6, 30], wanted="the last")
    assert np.array_equal(last, expected[0][[4, 5, 29, 39]])


def test_rows_come_in_the_order_asked_for(program, expected):
    executor = NativeExecutor(program, threads=2, page_size=16)
    executor.reserve_pages(8)
    executor.step([SequenceChunk(0, TEXT, PAGES)], np.array([7, 30, 31]))
    assert np.array_equal(executor.head_inputs(np.array([2, 0, 2])), expected[0][[31, 7, 31]])
    for row in (-1, 3):
        with pytest.raises(ParameterError, match="row outside"):
            executor.head_inputs(np.array([row]))


def test_bytes_of_a_row_are_codes_scales_and_exponent():
    row = np.zeros((1, 40), np.int64)
    row[0, :3] = 1 << 20, -5, 3
    a = quantize(row, 16)
    assert to_bytes(a).tobytes() == (
        a.codes.tobytes() + b"".join(int(s).to_bytes(2, "little") for s in a.scale[0])
    ) + int(a.exponent[0]).to_bytes(4, "little", signed=True)


@pytest.fixture(scope="module")
def floats(program):
    """What enters the head in the fp32 profile, by one thread of the plainest tier."""
    return heads(NativeExecutor(program, "fp32", 1, TIERS[0], page_size=16), [])[0]


@pytest.mark.parametrize("tier", TIERS)
def test_in_the_fp32_profile_it_is_the_floats_that_the_logits_follow_from(program, floats, tier):
    weight = program.tensors[program.ops[-1].weight]
    entered = floats.view("<f4")
    assert entered.shape == (len(TEXT), program.buffers[program.ops[-1].source].width)
    for threads in (1, 2):
        executor = NativeExecutor(program, "fp32", threads, tier, page_size=16)
        executor.reserve_pages(8)
        rows = np.arange(len(TEXT))
        logits = executor.step_float([SequenceChunk(0, TEXT, PAGES)], rows).copy()
        assert np.array_equal(executor.head_inputs(rows), floats)
        expected = fp32.linear(entered, dequantize(weight.kind, weight.data, weight.shape))
        assert np.array_equal(logits.view(np.uint32), expected.view(np.uint32))
        assert np.array_equal(heads(executor, [3, 20])[0], floats)
