"""Both profiles against a float64 program that shares no code with them, on weights that the gguf package dequantised.

The long forms, on more text and beside other programs, are benchmarks/fidelity.py and benchmarks/arithmetic.py.
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import intact
from support import matmul_free
from support.architectures import STORED
from support.models import first_always
from support.tiny import K_KINDS, KINDS, write_tiny

gguf = pytest.importorskip("gguf", reason="needs the gguf package, which dequantises the weights")

TEXTS = (
    "The capital of France is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Once upon a time, in a small village by the sea, there lived",
)
KL_LIMITS = {"smollm2-135m": 0.004, "qwen-coder-0.5b": 0.0015, "gemma3-270m": 0.003}


NEIGHBOURS = (
    *("llama", "granite", "granitemoe", "smollm3", "mistral3", "chatglm", "glm4", "ernie4_5", "internlm2", "minicpm"),
    *("command-r", "cohere2", "arcee", "deepseek2", "ernie4_5-moe", "olmo"),
)
"""Architectures whose GGUF files have rotary pairs as neighbours."""
LAYER_NORMS = ("olmo", "stablelm", "starcoder2", "command-r", "cohere2", "nemotron", "gptneox")
TANH_GELU = ("gemma", "gemma2", "gemma3", "gemma4", "starcoder2")
ROW_NORMS = ("olmo2", "olmoe", "minimax-m2")
SIDE_BY_SIDE = ("command-r", "cohere2")
SHARES_OF_CHOSEN = (
    *("qwen3moe", "granitemoe", "granitehybrid", "gpt-oss", "lfm2moe", "qwen3next", "qwen35moe", "hunyuan-moe"),
    *("ernie4_5-moe", "gemma4", "qwen3vlmoe"),
)
HUNYUAN = ("hunyuan-dense", "hunyuan-moe")
"""Architectures whose head norms follow the rotary embedding."""
ROTATE_LOCAL_ALONE = ("exaone4", "exaone-moe", "cohere2", "afmoe")
DELTA_NETS = ("qwen3next", "qwen35", "qwen35moe")
NORMS_NAMED_AFTER = ("seed_oss", "gpt-oss", "glm4moe", *DELTA_NETS)
ONE_A_LAYER = ("nemotron_h", "nemotron_h_moe")
"""Architectures whose layers are a state space, attention or a net alone."""
SQUARED = ("arcee", "nemotron", *ONE_A_LAYER)


class FloatModel:
    """A decoder in float64, read from a GGUF file: the formulas of the papers, whole texts at once, no cache."""

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.weights = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in reader.tensors}
        self.kind = reader.fields["general.architecture"].contents()
        self.fields = reader.fields
        self.implied: dict[str, float] = {}
        if self.kind == "minicpm3":
            layers, width = self.number("block_count"), self.number("embedding_length")
            self.implied = {
                "embedding_scale": 12,
                "residual_scale": 1.4 / math.sqrt(layers),
                "logit_scale": width / 256,
            }

    def number(self, key: str, default: float | None = None) -> float:
        field = self.fields.get(f"{self.kind}.{key}")
        value = self.implied.get(key, default) if field is None else field.contents()
        assert value is not None, key
        return value

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.weights[name + ".weight"].astype(np.float64).T + self.weights.get(name + ".bias", 0.0)

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        eps = "attention.layer_norm_rms_epsilon"
        if self.kind in LAYER_NORMS:
            x, eps = x - x.mean(-1, keepdims=True), "attention.layer_norm_epsilon"
        unit = x / np.sqrt(np.square(x).mean(-1, keepdims=True) + self.number(eps))
        if self.kind == "olmo":
            return unit
        return unit * self.weights[name + ".weight"] + self.weights.get(name + ".bias", 0.0)

    def rotate(self, x: np.ndarray, base: float) -> np.ndarray:
        """Rotary embedding of (tokens, heads, width); some GGUF files pair neighbours, the others halves."""
        width = int(self.number("rope.dimension_count", x.shape[-1]))
        frequencies = base ** (-np.arange(0, width, 2) / width)
        size = 1.0
        if self.kind in ("gpt-oss", "deepseek2"):  # YaRN
            factor, original = self.number("rope.scaling.factor"), self.number("rope.scaling.original_context_length")
            low, high = (width * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(base)) for turns in (32, 1))
            if self.kind != "gpt-oss":
                low, high = math.floor(low), math.ceil(high)
            low, high = max(low, 0), min(high, width - 1)
            blend = np.clip((np.arange(width // 2) - low) / (high - low), 0, 1)
            frequencies = frequencies * (1 - blend + blend / factor)
            size = 1 + 0.1 * math.log(factor) if self.kind == "gpt-oss" else 1.0
        angles = np.arange(len(x))[:, None, None] * frequencies
        neighbours = self.kind in NEIGHBOURS
        pairs = (
            (slice(0, width, 2), slice(1, width, 2)) if neighbours else (slice(width // 2), slice(width // 2, width))
        )
        out, a, b = x.copy(), x[..., pairs[0]], x[..., pairs[1]]
        out[..., pairs[0]] = size * (a * np.cos(angles) - b * np.sin(angles))
        out[..., pairs[1]] = size * (b * np.cos(angles) + a * np.sin(angles))
        return out

    def latent_attention(self, x: np.ndarray, p: str, base: float) -> np.ndarray:
        """Keys and values from one short row a position, and a rotated part that all heads share (DeepSeek)."""
        heads, rank = int(self.number("attention.head_count")), int(self.number("attention.kv_lora_rank"))
        whole, value = int(self.number("attention.key_length")), int(self.number("attention.value_length"))
        plain = whole - int(self.number("rope.dimension_count"))

        def normed(y: np.ndarray, name: str) -> np.ndarray:
            return y / np.sqrt(np.square(y).mean(-1, keepdims=True) + 1e-6) * self.weights[name + ".weight"]

        if p + "attn_q.weight" in self.weights:
            q = self.linear(x, p + "attn_q")
        else:
            q = self.linear(normed(self.linear(x, p + "attn_q_a"), p + "attn_q_a_norm"), p + "attn_q_b")
        q = q.reshape(len(x), heads, whole)
        row = self.linear(x, p + "attn_kv_a_mqa")
        kv = self.linear(normed(row[:, :rank], p + "attn_kv_a_norm"), p + "attn_kv_b").reshape(len(x), heads, -1)
        shared = np.repeat(self.rotate(row[:, None, rank:], base), heads, axis=1)
        k = np.concatenate([kv[..., :plain], shared], axis=-1)
        q = np.concatenate([q[..., :plain], self.rotate(q[..., plain:], base)], axis=-1)
        stretched = math.log(self.number("rope.scaling.factor", 1.0))
        m = 1 + self.number("rope.scaling.yarn_log_multiplier", 0.0) * stretched
        scores = np.einsum("qhd,khd->hqk", q, k) * m * m / math.sqrt(whole)
        scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
        e = np.exp(scores - scores.max(-1, keepdims=True))
        out = np.einsum("hqk,khd->qhd", e / e.sum(-1, keepdims=True), kv[..., plain:])
        assert out.shape[-1] == value
        return self.linear(out.reshape(len(x), -1), p + "attn_output")

    def attention(self, x: np.ndarray, p: str, base: float | None, window: float) -> np.ndarray:
        heads, kv_heads = int(self.number("attention.head_count")), int(np.max(self.number("attention.head_count_kv")))
        width = int(self.number("attention.key_length", self.number("embedding_length") // heads))
        if p + "attn_qkv.weight" in self.weights:
            ends = [heads * width, (heads + kv_heads) * width]
            q, k, v = np.split(self.linear(x, p + "attn_qkv"), ends, axis=-1)
        else:
            q, k, v = (self.linear(x, p + "attn_" + part) for part in "qkv")
        output_gate = 1.0
        if self.kind in DELTA_NETS:  # behind each head's query
            q, gate = np.split(q.reshape(len(x), heads, 2 * width), 2, axis=-1)
            output_gate = 1 / (1 + np.exp(-gate))
        if self.kind == "afmoe":
            output_gate = 1 / (1 + np.exp(-self.linear(x, p + "attn_gate").reshape(len(x), heads, width)))
        if self.kind in ROW_NORMS:  # over whole rows
            q, k = self.norm(q, p + "attn_q_norm"), self.norm(k, p + "attn_k_norm")
        q, k, v = (y.reshape(len(x), n, -1) for y, n in ((q, heads), (k, kv_heads), (v, kv_heads)))
        if self.kind in HUNYUAN:
            assert base is not None
            q, k = self.rotate(q, base), self.rotate(k, base)
        if p + "attn_q_norm.weight" in self.weights and self.kind not in ROW_NORMS:
            q, k = self.norm(q, p + "attn_q_norm"), self.norm(k, p + "attn_k_norm")
        if base is not None and self.kind not in HUNYUAN:
            q, k = self.rotate(q, base), self.rotate(k, base)
        k, v = (np.repeat(y, heads // kv_heads, axis=1) for y in (k, v))
        scores = np.einsum("qhd,khd->hqk", q, k) * self.number("attention.scale", 1 / math.sqrt(width))
        if cap := self.number("attn_logit_softcapping", 0):
            scores = cap * np.tanh(scores / cap)
        behind = np.arange(len(x))[:, None] - np.arange(len(x))
        scores = np.where((behind >= 0) & (behind < window), scores, -np.inf)
        e = np.exp(scores - scores.max(-1, keepdims=True))
        total = e.sum(-1, keepdims=True)
        if p + "attn_sinks.weight" in self.weights:
            sinks = self.weights[p + "attn_sinks.weight"][:, None, None]
            total = total + np.exp(sinks - scores.max(-1, keepdims=True))
        out = (np.einsum("hqk,khd->qhd", e / total, v) * output_gate).reshape(len(x), -1)
        if p + "attn_sub_norm.weight" in self.weights:
            out = self.norm(out, p + "attn_sub_norm")
        return self.linear(out, p + "attn_output")

    def convolution(self, x: np.ndarray, p: str) -> np.ndarray:
        """A gated sum over the last positions, channel by channel (LFM2)."""
        before, gate, x = np.split(self.linear(x, p + "shortconv.in_proj"), 3, axis=-1)
        weights = self.weights[p + "shortconv.conv.weight"].astype(np.float64)
        rows = np.concatenate([np.zeros((weights.shape[1] - 1, weights.shape[0])), before * x])
        sums = sum(rows[j : j + len(x)] * weights[:, j] for j in range(weights.shape[1]))
        return self.linear(gate * sums, p + "shortconv.out_proj")

    def state_space(self, x: np.ndarray, p: str) -> np.ndarray:
        """Mamba-2's layer, token by token: S = e^(dt A) S + dt x B^T; y = S C + D x; gate, norm."""
        heads, inner = int(self.number("ssm.time_step_rank")), int(self.number("ssm.inner_size"))
        groups, size = int(self.number("ssm.group_count")), int(self.number("ssm.state_size"))
        ends = [inner, 2 * inner + 2 * groups * size]
        z, mixed, steps = np.split(self.linear(x, p + "ssm_in"), ends, axis=-1)
        taps = self.weights[p + "ssm_conv1d.weight"].astype(np.float64)
        rows = np.concatenate([np.zeros((taps.shape[1] - 1, len(taps))), mixed])
        mixed = sum(rows[j : j + len(x)] * taps[:, j] for j in range(taps.shape[1]))
        mixed = mixed + self.weights[p + "ssm_conv1d.bias"]
        mixed = mixed / (1 + np.exp(-mixed))
        steps = np.logaddexp(0, steps + self.weights[p + "ssm_dt.bias"])
        u, b, c = np.split(mixed, [inner, inner + groups * size], axis=-1)
        u = u.reshape(len(x), heads, -1)
        b, c = (np.repeat(y.reshape(len(x), groups, size), heads // groups, axis=1) for y in (b, c))
        state, out = np.zeros((heads, inner // heads, size)), []
        for t in range(len(x)):
            decay = np.exp(steps[t] * self.weights[p + "ssm_a"])
            state = decay[:, None, None] * state + steps[t][:, None, None] * u[t][:, :, None] * b[t][:, None]
            out.append((state @ c[t][:, :, None])[..., 0] + self.weights[p + "ssm_d"][:, None] * u[t])
        gated = np.array(out).reshape(len(x), inner) * z / (1 + np.exp(-z))
        if p + "ssm_norm.weight" in self.weights:  # of each group by itself, a gain for each channel
            parts = gated.reshape(len(x), groups, -1)
            eps = self.number("attention.layer_norm_rms_epsilon")
            parts = parts / np.sqrt(np.square(parts).mean(-1, keepdims=True) + eps)
            gated = parts.reshape(len(x), inner) * self.weights[p + "ssm_norm.weight"].reshape(-1)
        return self.linear(gated, p + "ssm_out")

    def selective_scan(self, x: np.ndarray, p: str) -> np.ndarray:
        """Mamba's layer, token by token: h = e^(dt A) h + dt B x; y = C h + D x; gate."""
        inner, size, rank = (int(self.number(f"ssm.{key}")) for key in ("inner_size", "state_size", "time_step_rank"))
        mixed, z = np.split(self.linear(x, p + "ssm_in"), 2, axis=-1)
        taps = self.weights[p + "ssm_conv1d.weight"].astype(np.float64)
        rows = np.concatenate([np.zeros((taps.shape[1] - 1, len(taps))), mixed])
        mixed = sum(rows[j : j + len(x)] * taps[:, j] for j in range(taps.shape[1]))
        mixed = mixed + self.weights[p + "ssm_conv1d.bias"]
        u = mixed / (1 + np.exp(-mixed))
        parts = np.split(self.linear(u, p + "ssm_x"), [rank, rank + size], axis=-1)
        if p + "ssm_dt_norm.weight" in self.weights:
            parts = [self.norm(part, f"{p}ssm_{name}_norm") for part, name in zip(parts, ("dt", "b", "c"), strict=True)]
        elif self.fields.get(f"{self.kind}.ssm.dt_b_c_rms"):
            eps = self.number("attention.layer_norm_rms_epsilon")
            parts = [part / np.sqrt(np.square(part).mean(-1, keepdims=True) + eps) for part in parts]
        low, b, c = parts
        steps = np.logaddexp(0, self.linear(low, p + "ssm_dt"))
        state, out = np.zeros((inner, size)), []
        for t in range(len(x)):
            state = np.exp(steps[t][:, None] * self.weights[p + "ssm_a"]) * state + np.outer(steps[t] * u[t], b[t])
            out.append(state @ c[t] + self.weights[p + "ssm_d"] * u[t])
        return self.linear(np.array(out) * z / (1 + np.exp(-z)), p + "ssm_out")

    def trapezoidal_scan(self, x: np.ndarray, p: str) -> np.ndarray:
        """Mamba-3's layer, token by token: S = e^(dt A) (S + (1 - l) dt k' v') + l dt k v; y = S q + D v; gate."""
        heads, groups, angles = (
            int(self.number(f"ssm.{key}")) for key in ("time_step_rank", "group_count", "angle_count")
        )
        inner, size = int(self.number("ssm.inner_size")), int(self.number("ssm.state_size"))
        ends = np.cumsum([inner, inner, groups * size, groups * size, heads, heads, heads])
        z, v, b, c, dt, a, share, angle = np.split(self.linear(x, p + "ssm_in"), ends, axis=-1)
        dt = np.logaddexp(0, dt + self.weights[p + "ssm_dt.bias"])
        rate = np.where(a >= 0, 1 + a, 1 / (1 - np.minimum(a, 0)))
        kept = np.exp(-np.maximum(rate, self.number("ssm.slowest_decay")) * dt)
        share, v = 1 / (1 + np.exp(-share)), v.reshape(len(x), heads, -1)
        theta = np.cumsum(math.pi * np.tanh(angle)[:, None] * dt[..., None], axis=0)  # (token, head, angle)

        def turned(y: np.ndarray, name: str) -> np.ndarray:
            y = self.norm(y.reshape(len(x), groups, size), f"{p}ssm_{name}_norm")
            y = np.repeat(y, heads // groups, axis=1) + self.weights[f"{p}ssm_{name}.bias"].reshape(heads, size)
            spun = (y[..., 0 : 2 * angles : 2] + 1j * y[..., 1 : 2 * angles : 2]) * np.exp(1j * theta)
            y[..., 0 : 2 * angles : 2], y[..., 1 : 2 * angles : 2] = spun.real, spun.imag
            return y

        keys, queries = turned(b, "b"), turned(c, "c")
        state, out = np.zeros((heads, v.shape[2], size)), []
        for t in range(len(x)):
            if t:
                state += ((1 - share[t]) * dt[t])[:, None, None] * v[t - 1][..., None] * keys[t - 1][:, None]
            state = kept[t][:, None, None] * state
            state += (share[t] * dt[t])[:, None, None] * v[t][..., None] * keys[t][:, None]
            out.append((state * queries[t][:, None]).sum(axis=-1) + self.weights[p + "ssm_d"][:, None] * v[t])
        return self.linear(np.array(out).reshape(len(x), inner) * z / (1 + np.exp(-z)), p + "ssm_out")

    def delta_net(self, x: np.ndarray, p: str) -> np.ndarray:
        """The gated delta rule, token by token: S = e^g S; S += k (b (v - k S)); o = q S; norm, gate."""
        heads, groups = int(self.number("ssm.time_step_rank")), int(self.number("ssm.group_count"))
        size, width = int(self.number("ssm.state_size")), int(self.number("ssm.inner_size")) // heads
        if p + "ssm_ba.weight" in self.weights:  # for each key head: b, then dt
            both = self.linear(x, p + "ssm_ba").reshape(len(x), groups, 2, heads // groups)
            b, steps = (both[:, :, i].reshape(len(x), heads) for i in range(2))
        else:
            b, steps = self.linear(x, p + "ssm_beta"), self.linear(x, p + "ssm_alpha")
        mixed, z = self.linear(x, p + "attn_qkv"), self.linear(x, p + "attn_gate")
        taps = self.weights[p + "ssm_conv1d.weight"].astype(np.float64)
        rows = np.concatenate([np.zeros((taps.shape[1] - 1, len(taps))), mixed])
        mixed = sum(rows[j : j + len(x)] * taps[:, j] for j in range(taps.shape[1]))
        mixed = mixed / (1 + np.exp(-mixed))
        q, k, v = np.split(mixed, [groups * size, 2 * groups * size], axis=-1)
        of_head = [h % groups if self.kind != "qwen3next" else h * groups // heads for h in range(heads)]
        q, k = (y.reshape(len(x), groups, size) for y in (q, k))
        q, k = ((y / np.sqrt(np.square(y).sum(-1, keepdims=True) + 1e-6))[:, of_head] for y in (q, k))
        v, z = v.reshape(len(x), heads, width), z.reshape(len(x), heads, width)
        decay = np.exp(self.weights[p + "ssm_a"] * np.logaddexp(0, steps + self.weights[p + "ssm_dt.bias"]))
        state, out = np.zeros((heads, size, width)), np.zeros_like(v)
        for t in range(len(x)):
            state *= decay[t][:, None, None]
            held = np.einsum("hi,hij->hj", k[t], state)
            state += np.einsum("hi,hj->hij", k[t], (v[t] - held) / (1 + np.exp(-b[t]))[:, None])
            out[t] = np.einsum("hi,hij->hj", q[t], state) / math.sqrt(size)
        gated = self.norm(out, p + "ssm_norm") * z / (1 + np.exp(-z))
        return self.linear(gated.reshape(len(x), -1), p + "ssm_out")

    def activation(self, x: np.ndarray) -> np.ndarray:
        if self.kind in TANH_GELU:
            return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        if self.kind == "gptneox":
            return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
        return x / (1 + np.exp(-x))

    def experts(self, x: np.ndarray, p: str, routed: np.ndarray | None = None) -> np.ndarray:
        """Each row's best experts, and the one that all rows pass, if there is one; `routed` is what is scored."""
        scores = self.linear(x if routed is None else routed, p + "ffn_gate_inp")
        out = np.zeros_like(x)
        gates, ups, downs = (
            self.weights[f"{p}ffn_{part}_exps.weight"].astype(float)
            for part in ("up" if self.kind in SQUARED else "gate", "up", "down")
        )
        for m, row in enumerate(scores):
            e = np.exp(row - row.max())
            if biased := p + "exp_probs_b.bias" in self.weights:
                e = e / e.sum() if self.kind == "ernie4_5-moe" else 1 / (1 + np.exp(-row))
                row = e + self.weights[p + "exp_probs_b.bias"]
            if (groups := int(self.number("expert_group_count", 0))) > 1:
                best = np.sort(row.reshape(groups, -1), axis=1)
                best = best[:, -2:].sum(axis=1) if biased else best[:, -1]
                kept = np.argsort(-best)[: int(self.number("expert_group_used_count"))]
                row = np.where(np.isin(np.arange(len(row)) // (len(row) // groups), kept), row, -np.inf)
            chosen = np.argsort(-row, kind="stable")[: int(self.number("expert_used_count"))]
            shares = e / (e[chosen] if self.kind in SHARES_OF_CHOSEN or biased else e).sum()
            shares *= self.number("expert_weights_scale", 1.0) * self.weights.get(p + "ffn_down_exps.scale", 1.0)
            for i in chosen:
                gate, up, down = (
                    self.weights.get(f"{p}ffn_{part}_exps.bias", np.zeros(len(scores[0]))[:, None])[i]
                    for part in ("gate", "up", "down")
                )
                gate, up = gates[i] @ x[m] + gate, ups[i] @ x[m] + up
                if self.kind in SQUARED:
                    hidden = np.maximum(up, 0) ** 2
                elif self.kind == "gpt-oss":
                    gate, up = np.minimum(gate, 7), np.clip(up, -7, 7)
                    hidden = gate / (1 + np.exp(-1.702 * gate)) * (up + 1)
                else:
                    hidden = self.activation(gate) * up
                out[m] += shares[i] * (downs[i] @ hidden + down)
        if p + "ffn_up_shexp.weight" in self.weights:
            hidden = self.linear(x, p + "ffn_up_shexp")
            if self.kind in SQUARED:
                hidden = np.maximum(hidden, 0) ** 2
            else:
                hidden = hidden * self.activation(self.linear(x, p + "ffn_gate_shexp"))
            shared = self.linear(hidden, p + "ffn_down_shexp")
            if p + "ffn_gate_inp_shexp.weight" in self.weights:
                shared = shared / (1 + np.exp(-self.linear(x, p + "ffn_gate_inp_shexp")))
            out += shared
        return out

    def feed_forward(self, x: np.ndarray, p: str) -> np.ndarray:
        if p + "ffn_gate_inp.weight" in self.weights:
            return self.experts(x, p)
        if self.kind in SQUARED:
            return self.linear(np.maximum(self.linear(x, p + "ffn_up"), 0) ** 2, p + "ffn_down")
        if self.kind in ("starcoder2", "gptneox"):
            return self.linear(self.activation(self.linear(x, p + "ffn_up")), p + "ffn_down")
        if p + "ffn_sub_norm.weight" in self.weights:
            hidden = np.maximum(self.linear(x, p + "ffn_gate"), 0) ** 2 * self.linear(x, p + "ffn_up")
            return self.linear(self.norm(hidden, p + "ffn_sub_norm"), p + "ffn_down")
        if p + "ffn_gate.weight" in self.weights:
            gate, up = self.linear(x, p + "ffn_gate"), self.linear(x, p + "ffn_up")
        else:
            gate, up = np.split(self.linear(x, p + "ffn_up"), 2, axis=-1)
        return self.linear(self.activation(gate) * up, p + "ffn_down")

    def rows(self, tokens: list[int]) -> np.ndarray:
        """The residual stream behind all layers."""
        x = self.weights["token_embd.weight"][tokens].astype(np.float64)
        scaled = ("gemma", "gemma2", "gemma3", "afmoe")
        x = x * (math.sqrt(x.shape[1]) if self.kind in scaled else self.number("embedding_scale", 1.0))
        for i in range(int(self.number("block_count") - self.number("nextn_predict_layers", 0))):
            x = self.layer(x, i)
        return x

    def layer(self, x: np.ndarray, i: int) -> np.ndarray:
        implied = {"gemma2": 2, "gpt-oss": 2, "afmoe": 4}.get(self.kind, 0)
        pattern = self.number("attention.sliding_window_pattern", implied)
        window = self.number("attention.sliding_window", 0)
        part = self.number("residual_scale", 1.0)

        def before(y: np.ndarray, name: str) -> np.ndarray:
            gainless = self.kind == "olmo" and name.endswith(("attn_norm", "ffn_norm"))
            return self.norm(y, name) if gainless or name + ".weight" in self.weights else y

        p = f"blk.{i}."
        local = window > 0 and (not pattern or (i + 1) % pattern != 0)
        base = 10000.0 if local else self.number("rope.freq_base")
        no_positions = (self.kind == "smollm3" and i % 4 == 3) or (
            self.kind in ROTATE_LOCAL_ALONE and window and not local
        )
        no_positions |= self.kind == "jamba"
        no_positions |= self.kind == "granitehybrid" and not self.number("rope.scaling.finetuned")
        after = self.kind in NORMS_NAMED_AFTER
        names = ("", "post_attention_norm") if after else ("post_attention_norm", "ffn_norm")
        entered, y = x, before(x, p + "attn_norm")
        normed = y
        if p + "shortconv.conv.weight" in self.weights:
            y = self.convolution(y, p)
        elif self.kind in ONE_A_LAYER:
            if p + "ssm_a" in self.weights:
                return x + self.state_space(y, p)
            attends = p + "attn_q.weight" in self.weights
            return x + (self.attention(y, p, None, math.inf) if attends else self.feed_forward(y, p))
        elif self.kind == "falcon-h1":
            y = self.attention(y, p, base, math.inf) + self.state_space(y, p)
        elif self.kind in DELTA_NETS and p + "ssm_a" in self.weights:
            y = self.delta_net(y, p)
        elif p + "ssm_b_norm.weight" in self.weights and self.kind == "mamba3":
            y = self.trapezoidal_scan(y, p)
        elif p + "ssm_x.weight" in self.weights:
            y = self.selective_scan(y, p)
            if self.kind == "mamba":
                return x + y
        elif p + "ssm_a" in self.weights:
            y = self.state_space(y, p)
            if self.kind == "mamba2":
                return x + y
        elif p + "attn_kv_b.weight" in self.weights:
            y = self.latent_attention(y, p, base)
        else:
            y = self.attention(y, p, None if no_positions else base, window if local else math.inf)
        x = x + part * before(y, p + names[0])
        entered = entered if self.kind == "gptneox" else x
        y = self.feed_forward(normed if self.kind in SIDE_BY_SIDE else before(entered, p + names[1]), p)
        return x + part * before(y, p + "post_ffw_norm")

    def logits(self, tokens: list[int]) -> np.ndarray:
        x = self.rows(tokens)
        head = "output" if "output.weight" in self.weights else "token_embd"
        factor = self.number("logit_scale", 1.0)
        last = "token_embd_norm" if "token_embd_norm.weight" in self.weights else "output_norm"
        logits = self.linear(self.norm(x, last), head) * (factor if self.kind in SIDE_BY_SIDE else 1 / factor)
        cap = self.number("final_logit_softcapping", 30.0 if self.kind == "gemma2" else 0)
        return cap * np.tanh(logits / cap) if cap else logits

    def predicted(self, tokens: list[int], hidden: np.ndarray | None = None) -> np.ndarray:
        """The logits of the head that predicts a further token, behind each token but the first (Qwen3-Next)."""
        if hidden is None:
            hidden = self.norm(self.rows(tokens), "output_norm")[:-1]
        i = int(self.number("block_count")) - 1
        p, embedded = f"blk.{i}.nextn.", self.weights["token_embd.weight"][tokens[1:]].astype(np.float64)
        both = np.concatenate([self.norm(embedded, p + "enorm"), self.norm(hidden, p + "hnorm")], axis=-1)
        y = self.layer(self.linear(both, p + "eh_proj"), i)
        head = "output" if "output.weight" in self.weights else "token_embd"
        return self.linear(self.norm(y, p + "shared_head_norm"), head)


class Gemma4(FloatModel):
    """Gemma 4: two kinds of attention, keys that layers share, inputs of each layer, experts beside a net."""

    def bare(self, x: np.ndarray) -> np.ndarray:
        return x / np.sqrt(np.square(x).mean(-1, keepdims=True) + self.number("attention.layer_norm_rms_epsilon"))

    def turn(self, x: np.ndarray, base: float) -> np.ndarray:
        half = x.shape[-1] // 2
        angles = np.arange(len(x))[:, None, None] * base ** (-np.arange(half) / half)
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)

    def rows(self, tokens: list[int]) -> np.ndarray:
        x = self.weights["token_embd.weight"][tokens].astype(np.float64)
        x = x * math.sqrt(x.shape[1])
        layers, width = (int(self.number(key)) for key in ("block_count", "embedding_length_per_layer_input"))
        own = self.weights["per_layer_token_embd.weight"][tokens].reshape(-1, layers, width) * math.sqrt(width)
        made = self.linear(x, "per_layer_model_proj").reshape(own.shape) / math.sqrt(x.shape[1])
        self.inputs = (own + self.norm(made, "per_layer_proj_norm")) / math.sqrt(2)
        self.kept: dict[bool, tuple[np.ndarray, np.ndarray]] = {}
        for i in range(layers):
            x = self.layer(x, i)
        return x

    def mixed(self, x: np.ndarray, i: int) -> np.ndarray:
        """Attention of layer i; those at the end read the keys and values of the last of their kind before them."""
        p, local = f"blk.{i}.", bool(self.number("attention.sliding_window_pattern")[i])
        heads = int(self.number("attention.head_count"))
        base = self.number("rope.freq_base_swa" if local else "rope.freq_base")
        q = self.linear(x, p + "attn_q").reshape(len(x), heads, -1)
        q = self.turn(self.norm(q, p + "attn_q_norm"), base)
        if i < self.number("block_count") - self.number("attention.shared_kv_layers"):
            shape = len(x), int(self.number("attention.head_count_kv")[i]), -1
            values = "attn_v" if p + "attn_v.weight" in self.weights else "attn_k"
            k, v = (self.linear(x, p + name).reshape(shape) for name in ("attn_k", values))
            k, v = self.turn(self.norm(k, p + "attn_k_norm"), base), self.bare(v)
            self.kept[local] = tuple(np.repeat(y, heads // shape[1], axis=1) for y in (k, v))
        k, v = self.kept[local]
        behind = np.arange(len(x))[:, None] - np.arange(len(x))
        window = self.number("attention.sliding_window") if local else math.inf
        scores = np.where((behind >= 0) & (behind < window), np.einsum("qhd,khd->hqk", q, k), -np.inf)
        e = np.exp(scores - scores.max(-1, keepdims=True))
        out = np.einsum("hqk,khd->qhd", e / e.sum(-1, keepdims=True), v)
        return self.linear(out.reshape(len(x), -1), p + "attn_output")

    def layer(self, x: np.ndarray, i: int) -> np.ndarray:
        p = f"blk.{i}."
        x = x + self.norm(self.mixed(self.norm(x, p + "attn_norm"), i), p + "post_attention_norm")
        y = self.norm(x, p + "ffn_norm")
        net = self.activation(self.linear(y, p + "ffn_gate")) * self.linear(y, p + "ffn_up")
        routed = self.bare(x) * self.weights[p + "ffn_gate_inp.scale"] / math.sqrt(x.shape[1])
        chosen = self.experts(self.norm(x, p + "pre_ffw_norm_2"), p, routed)
        both = self.norm(self.linear(net, p + "ffn_down"), p + "post_ffw_norm_1")
        x = x + self.norm(both + self.norm(chosen, p + "post_ffw_norm_2"), p + "post_ffw_norm")
        gate = self.activation(self.linear(x, p + "inp_gate")) * self.inputs[:, i]
        x = x + self.norm(self.linear(gate, p + "proj"), p + "post_norm")
        return x * self.weights[p + "layer_output_scale.weight"]


class MatMulFree(FloatModel):
    """The MatMul-free LM: a norm of its own before each product, HGRN's recurrence, the state behind SiLU as a gate."""

    def entered(self, x: np.ndarray, name: str) -> np.ndarray:
        return matmul_free.rms_norm(x, self.weights[name + "_norm.weight"], 1e-8)

    def product(self, x: np.ndarray, name: str) -> np.ndarray:
        return self.linear(self.entered(x, name), name)

    def layer(self, x: np.ndarray, i: int) -> np.ndarray:
        p = f"blk.{i}."
        y = self.norm(x, p + "attn_norm")
        bound = 1 - self.weights.get(p + "hgrn_room.weight", np.ones(1))
        h = matmul_free.recurrence(self.product(y, p + "hgrn_input"), self.product(y, p + "hgrn_forget"), bound)
        gate = self.norm(self.product(y, p + "hgrn_gate"), p + "hgrn_norm")
        x = x + self.product(gate * matmul_free.silu(h), p + "hgrn_output")
        y = self.entered(self.norm(x, p + "ffn_norm"), p + "ffn_gate")
        net = matmul_free.silu(self.linear(y, p + "ffn_gate")) * self.linear(y, p + "ffn_up")
        return x + self.product(net, p + "ffn_down")

    def logits(self, tokens: list[int]) -> np.ndarray:
        y = self.entered(self.norm(self.rows(tokens), "output_norm"), "output_head")
        return self.linear(y, "output" if "output.weight" in self.weights else "token_embd")


OWN_PROGRAMS = {"gemma4": Gemma4, "hgrn_bit": MatMulFree}


def float_model(path: Path) -> FloatModel:
    """The float64 program of a file's architecture."""
    return OWN_PROGRAMS.get(FloatModel(path).kind, FloatModel)(path)


def log_softmax(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64) - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def divergence(exact: np.ndarray, other: np.ndarray) -> float:
    """Mean over the rows of KL(exact || other), nats."""
    p, q = log_softmax(exact), log_softmax(other)
    return float((np.exp(p) * (p - q)).sum(-1).mean())


def relative_difference(got: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference of logits, relative to their range."""
    return float(np.abs(got - expected).max() / (expected.max() - expected.min()))


class Case(NamedTuple):
    prompt: list[int]
    continuation: list[int]
    logits: np.ndarray
    """The fp32 profile's, of both."""
    exact: np.ndarray


@pytest.fixture(scope="module")
def smollm2(model_path) -> list[Case]:
    """Texts, greedy continuations by the fp32 profile, and the logits of either program along them."""
    path = model_path("smollm2-135m")
    model, exact = intact.load(path, "fp32"), float_model(path)
    prompts = [model.tokenizer.encode(text)[:12] for text in TEXTS]
    cases = []
    for prompt, [completion] in zip(prompts, model.generate(prompts, max_tokens=12), strict=True):
        tokens = [*prompt, *completion.tokens]
        cases.append(Case(prompt, list(completion.tokens), model.logits(tokens), exact.logits(tokens)))
    return cases


@pytest.mark.parametrize("kinds", [KINDS, K_KINDS], ids=["blocks of 32", "blocks of 256"])
@pytest.mark.parametrize("architecture", [*STORED, "deepseek3"])
def test_tiny_models_of_each_architecture_compute_the_formulas_of_their_papers(tmp_path, architecture, kinds) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", architecture, kinds)
    tokens = [(37 * i * i + 11 * i + 5) % 301 for i in range(40)]
    expected = float_model(path).logits(tokens)
    assert relative_difference(intact.load(path, "fp32").logits(tokens), expected) < 1e-5
    assert divergence(expected, intact.load(path).logits(tokens)) < 0.01


@pytest.mark.parametrize(
    "architecture",
    ["mamba", "jamba", "mamba2", "mamba3", "granitehybrid", "falcon-h1", "nemotron_h", "qwen35", "hgrn_bit"],
)
def test_a_recurrent_state_stays_near_the_floats_over_several_blocks(tmp_path, architecture) -> None:
    path = write_tiny(tmp_path / "tiny.gguf", architecture, KINDS)
    tokens = [(37 * i * i + 11 * i + 5) % 301 for i in range(300)]
    expected = float_model(path).logits(tokens)
    assert relative_difference(intact.load(path, "fp32").logits(tokens)[200:], expected[200:]) < 1e-5
    assert divergence(expected[200:], intact.load(path).logits(tokens)[200:]) < 0.01


def test_fp32_logits_equal_a_float64_programs(smollm2) -> None:
    for case in smollm2:
        assert relative_difference(case.logits, case.exact) < 1e-5  # asked for are 1e-3; measured 1e-6


def test_fp32_greedy_continuations_equal_a_float64_programs(smollm2) -> None:
    for case in smollm2:
        # each token is the float program's choice after the tokens before it: so its own continuation is the same
        assert case.exact[len(case.prompt) - 1 : -1].argmax(1).tolist() == case.continuation


@pytest.mark.slow
@pytest.mark.parametrize("name", first_always(KL_LIMITS))
def test_int8_is_near_fp32_on_real_text(model_path, data_dir, name) -> None:
    path = model_path(name)
    exact, fast = intact.load(path, "fp32"), intact.load(path)
    text = (data_dir / "wikitext2" / "test.txt").read_text()[:2000]
    tokens = exact.tokenizer.encode(text)[:192]
    assert divergence(exact.logits(tokens), fast.logits(tokens)) < KL_LIMITS[name]
