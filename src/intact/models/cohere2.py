"""Command R7B and Command A: Command R with sliding windows in most layers, no positions in the rest (cohere.com)."""

from intact.models.command_r import CommandR


class Cohere2(CommandR):
    """Every fourth layer is global and has no positions; all other layers use the window."""

    gguf = "cohere2"
    hf = ("Cohere2ForCausalLM",)
    has_local_layers = True
    local_but_each = 4
    rotates_local_alone = True
    sample = CommandR.sample | {"attention.sliding_window": 24, "attention.sliding_window_pattern": 2}
