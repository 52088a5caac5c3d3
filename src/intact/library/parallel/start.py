"""Start the ranks of a model: processes on this machine, or connections to shards that listen elsewhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from intact._base.errors import CapacityError, ParameterError, WorkerError
from intact.checkpoints.catalogue.measured import state_of
from intact.checkpoints.formats import Checkpoint
from intact.engine.remote_prompts import PageBox
from intact.executors.base import Executor, choose_threads
from intact.executors.settings import ExecutorSettings
from intact.library.parallel.channel import Channel, choose_timeout
from intact.library.parallel.cut import cut_program
from intact.library.parallel.executor import ParallelExecutor, RankHub
from intact.library.parallel.pipeline import (
    LocalStage,
    Pipeline,
    PipelineExecutor,
    RemoteStage,
    StageMemory,
    divide_layers,
)
from intact.library.parallel.prompts import PromptClient
from intact.library.parallel.ranks import Division, Rank
from intact.library.parallel.session import (
    Greeting,
    Readiness,
    outputs_of,
    refuse_profile,
    weight_bytes_of,
    weights_digest,
)
from intact.models import Program
from intact.models.adapters import STREAM
from intact.models.layers import outer_program
from intact.receipts.identity import program_leaf

_ENDING: Final = 5.0
"""Number of seconds that a process has to exit before it is killed."""


def start_ranks(checkpoint: Checkpoint, program: Program, division: Division, settings: ExecutorSettings) -> Executor:
    """Start the other ranks of a model, and return the executor that spans them all.

    Parameters
    ----------
    division : Division
        The ranks, and the division of the model between them.
    settings : ExecutorSettings
        With tensor parallelism, ranks on this machine share its threads, since all ranks compute at once; ranks
        elsewhere choose their own number.

    Raises
    ------
    ParameterError
        If the program or the profile cannot be divided this way.
    WorkerError
        If a rank cannot be reached, does not start, or would compute different results.
    """
    ranks, shares = division.ranks, division.shares
    if division.way == "tensor":
        refuse_profile(settings.profile)
        for number in range(1, len(ranks)):
            cut_program(program, shares, number)  # check that all cuts are possible before anything starts
        here = sum(rank.address is None for rank in ranks)
        settings = settings._replace(threads=max(1, choose_threads(settings.threads) // here))
    else:
        divide_layers(program, shares)
    others = _Others()
    try:
        _greet(others, checkpoint, program, ranks, greeting=Greeting(settings, division.way, shares))
        make: Callable[..., Executor] = _tensor if division.way == "tensor" else _pipeline
        executor = make(program, division, settings, others)
    except BaseException:
        others.end()
        raise
    weakref.finalize(executor, others.end)
    return executor


def _greet(
    others: _Others, checkpoint: Checkpoint, program: Program, ranks: Sequence[Rank], greeting: Greeting
) -> None:
    """Start or reach each rank, and send it a greeting."""
    leaf, state = program_leaf("sha256", program).hex(), state_of(checkpoint.path) or ""
    remote = any(rank.address for rank in ranks)
    weights = weights_digest(checkpoint.path, program) if remote else ""
    here = greeting._replace(program=leaf, path=str(checkpoint.path.absolute()), state=state, weights=weights)
    there = here._replace(settings=greeting.settings._replace(threads=None), path="", state="")
    for number, rank in enumerate(ranks[1:], 1):
        channel = others.start(number) if rank.address is None else others.connect(number, rank.address)
        (here if rank.address is None else there)._replace(rank=number).send(channel)


def _tensor(program: Program, division: Division, settings: ExecutorSettings, others: _Others) -> ParallelExecutor:
    part = cut_program(program, division.shares, 0)
    hub = RankHub(others.channels)
    local = settings.make_executor(part, hub.exchange)
    ready = [Readiness.receive(channel) for channel in others.channels]
    return ParallelExecutor(
        local,
        hub,
        [outputs_of(part), *(one.outputs for one in ready)],
        page_bytes=_here(local, division.ranks, ready),
        vocabulary=program.vocabulary,
        end=others.end,
    )


def _pipeline(program: Program, division: Division, settings: ExecutorSettings, others: _Others) -> PipelineExecutor:
    layers = divide_layers(program, division.shares)
    width = program.buffers[STREAM].width
    stage = LocalStage(program, layers[0], settings.make_executor)
    pipeline = Pipeline(stage, [RemoteStage(channel, width) for channel in others.channels])
    outer = settings.make_executor(outer_program(program), pipeline.exchange)
    ready = [Readiness.receive(channel) for channel in others.channels]
    weights = [weight_bytes_of(outer) + weight_bytes_of(stage.executor), *(one.weight_bytes for one in ready)]
    pages = [stage.executor.page_bytes, *(one.page_bytes for one in ready)]
    return PipelineExecutor(
        outer,
        stage,
        pipeline,
        others.channels,
        page_bytes=_here(stage.executor, division.ranks, ready),
        program=program,
        memory=list(map(StageMemory, layers, weights, pages)),
        end=others.end,
    )


def start_prompts(
    checkpoint: Checkpoint, program: Program, rank: Rank, settings: ExecutorSettings, executor: Executor, limit: int
) -> PromptClient:
    """Start or reach a process that computes a model's prompts, and return the connection to it.

    Parameters
    ----------
    executor : Executor
        Executor that takes the process's pages.
    limit : int
        Limit, in bytes, on received pages that have not been taken.

    Raises
    ------
    WorkerError
        If it cannot be reached, does not start, or would compute different results.
    """
    others, ranks = _Others(), (Rank(), rank)
    try:
        _greet(others, checkpoint, program, ranks, greeting=Greeting(settings, "prefill", (1, 1)))
        (channel,) = others.channels
        size = executor.page_bytes
        if (its := Readiness.receive(channel).page_bytes) != size:
            raise WorkerError(f"{channel.name} has pages of {its:,} bytes; expected {size:,}, as in this process")
    except BaseException:
        others.end()
        raise
    client = PromptClient(channel, PageBox(program_leaf("sha256", program), size, limit), size, others.end)
    weakref.finalize(client, others.end)
    return client


def _here(own: Executor, ranks: Sequence[Rank], ready: Sequence[Readiness]) -> int:
    """Return the bytes per page on this machine, summed over all ranks that run here."""
    pages = (one.page_bytes for one, rank in zip(ready, ranks[1:], strict=True) if rank.address is None)
    return max(1, own.page_bytes + sum(pages))


class _Others:
    """The connections to the other ranks, and the processes of the ranks on this machine."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._own = os.getpid()

    def start(self, number: int) -> Channel:
        """Start a process on this machine, connected to this one only by a socket."""
        if os.name != "posix":
            raise ParameterError("local processes need POSIX: name shards by HOST:PORT, see intact shard")
        own, its = socket.socketpair()
        folders = [str(Path(folder).absolute()) for folder in sys.path if folder]
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "intact.library.parallel.worker", str(its.fileno())],
                pass_fds=(its.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
                start_new_session=True,  # keyboard interrupts are for rank 0 only
            )
        except OSError as error:
            own.close()
            raise CapacityError(f"cannot start a process: {error.strerror}") from error
        finally:
            its.close()
        self._processes.append(process)
        name = f"rank {number} (process {process.pid})"
        self.channels.append(Channel(own, name, lambda: _status(process)))
        return self.channels[-1]

    def connect(self, number: int, address: tuple[str, int]) -> Channel:
        """Connect to a listening shard."""
        host, port = address
        name = f"rank {number} ({host}:{port})"
        try:
            connection = socket.create_connection(address, timeout=min(choose_timeout(), 20.0))
        except OSError as error:
            hint = f"on that machine, run intact shard -m MODEL --listen {host}:{port}"
            raise WorkerError(f"{name} does not answer ({error.strerror or error}): {hint}") from error
        self.channels.append(Channel(connection, name))
        return self.channels[-1]

    def end(self) -> None:
        """Close the connections, which ends the ranks, and wait for the processes; further calls do nothing.

        In a process forked from this one, do nothing.
        """
        if os.getpid() != self._own:
            return
        for channel in self.channels:
            channel.close()
        while self._processes:
            process = self._processes.pop()
            try:
                process.wait(_ENDING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _status(process: subprocess.Popen[bytes]) -> str:
    """Return how a process ended; empty if it is still running."""
    try:
        status = process.wait(_ENDING)
    except subprocess.TimeoutExpired:
        return ""
    return f"signal {-status}" if status < 0 else f"exit status {status}"
