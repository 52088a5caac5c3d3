"""Command R: layer norms without bias, attention and feed-forward network in parallel (docs.cohere.com)."""

from intact.models.decoder import Decoder


class CommandR(Decoder):
    """Rotary pairs are adjacent in all files; logits are multiplied by a factor."""

    gguf = "command-r"
    hf = ("CohereForCausalLM",)
    hf_defaults = {"logit_scale": 0.0625, "layer_norm_eps": 1e-5, "tie_word_embeddings": True}
    hf_refused = {"use_qk_norm": (False,)}
    hf_eps = "layer_norm_eps"
    norms = "parallel"
    layer_norms = True
    gguf_interleaves = True
    hf_interleaves = True
    multipliers = {"logit_scale": ("logit_scale", "logit_scale")}
    divides_logits = False
    sample = {"attention.layer_norm_epsilon": 1e-5, "logit_scale": 0.0625}
