"""Blocks of tokens with their keys and values, which can be arranged in any order, and steps over them."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ParameterError
from intact.engine.model import LoadedModel
from intact.engine.shared_cache.attention import KeptHeads, SeenHeads
from intact.engine.shared_cache.program import open_attentions
from intact.executors.settings import make_alike
from intact.models.aspects.step import SequenceChunk
from intact.models.ops import AllGather
from intact.numerics.attention import quantize_keys, quantize_values
from intact.numerics.profiles import parse_profile
from intact.numerics.rope import sine_cosine
from intact.numerics.sampling import Draw

_ROWS = 64
"""Maximum number of rows in a step."""


class TokenBlock:
    """A run of tokens that stays together wherever it is placed, with its keys and values."""

    def __init__(self, layers: int) -> None:
        self.tokens: list[int] = []
        self.keys = [KeptHeads() for _ in range(layers)]
        self.values = [KeptHeads() for _ in range(layers)]

    def __len__(self) -> int:
        return len(self.tokens)


class Seen(NamedTuple):
    """The first tokens of a block that precedes another one."""

    block: TokenBlock
    length: int


class Reading(NamedTuple):
    """Tokens to append to a block, and what precedes the block, in order."""

    block: TokenBlock
    tokens: Sequence[int]
    before: Sequence[Seen]

    @property
    def start(self) -> int:
        """Position of the first of these tokens in its sequence."""
        return sum([seen.length for seen in self.before]) + len(self.block)


class _Part(NamedTuple):
    """A reading in the current step: its rows, and the distances of these rows from each block."""

    rows: slice
    reading: Reading
    seen: list[Seen]
    distances: list[NDArray[np.int64]]
    turns: list[tuple[NDArray[np.int64], NDArray[np.int64]]]


class SharedCache:
    """Runs a model over blocks of tokens, with a second copy of its weights. A context manager: `close` frees them.

    Parameters
    ----------
    model : LoadedModel
        Model in a single process, in the profile int8 without a cache codec.

    Raises
    ------
    ParameterError
        If the model does not qualify, or its architecture does not allow tokens to change position.
    """

    def __init__(self, model: LoadedModel) -> None:
        program = getattr(model.executor, "program", None)
        if program is None:
            raise ParameterError("a shared cache needs a model in a single process: load it without parallelism")
        parts = parse_profile(model.executor.profile)
        if parts.float32 or parts.codec is not None:
            kind = "in floating point" if parts.float32 else "with a codec"
            raise ParameterError(f"a shared cache {kind} is not supported: load the model in the profile int8")
        self.model = model
        opened, self._attentions = open_attentions(program)
        self._program, self._calls, self._parts = opened, 0, list[_Part]()
        self._executor = make_alike(model.executor, opened, self._exchange)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the weights."""
        self._executor.close()

    def block(self) -> TokenBlock:
        """Return an empty block."""
        return TokenBlock(len(self._attentions))

    def read(self, reading: Reading) -> None:
        """Append tokens to a block, many per step."""
        for start in range(0, len(reading.tokens), _ROWS):
            self.step([reading._replace(tokens=reading.tokens[start : start + _ROWS])])

    def step(self, readings: Sequence[Reading]) -> NDArray[np.int32]:
        """Append tokens to blocks in one step; return the logits after each, int32 (readings, vocabulary) in Q16.

        A row sees the tokens that its reading places before its block, including tokens of this step, and its own block
        up to itself. The array is valid until the next step.
        """
        chunks, wanted, start = list[SequenceChunk](), list[int](), 0
        self._parts, self._calls = [], 0
        for reading in readings:
            count, position = len(reading.tokens), len(reading.block)
            pages = np.arange(-(-(position + count) // self._executor.page_size), dtype=np.int32)
            tokens = np.array(reading.tokens, np.int32)
            chunks.append(SequenceChunk(position, tokens, pages, adapter=self.model.adapter_number()))
            self._parts.append(self._part(reading, slice(start, start + count)))
            start += count
            wanted.append(start - 1)
        self._executor.reserve_pages(max(len(chunk.pages) for chunk in chunks))
        logits = self._executor.step(chunks, np.array(wanted, np.int64))
        for reading in readings:
            reading.block.tokens += reading.tokens
        return logits

    def draw(self, logits: NDArray[np.int32], draws: Sequence[Draw]) -> list[int]:
        """Draw tokens from rows of logits."""
        return [int(token) for token in self._executor.draw(logits, draws)[0]]

    def _part(self, reading: Reading, rows: slice) -> _Part:
        own = len(reading.block) + np.arange(len(reading.tokens))
        seen = [one for one in reading.before if one.length]
        before, distances = sum([one.length for one in seen]), list[NDArray[np.int64]]()
        for one in seen:
            distances.append(before + own)
            before -= one.length
        distances.append(own)
        rotations = zip(self._program.rotations, self._program.factors(), strict=True)
        turns = [sine_cosine(np.concatenate(distances), turns, factor) for turns, factor in rotations]
        return _Part(rows, reading, [*seen, Seen(reading.block, len(reading.block) + len(own))], distances, turns=turns)

    def _exchange(self, op: AllGather, own: NDArray[Any] | None, whole: NDArray[Any]) -> None:
        """Store the keys and values of a layer, then attend."""
        layer, part = divmod(self._calls, 3)
        self._calls += 1
        attention = self._attentions[layer]
        attend = attention.op
        if part < 2:
            quantize = quantize_values if part else quantize_keys
            heads = quantize(whole.reshape(len(whole), attend.kv_heads, attend.width))
            for one in self._parts:
                block = one.reading.block
                kept = (block.values if part else block.keys)[layer]
                kept.append(type(heads)(heads.codes[one.rows], heads.scale[one.rows]))
            return
        assert own is not None
        queries = own.reshape(len(own), attend.heads, attend.width).astype(np.int64)
        for one in self._parts:
            seen = [
                SeenHeads(block.keys[layer].first(count), block.values[layer].first(count), distance)
                for (block, count), distance in zip(one.seen, one.distances, strict=True)
            ]
            turns = None if attention.rope is None else one.turns[attention.rope.rotation]
            whole[one.rows] = attention.attend(queries[one.rows], seen, turns).reshape(-1, whole.shape[1])
