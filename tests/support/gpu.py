"""The device on which tests of the GPU executor run, and functions of its shaders called one by one."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest

from intact.executors.gpu.device import Device, NoDeviceError, open_device
from intact.executors.gpu.shaders import read_shader


@cache
def _reason() -> str | None:
    try:
        open_device()
    except NoDeviceError as error:
        return str(error)
    return None


def device() -> Device:
    """The best device, a GPU or one in software; the test is skipped if there is none."""
    if (reason := _reason()) is not None:
        pytest.skip(reason)
    return open_device()


def call(include: str, expression: str, *inputs: Sequence[int], words: int = 1) -> np.ndarray:
    """Evaluate a WGSL expression for each element of the inputs.

    Parameters
    ----------
    include : str
        File with the functions.
    expression : str
        Gives ``words`` of a vec4<u32>, from the vec2<u32> ``a`` and ``b`` and the u32 ``c``: the inputs as 64-bit
        numbers, low word first, and the low word of the third input.
    """
    opened = device()
    wgpu, native = opened._wgpu, opened._device
    padded = [*inputs, *[[0] * len(inputs[0])] * (3 - len(inputs))]
    numbers = np.array([[x & (2**64 - 1) for x in column] for column in padded], np.uint64)
    count = numbers.shape[1]
    text = f"""
        @group(0) @binding(0) var<storage, read> inputs: array<vec2<u32>>;
        @group(0) @binding(1) var<storage, read_write> results: array<vec4<u32>>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) g: vec3<u32>) {{
            if (g.x >= {count}u) {{ return; }}
            let a = inputs[g.x]; let b = inputs[{count}u + g.x]; let c = inputs[{2 * count}u + g.x].x;
            results[g.x] = {expression};
        }}"""
    module = native.create_shader_module(code=read_shader(include).text + text)
    pipeline = native.create_compute_pipeline(layout="auto", compute={"module": module, "entry_point": "main"})
    buffers = [opened.upload(numbers.reshape(-1).view(np.uint32)), opened.storage(16 * count)]
    entries: list[Any] = [{"binding": i, "resource": {"buffer": buffer}} for i, buffer in enumerate(buffers)]
    group = native.create_bind_group(layout=pipeline.get_bind_group_layout(0), entries=entries)
    encoder = opened.encoder()
    work = encoder.begin_compute_pass()
    work.set_pipeline(pipeline)
    work.set_bind_group(0, group)
    work.dispatch_workgroups(-(-count // 64))
    work.end()
    opened.submit(encoder)
    assert wgpu is not None
    return opened.read(buffers[1], 0, 16 * count).view(np.uint32).reshape(count, 4)[:, :words].astype(np.int64)


def signed(pairs: np.ndarray) -> list[int]:
    """Numbers of 64 bits, given as low and high words."""
    return [((int(high) << 32 | int(low)) ^ 1 << 63) - (1 << 63) for low, high in pairs]
