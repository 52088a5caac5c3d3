"""Gemma 4: two head widths, shared keys, per-layer inputs, experts in parallel with a network (ai.google.dev).

Local and global layers differ in head width and in number of KV heads. Every layer's part of the cache has the larger
head width and the larger number of KV heads: heads are padded with zeros and KV heads are repeated, which does not
change any score.
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from intact.checkpoints.formats import Tensor
from intact.checkpoints.formats.metadata import Metadata
from intact.models.aspects.tables import Buffer
from intact.models.config import Config, LayerKinds
from intact.models.decoder import inverse_root, net_buffers
from intact.models.gemma import GemmaDecoder
from intact.models.mixtures import MixtureForm
from intact.models.names import FEED_FORWARD, HF_NAMES, NORMS_AFTER
from intact.models.ops import Attend, Embed, Linear, Multiply, Norm, Scatter
from intact.models.program import Program
from intact.models.windows import per_layer, read_gguf_local_layers
from intact.numerics.rope import rotation

_UNROTATED: Final = 1e30
"""Divisor of the frequencies of pairs that are not rotated, in files written by llama.cpp's converter."""
_SIZES: Final = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}
"""Keys in config.json that single layers may override, with the keys that apply to all global layers."""
_INPUTS: Final = "per_layer_token_embd.weight"
_INPUT_GAIN: Final = "per_layer_proj_norm.weight"


class Gemma4(GemmaDecoder):
    """Gemma 3's layer structure. Values are normed too, scores are not scaled, but each layer's output is."""

    gguf = "gemma4"
    hf = ("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration")
    hf_names = (
        HF_NAMES
        | NORMS_AFTER
        | {
            "ffn_norm": "pre_feedforward_layernorm",
            "post_ffw_norm_1": "post_feedforward_layernorm_1",
            "pre_ffw_norm_2": "pre_feedforward_layernorm_2",
            "post_ffw_norm_2": "post_feedforward_layernorm_2",
            "ffn_gate_inp": "router.proj",
            "ffn_gate_exps": "experts.*.gate_proj",
            "ffn_up_exps": "experts.*.up_proj",
            "ffn_down_exps": "experts.*.down_proj",
            "per_layer_token_embd": "model.embed_tokens_per_layer",
            "per_layer_model_proj": "model.per_layer_model_projection",
            "per_layer_proj_norm": "model.per_layer_projection_norm",
            "inp_gate": "per_layer_input_gate",
            "proj": "per_layer_projection",
            "post_norm": "post_per_layer_input_norm",
        }
    )
    hf_bare = {
        "router.scale": "ffn_gate_inp.scale",
        "router.per_expert_scale": "ffn_down_exps.scale",
        "layer_scalar": "layer_output_scale.weight",
    }
    hf_stacked = {"experts.gate_up_proj": ("ffn_gate_exps", "ffn_up_exps"), "experts.down_proj": ("ffn_down_exps",)}
    hf_gain_offset = 0.0
    hf_defaults = {  # Gemma4TextConfig's
        "global_head_dim": 512,
        "head_dim": 256,
        "hidden_size_per_layer_input": 256,
        "num_kv_shared_layers": 0,
        "rope_parameters": {
            "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1e6},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
        "sliding_window": 512,
    }
    soft_caps = (0.0, 0.0)
    local_but_each = 6
    gguf_window = 512
    layers_of_27b = 0
    expert_scales = "ffn_down_exps.scale"
    mixture = MixtureForm("softmax of chosen", "num_experts", "moe_intermediate_size")
    sample: ClassVar[dict[str, Any]] = {
        "block_count": 6,
        "attention.head_count": 4,
        "attention.key_length": 24,
        "attention.value_length": 24,
        "attention.key_length_swa": 16,
        "attention.value_length_swa": 16,
        "attention.head_count_kv": [2, 1, 2, 1, 2, 1],
        "attention.shared_kv_layers": 2,
        "attention.sliding_window": 24,
        "attention.sliding_window_pattern": [True, False] * 3,
        "embedding_length_per_layer_input": 32,
        "rope.dimension_count": 24,
        "rope.dimension_count_swa": 16,
        "rope.freq_base_swa": 10000.0,
        "final_logit_softcapping": 30.0,
        "expert_count": 6,
        "expert_used_count": 2,
        "expert_feed_forward_length": 64,
    }

    @classmethod
    def read_keys(cls) -> frozenset[str]:
        """Return the keys that this architecture reads, including the one for images' bidirectional attention."""
        return super().read_keys() | {"use_bidirectional_attention", "per_layer_config"}

    @classmethod
    def read_gguf(cls, m: Metadata) -> Config:
        """Read the configuration, including the differences between layers."""
        layers = m.integer("block_count", most=1024)
        local = read_gguf_local_layers(m, layers, cls.local_but_each)
        heads, hidden = (per_layer(m, key, layers) for key in ("attention.head_count_kv", "feed_forward_length"))
        wide = m.integer("attention.key_length")
        narrow = m.integer("attention.key_length_swa", wide)
        kinds = LayerKinds(
            (wide, narrow),
            cls.of_kinds(m, "attention.head_count_kv", heads, local),
            m.integer("attention.shared_kv_layers", 0, least=0, most=layers - 1),
            hidden[-1],
            inputs=m.integer("embedding_length_per_layer_input", 0, least=0),
            keys_as_values=True,
        )
        m.refuse_features({"attention.value_length_swa": (narrow,), "rope.dimension_count_swa": (narrow,)})
        given = {"attention.head_count_kv": max(heads), "feed_forward_length": hidden[0], "rope.dimension_count": wide}
        named = {m.prefix + key: value for key, value in given.items()}
        config = super().read_gguf(Metadata({**m.values, **named}, m.source, prefix=m.prefix))
        return cls.with_kinds(m, config, kinds, m.number("rope.freq_base_swa", 10000.0, least=1.0))

    @classmethod
    def read_hf(cls, m: Metadata) -> Config:
        """Read the configuration, including the differences between layers."""
        m = cls.with_global_sizes(m)
        m.refuse_features({"attention_bias": (False,)})
        m.choice("use_bidirectional_attention", ("vision",))
        rope = m.mapping("rope_parameters")
        full = m.within("rope_parameters", "rope_parameters: ").within("full_attention", "full_attention: ")
        full.choice("rope_type", ("proportional", "default"))
        part = full.number("partial_rotary_factor", 1.0, most=1.0)
        equal = m.flag("attention_k_eq_v", False)
        heads = m.integer("num_key_value_heads", most=4096)
        few = m.integer("num_global_key_value_heads") if equal and m.get("num_global_key_value_heads") else heads
        wide, narrow = m.integer("global_head_dim"), m.integer("head_dim")
        hidden = m.integer("intermediate_size")
        kinds = LayerKinds(
            (wide, narrow),
            (few, heads),
            m.integer("num_kv_shared_layers", 0, least=0, most=m.integer("num_hidden_layers", most=1024) - 1),
            hidden * (2 if m.flag("use_double_wide_mlp", False) else 1),
            inputs=m.integer("hidden_size_per_layer_input", 0, least=0),
            keys_as_values=equal,
            rotated=int(wide * part) // 2,
        )
        given: dict[str, Any] = {
            "use_bidirectional_attention": None,
            "per_layer_config": None,
            "rope_parameters": {**rope, "full_attention": {"rope_theta": full.number("rope_theta", 1e6)}},
            "head_dim": max(wide, narrow),
            "num_key_value_heads": max(few, heads),
            "query_pre_attn_scalar": 1.0,
            "num_experts_per_tok": m.get("top_k_experts"),
            "num_experts": m.get("num_experts") if m.flag("enable_moe_block", False) else None,
        }
        config = super().read_hf(Metadata({**m.values, **given}, m.source))
        return cls.with_kinds(m, config, kinds, config.rope_local_base or 10000.0)

    @classmethod
    def with_global_sizes(cls, m: Metadata) -> Metadata:
        """Return a config.json in which overrides of single layers are replaced by the keys for all global layers.

        Raises
        ------
        ModelError
            If sizes differ between global layers, or anything else differs between layers.
        """
        if m.get("per_layer_config") is None:
            return m
        own, kinds = m.mapping("per_layer_config"), m.array("layer_types")
        layers = [str(i) for i, kind in enumerate(kinds) if kind == "full_attention"]
        sizes: Any = own.get(layers[0], {}) if layers else {}
        wanted = dict.fromkeys(layers, sizes) if sizes else {}
        if own != wanted or not isinstance(sizes, dict) or not sizes.keys() <= _SIZES.keys():
            m.refuse("per_layer_config", f"the same {' and '.join(_SIZES)} for each full-attention layer", own)
        named = {_SIZES[key]: value for key, value in sizes.items()}
        return Metadata({**m.values, "global_head_dim": m.get("head_dim"), **named}, m.source)

    @classmethod
    def of_kinds(cls, m: Metadata, key: str, values: tuple[int, ...], local: tuple[bool, ...]) -> tuple[int, int]:
        """Return the value for global and for local layers, given one value per layer."""
        found = [sorted({n for n, is_local in zip(values, local, strict=True) if is_local == kind}) for kind in (0, 1)]
        if any(len(one) > 1 for one in found):
            m.refuse(key, "one number for all global layers and one for all local layers", list(values))
        wide, narrow = (one[0] if one else max(values) for one in found)
        return wide, narrow

    @classmethod
    def with_kinds(cls, m: Metadata, config: Config, kinds: LayerKinds, local_base: float) -> Config:
        """Return the configuration with the differences between layers, and with the cache's sizes.

        Raises
        ------
        ModelError
            If the larger number of KV heads is not a multiple of the smaller, or layers share keys of a kind that no
            layer has.
        """
        if max(kinds.kv_heads) % min(kinds.kv_heads):
            m.refuse("num_key_value_heads", f"a multiple of {min(kinds.kv_heads)}", max(kinds.kv_heads))
        first = config.layers - kinds.sharing
        missing = [i for i in range(first, config.layers) if config.is_local[i] not in config.is_local[:first]]
        if missing:
            what = "fewer layers, so that each kind of layer has its own keys"
            m.refuse("num_kv_shared_layers", what, kinds.sharing)
        shared = tuple(
            f"blk.{i}.attn_{part}.weight" for i in range(first, config.layers) for part in ("k", "v", "k_norm")
        )
        return replace(
            config,
            head_width=max(kinds.widths),
            kv_heads=max(kinds.kv_heads),
            rope_width=kinds.widths[0],
            rope_local_base=local_base,
            score_scale=Fraction(1),
            kinds=kinds,
            other_heads=(*config.other_heads, *shared),
        )

    @property
    def kinds(self) -> LayerKinds:
        """Differences between layers."""
        assert self.config.kinds is not None
        return self.config.kinds

    def kind(self, i: int) -> tuple[str, int, int]:
        """Return the suffix of a layer's buffer names, and the width and number of its KV heads."""
        local = int(self.config.is_local[i])
        return ("_global", "_local")[local], self.kinds.widths[local], self.kinds.kv_heads[local]

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers of both kinds of attention, and those of per-layer inputs."""
        c, kinds = self.config, self.kinds
        found = {name: buffer for name, buffer in super().buffers().items() if name not in ("k", "v")}
        found |= {"keys" + end: Buffer(c.kv_heads * c.head_width) for end in ("_global", "_local")}
        found |= {"values" + end: Buffer(c.kv_heads * c.head_width) for end in ("_global", "_local")}
        for end, width, heads in map(self.kind, range(c.layers)):
            found |= {f"{name}{end}": Buffer(c.heads * width) for name in ("q", "attended")}
            found |= {f"{name}{end}": Buffer(heads * width) for name in ("k", "v")}
        found |= net_buffers("", c.hidden)
        if kinds.sharing_hidden != c.hidden:
            found |= net_buffers("sharing_", kinds.sharing_hidden)
        if c.mixture:
            found |= {"sum": Buffer(c.width, wide=True), "routed": Buffer(c.width)}
        if kinds.inputs:
            all_inputs = Buffer(c.layers * kinds.inputs, wide=True)
            found |= {"inputs": all_inputs, "projected": all_inputs}
            found |= {name: Buffer(kinds.inputs) for name in ("input", "input_gate")}
            found |= {"input_hidden": Buffer(kinds.inputs, wide=True)}
        return found

    def rotations(self) -> tuple[NDArray[np.uint64], ...]:
        """Return the frequencies of global layers, whose last pairs are not rotated, and of local layers."""
        c, (wide, narrow) = self.config, self.kinds.widths
        if "rope_freqs.weight" in self.tensors:
            factors = self.vector("rope_freqs.weight", wide // 2)
        else:
            pairs = wide // 2 if self.kinds.rotated is None else self.kinds.rotated
            factors = np.where(np.arange(wide // 2) < pairs, 1, _UNROTATED).astype(np.float32)
        return rotation(c.rope_base, wide, {}, factors), rotation(c.rope_local_base or 10000.0, narrow, {})

    def embed(self) -> None:
        """Append the embedding, and the inputs of all layers: a token embedding plus a projection of the stream."""
        super().embed()
        c, inputs = self.config, self.kinds.inputs
        if not inputs:
            return
        columns = c.layers * inputs
        token = self.matrix(_INPUTS, None, columns)
        self.ops.append(Embed("inputs", token, Fraction(math.isqrt(inputs << 59), 1 << 30)))  # sqrt(inputs / 2)
        self.ops.append(Linear("x", (self.target("projected", "per_layer_model_proj", columns, c.width),)))
        self.vector(_INPUT_GAIN, inputs)
        half = inverse_root(2)
        eps = c.eps * c.width  # the product is not divided by sqrt(width)
        self.ops.append(Norm("projected", "inputs", _INPUT_GAIN, eps, accumulate=True, factor=half, groups=c.layers))

    def build(self) -> Program:
        """Return the whole program, with the gain of the inputs' norm repeated for each layer."""
        program = super().build()
        if not self.kinds.inputs:
            return program
        gain = np.tile(self.vector(_INPUT_GAIN, self.kinds.inputs), self.config.layers).astype("<f4")
        tensor = Tensor(_INPUT_GAIN, "F32", gain.shape, gain.view(np.uint8))
        return replace(program, tensors={**program.tensors, _INPUT_GAIN: tensor})

    def layer(self, i: int) -> None:
        """Append attention, the network with the experts in parallel, the layer's own inputs, and its output factor."""
        c, kinds, p = self.config, self.kinds, f"blk.{i}."
        self.norm("x", "normed", p + "attn_norm.weight")
        local = c.is_local[i]
        self.attention(i, rotary=int(local), window=c.window if local else 0)
        self.project(i, "result", accumulate=False)
        self.norm("result", "x", p + "post_attention_norm.weight", accumulate=True)
        self.norm("x", "normed", p + "ffn_norm.weight")
        sharing = not self.has_keys(i) and kinds.sharing_hidden != c.hidden
        hidden = kinds.sharing_hidden if sharing else c.hidden
        self.net(p, FEED_FORWARD, "sharing_" if sharing else "", hidden, buffer="result", accumulate=False)
        result = "result"
        if c.mixture:
            result = "sum"
            self.norm("result", result, p + "post_ffw_norm_1.weight")
            self.norm("x", "routed", p + "ffn_gate_inp.scale", factor=inverse_root(c.width))
            self.norm("x", "normed", p + "pre_ffw_norm_2.weight")
            self.experts(i, c.mixture, "result", accumulate=False)
            self.norm("result", result, p + "post_ffw_norm_2.weight", accumulate=True)
        self.norm(result, "x", p + "post_ffw_norm.weight", accumulate=True)
        if kinds.inputs:
            self.add_inputs(i, kinds.inputs)
        self.vector(p + "layer_output_scale.weight", 1)
        self.ops.append(Multiply("x", "x", p + "layer_output_scale.weight"))

    def has_keys(self, i: int) -> bool:
        """Return true if a layer has its own keys and values."""
        return i < self.config.layers - self.kinds.sharing

    def attention(
        self, i: int, interleaved: bool = False, head_norms: bool = True, rotary: int = 0, window: int = 0
    ) -> None:
        """Append queries, keys and values with their norms, each in the cache's sizes, and attention."""
        c, p, (end, width, kv_heads) = self.config, f"blk.{i}.", self.kind(i)
        local = c.is_local[i]
        targets = [self.target("q" + end, p + "attn_q", c.heads * width, c.width)]
        equal = f"{p}attn_v.weight" not in self.tensors and self.kinds.keys_as_values and not local
        if self.has_keys(i):
            targets.append(self.target("k" + end, p + "attn_k", kv_heads * width, c.width))
            targets += [] if equal else [self.target("v" + end, p + "attn_v", kv_heads * width, c.width)]
        self.ops.append(Linear("normed", tuple(targets)))
        self.norm("q" + end, "q" + end, p + "attn_q_norm.weight", c.heads, width=width)
        self.rotate("q" + end, rotary, c.heads, width, interleaved=False)
        self.spread("q" + end, "q", c.heads, c.heads, width=width)
        if self.has_keys(i):
            if equal:
                self.ops.append(Scatter("k" + end, "v" + end, 1, kv_heads * width))
            self.norm("k" + end, "k" + end, p + "attn_k_norm.weight", kv_heads, width=width)
            self.ops.append(Norm("v" + end, "v" + end, self.ones(width), c.eps, heads=kv_heads))
            self.rotate("k" + end, rotary, kv_heads, width, interleaved=False)
            self.spread("k" + end, "keys" + end, kv_heads, c.kv_heads, width=width)
            self.spread("v" + end, "values" + end, kv_heads, c.kv_heads, width=width)
        own = [j for j in range(c.layers) if self.has_keys(j) and c.is_local[j] == local and j <= i]
        shape = (own[-1], c.heads, c.kv_heads, c.head_width, Fraction(1), window)
        self.ops.append(Attend("q", "keys" + end, "values" + end, "attended", *shape))
        self.ops.append(
            Scatter(
                "attended",
                "attended" + end,
                c.heads,
                width,
                source_step=c.head_width,
                source_start=0,
                target_step=width,
            )
        )

    def spread(self, source: str, target: str, heads: int, all_heads: int, width: int) -> None:
        """Append copies of heads in the cache's sizes: padded with zeros, and repeated as often as the cache needs."""
        copies, whole = all_heads // heads, self.config.head_width
        for copy in range(copies):
            start = copy * whole
            self.ops.append(
                Scatter(
                    source,
                    target,
                    heads,
                    width,
                    source_step=width,
                    source_start=0,
                    target_step=copies * whole,
                    target_start=start,
                    keep=copy > 0,
                )
            )

    def project(self, i: int, buffer: str, accumulate: bool) -> None:
        """Append attention's output projection, for the layer's own head width."""
        end, width, _ = self.kind(i)
        columns = self.config.heads * width
        target = self.target(buffer, f"blk.{i}.attn_output", self.config.width, columns, accumulate=accumulate)
        self.ops.append(Linear("attended" + end, (target,)))

    def scores(self, i: int, count: int) -> None:
        """Append the experts' scores, computed from a row with its own norm."""
        self.ops.append(Linear("routed", (self.target("scores", f"blk.{i}.ffn_gate_inp", count, self.config.width),)))

    def add_inputs(self, i: int, width: int) -> None:
        """Append the contribution of a layer's own inputs, gated by the stream."""
        c, p = self.config, f"blk.{i}."
        self.ops += [
            Multiply("inputs", "input", start=i * width),
            Linear("x", (self.target("input_gate", p + "inp_gate", width, c.width),)),
        ]
        self.gate("input_gate", "input", "input_hidden", "gelu")
        self.ops.append(Linear("input_hidden", (self.target("result", p + "proj", c.width, width),)))
        self.norm("result", "x", p + "post_norm.weight", accumulate=True)
