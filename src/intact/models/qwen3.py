"""Qwen3: Llama architecture with norms of each query and key head, and any head width (arXiv 2505.09388)."""

from intact.models.decoder import Decoder
from intact.models.llama import Llama


class Qwen3(Llama):
    """Head norms replace Qwen2's biases."""

    gguf = "qwen3"
    hf = ("Qwen3ForCausalLM",)
    biases = Decoder.biases
    head_norms = True
    gguf_interleaves = False
