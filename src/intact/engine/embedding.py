"""Embeddings: unit vectors computed from the head's input at the last token, or at rows of an encoder.

The head's input consists of exact integers (`intact.engine.hidden`), and so does the sum of its squares; square root
and division are correctly rounded, as in IEEE 754. Like everything else, a vector therefore has the same bits at any
batch size, thread count, chunk size, tier and machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact.engine.encoding import EncodingJob
from intact.engine.head_job import HeadJob
from intact.engine.hidden import HiddenState, read_hidden


class Embedding(NamedTuple):
    """The embedding of an input.

    Attributes
    ----------
    vector : float32 (dimensions,)
        Unit vector, so the dot product of two embeddings is their cosine similarity; zeros if the hidden state is zero.
    tokens : int
        Number of tokens read.
    """

    vector: NDArray[np.float32]
    tokens: int


def unit_vector(hidden: HiddenState, dimensions: int) -> NDArray[np.float32]:
    """Return the first components of a hidden state, normalised to length 1.

    Parameters
    ----------
    dimensions : int
        The model's width or less; models trained for it (Matryoshka, arXiv 2205.13147) lose little when truncated.
    """
    values = hidden.values[:dimensions]
    squares = sum(int(value) ** 2 for value in values)
    return (values.astype(np.float64) / (math.sqrt(squares) or 1.0)).astype(np.float32)


def mean_direction(rows: Sequence[HiddenState], dimensions: int) -> NDArray[np.float32]:
    """Return the first components of the mean of hidden states, normalised to length 1; their sum is exact."""
    least = min(row.exponent for row in rows)
    total: list[int] = [0] * dimensions
    for exponent in {row.exponent for row in rows}:
        some = np.sum([row.values[:dimensions] for row in rows if row.exponent == exponent], axis=0)
        total = [before + (value << (exponent - least)) for before, value in zip(total, some.tolist(), strict=True)]
    length = math.sqrt(sum(value**2 for value in total)) or 1.0
    return np.array([value / length for value in total], np.float32)


def embedding_of(job: HeadJob, profile: str, dimensions: int) -> Embedding:
    """Return the embedding of a finished job, averaged if it has several rows; raises the job's error if it failed."""
    rows = job.results() if isinstance(job, EncodingJob) else [job.result()]
    states = [read_hidden(row, profile) for row in rows]
    vector = unit_vector(states[0], dimensions) if len(states) == 1 else mean_direction(states, dimensions)
    return Embedding(vector, job.tokens)
