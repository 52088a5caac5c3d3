"""Gemma and CodeGemma, first generation: Llama architecture, tanh GELU, a scaled embedding (arXiv 2403.08295)."""

from intact.models.decoder import Decoder, root
from intact.models.ops import Embed


class Gemma1(Decoder):
    """Norms come only before attention and feed-forward network; all layers attend globally."""

    gguf = "gemma"
    hf = ("GemmaForCausalLM",)
    hf_defaults = {"head_dim": 256, "rms_norm_eps": 1e-6, "tie_word_embeddings": True}
    hf_activation = ("hidden_act", "gelu_pytorch_tanh")
    hf_gain_offset = 1.0
    activation = "gelu"

    def embed(self) -> None:
        """Append the embedding times the square root of its width."""
        width = self.config.width
        self.ops.append(Embed("x", self.matrix("token_embd.weight", None, width), root(width)))
