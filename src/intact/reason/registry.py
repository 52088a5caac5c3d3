"""Methods as values: what a generator function says about itself, and where methods are found."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import math
import re
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType, NoneType, SimpleNamespace
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, TypeVar, get_args, get_origin, get_type_hints

from intact._base.errors import ParameterError
from intact._base.plugins import Registry
from intact._base.suggest import unknown_among_many, unknown_name
from intact.engine.sampling.definitions import whole
from intact.engine.sampling.parameters import SamplingParameters
from intact.reason.limits import CommaList, Follows, Help, Named, Need, Needs
from intact.reason.problem import Answer, Problem
from intact.reason.requests import Request

T = TypeVar("T")
Part: TypeAlias = Generator[Request | Sequence[Request], Any, T]
"""A part of a method, for ``yield from``: yields requests, returns a T."""
Steps: TypeAlias = Part[Answer]
"""What a method is while it runs."""
_KINDS: Mapping[str, type] = {kind.__name__: kind for kind in (bool, int, float, str)}


class Parameter(NamedTuple):
    """A parameter of a method.

    Attributes
    ----------
    type : str
        Its annotation, without what that says of the range.
    help : str
        One sentence.
    checks : tuple of callables
        Called with its value by its name, they raise ParameterError where it makes no sense (`intact.reason.limits`).
    names : {'', 'scorer', 'model', 'tool'}
        What of the driver's its value is the name of.
    needs : mapping
        What its values require of the scorer; None stands for every value.
    listed : bool
        If true, its value is a list in one text, whose parts commas separate.
    follows : str
        The sampling parameter whose value by the user it takes, where it is not given itself; by default that of its
        own name.
    """

    name: str
    type: str
    default: Any
    help: str
    checks: tuple[Callable[..., None], ...] = ()
    names: Literal["", "scorer", "model", "tool"] = ""
    needs: Mapping[str | None, Need] = MappingProxyType({})
    listed: bool = False
    follows: str = ""

    @property
    def kind(self) -> Any:
        """The type of its values: as its annotation says, or else that of the default."""
        return _KINDS.get(self.type.removesuffix(" | None"), type(self.default))

    @property
    def wanted(self) -> str:
        """The values that it takes, for an error message."""
        return f"a value of type {self.kind.__name__}" if self.default is None else f"a value like {self.default!r:.60}"

    def as_dict(self) -> dict[str, Any]:
        """Return the parameter as JSON has it."""
        return {"name": self.name, "type": self.type, "default": self.default, "help": self.help}

    def parse(self, text: str) -> Any:
        """Return the value that a text states, of this parameter's type.

        Raises
        ------
        ParameterError
            If it states none.
        """
        kind = self.kind
        try:
            if kind is bool:
                return {"true": True, "false": False}[text.lower()]
            value: Any = kind(text) if kind in (int, float) else text.replace("\\n", "\n")
            if kind is float and not math.isfinite(value):
                raise ValueError
            return value
        except (KeyError, ValueError):
            raise ParameterError(f"{self.name} takes {self.wanted}, got {text!r}") from None

    def read(self, value: Any) -> Any:
        """Return a value as it is declared; a whole number will do for a float.

        Raises
        ------
        ParameterError
            If it is of another type, not finite, or not what the annotation allows.
        """
        declared, _, optional = self.type.partition(" | ")
        if (
            declared not in _KINDS
            or (value is None and optional)
            or (self.names == "scorer" and hasattr(value, "score"))
        ):
            return value
        if self.kind in (int, float) and (number := whole(value)) is not None:
            value = number if self.kind is int else float(number) if abs(number) < 1 << 1023 else math.inf
        if not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is not bool):
            raise ParameterError(f"{self.name} takes {self.wanted}, got {value!r:.60}")
        if self.kind is float and not math.isfinite(value):
            raise ParameterError(f"{self.name} must be a finite number, got {value}")
        for check in self.checks:
            check(**{self.name: value})
        return value


@dataclass(frozen=True)
class SharedParameters:
    """Parameters that several methods share, declared once: the fields of a frozen dataclass below this one.

    A method takes them as one keyword-only parameter, whose default holds theirs; to its users they are parameters like
    its own, with their help from the section Parameters of the class's docstring.
    """


@dataclass(frozen=True)
class Method:
    """A method: called with a problem and its parameters it begins to run.

    Attributes
    ----------
    line : str
        The first line of its docstring.
    paper : str
        Where it comes from.
    sampling : mapping
        What it prefers where neither the user nor a request says otherwise, such as a temperature.
    version : int
        Raised when its requests change, or its answer of the same texts (`intact.solving.receipts.versions`).
    uses : tuple of str
        Shared parts that it uses and that have a version of their own, such as ``programs``.
    group : str
        The kind of method it is, under which lists show it.
    independent : bool
        If true, the texts that answer the problem's own prompt are independent draws, as many as the parameters say:
        their number is settled before the first is drawn. Only then are curves over that number unbiased.
    composition : str
        The transformers that it applies, where it is a composition of them (`intact.reason.parts.composing.composed`).
    laws : tuple of str
        The laws that it obeys by that (`intact.reason.testing.laws.METHOD_LAWS`).
    shared : mapping of str to SharedParameters
        The parameters of the function that stand for several, with their defaults.
    checks : tuple of callables
        Each is called with the parameters that its signature names; it raises ParameterError where their values cannot
        go together.
    """

    name: str
    function: Callable[..., Steps]
    paper: str
    line: str
    parameters: tuple[Parameter, ...]
    sampling: Mapping[str, Any]
    version: int = 1
    uses: tuple[str, ...] = ()
    group: str = "others"
    independent: bool = False
    composition: str = ""
    laws: tuple[str, ...] = ()
    shared: Mapping[str, SharedParameters] = field(default_factory=dict)
    checks: tuple[Callable[..., None], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the method as JSON has it; only a composition has the members `composition` and `laws`."""
        value: dict[str, Any] = {
            "name": self.name,
            "group": self.group,
            "line": self.line,
            "paper": self.paper,
            "sampling": dict(self.sampling),
            "parameters": [parameter.as_dict() for parameter in self.parameters],
        }
        return value | ({"composition": self.composition, "laws": list(self.laws)} if self.composition else {})

    def __call__(self, problem: Problem, **parameters: Any) -> Steps:
        """Begin to run.

        Raises
        ------
        ParameterError
            As for `read`.
        """
        given = self.read(parameters)
        for name, shared in self.shared.items():
            own = {one.name: given.pop(one.name) for one in fields(shared) if one.name in given}
            given[name] = replace(shared, **own)
        return self.function(problem, **given)

    def read(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters, each held against its declaration (`Parameter.read`), and all against `checks`.

        Raises
        ------
        ParameterError
            If there is no such parameter, or a value makes no sense, alone or with the others.
        """
        declared = {name: self.parameter(name) for name in parameters}
        found = {name: declared[name].read(value) for name, value in parameters.items()}
        self.check_together(found)
        return found

    def check_together(self, parameters: Mapping[str, Any]) -> None:
        """Raise ParameterError if values, with the defaults of what is missing, cannot go together (`checks`)."""
        values = {one.name: one.default for one in self.parameters} | dict(parameters)
        for check in self.checks:
            check(**{name: values[name] for name in inspect.signature(check).parameters})

    def parse(self, texts: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Return the parameters that pairs of name and text state: of a name the last, read by `Parameter.parse`.

        Raises
        ------
        ParameterError
            As for `read`.
        """
        return self.read({name: self.parameter(name).parse(text) for name, text in texts})

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of a name.

        Raises
        ------
        ParameterError
            If there is none, naming those that there are.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        if name not in known:
            raise ParameterError(unknown_name(f"{self.name} has no parameter {name!r:.60}", name, known, "it has"))
        return known[name]

    def check_scorer(self, parameters: Mapping[str, Any], name: str, scorer: Any) -> None:
        """Raise ParameterError if a scorer, or its class, is of no use with these parameters (`Need.check`)."""
        for parameter in self.parameters:
            value = parameters.get(parameter.name, parameter.default)
            needs = [parameter.needs.get(None), parameter.needs.get(value) if isinstance(value, str) else None]
            for need, what in zip(needs, (self.name, f"{self.name} with {parameter.name}={value}"), strict=True):
                if need is not None:
                    need.check(what, name, scorer)

    def check_sampling(self, options: Mapping[str, Any]) -> None:
        """Raise ParameterError if the user's sampling parameters make no sense, alone or with those it prefers."""
        SamplingParameters.by_name({**self.sampling, **options})

    def with_sampling(self, options: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Add to parameters those that follow a sampling parameter of the user's, where they are not given."""
        followed = {one.name: one.follows or one.name for one in self.parameters}
        return {name: options[key] for name, key in followed.items() if key in options} | dict(parameters)


def method(
    paper: str,
    *,
    version: int = 1,
    uses: tuple[str, ...] = (),
    group: str = "others",
    independent: bool = False,
    checks: tuple[Callable[..., None], ...] = (),
    **sampling: Any,
) -> Callable[[Callable[..., Steps]], Method]:
    """Make a method of a generator function, whose keyword-only parameters become the method's.

    Parameters
    ----------
    paper : str
        The source: authors, year, arXiv number.
    version, uses, group, independent, checks
        As of `Method`.
    **sampling
        Defaults of `Extend` for its requests, such as ``temperature=0.8``.

    Raises
    ------
    ParameterError
        If the paper is no text, as where the decorator has no brackets.
    """
    if not isinstance(paper, str):
        raise ParameterError(
            f"method takes the paper, a text: decorate with @method('Who, when, where'), got {paper!r:.60}"
        )

    def decorate(function: Callable[..., Steps]) -> Method:
        text = inspect.getdoc(function) or ""
        known, parameters = getattr(function, "__globals__", {}), list[Parameter]()
        shared: dict[str, SharedParameters] = {}
        for p in inspect.signature(function).parameters.values():
            if p.kind is not inspect.Parameter.KEYWORD_ONLY:
                continue
            if isinstance(p.default, SharedParameters):
                shared[p.name] = p.default
                parameters += _parameters_of(p.default)
            else:
                parameters.append(_parameter(known, p.name, p.annotation, p.default, words=_help(text, p.name)))
        return Method(
            function.__name__,
            function,
            paper,
            line=text.partition("\n")[0],
            parameters=tuple(parameters),
            sampling=dict(sampling),
            version=version,
            uses=uses,
            group=group,
            independent=independent,
            shared=shared,
            checks=checks,
        )

    return decorate


def _parameters_of(settings: SharedParameters) -> list[Parameter]:
    """Return the parameters that shared settings stand for."""
    known, text = vars(sys.modules[type(settings).__module__]), inspect.getdoc(type(settings)) or ""
    return [
        _parameter(known, one.name, one.type, getattr(settings, one.name), words=_help(text, one.name))
        for one in fields(settings)
    ]


def _parameter(known: Mapping[str, Any], name: str, annotation: Any, default: Any, words: str) -> Parameter:
    """Return a parameter as it is declared; an annotation that names nothing at run time stays as it is written."""
    holder = SimpleNamespace(__annotations__={name: annotation})
    try:
        hint = get_type_hints(holder, dict(known), include_extras=True)[name]
    except NameError:
        return Parameter(name, str(annotation), default, words)
    parts = get_args(hint) if NoneType in get_args(hint) else (hint,)
    inner = next(part for part in parts if part is not NoneType)
    kind, *marks = get_args(inner) if get_origin(inner) is Annotated else (inner,)
    return Parameter(
        name,
        getattr(kind, "__name__", str(kind)) + " | None" * (len(parts) > 1),
        default,
        words or next((mark.text for mark in marks if isinstance(mark, Help)), ""),
        checks=tuple([mark for mark in marks if callable(mark)]),
        names=next((mark.kind for mark in marks if isinstance(mark, Named)), ""),
        needs=_needs(marks),
        listed=any(isinstance(mark, CommaList) for mark in marks),
        follows=next((mark.sampling for mark in marks if isinstance(mark, Follows)), ""),
    )


def _needs(marks: Sequence[Any]) -> Mapping[str | None, Need]:
    """Return what an annotation's marks require of the scorer."""
    found: dict[str | None, Need] = {}
    for mark in marks:
        if isinstance(mark, Named) and mark.need is not None:
            found[None] = mark.need
        elif isinstance(mark, Needs):
            found.update(mark.values)
    return found


def _help(docstring: str, name: str) -> str:
    """Return what a NumPy docstring says about a parameter, without the marks of code."""
    found = re.search(rf"^{re.escape(name)} : .*\n((?:[ \t]+.*\n?)+)", docstring, re.MULTILINE)
    return " ".join(found[1].split()).replace("``", "") if found else ""


METHODS: Final = Registry[Method](
    "intact.methods", "intact.reason.methods", lambda value: value.name if isinstance(value, Method) else None
)
"""All methods: those that the files of `intact.reason.methods` define, and those of other packages."""


def all_methods() -> Mapping[str, Method]:
    """Return the methods of this package by name, sorted."""
    return METHODS.own


def find(name: str) -> Method:
    """Find a method by its name, or in a file of the user's own: ``my_method.py:name``.

    Raises
    ------
    ParameterError
        If there is none, naming what there is.
    PluginError
        If it is of another package that cannot be loaded.
    """
    file, colon, inner = name.rpartition(":")
    if colon and file.endswith(".py"):
        return _from_file(Path(file), inner)
    if name.endswith(".py"):
        return _from_file(Path(name), "")  # raises, with the names that it has
    if (plain := name.replace("-", "_")) in METHODS:
        return METHODS[plain]
    problem = f"there is no method {name!r:.200}"
    raise ParameterError(
        unknown_among_many(problem, name, METHODS, "intact methods lists all; FILE.py:NAME is one of your own")
    )


def _from_file(path: Path, name: str) -> Method:
    try:
        if not path.is_file():
            raise ParameterError(f"{str(path)!r:.200}: there is no such file")
    except OSError as error:
        raise ParameterError(f"{str(path)!r:.200}: {error.strerror}") from error
    label = "intact_method_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    spec = importlib.util.spec_from_file_location(label, path)
    if spec is None or spec.loader is None:
        raise ParameterError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ParameterError(f"{path} cannot be loaded: {error!r:.200}") from error
    found = vars(module).get(name)
    if not isinstance(found, Method):
        there = [key for key, value in vars(module).items() if isinstance(value, Method)]
        problem = f"{path} has no method {name!r:.60}" if name else f"give {path}:NAME"
        raise ParameterError(
            unknown_name(problem, name, there, "it has") if there else f"{problem}: decorate one with @method"
        )
    return found
