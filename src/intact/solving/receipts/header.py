"""The header of a run's receipt: everything that determines the result of the run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from intact._base.errors import ParameterError
from intact._base.strict_json import Fields, quote
from intact.reason.problem import Prompt
from intact.reason.thinking import ThinkingMode
from intact.receipts.canonical import HASHES, HashName
from intact.solving.receipts import FORMAT
from intact.solving.receipts.mixes import LONGEST, RunModel
from intact.solving.receipts.packages import MethodPackage
from intact.solving.receipts.values import MOST, read_values, unbounded, write_values
from intact.text.template import exact_time

VERSION: Final = 3
READERS: Final[Mapping[int, str]] = {1: "0.1.0", 2: "0.1.0"}
"""The last version of this package that can read each earlier format version."""
FIRST: Final = ""
"""Name of the first model if the method does not refer to it by name."""
MEMBERS: Final = (
    "format", "version", "hash", "models", "method", "problem", "files", "compiler", "sandbox", "now",
    "sampling", "budget",
)  # fmt: skip
OPTIONAL: Final = ("thinking",)


@dataclass(frozen=True)
class Sandbox:
    """The environment in which programs ran: the version of Python, and the kind of protection."""

    python: str
    protection: str

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        return {"python": self.python, "protection": self.protection}

    @classmethod
    def from_document(cls, value: Any) -> Sandbox:
        """Parse the result of `to_document`."""
        fields = Fields(value, "sandbox", ("python", "protection"))
        return cls(fields.text("python"), fields.text("protection"))


@dataclass(frozen=True)
class RunHeader:
    """Everything that determines a run.

    Attributes
    ----------
    models : tuple of RunModel
        The first model is the default for methods that name no model; its name is `FIRST` unless a method names it. The
        others are the models named by methods.
    method : str
        The method's name.
    source : bytes
        Digest of the versions of the code that made the run (`intact.solving.receipts.sealed.source`).
    parameters : mapping
        The parameters that were given; all others have the method's defaults.
    id, prompt, seed
        The fields of the problem.
    reader : str
        The name of the function that reads answers (`intact.solving.receipts.problems`).
    data : mapping
        The members of the problem's further data that were read.
    sampling : mapping
        The user's sampling parameters.
    budget : mapping
        The caps by name.
    files : tuple of (str, str)
        Names and contents of the files that the method read, in ascending order.
    compiler : str or None
        The constraint compiler, if constraints were used.
    sandbox : Sandbox or None
        The environment of programs, if any were run.
    now : datetime or None
        The time passed to chat templates, if a template that uses it was applied.
    thinking : ThinkingMode or None
        The models' thinking mode, if it was set and a chat template was applied.
    package : MethodPackage or None
        The package that provides the method, if it is not this one.
    """

    models: tuple[RunModel, ...]
    method: str
    source: bytes
    parameters: Mapping[str, Any]
    id: str
    prompt: Prompt
    seed: int
    reader: str
    data: Mapping[str, Any]
    sampling: Mapping[str, Any]
    budget: Mapping[str, Any]
    files: tuple[tuple[str, str], ...] = ()
    compiler: str | None = None
    sandbox: Sandbox | None = None
    now: datetime | None = None
    hash: HashName = "sha256"
    thinking: ThinkingMode | None = None
    package: MethodPackage | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the value as a JSON object."""
        prompt: Any = self.prompt if isinstance(self.prompt, str) else [list(turn) for turn in self.prompt]
        return {
            "format": FORMAT,
            "version": VERSION,
            "hash": self.hash,
            "models": [model.to_document() for model in self.models],
            "method": {
                "name": self.method,
                "source": self.source.hex(),
                "parameters": write_values(self.parameters),
                **({} if self.package is None else {"package": self.package.to_document()}),
            },
            "problem": {
                "id": self.id,
                "prompt": prompt,
                "seed": str(self.seed),
                "reader": self.reader,
                "data": write_values(self.data),
            },
            "files": [{"name": name, "text": text} for name, text in self.files],
            "compiler": self.compiler,
            "sandbox": None if self.sandbox is None else self.sandbox.to_document(),
            "now": None if self.now is None else self.now.isoformat(),
            "sampling": write_values(self.sampling),
            "budget": write_values(self.budget),
            **({} if self.thinking is None else {"thinking": str(self.thinking)}),
        }

    @classmethod
    def from_document(cls, fields: Fields) -> RunHeader:
        """Parse the header's members."""
        method = Fields(fields.values["method"], "method", ("name", "source", "parameters"), ("package",))
        package = MethodPackage.from_document(method.values["package"]) if "package" in method.values else None
        problem = Fields(fields.values["problem"], "problem", ("id", "prompt", "seed", "reader", "data"))
        parameters = read_values(method, "parameters")
        wrong = unbounded(parameters)
        if wrong is not None:
            method.fail("parameters", f"an object whose integers, including {quote(wrong)}, are at most {MOST} in size")
        return cls(
            _models(fields),
            method.text("name"),
            method.digest("source"),
            parameters,
            id=problem.text("id"),
            prompt=_prompt(problem),
            seed=_seed(problem),
            reader=problem.text("reader"),
            data=read_values(problem, "data"),
            sampling=read_values(fields, "sampling"),
            budget=read_values(fields, "budget"),
            files=_files(fields),
            compiler=fields.maybe("compiler", fields.text),
            sandbox=fields.maybe("sandbox", lambda name: Sandbox.from_document(fields.values[name])),
            now=fields.maybe("now", lambda name: _time(fields, name)),
            hash=fields.choice("hash", HASHES),
            thinking=_thinking(fields) if "thinking" in fields.values else None,
            package=package,
        )


def _models(fields: Fields) -> tuple[RunModel, ...]:
    models = fields.each("models", RunModel.from_document)
    if not models:
        fields.fail("models", "a non-empty list")
    if len({model.name for model in models}) < len(models):
        fields.fail("models", "a list of models with distinct names")
    if any(a.name > b.name for a, b in pairwise(models[1:])):
        fields.fail("models", "a list in which all models after the first are in ascending order of names")
    return models


def _files(fields: Fields) -> tuple[tuple[str, str], ...]:
    parts = fields.each("files", lambda value, where: Fields(value, where, ("name", "text")))
    files = tuple([(part.text("name"), part.text("text")) for part in parts])
    if any(a >= b for (a, _), (b, _) in pairwise(files)):
        fields.fail("files", "a list in ascending order of names")
    return files


def _prompt(fields: Fields) -> Prompt:
    value = fields.values["prompt"]
    if len(json.dumps(value)) > LONGEST:
        fields.fail("prompt", f"a JSON text of at most {LONGEST:,} characters")
    if isinstance(value, str):
        return value
    if not isinstance(value, list) or not all(
        isinstance(turn, list) and len(turn) == 2 and all(isinstance(part, str) for part in turn) for turn in value
    ):
        fields.fail("prompt", "a string, or a list of pairs of role and content")
    return tuple([(role, content) for role, content in value])


def _time(fields: Fields, name: str) -> datetime:
    time = exact_time(fields.text(name))
    if time is None:
        fields.fail(name, "a time such as 2026-11-20T17:45:00")
    return time


def _thinking(fields: Fields) -> ThinkingMode:
    try:
        return ThinkingMode.parse(fields.text("thinking"))
    except ParameterError:
        fields.fail("thinking", "on, off, or a number of tokens, as text")


def _seed(fields: Fields) -> int:
    text = fields.text("seed")
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20 and str(int(text)) == text):
        fields.fail("seed", "an integer in decimal, as text")
    return int(text)
