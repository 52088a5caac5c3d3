"""llama.cpp's adapter files: GGUF with general.type "adapter".

Source: convert_lora_to_gguf.py of llama.cpp.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from intact._base.errors import ParameterError
from intact.checkpoints.formats.gguf_writer import pair, write_gguf
from intact.checkpoints.formats.safetensors import Stored
from intact.models.adapters import Adapter
from intact.numerics.fp32 import Floats
from intact.train.export.folders import check_new
from intact.train.export.modules import Scaled


def write_gguf_lora(adapter: Scaled, to: Path, architecture: str) -> None:
    """Write an adapter file; readers multiply each B by alpha over its own rank.

    Parameters
    ----------
    architecture : str
        GGUF name of the model's architecture.

    Raises
    ------
    ParameterError
        If the file exists.
    """
    check_new(to)
    tensors: dict[str, Floats] = {}
    for module in adapter.modules:
        tensors[f"{module.name}.weight.lora_a"] = module.down
        tensors[f"{module.name}.weight.lora_b"] = module.up * np.float32(module.rank / adapter.rank)
    metadata = {
        "general.architecture": architecture,
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": adapter.alpha,
    }
    stored = [Stored(name, "F32", values.shape, 4 * values.size) for name, values in tensors.items()]
    pairs = {key: pair(key, value) for key, value in metadata.items()}
    to.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(to, pairs, stored, lambda name: np.ascontiguousarray(tensors[name], "<f4").tobytes())


def write_vector_file(adapter: Adapter, to: Path, architecture: str) -> None:
    """Write trained vectors as a control-vector file.

    Raises
    ------
    ParameterError
        If the file exists, or there are no vectors.
    """
    from intact.library.steering import write_vectors

    check_new(to)
    if not adapter.vectors:
        raise ParameterError("the run trained no vectors")
    to.parent.mkdir(parents=True, exist_ok=True)
    write_vectors(to, adapter.vectors, architecture)
