"""DeepSeek V2: latent attention, dense first layers, then routed and shared experts (arXiv 2405.04434)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.tables import Buffer
from intact.models.config import Config, LatentAttention
from intact.models.decoder import Decoder, inverse_root
from intact.models.mixtures import MixtureForm
from intact.models.names import HF_EXPERTS, HF_NAMES, HF_SHARED_EXPERTS, pick_rows
from intact.models.ops import Attend, Linear, Norm, Scatter
from intact.numerics.dequantize import dequantize
from intact.numerics.rope import score_magnitude

_LATENT_EPS = 1e-6
"""Epsilon of the norms of latent rows, regardless of the file's value for other norms, as in the authors' code."""
_LOG_MULTIPLIER = "rope.scaling.yarn_log_multiplier"


class DeepseekV2(Decoder):
    """Keys and values are computed from one short latent row per position, and a rotated part shared by all heads.

    The cache holds them expanded: for each head a key with both parts, and a value, zero-padded to the key's width.
    """

    gguf = "deepseek2"
    gguf_shared = ("deepseek3", "glm4-moe-lite")
    hf: ClassVar[tuple[str, ...]] = ("DeepseekV2ForCausalLM",)
    hf_names = (
        HF_NAMES
        | HF_EXPERTS
        | HF_SHARED_EXPERTS
        | {
            "attn_q_a": "self_attn.q_a_proj",
            "attn_q_a_norm": "self_attn.q_a_layernorm",
            "attn_q_b": "self_attn.q_b_proj",
            "attn_kv_a_mqa": "self_attn.kv_a_proj_with_mqa",
            "attn_kv_a_norm": "self_attn.kv_a_layernorm",
            "attn_k_b": "self_attn.k_b_proj",
            "attn_v_b": "self_attn.v_b_proj",
        }
    )
    hf_defaults: ClassVar[Mapping[str, Any]] = {
        "kv_lora_rank": 512,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "moe_intermediate_size": 1407,
    }
    hf_refused: ClassVar[Mapping[str, tuple[object, ...]]] = {
        "mlp_bias": (False,),
        "moe_layer_freq": (1,),
        "norm_topk_prob": (False,),
    }
    scoring: ClassVar[str] = "softmax"
    """The only supported value of `scoring_func` in config.json."""
    choices: ClassVar[tuple[str, ...]] = ("greedy", "group_limited_greedy")
    """Supported values of `topk_method`."""
    fused = {"attn_kv_b": "self_attn.kv_b_proj"}
    gguf_fused = ("attn_kv_b",)
    gguf_interleaves = True
    hf_interleaves = True
    biases = Decoder.biases | {
        "attn_q": False,
        "attn_q_a": "attention_bias",
        "attn_q_b": False,
        "attn_kv_a_mqa": "attention_bias",
        "attn_k_b": False,
        "attn_v_b": False,
    }
    mixture: ClassVar[MixtureForm | None] = MixtureForm(
        "softmax",
        "n_routed_experts",
        "moe_intermediate_size",
        hf_dense="first_k_dense_replace",
        hf_factor="routed_scaling_factor",
        hf_shared_count="n_shared_experts",
        hf_groups=("n_group", "topk_group"),
    )
    sample: ClassVar[dict[str, Any]] = {
        "attention.head_count_kv": 3,
        "attention.kv_lora_rank": 64,
        "attention.value_length": 16,
        "rope.dimension_count": 8,
        "expert_count": 6,
        "expert_used_count": 2,
        "expert_feed_forward_length": 64,
        "expert_shared_count": 2,
        "leading_dense_block_count": 1,
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 16,
        _LOG_MULTIPLIER: 0.0707,
    }

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration with latent attention; `key_length_mla`, if present, gives the width of whole keys."""
        heads = m.integer("attention.head_count", most=4096)
        key, value = (
            m.integer(f"attention.{name}_length_mla", m.integer(f"attention.{name}_length"))
            for name in ("key", "value")
        )
        query_rank = m.integer("attention.q_lora_rank", 0, least=0)
        latent = cls.latent(
            m, m.integer("attention.kv_lora_rank"), query_rank, m.integer("rope.dimension_count"), key=key, value=value
        )
        common: dict[str, Any] = {
            "attention.key_length": key,
            "attention.value_length": key,
            "attention.head_count_kv": heads,
        }
        if m.get(_LOG_MULTIPLIER):  # a tenth of mscale_all_dim, a float32
            common[_LOG_MULTIPLIER] = float(f"{10 * m.number(_LOG_MULTIPLIER):.6g}")
        given = {m.prefix + name: value for name, value in common.items()}
        config = super().read_gguf(Metadata({**m.values, **given}, m.source, prefix=m.prefix))
        scaling = config.rope_scaling
        if "mscale_all_dim" in scaling:
            config = replace(config, rope_scaling={**scaling, "mscale": scaling["mscale_all_dim"]})
        return cls.with_latent(config, latent)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including the widths of latent attention."""
        m.choice("scoring_func", (cls.scoring,))
        m.choice("topk_method", cls.choices)
        heads = m.integer("num_attention_heads", most=4096)
        if m.get("num_key_value_heads") is not None and m.integer("num_key_value_heads") != heads:
            m.refuse("num_key_value_heads", f"{heads}, the number of heads", m.get("num_key_value_heads"))
        query_rank = 0 if m.get("q_lora_rank") is None else m.integer("q_lora_rank")
        rotary = m.integer("qk_rope_head_dim")
        key = m.integer("qk_nope_head_dim") + rotary
        latent = cls.latent(m, m.integer("kv_lora_rank"), query_rank, rotary, key=key, value=m.integer("v_head_dim"))
        given: dict[str, Any] = {"head_dim": key, "num_key_value_heads": heads}
        if m.get("topk_method") == "greedy":
            given["n_group"] = None
        return cls.with_latent(super().read_hf(Metadata({**m.values, **given}, m.source)), latent)

    @classmethod
    def latent(cls, m: Metadata, rank: int, query_rank: int, rotary: int, key: int, value: int) -> LatentAttention:
        """Return the widths of latent attention.

        Raises
        ------
        ModelError
            If the rotated part fills a key, or values are wider than keys.
        """
        if rotary >= key or value > key:
            what = f"values of {value} and a rotated part of {rotary}"
            raise ModelError(f"{m.source}: keys of width {key} need narrower {what}")
        return LatentAttention(rank, query_rank, rotary, key - rotary, value=value)

    @classmethod
    def with_latent(cls, config: Config, latent: LatentAttention) -> Config:
        """Return the configuration with latent attention and the factor of its scores."""
        scale = inverse_root(config.head_width) * score_magnitude(config.rope_scaling) ** 2
        return replace(config, latent=latent, rope_width=latent.rotary, score_scale=scale)

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Split fused tensors, including the key and value matrices, with the rows of each head together.

        Files store keys and values fused, by head; newer GGUF files store them separately, with keys as one matrix per
        head that multiplies queries (the absorbed form). These are transposed as float32.
        """
        tensors: dict[str, Tensor] = {}
        for name, tensor in checkpoint.tensors.items():
            stem, _, end = name.rpartition(".")
            part = stem.rpartition(".attn_" if checkpoint.format == "gguf" else ".self_attn.")[2]
            if end != "weight" or part not in ("kv_b", "kv_b_proj", "k_b", "v_b"):
                tensors[name] = tensor
            elif part.startswith("kv_b"):
                tensors |= {one.name: one for one in cls.keys_and_values(checkpoint, config, name, tensor)}
            else:
                tensors[name] = cls.by_rows(checkpoint, config, tensor, part)
        return super().split(Checkpoint(checkpoint.path, checkpoint.format, checkpoint.metadata, tensors), config)

    @classmethod
    def keys_and_values(cls, checkpoint: Checkpoint, config: Config, name: str, tensor: Tensor) -> list[Tensor]:
        """Return the key rows and the value rows of a tensor that stores both for each head.

        Return nothing if a GGUF file also has separate tensors, which are read instead.
        """
        latent = config.latent
        assert latent is not None
        names = [name.replace("kv_b", part) for part in ("k_b", "v_b")]
        if names[0] in checkpoint.tensors:
            return []
        rows = np.arange(config.heads * (latent.plain + latent.value))
        if len(tensor.shape) != 2 or tensor.shape[0] != len(rows):
            expected = f"({len(rows)}, {latent.rank})"
            raise ModelError(
                f"{checkpoint.path}: tensor {tensor.name} has shape {tensor.shape}, expected {expected}: for each of "
                f"{config.heads} heads {latent.plain} rows of keys and {latent.value} of values"
            )
        heads = rows.reshape(config.heads, -1)
        parts = heads[:, : latent.plain].ravel(), heads[:, latent.plain :].ravel()
        return [pick_rows(tensor, own, part) for own, part in zip(names, parts, strict=True)]

    @classmethod
    def by_rows(cls, checkpoint: Checkpoint, config: Config, tensor: Tensor, part: str) -> Tensor:
        """Return a stack of per-head matrices as one matrix; tensors in another form are returned unchanged."""
        latent = config.latent
        assert latent is not None
        stacked = (config.heads, latent.rank, latent.plain) if part == "k_b" else None
        if part == "v_b" and tensor.shape == (config.heads, latent.value, latent.rank):
            return Tensor(tensor.name, tensor.kind, (config.heads * latent.value, latent.rank), tensor.data)
        if tensor.shape != stacked:
            return tensor
        try:
            values = dequantize(tensor.kind, tensor.data, tensor.shape)
        except ModelError as error:
            raise ModelError(f"{checkpoint.path}: tensor {tensor.name}: {error}") from error
        turned = np.ascontiguousarray(values.swapaxes(1, 2), "<f4").reshape(-1, latent.rank)
        return Tensor(tensor.name, "F32", turned.shape, turned.reshape(-1).view(np.uint8))

    @property
    def widths(self) -> LatentAttention:
        """The widths of latent attention."""
        assert self.config.latent is not None
        return self.config.latent

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers, including the rows between latent rows and heads."""
        c, w = self.config, self.widths
        own = {
            "queries": c.heads * c.head_width,
            "compressed": w.rank + w.rotary,
            "latent": w.rank,
            "rotated": w.rotary,
            "plain": c.heads * w.plain,
            "values": c.heads * w.value,
        }
        if w.query_rank:
            own["query_latent"] = w.query_rank
        return super().buffers() | {name: Buffer(width) for name, width in own.items()}

    def attention(
        self, i: int, interleaved: bool = False, head_norms: bool = False, rotary: int = 0, window: int = 0
    ) -> None:
        """Append latent attention: latent rows, their norms, queries, keys and values of heads, and attention.

        The rotated part of a head comes first, followed by the rest.
        """
        c, w, p = self.config, self.widths, f"blk.{i}."
        whole, heads = c.head_width, c.heads
        compressed = self.target("compressed", p + "attn_kv_a_mqa", w.rank + w.rotary, c.width)
        if w.query_rank:
            first = self.target("query_latent", p + "attn_q_a", w.query_rank, c.width)
            self.ops.append(Linear("normed", (first, compressed)))
            self.latent_norm("query_latent", p + "attn_q_a_norm.weight", w.query_rank)
            second = self.target("queries", p + "attn_q_b", heads * whole, w.query_rank)
            self.ops.append(Linear("query_latent", (second,)))
        else:
            self.ops.append(
                Linear("normed", (self.target("queries", p + "attn_q", heads * whole, c.width), compressed))
            )
        self.ops += [
            Scatter("queries", "q", heads, w.rotary, source_step=whole, source_start=w.plain, target_step=whole),
            Scatter(
                "queries",
                "q",
                heads,
                w.plain,
                source_step=whole,
                source_start=0,
                target_step=whole,
                target_start=w.rotary,
                keep=True,
            ),
            Scatter("compressed", "rotated", 1, w.rotary, source_start=w.rank),
            Scatter("compressed", "latent", 1, w.rank),
        ]
        self.rotate("q", rotary, heads, whole, interleaved=interleaved)
        self.rotate("rotated", rotary, 1, w.rotary, interleaved=interleaved)
        self.latent_norm("latent", p + "attn_kv_a_norm.weight", w.rank)
        keys = self.target("plain", p + "attn_k_b", heads * w.plain, w.rank)
        values = self.target("values", p + "attn_v_b", heads * w.value, w.rank)
        self.ops += [
            Linear("latent", (keys, values)),
            Scatter("rotated", "k", heads, w.rotary, source_step=0, source_start=0, target_step=whole),
            Scatter(
                "plain",
                "k",
                heads,
                w.plain,
                source_step=w.plain,
                source_start=0,
                target_step=whole,
                target_start=w.rotary,
                keep=True,
            ),
            Scatter("values", "v", heads, w.value, source_step=w.value, source_start=0, target_step=whole),
        ]
        cached = sum(isinstance(op, Attend) for op in self.ops)
        assert c.score_scale is not None
        self.ops.append(
            Attend(
                "q", "k", "v", "attended", layer=cached, heads=heads, kv_heads=heads, width=whole, scale=c.score_scale
            )
        )
        self.ops.append(
            Scatter("attended", "values", heads, w.value, source_step=whole, source_start=0, target_step=w.value)
        )

    def latent_norm(self, buffer: str, gain: str, width: int) -> None:
        """Append the norm of a latent row, in place."""
        self.vector(gain, width)
        self.ops.append(Norm(buffer, buffer, gain, _LATENT_EPS, heads=1))

    def project(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append attention's output projection, for values of their own width."""
        c = self.config
        columns = c.heads * self.widths.value
        target = self.target(buffer, f"blk.{i}.attn_output", c.width, columns, accumulate=accumulate)
        self.ops.append(Linear("values", (target,)))
