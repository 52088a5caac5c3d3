"""Quantise whole models: calibration, one matrix after the other, and the files that come of it."""

from intact.quantizing.calibration import Calibration
from intact.quantizing.pipeline import QuantizedModel, check_target, is_calibrated, quantize

__all__ = ["Calibration", "QuantizedModel", "check_target", "is_calibrated", "quantize"]
