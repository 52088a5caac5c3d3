"""Weight formats, one file per format or family; each file here that defines formats adds them to the registry.

Reading files, the integer weights, the float32 values, the conformance data and the tables in ``docs/spec/numerics.md``
all derive from these definitions. ``docs/dev/adding.md`` explains how to add one.
"""

import importlib
import pkgutil

from intact.numerics.weight_formats.definition import BlockFields, BlockFormat, Bytes, FloatFormat

_FOUND = sorted(
    (
        definition
        for module in pkgutil.iter_modules(__path__, f"{__name__}.")
        for definition in vars(importlib.import_module(module.name)).values()
        if isinstance(definition, BlockFormat | FloatFormat)
    ),
    key=lambda definition: definition.gguf,
)
FLOAT_FORMATS: dict[str, FloatFormat] = {f.name: f for f in _FOUND if isinstance(f, FloatFormat)}
"""Formats that store each value separately, by name; quantisation converts them to integer weights."""
BLOCK_FORMATS: dict[str, BlockFormat] = {f.name: f for f in _FOUND if isinstance(f, BlockFormat)}
"""Formats that store blocks of codes with scales, by name; conversion to integer weights keeps the codes."""
FORMATS: dict[str, FloatFormat | BlockFormat] = {f.name: f for f in _FOUND}
"""All supported formats by name, in order of their GGUF numbers."""

__all__ = ["BLOCK_FORMATS", "FLOAT_FORMATS", "FORMATS", "BlockFields", "BlockFormat", "Bytes", "FloatFormat"]
