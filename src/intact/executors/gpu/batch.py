"""The upload of a step: its rows as words, in the layout of `shaders/batch.wgsl`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intact.executors.gpu.shaders import read_shader
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import Embed
from intact.models.program import Program
from intact.numerics.rope import sine_cosine

TEXT_WORDS = 5


@dataclass(frozen=True)
class UploadedRows:
    """The rows of a step.

    Attributes
    ----------
    tokens, positions, slots, adapters, second : (rows,)
        Tokens, positions, slots of keys and values, adapters plus 1, and 1 where a separator precedes.
    texts : uint32 (rows, 5)
        The slots that each row sees; see `shaders/attend.wgsl`.
    pages : (n,)
        Pages of all sequences, one after another.
    ends : tuple of int
        Row after the last one of each sequence.
    """

    tokens: NDArray[Any]
    positions: NDArray[Any]
    slots: NDArray[Any]
    texts: NDArray[np.uint32]
    adapters: NDArray[Any]
    second: NDArray[Any]
    pages: NDArray[Any]
    ends: tuple[int, ...]

    def longest(self, start: int, stop: int) -> int:
        """Return the number of slots up to the last one that rows start to stop - 1 see."""
        texts = self.texts[start:stop].astype(np.int64)
        return int((np.maximum(texts[:, 1], texts[:, 4]) + 64 * ((texts[:, 2] | texts[:, 3]) > 0)).max())


def step_rows(program: Program, chunks: Sequence[SequenceChunk], page_size: int) -> UploadedRows:
    """Return the rows of a step's chunks."""
    counts = [len(chunk.tokens) for chunk in chunks]
    starts = np.cumsum([0, *(len(chunk.pages) for chunk in chunks)])[:-1]
    places = [c.position + np.arange(n) for c, n in zip(chunks, counts, strict=True)]
    pairs = list(zip(chunks, places, strict=True))
    positions = [at if chunk.parents is None else chunk.positions() for chunk, at in pairs]
    slots = [chunk.pages[at // page_size].astype(np.int64) * page_size + at % page_size for chunk, at in pairs]
    embeds = [op for op in program.ops if isinstance(op, Embed) and op.separator is not None]
    return UploadedRows(
        np.concatenate([chunk.tokens for chunk in chunks]),
        np.concatenate(positions),
        np.concatenate(slots),
        np.concatenate([_texts(chunk, int(start)) for chunk, start in zip(chunks, starts, strict=True)]),
        np.repeat([chunk.adapter + 1 for chunk in chunks], counts),
        np.concatenate([_after(chunk.tokens, embeds[0].separator if embeds else None) for chunk in chunks]),
        np.concatenate([chunk.pages for chunk in chunks]),
        tuple(np.cumsum(counts).tolist()),
    )


def _after(tokens: NDArray[np.int32], separator: int | None) -> NDArray[np.uint32]:
    found = tokens == (-1 if separator is None else separator)
    before: NDArray[np.uint32] = (np.cumsum(found) > found).astype(np.uint32)
    return before


def _texts(chunk: SequenceChunk, first_page: int) -> NDArray[np.uint32]:
    count = len(chunk.tokens)
    texts = np.zeros((count, TEXT_WORDS), np.uint32)
    texts[:, 0], texts[:, 4] = first_page, chunk.end
    if chunk.parents is None:
        texts[:, 1] = chunk.position + 1 + np.arange(count)
        return texts
    texts[:, 1] = chunk.position
    masks: list[int] = []
    for row, parent in enumerate(chunk.parents.tolist()):
        masks.append((masks[parent] if parent >= 0 else 0) | 1 << row)
    texts[:, 2] = [mask & 0xFFFFFFFF for mask in masks]
    texts[:, 3] = [mask >> 32 for mask in masks]
    return texts


def batch_words(
    program: Program, row_words: int, rows: UploadedRows, part: slice, wanted: NDArray[Any]
) -> NDArray[Any]:
    """Return the words to upload for some rows of a step.

    Parameters
    ----------
    wanted : int64
        The wanted rows, counted from the start of the part.
    """
    positions = rows.positions[part].astype(np.int64)
    turned = zip(program.rotations, program.factors(), strict=True)
    angles = [np.stack(sine_cosine(positions, turns, factor), axis=-1).reshape(-1) for turns, factor in turned]
    arrays: dict[str, NDArray[Any]] = {
        "tokens": rows.tokens[part],
        "positions": positions,
        "slots": rows.slots[part],
        "texts": rows.texts[part].reshape(-1),
        "adapters": rows.adapters[part],
        "second": rows.second[part],
        "heads": wanted,
        "pages": rows.pages,
        "angles": np.concatenate([np.zeros(0, np.int64), *angles]),
    }
    numbers = {
        "rows": len(positions),
        "wanted": len(wanted),
        "row_words": row_words,
        "scores": rows.longest(part.start, part.stop),
    }
    return join_words(numbers, arrays)


def join_words(numbers: dict[str, int], arrays: dict[str, NDArray[Any]]) -> NDArray[np.uint32]:
    """Return a `Batch` of numbers and arrays by their fields; fields that are not given are 0."""
    fields = [name for name, _ in read_shader("quantize").structs["Batch"]]  # `data` has no length and is none of them
    head, at = dict.fromkeys(fields, 0) | numbers, 0
    for name, array in arrays.items():
        head[name] = at
        at += len(array)
    if list(head) != fields:
        raise ValueError(f"a batch has the fields {fields}, got {list(head)}")
    parts = [np.array(list(head.values()), np.int64), *arrays.values()]
    return np.concatenate([part.astype(np.int64) for part in parts]).astype(np.uint32)


def parts_of(rows: UploadedRows, most: int, whole: bool) -> Iterator[slice]:
    """Divide a step's rows into parts of at most `most`; if `whole`, a sequence stays in one part."""
    count, start = len(rows.tokens), 0
    while start < count:
        stop = min(start + most, count)
        if whole:
            stop = max(
                (end for end in rows.ends if start < end <= stop), default=min(e for e in rows.ends if e > start)
            )
        yield slice(start, stop)
        start = stop
