"""Qwen2 and Qwen2.5: Llama architecture with biases on query, key and value (arXiv 2407.10671)."""

from typing import ClassVar

from intact.models.decoder import Decoder
from intact.models.llama import Llama
from intact.models.names import ATTENTION


class Qwen2(Llama):
    """Query, key and value have biases; rotary pairs are half a head apart."""

    gguf = "qwen2"
    hf: ClassVar[tuple[str, ...]] = ("Qwen2ForCausalLM",)
    biases = {matrix: matrix in ATTENTION for matrix in Decoder.biases}
    gguf_interleaves = False
