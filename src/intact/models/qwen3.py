"""Qwen3: Llama's graph with a norm over each head of query and key, and heads of any width (arXiv 2505.09388)."""

from intact.models.decoder import Decoder
from intact.models.llama import Llama


class Qwen3(Llama):
    """Head norms replace Qwen2's biases."""

    gguf = "qwen3"
    hf = ("Qwen3ForCausalLM",)
    biases = Decoder.biases
    head_norms = True
    gguf_interleaves = False
