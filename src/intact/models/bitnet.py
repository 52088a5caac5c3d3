"""BitNet b1.58: Llama with a norm before each output projection and a squared-ReLU gate (arXiv 2504.12285)."""

from __future__ import annotations

from intact.models.aspects.tables import Buffer
from intact.models.decoder import Decoder
from intact.models.names import FEED_FORWARD, HF_NAMES
from intact.models.ops import Linear, Multiply, Norm


class BitNet(Decoder):
    """Weights are ternary with one scale per matrix, or floats trained to become ternary (`formats/quantised`)."""

    gguf = "bitnet-b1.58"
    hf = ("BitNetForCausalLM",)
    hf_names = HF_NAMES | {"attn_sub_norm": "self_attn.attn_sub_norm", "ffn_sub_norm": "mlp.ffn_sub_norm"}
    hf_defaults = {"rope_theta": 500000.0, "rms_norm_eps": 1e-5, "hidden_act": "relu2"}
    hf_activation = ("hidden_act", "relu2")
    activation = "relu"

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including the rows of the feed-forward network before and after its norm."""
        return super().buffers() | {name: Buffer(self.config.hidden) for name in ("once", "normed_hidden")}

    def project(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append a norm of attention's result, and its output projection."""
        gain = f"blk.{i}.attn_sub_norm.weight"
        self.vector(gain, self.config.heads * self.config.head_width)
        self.ops.append(Norm("attended", "attended", gain, self.config.eps, heads=1))
        super().project(i, buffer, accumulate)

    def feed_forward(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append the feed-forward network: up, multiplied twice by the gate's ReLU; a norm; down."""
        c, p = self.config, f"blk.{i}."
        gate, up, down = (p + stem for stem in FEED_FORWARD)
        first = self.target("gate", gate, c.hidden, c.width), self.target("up", up, c.hidden, c.width)
        self.ops.append(Linear("normed", first))
        self.gate("gate", "up", "hidden", self.activation)
        self.ops.append(Multiply("hidden", "once"))
        self.gate("gate", "once", "hidden", self.activation)
        self.norm("hidden", "normed_hidden", p + "ffn_sub_norm.weight", width=c.hidden)
        self.ops.append(Linear("normed_hidden", (self.target(buffer, down, c.width, c.hidden, accumulate=accumulate),)))
