"""VaultGemma: Gemma 2 without the norms that results pass (Google, VaultGemma technical report, 2025)."""

from intact.models.gemma2 import Gemma2


class VaultGemma(Gemma2):
    """Norms stand before attention and feed-forward net alone; GGUF files are Gemma 2's in name."""

    name = "vaultgemma"
    hf = ("VaultGemmaForCausalLM",)
    norms = "before"
