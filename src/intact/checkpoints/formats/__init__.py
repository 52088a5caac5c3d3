"""File formats of models, GGUF, safetensors and PyTorch, mapped into memory as metadata and named tensors."""

from intact.checkpoints.formats.checkpoint import Checkpoint, model_files, open_checkpoint
from intact.checkpoints.formats.tensor import Tensor

__all__ = ["Checkpoint", "Tensor", "model_files", "open_checkpoint"]
