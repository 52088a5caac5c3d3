"""Export what was trained: PEFT folders, GGUF adapters and vectors, merged models."""

from intact.train.export.run import FORMS, export

__all__ = ["FORMS", "export"]
