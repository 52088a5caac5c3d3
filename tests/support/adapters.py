"""Random LoRA adapters of models, as GGUF files."""

from pathlib import Path

import numpy as np

from intact.checkpoints.formats import open_checkpoint
from support.gguf_writer import write_gguf


def write_adapter(path: Path, model: Path, seed: int = 0, rank: int = 4) -> Path:
    """Write an adapter that changes the attention and feed-forward matrices of a GGUF model of one kind of net."""
    rng, tensors = np.random.default_rng(seed), {}
    with open_checkpoint(model) as checkpoint:
        for name, tensor in checkpoint.tensors.items():
            if name.startswith("blk.") and len(tensor.shape) == 2:
                rows, columns = tensor.shape
                halves = {"a": rng.standard_normal((rank, columns)), "b": rng.standard_normal((rows, rank))}
                for half, values in halves.items():
                    tensors[f"{name}.lora_{half}"] = ("F32", values.shape, values.astype("<f4").tobytes())
        architecture = checkpoint.metadata["general.architecture"]
    metadata = {"general.type": "adapter", "adapter.type": "lora", "general.architecture": architecture}
    return write_gguf(path, metadata | {"adapter.lora.alpha": 2.0}, tensors)
