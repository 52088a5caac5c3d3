"""The panels of a native weight, from the text of native/runtime/weight.h."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intact.numerics import weights


def panels_by_the_plan(w: weights.BlockWeight) -> tuple[NDArray, ...]:
    """The layout of native/runtime/weight.h, from its text."""
    rows, padded = w.codes.shape
    panels, blocks = -(-rows // 16), padded // 32
    codes = np.zeros((panels * 16, padded), np.uint8)
    codes[:rows] = w.codes
    # (panel, block32, group, output, j)
    c = codes.reshape(panels, 16, blocks, 8, 4).transpose(0, 2, 3, 1, 4)

    def two_bits(fields: NDArray[np.uint8]) -> NDArray[np.uint8]:
        f = fields.reshape(panels, blocks, 2, 4, 16, 4)
        return f[:, :, :, 0] | f[:, :, :, 1] << 2 | f[:, :, :, 2] << 4 | f[:, :, :, 3] << 6

    def masks(fields: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.packbits(fields.reshape(panels, blocks, 8, 64), axis=-1, bitorder="little")

    match w.bits:
        case 8:
            planes = [c]
        case 2:
            planes = [two_bits(c)]
        case 3:
            planes = [two_bits(c & 3), masks(c >> 2)]
        case bits:
            planes = [c[:, :, 0::2] & 15 | c[:, :, 1::2] << 4]
            planes += {4: [], 5: [masks(c >> 4)], 6: [two_bits(c >> 4)]}[bits]
    lines = [plane.reshape(panels, blocks, -1) for plane in planes]

    def padded_rows(x: NDArray) -> NDArray:
        return np.concatenate([x, np.zeros((panels * 16 - rows, *x.shape[1:]), x.dtype)])

    def pairs(x: NDArray[np.int16]) -> NDArray[np.int16]:
        even = np.pad(padded_rows(x), ((0, 0), (0, x.shape[1] % 2)))
        return even.reshape(panels, 16, -1, 2).transpose(0, 2, 1, 3).reshape(-1)

    scales = pairs(w.scale)
    minima = None if w.minimum is None else pairs(w.minimum)
    minimum_exp = None if w.minimum_exp is None else padded_rows(w.minimum_exp)
    return np.concatenate(lines, axis=-1).reshape(-1), scales, minima, padded_rows(w.scale_exp), minimum_exp
