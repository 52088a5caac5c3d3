"""StarCoder 2: layer norms, feed-forward networks without a gate, biases everywhere (arXiv 2402.19173)."""

from intact.models.decoder import Decoder
from intact.models.names import HF_NAMES


class Starcoder2(Decoder):
    """All layers use the window, if any."""

    gguf = "starcoder2"
    hf = ("Starcoder2ForCausalLM",)
    hf_names = HF_NAMES | {"ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}
    hf_defaults = {
        "norm_epsilon": 1e-5,
        "use_bias": True,
        "hidden_act": "gelu_pytorch_tanh",
        "tie_word_embeddings": True,
    }
    hf_eps = "norm_epsilon"
    hf_activation = ("hidden_act", "gelu_pytorch_tanh")
    activation = "gelu"
    gated = False
    biases = dict.fromkeys(Decoder.biases, "use_bias")
    layer_norms = True
    norm_biases = True
    has_local_layers = True
    sample = {"attention.layer_norm_epsilon": 1e-5}
