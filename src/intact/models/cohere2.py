"""Command R7B and Command A: Command R's graph; most layers see a window, the others have no positions (cohere.com)."""

from intact.models.command_r import CommandR


class Cohere2(CommandR):
    """All but each fourth layer see the window, and they alone have positions."""

    gguf = "cohere2"
    hf = ("Cohere2ForCausalLM",)
    has_local_layers = True
    local_but_each = 4
    rotates_local_alone = True
    sample = CommandR.sample | {"attention.sliding_window": 24, "attention.sliding_window_pattern": 2}
