"""Honest and dishonest logs of a tiny model, drawn by other engines' rules from its own logits."""

import numpy as np

from intact.measure.audit.distribution import distribution
from intact.measure.audit.generators import llama_uniforms
from intact.measure.audit.log import SamplerSettings


def draw(model, prompt, count, settings: SamplerSettings, noise=0.0, seed=0, engine="llama.cpp"):
    """Tokens as an engine would draw them whose logits differ from ours by normal noise."""
    rng = np.random.default_rng(seed)
    uniforms = llama_uniforms(settings.seed or 0, count)
    tokens = []
    for place in range(count):
        row = model.logits([*prompt, *tokens])[-1]
        row = row + rng.normal(0, noise, row.shape).astype(np.float32) if noise else row
        if settings.temperature == 0:
            tokens.append(int(row.argmax()))
            continue
        able = distribution(row, settings, engine)
        ends = np.cumsum(able.probabilities)
        tokens.append(int(able.tokens[min(np.searchsorted(ends, uniforms[place]), len(ends) - 1)]))
    return tokens


def record(prompt, tokens, settings: SamplerSettings, engine="llama.cpp", **more):
    """A line of a log."""
    named = {name: getattr(settings, name) for name in ("temperature", "top_p", "top_k", "min_p", "seed")}
    return {"engine": engine, "prompt_tokens": list(prompt), "output_tokens": tokens, **named, **more}
