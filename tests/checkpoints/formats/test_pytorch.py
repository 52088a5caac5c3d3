"""The reader of PyTorch's files against PyTorch where it is, and against files made to hurt."""

import json
import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import intact
from intact._base.errors import FormatError
from intact.checkpoints.formats import open_checkpoint
from intact.checkpoints.formats.pytorch import read_pytorch
from intact.receipts.identity import digests_of
from support.folders import write_folder
from support.pytorch_writer import (
    name,
    numbers,
    save_as_pytorch,
    state_dict,
    tensor,
    text,
    write_archive,
    write_pytorch,
)
from support.variants import VARIANTS

VALUES = np.arange(6, dtype=np.float32).tobytes()
ONE = tensor("F32", "0", 0, (2, 3), (3, 1))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The folder of a tiny model, in safetensors."""
    return write_folder(tmp_path / "model", VARIANTS["llama"], "pytorch")


def test_a_model_is_the_same_as_in_safetensors(model: Path) -> None:
    with intact.load(model, executor="reference") as loaded:
        expected = loaded.generate("ab", max_tokens=6)[0]
        digests = digests_of(loaded)
    save_as_pytorch(model / "model.safetensors")
    for path in (model, model / "pytorch_model.bin"):
        with intact.load(path, executor="reference") as again:
            assert digests_of(again) == digests
            assert again.generate("ab", max_tokens=6)[0] == expected


def test_shards_are_read_by_their_index(model: Path) -> None:
    tensors = save_as_pytorch(model / "model.safetensors", shards=2)
    (model / "training_args.bin").write_bytes(b"\x80\x02")
    with open_checkpoint(model) as checkpoint:
        found = {key: (one.kind, one.shape, one.data.tobytes()) for key, one in checkpoint.tensors.items()}
    assert found == tensors
    (model / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"w": "../w.bin"}}))
    with pytest.raises(FormatError, match=r"the shard name '../w.bin' is not allowed; expected .* a \.bin file"):
        open_checkpoint(model)


def test_tensors_are_views_of_the_file_that_may_share_a_storage(tmp_path: Path) -> None:
    made = {"whole": ONE, "row": tensor("F32", "0", 3, (3,), (1,)), "one": tensor("F32", "0", 5, (), ())}
    made["flat"] = tensor("F32", "0", 0, (1, 6), (99, 1))  # the stride of an axis of one is any
    path = write_archive(tmp_path / "a.pt", {"data.pkl": state_dict(made), "data/0": VALUES})
    found = read_pytorch(path)
    assert {key: (one.kind, one.shape) for key, one in found.items()} == {
        "whole": ("F32", (2, 3)),
        "row": ("F32", (3,)),
        "one": ("F32", ()),
        "flat": ("F32", (1, 6)),
    }
    assert [one.data.view("<f4").tolist() for one in found.values()] == [
        [0, 1, 2, 3, 4, 5],
        [3, 4, 5],
        [5],
        [*range(6)],
    ]
    assert all(one.data.base is not None and not one.data.flags.writeable for one in found.values())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('the pickle ran')",)


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (pickle.dumps({"w": Evil()}, 2), r"it names '__builtin__ exec', which does not occur in a state dict"),
        (pickle.dumps({"w": Evil()}, 4), r"it uses the opcode FRAME"),
        (pickle.dumps({"w": 3}, 2), "'w' is not a tensor"),
        (pickle.dumps([1], 2), "the opcode EMPTY_LIST"),
        (pickle.dumps({3: None}, 2), "a dictionary whose keys are not strings"),
        (b"\x80\x02K\x01.", "it does not contain a dictionary"),
        (b"\x80\x02}}.", "too many values"),
        (b"\x80\x02h\x07.", "7"),
        (b"\x80\x02t.", "pop from empty list"),
        (b"\x80\x02)R.", "pops more values than the stack holds"),
        (b"\x80\x02((\x85.", "pops more values than the stack holds"),
        (b"\x80\x02}", "pickle exhausted"),
        (b"\x80\x02K\x01Q.", "something that is not a storage"),
        (b"\x80\x02(" + text("storage") + name("collections OrderedDict") + text("0") + text("cpu") + b"K\x00tQ.",
         "a storage of an unknown type"),
        (b"\x80\x02" + name("collections OrderedDict") + b"(K\x01tR.", "OrderedDict with arguments that PyTorch"),
        (b"\x80\x02" + name("torch._utils _rebuild_tensor_v2") + numbers((1, 2, 3, 4)) + b"R.", "with arguments that"),
        (b"\x80\x02" + name("torch.nn.modules.linear Linear") + b")R.", "it names 'torch.nn.modules.linear Linear'"),
    ],
)  # fmt: skip
def test_a_pickle_that_is_no_state_dict_is_refused_and_never_run(tmp_path: Path, pickled: bytes, message: str) -> None:
    path = write_archive(tmp_path / "a.bin", {"data.pkl": pickled})
    with pytest.raises(FormatError, match=message) as caught:
        read_pytorch(path)
    assert str(caught.value).startswith(f"{path}: the pickle is rejected")
    assert "save it again as safetensors" in str(caught.value)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (tensor("F32", "0", 0, (3, 2), (1, 3)), r"is a view with strides \(1, 3\); expected contiguous rows"),
        (tensor("F32", "0", 0, (2, 4), (4, 1)), r"ends at byte \d+; expected at most \d+, the end of its storage"),
        (tensor("F32", "0", 1, (2, 3), (3, 1)), "ends at byte"),
        (tensor("F32", "1", 0, (2, 3), (3, 1)), "the archive has no file 'archive/data/1'"),
        (tensor("F32", "../0", 0, (2, 3), (3, 1)), "the archive has no file"),
        (tensor("F32", "0", 0, (2, 3), (1,)), "has 2 sizes and 1 strides"),
        (tensor("F32", "0", 0, (1,) * 33, (1,) * 33), "has 33 sizes and 33 strides"),
        (tensor("F32", "0", 0, (-1,), (1,)), "with arguments that PyTorch"),
    ],
)
def test_a_tensor_that_does_not_lie_in_its_storage_is_refused(tmp_path: Path, made: bytes, message: str) -> None:
    path = write_archive(tmp_path / "a.bin", {"data.pkl": state_dict({"w": made}), "data/0": VALUES})
    with pytest.raises(FormatError, match=message):
        read_pytorch(path)


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    whole = write_pytorch(tmp_path / "a.bin", {"w": ("F32", (2, 3), VALUES)}).read_bytes()
    assert read_pytorch(tmp_path / "a.bin")["w"].shape == (2, 3)
    path, rng = tmp_path / "b.bin", random.Random(1)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_pytorch(path)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            found = read_pytorch(path)
        except FormatError:
            continue
        assert all(len(one.data) == 4 * np.prod(one.shape) for one in found.values() if one.kind == "F32")


def test_other_archives_and_formats_are_refused(tmp_path: Path) -> None:
    files = {"data.pkl": state_dict({"w": ONE}), "data/0": VALUES}
    path = tmp_path / "a.bin"
    path.write_bytes(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.")  # of PyTorch before 1.6
    with pytest.raises(FormatError, match=r"is not a PyTorch archive; expected .* torch\.save .* 1\.6 or later"):
        read_pytorch(path)
    with pytest.raises(FormatError, match="was written on a big-endian machine"):
        read_pytorch(write_archive(path, files | {"byteorder": b"big"}))
    with pytest.raises(FormatError, match="is compressed"):
        read_pytorch(write_archive(path, files, zipfile.ZIP_DEFLATED))
    with pytest.raises(FormatError, match=r"has 0 data\.pkl files"):
        read_pytorch(write_archive(path, {"data/0": VALUES}))
    with pytest.raises(FormatError, match="the pickle has 2000000 bytes"):
        read_pytorch(write_archive(path, {"data.pkl": bytes(2_000_000)}))


def test_files_of_pytorch_read_back(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    linear = torch.nn.Linear(3, 2)
    values = {"tied": linear.weight, "part": linear.weight.detach()[1:], "half": torch.randn(3, 2).bfloat16()}
    values |= dict(linear.state_dict()) | {"whole": torch.arange(5), "flags": torch.tensor([True, False])}
    torch.save(values, tmp_path / "a.pt")
    found = read_pytorch(tmp_path / "a.pt")
    assert list(found) == list(values)
    for key, value in values.items():
        plain = value.detach().contiguous()
        assert found[key].shape == tuple(plain.shape)
        assert found[key].data.tobytes() == plain.view(torch.uint8).numpy().tobytes()
    torch.save({"w": linear.weight.t()}, tmp_path / "b.pt")
    with pytest.raises(FormatError, match="is a view with strides"):
        read_pytorch(tmp_path / "b.pt")
    torch.save(linear, tmp_path / "c.pt")
    with pytest.raises(FormatError, match=r"it names 'torch\.nn\.modules\.linear Linear'"):
        read_pytorch(tmp_path / "c.pt")
