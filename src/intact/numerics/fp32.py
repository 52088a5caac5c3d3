"""The arithmetic of the ``fp32`` profile: IEEE binary32, one rounding per operation, every sum in one fixed order.

Together with ``docs/spec/numerics_fp32.md``, each function defines a kernel of ``native/kernels/fp32.inl`` that
produces the same bits. The order of sums extends LayerCast's idea: 16 lanes by index mod 16, multiplication before
addition, and a fixed tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from intact.numerics.delta import DeltaShape, DeltaWeights
from intact.numerics.fixed import LIMIT, rshift, sat32
from intact.numerics.functions import exp2_neg_fine
from intact.numerics.gate import Activation
from intact.numerics.rope import sine_cosine
from intact.numerics.scan import BLOCK, RATE_FRACTION, STEP_FRACTION, ScanShape, ScanWeights, decays, softplus
from intact.numerics.selective import SelectiveWeights
from intact.numerics.trapezoidal import PACE_FRACTION, TURN, TrapezoidalShape, TrapezoidalWeights, step_size
from intact.numerics.trapezoidal import decay as decay_of

Floats: TypeAlias = npt.NDArray[np.float32]

VERSION = "1"
"""The version of this arithmetic; changing any bit of a result requires a new one."""
LANES = 16

_EXP_LOW = np.float32(-87.0)
_EXP_HIGH = np.float32(float.fromhex("0x1.62e42ep6"))
_LOG2_E = np.float32(float.fromhex("0x1.715476p0"))
_LN2_HIGH = np.float32(float.fromhex("0x1.63p-1"))
_LN2_LOW = np.float32(float.fromhex("-0x1.bd0106p-13"))
_ROUNDER = np.float32(12582912.0)
_EXP_TERMS = tuple(
    np.float32(float.fromhex(term))
    for term in ("0x1.6a23cep-10", "0x1.123a2p-7", "0x1.5558f2p-5", "0x1.555492p-3", "0x1.fffffcp-2")
)
GELU_LINEAR = np.float32(float.fromhex("0x1.988454p0"))
GELU_CUBIC = np.float32(float.fromhex("0x1.2444f2p-4"))
_ERF_SLOPE = tuple(
    np.float32(float.fromhex(term))
    for term in (
        "0x1.98844ap0", "0x1.29a63cp-4", "-0x1.150c62p-14", "-0x1.cfaaacp-14", "0x1.0ab1fep-17", "-0x1.1f4c0ap-22",
        "0x1.f29ba2p-29",
    )
)  # fmt: skip
_ERF_CLIP = np.float32(6.5)
_ONE = np.float32(1.0)
_SEVEN, _OAI_SLOPE = np.float32(7.0), np.float32(1.702)


def tree(lanes: Floats) -> Floats:
    """Sum the last axis of 16 lanes: lane l plus lane l + 8, then + 4, + 2, + 1."""
    for half in (8, 4, 2, 1):
        lanes = lanes[..., :half] + lanes[..., half:]
    return lanes[..., 0]


def lane_sum(x: Floats) -> Floats:
    """Sum the last axis: lane l adds x[l], x[l + 16], ... to +0 in this order; then the tree combines the lanes."""
    lanes = np.zeros((*x.shape[:-1], LANES), np.float32)
    for start in range(0, x.shape[-1], LANES):
        part = x[..., start : start + LANES]
        lanes[..., : part.shape[-1]] += part
    return tree(lanes)


def dot(x: Floats, y: Floats) -> Floats:
    """Sum the rounded products x * y over the last axis, in the order of :func:`lane_sum` (shapes broadcast)."""
    width = x.shape[-1]
    shape = np.broadcast_shapes(x.shape[:-1], y.shape[:-1])
    lanes = np.zeros((*shape, LANES), np.float32)
    for start in range(0, width, LANES):
        part = x[..., start : start + LANES] * y[..., start : start + LANES]
        lanes[..., : part.shape[-1]] += part
    return tree(lanes)


def linear(x: Floats, weight: Floats, bias: Floats | None = None, block: int = 1024) -> Floats:
    """Return the matrix product y[m, n] = dot(x[m], weight[n]) + bias[n].

    Parameters
    ----------
    x : float32 (M, K)
    weight : float32 (N, K), 16-bit weights converted exactly
    bias : float32 (N,), optional; added last
    block : outputs computed at a time; affects only memory use, not the result
    """
    outputs = weight.shape[0]
    y = np.empty((x.shape[0], outputs), np.float32)
    for start in range(0, outputs, block):
        y[:, start : start + block] = dot(x[:, None, :], weight[None, start : start + block, :])
    return y if bias is None else y + bias


def rmsnorm(x: Floats, gain: Floats, epsilon: float) -> Floats:
    """Apply a root-mean-square norm over the last axis: (x * r) * gain, r = 1 / sqrt(sum(x * x) / n + epsilon)."""
    mean = dot(x, x) / np.float32(x.shape[-1])
    r = _ONE / np.sqrt(mean + np.float32(epsilon))
    y: Floats = (x * r[..., None]) * gain
    return y


def layer_norm(x: Floats, gain: Floats, bias: Floats | None, epsilon: float) -> Floats:
    """Apply a layer norm over the last axis: the root-mean-square norm of x - lane_sum(x) / n, plus the bias."""
    mean = lane_sum(x) / np.float32(x.shape[-1])
    y = rmsnorm(x - mean[..., None], gain, epsilon)
    return y if bias is None else y + bias


def exp(x: Floats) -> Floats:
    """Return the exponential, within 1 ulp: +0 below -87, +infinity above 88.72283, NaN for NaN.

    Cody and Waite's reduction with ln 2 in two parts (the first has 10 bits, so that its product with n is exact), a
    polynomial of degree 6, and n added to the exponent field.
    """
    # np.where, because NumPy's minimum treats NaN differently from the kernels' compare and select.
    clipped = np.where(x < _EXP_LOW, _EXP_LOW, np.where(x > _EXP_HIGH, _EXP_HIGH, x)).astype(np.float32)
    shifted = clipped * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    r = (clipped - n * _LN2_HIGH) - n * _LN2_LOW
    polynomial = np.full_like(r, _EXP_TERMS[0])
    for term in _EXP_TERMS[1:]:
        polynomial = polynomial * r + term
    y = (polynomial * (r * r) + r) + _ONE
    bits = np.ascontiguousarray(y).view(np.uint32) + (np.ascontiguousarray(shifted).view(np.uint32) << np.uint32(23))
    y = bits.view(np.float32).reshape(x.shape)
    y = np.where(x < _EXP_LOW, np.float32(0.0), np.where(x > _EXP_HIGH, np.float32(np.inf), y))
    return np.where(np.isnan(x), x, y).astype(np.float32)


def sigmoid(x: Floats) -> Floats:
    """Return the logistic function: 1 / (1 + e) for x >= 0 and e / (1 + e) for x < 0, with e = exp(-abs(x))."""
    e = exp(-np.abs(x))
    y: Floats = np.where(x < 0, e, _ONE) / (_ONE + e)
    return y


def tanh(x: Floats) -> Floats:
    """Return 2 * sigmoid(2 * x) - 1."""
    two = np.float32(2.0)
    y: Floats = sigmoid(x * two) * two - _ONE
    return y


def softmax(x: Floats) -> Floats:
    """Return e / lane_sum(e) over the last axis, e = exp(x - largest)."""
    e = exp(x - x.max(axis=-1, keepdims=True))
    y: Floats = e / lane_sum(e)[..., None]
    return y


def divide_by_sum(x: Floats, least: float) -> Floats:
    """Return x / (lane_sum(x) + least) over the last axis."""
    y: Floats = x / (lane_sum(x)[..., None] + np.float32(least))
    return y


def convolve(x: Floats, taps: Floats) -> Floats:
    """Apply a gated short convolution to one sequence.

    Parameters
    ----------
    x : float32 (M, 3 n)
        The parts B, C and x of each row.
    taps : float32 (n, taps)
        The last column belongs to the position itself.

    Returns
    -------
    float32 (M, n)
        C * y with u = B * x: y starts as u times the last column; then the previous position's u times the preceding
        column is added, and so on back to the beginning of the sequence.
    """
    before, gate, value = np.split(x, 3, axis=1)
    u = before * value
    y = u * taps[:, -1]
    for back in range(1, min(taps.shape[1], len(x))):
        y[back:] = y[back:] + u[:-back] * taps[:, -1 - back]
    out: Floats = y * gate
    return out


def scan_inputs(mixed: Floats, taps: Floats, bias: Floats) -> Floats:
    """Return x, B and C of one sequence: SiLU of a causal convolution plus its bias.

    Parameters
    ----------
    mixed : float32 (m, channels)
    taps : float32 (channels, L)
        The last column belongs to the position itself.
    bias : float32 (channels,)
    """
    y = mixed * taps[:, -1]
    for j in range(1, min(taps.shape[1], len(mixed))):
        y[j:] = y[j:] + mixed[:-j] * taps[:, -1 - j]
    return silu(y + bias)


def scan(mixed: Floats, steps: Floats, shape: ScanShape, weights: ScanWeights, skip: Floats) -> Floats:
    """Return the results of a state-space layer for one sequence, block by block (docs/spec/numerics_fp32.md).

    Steps and decays are the same integers as in the other profiles; sums add columns and rows in ascending order.

    Parameters
    ----------
    mixed : float32 (m, channels)
        The result of `scan_inputs`.
    steps : float32 (m, heads)
        The projection dt.
    weights : ScanWeights
        Only step_bias and rate are used.
    skip : float32 (heads,)
        D.
    """
    step = _steps(steps, weights.step_bias)
    group, columns = shape.heads // shape.groups, shape.groups * shape.states
    x, b, c = np.split(mixed, [shape.inner, shape.inner + columns], axis=1)
    x = x.reshape(-1, shape.heads, shape.width)
    b, c = (np.repeat(part.reshape(-1, shape.groups, shape.states), group, axis=1) for part in (b, c))
    out, state = np.empty_like(x), None
    for start in range(0, len(x), BLOCK):
        rows = slice(start, min(start + BLOCK, len(x)))
        total = decays(step[rows], weights.rate)
        of_step = step[rows].astype(np.float32) * np.float32(2.0**-STEP_FRACTION)
        for t in range(len(total)):
            kept = from_q30(exp2_neg_fine(total[t] - total[: t + 1]).astype(np.int32))
            dots = _ascending(b[start : start + t + 1] * c[start + t], axis=2)
            a = dots * kept * of_step[: t + 1]
            y = _ascending(a[:, :, None] * x[start : start + t + 1], axis=0)
            if state is not None:
                read = _ascending(state * c[start + t][:, None], axis=2)
                y = y + read * from_q30(exp2_neg_fine(total[t]).astype(np.int32))[:, None]
            out[start + t] = y + skip[:, None] * x[start + t]
        a = from_q30(exp2_neg_fine(total[-1] - total).astype(np.int32)) * of_step
        added = _ascending((a[:, :, None] * x[rows])[..., None] * b[rows][:, :, None], axis=0)
        last = from_q30(exp2_neg_fine(total[-1]).astype(np.int32))[:, None, None]
        state = added if state is None else added + last * state
    results: Floats = out.reshape(len(x), -1)
    return results


def selective_scan(x: Floats, b: Floats, c: Floats, steps: Floats, weights: SelectiveWeights, skip: Floats) -> Floats:
    """Return the results of a selective scan for one sequence, position by position (docs/spec/numerics_fp32.md).

    Steps and decays are the same integers as in the other profiles; sums add columns in ascending order.

    Parameters
    ----------
    x, steps : float32 (m, channels)
        The input after its convolution, and dt before softplus.
    b, c : float32 (m, states)
    weights : SelectiveWeights
        Only the rate is used.
    skip : float32 (channels,)
        D.
    """
    step, state, out = _steps(steps, np.zeros(1, np.int64)), np.zeros(weights.rate.shape, np.float32), np.empty_like(x)
    of_step = step.astype(np.float32) * np.float32(2.0**-STEP_FRACTION)
    for t in range(len(x)):
        rates = rshift(step[t][:, None] * weights.rate, RATE_FRACTION + STEP_FRACTION - 30)
        kept = from_q30(exp2_neg_fine(rates).astype(np.int32))
        state = kept * state + (of_step[t] * x[t])[:, None] * b[t]
        out[t] = _ascending(state * c[t], axis=1) + skip * x[t]
    return out


def recurrence(x: Floats, forget: Floats, room: Floats) -> Floats:
    """Return the states of a gated recurrence for one sequence, position by position (docs/spec/numerics_fp32.md).

    Parameters
    ----------
    x, forget : float32 (m, channels)
        The input before SiLU and the forget gate before its sigmoid.
    room : float32 (channels,)
        1 minus the lower bound of the forget gate.
    """
    value, share = silu(x), room * sigmoid(-forget)
    state, out = np.zeros(len(room), np.float32), np.empty_like(value)
    for t in range(len(value)):
        out[t] = state = state + share[t] * (value[t] - state)
    return out


def trapezoidal_scan(
    rows: Sequence[Floats], shape: TrapezoidalShape, weights: TrapezoidalWeights, floats: Sequence[Floats]
) -> Floats:
    """Return the results of a trapezoidal scan for one sequence, position by position (docs/spec/numerics_fp32.md).

    Steps, decays and angles are integers as in the other profiles; tanh of an angle is rounded to Q30.

    Parameters
    ----------
    rows : float32 (m, channels), (m, columns) twice, (m, controls)
        x, B and C, and the controls of each position.
    weights : TrapezoidalWeights
        Only step_bias and the slowest rate are used.
    floats : float32 (heads, states) twice, (heads,)
        The biases of B and C, and D.
    """
    x, b, c, controls = rows
    x = x.reshape(-1, shape.heads, shape.width)
    dt, a, share, raw = np.split(controls, np.cumsum([shape.heads] * 3), axis=1)
    step, own = step_size(_fixed(dt, PACE_FRACTION) + weights.step_bias), sigmoid(share)
    kept = from_q30(exp2_neg_fine(decay_of(step, _fixed(a, PACE_FRACTION), weights.slowest)).astype(np.int32))
    of_step = step.astype(np.float32) * np.float32(2.0**-STEP_FRACTION)
    now, before = own * of_step, (_ONE - own) * of_step * kept
    speed = np.floor(tanh(raw).astype(np.float64) * 2.0**30 + 0.5).astype(np.int64)
    turn = rshift(speed[:, None] * step[..., None], STEP_FRACTION - 1)
    angle = np.cumsum(turn, axis=0) % TURN  # (m, heads, angles)
    sine, cosine = sine_cosine(np.ones(1, np.int64), angle.astype(np.uint64).reshape(-1) << np.uint64(32))
    sines, cosines = (from_q30(part.astype(np.int32)).reshape(-1, shape.angles) for part in (sine, cosine))

    def turned(part: Floats, bias: Floats) -> Floats:
        whole = np.repeat(part.reshape(-1, shape.groups, shape.states), shape.heads // shape.groups, axis=1) + bias
        return rope(whole.reshape(-1, 1, shape.states), cosines, sines, True).reshape(whole.shape)

    keys, queries = turned(b, floats[0]), turned(c, floats[1])
    state, out = np.zeros((shape.heads, shape.width, shape.states), np.float32), np.empty_like(x)
    for t in range(len(x)):
        late = (before[t][:, None] * x[t - 1])[..., None] * keys[t - 1][:, None] if t else np.float32(0)
        state = kept[t][:, None, None] * state + late + (now[t][:, None] * x[t])[..., None] * keys[t][:, None]
        out[t] = _ascending(state * queries[t][:, None], axis=2) + floats[2][:, None] * x[t]
    results: Floats = out.reshape(len(x), -1)
    return results


def delta(mixed: Floats, steps: Floats, beta: Floats, shape: DeltaShape, weights: DeltaWeights) -> Floats:
    """Return the results of a layer with the gated delta rule for one sequence, block by block.

    Defined in docs/spec/numerics_fp32.md.

    Steps and decays are the same integers as in the other profiles; sums add columns and rows in ascending order.

    Parameters
    ----------
    mixed : float32 (m, channels)
        The result of `scan_inputs`.
    steps, beta : float32 (m, heads)
        The projections dt and b.
    weights : DeltaWeights
        Only step_bias and rate are used.
    """
    step, strength = _steps(steps, weights.step_bias), sigmoid(beta)
    query, key, value = np.split(mixed, [shape.columns, 2 * shape.columns], axis=1)
    q, k = (shape.of_heads(_unit(part.reshape(-1, shape.states)).reshape(part.shape)) for part in (query, key))
    value = value.reshape(-1, shape.heads, shape.width)
    out, d, state = np.empty_like(value), np.empty_like(value), None
    for start in range(0, len(value), BLOCK):
        rows = slice(start, min(start + BLOCK, len(value)))
        total = decays(step[rows], weights.rate)
        for t in range(len(total)):
            kept = from_q30(exp2_neg_fine(total[t] - total[: t + 1]).astype(np.int32))
            last, p = from_q30(exp2_neg_fine(total[t]).astype(np.int32)), start + t
            d[p] = strength[p][:, None] * (value[p] - _held(k[p], k[start:p], d[start:p], kept, state, last))
            out[p] = _held(q[p], k[start : p + 1], d[start : p + 1], kept, state, last)
        kept = from_q30(exp2_neg_fine(total[-1] - total).astype(np.int32))
        added = _ascending((k[rows] * kept[..., None])[..., None] * d[rows][:, :, None], axis=0)
        last = from_q30(exp2_neg_fine(total[-1]).astype(np.int32))[:, None, None]
        state = added if state is None else added + last * state
    return out.reshape(len(value), -1)


def _held(vector: Floats, keys: Floats, written: Floats, kept: Floats, state: Floats | None, last: Floats) -> Floats:
    """Read the block's rows and the state before it under a key (heads, states): (heads, width)."""
    y = np.zeros(written.shape[1:], np.float32)
    for key, value, decay in zip(keys, written, kept, strict=False):
        y = y + (_ascending(key * vector, axis=1) * decay)[:, None] * value
    return y if state is None else y + _ascending(state * vector[:, :, None], axis=1) * last[:, None]


def _unit(x: Floats) -> Floats:
    """Normalise rows (m, n) to unit length: ``x / sqrt(sum(x^2) + 10^-6)``."""
    y: Floats = x / np.sqrt(_ascending(x * x, axis=1) + np.float32(1e-6))[:, None]
    return y


def _steps(steps: Floats, bias: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return softplus(steps + bias), Q26."""
    return softplus(sat32(_fixed(steps, 16) + bias))


def _fixed(x: Floats, fraction: int) -> npt.NDArray[np.int64]:
    """Convert to fixed point with `fraction` fraction bits, at least 16, rounded half up, clipped to the Q16 range."""
    most = LIMIT << (fraction - 16)
    return np.clip(np.floor(x.astype(np.float64) * (1 << fraction) + 0.5), -most, most).astype(np.int64)


def _ascending(x: Floats, axis: int) -> Floats:
    """Sum along an axis, adding the numbers one after another."""
    first, *others = np.moveaxis(x, axis, 0)
    total: Floats = first.copy()
    for other in others:
        total += other
    return total


def soft_cap(x: Floats, cap: float) -> Floats:
    """Return cap * tanh(x / cap) as (2 * sigmoid((2 / cap) * x) - 1) * cap."""
    two = np.float32(2.0)
    y: Floats = (sigmoid(x * (two / np.float32(cap))) * two - _ONE) * np.float32(cap)
    return y


def silu(x: Floats) -> Floats:
    """Return the swish function, x * sigmoid(x)."""
    y: Floats = x * sigmoid(x)
    return y


def gelu_tanh(x: Floats) -> Floats:
    """Return the tanh approximation of GELU, x * sigmoid(x * (a + b * (x * x))), a = 2 sqrt(2 / pi), b = 0.044715 a."""
    with np.errstate(over="ignore"):
        inner = x * (GELU_LINEAR + GELU_CUBIC * (x * x))
    y: Floats = x * sigmoid(inner)
    return y


def gelu_erf(x: Floats) -> Floats:
    """Return the erf form of GELU, within 1e-6: x * sigmoid(x * a polynomial in x * x); x above 6.5, 0 below -6.5."""
    with np.errstate(over="ignore", invalid="ignore"):
        square, slope = x * x, np.full_like(x, _ERF_SLOPE[-1])
        for coefficient in _ERF_SLOPE[-2::-1]:
            slope = slope * square + coefficient
        y = x * sigmoid(x * slope)
    return np.where(x > _ERF_CLIP, x, np.where(x < -_ERF_CLIP, np.float32(0), y)).astype(np.float32)


def gate(kind: Activation, g: Floats, u: Floats) -> Floats:
    """Apply a gated activation: f(g) * u; swiglu_oai: (g * sigmoid(1.702 g)) * (u + 1), g at most 7, u from -7 to 7."""
    y: Floats
    if kind == "swiglu_oai":
        g, u = np.where(g > _SEVEN, _SEVEN, g), np.where(u > _SEVEN, _SEVEN, np.where(u < -_SEVEN, -_SEVEN, u))
        with np.errstate(over="ignore"):
            y = (g * sigmoid(g * _OAI_SLOPE)) * (u + _ONE)
    elif kind == "sigmoid":
        y = sigmoid(g) * u
    elif kind == "relu":
        y = np.where(g > 0, g, np.float32(0)) * u
    else:
        y = {"silu": silu, "gelu": gelu_tanh, "gelu_erf": gelu_erf}[kind](g) * u
    return y


def rope(x: Floats, cosine: Floats, sine: Floats, interleaved: bool) -> Floats:
    """Rotate pairs: (a, b) becomes (a * c - b * s, b * c + a * s).

    Parameters
    ----------
    x : float32 (M, heads, d)
    cosine, sine : float32 (M, r / 2), r <= d; components from r onwards are unchanged
    interleaved : pairs are (2i, 2i + 1) if true, (i, i + r / 2) if false
    """
    half = cosine.shape[-1]
    first, second = (
        (slice(0, 2 * half, 2), slice(1, 2 * half, 2)) if interleaved else (slice(half), slice(half, 2 * half))
    )
    a, b = x[..., first], x[..., second]
    c, s = cosine[:, None, :], sine[:, None, :]
    y = x.copy()
    y[..., first] = a * c - b * s
    y[..., second] = b * c + a * s
    return y


def attend(
    q: Floats, k: Floats, v: Floats, scale: float, first: int = 0, cap: float = 0.0, sinks: Floats | None = None
) -> Floats:
    """Return the attention of query heads that share one key-value head, over positions first, ..., last - 1.

    Parameters
    ----------
    q : float32 (heads, d)
    k, v : float32 (last, d), row j for position j
    scale : factor of the scores, rounded to float32
    first : first visible position (sliding windows)
    cap : soft cap of the scores, 0 for no cap
    sinks : float32 (heads,), one uncapped score per head that has no value

    Returns
    -------
    float32 (heads, d)
        o / s with o = sum of e[j] * v[j] in order of j from +0, and s = lane_sum of e by position, where e is 0 before
        ``first`` and exp(score - largest score) from there on; a sink's e is added to s at the end.
    """
    score = dot(q[:, None, :], k[None, first:, :]) * np.float32(scale)
    score = soft_cap(score, cap) if cap else score
    e = np.zeros((q.shape[0], k.shape[0]), np.float32)
    most = score.max(axis=1) if sinks is None else np.maximum(score.max(axis=1), sinks)
    e[:, first:] = exp(score - most[:, None])
    o = np.zeros_like(q)
    for j in range(first, k.shape[0]):
        o += e[:, j, None] * v[None, j, :]
    total = lane_sum(e) if sinks is None else lane_sum(e) + exp(sinks - most)
    y: Floats = o / total[:, None]
    return y


def embed(weight: Floats, ids: npt.NDArray[np.integer], scale: float = 1.0) -> Floats:
    """Return rows ``ids`` of the embedding matrix, times ``scale`` (float32)."""
    y: Floats = weight[ids] * np.float32(scale)
    return y


def from_q30(x: npt.NDArray[np.int32]) -> Floats:
    """Convert Q30 integers (rotary tables) to float32, rounded to nearest, ties to even."""
    y: Floats = x.astype(np.float32) * np.float32(2.0**-30)
    return y
