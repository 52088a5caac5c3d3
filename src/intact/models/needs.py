"""Architectures that are known by name but cannot run: what each needs that no operation here has."""

from __future__ import annotations

from typing import Final

_EXPERTS: Final = "experts"
_STATE: Final = "a recurrent state"
_LAYER_NORM: Final = "LayerNorm"
_LATENT: Final = "latent attention"
_CAPS: Final = "soft caps of scores and logits"
_SQUARED: Final = "squared ReLU without a gate"
_INPUTS: Final = "inputs for each layer and keys shared between layers"
_BY_NEED: Final[dict[str, tuple[str, ...]]] = {
    _EXPERTS: (
        *("qwen2moe", "qwen3moe", "olmoe", "granitemoe", "gpt-oss", "llama4", "glm4moe", "ernie4_5-moe", "dots1"),
        *("hunyuan-moe", "phimoe", "dbrx", "grok", "arctic", "minimax-m2", "exaone-moe", "bailingmoe"),
        *("Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM", "GraniteMoeForCausalLM"),
        *("GptOssForCausalLM", "Llama4ForConditionalGeneration", "MixtralForCausalLM", "Glm4MoeForCausalLM"),
        *("Ernie4_5_MoeForCausalLM", "HunYuanMoEV1ForCausalLM", "PhimoeForCausalLM", "DbrxForCausalLM"),
    ),
    f"{_EXPERTS} and {_LATENT}": ("deepseek2", "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM"),
    _LATENT: ("minicpm3", "plm", "MiniCPM3ForCausalLM"),
    _STATE: (
        *("mamba", "mamba2", "falcon-h1", "granitehybrid", "nemotron_h", "jamba", "lfm2", "lfm2moe", "rwkv6", "rwkv7"),
        *("qwen3next", "qwen35", "qwen35moe", "MambaForCausalLM", "Mamba2ForCausalLM", "FalconH1ForCausalLM"),
        *("GraniteMoeHybridForCausalLM", "NemotronHForCausalLM", "JambaForCausalLM", "Lfm2ForCausalLM"),
        *("Lfm2MoeForCausalLM", "Qwen3NextForCausalLM"),
    ),
    _LAYER_NORM: (
        *("gpt2", "gptneox", "starcoder", "starcoder2", "phi2", "stablelm", "command-r", "cohere2", "olmo", "orion"),
        *("bloom", "mpt", "falcon", "GPT2LMHeadModel", "GPTNeoXForCausalLM", "Starcoder2ForCausalLM"),
        *("PhiForCausalLM", "StableLmForCausalLM", "CohereForCausalLM", "Cohere2ForCausalLM", "OlmoForCausalLM"),
        *("BloomForCausalLM", "MptForCausalLM", "FalconForCausalLM"),
    ),
    f"{_LAYER_NORM} and {_SQUARED}": ("nemotron", "NemotronForCausalLM"),
    _SQUARED: ("arcee", "ArceeForCausalLM"),
    _CAPS: ("gemma2", "Gemma2ForCausalLM"),
    _INPUTS: ("gemma3n", "gemma4", "Gemma3nForCausalLM", "Gemma4ForCausalLM"),
    "norms inside attention and the feed-forward net": ("bitnet", "BitNetForCausalLM"),
    "the activation xIELU": ("apertus", "ApertusForCausalLM"),
}
NEEDS: Final[dict[str, str]] = {name: need for need, names in _BY_NEED.items() for name in names}
"""The missing parts that architectures need, by their names in GGUF and in config.json."""
