"""Descriptions of the architectures: names, distinctive features, and how closely their logits match Transformers'."""

from __future__ import annotations

import json
import sys
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from intact.models import ARCHITECTURES
from intact.models.decoder import Decoder


class Comparison(NamedTuple):
    """A comparison of an architecture with another program on tiny random models.

    Attributes
    ----------
    program : str
        The other program and its version.
    classes : tuple of str
        The program's classes; empty for a program of this repository.
    models : int
        Number of models compared.
    difference : float
        Largest difference between logits of the fp32 profile and the other program's float64 logits, relative to the
        range of the latter.
    """

    program: str
    classes: tuple[str, ...]
    models: int
    difference: float


class ArchitectureDescription(NamedTuple):
    """Description of one architecture.

    Attributes
    ----------
    name : str
        Name in `ARCHITECTURES`.
    gguf : str
        Name in GGUF files (general.architecture).
    hf : tuple of str
        Names in config.json (architectures).
    title, summary : str
        The models that it covers, and their distinctive features.
    source : str
        The paper or another source; empty if the module names none.
    origin : str
        Package that provides it.
    compared : Comparison, optional
        None for architectures of other packages.
    """

    name: str
    gguf: str
    hf: tuple[str, ...]
    title: str
    summary: str
    source: str
    origin: str
    compared: Comparison | None

    def as_dict(self) -> dict[str, Any]:
        """Return the description as a JSON object."""
        compared = None if self.compared is None else self.compared._asdict()
        return self._asdict() | {"compared": compared}


def describe_architectures() -> list[ArchitectureDescription]:
    """Return the architectures that can be loaded, sorted by name."""
    return [_describe(name, architecture) for name, architecture in ARCHITECTURES.working().items()]


def _describe(name: str, architecture: type[Decoder]) -> ArchitectureDescription:
    first = (sys.modules[architecture.__module__].__doc__ or "").strip().partition("\n")[0].removesuffix(".")
    words, bracket, source = first.removesuffix(")").rpartition(" (") if first.endswith(")") else (first, "", "")
    title, colon, summary = words.partition(": ")
    return ArchitectureDescription(
        name,
        architecture.gguf,
        architecture.hf,
        title if colon else name,
        summary=summary if colon else words,
        source=source if bracket else "",
        origin=ARCHITECTURES.origin(name),
        compared=_comparisons().get(name),
    )


@cache
def _comparisons() -> dict[str, Comparison]:
    """Return the comparisons recorded by benchmarks/transformers_goldens.py."""
    stored = json.loads(files("intact.models").joinpath("comparisons.json").read_text("utf-8"))
    program = f"Transformers {stored['transformers']}"
    return {
        name: Comparison(one.get("program", program), tuple(one["classes"]), one["models"], one["difference"])
        for name, one in stored["architectures"].items()
    }
