"""M3ID in its text-only form: amplifies a part of the prompt, more strongly as the answer grows."""

from intact.engine.mixes import Mix
from intact.engine.sampling.definitions import Definition
from intact.numerics import mix

M3ID = Mix(
    name="m3id",
    version=1,
    streams=("shadow",),
    parameters={
        "decay": Definition(
            kind="decimal", default=0.02, high=1, effect="g = exp(-decay * t) after t tokens; the factor is (1 - g) / g"
        ),
        "cap": Definition(kind="decimal", default=8, high=100, effect="the largest factor"),
        "alpha": Definition(
            kind="decimal", default=0.1, high=1, effect="tokens below this share of the likeliest are left out"
        ),
        "certain": Definition(
            kind="decimal", default=1, high=1, effect="rows whose likeliest token has this probability stay as they are"
        ),
    },
    rule=mix.m3id,
    source="Favero et al. 2024, arXiv 2403.14003",
)
