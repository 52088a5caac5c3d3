"""The settings of an executor; creates executors from settings or from a running executor."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple, cast

from intact._base.errors import CapacityError, ParameterError
from intact.executors.base import Exchanger, Executor
from intact.executors.names import EXECUTORS
from intact.models import Program
from intact.numerics.profiles import Profile, parse_profile

if TYPE_CHECKING:
    from intact.executors.weight_file import WeightFile


_LOG = logging.getLogger("intact")


def check_executor(name: str, profile: Profile) -> None:
    """Raise if there is no such executor, or if it does not run a profile.

    Raises
    ------
    ParameterError
        If so; the message names the executors that run the profile.
    """
    known = [one for one in EXECUTORS if one in ("native", "auto") or not parse_profile(profile).float32]
    if name not in known:
        raise ParameterError(
            f"no executor named {name!r:.60} for the profile {profile}: expected {', '.join(map(repr, known))}"
        )


class GpuSettings(NamedTuple):
    """The arguments of the GPU executor alone, with the same meaning as in `intact.load`."""

    memory: int | None = None
    check: bool = True
    recheck: int = 0


class ExecutorSettings(NamedTuple):
    """The arguments of an executor, with the same meaning as in `intact.load`."""

    profile: Profile
    bits: int
    page_size: int
    executor: str
    threads: int | None
    gpu: GpuSettings = GpuSettings()

    def make_executor(
        self,
        program: Program,
        exchange: Exchanger | None = None,
        *,
        tier: str | None = None,
        mapped: WeightFile | None = None,
        weights_memory: int = 1 << 62,
    ) -> Executor:
        """Create the executor of a program, or of a part of one.

        Parameters
        ----------
        exchange : Exchanger, optional
            Callback that runs the program's exchanges, if it has any.
        tier, mapped, weights_memory
            See `NativeExecutor`; the reference executor ignores them.

        Raises
        ------
        ModelError, ParameterError
            If the executor cannot run the program with these settings.
        """
        if self.executor in ("wgpu", "auto"):
            found = self._on_gpu(program, exchange)
            if found is not None:
                return found
        if self.executor != "reference":
            from intact.executors.native import NativeExecutor

            return NativeExecutor(
                program,
                self.profile,
                self.threads,
                tier,
                self.bits,
                self.page_size,
                exchange,
                mapped=mapped,
                weights_memory=weights_memory,
            )
        from intact.executors.reference import ReferenceExecutor

        return ReferenceExecutor(program, self.bits, self.page_size, self.profile, exchange)

    def _on_gpu(self, program: Program, exchange: Exchanger | None) -> Executor | None:
        """Return the GPU executor; None if the executor is `auto` and no GPU can run the program."""
        from intact.executors.gpu.checking import DeviceMismatchError
        from intact.executors.wgpu import WgpuExecutor

        def make(*, software: bool) -> Executor:
            own = (program, self.profile, self.threads, self.bits, self.page_size, exchange)
            return WgpuExecutor(*own, software=software, **self.gpu._asdict())

        if self.executor == "wgpu":
            return make(software=True)
        try:
            return make(software=False)
        except (ParameterError, CapacityError, DeviceMismatchError) as error:
            _LOG.warning("executor auto: using the CPU, since %s", error)
            return None


def make_alike(executor: Executor, program: Program, exchange: Exchanger) -> Executor:
    """Create an executor for another program, with the settings and tier of an existing executor in this process."""
    facts = executor.description
    kind, threads, tier = str(facts["executor"]), cast("int", facts["threads"]), str(facts["tier"])
    settings = ExecutorSettings(executor.profile, executor.bits, executor.page_size, kind, threads)
    return settings.make_executor(program, exchange, tier=tier)
