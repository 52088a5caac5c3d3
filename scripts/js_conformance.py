#!/usr/bin/env python3
"""Write the conformance set as calls with their arguments, for engines without Python: js/dist/conformance.bin.

    scripts/js_conformance.py [--out js/dist/conformance.bin]

The set comes from `intact.measure.conformance`: each single operation, product and program, recorded while the native
kernels compute it, with the digest of the results. `js/src/conformance.js` makes the same calls in WebAssembly.

File format: the length of a JSON text in four bytes, little-endian; the text; the arrays, starting at the next multiple
of 64 bytes. An array argument is written as {"array": [type, offset, length]}; equal arrays are stored once. A group of
cases is named after a digest of docs/spec/contract.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from intact import _native
from intact.executors import native, packing
from intact.executors.native import NativeExecutor, available_tiers
from intact.measure.conformance import EXPECTED, digests, make_executor
from intact.measure.conformance.kernels import Ints, NativeKernels, Source, layout_results, results
from intact.measure.conformance.synthetic import Case, cases
from intact.numerics import VERSION, attention
from intact.numerics.gate import GATES, Activation
from intact.numerics.integers import INTEGER, from_bytes
from intact.numerics.norm import Gain
from intact.numerics.sampling import branch_key
from intact.numerics.weights import BlockWeight

ROOT = Path(__file__).resolve().parent.parent
ALIGNMENT = 64


class Arrays:
    """The distinct arrays of a file."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._known: dict[tuple[str, bytes], int] = {}

    def add(self, array: Any) -> dict[str, Any] | None:
        """Add an array and return its reference for the JSON text. None stays None."""
        if array is None:
            return None
        array = np.ascontiguousarray(array)
        kind, content = array.dtype.name, array.tobytes()
        key = kind, hashlib.sha256(content).digest()
        if key not in self._known:
            self.data += bytes(-len(self.data) % ALIGNMENT)
            self._known[key] = len(self.data)
            self.data += content
        return {"array": [kind, self._known[key], array.size]}


class RecordedKernels(NativeKernels):
    """Kernels that record their calls."""

    def __init__(self, tier: str, arrays: Arrays) -> None:
        super().__init__(tier)
        self._arrays, self._calls = arrays, list[dict[str, Any]]()

    def take(self) -> list[dict[str, Any]]:
        """Return the calls since the last time."""
        calls, self._calls = self._calls, []
        return calls

    def _note(self, operation: str, **arguments: Any) -> None:
        plain = {k: self._arrays.add(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
        self._calls.append({"operation": operation, **plain})

    def quantize(self, x: Ints, wide: bool) -> list[Ints]:
        self._note("quantize", x=x, rows=len(x), wide=wide)
        return super().quantize(x, wide)

    def matmul(self, x: Ints, weight: Source, bias: Ints) -> list[Ints]:
        made = weight_arguments(self._arrays, weight.kind, weight.data, weight.shape, weight.bits)
        self._note("matmul", x=x, rows=len(x), weight=made, bias=bias)
        return super().matmul(x, weight, bias)

    def norm(self, x: Ints, gain: Gain) -> list[Ints]:
        self._note("norm", x=x, **gain_arguments(gain))
        return super().norm(x, gain)

    def norm_head(self, x: Ints, gain: Gain) -> Ints:
        self._note("norm_head", x=x, **gain_arguments(gain))
        return super().norm_head(x, gain)

    def rotate(self, x: Ints, position: int, turns: NDArray[np.uint64], interleaved: bool) -> list[Ints]:
        self._note("rotate", x=x, position=position, turns=turns, interleaved=interleaved)
        return super().rotate(x, position, turns, interleaved)

    def attend(
        self, query: Ints, scale: attention.Scale, keys: Ints, values: Ints, first: int, sink: int | None = None
    ) -> Ints:
        arguments = {"mantissa": scale.mantissa, "exponent": scale.exponent, "first": first, "sink": sink}
        self._note("attend", query=query, keys=keys, values=values, **arguments)
        return super().attend(query, scale, keys, values, first, sink)

    def gate(self, gate: Ints, up: Ints, kind: Activation) -> Ints:
        self._note("gate", gate=gate, up=up, kind=GATES.index(kind))
        return super().gate(gate, up, kind)

    def weights(self, logits: Ints, slope: int) -> Ints:
        self._note("weights", logits=logits, slope=str(slope))
        return super().weights(logits, slope)

    def log_probability(self, logits: Ints, token: int) -> int:
        self._note("log_probability", logits=logits, token=token)
        return super().log_probability(logits, token)


def gain_arguments(gain: Gain) -> dict[str, Any]:
    """Return a gain's integers by argument name."""
    return {"factor": gain.factor, "exponent": int(gain.exponent), "epsilon": str(gain.epsilon)}


def weight_arguments(arrays: Arrays, kind: str, data: Any, shape: tuple[int, ...], bits: int) -> dict[str, Any]:
    """Return a matrix in the form that a checkpoint stores, or its integers if it is stored as an integer weight."""
    if kind == INTEGER:
        return integer_arguments(arrays, from_bytes(data))
    return {"kind": kind, "rows": shape[0], "columns": shape[1], "bits": bits, "data": arrays.add(data)}


def integer_arguments(arrays: Arrays, w: BlockWeight) -> dict[str, Any]:
    """Return an integer weight's numbers and arrays."""
    numbers = {"rows": len(w.codes), "columns": w.columns, "bits": w.bits, "block": w.block, "zero": w.zero}
    names = ("table", "codes", "scale", "scale_exp", "minimum", "minimum_exp")
    listed = {name: arrays.add(getattr(w, name)) for name in names}
    return {"kind": INTEGER, **numbers, "shift": w.shift, **listed}


class RecordedModel:
    """A native model that records how it is built and the inputs of its steps."""

    def __init__(self, arrays: Arrays, *arguments: Any) -> None:
        self.model = _native.Model(*arguments)
        self._arrays = arrays
        _, _, _, layers, kv_heads, head_width, page_size, _ = arguments
        shape = {"layers": layers, "kv_heads": kv_heads, "head_width": head_width, "page_size": page_size}
        self.record: dict[str, Any] = {
            **shape, "scheme": None, "kv": None, "buffers": [], "weights": [], "gains": [], "biases": [],
            "rotations": [], "ops": [], "pages": 0, "steps": [],
        }  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def set_scheme(self, *numbers: Any) -> None:
        self.record["scheme"] = [int(number) for number in numbers]
        self.model.set_scheme(*numbers)

    def set_kv_bits(self, key: int, value: int) -> None:
        self.record["kv"] = [key, value]
        self.model.set_kv_bits(key, value)

    def add_buffer(self, width: int, wide: bool) -> int:
        self.record["buffers"].append([width, wide])
        return int(self.model.add_buffer(width, wide))

    def add_weight(self, kind: str, data: Any, rows: int, columns: int, bits: int) -> int:
        self.record["weights"].append(weight_arguments(self._arrays, kind, data, (rows, columns), bits))
        return int(self.model.add_weight(kind, data, rows, columns, bits))

    def add_packed(self, packed: RecordedWeight) -> int:
        self.record["weights"].append(integer_arguments(self._arrays, packed.source))
        return int(self.model.add_packed(packed.weight))

    def add_gain(self, factor: Any, exponent: int, epsilon: int, values: Any, float_epsilon: float) -> int:
        noted = {"factor": self._arrays.add(factor), "exponent": int(exponent), "epsilon": str(epsilon)}
        self.record["gains"].append(noted)
        return int(self.model.add_gain(factor, exponent, epsilon, values, float_epsilon))

    def add_bias(self, bias: Any, values: Any) -> int:
        self.record["biases"].append(self._arrays.add(bias))
        return int(self.model.add_bias(bias, values))

    def add_rotation(self, turns: Any, factor: int) -> int:
        self.record["rotations"].append({"turns": self._arrays.add(turns), "factor": str(factor)})
        return int(self.model.add_rotation(turns, factor))

    def add_op(self, op: RecordedOp) -> None:
        self.record["ops"].append(op.arguments(self._arrays))
        self.model.add_op(op.native())

    def reserve_pages(self, count: int) -> None:
        self.record["pages"] = count
        self.model.reserve_pages(count)

    def step(self, tokens: Any, spans: Any, tables: Any, wanted: Any, trees: Any, adapters: Any) -> Any:
        add = self._arrays.add
        chunks = [
            {"position": p, "count": n, "pages": add(t), "adapter": adapter}
            for (p, n), t, adapter in zip(spans, tables, adapters, strict=True)
        ]
        self.record["steps"].append({"tokens": add(tokens), "chunks": chunks, "wanted": add(wanted)})
        return self.model.step(tokens, spans, tables, wanted, trees, adapters)


class RecordedWeight:
    """An integer weight with the arrays from which it was packed."""

    def __init__(self, source: BlockWeight, weight: Any) -> None:
        self.source, self.weight = source, weight


class RecordedOp:
    """An operation whose fields are set one by one, like those of `_native.Op`."""

    fields: dict[str, Any]
    kind: str

    def __init__(self, kind: str) -> None:
        self.__dict__["fields"] = {}
        self.__dict__["kind"] = kind

    def __setattr__(self, name: str, value: Any) -> None:
        self.fields[name] = value

    def native(self) -> Any:
        """Return the native operation."""
        op = _native.Op(self.kind)
        for name, value in self.fields.items():
            setattr(op, name, [_native.Target(*t) for t in value] if name == "targets" else value)
        return op

    def arguments(self, arrays: Arrays) -> dict[str, Any]:
        """Return its fields in the form that the JavaScript side reads, without fields for other profiles."""
        fields = {k: v for k, v in self.fields.items() if not k.startswith("float_")}
        for name in ("index", "norms"):
            if name in fields:
                fields[name] = arrays.add(np.array(fields[name], np.int32))
        if "scale" in fields:
            fields["mantissa"], fields["exponent"] = map(int, fields.pop("scale"))
        if "cap" in fields:
            fields["cap_slope"], fields["cap_limit"] = (str(number) for number in fields.pop("cap"))
        if "routing" in fields:
            fields["used"], fields["weights"], factor, _, fields["groups"], fields["groups_used"] = fields.pop(
                "routing"
            )
            fields["factor"] = str(factor)
        if "scan" in fields:
            sizes, numbers = ("heads", "width", "groups", "states", "taps"), ("scan_bias", "step_bias", "rate", "skip")
            own = ("angles", "b_bias", "c_bias", "slowest")
            names = (*sizes, *numbers, "delta", "tiled", "selective", *own)
            fields |= dict(zip(names, fields.pop("scan"), strict=True))
        if "multiplier" in fields:
            fields["multiplier"] = str(fields["multiplier"])
        return {"kind": self.kind, **fields}


class RecordedNative:
    """The extension, with models and weights that record how they are made."""

    Op = RecordedOp

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def __getattr__(self, name: str) -> Any:
        return getattr(_native, name)

    def Model(self, *arguments: Any) -> RecordedModel:  # noqa: N802
        return RecordedModel(self._arrays, *arguments)

    def Target(self, *fields: Any) -> tuple[Any, ...]:  # noqa: N802
        return fields

    def pack_integers(self, codes: Any, columns: int, bits: int, block: int, zero: int, shift: int, *rest: Any) -> Any:
        table, scale, scale_exp, minimum, minimum_exp, threads = rest
        source = BlockWeight(codes, bits, block, zero, shift, table, scale, scale_exp, minimum, minimum_exp, columns)
        packed = _native.pack_integers(
            codes, columns, bits, block, zero, shift, table, scale, scale_exp, minimum, minimum_exp, threads
        )
        return RecordedWeight(source, packed)


def record_kernels(run: Any, arrays: Arrays) -> Iterator[dict[str, Any]]:
    """Yield the cases of single operations: `run` is `results` or `layout_results`."""
    kernels = RecordedKernels(available_tiers()[0], arrays)
    for name, found in run(kernels):
        yield {"name": name, "calls": kernels.take(), "digest": digests._digest_of(found)}


def record_program(case: Case, profile: str, arrays: Arrays) -> tuple[dict[str, Any], NativeExecutor]:
    """Return a program with its steps, and the executor that ran them."""
    made: list[NativeExecutor] = []

    def make(program: Any, bits: int) -> NativeExecutor:
        recorded = RecordedNative(arrays)
        with mock.patch.object(native, "_native", recorded), mock.patch.object(packing, "_native", recorded):
            made.append(make_executor("native", profile=profile)(program, bits))  # type: ignore[arg-type]
        return made[0]

    digest = digests._logits(case, make)
    return {"program": made[0]._model.record, "digest": digest}, made[0]


def record_draws(executor: NativeExecutor, arrays: Arrays) -> dict[str, Any]:
    """Return the draws of the operations digest."""
    logits = digests._synthetic_logits()
    draws = [
        [row, [str(number) for number in sampling], str(branch_key(i, ("draw", row))), str(position)]
        for i, sampling in enumerate(digests._SAMPLINGS)
        for position in (0, 1, 77, 1 << 33)
        for row in range(len(logits))
    ]
    size = {"logits": arrays.add(logits), "rows": len(logits)}
    return {"name": "draws", "draws": {**size, "list": draws}, "digest": digests._digest_of(digests._draws(executor))}


def record() -> tuple[dict[str, Any], bytes]:
    """Return the whole set: its description, and the bytes of its arrays.

    Raises
    ------
    SystemExit
        If this machine's digests differ from those of this numerics version.
    """
    arrays = Arrays()
    operations, plain = list(record_kernels(results, arrays)), None
    for case in cases():
        recorded, _ = record_program(case, "int8", arrays)
        operations.append({"name": f"program: {case.name}", **recorded})
        plain = make_executor()(case.program, 8)
    assert isinstance(plain, NativeExecutor)
    operations.append(record_draws(plain, arrays))
    found = list(cases())
    profiles = [
        {"name": f"{profile}: {case.name}", **record_program(case, profile, arrays)[0]}
        for profile in digests.PROFILED
        for case in digests.profiled_cases(profile, found)
    ]
    groups = {
        "operations": operations,
        "layouts": list(record_kernels(layout_results, arrays)),
        "profiles": profiles,
    }
    for name, group in groups.items():
        if digests.combined({case["name"]: case["digest"] for case in group}) != EXPECTED[name]:
            raise SystemExit(f"js_conformance: the native kernels of this machine give another digest of {name}")
    description = {"numerics": VERSION, "expected": {name: EXPECTED[name] for name in groups}, "groups": groups}
    return description, bytes(arrays.data)


def write(out: Path) -> None:
    """Write the set to a file."""
    description, data = record()
    text = json.dumps(description, separators=(",", ":")).encode()
    head = len(text).to_bytes(4, "little") + text
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(head + bytes(-len(head) % ALIGNMENT) + data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "js" / "dist" / "conformance.bin", help="file to write")
    options = parser.parse_args()
    write(options.out)
    print(f"js_conformance: wrote {options.out} ({options.out.stat().st_size:,} bytes)", flush=True)


if __name__ == "__main__":
    main()
