"""Containers of models: GGUF and safetensors, mapped into memory, as metadata and named tensors."""

from intact.formats.checkpoint import Checkpoint, model_files, open_checkpoint
from intact.formats.tensor import Tensor

__all__ = ["Checkpoint", "Tensor", "model_files", "open_checkpoint"]
