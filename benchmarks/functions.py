"""Compare the errors of the integer functions with those of their predecessors: a table of study/numerics_costs.md.

I-BERT (Kim et al. 2021, arXiv 2101.01321): i-exp and i-GELU, polynomials of degree 2. I-ViT (Li and Gu 2023, arXiv
2207.01405): Shiftmax and ShiftGELU, shifts and straight lines. Both are implemented as in their papers, on inputs with
a scale S: 2^-16, which intact uses, and 2^-4, about the resolution of eight bits for activations up to 8.

    python benchmarks/functions.py
"""

from __future__ import annotations

import math

import numpy as np

from intact.measure.conformance.synthetic import random_floats
from intact.numerics.fixed import bitlen, rshift
from intact.numerics.functions import LOG2E, exp2_neg, inverse_sqrt, sigmoid
from intact.numerics.gate import gelu

Ints = np.ndarray
SCALES = (16, 4)  # S = 2^-16 and 2^-4


def ours_exp(q: Ints, bits: int) -> np.ndarray:
    return exp2_neg(rshift((-q << 16 - bits) * LOG2E, 30)) / 2**30


def ibert_exp(q: Ints, bits: int) -> np.ndarray:
    """Compute i-exp of I-BERT, algorithm 3: exp(p) = 0.3585 (p + 1.353)^2 + 0.344 for p in (-ln 2, 0]."""
    scale = 2.0**-bits
    q_ln2 = math.floor(math.log(2) / scale)
    z = -q // q_ln2
    p = q + z * q_ln2
    a, b, c = 0.3585, 1.353, 0.344
    q_b, q_c = math.floor(b / scale), math.floor(c / (a * scale**2))
    return ((p + q_b) ** 2 + q_c >> np.minimum(z, 62)) * (a * scale**2)


def ivit_exp(q: Ints, bits: int) -> tuple[Ints, float]:
    """Compute ShiftExp of I-ViT, algorithm 1: integers and their scale."""
    n = 15
    p = q + (q >> 1) - (q >> 4)
    one = round(2.0**bits)
    whole = -p // one
    rest = -(p + whole * one)
    exp = ((-rest) >> 1) + one
    return exp << (n - np.minimum(whole, n)) if bits < 16 else (exp << n) >> np.minimum(whole, 62), 2.0 ** -(bits + n)


def ivit_softmax(q: Ints, bits: int) -> np.ndarray:
    """Compute Shiftmax of I-ViT, algorithm 1, with results of 16 bits instead of 8, to show the method's own error."""
    exp, _ = ivit_exp(q - q.max(axis=-1, keepdims=True), bits)
    return _ivit_divide(exp, exp.sum(axis=-1, keepdims=True))


def _ivit_divide(part: Ints, whole: Ints, k: int = 16) -> np.ndarray:
    m = 61 - int(part.max()).bit_length() + int(whole.min()).bit_length()  # the most bits that int64 holds
    return (((1 << min(m, 62)) // whole) * part >> (min(m, 62) - (k - 1))) / 2.0 ** (k - 1)


def ibert_softmax(q: Ints, bits: int) -> np.ndarray:
    exp = ibert_exp(q - q.max(axis=-1, keepdims=True), bits)
    return exp / exp.sum(axis=-1, keepdims=True)


def ours_softmax(q: Ints, bits: int) -> np.ndarray:
    exp = ours_exp(q - q.max(axis=-1, keepdims=True), bits)
    return exp / exp.sum(axis=-1, keepdims=True)


def ours_attention(q: Ints, bits: int) -> np.ndarray:
    """Compute the softmax with the 12-bit weights that multiply values in attention (values with equal scales)."""
    e = np.floor(ours_exp(q - q.max(axis=-1, keepdims=True), bits) * 2**30 + 0.5).astype(np.int64)
    weight = np.minimum(rshift(e, bitlen(e.max(axis=-1, keepdims=True)) - 12), 4095)
    return weight * 2.0**19 / e.sum(axis=-1, keepdims=True)


def ibert_gelu(q: Ints, bits: int) -> np.ndarray:
    """Compute i-GELU of I-BERT, algorithm 2: erf(x) = sgn(x) (-0.2888 (min(|x|, 1.769) - 1.769)^2 + 1)."""
    a, b = -0.2888, -1.769
    inner = 2.0**-bits / math.sqrt(2)
    q_b, q_c = math.floor(b / inner), math.floor(1 / (a * inner**2))
    erf = np.sign(q) * ((np.minimum(np.abs(q), -q_b) + q_b) ** 2 + q_c)
    scale = a * inner**2
    return q * (erf + math.floor(1 / scale)) * (2.0**-bits * scale / 2)


def ivit_gelu(q: Ints, bits: int) -> np.ndarray:
    """Compute ShiftGELU of I-ViT, algorithm 2: x times the sigmoid of 1.6875 x, which has 16 bits."""
    p = q + (q >> 1) + (q >> 3) + (q >> 4)
    most = np.maximum(p, 0)
    exp, _ = ivit_exp(p - most, bits)
    other, _ = ivit_exp(-most, bits)
    return np.array([x * _ivit_divide(a, a + b) for x, a, b in zip(q, exp, other, strict=True)]) * 2.0**-bits


def ivit_layer_norm(q: Ints) -> np.ndarray:
    """Compute I-LayerNorm of I-ViT, section 3.4, as in its program: integer means, ten steps from 2^16 for the root."""
    n = q.shape[-1]
    centred = q - np.floor(q.mean(axis=-1, keepdims=True) + 0.5).astype(np.int64)
    squares = (centred**2).sum(axis=-1, keepdims=True)
    root = np.full_like(squares, 1 << 16)
    for _ in range(10):
        root = (root + squares // root) >> 1
    return (centred * (((1 << 31) - 1) // root) >> 1) * (math.sqrt(n) / 2**30)


def ours_gelu(q: Ints, bits: int) -> np.ndarray:
    return gelu(q << 16 - bits) / 2**16


def _largest(error: np.ndarray) -> float:
    return float(np.abs(error).max())


def _relative(got: np.ndarray, exact: np.ndarray) -> float:
    return float(np.abs(got / exact - 1).max())


def _variation(p: np.ndarray, q: np.ndarray) -> float:
    """Return half the sum of absolute differences, averaged over rows."""
    return float(np.abs(p - q).sum(axis=-1).mean() / 2)


def _show(x: float) -> str:
    return f"{x:.1e}"


def main() -> None:
    rows: list[tuple[str, ...]] = []
    for bits in SCALES:
        q = -np.arange(0, 8 << bits, 1 if bits < 16 else 7, dtype=np.int64)
        exact = np.exp(q / 2.0**bits)
        ints, scale = ivit_exp(q, bits)
        got = (ours_exp(q, bits), ibert_exp(q, bits), ints * scale)
        rows.append(
            (f"exp(x), -8 < x <= 0, S = 2^-{bits}: largest relative error", *(_show(_relative(g, exact)) for g in got))
        )
    scores = random_floats("scores", (400, 64), 3.0).astype(np.float64)
    for bits in SCALES:
        q = np.floor(scores * 2**bits + 0.5).astype(np.int64)
        p = np.exp(q / 2.0**bits - (q / 2.0**bits).max(axis=-1, keepdims=True))
        p /= p.sum(axis=-1, keepdims=True)
        got = (ours_softmax(q, bits), ibert_softmax(q, bits), ivit_softmax(q, bits))
        rows.append((f"softmax of 64 scores, S = 2^-{bits}: largest error", *(_show(_largest(g - p)) for g in got)))
        rows.append(("the same: total variation, mean", *(_show(_variation(p, g)) for g in got)))
        if bits == SCALES[0]:
            twelve = ours_attention(q, bits)
            own = f"{_show(_largest(twelve - p))}, {_show(_variation(p, twelve))}"
            rows.append(("with the 12-bit weights of attention: both", own, "", ""))
    for bits in SCALES:
        q = np.arange(-(8 << bits), 8 << bits, 1 if bits < 16 else 13, dtype=np.int64)
        x = q / 2.0**bits
        tanh_form = x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        erf_form = x / 2 * (1 + np.array([math.erf(v) for v in x / math.sqrt(2)]))
        errors = (ours_gelu(q, bits) - tanh_form, ibert_gelu(q, bits) - erf_form, ivit_gelu(q, bits) - erf_form)
        rows.append((f"GELU, S = 2^-{bits}: largest error", *(_show(_largest(e)) for e in errors)))
    t = np.arange(1 << 16)
    rows.append(
        (
            "2^-t, all 65,536 fractions: largest relative error",
            _show(_relative(exp2_neg(t) / 2**30, 2.0 ** (-t / 2**16))),
            "",
            "",
        )
    )
    x = np.arange(-(16 << 16), 16 << 16, 5)
    rows.append(
        (
            "sigmoid: largest error",
            _show(float(np.abs(sigmoid(x) / 2**30 - 1 / (1 + np.exp(-x / 2**16))).max())),
            "",
            "",
        )
    )
    v = [int(n) for n in np.unique(np.exp2(np.arange(0, 62, 0.003)).astype(np.int64))]
    worst = max(abs(math.ldexp(r, p - 61) * math.sqrt(n) - 1) for n in v for r, p in [inverse_sqrt(n)])
    rows.append(("1 / sqrt(v): largest relative error", _show(worst), "", ""))
    print("| function | ours | I-BERT | I-ViT |\n|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
