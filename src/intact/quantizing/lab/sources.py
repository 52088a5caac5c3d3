"""Float source models for measuring quantisers, made from a file whose weights are already on a grid.

Requantising such a file with the same blocks favours grids like its own. Two transforms change the weights but preserve
the model's function: after `permute`, a new block mixes values from many old ones; after `rotate`, weights are nearly
Gaussian (`intact.quantizing.quantizers.transforms`; not supported for Gemma 3).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from intact.checkpoints.catalogue import resolve
from intact.quantizing.transforming import write_transformed

Source = Literal["permuted", "rotated"]
SOURCES: Final[dict[Source, str]] = {"permuted": "permute", "rotated": "rotate"}
"""Sources by name, with the transforms that make them."""


def write_source(model: str | os.PathLike[str], kind: Source, out: Path) -> None:
    """Write a model that computes the same function with different weights, in float32, into a new folder.

    Raises
    ------
    ParameterError
        If the model is to be rotated and its architecture has norms after its products.
    """
    write_transformed(Path(resolve(model)), SOURCES[kind], out)
