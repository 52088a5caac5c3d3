"""Transformers (PyTorch) on a GGUF file, whose weights it dequantises itself, for several benchmarks.

Import `torch` and `transformers` from here: their progress bars are off only if this module is imported first.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"  # read when they are imported
import torch
import transformers

__all__ = ["open_model", "torch", "transformers"]


def open_model(path: Path, dtype: torch.dtype, threads: int) -> Any:
    """Load the file's model with its weights in `dtype`, without output."""
    torch.set_num_threads(threads)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    load = transformers.AutoModelForCausalLM.from_pretrained
    return load(str(path.parent), gguf_file=path.name, dtype=dtype).eval()
