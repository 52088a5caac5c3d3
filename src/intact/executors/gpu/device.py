"""The device: adapters, buffers and pipelines. The only file that calls the `wgpu` package."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError, ParameterError
from intact.executors.gpu.shaders import Shader, read_shader, with_constants

INSTALL: Final = "pip install 'intact-llm[gpu]'"
_ORDER: Final = ("DiscreteGPU", "IntegratedGPU", "VirtualGPU", "Unknown", "CPU")
_BACKENDS: Final = ("Vulkan", "Metal", "D3D12", "OpenGL")


class GpuAdapter(NamedTuple):
    """An adapter as `intact doctor` shows it.

    Attributes
    ----------
    name : str
        Name of the device.
    driver : str
        Name and version of its driver.
    kind : str
        DiscreteGPU, IntegratedGPU, VirtualGPU, CPU (a device in software) or Unknown.
    binding, buffer : int
        Maximum size of a bound buffer and of any buffer, in bytes.
    """

    name: str
    driver: str
    backend: str
    kind: str
    binding: int
    buffer: int

    @property
    def is_software(self) -> bool:
        """True if the device is a program that runs on the CPU."""
        return self.kind == "CPU"

    def __str__(self) -> str:
        return f"{self.name} ({self.driver or 'unknown driver'}, {self.backend})"


class NoDeviceError(ParameterError):
    """No GPU can be used: the package or an adapter is missing."""


def _package() -> Any:
    try:
        import wgpu
    except ImportError as error:
        raise NoDeviceError(f"the executor wgpu needs the package wgpu: {INSTALL}") from error
    return wgpu


def _describe(adapter: Any) -> GpuAdapter:
    info, limits = adapter.info, adapter.limits
    return GpuAdapter(
        info["device"],
        info["description"],
        info["backend_type"],
        info["adapter_type"],
        limits["max-storage-buffer-binding-size"],
        limits["max-buffer-size"],
    )


def _rank(adapter: GpuAdapter) -> tuple[int, int]:
    kind = _ORDER.index(adapter.kind) if adapter.kind in _ORDER else len(_ORDER)
    backend = _BACKENDS.index(adapter.backend) if adapter.backend in _BACKENDS else len(_BACKENDS)
    return kind, backend


def _found() -> list[tuple[GpuAdapter, Any]]:
    pairs = [(_describe(adapter), adapter) for adapter in _package().gpu.enumerate_adapters_sync()]
    return sorted(pairs, key=lambda pair: _rank(pair[0]))


def adapters() -> list[GpuAdapter]:
    """Return all adapters, the one that would be chosen first.

    Raises
    ------
    NoDeviceError
        If the package wgpu is not installed.
    """
    return [described for described, _ in _found()]


@cache
def open_device(name: str | None = None) -> Device:
    """Return the device of the best adapter, or of the first one whose description contains a name; opened once.

    Without a name, INTACT_GPU is used if it is set. GPUs come before devices in software, and Vulkan, Metal and D3D12
    before OpenGL.

    Raises
    ------
    NoDeviceError
        If the package wgpu is missing, or no adapter matches.
    """
    wanted = os.environ.get("INTACT_GPU", "") if name is None else name
    found = _found()
    chosen = [pair for pair in found if wanted.lower() in str(pair[0]).lower()]
    if not chosen:
        known = "; ".join(str(described) for described, _ in found) or "none: install a Vulkan driver"
        raise NoDeviceError(f"no adapter matches INTACT_GPU={wanted!r}; this machine has: {known}")
    return Device(*chosen[0])


class Device:
    """An opened device.

    Attributes
    ----------
    adapter : GpuAdapter
        Its adapter.
    """

    def __init__(self, adapter: GpuAdapter, native: Any) -> None:
        wgpu = _package()
        self.adapter, self._wgpu = adapter, wgpu
        names = ("max-storage-buffer-binding-size", "max-buffer-size")
        self._device: Any = native.request_device_sync(required_limits={name: native.limits[name] for name in names})
        usage = wgpu.BufferUsage
        self._storage = usage.STORAGE | usage.COPY_SRC | usage.COPY_DST
        self._staging = usage.MAP_READ | usage.COPY_DST
        self._pipelines: dict[tuple[str, tuple[tuple[str, int | bool], ...]], Any] = {}
        self._layouts: dict[tuple[bool, ...], Any] = {}

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        """Convert errors of the package."""
        try:
            yield
        except self._wgpu.GPUOutOfMemoryError as error:
            raise CapacityError(f"{self.adapter} has too little memory for {what}: choose a smaller model") from error

    def storage(self, size: int, what: str = "a buffer") -> Any:
        """Return a new buffer of zeros of at least `size` bytes, which shaders can bind; `what` is named in errors."""
        if size > self.adapter.binding:
            raise CapacityError(f"{what} takes {size:,} bytes; {self.adapter} binds at most {self.adapter.binding:,}")
        with self._errors(f"{what} ({size:,} bytes)"):
            return self._device.create_buffer(size=max(4, -(-size // 4) * 4), usage=self._storage)

    def staging(self, size: int) -> Any:
        """Return a new buffer from which the CPU reads."""
        with self._errors(f"results ({size:,} bytes)"):
            return self._device.create_buffer(size=max(4, size), usage=self._staging)

    def upload(self, words: NDArray[np.uint32], what: str = "a buffer") -> Any:
        """Return a new buffer with these contents."""
        buffer = self.storage(4 * len(words), what)
        self.write(buffer, words)
        return buffer

    def write(self, buffer: Any, words: NDArray[Any], offset: int = 0) -> None:
        """Write to a buffer, from a byte offset on."""
        if len(words):
            self._device.queue.write_buffer(buffer, offset, np.ascontiguousarray(words))

    def read(self, buffer: Any, offset: int, size: int) -> NDArray[np.uint8]:
        """Return a copy of a buffer's bytes."""
        return np.frombuffer(self._device.queue.read_buffer(buffer, offset, size), np.uint8).copy()

    def pipeline(self, name: str, constants: Sequence[tuple[str, int | bool]] = ()) -> Any:
        """Return a shader's pipeline, compiled once for each set of constants."""
        key = (name, tuple(constants))
        if key not in self._pipelines:
            shader = read_shader(name)
            module = self._device.create_shader_module(code=with_constants(shader, constants), label=name)
            layout = self._device.create_pipeline_layout(bind_group_layouts=[self._layout(shader)])
            compute = {"module": module, "entry_point": "main"}
            self._pipelines[key] = self._device.create_compute_pipeline(layout=layout, compute=compute, label=name)
        return self._pipelines[key]

    def _layout(self, shader: Shader) -> Any:
        if shader.writable not in self._layouts:
            kinds = ("read-only-storage", "storage")
            entries = [
                {"binding": i, "visibility": self._wgpu.ShaderStage.COMPUTE, "buffer": {"type": kinds[writes]}}
                for i, writes in enumerate(shader.writable)
            ]
            self._layouts[shader.writable] = self._device.create_bind_group_layout(entries=entries)
        return self._layouts[shader.writable]

    def bind(self, name: str, buffers: Sequence[Any]) -> Any:
        """Return the bind group of a shader with these buffers."""
        entries = [{"binding": i, "resource": {"buffer": buffer}} for i, buffer in enumerate(buffers)]
        return self._device.create_bind_group(layout=self._layout(read_shader(name)), entries=entries)

    def encoder(self) -> Any:
        """Return a new command encoder."""
        return self._device.create_command_encoder()

    def submit(self, encoder: Any) -> None:
        """Submit what an encoder recorded."""
        self._device.queue.submit([encoder.finish()])

    def mapped(self, staging: Any, size: int) -> NDArray[np.uint8]:
        """Wait for the device, and return a copy of a staging buffer's first bytes."""
        staging.map_sync(self._wgpu.MapMode.READ, 0, size)
        try:
            return np.frombuffer(staging.read_mapped(0, size), np.uint8)
        finally:
            staging.unmap()
