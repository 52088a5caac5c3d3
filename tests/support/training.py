"""Tiny models and rows for tests of training."""

from pathlib import Path
from typing import Any

import numpy as np

from intact.train.base import Base
from intact.train.examples import Labelled, Pair, TrainExample
from intact.train.running import Trained
from intact.train.settings import TrainSettings
from intact.train.state import TrainState
from support.tiny import write_tiny


def tiny_base(folder: Path, architecture: str = "llama", **options) -> Base:
    """Write a tiny model and open it."""
    return Base.open(write_tiny(folder / f"{architecture}.gguf", architecture, **options))


def example(seed: int, length: int = 14, prompt: int = 4) -> TrainExample:
    """Return random tokens with a loss on those after the prompt."""
    tokens = np.random.default_rng(seed).integers(0, 250, length)
    weights = np.ones(length, int)
    weights[:prompt] = 0
    return TrainExample(tokens, weights)


def examples(count: int = 4) -> list[TrainExample]:
    """Return rows of different lengths."""
    return [example(seed, 10 + 3 * seed) for seed in range(count)]


def pairs(count: int = 3) -> list[Pair]:
    """Return pairs of answers."""
    return [Pair(example(seed, 12), example(100 + seed, 15)) for seed in range(count)]


def labelled(count: int = 4) -> list[Labelled]:
    """Return sequences with one of two labels."""
    return [Labelled(example(seed, 10 + seed).tokens, seed % 2) for seed in range(count)]


def settings(**changes) -> TrainSettings:
    """Return settings of a run of three steps."""
    return TrainSettings(**({"steps": 3, "batch": 2, "rate": "1e-2", "save_every": 1} | changes))


def random_run(base: Base, parameters: Any = None, out: Path = Path("run")) -> Trained:
    """Return a run whose tensors are random instead of trained; by default, an adapter of rank 4."""
    chosen = TrainSettings(parameters=parameters or {"name": "lora", "rank": 4, "alpha": "8"})
    tensors = chosen.parameters.start(base.program, 3)
    random = np.random.default_rng(7)
    for name, values in tensors.items():
        if not values.any():
            tensors[name] = (random.normal(size=values.shape) / 8).astype(np.float32)
    return Trained(out, chosen, TrainState(0, tensors, {}), out / "train.receipt")
