"""Seeds of commands: `--seed` takes one seed, a range, or a list."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from intact._base.errors import ParameterError

_MOST = 10_000
"""Maximum number of seeds in a range."""


def seed_option(text: str) -> Any:
    """Return the option `--seed` for a command that takes a single seed."""
    return typer.Option("--seed", metavar="SEED", help=text)


SeedsOption = Annotated[str, typer.Option("--seed", metavar="SEEDS", help="Sampling seed, or several: 0-4, or 0,7.")]


def parse_seeds(text: str, option: str = "--seed") -> tuple[int, ...]:
    """Parse seeds written as `3`, `0-4` or `0,7`, in order.

    Raises
    ------
    ParameterError
        If the string has a different form, or repeats a seed.
    """
    seeds: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(?:(-?\d+)|(\d+)-(\d+))\s*", part)
        first, last = (int(found[1] or found[2]), int(found[1] or found[3])) if found else (0, -1)
        if not 0 <= last - first <= _MOST:
            raise ParameterError(f"{option} must be a seed, a range or a list, such as 3, 0-4 or 0,7, got {text!r:.60}")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise ParameterError(f"{option}: seeds must be distinct, got {text!r:.60}")
    return tuple(seeds)


def one_seed(text: str, what: str, low: int = -(1 << 63), high: int = (1 << 64) - 1) -> int:
    """Parse a string that names exactly one seed.

    Parameters
    ----------
    what : str
        Subject of the error message, such as ``a conversation``.

    Raises
    ------
    ParameterError
        If it names several seeds, or one that is out of range.
    """
    seeds = parse_seeds(text)
    if len(seeds) > 1:
        raise ParameterError(f"--seed: {what} needs a single seed, got {len(seeds)}: {text!r:.60}")
    if not low <= seeds[0] <= high:
        raise ParameterError(f"--seed must be an integer from {low} to {high}, got {seeds[0]}")
    return seeds[0]
