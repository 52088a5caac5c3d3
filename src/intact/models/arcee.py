"""Arcee's foundation models: Llama with a squared-ReLU feed-forward network (arcee.ai)."""

from intact.models.llama import Llama


class Arcee(Llama):
    """No gate: positive outputs of `ffn_up` are squared, others become 0."""

    gguf = "arcee"
    hf = ("ArceeForCausalLM",)
    hf_activation = ("hidden_act", "relu2")
    activation = "relu"
    gated = False
    squared = True
