"""Falcon-H1: attention and a state space in parallel in each layer, factors for all matrices (arXiv 2507.22448)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from intact._base.errors import ModelError
from intact.checkpoints.formats import Checkpoint, Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.checkpoints.formats.quantised.parts import Converted
from intact.models.config import Config, RowFactors, exact
from intact.models.names import GGUF_LAYER
from intact.models.state_spaces import HYBRID_DEFAULTS, HYBRID_NAMES, StateSpaces, scan_names
from intact.numerics.dequantize import dequantize
from intact.numerics.weight_formats import FLOAT_FORMATS, Bytes

_FACTORS = (
    *("attention_in_multiplier", "attention_out_multiplier", "key_multiplier"),
    *("ssm_in_multiplier", "ssm_out_multiplier"),
)
_LISTS = {"mlp_multipliers": 2, "ssm_multipliers": 5}
"""Keys of lists of factors, with their lengths: gate and down; z, x, B, C and dt."""


class FalconH1(StateSpaces):
    """Attention and state space share one norm; factors are multiplied into matrices, as in llama.cpp's converter."""

    gguf = "falcon-h1"
    hf = ("FalconH1ForCausalLM",)
    hf_names = HYBRID_NAMES | scan_names("mamba")
    hf_defaults: ClassVar[dict[str, Any]] = HYBRID_DEFAULTS | {
        "num_key_value_heads": 8,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "mamba_d_ssm": 1024,
    }
    hf_refused = {
        **dict.fromkeys(("attention_bias", "mlp_bias", "mamba_proj_bias", "projectors_bias"), (False,)),
        "mamba_use_mlp": (True,),
    }
    sample: ClassVar[dict[str, Any]] = {
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 96,
        "ssm.state_size": 16,
        "ssm.time_step_rank": 4,
        "ssm.group_count": 2,
    }

    @classmethod
    def read_config(cls, checkpoint: Checkpoint) -> Config:
        """Read the hyper-parameters; for GGUF files, whether state spaces have a norm is read from the tensors."""
        config = super().read_config(checkpoint)
        if not config.from_gguf or not any(name.endswith(".ssm_norm.weight") for name in checkpoint.tensors):
            return config
        return replace(config, scan_norm=True)

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including state-space sizes; the file's matrices already contain all factors."""
        return cls.with_gguf_scan(replace(super().read_gguf(m), scan_norm=False), m)

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including these sizes and the factors, from a config.json."""
        norm = m.flag("mamba_rms_norm", False)
        if norm and m.flag("mamba_norm_before_gate", True):
            m.refuse("mamba_norm_before_gate", "false (a norm before the gate is not supported)", True)
        config = super().read_hf(Metadata({**m.values, "layer_types": None}, m.source))
        inner = None if m.get("mamba_d_ssm") is None else m.integer("mamba_d_ssm", most=32768)
        config = cls.with_hf_scan(replace(config, scan_norm=norm), m, inner)
        return replace(
            config,
            embedding_scale=exact(m.number("embedding_multiplier", 1.0, least=1e-6, most=4095.0)),
            logit_scale=exact(m.number("lm_head_multiplier", 1.0, least=1e-6, most=4095.0)),
            factors=cls.read_factors(m, config),
        )

    @classmethod
    def read_factors(cls, m: Metadata, config: Config) -> Mapping[str, tuple[RowFactors, ...]]:
        """Read the factors of matrices, except those that are all 1."""
        attention_in, attention_out, key, scan_in, scan_out = (
            m.number(name, 1.0, least=1e-6, most=4095.0) for name in _FACTORS
        )
        (gate, down), parts = (_read_list(m, name, length) for name, length in _LISTS.items())
        q, kv, scan = config.heads * config.head_width, config.kv_heads * config.head_width, config.scan
        assert scan is not None
        shared = scan.groups * scan.states
        mixed = zip((scan.inner, shared, shared), parts[1:4], strict=True)
        found = {
            "attn_q": (RowFactors(q, (attention_in,)),),
            "attn_k": (RowFactors(kv, (key, attention_in)),),
            "attn_v": (RowFactors(kv, (attention_in,)),),
            "attn_output": (RowFactors(config.width, (attention_out,)),),
            "ssm_in_gate": (RowFactors(scan.inner, (scan_in, parts[0])),),
            "ssm_in_mixed": tuple(RowFactors(rows, (scan_in, part)) for rows, part in mixed),
            "ssm_in_steps": (RowFactors(scan.heads, (scan_in, parts[4])),),
            "ssm_out": (RowFactors(config.width, (scan_out,)),),
            "ffn_gate": (RowFactors(config.hidden, (gate,)),),
            "ffn_down": (RowFactors(config.width, (down,)),),
        }
        return {name: runs for name, runs in found.items() if any(set(run.factors) != {1.0} for run in runs)}

    @classmethod
    def split(cls, checkpoint: Checkpoint, config: Config) -> Checkpoint:
        """Return a checkpoint in which each matrix is a separate tensor multiplied by its factors."""
        checkpoint = super().split(checkpoint, config)
        if not config.factors:
            return checkpoint
        tensors = {}
        for name, tensor in checkpoint.tensors.items():
            match = GGUF_LAYER.fullmatch(cls.canonical_name(name))
            runs = config.factors.get(match[2], ()) if match else ()
            tensors[name] = _multiplied(checkpoint, tensor, runs) if runs else tensor
        ones = dict.fromkeys(_FACTORS, 1.0) | {name: [1.0] * length for name, length in _LISTS.items()}
        return Checkpoint(checkpoint.path, checkpoint.format, {**checkpoint.metadata, **ones}, tensors)

    @classmethod
    def canonical_tensors(cls, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """Return the tensors; in GGUF files the norm before the feed-forward network is named without `.weight`."""
        found = super().canonical_tensors(checkpoint)
        return {name + ".weight" * name.endswith(".ffn_norm"): tensor for name, tensor in found.items()}

    def layer(self, i: int) -> None:
        """Append attention and a state space on one norm, both residual sums, and a feed-forward network."""
        self.norm("x", "normed", f"blk.{i}.attn_norm.weight")
        self.attention(i)
        self.scan(i)
        self.project(i, "x", accumulate=True)
        self.project_scan(i, "x", accumulate=True)
        self.norm("x", "normed", f"blk.{i}.ffn_norm.weight")
        self.feed_forward(i, "x", accumulate=True)


def _read_list(m: Metadata, key: str, length: int) -> list[float]:
    """Read a list of factors; all ones if the file has no such list."""
    values = m.get(key, [1.0] * length)
    if not (
        isinstance(values, list)
        and len(values) == length
        and all(isinstance(x, int | float) and 1e-6 <= x <= 4095 for x in values)
    ):
        m.refuse(key, f"a list of {length} numbers from 1e-6 to 4095", values)
    return [float(x) for x in values]


def _multiplied(checkpoint: Checkpoint, tensor: Tensor, runs: tuple[RowFactors, ...]) -> Tensor:
    """Return a matrix with runs of rows multiplied by their factors in float32, one factor after another."""
    if tensor.kind not in FLOAT_FORMATS:
        what = f"tensor {tensor.name} is {tensor.kind} and has a factor other than 1, but only floats can be multiplied"
        raise ModelError(f"{checkpoint.path}: {what}")
    if len(tensor.shape) != 2 or tensor.shape[0] != sum(run.rows for run in runs):
        return tensor  # wrong shape: refused when the program is built

    def make() -> Bytes:
        values = np.array(dequantize(tensor.kind, tensor.data, tensor.shape))
        begin = 0
        for run in runs:
            for factor in run.factors:
                values[begin : begin + run.rows] *= np.float32(factor)
            begin += run.rows
        return np.ascontiguousarray(values, "<f4").view(np.uint8).reshape(-1)

    return Converted(tensor.name, "F32", tensor.shape, (tensor,), make=make)
