"""A tiny random model as a GGUF file: awkward shapes, mixed formats, a byte-level tokenizer, the same bytes everywhere.

All numbers come from SHAKE-128 over the seed and the tensor's name, never from a library's random stream, so that
digests of what these models compute may be kept.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from intact.conformance.synthetic import FLOAT_KINDS, random_floats, random_tensor
from intact.numerics.weights import BLOCK_KINDS
from support.gguf_writer import write_gguf

KINDS = ("Q4_0", "F16", "Q8_0", "Q4_1", "Q5_0", "F32", "Q5_1", "IQ4_NL", "MXFP4", "BF16")
"""A mixture in rows of a multiple of 32."""
K_KINDS = ("Q4_K", "Q6_K", "Q2_K", "Q5_K", "Q3_K", "IQ4_XS", "TQ1_0", "TQ2_0", "Q8_0")
"""A mixture that needs rows of a multiple of 256."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _byte_spellings() -> list[str]:
    """How byte-level BPE spells the 256 bytes (GPT-2)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(others)) for b in range(256)]


def tokenizer_metadata(vocabulary: int) -> dict[str, Any]:
    """A byte-level tokenizer: three control tokens, 256 bytes, and pairs of letters to fill the vocabulary."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    pairs = [(a, b) for a in "Ġ" + letters for b in letters][: vocabulary - 259]
    if len(pairs) < vocabulary - 259 or vocabulary < 259:
        raise ValueError(f"a tiny vocabulary has 259 to {259 + 27 * 26} tokens, got {vocabulary}")
    controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = controls + _byte_spellings() + [a + b for a, b in pairs]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(tokens) - 3),
        "tokenizer.ggml.merges": [f"{a} {b}" for a, b in pairs],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def write_tiny(
    path: Path,
    architecture: str = "llama",
    kinds: Iterable[str] = KINDS,
    seed: int = 0,
    *,
    layers: int = 2,
    width: int | None = None,
    hidden: int | None = None,
    heads: int = 3,
    kv_heads: int = 1,
    head_width: int = 24,
    vocabulary: int = 301,
    context: int = 512,
    tied: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a random model and return its path.

    Parameters
    ----------
    architecture : {'llama', 'qwen2', 'qwen3', 'gemma3'}
    kinds : names of formats
        Given to the matrices in turn. One whose blocks do not fit a matrix's columns is passed over; where none fits,
        the matrix is F32.
    width, hidden : int, optional
        96 and 160; 256 and 768 where a kind needs rows of a multiple of 256.
    tied : bool
        The head is the embedding.
    metadata : mapping, optional
        Keys that are added to the file's or replace them.
    """
    kinds = list(kinds)
    wide = any(kind not in FLOAT_KINDS and BLOCK_KINDS[kind].values == 256 for kind in kinds)
    width, hidden = width or (256 if wide else 96), hidden or (768 if wide else 160)
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    turn = 0

    def matrix(name: str, rows: int, columns: int, size: float = 1.0) -> None:
        nonlocal turn
        order = [kinds[(turn + i) % len(kinds)] for i in range(len(kinds))]
        fits = [i for i, kind in enumerate(order) if kind in FLOAT_KINDS or columns % BLOCK_KINDS[kind].values == 0]
        kind = order[fits[0]] if fits else "F32"
        turn += fits[0] + 1 if fits else 0
        shape = (rows, columns)
        tensors[name + ".weight"] = (kind, shape, random_tensor(f"{seed}|{name}", kind, shape, size / columns**0.5))

    def vector(name: str, length: int, mean: float, size: float) -> None:
        x = random_floats(f"{seed}|{name}", (length,), size) + np.float32(mean)
        tensors[name] = ("F32", (length,), x.astype("<f4").tobytes())

    matrix("token_embd", vocabulary, width, 8.0)
    for i in range(layers):
        p = f"blk.{i}."
        vector(p + "attn_norm.weight", width, 1.0, 0.2)
        outputs = {"q": heads * head_width, "k": kv_heads * head_width, "v": kv_heads * head_width}
        for part, rows in outputs.items():
            matrix(p + "attn_" + part, rows, width, 1.5)
            if architecture == "qwen2":
                vector(f"{p}attn_{part}.bias", rows, 0.0, 2.0 if part == "k" else 0.3)
        if architecture in ("qwen3", "gemma3"):
            vector(p + "attn_q_norm.weight", head_width, 1.2, 0.3)
            vector(p + "attn_k_norm.weight", head_width, 1.2, 0.3)
        matrix(p + "attn_output", width, heads * head_width)
        vector(p + "ffn_norm.weight", width, 1.0, 0.2)
        matrix(p + "ffn_gate", hidden, width, 1.5)
        matrix(p + "ffn_up", hidden, width)
        matrix(p + "ffn_down", width, hidden)
        if architecture == "gemma3":
            vector(p + "post_attention_norm.weight", width, 0.8, 0.2)
            vector(p + "post_ffw_norm.weight", width, 0.8, 0.2)
    vector("output_norm.weight", width, 1.0, 0.2)
    if not tied:
        matrix("output", vocabulary, width, 3.0)
    a = architecture + "."
    own: dict[str, Any] = {
        "general.architecture": architecture,
        "general.name": f"tiny {architecture} {seed}",
        a + "block_count": layers,
        a + "context_length": context,
        a + "embedding_length": width,
        a + "feed_forward_length": hidden,
        a + "attention.head_count": heads,
        a + "attention.head_count_kv": kv_heads,
        a + "attention.key_length": head_width,
        a + "attention.value_length": head_width,
        a + "attention.layer_norm_rms_epsilon": 1e-5,
        a + "rope.dimension_count": head_width,
        a + "rope.freq_base": 10000.0,
    }
    if architecture == "gemma3":
        own |= {a + "attention.sliding_window": 24, a + "attention.sliding_window_pattern": 2}
    return write_gguf(path, own | tokenizer_metadata(vocabulary) | dict(metadata or {}), tensors)
