"""The two ways to divide a model among machines: the memory of each rank, and the duration of a step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

from intact._base.errors import ParameterError
from intact.library.parallel.ranks import Way
from intact.measure.planning.machines import MachineKind
from intact.measure.planning.pipeline import simulate_pipeline
from intact.measure.planning.stages import StagesWork
from intact.measure.planning.step import StepTimes, simulate_step
from intact.measure.planning.work import ModelWork, RankMemory, StepRows
from intact.models import Program

_T = TypeVar("_T")


class DividedModel(Protocol):
    """A model divided in one way; shares are the ranks' shares of the work, rank 0 first."""

    @property
    def way(self) -> Way:
        """The name of this form of parallelism."""

    @property
    def most(self) -> int:
        """The maximum number of ranks."""

    def memory(self, shares: Sequence[int]) -> list[RankMemory]:
        """Return the memory of each rank.

        Raises
        ------
        ParameterError
            If the model cannot be divided this way.
        """

    def times(self, kinds: Sequence[MachineKind], shares: Sequence[int], rows: StepRows) -> StepTimes:
        """Simulate a step on these machines; errors are as for `memory`."""


class TensorParallel:
    """A model whose ranks each store some rows of every matrix."""

    way: Final = "tensor"

    def __init__(self, model: ModelWork) -> None:
        self.model, self.most = model, model.heads

    def memory(self, shares: Sequence[int]) -> list[RankMemory]:
        """Return the memory of each rank."""
        return self._of_ranks(shares, self.model.memory)

    def times(self, kinds: Sequence[MachineKind], shares: Sequence[int], rows: StepRows) -> StepTimes:
        """Simulate a step."""
        return simulate_step(kinds, self._of_ranks(shares, lambda part: self.model.step(part, rows)))

    def _of_ranks(self, shares: Sequence[int], measure: Callable[[Program], _T]) -> list[_T]:
        """Apply a measure to each rank's program, once for all ranks other than rank 0 with equal heads and shares."""
        found: dict[tuple[bool, int, tuple[int, int]], _T] = {}
        heads = self.model.heads_of(shares) if len(shares) > 1 else [(0, 0)]
        keys = [(rank == 0, share, heads[rank]) for rank, share in enumerate(shares)]
        for rank, key in enumerate(keys):
            if key not in found:
                found[key] = measure(self.model.part(shares, rank))
        return [found[key] for key in keys]


class PipelineParallel:
    """A model whose ranks each store some of its layers."""

    way: Final = "pipeline"

    def __init__(self, model: ModelWork) -> None:
        self.stages = StagesWork(model.whole or model.program, model.sizes)
        try:
            self.most = len(self.stages.kinds)
        except ParameterError:  # it cannot be cut between layers
            self.most = 1

    def memory(self, shares: Sequence[int]) -> list[RankMemory]:
        """Return the memory of each rank."""
        return self.stages.memory(shares)

    def times(self, kinds: Sequence[MachineKind], shares: Sequence[int], rows: StepRows) -> StepTimes:
        """Simulate a step."""
        return simulate_pipeline(kinds, self.stages.step(shares, rows))
