"""Run a plan on a device: buffers, bind groups made once, and one submission for a step's rows."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError
from intact.executors.gpu.memory import DeviceMemory
from intact.executors.gpu.plan import Dispatch, DispatchPlan
from intact.executors.gpu.shaders import pack_parameters, read_shader

ROWS: Final = 256
"""Maximum number of rows of a submission."""
SCORES: Final = 1 << 26
"""Maximum size of the scores of a submission's rows, in bytes, unless a single row needs more."""
DOT: Final = 0
"""The way in which shaders multiply four bytes by four (codes.wgsl); all give the same bits."""
_TILES: Final = (1, 4, 8)


class SubmissionSizes(NamedTuple):
    """SubmissionSizes of the buffers of a submission: rows, wanted rows, uploaded words, and words of scores."""

    rows: int
    wanted: int
    words: int
    scores: int


class PlanRunner:
    """A plan on a device, with its weights and its cache.

    Parameters
    ----------
    memory : DeviceMemory
        Where buffers are allocated.
    weights : mapping
        The plan's buffers of weights by name.
    page_words : int
        Words of a page in one layer.
    vocabulary : int
        Logits of a row.
    """

    def __init__(
        self, memory: DeviceMemory, plan: DispatchPlan, weights: dict[str, Any], page_words: int, vocabulary: int
    ) -> None:
        self._memory, self._device = memory, memory.device
        self._plan, self._page_words, self._vocabulary = plan, page_words, vocabulary
        self._buffers = dict(weights)
        self._buffers["vectors"] = memory.upload(plan.vectors, "vectors")
        self._sizes = SubmissionSizes(0, 0, 0, 0)
        self._staging: Any = None
        self._pages = 0
        self._groups: dict[int, Any] = {}
        self._parameters = [self._upload_parameters(one) for one in plan.dispatches]
        self._moves = [self._upload_parameters(one) for one in plan.moves]
        self.submissions = self.dispatched = 0

    def _upload_parameters(self, one: Dispatch) -> Any:
        words = np.array(pack_parameters(read_shader(one.shader), one.numbers), np.uint32)
        return self._memory.upload(words, "parameters")

    @property
    def pages(self) -> int:
        """Number of pages."""
        return self._pages

    def most_rows(self, longest: int) -> int:
        """Return the maximum number of rows of a submission that see up to `longest` positions.

        Raises
        ------
        CapacityError
            If not even one row fits the device's limits.
        """
        limit = self._device.adapter.binding
        row = 4 * max(1, self._plan.heads) * longest
        if row > limit or 4 * self._plan.row_words > limit:
            raise CapacityError(
                f"{self._device.adapter} binds at most {limit:,} bytes, too few for the scores of a text of {longest:,}"
                f" positions ({row:,} bytes); shorten the text or load with executor='native'"
            )
        return max(1, min(ROWS, limit // (4 * self._plan.row_words), min(SCORES, limit) // row))

    def most_wanted(self) -> int:
        """Return the maximum number of wanted rows of a submission."""
        return max(1, self._device.adapter.binding // (4 * max(1, self._vocabulary)))

    def reserve_pages(self, count: int) -> None:
        """Allocate pages until there are at least `count`, in one buffer for each layer."""
        if count <= self._pages:
            return
        device, old = self._device, self._pages
        size = 4 * count * self._page_words
        fresh = [self._memory.storage(size, f"a layer's {count:,} pages") for _ in range(self._plan.layers)]
        kept = [self._buffers[f"cache {layer}"] for layer in range(self._plan.layers)] if old else []
        encoder = device.encoder()
        for layer, buffer in enumerate(fresh):
            if old:
                encoder.copy_buffer_to_buffer(kept[layer], 0, buffer, 0, 4 * old * self._page_words)
            self._buffers[f"cache {layer}"] = buffer
        device.submit(encoder)
        for buffer in kept:
            self._memory.free(buffer)
        self._pages = count
        self._groups.clear()

    def _fit(self, needed: SubmissionSizes) -> None:
        """Make buffers that hold the needed sizes, doubling those that are too small."""
        if all(have >= need for have, need in zip(self._sizes, needed, strict=True)):
            return
        limit = self._device.adapter.binding // 4
        units = (self._plan.row_words, max(1, self._vocabulary), 1, 1)
        grown = [
            have if have >= need else max(need, min(1 << (need - 1).bit_length(), limit // unit))
            for have, need, unit in zip(self._sizes, needed, units, strict=True)
        ]
        self._sizes = SubmissionSizes(*grown)
        for name, size, unit in zip(("rows", "logits", "batch", "scores"), grown, units, strict=True):
            have = self._buffers.get(name)
            if have is None or have.size < 4 * size * unit:
                self._memory.free(self._buffers.pop(name, None))
                self._buffers[name] = self._memory.storage(4 * size * unit, f"the buffer of {name}")
        if self._staging is None or self._staging.size < self._buffers["logits"].size:
            self._staging = self._device.staging(self._buffers["logits"].size)
        self._groups.clear()

    def _group(self, index: int, one: Dispatch, parameters: Any) -> Any:
        if index not in self._groups:
            named = ("batch", "rows", "vectors", *one.buffers)
            self._groups[index] = self._device.bind(one.shader, [parameters, *(self._buffers[name] for name in named)])
        return self._groups[index]

    def upload(self, words: NDArray[np.uint32], rows: int, wanted: int, longest: int) -> None:
        """Upload a submission's rows, which see up to `longest` positions."""
        self._fit(SubmissionSizes(rows, wanted, len(words), rows * self._plan.heads * longest))
        self._device.write(self._buffers["batch"], words)

    def run_one(self, index: int, rows: int) -> None:
        """Run a single dispatch of the uploaded rows, all of which are wanted, in a submission of its own."""
        encoder = self._device.encoder()
        work = encoder.begin_compute_pass()
        self._record(work, (index, self._plan.dispatches[index], self._parameters[index]), rows)
        work.end()
        self._device.submit(encoder)

    def run(self, words: NDArray[np.uint32], rows: int, wanted: int, longest: int) -> NDArray[np.int32]:
        """Run rows in one submission; return the logits of the wanted ones, int32 (wanted, vocabulary)."""
        self.upload(words, rows, wanted, longest)
        encoder = self._device.encoder()
        work = encoder.begin_compute_pass()
        for i, one in enumerate(self._plan.dispatches):
            count = wanted if one.wanted else rows
            if count:
                self._record(work, (i, one, self._parameters[i]), count)
        work.end()
        size = 4 * wanted * self._vocabulary
        if size:
            encoder.copy_buffer_to_buffer(self._buffers["logits"], 0, self._staging, 0, size)
        self._device.submit(encoder)
        self.submissions += 1
        if not size:
            return np.zeros((wanted, self._vocabulary), np.int32)
        return self._device.mapped(self._staging, size).view(np.int32).reshape(wanted, self._vocabulary)

    def _record(self, work: Any, dispatch: tuple[int, Dispatch, Any], count: int) -> None:
        index, one, parameters = dispatch
        tile = next((tile for tile in _TILES if count <= tile), _TILES[-1]) if one.tiled else 1
        constants = one.constants
        if one.tiled:
            constants = (*constants, ("T", tile))
        if one.tiled or one.shader == "embed":
            constants = (*constants, ("DOT", DOT))
        work.set_pipeline(self._device.pipeline(one.shader, constants))
        work.set_bind_group(0, self._group(index, one, parameters))
        work.dispatch_workgroups(one.across, -(-count // tile))
        self.dispatched += 1

    def move(self, words: NDArray[np.uint32]) -> None:
        """Move slots of the cache; the words are a `Batch` with sources and targets."""
        self._fit(SubmissionSizes(1, 0, len(words), 1))
        self._device.write(self._buffers["batch"], words)
        encoder = self._device.encoder()
        work = encoder.begin_compute_pass()
        for i, one in enumerate(self._plan.moves):
            self._record(work, (len(self._parameters) + i, one, self._moves[i]), 1)
        work.end()
        self._device.submit(encoder)

    def close(self) -> None:
        """Free all buffers."""
        for buffer in (*self._buffers.values(), *self._parameters, *self._moves):
            self._memory.free(buffer)
        self._buffers.clear()
        self._groups.clear()

    def read_row(self, row: int, offset: int, words: int) -> NDArray[np.uint32]:
        """Return some words of a row of the last submission."""
        at = 4 * (row * self._plan.row_words + offset)
        return self._device.read(self._buffers["rows"], at, 4 * words).view(np.uint32)

    def read_page(self, page: int) -> NDArray[np.uint8]:
        """Return the bytes of a page, layer by layer."""
        size = 4 * self._page_words
        layers = range(self._plan.layers)
        parts = [self._device.read(self._buffers[f"cache {layer}"], page * size, size) for layer in layers]
        return np.concatenate([np.zeros(0, np.uint8), *parts])

    def write_page(self, page: int, data: NDArray[np.uint8]) -> None:
        """Overwrite a page."""
        size = 4 * self._page_words
        for layer in range(self._plan.layers):
            self._device.write(self._buffers[f"cache {layer}"], data[layer * size : (layer + 1) * size], page * size)

    def copy_page(self, source: int, target: int) -> None:
        """Copy a page onto another, by way of a buffer, as a copy within a buffer is not allowed."""
        size = 4 * self._page_words
        if "page" not in self._buffers:
            self._buffers["page"] = self._memory.storage(size, "a page")
        encoder, between = self._device.encoder(), self._buffers["page"]
        for layer in range(self._plan.layers):
            cache = self._buffers[f"cache {layer}"]
            encoder.copy_buffer_to_buffer(cache, source * size, between, 0, size)
            encoder.copy_buffer_to_buffer(between, 0, cache, target * size, size)
        self._device.submit(encoder)
