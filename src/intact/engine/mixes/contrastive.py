"""Contrastive decoding: favours plausible tokens that a large model finds likelier than a small one does."""

from intact.engine.mixes import Mix
from intact.engine.sampling.definitions import Definition
from intact.numerics import mix

CONTRASTIVE = Mix(
    name="contrastive",
    version=1,
    streams=("partner",),
    parameters={
        "beta": Definition(kind="decimal", default=0.5, high=100, effect="the weight of the difference"),
        "alpha": Definition(
            kind="decimal", default=0.1, high=1, effect="tokens below this share of the likeliest are left out"
        ),
    },
    rule=mix.contrastive,
    source="O'Brien and Lewis 2023, arXiv 2309.09117",
)
