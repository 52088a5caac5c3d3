"""InternLM3: Llama architecture with different keys for biases (https://github.com/InternLM/InternLM)."""

from intact.models.decoder import Decoder
from intact.models.llama import Llama
from intact.models.names import ATTENTION


class InternLM3(Llama):
    """GGUF files are Llama's."""

    name = "internlm3"
    hf = ("InternLM3ForCausalLM",)
    hf_types = ("internlm3",)
    hf_defaults = {"head_dim": 128, "num_key_value_heads": 2, "rms_norm_eps": 1e-5}
    hf_aliases = {"attention_bias": "qkv_bias", "mlp_bias": "bias"}
    biases = {matrix: "qkv_bias" if matrix in ATTENTION else "bias" for matrix in Decoder.biases}
