"""Opening whatever lies on disk."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from intact._base.errors import FormatError, IntactError
from intact.checkpoints.formats import open_checkpoint
from support.gguf_writer import write_gguf
from support.tiny import write_tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the hub has them."""
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 4}))
    save_file({"w": np.ones((2, 4), np.float32)}, tmp_path / "model.safetensors")
    return tmp_path


def shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"weight_map": {"w": "model-00001-of-00001.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def test_gguf_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("a.gguf", "b.bin", "c"):
        path = write_gguf(tmp_path / name, {"general.architecture": "llama"}, {"w": ("F16", (2, 4), bytes(16))})
        with open_checkpoint(str(path)) as checkpoint:
            assert (checkpoint.format, checkpoint.path, checkpoint.folder) == ("gguf", path, tmp_path)
            assert checkpoint.metadata == {"general.architecture": "llama"}
            assert checkpoint.tensors["w"].shape == (2, 4)


def test_folder_with_one_gguf_opens_it(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf", {}, {})
    assert open_checkpoint(tmp_path).path == tmp_path / "a.gguf"
    write_gguf(tmp_path / "b.gguf", {}, {})
    with pytest.raises(FormatError, match=r"contains 2 \.gguf files \(a\.gguf, b\.gguf\); expected the path of one"):
        open_checkpoint(tmp_path)


def test_folder_and_file_of_safetensors_open_alike(folder: Path) -> None:
    for path in (folder, folder / "model.safetensors"):
        checkpoint = open_checkpoint(path)
        assert (checkpoint.format, checkpoint.folder) == ("safetensors", folder)
        assert checkpoint.metadata == {"model_type": "llama", "hidden_size": 4}
        assert (checkpoint.tensors["w"].kind, checkpoint.tensors["w"].shape) == ("F32", (2, 4))


def test_sharded_folder_and_its_index_open_alike(folder: Path) -> None:
    shard(folder)
    for path in (folder, folder / "model.safetensors.index.json"):
        checkpoint = open_checkpoint(path)
        assert (checkpoint.path, checkpoint.folder) == (folder, folder)
        assert checkpoint.tensors["w"].data.tobytes() == np.ones(8, np.float32).tobytes()


def test_single_shard_is_refused(folder: Path) -> None:
    shard(folder)
    with pytest.raises(FormatError, match="is one of several shards; expected the folder or the index"):
        open_checkpoint(folder / "model-00001-of-00001.safetensors")


def test_missing_or_bad_config_is_an_error(folder: Path) -> None:
    (folder / "config.json").write_text("[]")
    with pytest.raises(FormatError, match=r"config\.json: the configuration is a JSON list; expected an object"):
        open_checkpoint(folder)
    (folder / "config.json").write_text("")
    with pytest.raises(FormatError, match=r"config\.json: the configuration is not valid JSON"):
        open_checkpoint(folder)
    (folder / "config.json").unlink()
    with pytest.raises(FormatError, match=r"config\.json is missing; expected the model's config\.json next to"):
        open_checkpoint(folder)


def test_anything_else_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"contains no model; expected a \.gguf file"):
        open_checkpoint(tmp_path)
    with pytest.raises(IntactError, match="absent: no such file or folder"):
        open_checkpoint(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(FormatError, match="is not a GGUF, safetensors or PyTorch file"):
        open_checkpoint(tmp_path / "notes.txt")
    (tmp_path / "empty.gguf").touch()
    with pytest.raises(FormatError, match="expected a GGUF file"):
        open_checkpoint(tmp_path / "empty.gguf")
    with pytest.raises(FormatError, match="expected"):
        open_checkpoint("a\0b")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.gguf")
        with pytest.raises(FormatError, match="is a device or pipe; expected a file"):
            open_checkpoint(tmp_path / "pipe.gguf")


def test_metadata_and_tensors_cannot_be_changed(folder: Path) -> None:
    checkpoint = open_checkpoint(folder)
    with pytest.raises(TypeError):
        checkpoint.metadata["x"] = 1  # type: ignore[index]
    with pytest.raises(TypeError):
        del checkpoint.tensors["w"]  # type: ignore[attr-defined]


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc")
def test_a_checkpoint_at_rest_takes_no_memory_and_reads_the_same(tmp_path):
    path = write_tiny(tmp_path / "tiny.gguf", width=256, hidden=2048, vocabulary=800)

    def resident():
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        own = (line for line in lines if line.endswith(str(path)))
        return sum(next(int(line.split()[1]) for line in lines if line.startswith("Rss:")) for _ in own)  # kB

    with open_checkpoint(path) as checkpoint:
        before = {name: tensor.data.tobytes() for name, tensor in checkpoint.tensors.items()}
        assert resident() > 500
        checkpoint.rest()
        assert resident() < 100
        assert {name: tensor.data.tobytes() for name, tensor in checkpoint.tensors.items()} == before
