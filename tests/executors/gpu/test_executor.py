"""The GPU executor behind the interface of executors: pages, trees, parts of steps, poor devices, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from intact._base.errors import CapacityError, ModelError, ParameterError
from intact.checkpoints.formats import Tensor, open_checkpoint
from intact.executors.gpu import running
from intact.executors.gpu.device import Device, NoDeviceError, open_device
from intact.executors.native import NativeExecutor
from intact.executors.wgpu import WgpuExecutor
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from support.gpu import device
from support.tiny import write_tiny

PAGES = 10


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def program(request, tmp_path_factory):
    """Without windows, and with windows of 24 in every other layer, heads of 40 columns."""
    path = tmp_path_factory.mktemp("model") / "m"
    return build_program(open_checkpoint(write_tiny(path, request.param, heads=4, kv_heads=2, head_width=40)))


def both(program, **options):
    executors = (
        WgpuExecutor(program, page_size=16, threads=1, **options),
        NativeExecutor(program, page_size=16, threads=1),
    )
    for executor in executors:
        executor.reserve_pages(PAGES)
    return executors


def chunk(position, tokens, pages, parents=None):
    tree = None if parents is None else np.array(parents, np.int32)
    return SequenceChunk(position, np.array(tokens, np.int32), np.array(pages, np.int32), tree)


def equal(gpu, native, *chunks, wanted=None):
    rows = np.arange(sum(len(c.tokens) for c in chunks)) if wanted is None else np.array(wanted)
    want = native.step(chunks, rows).copy()
    assert np.array_equal(gpu.step(chunks, rows), want)
    assert np.array_equal(gpu.head_inputs(np.arange(len(rows))), native.head_inputs(np.arange(len(rows))))


TEXT = [(7 * i * i + 3 * i) % 250 + 3 for i in range(90)]


@pytest.fixture
def pair(program):
    device()
    return both(program)


def test_sequences_share_a_step_in_pages_of_any_order(pair):
    a, b = [3, 1, 6, 0], [5, 2]
    equal(*pair, chunk(0, TEXT[:40], a))
    equal(*pair, chunk(40, TEXT[40:47], a), chunk(0, TEXT[5:22], b))
    equal(*pair, chunk(47, TEXT[47:48], a), chunk(17, TEXT[3:4], b), wanted=[1])


def test_trees_see_their_own_path_and_move_to_the_front(pair):
    gpu, native = pair
    pages = [4, 0, 7, 2]
    equal(gpu, native, chunk(0, TEXT[:30], pages))
    parents = [-1, 0, 0, 1, 3, 2, 4, 6, -1, 7, 9]
    equal(gpu, native, chunk(30, TEXT[30:41], pages, parents))
    path = [0, 1, 3, 4, 6, 7, 9, 10]
    for executor in pair:
        executor.move(np.array(pages, np.int32), 30 + np.array(path), 30 + np.arange(len(path)))
    for page in pages:
        assert np.array_equal(gpu.read_page(page), native.read_page(page))
    equal(gpu, native, chunk(38, TEXT[50:53], pages))


def test_pages_pass_between_executors(pair):
    gpu, native = pair
    equal(gpu, native, chunk(0, TEXT[:20], [0, 1]))
    gpu.copy_page(0, 8)
    gpu.write_page(9, native.read_page(1))
    native.write_page(8, gpu.read_page(0))
    native.copy_page(1, 9)
    equal(gpu, native, chunk(20, TEXT[20:22], [8, 9]))
    gpu.reserve_pages(PAGES + 5)  # what was there stays
    native.reserve_pages(PAGES + 5)
    equal(gpu, native, chunk(22, TEXT[22:24], [8, 9]))
    with pytest.raises(ParameterError, match="a page has"):
        gpu.write_page(0, np.zeros(3, np.uint8))


def test_long_steps_take_several_submissions(pair, monkeypatch):
    monkeypatch.setattr(running, "ROWS", 11)
    gpu, native = pair
    equal(gpu, native, chunk(0, TEXT[:25], [0, 1]), chunk(0, TEXT[10:30], [2, 3]), wanted=[0, 10, 11, 24, 25, 44])
    assert gpu.counters["submissions"] == 5
    assert gpu.counters["steps"] == 1


def test_one_submission_makes_a_step(pair):
    gpu, native = pair
    for n in (1, 1, 3, 1):
        equal(gpu, native, chunk(gpu.counters["rows"], TEXT[:n], [0]))
    assert gpu.counters["submissions"] == gpu.counters["steps"] == 4
    assert gpu.counters["dispatches"] == 4 * len(gpu._plan.dispatches)


def test_no_object_is_made_in_a_step_of_known_size(pair, monkeypatch):
    gpu, native = pair
    equal(gpu, native, chunk(0, TEXT[:3], [0, 1]))
    equal(gpu, native, chunk(3, TEXT[3:6], [0, 1]))
    for name in ("storage", "staging", "bind"):
        monkeypatch.delattr(Device, name)
    equal(gpu, native, chunk(6, TEXT[6:7], [0, 1]))


def test_a_poor_adapter_gives_the_same_bits(program):
    """A limit of 32 KiB for what is bound cuts matrices and steps."""
    opened = device()
    poor = object.__new__(Device)
    poor.__dict__ |= opened.__dict__ | {"adapter": opened.adapter._replace(binding=1 << 15)}
    gpu, native = (
        WgpuExecutor(program, page_size=16, threads=1, device=poor),
        NativeExecutor(program, page_size=16, threads=1),
    )
    for executor in (gpu, native):
        executor.reserve_pages(2)
    equal(gpu, native, chunk(0, TEXT[:20], [0, 1]), wanted=[3, 19])
    assert gpu.counters["submissions"] > 1
    with pytest.raises(CapacityError, match="binds at most 32,768"):
        gpu.reserve_pages(1000)


def test_other_profiles_are_refused_by_name(program):
    device()
    for profile in ("mxfp8", "int8+kv-int8", "fp32", "int8+teal50", "int4"):
        with pytest.raises(ParameterError, match="runs the profile int8, not"):
            WgpuExecutor(program, profile)
    with pytest.raises(ParameterError, match="page_size must be a multiple of 16"):
        WgpuExecutor(program, page_size=24)


def test_an_unknown_adapter_is_named_with_those_that_are_there(monkeypatch):
    opened = device()
    with pytest.raises(NoDeviceError, match="no adapter matches INTACT_GPU='voodoo'") as caught:
        open_device("voodoo")
    assert opened.adapter.name in str(caught.value)


def test_without_the_package_the_way_to_install_it_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "wgpu", None)
    with pytest.raises(NoDeviceError, match=r"needs the package wgpu: pip install 'intact-llm\[gpu\]'"):
        open_device("any")


def test_embeddings_with_large_scales_are_refused(program):
    device()
    name = program.ops[0].weight
    shape = program.tensors[name].shape
    huge = Tensor(name, "F32", shape, np.full(shape, 2.0**40, np.float32).reshape(-1).view(np.uint8))
    with pytest.raises(ModelError, match="too large for an embedding"):
        WgpuExecutor(replace(program, tensors={**program.tensors, name: huge}), page_size=16)
