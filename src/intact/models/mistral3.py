"""Mistral Small 3 and Ministral 3: Mistral's graph with YaRN (https://mistral.ai/news/mistral-3)."""

from intact.models.decoder import Decoder
from intact.models.llama import Llama


class Mistral3(Llama):
    """Queries beyond the original context have a temperature of their own: the context ends there (`config.py`)."""

    gguf = "mistral3"
    hf = ("Ministral3ForCausalLM", "Mistral3ForConditionalGeneration")
    hf_defaults = {"num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5}
    biases = dict.fromkeys(Decoder.biases, False)
    has_local_layers = True
