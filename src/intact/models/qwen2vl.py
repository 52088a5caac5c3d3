"""Qwen2-VL and Qwen2.5-VL, their text part: Qwen2's graph (arXiv 2409.12191, 2502.13923)."""

from intact.models.qwen2 import Qwen2


class Qwen2Vl(Qwen2):
    """Pictures are left aside. Positions of text are plain: the sections of frequencies for pictures change nothing."""

    gguf = "qwen2vl"
    hf = ("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration")
