"""Nemotron and Minitron: layer norms with gains stored minus one, squared ReLU (arXiv 2402.16819)."""

from intact.models.decoder import Decoder


class Nemotron(Decoder):
    """No gate; the activation is squared ReLU. Half of each head is rotated."""

    gguf = "nemotron"
    hf = ("NemotronForCausalLM",)
    hf_defaults = {"partial_rotary_factor": 0.5, "hidden_act": "relu2", "norm_eps": 1e-5}
    hf_activation = ("hidden_act", "relu2")
    hf_eps = "norm_eps"
    hf_gain_offset = 1.0
    activation = "relu"
    gated = False
    squared = True
    partial_rotary = True
    layer_norms = True
    norm_biases = True
    sample = {"attention.layer_norm_epsilon": 1e-5, "rope.dimension_count": 12}
