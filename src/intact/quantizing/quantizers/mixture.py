"""Mixtures: each matrix gets one of several specs, within a budget of bits."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from intact._base.errors import ParameterError
from intact.quantizing.quantizers.costs import COSTS
from intact.quantizing.quantizers.registry import QUANTIZERS, parse_spec, split_transforms
from intact.quantizing.quantizers.spec import Spec

DEFAULT_COST: Final = "divergence"
UNSTATED_COST: Final = "output"
"""The cost assumed for a mixture in a receipt or record that states none, from when this was the default."""
_FORM: Final = re.compile(r"mix:(?P<bits>\d{1,2}(?:\.\d{1,6})?)(?:@(?P<cost>[a-z][a-z0-9_]*))?\((?P<specs>[^()]*)\)")


@dataclass(frozen=True)
class SpecMixture:
    """A mixture, written ``[TRANSFORM+...]mix:BITS[@COST](SPEC|SPEC|...)``.

    Attributes
    ----------
    bits : Decimal
        Maximum bits per weight over all matrices, in memory; or in the file if all candidates are GGUF types.
    specs : tuple of Spec
        The candidates, at least two.
    transforms : tuple of str
        Transforms applied to the model's weights before quantising, in this order.
    cost : str
        The cost to minimise: a key of `COSTS`.
    """

    bits: Decimal
    specs: tuple[Spec, ...]
    transforms: tuple[str, ...] = ()
    cost: str = DEFAULT_COST

    @property
    def in_file(self) -> bool:
        """If true, all candidates are GGUF types, and `bits` refers to bits in the file."""
        return all(spec.block_type is not None for spec in self.specs)

    def __str__(self) -> str:
        before = "".join(f"{name}+" for name in self.transforms)
        return f"{before}mix:{self.bits.normalize():f}@{self.cost}({'|'.join(map(str, self.specs))})"


def parse_recorded(text: str) -> Spec | SpecMixture:
    """Parse the full spec that a receipt or record states; see `parse_target` for errors.

    Full specs now name their cost. One without a cost dates from the time when `output` was the default.
    """
    return parse_target(text, UNSTATED_COST)


def parse_target(text: str, default: str = DEFAULT_COST) -> Spec | SpecMixture:
    """Parse a spec or a mixture.

    Parameters
    ----------
    text : str
        The spec, possibly abbreviated.
    default : str
        The cost of a mixture that names none.

    Raises
    ------
    ParameterError
        If it names something that does not exist, or a mixture has fewer than two different specs.
    """
    transforms, mixture = split_transforms(text)
    if not mixture.startswith("mix:"):
        return parse_spec(text)
    match = _FORM.fullmatch(mixture)
    if match is None:
        raise ParameterError(
            f"{text!r:.80} is not a mixture; expected mix:BITS[@COST](SPEC|SPEC|...), such as "
            "mix:4.5(int3-16|int4-32|int8-32)"
        )
    cost = match["cost"] or default
    if cost not in COSTS:
        raise ParameterError(f"{text!r:.80}: no cost named {cost!r}; available: {', '.join(COSTS)}")
    specs = tuple(parse_spec(part.strip()) for part in match["specs"].split("|"))
    if len(specs) < 2 or len(set(specs)) < len(specs):
        raise ParameterError(f"{text!r:.80}: a mixture needs at least two specs, all different")
    for spec in specs:
        if spec.transforms:
            raise ParameterError(
                f"{text!r:.80}: transforms apply to all specs and go before the mixture: {spec.transforms[0]}+mix:..."
            )
        if QUANTIZERS[spec.quantizer].sized_by_inputs:
            raise ParameterError(
                f"{text!r:.80}: the number of bits that {spec} needs depends on the text; use other specs"
            )
    return SpecMixture(Decimal(match["bits"]), specs, transforms, cost)
