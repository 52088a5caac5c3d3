"""Qwen3-VL, its text part: Qwen3's graph (arXiv 2511.21631)."""

from intact.models.qwen3 import Qwen3


class Qwen3Vl(Qwen3):
    """Pictures, which enter several layers, are left aside; positions of text are plain."""

    gguf = "qwen3vl"
    hf = ("Qwen3VLForConditionalGeneration",)
