"""SmolLM3: Llama architecture, every fourth layer without positions (https://huggingface.co/blog/smollm3)."""

from intact.models.llama import Llama


class SmolLM3(Llama):
    """GGUF files do not specify which layers lack positions; a config.json may."""

    gguf = "smollm3"
    hf = ("SmolLM3ForCausalLM",)
    hf_defaults = {"rope_theta": 2000000.0, "tie_word_embeddings": True, "num_key_value_heads": 4}
    unrotated_each = 4
    sample = {"block_count": 4}
