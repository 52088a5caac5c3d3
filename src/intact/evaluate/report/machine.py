"""A hypothetical machine, by whose rates all runs of a report are timed alike."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from intact.errors import FormatError, ParameterError
from intact.files import read_text

_RATES = ("read", "write")


@dataclass(frozen=True)
class IdealMachine:
    """Rates of one stream.

    Attributes
    ----------
    read : float
        Tokens of prompts that it reads in a second.
    write : float
        Steps that it takes in a second, each of which writes a token of every text that it is at.
    name : str
        Where the rates come from.
    """

    read: float
    write: float
    name: str

    def __post_init__(self) -> None:
        for rate in _RATES:
            value = getattr(self, rate)
            if not 0 < value < math.inf:
                raise ParameterError(f"the machine's {rate} must be a rate above 0 tokens a second, got {value!r}")

    def seconds(self, read: float, steps: float) -> float:
        """Return the time to read so many tokens and then to take so many steps."""
        return read / self.read + steps / self.write

    @classmethod
    def parse(cls, text: str) -> IdealMachine:
        """Return the machine that ``read=1000,write=20`` states, or that a file of ``intact bench --json`` measured.

        Raises
        ------
        ParameterError
            If the text is neither, or the file has no rate of a prompt or of one stream without drafting.
        FormatError
            If the file is not JSON.
        """
        if text.endswith(".json"):
            return _measured(Path(text))
        found = dict(re.findall(r"(?:^|,)\s*([a-z]+)=(\d+(?:\.\d+)?)\s*(?=,|$)", text))
        if set(found) != set(_RATES) or len(text.split(",")) != len(_RATES):
            raise ParameterError(
                f"a machine is read=RATE,write=RATE in tokens a second, or a .json file of `intact bench --json`, "
                f"got {text!r:.80}"
            )
        return cls(float(found["read"]), float(found["write"]), "as given")


A100_175B = IdealMachine(128 / 0.095, 1 / 0.081, "a model of 175 billion weights on A100 cards, from arXiv 2305.02440")
"""The machine by default: 0.095 s for a prompt of 128 tokens and the first token after it, 0.081 s for any other."""


def _measured(path: Path) -> IdealMachine:
    text = read_text(path)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{path} cannot be read as JSON: {error}") from error
    figures = document.get("figures", ()) if isinstance(document, Mapping) else ()
    rates: dict[str, float] = {}
    for one in figures:
        if isinstance(one, Mapping) and one.get("unit") == "tokens/s" and "drafting" not in str(one.get("what")):
            kind = {"prompt": "read", "stream": "write"}.get(str(one.get("group")))
            if kind is not None and isinstance(one.get("median"), int | float):
                rates[kind] = float(one["median"])
    if set(rates) != set(_RATES):
        raise ParameterError(
            f"{path} has no rates of a prompt and of one stream: `intact bench --json --only prompt --only stream` "
            "writes them"
        )
    return IdealMachine(rates["read"], rates["write"], f"measured, {path.name}")
