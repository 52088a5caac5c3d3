"""InternLM2 and 2.5: Llama architecture; query, key and value fused by KV head (arXiv 2403.17297)."""

from intact.models.decoder import Decoder
from intact.models.llama import Llama
from intact.models.names import HF_NAMES


class InternLM2(Llama):
    """GGUF files store the three matrices separately, in the order of adjacent rotary pairs."""

    gguf = "internlm2"
    hf = ("InternLM2ForCausalLM",)
    hf_names = HF_NAMES | {
        "token_embd": "model.tok_embeddings",
        "output": "output",
        "attn_output": "attention.wo",
        "attn_norm": "attention_norm",
        "ffn_norm": "ffn_norm",
        "ffn_gate": "feed_forward.w1",
        "ffn_up": "feed_forward.w3",
        "ffn_down": "feed_forward.w2",
    }
    biases = {matrix: "bias" if matrix.startswith("attn") else False for matrix in Decoder.biases}
    fused = {"attn_qkv": "attention.wqkv"}
    hf_groups_heads = True
