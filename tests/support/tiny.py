"""A tiny random model as a GGUF file: awkward shapes, mixed formats, a byte-level tokenizer, the same bytes everywhere.

All numbers come from SHAKE-128 over the seed and the tensor's name, never from a library's random stream, so that
digests of what these models compute may be kept.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from intact.checkpoints.formats import Checkpoint
from intact.measure.bench.shapes import tokenizer_metadata
from intact.measure.conformance.synthetic import random_floats, random_tensor
from intact.models import ARCHITECTURES
from intact.models.tensor_shapes import fused_shapes, tensor_shapes
from intact.numerics.weight_formats import FORMATS
from support.gguf_writer import write_gguf

KINDS = ("Q4_0", "F16", "Q8_0", "Q4_1", "Q5_0", "F32", "Q5_1", "IQ4_NL", "MXFP4", "BF16")
"""A mixture in rows of a multiple of 32."""
K_KINDS = ("Q4_K", "Q6_K", "Q2_K", "Q5_K", "Q3_K", "IQ4_XS", "TQ1_0", "TQ2_0", "Q8_0")
"""A mixture that needs rows of a multiple of 256."""
IQ_KINDS = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S")
"""The types of codebooks, whose blocks hold 256 as well."""

MATRICES = {
    "token_embd": 8.0,
    "attn_q": 1.5,
    "attn_k": 1.5,
    "attn_v": 1.5,
    "attn_qkv": 1.5,
    "attn_output": 1.0,
    "attn_gate": 0.25,
    "ffn_gate": 1.5,
    "ffn_gate_exps": 1.5,
    "ffn_gate_inp": 4.0,
    "output": 3.0,
}
"""Sizes of random matrices by the ends of their names; 1 for others."""
UNGATED = {"ffn_up": 3.0, "ffn_down": 3.0}
"""Those of nets without a gate, whose results are too small otherwise for texts of many tokens."""
VECTORS = {
    "attn_q_norm.weight": (1.2, 0.3),
    "attn_k_norm.weight": (1.2, 0.3),
    "post_attention_norm.weight": (0.8, 0.2),
    "post_ffw_norm.weight": (0.8, 0.2),
    "attn_k.bias": (0.0, 2.0),
    "attn_sinks.weight": (1.0, 2.0),
    ".hgrn_room.weight": (0.5, 0.1),
    ".ssm_a": (-4.0, 1.0),
    ".ssm_dt.bias": (-3.0, 1.0),
    ".bias": (0.0, 0.3),
}
"""Means and sizes of random vectors; 1 and 0.2 for others."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


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
    architecture : str
        A name in `intact.models.ARCHITECTURES`, whose class says which tensors and hyper-parameters there are; the file
        has the class's name in GGUF.
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
    wide = any(FORMATS[kind].values == 256 for kind in kinds)
    width, hidden = width or (256 if wide else 96), hidden or (768 if wide else 160)
    stored = ARCHITECTURES[architecture].gguf
    a = stored + "."
    own: dict[str, Any] = {
        "general.architecture": stored,
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
    own |= {a + key: value for key, value in ARCHITECTURES[architecture].sample.items()}
    tensors: dict[str, tuple[str, tuple[int, ...], bytes]] = {}
    matrices = MATRICES | ({} if ARCHITECTURES[architecture].gated else UNGATED)
    turn = 0
    described = Checkpoint(path, "gguf", own, {})
    shapes = tensor_shapes(ARCHITECTURES[architecture], described, vocabulary, tied)
    fused, stems = ARCHITECTURES[architecture].gguf_fused, ARCHITECTURES[architecture].gguf_stems
    for name, shape in fused_shapes(shapes, fused, stems=stems).items():
        if len(shape) == 1 or name.endswith((".bias", ".ssm_a")):
            mean, size = entry_of(name, VECTORS, (1.0, 0.2))
            values = random_floats(f"{seed}|{name}", shape, size) + np.float32(mean)
            tensors[name] = ("F32", shape, values.astype("<f4").tobytes())
            continue
        order = [kinds[(turn + i) % len(kinds)] for i in range(len(kinds))]
        fits = [i for i, kind in enumerate(order) if shape[-1] % FORMATS[kind].values == 0]
        kind = order[fits[0]] if fits else "F32"
        turn += fits[0] + 1 if fits else 0
        stem = name.removesuffix(".weight")
        size = entry_of(stem, matrices, 1.0) / shape[-1] ** 0.5
        tensors[name] = (kind, shape, random_tensor(f"{seed}|{stem}", kind, shape, size))
    names = ARCHITECTURES[architecture].gguf_names
    tensors = {names.get(name, name): tensor for name, tensor in tensors.items()}
    own |= tokenizer_metadata(vocabulary) | {"tokenizer.chat_template": TEMPLATE}
    return write_gguf(path, own | dict(metadata or {}), tensors)


def write_evaluated(folder: Path, count: int) -> Path:
    """Write a model, ``tiny.gguf``, and so many problems, ``data/gsm8k``, that it gets right now and then."""
    (folder / "data" / "gsm8k").mkdir(parents=True)
    rows = [{"question": f"What is {i} + {i}?", "answer": f"#### {5 + i % 3}"} for i in range(count)]
    (folder / "data" / "gsm8k" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_tiny(folder / "tiny.gguf")
    return folder


def entry_of(name: str, table: Mapping[str, Any], default: Any) -> Any:
    """The entry of a table for the ending that a name has."""
    return next((value for ending, value in table.items() if name.endswith(ending)), default)
