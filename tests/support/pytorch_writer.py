"""PyTorch's files of tensors, written without PyTorch."""

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

from intact.checkpoints.formats.safetensors import read_safetensors

STORAGES = {"F32": "FloatStorage", "F16": "HalfStorage", "BF16": "BFloat16Storage", "I64": "LongStorage"}
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "I64": 8}
Content = tuple[str, tuple[int, ...], bytes]


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def name(value: str) -> bytes:
    return b"c" + value.replace(" ", "\n", 1).encode() + b"\n"


def numbers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of rows that stand one after the other."""
    found = [1]
    for size in shape[:0:-1]:
        found.insert(0, found[0] * size)
    return tuple(found[: len(shape)])


def tensor(kind: str, key: str, start: int, shape: tuple[int, ...], steps: tuple[int, ...]) -> bytes:
    """The instructions that make a tensor of a storage."""
    place = b"(" + text("storage") + name(f"torch {STORAGES[kind]}") + text(key) + text("cpu") + b"K\x00t"
    ends = b"\x89" + name("collections OrderedDict") + b")R" + b"t"
    whole = b"(" + place + b"Q" + b"J" + struct.pack("<i", start) + numbers(shape) + numbers(steps) + ends
    return name("torch._utils _rebuild_tensor_v2") + whole + b"R"


def state_dict(tensors: Mapping[str, bytes]) -> bytes:
    """The pickle of a state dict, whose values are instructions."""
    items = b"".join(text(key) + value for key, value in tensors.items())
    return b"\x80\x02" + name("collections OrderedDict") + b")R(" + items + b"u."


def write_archive(path: Path, files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file, content in files.items():
            archive.writestr(f"archive/{file}", content)
    return path


def write_pytorch(path: Path, tensors: Mapping[str, Content]) -> Path:
    """Write a file: name -> (kind, shape, bytes)."""
    made = {
        key: tensor(kind, str(i), 0, shape, strides(shape)) for i, (key, (kind, shape, _)) in enumerate(tensors.items())
    }
    storages = {f"data/{i}": content for i, (_, _, content) in enumerate(tensors.values())}
    return write_archive(path, {"data.pkl": state_dict(made), "byteorder": b"little", **storages})


def save_as_pytorch(path: Path, shards: int = 1) -> dict[str, Content]:
    """Write the tensors of a safetensors file as PyTorch's in its place; return them. Shards are those of a model."""
    tensors = {key: (one.kind, one.shape, one.data.tobytes()) for key, one in read_safetensors(path).items()}
    path.unlink()
    if shards == 1:
        whole = "pytorch_model.bin" if path.stem == "model" else f"{path.stem}.bin"
        write_pytorch(path.with_name(whole), tensors)
        return tensors
    where = {key: f"pytorch_model-{i % shards + 1:05}-of-{shards:05}.bin" for i, key in enumerate(tensors)}
    for file in set(where.values()):
        write_pytorch(path.with_name(file), {key: one for key, one in tensors.items() if where[key] == file})
    path.with_name("pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    return tensors
