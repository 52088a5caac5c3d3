"""Starting the ranks of a model: processes of this machine, or connections to such that listen on others."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from intact.catalogue.measured import state_of
from intact.errors import CapacityError, ParameterError, WorkerError
from intact.executors.base import choose_threads
from intact.formats import Checkpoint
from intact.models import Program
from intact.parallel.channel import Channel, FrameKind, choose_timeout
from intact.parallel.cut import cut_program
from intact.parallel.executor import ParallelExecutor, RankHub
from intact.parallel.ranks import Rank
from intact.parallel.session import Greeting, Setting, make_executor, outputs_of, refuse_profile, weights_digest
from intact.receipts.identity import program_leaf

_ENDING: Final = 5.0
"""Seconds that a process has to end by itself."""


def start_ranks(checkpoint: Checkpoint, program: Program, ranks: Sequence[Rank], setting: Setting) -> ParallelExecutor:
    """Start the other ranks of a model, and return the executor of them all.

    Parameters
    ----------
    ranks : sequence of Rank
        The first is this process.
    setting : Setting
        Its threads are shared by the ranks on this machine; others choose theirs.

    Raises
    ------
    ParameterError
        If the program or the profile cannot be cut so.
    WorkerError
        If a rank cannot be reached, does not start, or would compute something else.
    """
    refuse_profile(setting.profile)
    shares = tuple(rank.share for rank in ranks)
    part = cut_program(program, shares, 0)
    for number in range(1, len(ranks)):
        cut_program(program, shares, number)  # all cuts are possible before anything starts
    here = sum(rank.address is None for rank in ranks)
    setting = setting._replace(threads=max(1, choose_threads(setting.threads) // here))
    leaf, state = program_leaf("sha256", program).hex(), state_of(checkpoint.path) or ""
    remote = any(rank.address for rank in ranks)
    weights = weights_digest(checkpoint.path, program) if remote else ""
    others = _Others()
    try:
        for number, rank in enumerate(ranks[1:], 1):
            channel = others.start(number) if rank.address is None else others.connect(number, rank.address)
            path = str(checkpoint.path.absolute()) if rank.address is None else ""
            own = setting if rank.address is None else setting._replace(threads=None)
            Greeting(own, shares, number, leaf, path, "" if rank.address else state, weights).send(channel)
        hub = RankHub(others.channels)
        local = make_executor(part, setting, hub.exchange)
        outputs, page_bytes = [outputs_of(part)], local.page_bytes
        for channel, rank in zip(others.channels, ranks[1:], strict=True):
            fields = channel.receive_json(FrameKind.READY, ("page_bytes", "outputs"))
            outputs.append(fields.integer("outputs", 1))
            page_bytes += 0 if rank.address else fields.integer("page_bytes", 1)
    except BaseException:
        others.end()
        raise
    executor = ParallelExecutor(
        local, hub, outputs, page_bytes=page_bytes, vocabulary=program.vocabulary, end=others.end
    )
    weakref.finalize(executor, others.end)
    return executor


class _Others:
    """The connections to the other ranks, and the processes of those that run here."""

    def __init__(self) -> None:
        self.channels: list[Channel] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, number: int) -> Channel:
        """Start a process of this machine, which has nothing but a socket to this one."""
        if os.name != "posix":
            raise ParameterError("processes of this machine need POSIX: name shards by HOST:PORT, see intact shard")
        own, its = socket.socketpair()
        folders = [str(Path(folder).absolute()) for folder in sys.path if folder]
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "intact.parallel.worker", str(its.fileno())],
                pass_fds=(its.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(folders)},
                start_new_session=True,  # an interrupt from the keyboard is rank 0's
            )
        except OSError as error:
            own.close()
            raise CapacityError(f"no process can be started here: {error.strerror}") from error
        finally:
            its.close()
        self._processes.append(process)
        name = f"rank {number} (process {process.pid})"
        self.channels.append(Channel(own, name, lambda: _status(process)))
        return self.channels[-1]

    def connect(self, number: int, address: tuple[str, int]) -> Channel:
        """Connect to a shard that listens."""
        host, port = address
        name = f"rank {number} ({host}:{port})"
        try:
            connection = socket.create_connection(address, timeout=min(choose_timeout(), 20.0))
        except OSError as error:
            hint = f"run there intact shard MODEL --listen {host}:{port}"
            raise WorkerError(f"{name} does not answer ({error.strerror or error}): {hint}") from error
        self.channels.append(Channel(connection, name))
        return self.channels[-1]

    def end(self) -> None:
        """Close the connections, by which ranks end, and wait for the processes; calling it again does nothing."""
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
    """Return how a process has ended, if it has."""
    try:
        status = process.wait(_ENDING)
    except subprocess.TimeoutExpired:
        return ""
    return f"signal {-status}" if status < 0 else f"exit status {status}"
