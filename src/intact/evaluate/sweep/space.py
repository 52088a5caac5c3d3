"""Spaces of settings, and the random trials drawn from them."""

from __future__ import annotations

import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError
from intact._base.files import read_text
from intact._base.suggest import unknown_name
from intact.engine.sampling.parameters import DEFINITIONS
from intact.reason.registry import Method, find
from intact.tasks.choose import OPTIONS, Chosen, choose, with_option
from intact.tasks.score.available import check_method

PROMPT: Final = tuple(OPTIONS)
"""Axes that are task options: they change how problems are asked and answers are read, not which problems there are."""
SAMPLING: Final = tuple(
    name for name, one in DEFINITIONS.items() if one.methods and one.kind in ("integer", "decimal", "flag")
)
"""Axes that are sampling parameters."""
MOST: Final = 100_000
"""The maximum number of combinations in a space."""
Axes = Mapping[str, Sequence[str]]
"""The values of each axis, as strings; `method` is one of the axes."""

DEFAULT: Final[tuple[Axes, ...]] = (
    {"method": ("chain_of_thought",), "temperature": ("0",)},
    {"method": ("chain_of_thought",), "temperature": ("0",), "prompt": ("direct", "reflective")},
    {"method": ("self_consistency",), "n": ("4", "16"), "prompt": ("direct", "reflective")},
    {
        "method": ("best_of_n", "weighted_best_of_n"),
        "n": ("4", "8"),
        "scorer": ("likelihood", "self_certainty", "p_true"),
    },
    {
        "method": ("self_consistency", "adaptive_consistency"),
        "n": ("4", "8", "16"),
        "temperature": ("0.5", "0.7", "0.9"),
        "top_p": ("0.9", "1"),
    },
    {"method": ("early_stopping_consistency",), "n": ("8", "16"), "window": ("4",), "temperature": ("0.5", "0.7")},
)
"""The default space: greedy decoding, prompt types, best of n by scorers of the model itself, and votes.

Prompt types are tried with a single completion and with votes; votes have several sizes, with and without early
stopping.
"""


class SweepTrial(NamedTuple):
    """A setting: a method with its parameters, sampling parameters, and task options."""

    method: str
    parameters: Mapping[str, Any] = {}
    sampling: Mapping[str, Any] = {}
    prompt: Mapping[str, str] = {}

    @property
    def label(self) -> str:
        """The setting as a label, such as ``self_consistency n=8 temperature=0.7``."""
        values = {**self.parameters, **self.sampling, **self.prompt}
        return " ".join([self.method, *(f"{name}={value}" for name, value in values.items())])

    @property
    def key(self) -> str:
        """The setting with all defaults filled in, as canonical JSON: equal for equivalent settings."""
        method = find(self.method)
        parameters = {one.name: self.parameters.get(one.name, one.default) for one in method.parameters}
        sampling = {
            name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
            for name, value in {**method.sampling, **self.sampling}.items()
        }
        usual = {name: DEFINITIONS[name].default for name in sampling}
        sampling = {name: value for name, value in sampling.items() if name == "temperature" or value != usual[name]}
        prompt = {name: value for name, value in self.prompt.items() if value != OPTIONS[name]}
        return json.dumps([self.method, parameters, sampling, prompt], sort_keys=True, default=repr)

    def task(self, label: str) -> Chosen:
        """Return the task of this label with the setting's options applied."""
        if not self.prompt:
            return choose(label)
        return choose(with_option(label, ",".join(f"{name}={value}" for name, value in self.prompt.items())))


def parse_axes(texts: Iterable[str]) -> tuple[Axes, ...]:
    """Return the space described by arguments ``NAME=V1,V2``, or of a single argument ``FILE.toml``.

    Values of a list parameter, such as archon's layers, are separated by semicolons:
    ``layers=generate 4, fuse 1; generate 8, fuse 1``.

    Raises
    ------
    ParameterError
        If an argument has neither form, an axis is given twice, or the file contains no space.
    """
    given = list(texts)
    if not given:
        return DEFAULT
    if any(text.endswith(".toml") and "=" not in text for text in given):
        if len(given) > 1:
            raise ParameterError("--space takes either one FILE.toml or axes NAME=V1,V2, not both")
        return read_space(Path(given[0]))
    values: dict[str, str] = {}
    for text in given:
        axis, equals, after = text.partition("=")
        if not equals or not axis.strip():
            raise ParameterError(f"--space must be NAME=V1,V2 or FILE.toml, got {text!r:.80}")
        if axis.strip() in values:
            raise ParameterError(f"--space: {axis.strip()} is given twice")
        values[axis.strip()] = after
    listed = _listed(name.strip() for name in values.get("method", "").split(",") if name.strip())
    axes = {
        axis: [value.strip() for value in after.split(";" if axis in listed else ",")] for axis, after in values.items()
    }
    for axis, found in axes.items():
        if not all(found):
            raise ParameterError(f"--space must be NAME=V1,V2 or FILE.toml, got {f'{axis}={values[axis]}'!r:.80}")
    return (axes,)


def _listed(methods: Iterable[str]) -> set[str]:
    """Return the names of the methods' list parameters, whose values contain commas."""
    return {one.name for name in methods if name for one in find(name).parameters if one.listed}


def read_space(file: Path) -> tuple[Axes, ...]:
    """Return the space in a TOML file: tables ``[[space]]``, each with lists of values by axis name.

    Raises
    ------
    ParameterError
        If the file cannot be read, is not TOML, or contains anything else.
    """
    try:
        found = tomllib.loads(read_text(file, ParameterError))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ParameterError(f"{file} is not valid TOML: {error}") from error
    tables = found.get("space")
    if set(found) != {"space"} or not isinstance(tables, list) or not tables:
        raise ParameterError(f"{file} must contain only [[space]] tables, at least one, got {sorted(found)}")
    return tuple(_table(file, number, table) for number, table in enumerate(tables, 1))


def _table(file: Path, number: int, table: Any) -> Axes:
    if not isinstance(table, dict):
        raise ParameterError(f"{file}: [[space]] {number} must be a table of lists")
    for name, values in table.items():
        if not isinstance(values, list) or not values or not all(isinstance(v, str | int | float) for v in values):
            raise ParameterError(f"{file}: {name} in [[space]] {number} must be a list of values, got {values!r:.80}")
    return {name: [_as_text(value) for value in values] for name, values in table.items()}


def _as_text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_trial(text: str) -> SweepTrial:
    """Return the setting described by a string such as ``self_consistency:n=16,temperature=0.7``.

    Raises
    ------
    ParameterError
        If there is no such method, or a value is invalid.
    """
    method, _, rest = text.partition(":")
    axes: dict[str, Sequence[str]] = {"method": [method]}
    listed, name = _listed([method]), ""
    for part in filter(None, rest.split(",")):
        before, equals, value = part.partition("=")
        if equals:
            name = before.strip()
            axes[name] = [value.strip()]
        elif name in listed:
            axes[name] = [f"{axes[name][0]}, {part.strip()}"]
        else:
            raise ParameterError(f"a setting must be METHOD:NAME=VALUE,..., got {text!r:.80}")
    (trial,) = expand([axes])
    return trial


def expand(space: Sequence[Axes]) -> list[SweepTrial]:
    """Return all settings of a space, in order and without duplicates; raise as `tables` does."""
    return [trial for table in tables(space) for trial in table]


def tables(space: Sequence[Axes]) -> list[list[SweepTrial]]:
    """Return the settings of each table of a space, in order; a duplicate belongs to the first table that contains it.

    An axis that is a parameter of some of a table's methods applies only to these methods.

    Raises
    ------
    ParameterError
        If a table has no methods, an axis fits none of them, a value is invalid, or there are too many settings.
    """
    known: set[str] = set()
    found: list[list[SweepTrial]] = []
    for axes in space:
        found.append([])
        for trial in _of_table(axes):
            if trial.key not in known:
                known.add(trial.key)
                found[-1].append(trial)
            if len(known) > MOST:
                raise ParameterError(f"the space has more than {MOST:,} settings: give fewer values")
    return found


def suited(space: Sequence[Sequence[SweepTrial]], labels: Iterable[str]) -> list[list[SweepTrial]]:
    """Return the tables of a space without the settings whose task options some of the given tasks do not support."""
    wanted = list(labels)

    def takes(trial: SweepTrial) -> bool:
        if not trial.prompt:
            return True
        try:
            return all(trial.task(label) for label in wanted)
        except ParameterError:
            return False

    return [[trial for trial in table if takes(trial)] for table in space]


def _of_table(axes: Axes) -> Iterator[SweepTrial]:
    if "method" not in axes:
        given = f"; there are {', '.join(axes)}" if axes else ""
        raise ParameterError(f"a space needs the axis method, such as --space method=self_consistency,best_of_n{given}")
    methods = [find(name) for name in axes["method"]]
    known = {parameter.name for method in methods for parameter in method.parameters}
    names = ["method", *PROMPT, *SAMPLING, *sorted(known)]
    for name in axes:
        if name not in names:
            problem = f"{', '.join(axes['method'])}: no axis named {name!r:.60}"
            raise ParameterError(unknown_name(problem, name, names))
    for source, method in zip(axes["method"], methods, strict=True):
        own = {one.name for one in method.parameters}
        mine = {name: values for name, values in axes.items() if name in (*PROMPT, *SAMPLING, *own)}
        for values in itertools.product(*mine.values()):
            texts = dict(zip(mine, values, strict=True))
            sampling = {name: _sampling(name, text) for name, text in texts.items() if name in SAMPLING}
            prompt = {name: text for name, text in texts.items() if name in PROMPT}
            stated = [(name, text) for name, text in texts.items() if name not in (*sampling, *prompt)]
            yield SweepTrial(source, _parsed(method, stated), sampling, prompt)


def _parsed(method: Method, texts: Iterable[tuple[str, str]]) -> dict[str, Any]:
    found = method.parse(texts)
    check_method(method, found)
    return found


def _sampling(name: str, text: str) -> Any:
    """Return the validated value of a sampling parameter."""
    definition = DEFINITIONS[name]
    try:
        if definition.kind == "flag":
            value: Any = {"true": True, "false": False}[text.lower()]
        else:
            value = int(text) if definition.kind == "integer" else float(text)
    except (KeyError, ValueError):
        raise ParameterError(f"{name} must be a value such as {definition.default!r}, got {text!r:.60}") from None
    definition.check(name, value)
    return value


def draw(space: Sequence[Sequence[SweepTrial]], count: int, seed: int) -> list[SweepTrial]:
    """Return at most `count` settings from the tables of a space, in an order drawn from a seed.

    The order is that of the SHA-256 of seed and setting. The first settings of the tables precede all others, so no
    table is left out while there is room.
    """

    def order(trials: Iterable[SweepTrial]) -> list[SweepTrial]:
        return sorted(trials, key=lambda trial: _place(seed, trial.key))

    drawn = [order(table) for table in space]
    firsts, others = ([trial for table in drawn for trial in table[part]] for part in (slice(1), slice(1, None)))
    return [*order(firsts), *order(others)][:count]


def shuffled(ids: Iterable[str], seed: int) -> list[str]:
    """Return names in an order drawn from a seed: that of the SHA-256 of seed and name."""
    return sorted(ids, key=lambda name: _place(seed, name))


def _place(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()
