"""Architectures that are recognised but cannot run, with the feature that each lacks here."""

from __future__ import annotations

from typing import Final

_ROUTER: Final = "another router of experts"
_STATE: Final = "a recurrent state of another kind"
_LATENT: Final = "latent attention"
_ALIBI: Final = "ALiBi"
_FUSED: Final = "a reader of its fused or transposed matrices"
_ENCODER: Final = "rotary positions in an encoder"
_INPUTS: Final = "inputs for each layer and keys shared between layers"
_BY_NEED: Final[dict[str, tuple[str, ...]]] = {
    _ROUTER: (
        *("llama4", "phimoe", "grok", "arctic", "bailingmoe", "Llama4ForConditionalGeneration"),
        "PhimoeForCausalLM",
    ),
    "clipped queries, keys and values": ("dbrx", "DbrxForCausalLM"),
    _LATENT: ("plm",),
    _STATE: ("rwkv6", "rwkv7"),
    _FUSED: (*("gpt2", "starcoder", "falcon", "GPT2LMHeadModel", "GPTBigCodeForCausalLM", "FalconForCausalLM"),),
    _ALIBI: ("bloom", "mpt", "jina-bert-v2", "BloomForCausalLM", "MptForCausalLM", "JinaBertModel"),
    _ENCODER: ("nomic-bert", "nomic-bert-moe", "modern-bert", "NomicBertModel", "ModernBertModel"),
    "a head with a bias": ("phi2", "PhiForCausalLM"),
    _INPUTS: ("gemma3n", "Gemma3nForCausalLM"),
    "ternary weights with nets of SiLU, between norms": ("bitnet",),
    "the activation xIELU": ("apertus", "ApertusForCausalLM"),
}
NEEDS: Final[dict[str, str]] = {name: need for need, names in _BY_NEED.items() for name in names}
"""Missing features by architecture, under its name in GGUF or in config.json."""
