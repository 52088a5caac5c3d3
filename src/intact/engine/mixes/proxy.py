"""Proxy tuning: shifts a base model's logits by the change that tuning made in a small one."""

from intact.engine.mixes import Mix
from intact.engine.sampling.definitions import Definition
from intact.numerics import mix

PROXY = Mix(
    name="proxy",
    version=1,
    streams=("partner", "partner"),
    parameters={
        "scale": Definition(kind="decimal", default=1, high=100, effect="the weight of tuned minus untuned"),
    },
    rule=mix.proxy,
    source="Liu et al. 2024, arXiv 2401.08565",
)
