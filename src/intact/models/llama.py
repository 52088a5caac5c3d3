"""Llama, and what shares its graph (SmolLM2, TinyLlama): pre-norm, rotary attention, SwiGLU (arXiv 2302.13971)."""

from typing import ClassVar

from intact.models.decoder import FEED_FORWARD, Decoder


class Llama(Decoder):
    """GGUF files hold query and key rows in the order of neighbouring rotary pairs; safetensors half a head apart."""

    gguf = "llama"
    hf = ("LlamaForCausalLM",)
    biases = Decoder.biases | dict.fromkeys(FEED_FORWARD, "mlp_bias")
    head_norms: ClassVar[bool] = False
    gguf_interleaves: ClassVar[bool] = True

    def layer(self, i: int) -> None:
        """Norm, attention, residual; norm, feed-forward, residual."""
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.attention(i, interleaved=self.gguf_interleaves and self.config.from_gguf, head_norms=self.head_norms)
        self.project(i, "x", accumulate=True)
        self.norm("x", "normed", f"blk.{i}.ffn_norm.weight")
        self.feed_forward(i, "x", accumulate=True)
