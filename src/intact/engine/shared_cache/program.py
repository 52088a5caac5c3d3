"""Programs whose attention is external: they output keys, values and queries, and take the results as input."""

from __future__ import annotations

from dataclasses import replace

from intact._base.errors import ParameterError
from intact.engine.shared_cache.attention import Attention
from intact.models import Program
from intact.models.aspects.op import Convolution, Op, Recurrent
from intact.models.ops import AllGather, Attend, Embed, Rope
from intact.models.ops.attend import integer_sinks
from intact.numerics.attention import score_scale
from intact.numerics.soft_cap import score_cap


def open_attentions(program: Program) -> tuple[Program, tuple[Attention, ...]]:
    """Replace a program's attention with exchanges, which take keys, values and queries and return the results.

    Keys are rotated by the positions that executors count; queries are not rotated.

    Raises
    ------
    ParameterError
        If blocks of tokens cannot change position in this architecture.
    """
    attends = [op for op in program.ops if isinstance(op, Attend)]
    reason = _obstacle(program, attends)
    if reason:
        raise ParameterError(f"{program.architecture} cannot write into a shared cache: {reason}")
    queries, keys = {op.query for op in attends}, {op.key for op in attends}
    ropes, ops, found = dict[str, Rope](), list[Op](), list[Attention]()
    for op in program.ops:
        if isinstance(op, Rope) and op.buffer in queries:
            ropes[op.buffer] = op
        elif isinstance(op, Attend):
            cap = score_cap(op.cap) if op.cap else None
            sinks = None if op.sinks is None else integer_sinks(program, op.sinks)
            found.append(Attention(op, ropes.pop(op.query, None), score_scale(op.scale), cap, sinks=sinks))
            rows = [AllGather(None, name, (op.kv_heads * op.width,), accumulate=True) for name in (op.key, op.value)]
            ops += [*rows, AllGather(op.query, op.target, (op.heads * op.width,))]
        else:
            if (op.reads() | op.writes()) & ropes.keys() or (isinstance(op, Rope) and op.buffer not in keys):
                detail = "its queries are more than rotated projections"
                raise ParameterError(f"{program.architecture} cannot write into a shared cache: {detail}")
            ops.append(op)
    return replace(program, ops=tuple(ops), layers=0), tuple(found)


def _obstacle(program: Program, attends: list[Attend]) -> str:
    """Return the reason why tokens cannot change position, or ""."""
    if any(isinstance(op, Convolution | Recurrent) for op in program.ops):
        return "its layers keep a state of the whole text, not keys and values of each token"
    if program.is_encoder or not attends:
        return "it is an encoder, which reads texts whole"
    if any(isinstance(op, Embed) and op.positions for op in program.ops):
        return "it adds positions to its embedding"
    if any(op.key == op.value or op.query == op.target for op in attends):
        return "its keys are its values"
    return ""
