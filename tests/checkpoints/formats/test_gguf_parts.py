"""GGUF models split over several files are the models that they were split from."""

import shutil

import numpy as np
import pytest

import intact
from intact._base.errors import FormatError
from intact.checkpoints.formats import model_files, open_checkpoint
from intact.checkpoints.formats.gguf import read_gguf
from intact.checkpoints.formats.gguf_parts import part_paths
from intact.receipts.identity import digests_of
from support.gguf_writer import split_gguf, write_gguf
from support.tiny import write_tiny


@pytest.fixture
def whole(tmp_path):
    return write_tiny(tmp_path / "tiny.gguf")


@pytest.fixture
def parts(whole, tmp_path):
    return split_gguf(whole, 3, tmp_path / "parts")


def test_a_split_model_has_the_digests_and_answers_of_the_whole_one(whole, parts):
    one, several = intact.load(whole, threads=1), intact.load(parts[0], threads=1)
    assert digests_of(one) == digests_of(several)
    assert one.generate([1, 5, 9], max_tokens=4)[0][0].tokens == several.generate([1, 5, 9], max_tokens=4)[0][0].tokens


def test_a_folder_of_the_parts_of_one_model_is_that_model(whole, parts):
    with open_checkpoint(parts[0].parent) as checkpoint:
        assert list(checkpoint.tensors) == list(read_gguf(whole).tensors)
        assert checkpoint.path == parts[0]


def test_the_parts_that_another_program_wrote_are_read(tmp_path):
    from gguf import GGUFWriter

    writer = GGUFWriter(tmp_path / "other.gguf", "llama", split_max_tensors=2)
    values = {f"t{i}": np.arange(32 * (i + 1), dtype=np.float32) for i in range(5)}
    for name, value in values.items():
        writer.add_tensor(name, value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    first, *_ = sorted(tmp_path.glob("other-*.gguf"))
    assert first.name == "other-00001-of-00003.gguf"
    with open_checkpoint(first) as checkpoint:
        assert {name: tensor.data.tobytes() for name, tensor in checkpoint.tensors.items()} == {
            name: value.tobytes() for name, value in values.items()
        }


def test_a_models_files_are_all_parts(parts, whole):
    assert model_files(parts[0]) == part_paths(parts[1]) == parts
    assert model_files(parts[0].parent) == parts
    assert model_files(whole) == part_paths(whole) == [whole]


def test_a_later_part_is_refused(parts):
    with pytest.raises(FormatError, match="one of 3 parts; expected the first part, tiny-00001-of-00003"):
        open_checkpoint(parts[1])


def test_a_missing_part_is_named(parts):
    parts[2].unlink()
    with pytest.raises(FormatError, match=r"tiny-00003-of-00003\.gguf cannot be read"):
        open_checkpoint(parts[0])


def test_parts_in_each_others_places_are_refused(parts):
    shutil.copy(parts[1], parts[2])
    with pytest.raises(FormatError, match=r"00003-of-00003\.gguf: key 'split\.no'.* value is 1; expected 2"):
        open_checkpoint(parts[0])


def test_a_part_of_a_model_in_more_files_is_refused(parts):
    other = parts[0].with_name("tiny-00001-of-00002.gguf")
    parts[0].rename(other)
    with pytest.raises(FormatError, match="split into 3 files; expected 2, as in its name"):
        open_checkpoint(other)


def test_a_part_under_the_name_of_a_whole_file_is_refused(parts):
    other = parts[0].rename(parts[0].with_name("tiny.gguf"))
    with pytest.raises(FormatError, match="split into 3 files; expected a single file, or all of them in one folder"):
        open_checkpoint(other)


def test_a_tensor_in_two_parts_is_refused(parts):
    first = read_gguf_part(parts[0])
    metadata = {"split.no": np.uint16(1), "split.count": np.uint16(3)}
    write_gguf(parts[1], metadata, first)
    with pytest.raises(FormatError, match="also occurs in an earlier part"):
        open_checkpoint(parts[0])


def test_parts_that_lack_a_tensor_are_refused(parts):
    write_gguf(parts[2], {"split.no": np.uint16(2), "split.count": np.uint16(3)}, {})
    with pytest.raises(FormatError, match=r"tensors in total, but split\.tensors\.count is"):
        open_checkpoint(parts[0])


def read_gguf_part(path):
    from intact.checkpoints.formats.gguf import SplitPart, parse_gguf

    tensors = parse_gguf(path.read_bytes(), path, SplitPart(0, 3)).tensors
    return {name: (tensor.kind, tensor.shape, tensor.data.tobytes()) for name, tensor in tensors.items()}
