"""The registry of quantisers, and the parser of specs."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import did_you_mean
from intact.numerics.grids import GRIDS, TOO_WIDE
from intact.numerics.integers import LARGEST_ENTRY
from intact.quantizing.quantizers.base import Quantizer
from intact.quantizing.quantizers.block_types import BLOCK_SPECS, BLOCK_TYPES
from intact.quantizing.quantizers.scales import RULES
from intact.quantizing.quantizers.spec import ROW, Spec
from intact.quantizing.quantizers.transforms import TRANSFORMS

QUANTIZERS: Final = Registry[Quantizer](
    "intact.quantizers",
    "intact.quantizing.quantizers",
    lambda value: value.name if isinstance(value, Quantizer) else None,
)
"""Quantisers by name."""
ALIASES: Final = {
    "mxint8": "int8s-32@power",
    "mxint4": "int4s-32@power",
    "mxint6": "int6s-32@power",
    "mxfp6": "e2m3-32@power",
    "mxfp6e3m2": "e3m2-32@power",
    "mxfp8": "fp8:e4m3-32@power",
    "nf4": "nf4-64@largest",
    "fp4": "fp4-64@largest",
    "nvfp4": "e2m1-16@e4m3",
    "nvint4": "int4s-16@e4m3",
    **BLOCK_SPECS,
}
"""Names in other programs for a grid with its blocks and scales; llama.cpp's names in lower case."""
_FORM: Final = re.compile(r"(?:(?P<quantizer>[a-z][a-z0-9_]*):)?(?P<grid>[a-z][a-z0-9]*)"
                          r"(?:-(?P<block>\d+|row))?(?:@(?P<rule>[a-z0-9_]+))?")  # fmt: skip
_TRANSFORMS: Final = re.compile(r"(?:[a-z][a-z0-9_]*\+)*")


def split_transforms(text: str) -> tuple[tuple[str, ...], str]:
    """Split the names of transforms off the front of a spec or mixture; return the names and the rest.

    Raises
    ------
    ParameterError
        If a transform does not exist or is named twice.
    """
    found = _TRANSFORMS.match(text)
    rest = text[found.end() :] if found else text
    names = tuple(text.removesuffix(rest).split("+")[:-1])
    for name in names:
        if name not in TRANSFORMS:
            raise ParameterError(f"{text!r:.80}: no transform named {name!r}; available: {', '.join(TRANSFORMS)}")
        if names.count(name) > 1:
            raise ParameterError(f"{text!r:.80}: the transform {name} is given twice; expected each once")
    return names, rest


def all_specs() -> list[str]:
    """Return the shortest spec of each grid, including a quantiser if the grid needs one, and the aliases."""
    users = {grid: name for name, one in QUANTIZERS.items() for grid in one.grids}
    return [name if grid.planes == 1 else f"{users[name]}:{name}" for name, grid in GRIDS.items()] + list(ALIASES)


def parse_spec(text: str) -> Spec:
    """Parse a spec.

    Raises
    ------
    ParameterError
        If it names something that does not exist.
    """
    transforms, plain = split_transforms(text)
    prefix, colon, rest = plain.rpartition(":")
    match = _FORM.fullmatch(prefix + colon + ALIASES.get(rest, rest))
    if match is None:
        near = did_you_mean(text, all_specs())
        form = "[TRANSFORM+...][QUANTIZER:]GRID[-BLOCK][@RULE], such as gptq:int4-32"
        raise ParameterError(f"{text!r:.80} is not a spec" + (f": {near}" if near else f"; expected {form}"))
    quantizer, grid = match["quantizer"] or "nearest", match["grid"]
    if grid in TOO_WIDE:
        raise ParameterError(
            f"{text!r:.80}: {grid} spans +-{TOO_WIDE[grid]:,} of its smallest steps, but table entries span "
            f"at most {LARGEST_ENTRY:,}; the widest 8-bit floats that products support are e3m4, and "
            "fp8:e4m3 in planes"
        )
    for what, name, known in (
        ("quantizer", quantizer, list(QUANTIZERS)),
        ("grid", grid, list(GRIDS)),
        ("rule", match["rule"], [None, *RULES, *BLOCK_TYPES]),
    ):
        if name not in known:
            raise ParameterError(f"{text!r:.80}: no {what} named {name!r}; available: {', '.join(filter(None, known))}")
    user = QUANTIZERS[quantizer]
    takes, rules, rule = user.grids, user.rules, match["rule"] or user.rule
    if not takes and GRIDS[grid].planes > 1:
        users = ", ".join(name for name, one in QUANTIZERS.items() if grid in one.grids)
        raise ParameterError(f"{text!r:.80}: the grid {grid} has several planes; use it with {users}")
    if takes and grid not in takes:
        raise ParameterError(f"{text!r:.80}: {quantizer} supports the grids {', '.join(takes)}, not {grid}")
    if rule not in rules:
        raise ParameterError(f"{text!r:.80}: {quantizer} supports the rules {', '.join(rules)}, not {rule}")
    spec = Spec(quantizer, grid, GRIDS[grid].block, rule, transforms=transforms)
    if match["block"]:
        spec = replace(spec, block=ROW if match["block"] == "row" else int(match["block"]))
    if spec.block % 16 or spec.block > 1 << 16:
        raise ParameterError(f"{text!r:.80}: a block must be 'row' or a multiple of 16, got {match['block']}")
    if spec.block_type is not None and f"{grid}-{spec.block}@{rule}" != BLOCK_SPECS[rule]:
        raise ParameterError(f"{text!r:.80}: the rule {rule} can only be used as {BLOCK_SPECS[rule]}")
    spec.levels.layout(spec.block or 4096)
    return spec
