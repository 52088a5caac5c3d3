"""Float models to measure quantisers on, made of a file whose weights lie on a grid already.

Requantising such a file on the same blocks flatters grids like its own. Two transforms keep the function that the model
computes and change the weights: `permute`, after which a new block mixes the values of many old ones, and `rotate`,
after which weights are nearly Gaussian (`intact.quantizing.quantizers.transforms`; not Gemma 3).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from intact.checkpoints.catalogue import resolve
from intact.quantizing.transforming import write_transformed

Source = Literal["permuted", "rotated"]
SOURCES: Final[dict[Source, str]] = {"permuted": "permute", "rotated": "rotate"}
"""Sources by name, and the transforms that make them."""


def write_source(model: str | os.PathLike[str], kind: Source, out: Path) -> None:
    """Write a model that computes the same function with other weights, in float32, into a new folder.

    Raises
    ------
    ParameterError
        If the architecture has norms behind its products and is to be rotated.
    """
    write_transformed(Path(resolve(model)), SOURCES[kind], out)
