"""The safetensors reader against the safetensors package, and against files made to hurt."""

import json
import random
import struct
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from intact._base.errors import FormatError
from intact.checkpoints.formats.safetensors import LONGEST_JSON, read_safetensors, read_shards
from intact.checkpoints.formats.tensor import KINDS
from support.effort import counted_calls
from support.examples import examples

DTYPES = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U8": "u1",
    "BOOL": "?",
}


def container(header: object, data: bytes = b"") -> bytes:
    """A file of any header, right or wrong."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def entry(kind: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": offsets}


arrays = st.builds(
    lambda code, shape, seed: (np.random.default_rng(seed).integers(0, 2, shape)).astype(code),
    st.sampled_from(sorted(DTYPES.values())),
    st.lists(st.integers(0, 4), max_size=3),
    st.integers(0, 99),
)


@examples(80)
@given(tensors=st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), arrays, max_size=5))
def test_file_of_the_safetensors_package_reads_back(
    tmp_path_factory: pytest.TempPathFactory, tensors: Mapping[str, npt.NDArray[Any]]
) -> None:
    tensors = {name: value for name, value in tensors.items() if name != "__metadata__"}
    path = written(tmp_path_factory.mktemp("s") / "a.safetensors", save(dict(tensors), metadata={"format": "pt"}))
    ours = read_safetensors(path)
    assert set(ours) == set(tensors)
    for name, value in tensors.items():
        tensor = ours[name]
        assert tensor.shape == value.shape
        assert DTYPES[tensor.kind] == value.dtype.str.lstrip("<|").replace("b1", "?")
        assert tensor.data.tobytes() == value.tobytes()
        assert tensor.data.ndim == 1
        assert not tensor.data.flags.writeable


def test_bf16_stays_a_view_of_the_file(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.safetensors", container({"w": entry("BF16", [1024, 1024], [0, 2 << 20])}, bytes(2 << 20))
    )
    tracemalloc.start()
    tensor = read_safetensors(path)["w"]
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert (tensor.kind, tensor.shape, tensor.data.size) == ("BF16", (1024, 1024), 2 << 20)


HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file has 0 bytes; expected a safetensors file"),
    "short": (b"\1\0\0", "the file has 3 bytes"),
    "long header": (
        struct.pack("<Q", 1 << 60) + bytes(9),
        "the header at byte 8 has 1152921504606846976 bytes; expected at most",
    ),
    "no JSON": (container(b"{]"), "the header is not valid JSON"),
    "no UTF-8": (container(b'{"\xff": 1}'), "the header is not UTF-8: byte 2"),
    "list": (container([1]), "the header is a JSON list; expected an object"),
    "too deep": (container(b'{"a":' + b"[" * 100_000), "the header is nested too deeply"),
    "long number": (container(b'{"a":' + b"9" * 10_000 + b"}"), "the header is not valid JSON"),
    "twice": (container(b'{"a": 1, "a": 2}'), "the header has a duplicate member 'a'"),
    "entry": (container({"w": 3}), "tensor 'w': the entry is a int; expected dtype, shape and data_offsets"),
    "dtype": (
        container({"w": entry("F8_E5M2")}, bytes(8)),
        "tensor 'w': the dtype is 'F8_E5M2', which is not supported",
    ),
    "block dtype": (container({"w": entry("Q4_0", [32], [0, 18])}, bytes(18)), "the dtype is 'Q4_0', which is not"),
    "no dtype": (container({"w": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)), "the dtype is None"),
    "negative axis": (container({"w": entry(shape=[-2, -1])}, bytes(8)), r"the shape is \[-2, -1\]"),
    "huge axis": (container({"w": entry(shape=[1 << 63])}, bytes(8)), r"the shape is \[9223372036854775808\]"),
    "bool axis": (container({"w": entry(shape=[True, 2])}, bytes(8)), "the shape is"),
    "many axes": (container({"w": entry(shape=[1] * 33)}, bytes(8)), "expected a list of at most 32 sizes"),
    "overflowing axes": (container({"w": entry(shape=[1 << 62, 4])}, bytes(8)), "8 bytes at offset 0; expected 7378"),
    "offsets": (container({"w": entry(offsets=[0])}, bytes(8)), r"data_offsets is \[0\]; expected \[begin, end\]"),
    "backwards": (container({"w": entry(offsets=[8, 0])}, bytes(8)), r"data_offsets is \[8, 0\]"),
    "truncated": (container({"w": entry()}, bytes(7)), "within the 7 bytes of data .*truncated"),
    "wrong length": (
        container({"w": entry(shape=[3])}, bytes(8)),
        r"8 bytes at offset 0; expected 12 for F32 with shape \(3,\)",
    ),
    "hole": (container({"w": entry(offsets=[8, 16])}, bytes(16)), "begins at offset 8; expected 0"),
    "overlap": (
        container({"v": entry(), "w": entry(offsets=[4, 12])}, bytes(12)),
        "tensor 'w' begins at offset 4; expected 8, the end of the previous tensor",
    ),
    "rest": (container({"w": entry()}, bytes(9)), "the tensors end at offset 8; expected 9"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_file_is_an_error_that_says_what_and_where(case: str, tmp_path: Path) -> None:
    data, message = HOSTILE[case]
    path = written(tmp_path / "a.safetensors", data)
    with pytest.raises(FormatError, match=message) as caught:
        read_safetensors(path)
    assert str(caught.value).startswith(f"{path}: ")


LARGE = {
    "lists": b'{"a":[' + b"[]," * 3_000_000 + b"0]}",
    "numbers": b'{"a":[' + b"1000," * 3_000_000 + b"0]}",
    "strings": b'{"a":[' + b'"ab",' * 3_000_000 + b"0]}",
    "objects": b'{"a":[' + b'{"a":1},' * 1_500_000 + b"0]}",
    "wide string": b'{"a":"' + b"a" * (LONGEST_JSON - 20) + "😀".encode() + b'"}',
    "tensors": b"{" + b",".join(b'"%d":{}' % index for index in range(400_000)) + b"}",
    "keys": b"{" + b",".join(b'"%d":0' % index for index in range(900_000)) + b"}",
    "duplicates": b"{" + b",".join(b'"%d":0' % (index % 400_000) for index in range(400_001)) + b"}",
    "over the limit": b" " * (LONGEST_JSON + 1),
}


@pytest.mark.parametrize("case", LARGE)
def test_large_header_stays_within_its_memory(case: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", container(LARGE[case]))
    tracemalloc.start()
    try:
        with counted_calls() as calls, pytest.raises(FormatError):
            read_safetensors(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000
    assert calls.total() < 100_000, "a call for each of 400,000 items or more"


def test_mutated_headers_are_errors_or_what_the_package_reads(tmp_path: Path) -> None:
    """Whatever we accept, the package accepts with the same tensors."""
    values: dict[str, npt.NDArray[Any]] = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.ones(4, np.float16),
        "c": np.arange(3),
    }
    seed = save(values, metadata={"format": "pt"})
    draw = random.Random(3)
    accepted = 0
    for case in range(2000):
        data = bytearray(seed)
        for _ in range(draw.choice((1, 1, 2))):
            at = draw.randrange(len(data))
            match draw.randrange(4):
                case 0:
                    data[at] ^= 1 << draw.randrange(8)
                case 1:
                    data[at] = draw.choice(b'0123456789[]{},":-')
                case 2:
                    del data[at:]
                    data = data or bytearray(1)
                case _:
                    data[at:at] = data[at : at + draw.randrange(9)]
        path = written(tmp_path / f"{case}.safetensors", bytes(data))
        try:
            ours = read_safetensors(path)
        except FormatError:
            continue
        theirs = dict(deserialize(bytes(data)))  # type: ignore[no-untyped-call]
        assert set(theirs) == set(ours)
        for name, tensor in theirs.items():
            assert ours[name].kind == tensor["dtype"]
            assert list(ours[name].shape) == tensor["shape"]
            assert ours[name].data.tobytes() == bytes(tensor["data"])
        accepted += 1
    assert accepted > 100


def test_package_refuses_what_it_should(tmp_path: Path) -> None:
    """The cases above that concern layout are refused by the package too: we're no stricter than the format."""
    for case in ("hole", "overlap", "rest", "wrong length", "truncated", "long header"):
        with pytest.raises(SafetensorError):
            deserialize(HOSTILE[case][0])  # type: ignore[no-untyped-call]


# ---- shards


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """The index of two shards."""
    written(tmp_path / "m-1.safetensors", save({"a": np.ones(2, np.float32), "b": np.zeros(3, np.float16)}))
    written(tmp_path / "m-2.safetensors", save({"c": np.arange(4, dtype=np.int8)}))
    index = {"metadata": {}, "weight_map": {"c": "m-2.safetensors", "a": "m-1.safetensors", "b": "m-1.safetensors"}}
    return written(tmp_path / "model.safetensors.index.json", json.dumps(index).encode())


def test_shards_give_the_tensors_of_the_index(shards: Path) -> None:
    tensors = read_shards(shards)
    assert {name: tensor.data.tobytes() for name, tensor in tensors.items()} == {
        "c": bytes(range(4)),
        "a": np.ones(2, np.float32).tobytes(),
        "b": bytes(6),
    }


@pytest.mark.parametrize(
    "name",
    [
        "../m-1.safetensors",
        "/etc/x.safetensors",
        "sub/m-1.safetensors",
        "..\\m-1.safetensors",
        "C:m-1.safetensors",
        "C:\\m-1.safetensors",
        "..",
        ".",
        "",
        "m-1.bin",
        "m\0.safetensors",
        "\ud800.safetensors",
        3,
        None,
        ["m-1.safetensors"],
    ],
)
def test_shard_elsewhere_is_refused(shards: Path, name: object) -> None:
    shards.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(
        FormatError, match=r"is not allowed; expected the plain name of a \.safetensors file in the index's folder"
    ):
        read_shards(shards)


@pytest.mark.parametrize("index", [b"{}", b'{"weight_map": {}}', b'{"weight_map": [1]}'])
def test_index_without_weights_is_an_error(shards: Path, index: bytes) -> None:
    shards.write_bytes(index)
    with pytest.raises(FormatError, match="weight_map is missing or empty"):
        read_shards(shards)


def test_tensor_missing_from_its_shard_is_an_error(shards: Path) -> None:
    shards.write_text(json.dumps({"weight_map": {"c": "m-1.safetensors"}}))
    with pytest.raises(FormatError, match=r"m-1\.safetensors: tensor 'c' is missing, although"):
        read_shards(shards)


def test_missing_shard_is_an_error(shards: Path) -> None:
    (shards.parent / "m-2.safetensors").unlink()
    with pytest.raises(FormatError, match=r"m-2\.safetensors cannot be read"):
        read_shards(shards)


def test_every_float_kind_is_supported() -> None:
    assert {"F32", "F16", "BF16"} <= set(KINDS)
