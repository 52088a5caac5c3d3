"""Methods as values: the declaration of a generator function, and the lookup of methods."""

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
"""Part of a method, for use with ``yield from``: it yields requests and returns a T."""
Steps: TypeAlias = Part[Answer]
"""The type of a running method."""
_KINDS: Mapping[str, type] = {kind.__name__: kind for kind in (bool, int, float, str)}


class Parameter(NamedTuple):
    """A parameter of a method.

    Attributes
    ----------
    type : str
        The annotation, without the constraints on the value.
    help : str
        A one-sentence description.
    checks : tuple of callables
        Functions called with the value as a keyword argument named after the parameter; they raise ParameterError if it
        is invalid (`intact.reason.limits`).
    names : {'', 'scorer', 'model', 'tool'}
        The kind of object that the value names.
    needs : mapping
        Requirements that the values place on the scorer; the key None applies to every value.
    listed : bool
        If true, the value is a comma-separated list.
    follows : str
        The user's sampling parameter whose value it takes if it is not given; by default the one with the same name.
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
        """The type of the values: the annotated type, or else the type of the default."""
        return _KINDS.get(self.type.removesuffix(" | None"), type(self.default))

    @property
    def wanted(self) -> str:
        """A description of valid values, for error messages."""
        example = "" if self.default is None else f", such as {self.default!r:.60}"
        return f"of type {self.kind.__name__}{example}"

    def as_dict(self) -> dict[str, Any]:
        """Return the parameter as a JSON-serialisable dict."""
        return {"name": self.name, "type": self.type, "default": self.default, "help": self.help}

    def parse(self, text: str) -> Any:
        """Parse a string as a value of this parameter's type.

        Raises
        ------
        ParameterError
            If the string cannot be parsed.
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
            raise ParameterError(f"{self.name} must be {self.wanted}, got {text!r}") from None

    def read(self, value: Any) -> Any:
        """Validate a value against the declaration; a whole number is accepted for a float.

        Raises
        ------
        ParameterError
            If the value has the wrong type, is not finite, or violates the annotation.
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
            raise ParameterError(f"{self.name} must be {self.wanted}, got {value!r:.60}")
        if self.kind is float and not math.isfinite(value):
            raise ParameterError(f"{self.name} must be a finite number, got {value}")
        for check in self.checks:
            check(**{self.name: value})
        return value


@dataclass(frozen=True)
class SharedParameters:
    """Parameters shared by several methods, declared once as the fields of a frozen dataclass derived from this one.

    A method takes them as one keyword-only parameter whose default is an instance. To users, they look like the
    method's own parameters, with help taken from the Parameters section of the class's docstring.
    """


@dataclass(frozen=True)
class Method:
    """A method: calling it with a problem and parameters starts it.

    Attributes
    ----------
    line : str
        The first line of its docstring.
    paper : str
        Source of the method.
    sampling : mapping
        Its default sampling parameters, used if neither the user nor a request sets them, such as a temperature.
    version : int
        Version number; increased when its requests change, or its answer for the same completions
        (`intact.solving.receipts.versions`).
    uses : tuple of str
        Shared parts that it uses and that have a version of their own, such as ``programs``.
    group : str
        The heading under which it is listed.
    independent : bool
        If true, the completions of the problem's own prompt are independent samples, and their number is fixed by the
        parameters before the first is drawn. Only then are curves over that number unbiased.
    composition : str
        The transformers that the method applies, if it is a composition (`intact.reason.parts.composing.composed`).
    laws : tuple of str
        The laws that follow from the composition (`intact.reason.testing.laws.METHOD_LAWS`).
    shared : mapping of str to SharedParameters
        The function's parameters that hold shared parameters, with their defaults.
    checks : tuple of callables
        Each is called with the parameters named in its signature, and raises ParameterError if their values are
        incompatible.
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
        """Return the method as a JSON-serialisable dict; only compositions have `composition` and `laws`."""
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
        """Start the method.

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
        """Validate parameters: each against its declaration (`Parameter.read`), and all together against `checks`.

        Raises
        ------
        ParameterError
            If a parameter is unknown, or a value is invalid, alone or in combination with the others.
        """
        declared = {name: self.parameter(name) for name in parameters}
        found = {name: declared[name].read(value) for name, value in parameters.items()}
        self.check_together(found)
        return found

    def check_together(self, parameters: Mapping[str, Any]) -> None:
        """Raise ParameterError if values, completed by the defaults, are incompatible (`checks`)."""
        values = {one.name: one.default for one in self.parameters} | dict(parameters)
        for check in self.checks:
            check(**{name: values[name] for name in inspect.signature(check).parameters})

    def parse(self, texts: Iterable[tuple[str, str]]) -> dict[str, Any]:
        """Parse pairs of parameter name and string (`Parameter.parse`); the last value given for a name counts.

        Raises
        ------
        ParameterError
            As for `read`.
        """
        return self.read({name: self.parameter(name).parse(text) for name, text in texts})

    def parameter(self, name: str) -> Parameter:
        """Look up a parameter by name.

        Raises
        ------
        ParameterError
            If the parameter does not exist; the message lists the existing ones.
        """
        known = {parameter.name: parameter for parameter in self.parameters}
        if name not in known:
            raise ParameterError(unknown_name(f"{self.name} has no parameter {name!r:.60}", name, known, "it has"))
        return known[name]

    def check_scorer(self, parameters: Mapping[str, Any], name: str, scorer: Any) -> None:
        """Raise ParameterError if a scorer, or its class, cannot be used with these parameters (`Need.check`)."""
        for parameter in self.parameters:
            value = parameters.get(parameter.name, parameter.default)
            needs = [parameter.needs.get(None), parameter.needs.get(value) if isinstance(value, str) else None]
            for need, what in zip(needs, (self.name, f"{self.name} with {parameter.name}={value}"), strict=True):
                if need is not None:
                    need.check(what, name, scorer)

    def check_sampling(self, options: Mapping[str, Any]) -> None:
        """Raise ParameterError if the user's sampling parameters are invalid, alone or with the method's defaults."""
        SamplingParameters.by_name({**self.sampling, **options})

    def with_sampling(self, options: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Add parameters that follow one of the user's sampling parameters and are not given."""
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
    """Turn a generator function into a method; its keyword-only parameters become the method's parameters.

    Parameters
    ----------
    paper : str
        Source of the method: authors, year, arXiv number.
    version, uses, group, independent, checks
        As in `Method`.
    **sampling
        Default `Extend` fields for its requests, such as ``temperature=0.8``.

    Raises
    ------
    ParameterError
        If the paper is not a string, for example because the decorator was used without parentheses.
    """
    if not isinstance(paper, str):
        raise ParameterError(
            f"the paper must be a string: decorate with @method('Who, when, where'), got {paper!r:.60}"
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
    """Return the parameters declared by a dataclass of shared parameters."""
    known, text = vars(sys.modules[type(settings).__module__]), inspect.getdoc(type(settings)) or ""
    return [
        _parameter(known, one.name, one.type, getattr(settings, one.name), words=_help(text, one.name))
        for one in fields(settings)
    ]


def _parameter(known: Mapping[str, Any], name: str, annotation: Any, default: Any, words: str) -> Parameter:
    """Return a declared parameter; an annotation that cannot be resolved at run time is kept as a string."""
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
    """Return the requirements on the scorer declared by an annotation."""
    found: dict[str | None, Need] = {}
    for mark in marks:
        if isinstance(mark, Named) and mark.need is not None:
            found[None] = mark.need
        elif isinstance(mark, Needs):
            found.update(mark.values)
    return found


def _help(docstring: str, name: str) -> str:
    """Return the description of a parameter in a NumPy docstring, without backticks."""
    found = re.search(rf"^{re.escape(name)} : .*\n((?:[ \t]+.*\n?)+)", docstring, re.MULTILINE)
    return " ".join(found[1].split()).replace("``", "") if found else ""


METHODS: Final = Registry[Method](
    "intact.methods", "intact.reason.methods", lambda value: value.name if isinstance(value, Method) else None
)
"""All methods: those defined in `intact.reason.methods`, and those of other packages."""


def all_methods() -> Mapping[str, Method]:
    """Return this package's methods by name, sorted."""
    return METHODS.own


def find(name: str) -> Method:
    """Look up a method by name, or in a user's file: ``my_method.py:name``.

    Raises
    ------
    ParameterError
        If the method does not exist; the message suggests existing ones.
    PluginError
        If the method belongs to another package that cannot be loaded.
    """
    file, colon, inner = name.rpartition(":")
    if colon and file.endswith(".py"):
        return _from_file(Path(file), inner)
    if name.endswith(".py"):
        return _from_file(Path(name), "")  # raises an error that lists its methods
    if (plain := name.replace("-", "_")) in METHODS:
        return METHODS[plain]
    problem = f"no method named {name!r:.200}"
    raise ParameterError(
        unknown_among_many(problem, name, METHODS, "intact methods lists all; FILE.py:NAME names one of your own")
    )


def _from_file(path: Path, name: str) -> Method:
    try:
        if not path.is_file():
            raise ParameterError(f"{str(path)!r:.200}: no such file")
    except OSError as error:
        raise ParameterError(f"{str(path)!r:.200}: {error.strerror}") from error
    label = "intact_method_" + hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    spec = importlib.util.spec_from_file_location(label, path)
    if spec is None or spec.loader is None:
        raise ParameterError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[label] = module  # dataclasses look up their module
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
