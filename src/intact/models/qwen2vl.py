"""Qwen2-VL and Qwen2.5-VL, text only: Qwen2 architecture (arXiv 2409.12191, 2502.13923)."""

from intact.models.qwen2 import Qwen2


class Qwen2Vl(Qwen2):
    """Vision weights are ignored. Text has plain positions, so the frequency sections for images have no effect."""

    gguf = "qwen2vl"
    hf = ("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration")
