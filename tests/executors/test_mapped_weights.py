"""Packed matrices in a file come back as they were, a wrong index is refused, and the pager keeps its cap."""

import io
import random

import numpy as np
import pytest

from intact import _native
from intact._base.errors import FormatError, ParameterError
from intact._base.system import can_page
from intact.checkpoints.formats import open_checkpoint
from intact.executors.native import NativeExecutor
from intact.executors.packing import pack, pack_tensor
from intact.executors.weight_file import WeightFile, matrices_of, write_weights
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from intact.numerics.weight_formats import FORMATS
from support.tiny import IQ_KINDS, K_KINDS, KINDS, write_tiny
from support.weights import random_weight

KEY = bytes(range(32))


def joined(weight):
    stated, table, storage, numbers = weight.state()
    return list(stated), table, np.concatenate([storage, numbers])


def aligned(data):
    """The same bytes from the start of a line of 64 on, as they lie in a map."""
    room = np.empty(data.size + 64, np.uint8)
    at = -room.ctypes.data % 64
    room[at : at + data.size] = data
    return room[at : at + data.size]


def same(one, other):
    return all(
        (a is None) == (b is None) and np.array_equal(a, b)
        for a, b in zip((*one.unpack(), one.table), (*other.unpack(), other.table), strict=True)
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_a_matrix_of_every_format_comes_back_as_it_was(kind):
    from intact.measure.conformance.synthetic import random_tensor

    shape = (37, 512)
    data = np.frombuffer(random_tensor("mapped", kind, shape, 1.0), np.uint8)
    weight = _native.convert(kind, data, *shape)
    stated, table, bytes_ = joined(weight)
    mapped = _native.map_weight(stated, table, aligned(bytes_))
    assert same(mapped, weight)
    assert (mapped.nbytes, mapped.scale_form, mapped.minimum_form) == (
        weight.nbytes, weight.scale_form, weight.minimum_form,
    )  # fmt: skip
    assert joined(mapped)[0] == stated


@pytest.mark.parametrize("minimum", [False, True])
@pytest.mark.parametrize(("layout", "table"), [((4, 32), 0), ((4, 16), 200), ((6, 16), 1984), ((3, 32), 0)])
def test_integer_matrices_come_back_as_they_were(layout, table, minimum):
    weight = pack(random_weight(1, layout, (33, 100), table=table, minimum=minimum))
    assert same(_native.map_weight(*joined(weight)[:2], aligned(joined(weight)[2])), weight)


def test_numbers_that_do_not_fit_the_bytes_are_refused():
    weight = pack(random_weight(1, (5, 32), (33, 100), minimum=True))
    stated, table, data = joined(weight)
    data = aligned(data)
    for wrong in (stated[:-1], [*stated, 0], []):
        with pytest.raises(FormatError, match="another number of members"):
            _native.map_weight(wrong, table, data)
    draw, refused = random.Random(5), 0
    for _ in range(2000):
        wrong = list(stated)
        place = draw.randrange(len(wrong))
        wrong[place] = draw.choice([-(1 << 62), -2, -1, 0, 1, 2, 64, wrong[place] + 4, 1 << 20, 1 << 40, (1 << 63) - 1])
        try:
            mapped = _native.map_weight(wrong, table, data)
        except (FormatError, TypeError, ValueError, RuntimeError, OverflowError):
            refused += 1
        else:  # whatever it is, it lies within its bytes
            assert mapped.rows * mapped.columns <= 8 * data.size
    assert refused > 500
    with pytest.raises(FormatError, match="outside its bytes"):
        _native.map_weight(stated, table, data[:-64])


def test_a_weight_that_a_model_has_taken_has_no_state():
    weight = pack(random_weight(1, (4, 32), (16, 32)))
    _native.Model("int8", "scalar", 1, 1, 1, 16, 16).add_packed(weight)
    with pytest.raises(ValueError, match="belongs to a model already"):
        weight.state()


@pytest.fixture(scope="module", params=[KINDS, K_KINDS + IQ_KINDS], ids=["plain", "blocks of 256"])
def program(request, tmp_path_factory):
    path = write_tiny(tmp_path_factory.mktemp("model") / "tiny.gguf", kinds=request.param, layers=8)
    return build_program(open_checkpoint(path))


@pytest.fixture
def file(program, tmp_path):
    with (tmp_path / "packed").open("wb") as stream:
        write_weights(stream, KEY, matrices_of(program), lambda name: pack_tensor(program.tensors[name], 8, 1))
    return WeightFile(tmp_path / "packed", KEY)


def run(executor, tokens):
    """Run a prompt of these tokens, then tokens one by one; return all logits."""
    executor.reserve_pages(2)
    pages, found = np.array([0, 1], np.int32), []
    for position, count in ((0, tokens), *((tokens + i, 1) for i in range(6))):
        chunk = SequenceChunk(position, np.arange(count, dtype=np.int32) + 5, pages)
        found.append(np.array(executor.step([chunk], np.arange(count, dtype=np.int64))))
    return np.concatenate(found)


@pytest.mark.skipif(not can_page(), reason="needs Linux")
@pytest.mark.parametrize("threads", [1, 2])
def test_the_pager_keeps_its_cap_and_half_of_a_dense_model(program, file, threads):
    expected = run(NativeExecutor(program, threads=threads), 9)
    roomy = NativeExecutor(program, threads=threads, mapped=file, weights_memory=1 << 30)
    assert np.array_equal(run(roomy, 9), expected)
    whole = roomy.paged
    assert (whole.dropped, whole.here) == (0, whole.most)
    assert 0 < whole.here - whole.requested < whole.here // 3  # of the embedding only some rows are read
    for share in (3, 2):
        cap = whole.most // share
        executor = NativeExecutor(program, threads=threads, mapped=file, weights_memory=cap)
        assert np.array_equal(run(executor, 9), expected)
        before = executor.paged
        assert before.most <= cap
        run(executor, 9)
        missing, ahead = whole.most - cap, cap // 8
        assert executor.paged.requested - before.requested <= 7 * (missing + 3 * ahead)
        assert executor.paged.dropped > before.dropped


@pytest.mark.skipif(not can_page(), reason="needs Linux")
def test_a_cap_that_is_too_low_is_refused_with_the_least(program, file):
    with pytest.raises(ParameterError, match="weights_memory must be at least") as refusal:
        NativeExecutor(program, mapped=file, weights_memory=1)
    least = int(str(refusal.value).split("at least ")[1].split()[0])
    NativeExecutor(program, mapped=file, weights_memory=least)
    with pytest.raises(ParameterError, match="weights_memory must be at least"):
        NativeExecutor(program, mapped=file, weights_memory=least - 1)


def test_another_key_or_a_foreign_file_is_refused(file, tmp_path):
    with pytest.raises(FormatError, match="of another model or version"):
        WeightFile(file.path, KEY[::-1])
    (tmp_path / "other").write_bytes(b"x" * 5000)
    with pytest.raises(FormatError, match="of another model or version"):
        WeightFile(tmp_path / "other", KEY)
    with pytest.raises(FormatError):
        WeightFile(tmp_path / "absent", KEY)


def test_verifying_names_the_matrix_that_is_damaged(program, file, tmp_path):
    file.verify(2)
    data = bytearray(file.path.read_bytes())
    data[4096] ^= 1
    (tmp_path / "damaged").write_bytes(data)
    with pytest.raises(FormatError, match=f"the bytes of {matrices_of(program)[0]} are damaged"):
        WeightFile(tmp_path / "damaged", KEY).verify(1)


def test_writing_fails_as_the_disk_does(program):
    class Full(io.BytesIO):
        def write(self, data):
            if self.tell() > 10_000:
                raise OSError(28, "No space left on device")
            return super().write(data)

    with pytest.raises(OSError, match="No space left"):
        write_weights(Full(), KEY, matrices_of(program), lambda name: pack_tensor(program.tensors[name], 8, 1))
