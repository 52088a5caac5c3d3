"""LFM2: gated short convolutions and a few attention layers with head norms (arXiv 2511.23404)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.tables import Buffer
from intact.models.attention_layers import read_gguf_layers, read_hf_layers
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.names import HF_NAMES
from intact.models.tensor_forms import as_matrix
from intact.numerics.convolve import MOST_TAPS

_KINDS = ("conv", "full_attention")


class Lfm2(Decoder):
    """Layers with a convolution are listed in `layer_types`; in GGUF files they are those without KV heads."""

    gguf = "lfm2"
    hf = ("Lfm2ForCausalLM",)
    hf_names = HF_NAMES | {
        "output_norm": "model.embedding_norm",
        "attn_norm": "operator_norm",
        "attn_output": "self_attn.out_proj",
        "attn_q_norm": "self_attn.q_layernorm",
        "attn_k_norm": "self_attn.k_layernorm",
        "shortconv.conv": "conv.conv",
        "shortconv.in_proj": "conv.in_proj",
        "shortconv.out_proj": "conv.out_proj",
        "ffn_norm": "ffn_norm",
        "ffn_gate": "feed_forward.w1",
        "ffn_up": "feed_forward.w3",
        "ffn_down": "feed_forward.w2",
    }
    gguf_names = {"output_norm.weight": "token_embd_norm.weight"}
    hf_defaults: ClassVar[dict[str, Any]] = {
        "rope_theta": 1e6,
        "max_position_embeddings": 128000,
        "tie_word_embeddings": True,
        "num_key_value_heads": 8,
    }
    hf_refused = {"conv_bias": (False,)}
    hf_eps = "norm_eps"
    head_norms = True
    biases = Decoder.biases | dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), False)
    sample: ClassVar[dict[str, Any]] = {
        "block_count": 4,
        "attention.head_count_kv": [0, 1, 0, 0],
        "shortconv.l_cache": 3,
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including which layers are convolutions: those without KV heads."""
        convolutions, common = read_gguf_layers(m, "a convolution")
        return replace(super().read_gguf(common), convolutions=convolutions, taps=cls.read_taps(m, "shortconv.l_cache"))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including which layers are convolutions; the width of networks has different keys."""
        layers = m.integer("num_hidden_layers", most=1024)
        kinds = m.get("layer_types")
        if kinds is None:
            attention = m.get("full_attn_idxs")
            if not isinstance(attention, list) or not all(i in range(layers) for i in attention):
                m.refuse("full_attn_idxs", f"a list of layer numbers below {layers}", attention)
            kinds = [_KINDS[i in attention] for i in range(layers)]
        convolutions, common = read_hf_layers(m, kinds, _KINDS[1:], _KINDS[:1])
        if _KINDS[1] not in kinds:
            m.refuse("layer_types", "a list with at least one attention layer", kinds)
        given = {
            "intermediate_size": cls.read_hidden(m),
            "norm_eps": m.get("norm_eps", m.get("block_norm_eps", 1e-5)),
            "tie_word_embeddings": m.get("tie_embedding", m.get("tie_word_embeddings")),
        }
        config = super().read_hf(Metadata({**common.values, **given}, m.source))
        return replace(config, convolutions=convolutions, taps=cls.read_taps(m, "conv_L_cache", 3))

    @classmethod
    def read_taps(cls, m: Metadata, key: str, default: int | None = None) -> int:
        """Read the number of positions that a convolution sums over."""
        return m.integer(key, default, most=MOST_TAPS)

    @classmethod
    def read_hidden(cls, m: Metadata) -> int:
        """Return the width of feed-forward networks: two thirds of the file's number, times a factor, rounded up."""
        hidden = m.integer("intermediate_size" if m.get("block_ff_dim") is None else "block_ff_dim")
        if not m.flag("block_auto_adjust_ff_dim", True):
            return hidden
        hidden = 2 * hidden // 3
        if m.get("block_ffn_dim_multiplier", 1.0) != 1:
            hidden = int(m.number("block_ffn_dim_multiplier", most=64.0) * hidden)
        unit = m.integer("block_multiple_of", 256)
        return -(-hidden // unit) * unit

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors, with convolution weights as matrices (width, taps)."""
        found = super().canonical_tensors(checkpoint)
        for name, tensor in found.items():
            if name.endswith(".shortconv.conv.weight"):
                found[name] = as_matrix(tensor)
        return found

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including the rows of convolutions."""
        width = self.config.width
        return super().buffers() | {"parts": Buffer(3 * width), "convolved": Buffer(width, wide=True)}

    def layer(self, i: int) -> None:
        """Append a convolution and a feed-forward network, or the operations of an attention layer."""
        if i not in self.config.convolutions:
            super().layer(i)
            return
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.convolution(i, self.config.taps, "x", accumulate=True)
        self.norm("x", "normed", f"blk.{i}.ffn_norm.weight")
        self.feed_forward(i, "x", accumulate=True)
