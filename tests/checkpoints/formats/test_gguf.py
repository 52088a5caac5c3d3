"""The GGUF reader against the gguf package, against files written at random, and against files made to hurt."""

import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intact._base.errors import FormatError
from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.checkpoints.formats.gguf import TENSOR_KINDS, UNSUPPORTED_KINDS, parse_gguf, read_gguf
from intact.checkpoints.formats.metadata import Strings
from intact.checkpoints.formats.tensor import KINDS, byte_length
from support.examples import examples
from support.gguf_writer import Tensors, gguf_bytes, gguf_pieces, write_gguf
from support.models import first_always, real_model

HERE = Path("some.gguf")
ROW: Tensors = {"row": ("F32", (8,), bytes(32))}


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def same(ours: Any, theirs: Any) -> bool:
    """Equality of metadata, to the type and the bit."""
    if isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes() and not ours.flags.writeable
    if isinstance(theirs, list):
        return type(ours) in (list, Strings) and len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, float) and math.isnan(theirs):
        return math.isnan(ours)
    return type(ours) is type(theirs) and bool(ours == theirs)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), max_size=6))
def test_strings_are_those_of_a_list(texts: list[str]) -> None:
    strings = Strings(iter(texts))
    assert (len(strings), strings.tolist(), strings[1:-1], strings == texts) == (len(texts), texts, texts[1:-1], True)
    for place in range(-len(texts), len(texts)):
        assert strings[place] == texts[place]
    with pytest.raises(IndexError):
        strings[len(texts)]


# ---- against the gguf package


def test_kinds_have_the_sizes_and_numbers_of_the_gguf_package() -> None:
    for number, kind in TENSOR_KINDS.items():
        theirs = gguf.GGMLQuantizationType(number)
        assert theirs.name == kind
        assert tuple(KINDS[kind]) == gguf.GGML_QUANT_SIZES[theirs]
    for theirs in gguf.GGMLQuantizationType:
        known = TENSOR_KINDS.get(int(theirs)) or UNSUPPORTED_KINDS.get(int(theirs), theirs.name)
        assert known == theirs.name


def agree(path: Path) -> None:
    """Everything that the gguf package reads from a file, we read."""
    theirs = gguf.GGUFReader(path)
    with open_checkpoint(path) as ours:
        keys = [key for key in theirs.fields if not key.startswith("GGUF.")]
        assert list(ours.metadata) == keys
        for key in keys:
            mine = ours.metadata[key]
            mine = mine.tolist() if isinstance(mine, np.ndarray) else mine
            assert mine == theirs.fields[key].contents(), key
        assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
        for tensor in theirs.tensors:
            view = ours.tensors[tensor.name]
            assert view.kind == tensor.tensor_type.name
            assert view.shape[::-1] == tuple(tensor.shape.tolist())
            assert np.array_equal(view.data, np.ascontiguousarray(tensor.data).view(np.uint8).ravel())


@pytest.mark.parametrize("name", first_always(["smollm2-135m", "gemma3-270m", "qwen-coder-0.5b"]))  # as is the 1.5B
def test_real_file_reads_as_with_the_gguf_package(name: str) -> None:
    agree(real_model(name))


def test_file_of_the_gguf_package_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "llama", use_temp_file=False)
    writer.add_context_length(77)
    writer.add_token_list(["a", "日本", ""])
    writer.add_token_scores([0.5, -1.0, 0.0])
    writer.add_custom_alignment(64)
    writer.add_bool("flag", True)
    generator = np.random.default_rng(0)
    floats = generator.standard_normal((3, 64), np.float32)
    writer.add_tensor("floats", floats)
    blocks = gguf.quantize(floats, gguf.GGMLQuantizationType.Q5_1)
    writer.add_tensor("blocks", blocks, raw_dtype=gguf.GGMLQuantizationType.Q5_1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    agree(path)
    contents = read_gguf(path)
    assert contents.metadata["flag"] is True
    assert contents.tensors["blocks"].shape == (3, 64)
    assert contents.tensors["blocks"].data.tobytes() == blocks.tobytes()


# ---- against files written at random

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
scalars = st.one_of(
    text,
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.floats(width=32),
    st.sampled_from(["u1", "i1", "u2", "i2", "i4", "u8", "i8", "f8"]).map(lambda code: np.ones(1, code)[0]),
)
arrays = st.builds(
    lambda code, data: np.frombuffer(data[: len(data) // 8 * 8], code),
    st.sampled_from(["<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<f4", "<u8", "<i8", "<f8"]),
    st.binary(max_size=64),
)
bools = st.lists(st.booleans(), max_size=5).map(lambda values: np.array(values, np.bool_))
flat = st.one_of(st.lists(text, max_size=5), arrays, bools)
values = st.one_of(scalars, flat, st.lists(st.lists(st.lists(text, max_size=2), max_size=2), max_size=3))


@st.composite
def tensor_sets(draw: st.DrawFn) -> Tensors:
    tensors = {}
    for name in draw(st.lists(text, max_size=5, unique=True)):
        kind = draw(st.sampled_from(sorted(TENSOR_KINDS.values())))
        leading = draw(st.lists(st.integers(1, 3), max_size=3))
        shape = (*leading, KINDS[kind].elements * draw(st.integers(1, 3)))
        size = byte_length(kind, shape)
        assert size is not None
        tensors[name] = (kind, shape, draw(st.binary(min_size=1, max_size=9)).ljust(size, b"x")[:size])
    return tensors


@examples(150)
@given(
    st.dictionaries(text, values, max_size=6), tensor_sets(), st.sampled_from([2, 3]), st.sampled_from([1, 8, 32, 64])
)
def test_what_is_written_reads_back(metadata: dict[str, Any], tensors: Tensors, version: int, alignment: int) -> None:
    metadata |= {"general.alignment": alignment}
    contents = parse_gguf(gguf_bytes(metadata, tensors, version), HERE)
    assert list(contents.metadata) == list(metadata)
    for key, value in metadata.items():
        assert same(contents.metadata[key], value.item() if isinstance(value, np.generic) else value), key
    assert list(contents.tensors) == list(tensors)
    for name, (kind, shape, data) in tensors.items():
        tensor = contents.tensors[name]
        assert (tensor.name, tensor.kind, tensor.shape) == (name, kind, tuple(shape))
        assert tensor.data.tobytes() == data
        assert tensor.data.ndim == 1
        assert not tensor.data.flags.writeable


@examples(60)
@given(st.data())
def test_every_truncation_is_an_error(data: st.DataObject) -> None:
    whole = gguf_bytes({"a": ["x", "y"], "b": 3, "c": np.arange(3, dtype=np.int16), "d": True}, ROW)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(FormatError, match=r"some\.gguf: .*expected"):
        parse_gguf(whole[:cut], HERE)


def test_tensor_data_is_a_view_of_the_file(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "big.gguf", {}, {"big": ("F32", (1 << 20,), bytes(4 << 20))})
    tracemalloc.start()
    tensors = read_gguf(path).tensors
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert tensors["big"].data.size == 4 << 20
    with pytest.raises(ValueError, match="read-only"):
        tensors["big"].data[0] = 1


def test_scalar_tensor_has_no_axes() -> None:
    assert parse_gguf(gguf_bytes({}, {"one": ("F32", (), bytes(4))}), HERE).tensors["one"].shape == ()


def test_views_outlive_their_checkpoint(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_gguf(tmp_path / "a.gguf", {}, {"row": ("I8", (4,), b"abcd")}))
    tensor: Tensor = checkpoint.tensors["row"]
    checkpoint.close()
    assert not checkpoint.tensors
    assert tensor.data.tobytes() == b"abcd"


# ---- against files made to hurt


def header(tensors: int, keys: int, *rest: bytes, version: int = 3) -> bytes:
    return b"".join([b"GGUF", u32(version), u64(tensors), u64(keys), *rest])


def key(name: bytes, kind: int, *rest: bytes) -> bytes:
    """A file of one metadata pair."""
    return header(0, 1, u64(len(name)), name, u32(kind), *rest)


def described(*tensors: tuple[bytes, list[int], int, int], data: int = 256) -> bytes:
    """A file of tensors given as name, axes as stored, type number and offset; all data are zero."""
    parts = [b"".join([u64(len(n)), n, u32(len(s)), *map(u64, s), u32(k), u64(o)]) for n, s, k, o in tensors]
    whole = header(len(tensors), 0, *parts)
    return whole + bytes(-len(whole) % 32 + data)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "starts with b''; expected a GGUF file"),
    "other format": (b"PK\3\4" + bytes(60), r"starts with b'PK\\x03\\x04'; expected a GGUF file"),
    "version 1": (header(0, 0, version=1), "version, byte 4: the GGUF version is 1; expected version 2 or 3"),
    "version 9": (header(0, 0, version=9), "the GGUF version is 9"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian; expected a little-endian"),
    "many tensors": (
        header(1 << 62, 0),
        "number of tensors, byte 8: the count is 4611686018427387904; expected at most 0",
    ),
    "many keys": (header(0, (1 << 64) - 1), "number of metadata keys, byte 16: the count is"),
    "long key": (header(0, 1, u64(1 << 40), bytes(20)), "key 0 of 1, byte 24: a string has 1099511627776 bytes"),
    "key past the end": (header(0, 1, u64(60000), bytes(20)), "60000 bytes are needed; expected at most the 20 that"),
    "key no UTF-8": (key(b"ab\xff", 4, u32(1)), "key 0 of 1, byte 34: a string is not UTF-8"),
    "key twice": (header(0, 2, *2 * [u64(1), b"k", u32(4), u32(7)]), "key 'k', byte 41: the key occurs twice"),
    "value type": (key(b"k", 13, bytes(8)), "key 'k', byte 33: unknown value type 13; expected one of the value types"),
    "bool": (key(b"k", 7, b"\2"), "key 'k', byte 37: a bool has the value 2; expected 0 or 1"),
    "bools": (key(b"k", 9, u32(7), u64(3), b"\0\1\5"), "byte 51: a bool has the value 5"),
    "long string": (key(b"k", 8, u64(3 << 30), bytes(9)), "key 'k', byte 37: a string has 3221225472 bytes"),
    "string past the end": (
        key(b"k", 8, u64(100), bytes(9)),
        "100 bytes are needed; expected at most the 9 that remain",
    ),
    "string no UTF-8": (key(b"k", 8, u64(2), b"a\x80"), "key 'k', byte 46: a string is not UTF-8"),
    "many strings": (
        key(b"k", 9, u32(8), u64(1 << 60), bytes(99)),
        "the count is 1152921504606846976; expected at most 12",
    ),
    "many numbers": (key(b"k", 9, u32(12), u64(50), bytes(99)), "400 bytes are needed; expected at most the 99"),
    "element past the end": (
        key(b"k", 9, u32(8), u64(2), u64(1), b"x", u64(500), bytes(9)),
        "key 'k', element 1 of 2, byte 66: 500 bytes are needed; expected at most the 9 that remain",
    ),
    "element no UTF-8": (
        key(b"k", 9, u32(8), u64(3), u64(1), b"x", u64(1), b"\xc0", u64(0)),
        "key 'k', element 1 of 3, byte 66: a string is not UTF-8",
    ),
    "array type": (key(b"k", 9, u32(77), u64(1), bytes(9)), "unknown type 77 of array elements"),
    "nested too deep": (
        key(b"k", 9, *50 * [u32(9), u64(1)]),
        "arrays are nested too deeply; expected at most 4 levels",
    ),
    "many arrays": (key(b"k", 9, u32(9), u64(1 << 50), bytes(99)), "the count is 1125899906842624; expected at most 8"),
    "alignment 0": (key(b"general.alignment", 4, u32(0)), "value is 0; expected a power of two"),
    "alignment text": (key(b"general.alignment", 8, u64(1), b"8"), "the value is '8'; expected a power of two"),
    "split": (gguf_bytes({"split.count": np.uint16(3)}, {}), "the model is split into 3 files; expected a single file"),
    "tensor twice": (
        described((b"w", [8], 0, 0), (b"w", [8], 0, 32)),
        "tensor 'w', byte .*: the tensor occurs twice",
    ),
    "tensor type": (
        described((b"w", [8], 99, 0)),
        "tensor 'w', byte .*: tensor type 99 is not supported; expected one of F32",
    ),
    "known tensor type": (described((b"w", [256], 40, 0)), r"tensor type 40 \(NVFP4\) is not supported"),
    "five axes": (described((b"w", [1] * 5, 0, 0)), "the tensor has 5 axes; expected at most 4"),
    "many axes": (header(1, 0, u64(1), b"w", u32(1 << 31), bytes(64)), "the tensor has 2147483648 axes"),
    "zero axis": (described((b"w", [8, 0], 0, 0)), r"the shape is \(0, 8\); expected sizes of at least 1"),
    "overflowing axes": (described((b"w", [1 << 32, 1 << 32], 0, 0)), "73786976294838206464 bytes of F32"),
    "broken blocks": (described((b"w", [40], 2, 0)), r"rows of shape \(40,\) do not divide into blocks of Q4_0"),
    "unaligned": (described((b"w", [8], 0, 4)), "the data offset is 4; expected a multiple of the alignment 32"),
    "offset past the end": (described((b"w", [8], 0, 1 << 63)), "expected them to end by byte"),
    "data past the end": (described((b"w", [8], 0, 256)), "32 bytes of F32 data with shape .* truncated"),
    "last byte missing": (described((b"w", [8], 0, 0), data=31), "32 bytes of F32 .* truncated"),
    "last byte of an element missing": (
        key(b"k", 9, u32(8), u64(1), u64(5), b"four"),
        "5 bytes are needed; .* the 4 that",
    ),
    "overlap": (
        described((b"a", [16], 0, 32), (b"b", [16], 0, 64)),
        "tensor 'b', byte .*: the data at offset 64 overlaps that of tensor 'a'; expected an offset of at least 96",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_an_error_that_says_what_and_where(case: str) -> None:
    data, message = HOSTILE[case]
    with pytest.raises(FormatError, match=message) as caught:
        parse_gguf(data, HERE)
    assert str(caught.value).startswith("some.gguf: ")


def many_strings(length: int, count: int, content: bytes) -> bytes:
    return key(b"k", 9, u32(8), u64(count)) + (u64(length) + content) * count


def wide_text() -> bytes:
    """Text that takes four times the memory that it takes on disk."""
    return b"a" * ((15 << 20) - 4) + "😀".encode()


LARGE: dict[str, Callable[[], bytes]] = {
    "many strings": lambda: many_strings(1, 2_000_000, b"x"),
    "many empty strings": lambda: many_strings(0, 3_000_000, b""),
    "long strings": lambda: many_strings(1 << 20, 40, bytes(1 << 20)),
    "wide strings": lambda: many_strings(15 << 20, 3, wide_text()),
    "wide keys": lambda: (
        header(0, 3) + b"".join(u64(1) + b"%d" % i + u32(8) + u64(15 << 20) + wide_text() for i in range(3))
    ),
    "numbers": lambda: key(b"k", 9, u32(12), u64(13 << 20), bytes(8 * (13 << 20))),
    "many arrays": lambda: key(b"k", 9, u32(9), u64(400_000)) + (u32(0) + u64(0)) * 400_000,
    "many keys": lambda: header(0, 500_000) + b"".join(u64(6) + b"%06d" % i + u32(0) + b"\0" for i in range(500_000)),
    "many tensors": lambda: header(150_000, 0) + b"".join(u64(6) + b"%06d" % i + bytes(16) for i in range(150_000)),
}


@pytest.mark.parametrize("case", LARGE)
def test_large_header_stays_within_its_memory(case: str) -> None:
    data = LARGE[case]()
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=r"memory|bytes"):
            parse_gguf(data, HERE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000


def test_string_of_gigabytes_that_is_there_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    path.write_bytes(key(b"k", 8, u64(3 << 30)))
    with path.open("r+b") as file:
        file.truncate(4 << 30)
    with pytest.raises(FormatError, match="a string has 3221225472 bytes; expected at most 16777216"):
        read_gguf(path)


def test_largest_vocabularies_fit() -> None:
    """As many tokens and merges as the largest vocabularies in use have."""
    tokens = [f"▁token{index}" for index in range(262_144)]
    merges = [f"▁to ken{index % 1000}" for index in range(520_000)]
    data = gguf_bytes({"tokens": tokens, "merges": merges, "scores": np.zeros(262_144, np.float32)}, ROW)
    contents = parse_gguf(data, HERE)
    assert contents.metadata["tokens"] == tokens
    assert contents.metadata["merges"] == merges


def test_pieces_of_the_writer_are_the_file() -> None:
    assert b"".join(gguf_pieces({"a": 1}, ROW)) == gguf_bytes({"a": 1}, ROW)
