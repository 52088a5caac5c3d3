"""Join dispatches that one shader can run: a step has fewer of them, with the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from intact.executors.gpu.plan import Dispatch


def fuse(dispatches: Sequence[Dispatch]) -> list[Dispatch]:
    """Return dispatches that compute the same, as few as there are shaders for."""
    return list(_with_rotations(list(_with_codes(dispatches))))


def _with_codes(dispatches: Sequence[Dispatch]) -> Iterator[Dispatch]:
    """Join a norm of whole rows, or a gate, with the quantisation of its result."""
    held: Dispatch | None = None
    for one in dispatches:
        if held is not None and one.shader == "quantize" and _writes(held) == one.numbers["quantize"]["source"]:
            yield Dispatch(f"{held.shader}_quantize", {**held.numbers, **one.numbers}, first_op=held.op, op=one.op)
            held = None
            continue
        if held is not None:
            yield held
        held = one if one.shader in ("norm", "gate") and one.across == 1 else None
        if held is None:
            yield one
    if held is not None:
        yield held


def _writes(one: Dispatch) -> int:
    return int(one.numbers[one.shader]["place"])


def _with_rotations(dispatches: Sequence[Dispatch]) -> Iterator[Dispatch]:
    """Join the rotations of a query and of a key with the keeping of that key."""
    at = 0
    while at < len(dispatches):
        joined = _rotated_keep(dispatches[at : at + 3])
        if joined is None:
            yield dispatches[at]
            at += 1
        else:
            yield joined
            at += 3


def _rotated_keep(three: Sequence[Dispatch]) -> Dispatch | None:
    if [one.shader for one in three] != ["rotate", "rotate", "keep"]:
        return None
    query, key, keep = three
    if key.numbers["rotate"]["buffer"] != keep.numbers["keep"]["key"]:
        query, key = key, query
    if key.numbers["rotate"]["buffer"] != keep.numbers["keep"]["key"]:
        return None
    numbers = {"query": query.numbers["rotate"], "key": key.numbers["rotate"], **keep.numbers}
    across = query.across + keep.across
    return Dispatch("rotate_keep", numbers, across, buffers=keep.buffers, first_op=three[0].op, op=keep.op)
