"""Mistral Small 3 and Ministral 3: Mistral architecture with YaRN (https://mistral.ai/news/mistral-3)."""

from intact.models.decoder import Decoder
from intact.models.llama import Llama


class Mistral3(Llama):
    """Queries beyond the original context would need a temperature, so the context ends there (`config.py`)."""

    gguf = "mistral3"
    hf = ("Ministral3ForCausalLM", "Mistral3ForConditionalGeneration")
    hf_defaults = {"num_key_value_heads": 8, "head_dim": 128, "rms_norm_eps": 1e-5}
    biases = dict.fromkeys(Decoder.biases, False)
    has_local_layers = True
