"""Hunyuan dense: Llama architecture, head norms after the rotary embedding (https://github.com/Tencent-Hunyuan)."""

from intact.models.decoder import Decoder
from intact.models.names import HF_NAMES


class HunyuanDense(Decoder):
    """The rotary base is stretched by a fixed factor (`rotary.stretched_base`); GGUF files hold the stretched base."""

    gguf = "hunyuan-dense"
    hf = ("HunYuanDenseV1ForCausalLM",)
    hf_names = HF_NAMES | {"attn_q_norm": "self_attn.query_layernorm", "attn_k_norm": "self_attn.key_layernorm"}
    hf_defaults = {"rms_norm_eps": 1e-5}
    hf_refused = {"use_qk_norm": (True,), "use_cla": (False,)}
    head_norms = True
    norms_rotated = True
