"""Read llama.cpp's importance matrices, which can replace a calibration text."""

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
"""Bits of the largest sum of squares of a product's inputs, as an integer."""


def takes_importance(spec: Spec | SpecMixture | None) -> bool:
    """Return true if an importance matrix can replace the calibration text for a spec."""
    return isinstance(spec, Spec) and spec.quantizer == IMATRIX.name and not spec.transforms


def read_importance(path: Path, program: Program, spec: Spec | SpecMixture | None) -> Callable[[int], InputStatistics]:
    """Return a function that gives the importance matrix's statistics of a product, given the index of its operation.

    Raises
    ------
    ParameterError
        If the spec needs more than an importance matrix contains, or the file belongs to a different model.
    FormatError
        If the file is damaged or not an importance matrix.
    """
    if not takes_importance(spec):
        raise ParameterError(
            f"{spec or 'keep'} cannot use an importance matrix; expected the quantiser imatrix, such as "
            "imatrix:q4_k; other quantisers, mixtures and transforms need a calibration text (--calibrate)"
        )
    known = read_imatrix(path)
    found = {op: _sums(path, program, names, known) for op, names in products(program).items()}
    return lambda op: _statistics(found[op])


def _sums(path: Path, program: Program, names: tuple[str, ...], known: Mapping[str, SquaredInputs]) -> SquaredInputs:
    """Return the sums for an input that several matrices share; llama.cpp keeps a copy for each matrix."""
    tensors = [program.tensors[name] for name in names]
    one = next((known[name] for name in (*names, *(tensor.name for tensor in tensors)) if name in known), None)
    if one is None:
        raise ParameterError(f"{path} has no sums for {quote_name(names[0])}; does it belong to another model?")
    expected = 1, tensors[0].shape[1]
    if one.sums.shape != expected:
        raise ParameterError(
            f"{path}: the sums for {quote_name(names[0])} have the shape {one.sums.shape}, expected {expected}; does "
            "it belong to another model?"
        )
    return one


def _statistics(one: SquaredInputs) -> InputStatistics:
    """Convert sums of squares into statistics; fields that the quantiser imatrix does not read are zero."""
    sums = one.sums[0].astype(np.float64)
    power = (_BITS - int(np.frexp(sums.max())[1])) // 2
    squares = np.rint(np.ldexp(sums, 2 * power)).astype(np.int64)
    unknown = np.zeros(len(squares), np.int64)
    return InputStatistics(int(one.counts[0]), -power, np.diag(squares), unknown, total=unknown)
