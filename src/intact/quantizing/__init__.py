"""Quantise whole models: calibration, the matrix-by-matrix pipeline, and the files it writes.

`pipeline` quantizes matrix by matrix, with `calibration`, `importance`, `slopes` and `logits` from a text, `structure`
and `transforming` for changes that span matrices, `allocate`, `mixing` and `divergence` for mixtures of specs, and
`parts` and `output` for the files. `quantizers` contains the quantizers, `lab` measures them, and `receipt` and
`verify` record and check the result.
"""

from typing import TYPE_CHECKING

from intact._base.lazy import lazy

if TYPE_CHECKING:
    from intact.quantizing.calibration import Calibration
    from intact.quantizing.pipeline import QuantizedModel, check_target, is_calibrated, quantize

__all__ = ["Calibration", "QuantizedModel", "check_target", "is_calibrated", "quantize"]

if not TYPE_CHECKING:
    __getattr__ = lazy(
        __name__,
        {"Calibration": "intact.quantizing.calibration"}
        | dict.fromkeys(("QuantizedModel", "check_target", "is_calibrated", "quantize"), "intact.quantizing.pipeline"),
    )
