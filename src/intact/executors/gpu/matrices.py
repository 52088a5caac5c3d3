"""Weights in the layout that the shaders read: the panels of the native kernels, several matrices one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from intact import _native

PANEL: Final = 16
"""Outputs of a panel."""
SEGMENTS: Final = 6
"""Maximum number of matrices of a dispatch."""

Words = NDArray[np.uint32]


class Packed(NamedTuple):
    """A matrix in panels.

    Attributes
    ----------
    rows : int
        Outputs.
    codes, scales, minima : uint32 (panels, words)
        Words of each panel; no words without minima.
    exponents : int32 (panels * 16, 2)
        Exponents of scales and of minima.
    table : int32 or None
        The entries of the format's table minus its zero.
    """

    rows: int
    columns: int
    bits: int
    block: int
    zero: int
    shift: int
    codes: Words
    scales: Words
    minima: Words
    exponents: NDArray[np.int32]
    table: NDArray[np.int32] | None

    @property
    def blocks(self) -> int:
        """Number of blocks of 32 inputs."""
        return -(-self.columns // 32)

    @property
    def panels(self) -> int:
        """Number of panels."""
        return len(self.codes)

    @property
    def panel_words(self) -> int:
        """Words of a panel in the larger of its two buffers."""
        return int(max(self.codes.shape[1], self.scales.shape[1] + self.minima.shape[1] + 2 * PANEL))

    @property
    def table_kind(self) -> int:
        """The shaders' constant TABLE: 0 without a table, 1 if its entries fit signed bytes, otherwise 2."""
        if self.table is None:
            return 0
        return 1 if self.table.min() >= -128 and self.table.max() <= 127 else 2

    @property
    def constants(self) -> tuple[tuple[str, int | bool], ...]:
        """Constants of the shaders that read the matrix."""
        minima = bool(self.minima.shape[1])
        return (("BITS", self.bits), ("BLOCK", self.block), ("MINIMA", minima), ("TABLE", self.table_kind))

    def alike(self, other: Packed) -> bool:
        """Return true if one dispatch can multiply by both matrices."""
        tables = [None if w.table is None else w.table.tobytes() for w in (self, other)]
        facts = [(w.constants, w.zero, w.shift, w.columns) for w in (self, other)]
        return facts[0] == facts[1] and tables[0] == tables[1]


def unpack_panels(weight: _native.Weight) -> Packed:
    """Return a packed weight's panels; scales stored as two factors are multiplied.

    8-bit codes without a table are read as signed bytes about 128, so the zero is relative to that.
    """
    codes, scales, minima, scale_exp, minimum_exp = weight.panels()
    panels = -(-weight.rows // PANEL)
    exponents = np.zeros((panels * PANEL, 2), np.int32)
    exponents[:, 0] = np.asarray(scale_exp).reshape(-1)
    if weight.has_minimum:
        exponents[:, 1] = np.asarray(minimum_exp).reshape(-1)
    words = -(-weight.columns // 32) * weight.bits * 16
    table = None if weight.table is None else np.asarray(weight.table, np.int32) - weight.zero
    zero = 0 if table is not None else weight.zero - 128 if weight.bits == 8 else weight.zero
    return Packed(
        weight.rows,
        weight.columns,
        weight.bits,
        weight.block,
        zero,
        weight.shift,
        _words(codes)[: panels * words].reshape(panels, words),
        _words(scales).reshape(panels, -1),
        _words(minima).reshape(panels, -1) if weight.has_minimum else np.zeros((panels, 0), np.uint32),
        exponents,
        table,
    )


def _words(array: object) -> Words:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).view("<u4")


class Share(NamedTuple):
    """Consecutive panels of one matrix in a buffer.

    Attributes
    ----------
    matrix : int
        Number of the matrix in the list that was joined.
    first : int
        Its first output here.
    outputs : int
        Number of outputs.
    panel : int
        The buffer's panel with the first output.
    """

    matrix: int
    first: int
    outputs: int
    panel: int


class Joined(NamedTuple):
    """Panels of several matrices of one format, for one dispatch.

    Attributes
    ----------
    numbers : uint32
        Scales, minima and exponents, at the offsets 0, `minima` and `exponents`.
    """

    shares: tuple[Share, ...]
    codes: Words
    numbers: Words
    minima: int
    exponents: int
    panels: int


def join(weights: Sequence[Packed], limit: int) -> Iterator[Joined]:
    """Join matrices of one format in buffers of at most `limit` bytes; a matrix may be cut between panels.

    Raises
    ------
    ValueError
        If a single panel is larger than the limit.
    """
    most = limit // (4 * weights[0].panel_words)
    if not most:
        raise ValueError(f"16 outputs take {4 * weights[0].panel_words:,} bytes, a buffer {limit:,}")
    pieces = [(i, at, min(at + most, w.panels)) for i, w in enumerate(weights) for at in range(0, w.panels, most)]
    held: list[tuple[int, int, int]] = []
    for piece in pieces:
        size = sum(stop - start for _, start, stop in [*held, piece])
        if held and (size > most or len(held) == SEGMENTS):
            yield _joined(weights, held)
            held = []
        held.append(piece)
    yield _joined(weights, held)


def _joined(weights: Sequence[Packed], pieces: Sequence[tuple[int, int, int]]) -> Joined:
    shares, panel = [], 0
    for i, start, stop in pieces:
        outputs = min(weights[i].rows, stop * PANEL) - start * PANEL
        shares.append(Share(i, start * PANEL, outputs, panel))
        panel += stop - start
    codes, scales, minima = (
        np.concatenate([getattr(weights[i], name)[start:stop].reshape(-1) for i, start, stop in pieces])
        for name in ("codes", "scales", "minima")
    )
    exponents = np.concatenate([weights[i].exponents[start * PANEL : stop * PANEL] for i, start, stop in pieces])
    numbers = np.concatenate([scales, minima, exponents.reshape(-1).view(np.uint32)])
    return Joined(tuple(shares), codes, numbers, len(scales), len(scales) + len(minima), panel)
