"""Compute a model's logits on the windows of a text, at the positions that perplexity scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from intact.executors.base import fixed_logits
from intact.executors.native import NativeExecutor
from intact.models import Program
from intact.models.aspects.step import SequenceChunk
from intact.numerics.profiles import Profile
from intact.quantizing.calibration import Calibration


def scored(text: Calibration) -> NDArray[np.int64]:
    """Return the rows of a window whose next tokens are scored: its second half."""
    return np.arange(text.context // 2, text.context - 1, dtype=np.int64)


def window_logits(
    program: Program, text: Calibration, profile: Profile = "fp32", threads: int | None = None
) -> Iterator[NDArray[np.int32]]:
    """Yield the Q16 logits of each window's scored rows, int32 (rows, vocabulary), valid until the next request."""
    executor = NativeExecutor(program, profile, threads)
    pages = -(-text.context // executor.page_size)
    executor.reserve_pages(pages)
    table = np.arange(pages, dtype=np.int32)
    for tokens in text.chunks():
        chunk = SequenceChunk(0, tokens, table)
        if profile == "fp32":
            yield fixed_logits(executor.step_float([chunk], scored(text)))
        else:
            yield executor.step([chunk], scored(text))
