"""The independent verifier computes the known answers of conformance/: docs/spec/numerics.md, read a second time."""

import json
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.independent import v

FILES = Path(__file__).parent.parent.parent / "conformance"


def rows(x: Any) -> Any:
    return np.array(x, np.int64)


def plain(x: Any) -> Any:
    """A result as JSON has it."""
    if isinstance(x, dict):
        return {name: plain(part) for name, part in x.items()}
    if isinstance(x, tuple | list):
        return [plain(part) for part in x]
    return x.tolist() if isinstance(x, np.ndarray | np.generic) else x


def float32(x: list[int], *shape: int) -> Any:
    return np.array(x, np.uint32).view(np.float32).astype(np.float64).reshape(shape)


def weight(kind: str, data: str, shape: list[int]) -> Any:
    return v.matrix(kind, v.Tensor(kind, tuple(shape), memoryview(bytes.fromhex(data))))


def described(w: Any, zero: int) -> dict[str, Any]:
    """A matrix as the files have it."""
    codes = (w.codes.reshape(len(w.codes), -1) + zero).astype(np.uint8).tobytes().hex()
    parts = {name: plain(part) for name, part in w._asdict().items() if part is not None and name != "r"}
    return {**parts, "codes": codes, "zero": zero, "shift": w.r}


def activations(x: list[list[int]], fraction: int) -> dict[str, Any]:
    a = v.quantized(rows(x), fraction)
    return {"codes": a.a.reshape(len(x), -1), "scale": a.A, "exponent": a.X}


def cached(x: list[list[int]], kind: Any) -> dict[str, Any]:
    codes, scale = v.cached(rows(x)[:, None], kind)
    return {"codes": codes[:, 0], "scale": scale[:, 0]}


def coded(x: list[list[int]], bits: int, unit: int) -> dict[str, Any]:
    rotated = v.turned(rows(x)[:, None], up=True)
    codes, scale = v.coded(*v.cached(rotated, v.KEY if unit == v.KEY.u else v.VALUE), bits, unit)
    found = {"rotated": rotated, "codes": codes, "scale": scale, "read": v.read(codes, bits, unit)}
    return {name: part[:, 0] for name, part in found.items()}


def sampling(temperature: float, top_k: int, top_p: float, min_p: float, typical: float = 1.0) -> Any:
    return v.Sampling(v.rational(temperature), top_k, *(v.rational(x) for x in (top_p, min_p, typical)))


OPERATIONS: dict[str, Callable[..., Any]] = {
    "bitlen": lambda x: v.bitlen(rows(x)),
    "rshift": lambda x, s: v.rshift(rows(x), s),
    "shift": lambda x, s: v.shift(rows(x), s),
    "exp2_neg": lambda t: v.exp2neg(rows(t)),
    "sigmoid": lambda x: v.sigmoid(rows(x)),
    "inverse_sqrt": lambda **x: [v.inverse_sqrt(n) for n in x["v"]],
    "log2": lambda **x: [v.log2(n) for n in x["v"]],
    "weight_of_blocks": lambda kind, data, shape: described(weight(kind, data, shape), v.BLOCKS[kind].zero),
    "weight_of_floats": lambda x, shape, bits: described(v.matrix_of_floats(float32(x, *shape)), 128),
    "quantize": activations,
    "keys": lambda x: cached(x, v.KEY),
    "values": lambda x: cached(x, v.VALUE),
    "coded": coded,
    "rotate_query": lambda x: v.turned(rows(x)[:, None])[:, 0],
    "matmul": lambda x, fraction, kind, data, shape, result_fraction: v.product(
        v.quantized(rows(x), fraction), weight(kind, data, shape), result_fraction
    ),
    "gain": lambda gain, eps: v.norm(float32(gain, -1), Fraction(eps))._asdict(),
    "turns": lambda base, dimension, scaling: v.turns(v.rational(base), dimension, scaling),
    "sine_cosine": lambda positions, turns: dict(
        zip(("sine", "cosine"), v.sine_cosine(rows(positions), turns), strict=True)
    ),
    "rotate": lambda x, positions, turns, interleaved: v.rotated(rows(x), *v.sine_cosine(rows(positions), turns)),
    "gate": lambda kind, gate_, up: v.silu_gate(rows(gate_), rows(up)),
    "branch_key": v.branch_key,
    "uniform64": v.uniform64,
    "log_probability": lambda logits, tokens: [v.log_probability(rows(logits), token) for token in tokens],
    "draw": lambda logits, key, positions, **p: [
        v.drawn(rows(logits), sampling(**p), v.uniform64(key, n)) for n in positions
    ],
}


NOT_HERE = {
    "gate": lambda kind, **_: kind != "silu",
    "matmul": lambda kind, **_: kind not in v.BLOCKS,
    "rotate": lambda interleaved, **_: not interleaved,
    "weight_of_blocks": lambda kind, **_: kind not in v.BLOCKS,
    "weight_of_floats": lambda bits, **_: bits != 8,
}
"""Inputs that the program refuses before it comes so far."""


def cases() -> Iterator[Any]:
    for path in sorted(FILES.glob("*.json")):
        for i, case in enumerate(json.loads(path.read_text())["cases"]):
            operation, given = case["operation"], case["input"]
            if operation in OPERATIONS and not NOT_HERE.get(operation, lambda **_: False)(**given):
                yield pytest.param(operation, given, case["output"], id=f"{path.stem}-{i}-{operation}")


@pytest.mark.parametrize(("operation", "given", "wanted"), list(cases()))
def test_a_known_answer(operation: str, given: dict[str, Any], wanted: Any) -> None:
    got = plain(OPERATIONS[operation](**given))
    if isinstance(wanted, dict):
        got = {name: got[name] for name in wanted}
    assert got == wanted


def test_every_operation_has_a_case_and_the_page_lists_them() -> None:
    assert {case.values[0] for case in cases()} == OPERATIONS.keys()
    page = (FILES.parent / "docs" / "spec" / "numerics.md").read_text()
    listed = page.partition("Of the operations in `conformance/` it computes ")[2].partition(", as far as")[0]
    assert re.findall(r"`(\w+)`", listed) == sorted(OPERATIONS)
