"""The forward pass: the serving engine's own executor, whose rows between layers are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import CapacityError
from intact.executors.base import Executor, fixed_logits
from intact.executors.settings import ExecutorSettings
from intact.executors.weight_file import WeightFile, matrices_of
from intact.models.aspects.step import SequenceChunk
from intact.models.layers import segments, some_layers
from intact.models.ops import AllGather
from intact.models.program import Program
from intact.numerics.fp32 import Floats
from intact.numerics.profiles import Profile
from intact.train.base import Base
from intact.train.examples import Sequenced

CHUNK: Final = 256
"""Number of rows in a step of the executor; it changes no bit."""
_PAGE: Final = 32
_MAPPED: Final = 16 << 20
"""Size in bytes of a model's matrices from which their packed form is kept in a file."""


class Run(NamedTuple):
    """The rows and logits that the engine computed for one sequence.

    Attributes
    ----------
    rows : list of float32 (positions, width)
        The residual stream at each boundary between layers; at the last one only at the wanted positions.
    logits : float32 (wanted, vocabulary)
    logprobs : int64 (wanted,)
        Log-probabilities of the targets, nats, Q24.
    """

    rows: list[Floats]
    logits: Floats
    logprobs: NDArray[np.int64]


class EngineForward:
    """Runs sequences through a program with the executor that also serves it.

    Parameters
    ----------
    profile, bits, threads, tier
        As for an executor.
    """

    def __init__(self, base: Base, profile: Profile, bits: int, threads: int | None, tier: str | None) -> None:
        self._settings = ExecutorSettings(profile, bits, _PAGE, "native", threads=threads)
        self._base, self._tier, self._float = base, tier, profile == "fp32"
        self._packed: WeightFile | None = None
        self._executor: Executor | None = None
        self._kept: list[Floats] = []
        self._layers = 0

    def keep_packed(self) -> None:
        """Convert the base's matrices once for all steps, if they are large."""
        from intact.executors.weight_store import map_packed

        program = self._base.program
        if not self._float and sum(program.tensors[name].stored_bytes for name in matrices_of(program)) > _MAPPED:
            threads = self._settings.threads or 1
            self._packed = map_packed(program, self._base.weights_root, self._settings.bits, threads)

    def open(self, program: Program) -> None:
        """Use a program for the following runs."""
        self.close()
        self._layers = len(segments(program).layers)
        watched = some_layers(program, range(self._layers))
        self._executor = self._settings.make_executor(watched, self._exchange, tier=self._tier, mapped=self._packed)

    def close(self) -> None:
        """Free the executor."""
        if self._executor is not None:
            self._executor.close()
            self._executor = None

    def run(self, sequence: Sequenced, adapter: int = -1, keep: bool = True) -> Run:
        """Run one sequence.

        Parameters
        ----------
        adapter : int
            Number of the adapter; -1 for none.
        keep : bool
            If false, rows between layers are not kept.

        Raises
        ------
        CapacityError
            If there is not enough memory for the KV cache.
        """
        executor = self._executor
        assert executor is not None
        inputs, wanted = sequence.inputs, sequence.wanted
        pages = np.arange(-(-len(inputs) // _PAGE), dtype=np.int32)
        try:
            executor.reserve_pages(len(pages))
        except MemoryError:
            raise CapacityError(f"not enough memory for the KV cache of {len(inputs)} tokens") from None
        kept: list[list[Floats]] = [[] for _ in range(self._layers + 1)]
        logits: list[Floats] = []
        logprobs: list[NDArray[np.int64]] = []
        for start in range(0, len(inputs), CHUNK):
            part = inputs[start : start + CHUNK]
            own = wanted[(wanted >= start) & (wanted < start + len(part))] - start
            targets = sequence.targets[(wanted >= start) & (wanted < start + len(part))]
            self._kept = []
            integers, floats = self._step(executor, SequenceChunk(start, part, pages, adapter=adapter), own)
            if keep:
                for boundary, rows in enumerate(self._kept):
                    last = boundary == self._layers and len(rows) == len(part)
                    kept[boundary].append(rows[own] if last else rows)
            if len(own):
                logits.append(floats)
                logprobs.append(executor.log_probabilities(integers, targets))
        boundaries = [np.concatenate(parts) for parts in kept] if keep else []
        return Run(boundaries, np.concatenate(logits), np.concatenate(logprobs))

    def _step(
        self, executor: Executor, chunk: SequenceChunk, own: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], Floats]:
        """Run a step; return the logits of the wanted rows in Q16, and as float32."""
        if self._float:
            floats = executor.step_float([chunk], own).copy()
            return fixed_logits(floats), floats
        integers = executor.step([chunk], own).copy()
        return integers, integers.astype(np.float32) / np.float32(1 << 16)

    def _exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Keep the rows of a boundary as float32."""
        if whole.dtype == np.float32:
            self._kept.append(whole.copy())
        else:
            self._kept.append(np.ldexp(whole.astype(np.float64), -20).astype(np.float32))


def tokens_of(sequences: Sequence[Sequenced]) -> int:
    """Return the number of tokens that the model reads for some sequences."""
    return sum(len(sequence.inputs) for sequence in sequences)
