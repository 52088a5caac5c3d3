"""Idealised machines: the seconds a model would take on uniform hardware, from its own work (arXiv 2305.02440)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from intact._base.errors import FormatError, ParameterError
from intact._base.files import read_text


class TokenWork(NamedTuple):
    """The work of a model per token.

    Attributes
    ----------
    macs : float
        Multiply-adds per token, including attention over its context.
    weights : float
        Bytes of weights read per step.
    """

    macs: float
    weights: float


@dataclass(frozen=True)
class ModelRuntime:
    """The idealised runtime of one model: `prompt(read) + (written - 1) step`.

    Attributes
    ----------
    prompts : tuple of (float, float)
        Prompt lengths in tokens, ascending, and the seconds until the first token.
    step : float
        Seconds per step that generates the next token of one sequence.
    text : float
        Minimum seconds per step for each sequence in the batch, from the multiply-adds of one token; 0 if not measured.
    machines : int
        Number of machines that serve the model.
    price : float or None
        Dollars per hour of one machine, if known.
    name : str
        The source of the numbers.
    """

    prompts: tuple[tuple[float, float], ...]
    step: float
    text: float
    machines: int
    price: float | None
    name: str

    def read(self, tokens: float) -> float:
        """Return the seconds needed to process a prompt and sample the token after it.

        Interpolates linearly between the lengths of `prompts`, and extrapolates from the last two.
        """
        if tokens <= 0:
            return 0.0
        lengths, seconds = np.array(self.prompts).T
        if len(lengths) > 1 and tokens > lengths[-1]:
            slope = (seconds[-1] - seconds[-2]) / (lengths[-1] - lengths[-2])
            return float(seconds[-1] + slope * (tokens - lengths[-1]))
        return float(np.interp(tokens, lengths, seconds))

    def write(self, steps: float, tokens: float) -> float:
        """Return the seconds of the steps that generate these tokens; the first token comes with the prompt."""
        if steps <= 1:
            return 0.0
        return max(self.step, self.text * tokens / steps) * (steps - 1)

    def seconds(self, read: float, steps: float, tokens: float | None = None) -> float:
        """Return the seconds to process a prompt and generate tokens in a number of steps, by default one per token."""
        return self.read(read) + self.write(steps, steps if tokens is None else tokens)

    def cost(self, seconds: float) -> float | None:
        """Return the price of all machines for a number of seconds, in dollars; None if it is unknown."""
        return None if self.price is None else seconds * self.machines * self.price / 3600


@dataclass(frozen=True)
class IdealMachine:
    """A machine described by its rates, which determine the runtime of every model.

    A step reads all weights once and multiplies each sequence's token by them; the slower of the two determines its
    time. The time of a prompt is linear from the length at which the products take longer than reading the weights. The
    number of machines for a model is the smallest power of two whose memory holds its weights; the work is divided
    among them without loss.

    Attributes
    ----------
    macs, bytes : float
        Multiply-adds, and bytes of weights, per second on one machine.
    memory : float
        Bytes of weights that one machine holds.
    price : float or None
        Dollars per hour.
    name : str
        The source of the rates.
    """

    macs: float
    bytes: float
    memory: float = math.inf
    price: float | None = None
    name: str = "the rates given"

    def runtime(self, work: TokenWork) -> ModelRuntime:
        """Return the runtime of a model with this work per token."""
        needed = max(1, math.ceil(work.weights / self.memory))
        machines = 1 << (needed - 1).bit_length()
        step, text = work.weights / (machines * self.bytes), work.macs / (machines * self.macs)
        knee = max(1.0, step / text)
        prompts = ((1.0, max(step, text)), (knee, knee * text), (2 * knee, 2 * knee * text))
        distinct = tuple(dict(prompts).items())
        return ModelRuntime(distinct, max(step, text), text, machines, price=self.price, name=self.name)


A100: Final = IdealMachine(7.3e13, 6.8e11, 80e9, 5.12, name="the rates of A100 cards of 80 GB")
"""The default machine, from the logs of arXiv 2305.02440 (stanford-crfm/helm-efficiency).

Medians over its nine architectures with 6 to 176 billion 16-bit weights: multiply-adds from how prompt processing time
grows between 512 and 1,920 tokens (4.9e13 to 7.9e13), bytes from the time per step (4.8e11 to 1.07e12; each layer adds
0.8 ms there, regardless of its size). The price is the authors', one eighth of 40.96 dollars per hour.
"""

_HARDWARE: Final = {"gmacs_per_s": 1e9, "gb_per_s": 1e9, "memory_gb": 1e9, "price": 1.0}
"""Fields of `--machine` for a machine, with their units, as in files of `intact plan`."""
_RATES: Final = {"read": 1.0, "write": 1.0, "machines": 1.0, "price": 1.0}
"""Fields of `--machine` for one model on a machine."""
_FORMS: Final = (
    "gmacs_per_s=NUMBER,gb_per_s=NUMBER with memory_gb= and price= if known, or of one model [MODEL=]read=RATE,"
    "write=RATE in tokens a second with machines= and price= if known, or [MODEL=]FILE.json of `intact bench --json`"
)


class StatedRuntime(NamedTuple):
    """A runtime given by the user, with the model's name; `named` is true if the user named the model."""

    model: str
    named: bool
    runtime: ModelRuntime


@dataclass(frozen=True)
class MachineChoice:
    """The machines for the idealised runtimes of a report.

    Attributes
    ----------
    machine : IdealMachine or None
        The machine for models without a stated runtime; None if these are not timed.
    stated : tuple of StatedRuntime
        Runtimes of models.
    """

    machine: IdealMachine | None = A100
    stated: tuple[StatedRuntime, ...] = ()

    @classmethod
    def parse(cls, texts: Sequence[str]) -> MachineChoice:
        """Parse the ``--machine`` options; return the default if there are none.

        Raises
        ------
        ParameterError
            If an option gives neither a machine, nor rates, nor a file with the rates of a prompt and of one stream; if
            two are for the same model; or if one of several runtimes does not name its model.
        FormatError
            If a file is not JSON.
        """
        found = [_parse(text) for text in texts]
        machines = [one for one in found if isinstance(one, IdealMachine)]
        stated = [one for one in found if isinstance(one, StatedRuntime)]
        if len(machines) > 1:
            raise ParameterError("--machine describes two machines: give one, and runtimes of models (MODEL=...)")
        names = [one.model for one in stated]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ParameterError(f"--machine gives two runtimes for the model {twice}")
        if "" in names and len(names) > 1:
            raise ParameterError("with several runtimes, each --machine must name its model: MODEL=...")
        return cls(next(iter(machines), None if stated else A100), tuple(stated))

    def of(self, model: str, only: bool) -> ModelRuntime | IdealMachine | None:
        """Return a model's runtime, or else the machine; None if neither is stated.

        Parameters
        ----------
        model : str
            The name of the model or of its file.
        only : bool
            If true, all runs use this model, and a runtime without a model name applies to it.

        Raises
        ------
        ParameterError
            If a runtime without a model name is given for runs of several models.
        """
        for one in self.stated:
            if one.model and one.model in (model, Path(model).name, Path(model).stem):
                return one.runtime
        unnamed = [one for one in self.stated if not one.named]
        if only and len(self.stated) == len(unnamed) == 1:
            return unnamed[0].runtime
        if any(not one.model for one in unnamed):
            raise ParameterError(
                "--machine gives the rates of one model, but the runs are of several models: name the model of each "
                "(MODEL=read=RATE,write=RATE), or describe the machine (gmacs_per_s=NUMBER,gb_per_s=NUMBER)"
            )
        return self.machine


DEFAULT: Final = MachineChoice()
"""The machines if ``--machine`` is not given."""


def _parse(text: str) -> StatedRuntime | IdealMachine:
    """Parse one ``--machine``."""
    name, equals, rest = text.partition("=")
    if not equals or name in (*_HARDWARE, *_RATES):
        name, rest = "", text
    if rest.endswith(".json"):
        return _measured(name, Path(rest))
    pairs = re.findall(r"(?:^|,)\s*([a-z_]+)=(\d+(?:\.\d+)?)\s*(?=,|$)", rest)
    found = {key: float(value) for key, value in pairs}
    if len(rest.split(",")) != len(found):
        raise ParameterError(f"a machine must be {_FORMS}; got {text!r:.80}")
    for key, value in found.items():
        if not 0 < value < math.inf:
            raise ParameterError(f"the machine's {key} must be positive, got {value:g}")
    if {"gmacs_per_s", "gb_per_s"} <= found.keys() <= _HARDWARE.keys() and not name:
        own = {key: value * _HARDWARE[key] for key, value in found.items()}
        return IdealMachine(own["gmacs_per_s"], own["gb_per_s"], own.get("memory_gb", math.inf), own.get("price"))
    if {"read", "write"} <= found.keys() <= _RATES.keys() and found.get("machines", 1) % 1 == 0:
        prompts = ((1.0, 1 / found["read"]), (2.0, 2 / found["read"]))
        served = int(found.get("machines", 1)), found.get("price")
        return StatedRuntime(
            name, bool(name), ModelRuntime(prompts, 1 / found["write"], 0.0, *served, "the rates given")
        )
    raise ParameterError(f"a machine must be {_FORMS}; got {text!r:.80}")


def _measured(name: str, path: Path) -> StatedRuntime:
    """Return the runtime measured in a file of ``intact bench --json``, by default for the model named there."""
    text = read_text(path)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{path} is not valid JSON: {error}") from error
    figures: Any = document.get("figures", ()) if isinstance(document, Mapping) else ()
    rates = {
        (str(one.get("group")), str(one.get("what"))): one["median"]
        for one in figures
        if isinstance(one, Mapping) and one.get("unit") == "tokens/s" and _is_rate(one.get("median"))
    }
    prompts = {
        float(length[1]): float(length[1]) / rate
        for (group, what), rate in rates.items()
        if group == "prompt" and (length := re.fullmatch(r"prompt of (\d+)", what)) is not None
    }
    steps = [1 / rate for (group, what), rate in rates.items() if group == "stream" and "drafting" not in what]
    if not prompts or not steps:
        raise ParameterError(
            f"{path} has no rates of a prompt and of one stream: create it with `intact bench --json --only prompt "
            "--only stream`"
        )
    points = tuple(sorted(({1.0: steps[-1]} | prompts).items()))
    model = name or Path(str(document.get("model", ""))).name
    return StatedRuntime(
        model,
        bool(name),
        ModelRuntime(points, steps[-1], 0.0, 1, price=None, name=f"the rates measured in {path.name}"),
    )


def _is_rate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
