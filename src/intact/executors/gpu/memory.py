"""The device memory of one executor: buffers within a budget."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError
from intact.executors.gpu.device import Device


class DeviceMemory:
    """Buffers of a device, counted.

    Parameters
    ----------
    limit : int, optional
        Maximum size of all buffers in bytes. WebGPU cannot tell how much memory is free, so without a limit only the
        driver refuses.

    Attributes
    ----------
    used : int
        Size of all buffers in bytes.
    """

    def __init__(self, device: Device, limit: int | None = None) -> None:
        self.device, self.limit, self.used = device, limit, 0

    def _count(self, size: int, what: str) -> None:
        if self.limit is not None and self.used + size > self.limit:
            raise CapacityError(
                f"{what} takes {size:,} bytes of the GPU's memory, but of the {self.limit:,} of gpu_memory "
                f"{self.used:,} are in use: raise gpu_memory, or choose a smaller model or cache"
            )
        self.used += size

    def storage(self, size: int, what: str) -> Any:
        """Return a new buffer of zeros that shaders can bind.

        Raises
        ------
        CapacityError
            If it exceeds the budget, the device's limits or the device's memory; `what` is named.
        """
        self._count(size, what)
        try:
            return self.device.storage(size, what)
        except CapacityError:
            self.used -= size
            raise

    def upload(self, words: NDArray[np.uint32], what: str) -> Any:
        """Return a new buffer with these contents; errors as in `storage`."""
        buffer = self.storage(4 * len(words), what)
        self.device.write(buffer, words)
        return buffer

    def free(self, buffer: Any) -> None:
        """Free a buffer that `storage` or `upload` returned."""
        if buffer is not None:
            self.used -= buffer.size
            buffer.destroy()
