"""Writing GGUF files: metadata as raw pairs (`gguf.read_pairs`), then the tensors in sequence.

Source: the format, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from intact._base.files import write_whole
from intact.checkpoints.formats.gguf import ALIGNMENT, MAGIC, TENSOR_KINDS
from intact.checkpoints.formats.safetensors import Stored
from intact.numerics.weight_formats import Bytes

NUMBERS: Final = {kind: number for number, kind in TENSOR_KINDS.items()}
"""Kinds of tensors that a file can hold, with their numbers."""
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _typed(value: object) -> tuple[int, bytes]:
    """Return the number of a value's type, and the value's bytes."""
    if isinstance(value, str):
        return _STRING, _string(value)
    if isinstance(value, bool):
        return _BOOL, struct.pack("<?", value)
    if isinstance(value, int):
        return _UINT32, struct.pack("<I", value)
    if isinstance(value, float):
        return _FLOAT32, struct.pack("<f", value)
    if isinstance(value, Sequence) and value:
        if all(type(item) is int for item in value):  # signed: llama.cpp requires it for token types
            return _ARRAY, struct.pack(f"<IQ{len(value)}i", _INT32, len(value), *value)
        kinds, items = zip(*map(_typed, value), strict=True)
        if len(set(kinds)) == 1:
            return _ARRAY, struct.pack("<IQ", kinds[0], len(items)) + b"".join(items)
    raise TypeError(
        f"a value must be a string, bool, integer, float or non-empty list of one of these, got {value!r:.80}"
    )


def pair(key: str, value: object) -> bytes:
    """Encode a pair of a key and a value: a string, bool, 32-bit integer, float32, or a list of one of these.

    Integers are unsigned, except in lists, where they are signed.

    Raises
    ------
    TypeError
        If the value has a different type, or is an empty list.
    struct.error
        If an integer is out of range.
    """
    kind, data = _typed(value)
    return _string(key) + struct.pack("<I", kind) + data


FILE_TYPES: Final = {
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "Q2_K": 10, "Q3_K": 11, "Q4_K": 14,
    "Q5_K": 16, "Q6_K": 18, "IQ2_XXS": 19, "IQ2_XS": 20, "IQ3_XXS": 23, "IQ1_S": 24, "IQ4_NL": 25, "IQ3_S": 26,
    "IQ2_S": 28, "IQ4_XS": 30, "IQ1_M": 31, "BF16": 32, "TQ1_0": 36, "TQ2_0": 37, "MXFP4": 38,
}  # fmt: skip
"""llama.cpp's numbers for `general.file_type`, the type of most of a file's weights (llama.h, llama_ftype)."""
QUANTIZATION_VERSION: Final = 2
"""`general.quantization_version`: version of the block types (ggml.h, GGML_QNT_VERSION)."""


def write_gguf(
    path: Path,
    pairs: Mapping[str, bytes],
    tensors: Sequence[Stored] = (),
    read: Callable[[str], bytes | Bytes] = lambda name: b"",
) -> None:
    """Write a version 3 file, either completely or, on failure, not at all.

    Parameters
    ----------
    pairs : bytes by key, without `general.alignment`
    tensors : with names of weight formats as kinds, and shapes in NumPy order
    read : callable
        Returns the bytes of a tensor by name; called once per tensor, in order.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    head = [MAGIC, struct.pack("<IQQ", 3, len(tensors), len(pairs)), *pairs.values()]
    offset = 0
    for name, kind, shape, size in tensors:
        sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += [_string(name), sizes, struct.pack("<IQ", NUMBERS[kind], offset)]
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    head.append(bytes(-sum(map(len, head)) % ALIGNMENT))

    def parts() -> Iterator[bytes]:
        yield b"".join(head)
        for tensor in tensors:
            yield tensor.checked(read(tensor.name)) + bytes(-tensor.size % ALIGNMENT)

    write_whole(path, parts())
