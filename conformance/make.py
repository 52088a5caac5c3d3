"""Known answers for every operation: writes the JSON files of this folder, or with --check compares them.

    python conformance/make.py [--check]

A file holds cases of one or more operations: their inputs, written out, and the answers of `intact.numerics`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from intact.measure.conformance.synthetic import random_bytes, random_floats, random_tensor
from intact.models.ops.embed import embed_multiplier, embedded_rows
from intact.numerics import (
    VERSION,
    activations,
    attention,
    convolve,
    delta,
    experts,
    fixed,
    functions,
    gate,
    hgrn,
    matmul,
    multiply,
    norm,
    rope,
    sampling,
    scan,
    selective,
    soft_cap,
    trapezoidal,
)
from intact.numerics.gather import gather
from intact.numerics.kv_codecs import definition as kv_codec
from intact.numerics.rope import rotation
from intact.numerics.scatter import scatter, scatter_index
from intact.numerics.weight_formats import BLOCK_FORMATS
from intact.numerics.weights import BlockWeight, from_blocks, from_floats

FOLDER = Path(__file__).parent
Case = dict[str, Any]


def _list(x: Any) -> Any:
    return np.asarray(x).tolist()


def _float32(bits: list[int], shape: list[int]) -> np.ndarray:
    return np.array(bits, np.uint32).view(np.float32).reshape(shape)


def _weight(kind: str, data: str, shape: list[int]) -> BlockWeight:
    return from_blocks(kind, np.frombuffer(bytes.fromhex(data), np.uint8), (shape[0], shape[1]))


def _described(w: BlockWeight) -> Case:
    out = {"codes": w.codes.tobytes().hex(), "scale": _list(w.scale), "scale_exp": _list(w.scale_exp)}
    if w.minimum is not None:
        out |= {"minimum": _list(w.minimum), "minimum_exp": _list(w.minimum_exp)}
    return out


def _quantized(codes: list[list[int]], scale: list[list[int]], exponent: list[int]) -> activations.Quantized:
    return activations.Quantized(np.array(codes, np.int8), np.array(scale, np.int16), np.array(exponent, np.int32))


def _gain(gain: list[int], eps: str) -> norm.Gain:
    return norm.make_gain(_float32(gain, [len(gain)]), float(eps))


def _heads(codes: list[list[int]], scale: list[int]) -> attention.Heads:
    return attention.Heads(np.array(codes, np.int64), np.array(scale, np.int64))


def _scale(factor: str) -> attention.Scale:
    return attention.score_scale(Fraction(factor))


def _coded(x: list[list[int]], bits: int, unit: int) -> Case:
    rotated = kv_codec.rotate_kept(np.array(x))
    quantize = attention.quantize_keys if unit == kv_codec.KEY_UNIT else attention.quantize_values
    coded = kv_codec.narrow(quantize(rotated), bits, unit)
    read = kv_codec.widen(coded.codes, bits, unit)
    return {"rotated": _list(rotated), **{k: _list(v) for k, v in coded._asdict().items()}, "read": _list(read)}


def _attend(query: list[int], factor: str, keys: list[list[int]], values: list[list[int]]) -> Case:
    q = attention.quantize_query(np.array(query, np.int64), _scale(factor))
    k, v = attention.quantize_keys(np.array(keys)), attention.quantize_values(np.array(values))
    return {"scores": _list(attention.scores(q, k)), "output": _list(attention.attend(q, k, v))}


def _scatter(x: list[list[int]], target_width: int, kept: list[list[int]] | None = None, **columns: int) -> Any:
    index = scatter_index(target_width, columns.pop("heads"), columns.pop("width"), **columns)
    return _list(scatter(np.array(x), index, None if kept is None else np.array(kept)))


def _delta_rows(mixed: list[list[int]], steps: list[list[int]], step_bias: list[int], shape: list[int]) -> Case:
    rows = delta.delta_rows(np.array(mixed), np.array(steps), np.array(step_bias), delta.DeltaShape(*shape))
    return {name: _list(part) for name, part in zip(("query", "key", "step", "value"), rows, strict=True)}


def _delta_block(
    mixed: list[list[int]],
    steps: list[list[int]],
    beta: list[list[int]],
    rate: list[int],
    shape: list[int],
    state: list[list[list[int]]],
) -> Case:
    """The last row of a block's first rows, what it writes, and the state behind the block if they are 64."""
    sizes, rates, before = delta.DeltaShape(*shape), np.array(rate, np.int64), np.array(state, np.int64)
    query, key, step, value = delta.delta_rows(np.array(mixed), np.array(steps), np.zeros(shape[0], np.int64), sizes)
    written = np.zeros_like(value)
    for t in range(len(mixed)):
        rows = delta.DeltaRows(*(part[: t + 1] for part in (query, key, step, written)))
        written[t] = delta.written_row(rows, value[t], np.array(beta[t]), before, rates, sizes)
    out: Case = {"written": _list(written[-1]), "y": _list(delta.delta_row(rows, before, rates, sizes))}
    if len(mixed) == scan.BLOCK:
        out |= {"state": _list(delta.end_block(rows, before, rates, sizes))}
    return out


def _selective_positions(
    x: list[list[int]],
    b: list[list[int]],
    c: list[list[int]],
    steps: list[list[int]],
    rate: list[list[int]],
    skip: list[int],
    state: list[list[int]] | None = None,
    exponent: list[int] | None = None,
) -> Case:
    """The results of some positions, and the states behind the last one."""
    weights = selective.SelectiveWeights(np.array(rate, np.int64), np.array(skip, np.int64))
    rows = selective.selective_rows(*(np.array(part, np.int64) for part in (x, b, c, steps)))
    now, out = selective.zero_state(weights), []
    if state is not None:
        now = scan.RecurrentState(np.array(state, np.int64), np.array(exponent, np.int64))
    for i in range(len(x)):
        now = selective.advance(rows, i, now, weights)
        out.append(selective.selective_row(rows, i, now, weights))
    return {"step": _list(rows.step), "y": _list(out), "state": _list(now.mantissa), "exponent": _list(now.exponent)}


def _recurrence_positions(
    x: list[list[int]], forget: list[list[int]], room: list[int], state: list[int] | None = None
) -> Case:
    """The results of some positions, and the states behind the last one."""
    rows = hgrn.recurrence_rows(*(np.array(part, np.int64) for part in (x, forget, room)))
    now, out = hgrn.zero_state(len(room)) if state is None else np.array(state, np.int64), []
    for i in range(len(x)):
        now = hgrn.advance(rows, i, now)
        out.append(hgrn.recurrence_row(now))
    return {"value": _list(rows.value), "share": _list(rows.share), "y": _list(out), "state": _list(now)}


def _trapezoidal_positions(
    rows: dict[str, list[list[int]]],
    shape: list[int],
    biases: dict[str, list[Any]],
    slowest: float,
    state: dict[str, list[Any]] | None = None,
) -> Case:
    """The results of some positions, and the state behind the last one; `state` is the one before them."""
    sizes = trapezoidal.TrapezoidalShape(*shape)
    numbers = {name: np.array(values, np.int64) for name, values in biases.items()}
    weights = trapezoidal.TrapezoidalWeights(**numbers, slowest=trapezoidal.slowest_rate(slowest))
    given = trapezoidal.TrapezoidalRows(**{name: np.array(values, np.int64) for name, values in rows.items()})
    now, out = trapezoidal.zero_state(sizes), []
    if state is not None:
        now = trapezoidal.TrapezoidalState(**{name: np.array(values, np.int64) for name, values in state.items()})
    for i in range(len(given.x)):
        now = trapezoidal.advance(given, i, now, weights, sizes)
        out.append(trapezoidal.trapezoidal_row(given, i, now, weights, sizes))
    return {"y": _list(out), **{name: _list(part) for name, part in now._asdict().items()}}


def _described_choice(choice: experts.ExpertChoices) -> Case:
    return {"experts": _list(choice.experts), "weights": _list(choice.weights)}


def _convolved(codes: list[list[int]], exponents: list[int], taps: list[list[int]], bias: list[int]) -> list[int]:
    """The first row is the position's own, then come those before it; weights are integers in Q20."""
    rows = list(zip(np.array(codes, np.int64), exponents, strict=True))
    return _list(scan.convolved(rows, np.array(taps, np.int64), np.array(bias, np.int64)))


def _scan_rows(mixed: list[list[int]], steps: list[list[int]], step_bias: list[int], shape: list[int]) -> Case:
    rows = scan.scan_rows(np.array(mixed), np.array(steps), np.array(step_bias), scan.ScanShape(*shape))
    parts = {name: {k: _list(v) for k, v in getattr(rows, name)._asdict().items()} for name in ("x", "b", "c")}
    return {**parts, "step": _list(rows.step)}


def _scan_block(
    mixed: list[list[int]],
    steps: list[list[int]],
    rate: list[int],
    skip: list[int],
    shape: list[int],
    state: Case | None = None,
) -> Case:
    """The last row of a block's first rows, and the state behind the block if they are 64."""
    sizes, none = scan.ScanShape(*shape), np.zeros(shape[0], np.int64)
    weights = scan.ScanWeights(none, none, none, np.array(rate, np.int64), np.array(skip, np.int64))
    rows = scan.scan_rows(np.array(mixed), np.array(steps), none, sizes)
    before = scan.zero_state(sizes)
    if state is not None:
        before = scan.RecurrentState(np.array(state["mantissa"], np.int64), np.array(state["exponent"], np.int64))
    out: Case = {"y": _list(scan.scan_row(rows, before, weights, sizes))}
    if len(mixed) == scan.BLOCK:
        after = scan.end_block(rows, before, weights, sizes)
        out |= {"state": {k: _list(v) for k, v in after._asdict().items()}}
    return out


def _convolve(codes: list[list[int]], exponents: list[int], taps: list[list[int]], gate_: list[int]) -> list[int]:
    """The first row is the position's own, then come those before it."""
    rows = list(zip(np.array(codes, np.int64), exponents, strict=True))
    weights = convolve.integer_taps(np.array(taps, np.uint32).view(np.float32))
    return _list(convolve.convolve(rows, weights, np.array(gate_)))


def _sampling(temperature: float, top_k: int, top_p: float, min_p: float, typical: float = 1.0) -> sampling.Sampling:
    return sampling.make_sampling(temperature, top_k, top_p, min_p, typical)


def _edits(edits: dict[str, Any]) -> sampling.Edits:
    return sampling.Edits(**{k: np.array(v, np.int32) if isinstance(v, list) else v for k, v in edits.items()})


def _sine_cosine(positions: list[int], turns: list[int]) -> Case:
    sine, cosine = rope.sine_cosine(np.array(positions, np.int64), np.array(turns, np.uint64))
    return {"sine": _list(sine), "cosine": _list(cosine)}


# What each operation computes: inputs to outputs, all as they stand in the files.
OPERATIONS: dict[str, Callable[..., Any]] = {
    "bitlen": lambda x: _list(fixed.bitlen(x)),
    "rshift": lambda x, s: _list(fixed.rshift(x, s)),
    "shift": lambda x, s: _list(fixed.shift(x, s)),
    "exp2_neg": lambda t: _list(functions.exp2_neg(np.array(t))),
    "sigmoid": lambda x: _list(functions.sigmoid(np.array(x))),
    "inverse_sqrt": lambda v: [list(functions.inverse_sqrt(n)) for n in v],
    "log2": lambda v: [functions.log2_fixed(n) for n in v],
    "weight_of_blocks": lambda kind, data, shape: _described(_weight(kind, data, shape)),
    "weight_of_floats": lambda bits, x, shape: _described(from_floats(_float32(x, shape), bits)),
    "quantize": lambda x, fraction: {
        k: _list(v) for k, v in activations.quantize(np.array(x), fraction)._asdict().items()
    },
    "block_sums": lambda block, **a: [_list(part) for part in activations.block_sums(_quantized(**a), block)],
    "matmul": lambda x, fraction, kind, data, shape, result_fraction: _list(
        matmul.matmul(activations.quantize(np.array(x), fraction), _weight(kind, data, shape), result_fraction)
    ),
    "gain": lambda gain, eps: {
        "factor": _list(_gain(gain, eps).factor),
        "exponent": _gain(gain, eps).exponent,
        "epsilon": _gain(gain, eps).epsilon,
    },
    "rmsnorm": lambda x, fraction, gain, eps, result_fraction: _list(
        norm.rmsnorm(np.array(x), fraction, _gain(gain, eps), result_fraction)
    ),
    "turns": lambda base, dimension, scaling: _list(rotation(base, dimension, scaling)),
    "sine_cosine": _sine_cosine,
    "rotate": lambda x, positions, turns, interleaved: _list(
        rope.rotate(
            np.array(x), *rope.sine_cosine(np.array(positions, np.int64), np.array(turns, np.uint64)), interleaved
        )
    ),
    "score_scale": lambda factor: list(_scale(factor)),
    "keys": lambda x: {k: _list(v) for k, v in attention.quantize_keys(np.array(x))._asdict().items()},
    "values": lambda x: {k: _list(v) for k, v in attention.quantize_values(np.array(x))._asdict().items()},
    "query": lambda x, factor: dict(
        zip(
            ("codes", "mantissa", "drop"),
            map(_list, attention.quantize_query(np.array(x), _scale(factor))),
            strict=True,
        )
    ),
    "attend": _attend,
    "coded": _coded,
    "rotate_query": lambda x: _list(kv_codec.rotate_query(np.array(x))),
    "gate": lambda kind, gate_, up: _list(gate.gated(np.array(gate_), np.array(up), kind)),
    "activation": lambda kind, x: _list(gate.gated(np.array(x), None, kind)),
    "choose_experts": lambda scores, used, weights, factor, bias=None, groups=(1, 1), scales=None: _described_choice(
        experts.choose(
            np.array(scores),
            used,
            weights,
            experts.weight_factor(Fraction(factor)),
            None if bias is None else np.array(bias),
            experts.Groups(*groups),
            None if scales is None else np.array(scales),
        )
    ),
    "multiply": lambda x, number, wide: _list(
        multiply.multiply(np.array(x), multiply.row_multiplier(Fraction(number)), wide)
    ),
    "convolution_rows": lambda gate_, x: {
        k: _list(v) for k, v in convolve.convolution_rows(np.array(gate_), np.array(x))._asdict().items()
    },
    "convolve": _convolve,
    "softplus": lambda x: _list(scan.softplus(np.array(x))),
    "convolved": _convolved,
    "scan_rows": _scan_rows,
    "scan_block": _scan_block,
    "delta_rows": _delta_rows,
    "delta_block": _delta_block,
    "selective_positions": _selective_positions,
    "recurrence_positions": _recurrence_positions,
    "trapezoidal_positions": _trapezoidal_positions,
    "scaled": lambda y, weights: _list(experts.scaled(np.array(y), np.array(weights))),
    "tanh": lambda x: _list(functions.tanh(np.array(x))),
    "soft_cap": lambda x, cap: _list(soft_cap.soft_cap(np.array(x), soft_cap.make_soft_cap(Fraction(cap)))),
    "layer_norm": lambda x, gain, bias, eps: _list(
        norm.layer_norm(np.array(x), _gain(gain, eps), None if bias is None else np.array(bias))
    ),
    "scatter": _scatter,
    "gather": lambda x, index: _list(gather(np.array(x), np.array(index, np.int32))),
    "embed": lambda kind, data, shape, tokens, scale: _list(
        embedded_rows(_weight(kind, data, shape), np.array(tokens, np.int32), embed_multiplier(Fraction(scale)))
    ),
    "philox4x32": lambda counter, key: list(sampling.philox4x32(tuple(counter), tuple(key))),
    "branch_key": lambda seed, branch: sampling.branch_key(seed, branch),
    "uniform64": lambda key, position: sampling.uniform64(key, position),
    "log_probability": lambda logits, tokens: [sampling.log_probability(np.array(logits), t) for t in tokens],
    "sampling": lambda **p: {k: v for k, v in _sampling(**p)._asdict().items() if k != "typical" or k in p},
    "sampling_weights": lambda logits, **p: _list(sampling.weights(np.array(logits), _sampling(**p))),
    "draw": lambda logits, key, positions, **p: [
        sampling.draw(np.array(logits), _sampling(**p), key, position) for position in positions
    ],
    "edit": lambda logits, edits: _list(sampling.edit(np.array(logits), _edits(edits))),
    "edited_draw": lambda logits, edits, mask, key, positions, **p: [
        sampling.draw(np.array(logits), _sampling(**p), key, n, _edits(edits), np.array(mask, np.uint32))
        for n in positions
    ],
}

LIMIT = (1 << 31) - 1


def _integers(name: str, shape: tuple[int, ...], bits: int) -> np.ndarray:
    """Integers whose size varies from a unit to `bits` bits."""
    raw = random_bytes(name, 9 * int(np.prod(shape))).reshape(-1, 9)
    value = np.ascontiguousarray(raw[:, :8]).view("<i8").ravel() >> (63 - bits)
    return (value >> (raw[:, 8].astype(np.int64) % (bits + 1))).reshape(shape)


def _row(name: str, shape: tuple[int, ...], size: float) -> np.ndarray:
    """Integers about normal with a root mean square `size`."""
    raw = random_bytes(name, 4 * int(np.prod(shape))).reshape(-1, 4).astype(np.int64).sum(axis=1) - 510
    return np.floor(raw * (size / 147.8) + 0.5).astype(np.int64).reshape(shape)


def _bits(x: Any) -> list[int]:
    return _list(np.ravel(np.asarray(x, np.float32)).view(np.uint32))


def _data(name: str, kind: str, shape: tuple[int, int], size: float) -> str:
    return random_tensor(name, kind, shape, size).hex()


def _case(operation: str, **inputs: Any) -> Case:
    return {"operation": operation, "input": inputs}


def _fixed() -> Iterator[Case]:
    yield _case("bitlen", x=[0, 1, 2, 3, 4, 255, 256, (1 << 31) - 1, 1 << 31, (1 << 62) - 1, 1 << 62, (1 << 63) - 1])
    x = [0, 1, -1, 2, -2, 3, -3, 5, -5, 6, -6, 7, -7, (1 << 61) + 1, -(1 << 61) - 1, (1 << 62) - 1, 1 - (1 << 62)]
    for s in (0, 1, 2, 3, 30, 61, 62, 63, 64, 200):
        yield _case("rshift", x=x, s=s)
    for s in (-200, -32, -31, -30, -1, 0, 1, 40, 63):
        yield _case("shift", x=[*x[:13], 1 << 20, LIMIT, -LIMIT, 1 << 31, -(1 << 40)], s=s)


def _functions() -> Iterator[Case]:
    t = [0, 1, 2, 32767, 32768, 65535, 65536, 65537, 1 << 20, 30 << 16, (31 << 16) - 1, 31 << 16, 32 << 16, 1 << 40]
    yield _case("exp2_neg", t=t + _list(np.abs(_integers("exp2", (40,), 21))))
    x = [0, 1, -1, 65536, -65536, 16 << 16, -(16 << 16), 1408000, -1408000, LIMIT, -LIMIT]
    yield _case("sigmoid", x=x + _list(_integers("sigmoid", (40,), 20)))
    v = [1, 2, 3, 4, 5, 15, 16, 17, (1 << 31) - 1, 1 << 31, (1 << 60) - 1, 1 << 60, (1 << 61) - 1, (1 << 62) - 1]
    for cap in ("1", "5/2", "50", "16384"):
        yield _case("soft_cap", x=x + _list(_integers("soft cap", (40,), 22)), cap=cap)
    yield _case("inverse_sqrt", v=v + _list(np.abs(_integers("sqrt", (30,), 61)) + 1))
    yield _case("tanh", x=x + _list(_integers("tanh", (40,), 20)))
    yield _case("log2", v=[1, 2, 3, 1 << 30, (1 << 30) + 1, (1 << 31) - 1, 1 << 32, (1 << 47) - 1])
    yield _case("log2", v=_list(np.abs(_integers("log2", (20,), 47)) + 1))


def _blocks(kind: str) -> Iterator[Case]:
    columns = BLOCK_FORMATS[kind].values * (1 if BLOCK_FORMATS[kind].values == 256 else 2)
    yield _case("weight_of_blocks", kind=kind, data=_data(kind, kind, (2, columns), 0.05), shape=[2, columns])


def _floats() -> Iterator[Case]:
    x = np.zeros((4, 70), np.float32)
    x[0] = _row("floats", (70,), 1000.0) / np.float32(1 << 14)
    x[1] = np.float32(2.0) ** (np.arange(70) % 9 - 40)
    x[2, 3], x[2, 40] = -3.0e38, 1.0e30
    for bits in (8, 4):
        yield _case("weight_of_floats", bits=bits, x=_bits(x), shape=[4, 70])


def _activations() -> Iterator[Case]:
    rows = [_row("activations", (70,), size) for size in (2.0, 300.0, 40000.0, 3.0e6)]
    rows += [np.zeros(70, np.int64), np.where(np.arange(70) % 2, LIMIT, -LIMIT), np.arange(70) - 35]
    rows += [np.full(70, 127 * 8191), np.full(70, 127 * 8191 + 1)]
    yield _case("quantize", x=_list(rows), fraction=16)
    wide = _row("wide", (2, 40), 0.5 * (1 << 20)) << np.array([[0], [14]])
    wide[1, 17] = -104000 << 20
    yield _case("quantize", x=_list(wide), fraction=20)
    a = activations.quantize(np.array(rows), 16)
    for block in (32, 16):
        yield _case("block_sums", block=block, **{k: _list(v) for k, v in a._asdict().items()})


def _matmul() -> Iterator[Case]:
    for kind, columns in (("Q4_0", 64), ("Q4_1", 288), ("Q5_0", 64), ("Q8_0", 64), ("IQ4_NL", 64), ("MXFP4", 64)):
        yield from _products(kind, columns)
    for kind in ("Q2_K", "Q3_K", "Q6_K", "TQ2_0"):
        yield from _products(kind, 256)


def _products(kind: str, columns: int) -> Iterator[Case]:
    x = np.stack([_row("matmul", (columns,), size) for size in (20.0, 70000.0)])
    data = _data("matmul" + kind, kind, (3, columns), 0.2)
    yield _case("matmul", x=_list(x), fraction=16, kind=kind, data=data, shape=[3, columns], result_fraction=20)


def _norm() -> Iterator[Case]:
    gain = _bits(1 + _row("gain", (24,), 400.0) / 1024)
    small = _bits(np.float32(2.0) ** -np.arange(24.0))
    for g, eps in ((gain, "1e-05"), (small, "1e-06"), (_bits([0.0] * 24), "1e-06"), (_bits([1.5]), "0.001")):
        yield _case("gain", gain=g, eps=eps)
    rows = [_row("norm", (24,), size) for size in (0.6, 5.0, 1.0e6, 1.0e12)]
    rows.append(np.eye(1, 24, 3, dtype=np.int64)[0] * ((1 << 21) + 1))
    yield _case("rmsnorm", x=_list(rows), fraction=20, gain=gain, eps="1e-05", result_fraction=20)
    yield _case("rmsnorm", x=_list(rows[:3]), fraction=16, gain=gain, eps="1e-06", result_fraction=16)
    fraction = norm.make_gain(_float32(small, [24]), 1e-6).fraction
    yield _case("rmsnorm", x=_list(rows), fraction=20, gain=small, eps="1e-06", result_fraction=fraction)
    for bias in (None, _list(_row("bias", (24,), 1.0e6))):
        yield _case("layer_norm", x=[*_list(rows), [-3] * 24, [1] * 23 + [-12]], gain=gain, bias=bias, eps="1e-05")


def _rotary() -> Iterator[Case]:
    llama3 = {"type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original": 8192}
    for base, dimension, scaling in (
        (10000.0, 24, {}),
        (1000000.0, 128, {}),
        (500000.0, 64, llama3),
        (1e6, 16, {"type": "linear", "factor": 8.0}),
    ):
        yield _case("turns", base=base, dimension=dimension, scaling=scaling)
    turns = _list(rotation(10000.0, 12, {}))
    positions = [0, 1, 2, 3, 1000, 131071, 524287]
    yield _case("sine_cosine", positions=positions, turns=turns)
    yield _case("sine_cosine", positions=[1], turns=[1 << 61, (1 << 61) - 1, 1 << 62, 3 << 61, 7 << 61, (1 << 64) - 1])
    x = _integers("rotate", (3, 2, 14), 31)
    x[0, 0] = LIMIT
    for interleaved in (False, True):
        yield _case("rotate", x=_list(x), positions=[0, 5, 524287], turns=turns, interleaved=interleaved)


def _attention() -> Iterator[Case]:
    factors = ["1/8", "1", "1000000", str(Fraction(1, 1 << 20)), "5/57"]
    for factor in factors:
        yield _case("score_scale", factor=factor)
    heads = np.stack([_row("heads", (8,), size) for size in (0.5, 30.0, 60000.0, 1.0e7)] + [np.full(8, -LIMIT)])
    heads = np.concatenate([heads, np.zeros((1, 8), np.int64)])
    yield _case("keys", x=_list(heads))
    yield _case("values", x=_list(heads))
    for factor in factors[:4]:
        yield _case("query", x=_list(heads), factor=factor)
    keys, values = _row("keys", (9, 8), 90000.0), _row("values", (9, 8), 50000.0)
    values[3] *= 500
    values[5] = 0
    for size, factor in ((60000.0, "1/4"), (60000.0, "4"), (3.0, "1/4"), (0.0, "1")):
        query = _row("query", (8,), size)
        yield _case("attend", query=_list(query), factor=factor, keys=_list(keys), values=_list(values))
    yield _case("attend", query=[5] * 4, factor="1/2", keys=[[0] * 4] * 3, values=[[16253, -16253, 1, 0]] * 3)
    yield _case(
        "attend", query=[LIMIT] * 8, factor="1", keys=[[LIMIT] * 8, [-LIMIT] * 8], values=[[LIMIT] * 8, [1] * 8]
    )


def _kv_codecs() -> Iterator[Case]:
    for width in (8, 24, 32):
        heads = np.stack([_row("coded", (width,), size) for size in (0.5, 30.0, 60000.0, 1.0e7)])
        edge = np.full((1, width), -LIMIT)
        single = np.zeros((2, width), np.int64)
        single[1, 3] = 1 << 20
        heads = np.concatenate([heads, edge, single])
        yield _case("rotate_query", x=_list(heads))
        for bits in (8, 4):
            for unit in (kv_codec.KEY_UNIT, kv_codec.VALUE_UNIT):
                yield _case("coded", x=_list(heads), bits=bits, unit=unit)


def _gate() -> Iterator[Case]:
    x = [0, 1, -1, 65536, -65536, 1 << 20, -(1 << 20), 1 << 21, LIMIT, -LIMIT, LIMIT, -LIMIT, 3 << 16]
    up = [LIMIT, LIMIT, LIMIT, 4096, -4096, 1 << 30, 77, 1, LIMIT, -LIMIT, -LIMIT, LIMIT, 1 << 28]
    gates = x + _list(_row("gate", (40,), 100000.0))
    ups = up + _list(_integers("up", (40,), 31))
    for kind in ("silu", "gelu", "gelu_erf"):
        yield _case("gate", kind=kind, gate_=gates, up=ups)
        yield _case("activation", kind=kind, x=gates)


def _experts() -> Iterator[Case]:
    scores = _row("scores", (5, 7), 90000.0)
    scores[1, 2] = scores[1, 5] = scores[1].max()
    scores[2] = 7
    scores[3, :2] = LIMIT, -LIMIT
    for kind, factor in (("softmax", "1"), ("softmax of chosen", "5/2"), ("sigmoid", "3/7")):
        for used in (1, 3, 7):
            yield _case("choose_experts", scores=_list(scores), used=used, weights=kind, factor=factor)
    for kind, factor in (("sigmoid of chosen", "1"), ("sigmoid", "3/7")):
        bias = [0, 1 << 30, -(1 << 29), 1, 77, -(1 << 43), 1 << 28]
        for used in (1, 3):
            yield _case("choose_experts", scores=_list(scores), used=used, weights=kind, factor=factor, bias=bias)
    grouped = _row("grouped", (4, 12), 90000.0)
    grouped[1, 3] = grouped[1, 6] = grouped[1, 10] = grouped[1].max()
    grouped[2] = 7
    bias = [0, 1 << 28, -(1 << 29), 1, 77, -(1 << 43), 1 << 28, 5, 0, -(1 << 27), 1 << 20, 3]
    for groups, used in (((4, 2), 3), ((3, 1), 4), ((2, 2), 5), ((6, 5), 9)):
        choice = {"scores": _list(grouped), "used": used, "factor": "5/2", "groups": list(groups)}
        yield _case("choose_experts", weights="softmax", **choice)
        yield _case("choose_experts", weights="sigmoid of chosen", bias=bias, **choice)
    scales = [1 << 24, 0, -(3 << 22), 5, (64 << 24) - 1, 1 << 23, 1 << 20, 7, 1 << 24, 1 << 25, -(1 << 25), 1 << 10]
    for kind in ("softmax", "softmax of chosen"):
        for more in ({"bias": bias}, {"scales": scales}, {"bias": bias, "scales": scales, "groups": [4, 2]}):
            yield _case("choose_experts", scores=_list(grouped), used=4, weights=kind, factor="7/2", **more)
    low = [[-LIMIT, -LIMIT, -LIMIT]]
    yield _case("choose_experts", scores=low, used=2, weights="sigmoid of chosen", factor="5/2")
    y = [[0, 1, -1, 3, -3, 1 << 42, (1 << 42) + 5, -(1 << 42) - 5, 1 << 60]] * 4
    yield _case("scaled", y=y, weights=[0, 1, 1 << 18, (1 << 20) - 1])


def _convolution() -> Iterator[Case]:
    x = [[LIMIT, -LIMIT, 65536, 1], [7, -7, 0, 65535], [0, 0, 0, 0], [-LIMIT, 3 << 16, -5, 1 << 20]]
    gates = [[LIMIT, LIMIT, 32768, 32768], [65536, 65536, 65536, 65536], [1, 2, 3, 4], [-98304, 9, LIMIT, -1]]
    yield _case("convolution_rows", gate_=gates, x=x)
    rows = _integers("convolution", (3, 6), 31)
    yield _case("convolution_rows", gate_=_list(rows), x=_list(rows[::-1]))
    for taps, rows_, bits in ((3, 3, 15), (3, 1, 9), (4, 4, 15), (1, 1, 12), (2, 2, 15)):
        codes = _list(_integers(f"codes {taps}", (rows_, 5), bits))
        for size, exponents in ((1.0, [0, 3, 16, 1]), (70.0, [16] * 4)):
            weights = [_bits(row) for row in random_floats(f"taps {taps}", (5, taps), size)]
            gate_ = [LIMIT, -LIMIT, 65536, -1, 0]
            yield _case("convolve", codes=codes, exponents=exponents[:rows_], taps=weights, gate_=gate_)


def _gather() -> Iterator[Case]:
    rows = [[LIMIT, -LIMIT, 0, 7], [1, 2, 3, 4]]
    yield _case("gather", x=rows, index=[0, 1, 2, 3, 0, 1, 2, 3])
    yield _case("gather", x=rows, index=[3, -1, 3, 0, -1])
    yield _case("gather", x=[[1 << 49, -(1 << 49)]], index=[-1, 1, 0, 1])
    of_heads = {"heads": 2, "width": 2, "target_step": 3}
    yield _case("scatter", x=rows, target_width=7, source_step=2, source_start=0, target_start=1, **of_heads)
    kept = [[9, 8, 7, 6, 5, 4], [-1, -2, -3, -4, -5, -LIMIT]]
    yield _case("scatter", x=rows, target_width=6, source_step=0, source_start=2, target_start=0, kept=kept, **of_heads)


def _embedding() -> Iterator[Case]:
    for kind, columns in (("Q8_0", 32), ("Q4_1", 32), ("Q6_K", 256)):
        data = _data("embed" + kind, kind, (3, columns), 0.05)
        for scale in ("1", str(Fraction(27171461767, 1 << 30))):
            yield _case("embed", kind=kind, data=data, shape=[3, columns], tokens=[2, 0], scale=scale)


def _draws() -> Iterator[Case]:
    yield _case("philox4x32", counter=[0] * 4, key=[0] * 2)
    yield _case("philox4x32", counter=[0xFFFFFFFF] * 4, key=[0xFFFFFFFF] * 2)
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    yield _case("philox4x32", counter=pi[:4], key=pi[4:])
    for seed, branch in ((7, ["abc", 0]), (0, []), (-1, ["é", "a|b", 12]), ((1 << 64) - 1, ["", 3])):
        yield _case("branch_key", seed=seed, branch=branch)
    key = sampling.branch_key(7, ("abc", 0))
    for position in (0, 1, 1 << 32, (1 << 40) + 5):
        yield _case("uniform64", key=key, position=position)
    logits = _row("logits", (60,), 150000.0)
    logits[7] = logits[9] = logits.max()
    extreme = [LIMIT, -LIMIT, 0, LIMIT - 3]
    yield _case("log_probability", logits=_list(logits), tokens=[0, 7, 9, 59])
    yield _case("log_probability", logits=extreme, tokens=[0, 1, 2, 3])
    settings = [(1.0, 0, 1.0, 0.0), (0.8, 0, 0.95, 0.0), (0.7, 12, 0.9, 0.02), (0.000001, 3, 1.0, 0.0)]
    for temperature, top_k, top_p, min_p in [*settings, (1000.0, 0, 0.5, 1.0), (0.0, 0, 1.0, 0.0)]:
        p = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
        yield _case("sampling", **p)
        if temperature:
            yield _case("sampling_weights", logits=_list(logits), **p)
        yield _case("draw", logits=_list(logits), key=key, positions=list(range(12)), **p)
    for top_p, typical in ((1.0, 0.9), (1.0, 0.2), (0.95, 0.5)):
        p = {"temperature": 1.5, "top_k": 0, "top_p": top_p, "min_p": 0.001, "typical": typical}
        yield _case("sampling", **p)
        yield _case("sampling_weights", logits=_list(logits), **p)
    edits = {
        "biased": [3, 7, 0],
        "bias": [65536 * 100, -6553600, 12345],
        "repetition": 1_300_000,
        "repeated": [0, 1, 2, 9, 17],
        "presence": 500_000,
        "frequency": -123_456,
        "drawn": [9, 17],
        "counts": [3, 1],
        "forbidden": [3],
    }
    yield _case("edit", logits=_list(logits), edits=edits)
    yield _case("edit", logits=extreme, edits=edits | {"biased": [3, 0], "bias": [5, 5], "repeated": [0, 1, 2]} | {
        "drawn": [3, 1], "presence": 2_000_000, "frequency": 2_000_000,
    })  # fmt: skip
    for temperature in (0.0, 1.5):
        p = {"temperature": temperature, "top_k": 0, "top_p": 0.9, "min_p": 0.0}
        for mask in ([0xFFFFFFFF] * 2, [0x12345678, 0x0FEDCBA9], [8, 0]):
            yield _case("edited_draw", logits=_list(logits), edits=edits, mask=mask, key=key, positions=[0, 1, 2], **p)


def _scan() -> Iterator[Case]:
    yield _case("softplus", x=[0, 1, -1, 65536, -65536, -400000, -1000000, -2000000, 4194304, LIMIT, -LIMIT])
    for taps, size in ((4, 20), (3, 28), (1, 18)):
        weights = _list(_integers(f"scan taps {taps}", (5, taps), size))
        bias, codes = _list(_integers(f"scan bias {taps}", (5,), 18)), _integers(f"scan {taps}", (taps, 5), 15)
        for exponents in ([0] * taps, [16, 0, 3, 1][:taps]):
            yield _case("convolved", codes=_list(codes), exponents=exponents, taps=weights, bias=bias)
    shape = [2, 3, 1, 4]
    for size in (17, 31):
        mixed, steps = _list(_integers(f"scan {size}", (64, 14), size)), _list(_integers(f"steps {size}", (64, 2), 18))
        yield _case("scan_rows", mixed=mixed[:3], steps=steps[:3], step_bias=[-200000, 1 << 18], shape=shape)
        given = {"steps": steps, "rate": [300, 3 << 20], "skip": [65536, -(1 << 29)], "shape": shape}
        state = {
            "mantissa": _list(_integers(f"scan state {size}", (2, 3, 4), 31)),
            "exponent": [-22, size - 20],
        }
        for count in (1, 17, 64):
            yield _case("scan_block", mixed=mixed[:count], **given | {"steps": steps[:count]})
            yield _case("scan_block", mixed=mixed[:count], **given | {"steps": steps[:count]}, state=state)


def _delta() -> Iterator[Case]:
    for tiled in (False, True):
        shape = [4, 3, 2, 4, tiled]
        for size in (17, 31):
            mixed = _list(_integers(f"delta {size}", (64, 28), size))
            steps, beta = (_list(_integers(f"delta {name} {size}", (64, 4), 18)) for name in ("steps", "beta"))
            if not tiled:
                yield _case(
                    "delta_rows", mixed=mixed[:3], steps=steps[:3], step_bias=[-200000, 1 << 18, 0, 5], shape=shape
                )
            state = _list(_integers(f"delta state {size}", (4, 4, 3), size))
            for count in (1, 17, 64):
                rows = {"mixed": mixed[:count], "steps": steps[:count], "beta": beta[:count]}
                yield _case("delta_block", **rows, rate=[300, 3 << 20, 0, 1 << 18], shape=shape, state=state)


def _selective() -> Iterator[Case]:
    for size in (3, 17, 31):
        x, steps = (
            _list(_integers(f"selective {name} {size}", (5, 6), bits)) for name, bits in (("x", size), ("s", 18))
        )
        b, c = (_list(_integers(f"selective {name} {size}", (5, 4), size)) for name in ("b", "c"))
        rate = _list(np.abs(_integers(f"selective rate {size}", (6, 4), 22)))
        given: Case = {"x": x, "b": b, "c": c, "steps": steps, "rate": rate}
        given["skip"] = [1 << 16, 0, -(3 << 15), 7, 1 << 29, -1]
        yield _case("selective_positions", **given)
        state = _list(_integers(f"selective state {size}", (6, 4), 31))
        yield _case("selective_positions", **given, state=state, exponent=[-22, size - 20, -60, 3, -31, 0])


def _recurrence() -> Iterator[Case]:
    for size in (3, 17, 31):
        x, forget = (
            _list(_integers(f"recurrence {name} {size}", (5, 6), bits)) for name, bits in (("x", size), ("f", 20))
        )
        given: Case = {"x": x, "forget": forget, "room": [1 << 30, 0, 1, 1 << 29, (1 << 30) - 1, 3 << 20]}
        yield _case("recurrence_positions", **given)
        yield _case(
            "recurrence_positions", **given, state=_list(_integers(f"recurrence state {size}", (6,), 16 + size))
        )


def _trapezoidal() -> Iterator[Case]:
    shape = trapezoidal.TrapezoidalShape(4, 3, 2, 6, 2)
    for size in (3, 17, 31):
        widths = {"x": shape.inner, "b": shape.columns, "c": shape.columns, "controls": shape.controls}
        bits = dict.fromkeys(widths, size) | {"controls": 18}
        rows = {name: _list(_integers(f"trapezoidal {name} {size}", (5, n), bits[name])) for name, n in widths.items()}
        biases = {
            "step_bias": [-200000, 1 << 18, 0, 5],
            "b_bias": _list(_integers(f"trapezoidal b bias {size}", (4, 6), 17)),
            "c_bias": _list(_integers(f"trapezoidal c bias {size}", (4, 6), 17)),
            "skip": [1 << 16, 0, -(3 << 15), 1 << 29],
        }
        given: Case = {"rows": rows, "shape": list(shape), "biases": biases, "slowest": 1e-4}
        yield _case("trapezoidal_positions", **given)
        state = {
            "mantissa": _list(_integers(f"trapezoidal state {size}", (4, 3, 6), 31)),
            "exponent": [[-22, size - 20, -60], [3, -31, 0], [0, 1, 2], [-5, -5, -5]],
            "angle": _list(np.abs(_integers(f"trapezoidal angle {size}", (4, 2), 32))),
        }
        yield _case("trapezoidal_positions", **given, state=state)


def _multiply() -> Iterator[Case]:
    x = [0, 1, -1, 3, -3, 1 << 23, -(1 << 23), 1 << 24, (1 << 46) - 1, 1 << 46, (1 << 46) + 9, -(1 << 46) - 9, 1 << 61]
    for number in ("1", "1/3", "-7/5", "0", "1/33554432", "1023/16"):
        for wide in (True, False):
            yield _case("multiply", x=x + _list(_integers(f"multiply {number}", (20,), 45)), number=number, wide=wide)


FILES: dict[str, Callable[[], Iterator[Case]]] = {
    "fixed": _fixed,
    "functions": _functions,
    **{f"weights_{kind.lower()}": lambda kind=kind: _blocks(kind) for kind in BLOCK_FORMATS},
    "weights_floats": _floats,
    "activations": _activations,
    "matmul": _matmul,
    "norm": _norm,
    "rotary": _rotary,
    "attention": _attention,
    "kv_codecs": _kv_codecs,
    "gate": _gate,
    "experts": _experts,
    "multiply": _multiply,
    "convolution": _convolution,
    "scan": _scan,
    "delta": _delta,
    "selective": _selective,
    "recurrence": _recurrence,
    "trapezoidal": _trapezoidal,
    "gather": _gather,
    "embed": _embedding,
    "sampling": _draws,
}


def answer(case: Case) -> Any:
    """What the reference computes for a case."""
    return OPERATIONS[case["operation"]](**case["input"])


def text(name: str) -> str:
    """A file's contents: one case a line."""
    lines = [json.dumps(case | {"output": answer(case)}, ensure_ascii=False) for case in FILES[name]()]
    return '{"numerics": "%s", "cases": [\n%s\n]}\n' % (VERSION, ",\n".join(lines))  # noqa: UP031


def main() -> None:
    stale = [
        name for name in FILES if (path := FOLDER / f"{name}.json").is_file() is False or path.read_text() != text(name)
    ]
    if "--check" in sys.argv[1:]:
        sys.exit(f"differs from what the reference computes: {', '.join(stale)}" if stale else 0)
    for name in stale:
        (FOLDER / f"{name}.json").write_text(text(name))
    print(f"wrote {', '.join(stale) or 'nothing: all files are as they should be'}")


if __name__ == "__main__":
    main()
