"""BERT: an encoder with bidirectional attention and norms after the residual sums (arXiv 1810.04805)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.tables import Buffer
from intact.models.config import Config
from intact.models.decoder import Decoder
from intact.models.ops import Embed, Logits
from intact.numerics.dequantize import dequantize

_EMBEDDINGS: Final = {
    "token_embd": "embeddings.word_embeddings",
    "position_embd": "embeddings.position_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "token_embd_norm": "embeddings.LayerNorm",
}
_LAYER: Final = {
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "attn_output": "attention.output.dense",
    "attn_output_norm": "attention.output.LayerNorm",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
}
_HF_LAYER: Final = re.compile(r"encoder\.layer\.(\d+)\.(.+)\.(weight|bias|largest_input)")
_PREFIX: Final = re.compile(r"(bert|roberta)\.")
_TYPES: Final = "token_types.weight"
_HEADS: Final = ("pooler.dense", "classifier", "classifier.dense", "classifier.out_proj", "cls", "cls.output")
"""Layers after the encoder that are not part of the program (`intact.models.reward_heads`)."""


class Bert(Decoder):
    """Layer norms with biases, exact GELU (error function), learned positions and token types."""

    gguf = "bert"
    hf: ClassVar[tuple[str, ...]] = ("BertModel", "BertForSequenceClassification")
    hf_names = _EMBEDDINGS | _LAYER
    hf_defaults: ClassVar[Mapping[str, Any]] = {"layer_norm_eps": 1e-12, "type_vocab_size": 2, "hidden_act": "gelu"}
    hf_refused = {"is_decoder": (False,), "add_cross_attention": (False,)}
    hf_activation = ("hidden_act", "gelu")
    hf_eps = "layer_norm_eps"
    activation = "gelu_erf"
    gated = False
    causal = False
    norms = "after"
    layer_norms = True
    norm_biases = True
    biases = {
        **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"), True),
        "ffn_gate": False,
    }
    sample = {"attention.layer_norm_epsilon": 1e-12, "attention.causal": False, "pooling_type": 2}
    types_mark_pairs: ClassVar[bool] = True
    """If true, the second sequence of a pair has the second token type."""
    pads_positions: ClassVar[bool] = False
    """If true, positions in safetensors folders start after the padding token's id."""

    @classmethod
    def read_keys(cls) -> frozenset[str]:
        """Return the keys that this architecture reads, including GGUF keys that other architectures refuse."""
        return super().read_keys() | {"attention.causal", "pooling_type"}

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the configuration, including token types and the token that separates a reranker's two sequences."""
        config = super().read_config(checkpoint)
        left = (f"{prefix}{head}.{end}" for prefix in ("", "bert.") for head in _HEADS for end in ("weight", "bias"))
        config = replace(config, tied=None, other_heads=(*left, "embeddings.position_ids"))
        if checkpoint.format == "gguf":
            count = Metadata(checkpoint.metadata, checkpoint.path).integer(
                "tokenizer.ggml.token_type_count", 1, most=16
            )
            return replace(config, token_types=count)
        pairs = any(str(name).endswith("ForSequenceClassification") for name in checkpoint.metadata["architectures"])
        if not (pairs and cls.types_mark_pairs and config.token_types > 1):
            return config
        return replace(config, separator=_separator(checkpoint))

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the common hyper-parameters of a file that declares bidirectional attention."""
        if m.get("attention.causal") is not False:
            m.refuse("attention.causal", "false, as in all encoders", m.get("attention.causal"))
        return super().read_gguf(m)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including the token types and the first position."""
        m.choice("position_embedding_type", ("absolute",))
        config = replace(super().read_hf(m), token_types=m.integer("type_vocab_size", most=16))
        if not cls.pads_positions:
            return config
        first = 1 + m.integer("pad_token_id", least=0)
        if first >= config.context:
            m.refuse("max_position_embeddings", f"more than {first}, where positions begin", config.context)
        return replace(config, first_position=first, context=config.context - first)

    @classmethod
    def canonical_name(cls, name: str) -> str:
        """Return the GGUF name of a safetensors tensor; its own name if there is none."""
        plain = _PREFIX.sub("", name, count=1)
        names = {hf: own for own, hf in cls.hf_names.items()}
        if (match := _HF_LAYER.fullmatch(plain)) and match[2] in names:
            return f"blk.{match[1]}.{names[match[2]]}.{match[3]}"
        stem, _, end = plain.rpartition(".")
        return f"{names[stem]}.{end}" if stem in names and end in ("weight", "bias") else plain

    @classmethod
    def hf_name(cls, name: str) -> str:
        """Return the safetensors name for a tensor's canonical name."""
        stem, _, end = name.rpartition(".")
        if stem.startswith("blk."):
            _, layer, part = stem.split(".", 2)
            return f"encoder.layer.{layer}.{cls.hf_names.get(part, part)}.{end}"
        return f"{cls.hf_names.get(stem, stem)}.{end}"

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return no rotations: positions are learned."""
        return ()

    def rotary(self, i: int) -> int:
        """Return -1: layers have no rotary embedding."""
        return -1

    def embed(self) -> None:
        """Append the embedding of tokens, positions and types, and its norm."""
        c = self.config
        tokens = self.matrix("token_embd.weight", None, c.width)
        places = self.matrix("position_embd.weight", c.first_position + c.context, c.width)
        first, second = self.types()
        self.ops.append(
            Embed(
                "x",
                tokens,
                c.embedding_scale,
                places,
                first=c.first_position,
                bias=first,
                second_bias=second,
                separator=c.separator,
            )
        )
        self.norm("x", "x", "token_embd_norm.weight")

    def types(self) -> tuple[str | None, str | None]:
        """Return the names of the vectors of the first two token types; None for an unused type."""
        c = self.config
        if not c.token_types:
            return None, None
        stored = self.tensors.get(_TYPES)
        if stored is not None and stored.shape == (c.width,):  # llama.cpp's converter drops dimensions of 1
            self.tensors[_TYPES] = Tensor(stored.name, stored.kind, (1, c.width), stored.data)
        whole = self.used.pop(self.matrix(_TYPES, c.token_types, c.width), None)
        names = ["token_types.0", *(["token_types.1"] if c.separator is not None else [])]
        if whole is not None:
            del self.tensors[_TYPES]
            for name, row in zip(names, dequantize(whole.kind, whole.data, whole.shape), strict=False):
                self.tensors[name] = Tensor(name, "F32", (c.width,), row.astype("<f4").view(np.uint8))
                self.vector(name, c.width)
        return names[0], names[1] if len(names) > 1 else None

    def layer(self, i: int) -> None:
        """Append attention and the feed-forward network, with a norm after each residual sum, in place."""
        self.attention(i, rotary=-1)
        self.project(i, "x", accumulate=True)
        self.norm("x", "x", f"blk.{i}.attn_output_norm.weight")
        self.feed_forward(i, "x", accumulate=True)
        self.norm("x", "x", f"blk.{i}.layer_output_norm.weight")

    def finish(self, tied: bool, vocabulary: int) -> None:
        """Append the end of the program, which has no logits."""
        self.ops.append(Logits("x", None))

    def buffers(self) -> dict[str, Buffer]:
        """Return the row vectors between operations."""
        c = self.config
        heads = Buffer(c.heads * c.head_width)
        return {
            "x": Buffer(c.width, wide=True),
            **dict.fromkeys(("q", "k", "v", "attended"), heads),
            "up": Buffer(c.hidden),
            "hidden": Buffer(c.hidden, wide=True),
        }


def _separator(checkpoint: Checkpoint) -> int:
    """Return the id of the token [SEP] in a folder's tokenizer: tokenizer.json, else vocab.txt.

    Raises
    ------
    ModelError
        If its files define no such token.
    """
    own, plain = checkpoint.folder / "tokenizer.json", checkpoint.folder / "vocab.txt"
    try:
        if not own.is_file():
            return plain.read_text("utf-8").split("\n").index("[SEP]")
        listed = json.loads(own.read_bytes())["added_tokens"]
        return int(next(token["id"] for token in listed if token["content"] == "[SEP]"))
    except (OSError, ValueError, KeyError, TypeError, StopIteration, RecursionError):
        what = "tokenizer.json and vocab.txt name no token [SEP], which separates the texts of a pair"
        raise ModelError(f"{checkpoint.folder}: {what}") from None
