"""The architectures that a test has to run: all with GGUF files of their own, or those whose programs have a new part.

Readings and fidelity are compared for every architecture. The contract, which takes seconds a model, is about what an
executor and the engine do with a program: an architecture whose program consists of parts that others have shows
nothing more. So it runs over the fewest architectures that have all parts, which are found here, not listed: one with
a part of its own is among them by itself.
"""

import tempfile
from functools import cache
from itertools import pairwise
from pathlib import Path

from intact.checkpoints.formats import open_checkpoint
from intact.models import ARCHITECTURES, Program, build_program
from intact.models.aspects.op import Op
from intact.models.ops import (
    Attend,
    Convolve,
    ConvolveSilu,
    Embed,
    Experts,
    Gate,
    GatedDelta,
    GatedRecurrence,
    Linear,
    Logits,
    Multiply,
    Norm,
    Rope,
    Scan,
    Scatter,
    SelectiveScan,
    TrapezoidalScan,
)
from support.tiny import write_tiny

STORED = tuple(name for name, one in ARCHITECTURES.items() if one.gguf == name and one.causal)
"""All whose GGUF files are not another's, of models that write texts; encoders have tests of their own."""
WHOLE = ("gemma4",)
"""Those whose layers hand on more than the residual stream, so that no program has some of them alone."""
FIRST = ("llama", "gemma3")
"""Tests name these: they are always among the representatives."""


def kind_of(op: Op, program: Program) -> tuple[object, ...]:
    """What tells operations apart for an executor, but for sizes and names."""
    match op:
        case Embed():
            return "embed", op.scale != 1
        case Norm():
            whole = op.centered, op.bias is None, op.groups > 1
            return "norm", min(op.heads, 2), op.accumulate, op.offset != 0, op.factor != 1, *whole
        case Linear():
            wide = program.buffers[op.source].wide
            return "linear", wide, *((t.accumulate, t.bias is not None) for t in op.targets)
        case Rope():
            return "rope", op.interleaved, op.rotation, 2 * len(program.rotations[op.rotation]) < op.width
        case Attend():
            return "attend", op.window > 0, op.cap > 0, op.sinks is None, op.causal
        case Scatter():
            return "scatter", op.heads > 1, op.source_step > 0, op.keep
        case Multiply():
            return "multiply", program.buffers[op.target].wide, op.source == op.target
        case Convolve():
            return "convolve", op.taps
        case ConvolveSilu():
            return "convolve silu", op.taps, op.bias is None
        case TrapezoidalScan():
            return "trapezoidal scan", op.groups > 1, 2 * op.angles < op.states
        case SelectiveScan():
            return "selective scan", program.layers > 0
        case GatedRecurrence():
            return "recurrence", op.room is None
        case Scan():
            return "scan", op.taps, op.groups > 1, program.layers > 0  # pages of state spaces alone have another form
        case GatedDelta():
            return "delta", op.taps, op.groups < op.heads, op.tiled
        case Gate():
            return "gate", op.kind, op.up is None, op.up == op.gate
        case Experts():
            biased = any(e.gate_bias for e in op.experts)
            gated = all(e.gate != e.up for e in op.experts)
            numbers = op.bias is None, op.scales is None
            shape = len(op.experts) > 1, op.groups > 1, gated
            return "experts", op.kind, op.weights, op.accumulate, biased, *numbers, *shape
        case Logits():
            return "logits", op.cap > 0
    raise AssertionError(f"{op}: say here what tells it from others of its kind")


@cache
def _stored_kinds() -> dict[str, list[tuple[object, ...]]]:
    """The kinds of operations of each stored architecture's programs, in their order."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in STORED:
            with open_checkpoint(write_tiny(Path(folder) / f"{name}.gguf", name)) as checkpoint:
                program = build_program(checkpoint)
            found[name] = [kind_of(op, program) for op in program.ops]
    return found


@cache
def representatives(pairs: bool = False) -> tuple[str, ...]:
    """The fewest architectures, found greedily, that have all kinds of operations, sorted.

    Parameters
    ----------
    pairs : bool
        If true, they also have all pairs of operations that follow each other.
    """
    parts: dict[str, set[object]] = {name: set(kinds) for name, kinds in _stored_kinds().items()}
    if pairs:  # a plan may join operations that follow each other
        parts = {name: {*parts[name], *pairwise(kinds)} for name, kinds in _stored_kinds().items()}
    chosen = list(FIRST)
    while missing := set.union(*parts.values()) - set.union(*(parts[name] for name in chosen)):
        chosen.append(max(parts, key=lambda name: len(parts[name] & missing)))
    return tuple(sorted(chosen))


def divisible() -> tuple[str, ...]:
    """The representatives whose layers are divided, as pipelines and receipts of layers do."""
    return tuple(name for name in representatives() if name not in WHOLE)
