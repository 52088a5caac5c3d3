"""Qwen3-VL, text only: Qwen3 architecture (arXiv 2511.21631)."""

from intact.models.qwen3 import Qwen3


class Qwen3Vl(Qwen3):
    """Images, which feed into several layers, are not supported; text has plain positions."""

    gguf = "qwen3vl"
    hf = ("Qwen3VLForConditionalGeneration",)
