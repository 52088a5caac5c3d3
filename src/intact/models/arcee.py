"""Arcee's foundation models: Llama with a squared-ReLU feed-forward network (arcee.ai)."""

from intact.models.llama import Llama


class Arcee(Llama):
    """The feed-forward network has no gate; its activation is squared ReLU."""

    gguf = "arcee"
    hf = ("ArceeForCausalLM",)
    hf_activation = ("hidden_act", "relu2")
    activation = "relu"
    gated = False
    squared = True
