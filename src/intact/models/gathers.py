"""Gathers before products, for weights whose columns are not in the order of the model's inputs."""

from __future__ import annotations

from collections.abc import Mapping

from intact._base.errors import ModelError
from intact.checkpoints.formats import Tensor
from intact.models.aspects.op import Op
from intact.models.aspects.tables import Buffer
from intact.models.ops import Gather, Linear
from intact.numerics.integers import INTEGER, read_header, read_inputs


def input_count(tensor: Tensor) -> int:
    """Return the number of inputs that a stored matrix multiplies: its columns, or the number given by its index."""
    inputs = read_header(tensor.data).inputs if tensor.kind == INTEGER else None
    return tensor.shape[1] if inputs is None else inputs


def has_index(tensor: Tensor) -> bool:
    """Return true if a stored matrix's columns are not in the order of the model's inputs."""
    return tensor.kind == INTEGER and read_header(tensor.data).inputs is not None


def add_gathers(
    ops: tuple[Op, ...], buffers: Mapping[str, Buffer], tensors: Mapping[str, Tensor]
) -> tuple[tuple[Op, ...], dict[str, Buffer]]:
    """Return operations and buffers with a gather before each product whose weights have an input index.

    Matrices of one product that share an index share the gather and stay one product; each other matrix gets its own.
    Programs without such weights are returned unchanged.

    Raises
    ------
    ModelError
        If an index refers to an input that does not exist.
    """
    result: list[Op] = []
    widths = dict(buffers)
    for op in ops:
        if not isinstance(op, Linear) or not any(has_index(tensors[target.weight]) for target in op.targets):
            result.append(op)
            continue
        groups: dict[bytes, Linear] = {}
        for target in op.targets:
            tensor = tensors[target.weight]
            try:
                inputs = read_inputs(tensor.data) if has_index(tensor) else None
            except ModelError as error:
                raise ModelError(f"tensor {tensor.name}: {error}") from error
            key, source = b"", op.source
            if inputs is not None:
                key, width = inputs.index.tobytes(), len(inputs.index)
                if key not in groups:
                    source = f"{op.source}.{width}.{len(groups)}"
                    widths[source] = Buffer(width, buffers[op.source].wide)
                    result.append(Gather(op.source, source, target.weight))
            known = groups.setdefault(key, Linear(source, ()))
            groups[key] = Linear(known.source, (*known.targets, target))
        result += groups.values()
    return tuple(result), widths
