"""A device that computes other bits than the CPU is found at the start, or by a recheck, and named."""

import numpy as np
import pytest

from intact.checkpoints.formats import open_checkpoint
from intact.executors.gpu import shaders
from intact.executors.gpu.checking import DeviceMismatchError
from intact.executors.gpu.device import Device
from intact.executors.wgpu import WgpuExecutor
from intact.models import build_program
from intact.models.aspects.step import SequenceChunk
from support.gpu import device
from support.tiny import write_tiny

FAULTS = {
    "norm_quantize": ("norm_row", "root.r", "(root.r ^ 0x10000000u)", "Norm"),
    "rotate_keep": ("rotate_head", "minus(mul(a, cosine)", "plus(mul(a, cosine)", "Rope"),
    "attend": ("attend", "52 + low - h", "51 + low - h", "Attend"),
    "gate_quantize": ("gate_row", "rshift(mul(v, up), 12)", "rshift(mul(v, up), 13)", "Gate"),
    "product": ("product", "value;", "plus(value, W(1u, 0u));", "Linear"),
    "head": ("head", "sat32(value)", "sat32(plus(value, W(1u, 0u)))", "Logits"),
}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build_program(open_checkpoint(write_tiny(tmp_path_factory.mktemp("model") / "m", "llama")))


def faulty(monkeypatch, file, right, wrong):
    """A device whose compiler changes a file of the shaders."""
    opened, read = device(), shaders.shader_file
    changed = object.__new__(Device)
    changed.__dict__ |= opened.__dict__ | {"_pipelines": {}}
    assert right in read(file)
    monkeypatch.setattr(
        shaders, "shader_file", lambda name: read(name).replace(*((right, wrong) if name == file else ("", "")))
    )
    shaders.read_shader.cache_clear()
    return changed


@pytest.fixture(autouse=True)
def _fresh_texts():
    yield
    shaders.read_shader.cache_clear()


@pytest.mark.parametrize("shader", FAULTS)
def test_the_operation_that_differs_is_named_with_driver_and_device(program, monkeypatch, shader):
    file, right, wrong, kind = FAULTS[shader]
    changed = faulty(monkeypatch, file, right, wrong)
    with pytest.raises(
        DeviceMismatchError, match=rf"operation \d+ \({kind}, shader {shader}\) gives other bits"
    ) as found:
        WgpuExecutor(program, page_size=16, threads=1, device=changed, check=True)
    assert str(changed.adapter) in str(found.value)
    assert changed.adapter.driver in str(found.value)


def test_a_right_device_passes(program):
    device()
    WgpuExecutor(program, page_size=16, threads=1, check=True)


def chunk(position, count):
    return SequenceChunk(position, np.arange(count, dtype=np.int32) + 5, np.array([1, 0], np.int32))


def test_a_recheck_finds_a_row_that_differs(program, monkeypatch):
    device()
    executor = WgpuExecutor(program, page_size=16, threads=1, recheck=2)
    executor.reserve_pages(2)
    for position in range(4):
        executor.step([chunk(position, 1)], np.zeros(1, np.int64))
    assert executor._checker.checked == 2
    run = executor._runner.run
    monkeypatch.setattr(executor._runner, "run", lambda *arguments: run(*arguments) + 1)
    executor.step([chunk(4, 1)], np.zeros(1, np.int64))
    with pytest.raises(DeviceMismatchError, match="position 5 of a text has other logits than on the CPU"):
        executor.step([chunk(5, 1)], np.zeros(1, np.int64))
