"""Llama, SmolLM2, TinyLlama, Falcon 3, IQuest-Coder: pre-norms, rotary attention, SwiGLU (arXiv 2302.13971)."""

from collections.abc import Mapping
from typing import ClassVar

from intact.models.decoder import Decoder
from intact.models.names import FEED_FORWARD


class Llama(Decoder):
    """Rotary pairs of query and key rows are adjacent in GGUF files and half a head apart in safetensors."""

    gguf = "llama"
    gguf_shared = ("mixtral",)
    hf: ClassVar[tuple[str, ...]] = ("LlamaForCausalLM", "IQuestCoderForCausalLM")
    hf_refused: ClassVar[Mapping[str, tuple[object, ...]]] = {"clip_qkv": ()}
    biases = Decoder.biases | dict.fromkeys(FEED_FORWARD, "mlp_bias")
    gguf_interleaves = True
