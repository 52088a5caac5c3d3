"""llama.cpp's importance matrices, in place of a text to calibrate on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from intact._base.errors import ParameterError
from intact.checkpoints.formats.imatrix import SquaredInputs, read_imatrix
from intact.checkpoints.formats.tensor import quote_name
from intact.models import Program
from intact.quantizing.calibration import products
from intact.quantizing.quantizers import InputStatistics, Spec, SpecMixture
from intact.quantizing.quantizers.nearest import IMATRIX

_BITS = 40
"""Of the largest sum of squares of a product's inputs, as an integer."""


def takes_importance(spec: Spec | SpecMixture | None) -> bool:
    """Return true if an importance matrix can take the place of a text for a spec."""
    return isinstance(spec, Spec) and spec.quantizer == IMATRIX.name and not spec.transforms


def read_importance(path: Path, program: Program, spec: Spec | SpecMixture | None) -> Callable[[int], InputStatistics]:
    """Return a function that gives what an importance matrix says of a product, by the index of its operation.

    Raises
    ------
    ParameterError
        If the spec needs more than an importance matrix has, or the file is of another model.
    FormatError
        If the file is damaged, or none.
    """
    if not takes_importance(spec):
        raise ParameterError(
            f"{spec or 'keep'} with an importance matrix: expected the quantiser imatrix, such as imatrix:q4_k; other "
            "quantisers, mixtures and transforms need a text to calibrate on (--calibrate)"
        )
    known = read_imatrix(path)
    found = {op: _sums(path, program, names, known) for op, names in products(program).items()}
    return lambda op: _statistics(found[op])


def _sums(path: Path, program: Program, names: tuple[str, ...], known: Mapping[str, SquaredInputs]) -> SquaredInputs:
    """Return the sums of an input that matrices share; llama.cpp keeps a copy for each of them."""
    tensors = [program.tensors[name] for name in names]
    one = next((known[name] for name in (*names, *(tensor.name for tensor in tensors)) if name in known), None)
    if one is None:
        raise ParameterError(f"{path}: has no sums for {quote_name(names[0])}: is it of another model?")
    expected = 1, tensors[0].shape[1]
    if one.sums.shape != expected:
        raise ParameterError(
            f"{path}: the sums for {quote_name(names[0])} have the shape {one.sums.shape}, expected {expected}: is it "
            "of another model?"
        )
    return one


def _statistics(one: SquaredInputs) -> InputStatistics:
    """Return sums of squares as statistics; what the quantiser imatrix does not read is zero."""
    sums = one.sums[0].astype(np.float64)
    power = (_BITS - int(np.frexp(sums.max())[1])) // 2
    squares = np.rint(np.ldexp(sums, 2 * power)).astype(np.int64)
    unknown = np.zeros(len(squares), np.int64)
    return InputStatistics(int(one.counts[0]), -power, np.diag(squares), unknown, total=unknown)
