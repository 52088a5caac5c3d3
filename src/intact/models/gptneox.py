"""GPT-NeoX and Pythia: layer norms, attention and feed-forward network in parallel (arXiv 2204.06745, 2304.01373)."""

from __future__ import annotations

from intact.checkpoints.formats.metadata import Metadata
from intact.models.config import Config
from intact.models.decoder import Decoder

_PARALLEL = "use_parallel_residual"


class GptNeox(Decoder):
    """Attention and network have separate norms; heads are partially rotated, and all matrices have biases."""

    gguf = "gptneox"
    hf = ("GPTNeoXForCausalLM",)
    hf_beginning = "gpt_neox."
    hf_names = {
        "token_embd": "model.embed_in",
        "output_norm": "model.final_layer_norm",
        "output": "embed_out",
        "attn_norm": "input_layernorm",
        "attn_q": "attention.query",
        "attn_k": "attention.key",
        "attn_v": "attention.value",
        "attn_output": "attention.dense",
        "ffn_norm": "post_attention_layernorm",
        "ffn_up": "mlp.dense_h_to_4h",
        "ffn_down": "mlp.dense_4h_to_h",
    }
    hf_defaults = {"layer_norm_eps": 1e-5, "hidden_act": "gelu", "attention_bias": True, "rotary_pct": 0.25}
    hf_refused = {_PARALLEL: (True,)}
    hf_eps = "layer_norm_eps"
    hf_activation = ("hidden_act", "gelu")
    activation = "gelu_erf"
    gated = False
    biases = Decoder.biases | dict.fromkeys(("ffn_up", "ffn_down"), True)
    fused = {"attn_qkv": "attention.query_key_value"}
    gguf_fused = ("attn_qkv",)
    hf_groups_heads = True
    layer_norms = True
    norm_biases = True
    partial_rotary = True
    sample = {_PARALLEL: True, "attention.layer_norm_epsilon": 1e-5, "rope.dimension_count": 6}

    @classmethod
    def read_keys(cls) -> frozenset[str]:
        """Return the keys that this architecture reads, including the one for parallel attention and network."""
        return super().read_keys() | {_PARALLEL}

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the hyper-parameters; refuse models that run attention and feed-forward network in sequence."""
        m.refuse_features({_PARALLEL: (True,)})
        return super().read_gguf(m)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration; the keys of the rotary part and base may have their old names."""
        old = {"partial_rotary_factor": "rotary_pct", "rope_theta": "rotary_emb_base"}
        given = {key: m.get(name) for key, name in old.items() if m.get(key) is None}
        return super().read_hf(Metadata({**m.values, **given}, m.source))

    def layer(self, i: int) -> None:
        """Append attention and feed-forward network, both on the layer's input."""
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.attention(i)
        self.project(i, "x", accumulate=True)
        self.feed_forward(i, "x", accumulate=True)

    def attention_inputs(self, i: int) -> None:
        """Append the projections to queries, keys and values, then the network's norm, which overwrites attention's."""
        super().attention_inputs(i)
        self.norm("x", "normed", f"blk.{i}.ffn_norm.weight")
