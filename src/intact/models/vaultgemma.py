"""VaultGemma: Gemma 2 without post-norms (Google, VaultGemma technical report, 2025)."""

from intact.models.gemma2 import Gemma2


class VaultGemma(Gemma2):
    """Norms come only before attention and feed-forward network; GGUF files use Gemma 2's name."""

    name = "vaultgemma"
    hf = ("VaultGemmaForCausalLM",)
    norms = "before"
