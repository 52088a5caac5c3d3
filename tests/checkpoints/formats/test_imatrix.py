"""llama.cpp's importance matrices are read from both kinds of files, and damaged ones are refused."""

import struct
from pathlib import Path

import numpy as np
import pytest

from intact._base.errors import FormatError
from intact.checkpoints.formats.imatrix import read_imatrix
from support.gguf_writer import write_gguf

INPUTS = np.random.default_rng(1).standard_normal((90, 24)).astype(np.float32)
SUMS = (INPUTS**2).sum(axis=0)


def binary(chunks: int = 3, name: bytes = b"blk.0.attn_q.weight", sums: np.ndarray = SUMS) -> bytes:
    """The file as llama.cpp wrote it: mean squares times the chunks."""
    values = (sums / len(INPUTS) * chunks).astype("<f4")
    entry = struct.pack("<i", len(name)) + name + struct.pack("<ii", chunks, len(values)) + values.tobytes()
    other = struct.pack("<i", 6) + b"output" + struct.pack("<ii", 1, 2) + np.array([4, 9], "<f4").tobytes()
    return struct.pack("<i", 2) + entry + other + struct.pack("<ii", chunks, 4) + b"text"


def gguf(path: Path, sums: np.ndarray, counts: np.ndarray | None) -> Path:
    tensors = {"blk.0.ffn_up.weight.in_sum2": ("F32", sums.shape, sums.astype("<f4").tobytes())}
    if counts is not None:
        tensors["blk.0.ffn_up.weight.counts"] = ("F32", counts.shape, counts.astype("<f4").tobytes())
    return write_gguf(
        path, {"general.type": "imatrix", "imatrix.chunk_count": 3, "imatrix.datasets": ["text"]}, tensors
    )


def test_a_binary_file_gives_mean_squares(tmp_path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(binary())
    found = read_imatrix(path)
    assert list(found) == ["blk.0.attn_q.weight", "output"]
    assert found["blk.0.attn_q.weight"].counts.tolist() == [3]
    assert np.allclose(found["blk.0.attn_q.weight"].mean[0], (INPUTS.astype(np.float64) ** 2).mean(axis=0))
    assert found["output"].mean.tolist() == [[4, 9]]


def test_a_gguf_file_gives_sums_and_rows_of_each_expert(tmp_path) -> None:
    sums = np.stack([SUMS, np.zeros_like(SUMS)])
    (one,) = read_imatrix(gguf(tmp_path / "i.gguf", sums, np.array([[90], [0]]))).values()
    assert one.counts.tolist() == [90, 0]
    assert np.array_equal(one.sums, sums)
    assert np.allclose(one.mean[0], (INPUTS.astype(np.float64) ** 2).mean(axis=0))
    assert not one.mean[1].any()


def test_both_kinds_of_files_agree(tmp_path) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(binary(name=b"blk.0.ffn_up.weight"))
    new = read_imatrix(gguf(tmp_path / "i.gguf", SUMS[None], np.array([[90]])))
    assert np.allclose(read_imatrix(path)["blk.0.ffn_up.weight"].mean, new["blk.0.ffn_up.weight"].mean)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 remain"),
        (b"\0\0\0\0", "the number of entries is 0 at byte 0"),
        (struct.pack("<ii", 1, 1 << 20), "the length of a name is 1048576 at byte 4"),
        (binary()[:60], "96 bytes are declared, 25 remain"),
        (binary(chunks=-1), "the number of chunks is -1"),
        (binary(name=b"\xff\xff"), "a name is not UTF-8"),
        (binary(sums=SUMS * np.nan), "negative or non-finite"),
        (binary(sums=-SUMS), "negative or non-finite"),
    ],
)  # fmt: skip
def test_a_damaged_binary_file_is_refused(tmp_path, data: bytes, message: str) -> None:
    path = tmp_path / "imatrix.dat"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=message) as error:
        read_imatrix(path)
    assert str(path) in str(error.value)


def test_a_gguf_file_without_its_parts_is_refused(tmp_path) -> None:
    with pytest.raises(FormatError, match=r"'blk.0.ffn_up.weight.counts' is missing; expected \(1, 1\)"):
        read_imatrix(gguf(tmp_path / "a.gguf", SUMS[None], None))
    with pytest.raises(FormatError, match=r"counts' is of shape \(2, 1\)"):
        read_imatrix(gguf(tmp_path / "b.gguf", SUMS[None], np.ones((2, 1))))
    with pytest.raises(FormatError, match="contains no sums"):
        read_imatrix(write_gguf(tmp_path / "c.gguf", {"general.type": "model"}, {}))
