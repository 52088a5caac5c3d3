"""Mistral and Ministral: Llama architecture, optionally with sliding windows (arXiv 2310.06825)."""

from typing import ClassVar

from intact.models.decoder import Decoder
from intact.models.llama import Llama


class MistralDecoder(Llama):
    """GGUF files are Llama's, without the window. In Mistral, all layers use the window; in Ministral, listed ones."""

    name = "mistral"
    hf: ClassVar[tuple[str, ...]] = ("MistralForCausalLM", "MinistralForCausalLM")
    hf_defaults = {"num_key_value_heads": 8, "sliding_window": 4096, "max_position_embeddings": 131072}
    biases = dict.fromkeys(Decoder.biases, False)
    has_local_layers = True
