"""Arcee's foundation models: Llama with a feed-forward net of squared ReLU (arcee.ai)."""

from intact.models.llama import Llama


class Arcee(Llama):
    """No gate: the results of `ffn_up`, where they are positive, squared."""

    gguf = "arcee"
    hf = ("ArceeForCausalLM",)
    hf_activation = ("hidden_act", "relu2")
    activation = "relu"
    gated = False
    squared = True
