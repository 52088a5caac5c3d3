"""Mixtures: several specs, of which each matrix gets one, within a budget of bits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from intact.errors import ParameterError
from intact.quantizers.registry import QUANTIZERS, parse_spec, split_transforms
from intact.quantizers.spec import Spec

_FORM: Final = re.compile(r"mix:(?P<bits>\d{1,2}(?:\.\d{1,6})?)\((?P<specs>[^()]*)\)")


@dataclass(frozen=True)
class SpecMixture:
    """A mixture, written ``[TRANSFORM+...]mix:BITS(SPEC|SPEC|...)``.

    Attributes
    ----------
    bits : Decimal
        The most bits a weight in memory, over all matrices.
    specs : tuple of Spec
        The candidates, at least two.
    transforms : tuple of str
        What the model's weights go through before, in this order.
    """

    bits: Decimal
    specs: tuple[Spec, ...]
    transforms: tuple[str, ...] = ()

    def __str__(self) -> str:
        before = "".join(f"{name}+" for name in self.transforms)
        return f"{before}mix:{self.bits.normalize():f}({'|'.join(map(str, self.specs))})"


def parse_target(text: str) -> Spec | SpecMixture:
    """Read a spec or a mixture.

    Raises
    ------
    ParameterError
        If it names what does not exist, or a mixture has fewer than two different specs.
    """
    transforms, mixture = split_transforms(text)
    if not mixture.startswith("mix:"):
        return parse_spec(text)
    match = _FORM.fullmatch(mixture)
    if match is None:
        raise ParameterError(
            f"{text!r:.80} is no mixture; expected mix:BITS(SPEC|SPEC|...), such as mix:4.5(int3-16|int4-32|int8-32)"
        )
    specs = tuple(parse_spec(part.strip()) for part in match["specs"].split("|"))
    if len(specs) < 2 or len(set(specs)) < len(specs):
        raise ParameterError(f"{text!r:.80}: a mixture has two or more specs, each once")
    for spec in specs:
        if spec.transforms:
            raise ParameterError(
                f"{text!r:.80}: transforms stand before the mixture, for all its specs: {spec.transforms[0]}+mix:..."
            )
        if QUANTIZERS[spec.quantizer].sized_by_inputs:
            raise ParameterError(f"{text!r:.80}: how many bits {spec} needs depends on the text; take others")
    return SpecMixture(Decimal(match["bits"]), specs, transforms)
