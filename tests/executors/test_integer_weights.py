"""Integer weights run as any other: the native executor equals the reference on every layout, and both record."""

import numpy as np
import pytest

from intact import _native
from intact._base.errors import ParameterError
from intact._native import kernels
from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.executors.native import NativeExecutor, available_tiers
from intact.executors.packing import pack
from intact.executors.reference import ReferenceExecutor
from intact.models import Program, build_program
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Linear, Logits
from intact.numerics.dequantize import dequantize
from intact.numerics.integers import INTEGER, LAYOUTS, TABLED, to_bytes
from intact.numerics.weight_formats import BLOCK_FORMATS
from intact.numerics.weights import BlockWeight, centred, from_blocks, values
from support.tiny import write_tiny
from support.weights import random_weight


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program of the tiny model."""
    return build_program(open_checkpoint(write_tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")))


LAYOUT = [(bits, block) for bits, blocks in LAYOUTS.items() for block in blocks]
TABLES = [(bits, block, most) for bits, blocks in TABLED.items() for block in blocks for most in (200, 1984)]
"""Those whose entries fit a byte, and those with two of them."""
VARIANTS = [(*layout, 0, minimum) for layout in LAYOUT for minimum in (False, True)]
VARIANTS += [(*one, i % 2 == 0) for i, one in enumerate(TABLES)]


def program_of(program: Program, weights: dict[str, BlockWeight]) -> Program:
    """The tiny model with some matrices replaced by integer weights."""
    tensors = dict(program.tensors)
    for name, weight in weights.items():
        shape = tensors[name].shape
        tensors[name] = Tensor(name, INTEGER, shape, to_bytes(weight))
    return Program(**{**vars(program), "tensors": tensors})


def step(executor: NativeExecutor | ReferenceExecutor, tokens: int = 9) -> np.ndarray:
    executor.reserve_pages(1)
    chunk = SequenceChunk(0, np.arange(tokens, dtype=np.int32) + 5, np.zeros(1, np.int32))
    return np.array(executor.step([chunk], np.arange(tokens, dtype=np.int64)))


@pytest.mark.parametrize(("bits", "block", "table", "minimum"), VARIANTS)
@pytest.mark.parametrize("tier", available_tiers())
def test_native_equals_the_reference(
    bits: int, block: int, table: int, minimum: bool, tier: str, base: Program
) -> None:
    names = [name for name in base.tensors if name.endswith(("attn_q.weight", "ffn_down.weight"))]
    weights = {}
    for i, name in enumerate(names):
        rows, columns = base.tensors[name].shape
        weights[name] = random_weight(i, (bits, block), (rows, columns), table=table, minimum=minimum)
    program = program_of(base, weights)
    assert np.array_equal(step(NativeExecutor(program, tier=tier, threads=2)), step(ReferenceExecutor(program, 8, 32)))


def test_the_lists_of_layouts_are_those_of_the_kernels() -> None:
    for table, layouts in ((False, LAYOUTS), (True, TABLED)):
        listed = {(bits, block) for bits, blocks in layouts.items() for block in blocks}
        assert listed == {(b, n) for b in range(1, 10) for n in range(1, 65) if kernels.has_product(b, n, table)}


def test_a_layout_without_a_kernel_is_refused() -> None:
    weight = random_weight(1, (8, 32), (3, 32))
    with pytest.raises(ParameterError, match="codes of 8 bits in blocks of 16: there is no product"):
        pack(weight._replace(block=16, scale=np.repeat(weight.scale, 2, axis=1)))


def test_panels_hold_the_same_integers() -> None:
    for bits, block, table in [(*one, 0) for one in LAYOUT] + TABLES:
        weight = random_weight(bits, (bits, block), (37, 70), table=table, minimum=True)
        packed = pack(weight, threads=2)
        assert np.array_equal(packed.table, weight.table)
        assert np.array_equal(packed.row(5)[0], centred(weight)[5])
        names = ("codes", "scale", "scale_exp", "minimum", "minimum_exp")
        for name, got in zip(names, packed.unpack(), strict=True):
            assert np.array_equal(got, getattr(weight, name)), name


def test_a_block_format_as_integers_gives_the_same_bits(base: Program) -> None:
    weights = {
        name: from_blocks(tensor.kind, tensor.data, (tensor.shape[0], tensor.shape[1]))
        for name, tensor in base.tensors.items()
        if tensor.kind in BLOCK_FORMATS
    }
    assert len(weights) > 5
    assert np.array_equal(step(NativeExecutor(program_of(base, weights))), step(NativeExecutor(base)))


def test_fp32_takes_the_exact_values_rounded(base: Program) -> None:
    weight = random_weight(3, (4, 32), (12, 64), minimum=True)
    got = dequantize(INTEGER, to_bytes(weight), (12, 64))
    assert np.array_equal(got, values(weight).astype(np.float32))
    name = next(n for n in base.tensors if n.endswith("attn_output.weight"))
    shape = base.tensors[name].shape
    one = random_weight(4, (4, 32), (shape[0], shape[1]))
    program = program_of(base, {name: one})
    floats = Program(**{**vars(program), "tensors": {**program.tensors, name: Tensor(
        name, "F32", shape, values(one).astype("<f4").reshape(-1).view(np.uint8))}})  # fmt: skip
    assert np.array_equal(step(NativeExecutor(program, "fp32")), step(NativeExecutor(floats, "fp32")))


def test_the_inputs_of_products_are_recorded_alike(base: Program) -> None:
    program = base
    native, reference = NativeExecutor(program, threads=2), ReferenceExecutor(program, 8, 32)
    native.recording = reference.recording = True
    step(native), step(reference)
    products = [i for i, op in enumerate(program.ops) if isinstance(op, Linear)]
    assert len(products) >= 4
    for i in products:
        for mine, theirs in zip(native.recorded(i), reference.recorded(i), strict=True):
            assert np.array_equal(mine, theirs), i
    head = next(i for i, op in enumerate(program.ops) if isinstance(op, Logits))
    assert len(native.recorded(head).codes) == 9
    native.recording = False
    with pytest.raises(Exception, match="nothing was recorded"):
        native.recorded(products[0])


def test_a_packed_weight_belongs_to_one_model() -> None:
    model = _native.Model("int8", available_tiers()[0], 1, 1, 1, 16, 16)
    weight = pack(random_weight(1, (4, 32), (16, 32)))
    model.add_packed(weight)
    with pytest.raises(ValueError, match="belongs to a model already"):
        model.add_packed(weight)
