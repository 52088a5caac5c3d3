"""dots.llm1: Qwen3's attention, experts chosen by sigmoids with per-expert biases (arXiv 2506.05767)."""

from __future__ import annotations

from intact.models.mixtures import CHOSEN_BY_SIGMOIDS, HF_CHOICE_BIAS, SIGMOID_SAMPLE
from intact.models.names import HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERTS
from intact.models.qwen3 import Qwen3


class Dots1(Qwen3):
    """The first layers have ordinary feed-forward networks; all others have two shared experts."""

    gguf = "dots1"
    hf = ("Dots1ForCausalLM",)
    hf_names = HF_NAMES | HF_EXPERTS | HF_SHARED_EXPERTS
    hf_bare = HF_CHOICE_BIAS
    hf_defaults = {"norm_topk_prob": False, "first_k_dense_replace": 0}
    mixture = CHOSEN_BY_SIGMOIDS
    sample = SIGMOID_SAMPLE | {"expert_shared_count": 2}
