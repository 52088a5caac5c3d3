"""Classifier-free guidance: steers away from the distribution without the prompt, or with an opposite prompt."""

from intact.engine.mixes import Mix
from intact.engine.sampling.definitions import Definition
from intact.numerics import mix

GUIDANCE = Mix(
    name="guidance",
    version=1,
    streams=("shadow",),
    parameters={
        "scale": Definition(
            kind="decimal", default=1.5, high=100, effect="1 gives the main row, 0 the shadow's; more amplifies"
        ),
    },
    rule=mix.guidance,
    source="Sanchez et al. 2023, arXiv 2306.17806",
)
