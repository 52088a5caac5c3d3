"""Estimates before a run: tokens, memory and disk by counting, and the speed by a measurement of one row."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

from intact._base.errors import CapacityError
from intact.executors.weight_file import matrices_of
from intact.models.adapters import STREAM, layer_ends
from intact.numerics.fp32 import Floats
from intact.train.base import Base
from intact.train.examples import Row, sequences_of
from intact.train.loop.supervised import Trainer
from intact.train.pieces import total_size
from intact.train.settings import TrainSettings

_LINK_BYTES: Final = 2 * 3 * (2 * 32 + 3)
"""Bytes of a step's three digests in hexadecimal, in the state and in the receipt."""
_HISTORY_BYTES: Final = 256
_SAMPLE: Final = 64
"""Number of rows whose sizes are measured."""


class Estimate(NamedTuple):
    """Resources that a run will need.

    Attributes
    ----------
    tokens : int
        Tokens read in all steps, each counted once.
    trained : int
        Number of trained values.
    memory_bytes : int
        Peak memory, without the pages of the model's file.
    disk_bytes : int
        Size of the run's folder, with room for two states.
    """

    tokens: int
    trained: int
    memory_bytes: int
    disk_bytes: int


def estimate(base: Base, rows: Sequence[Row], settings: TrainSettings) -> Estimate:
    """Return what a run will need; converts no weights."""
    tensors = settings.parameters.start(base.program, settings.seed)
    lengths = [sum(len(sequence.inputs) for sequence in sequences_of(row)) for row in rows]
    tokens = sum(lengths) * settings.batch * settings.steps // max(1, len(rows))
    longest = max((len(sequence.inputs) for row in rows for sequence in sequences_of(row)), default=0)
    wanted = max((len(sequence.wanted) for row in rows for sequence in sequences_of(row)), default=0)
    trained = sum(values.size for values in tensors.values())
    state = 4 * trained * (1 + len(settings.optimiser.moments))
    written = 24 * sum(lengths) + settings.steps * (_LINK_BYTES + _HISTORY_BYTES)
    return Estimate(tokens, trained, _memory(base, tensors, state, longest, wanted=wanted), 2 * state + written)


def _memory(base: Base, tensors: Mapping[str, Floats], state: int, longest: int, wanted: int) -> int:
    """Return the peak memory: packed and transposed matrices, state and sums, rows between layers, and logits."""
    program = base.program
    weights = [prod(program.tensors[name].shape) for name in dict.fromkeys(matrices_of(program))]
    width = program.buffers[STREAM].width
    rows = 4 * longest * width * (len(layer_ends(program)) + 1)
    gradients = 16 * sum(values.size for values in tensors.values())  # int64 sums, and their floats
    return sum(weights) + 4 * sum(weights) + state + gradients + rows + 12 * wanted * program.vocabulary


def check_disk(out: Path, needed: int) -> None:
    """Raise unless the disk of a folder to be created has room for a run.

    Raises
    ------
    CapacityError
        The message says how much is missing.
    """
    folder = next(parent for parent in out.absolute().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise CapacityError(f"{out} needs about {needed:,} bytes, but {free:,} are free in {folder}")


def measure_rate(
    base: Base,
    rows: Sequence[Row],
    settings: TrainSettings,
    *,
    teacher: Base | None = None,
    threads: int | None = None,
) -> float:
    """Return the tokens a second of a run, from the gradients of two rows of median length.

    The first row converts weights, and is not counted.
    """
    order = sorted(range(min(len(rows), _SAMPLE)), key=lambda at: sum(len(s.inputs) for s in sequences_of(rows[at])))
    sample = [rows[at] for at in (order[len(order) // 2], order[(len(order) - 1) // 2])]
    trainer = Trainer(base, sample, settings, teacher=teacher, threads=threads)
    try:
        state = trainer.start()
        trainer.gradient(state, [0], total_size(settings.loss, sample[:1]))
        began = monotonic()
        found = trainer.gradient(state, [1], total_size(settings.loss, sample[1:]))
        return found.tokens / max(monotonic() - began, 1e-9)
    finally:
        trainer.close()
