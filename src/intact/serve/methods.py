"""Reasoning methods that clients may choose: `name:self-consistency-16`, or the request's field `intact`."""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

from intact._base.errors import ParameterError
from intact._base.suggest import unknown_among_many, unknown_name
from intact.reason.budget import Budget
from intact.reason.registry import Method, Parameter, all_methods
from intact.reason.scorer import Scorer
from intact.serve.errors import ApiError
from intact.serve.requests import Extension, TextRequest
from intact.tasks.score.scorers import SCORERS, find_scorer

LISTED = "GET /v1/methods lists all"
WITHHELD = ("compute_optimal",)
"""Methods that clients cannot choose because they read files on the server."""
UNSERVED = ("reward", "prefix_value")
"""Scorers that need files on the server; a table of prefix values also contains the correct answers."""
MOST = 1024
"""Maximum value of a method's integer parameters, except for those that count tokens."""
MOST_TOKENS = 1 << 16
"""Maximum number of tokens that a method may generate, regardless of its budget."""


@cache
def served_methods() -> dict[str, Method]:
    """Return the methods that clients may choose."""
    return {name: method for name, method in all_methods().items() if name not in WITHHELD}


@cache
def catalogue() -> list[dict[str, Any]]:
    """Return the methods as JSON values: summary, paper, parameters."""
    return [
        method.as_dict() | {"parameters": [one.as_dict() | _limits(one) for one in method.parameters]}
        for method in served_methods().values()
    ]


def _limits(parameter: Parameter) -> dict[str, Any]:
    """Return the limits of a parameter that clients can check before sending it."""
    if parameter.names == "scorer":
        return {"choices": served_scorers()}
    return {"maximum": _most(parameter)} if parameter.kind is int else {}


@cache
def served_scorers() -> list[str]:
    """Return the scorers that clients may choose; these take no arguments, which could name files on the server."""
    return [name for name in SCORERS.own if name not in UNSERVED]


def find_served_scorer(name: str) -> Scorer:
    """Return a scorer that clients may choose.

    Raises
    ------
    ParameterError
        If there is no such scorer.
    """
    if name not in served_scorers():
        raise ParameterError(unknown_name(f"no scorer named {name!r:.60}", name, served_scorers()))
    return find_scorer(name)


class MethodChoice(NamedTuple):
    """The method that a request chooses, its n if the model's name has one, and the model's name without them."""

    model: str
    method: str
    n: int | None


def choice_of(request: TextRequest, models: Container[str]) -> MethodChoice | None:
    """Return the method that a request chooses, by its field `intact` or the model's name; None for plain generation.

    Raises
    ------
    ApiError
        400, if the two choose different methods; 404, if the model's name is known except for the method after its
        colon.
    """
    model, suffix, n = split(request.model)
    method = request.intact.method
    if method is None and suffix is None:
        _check_suffix(model, models)
        return None
    if method is not None and suffix is not None and method.replace("-", "_") != suffix:
        message = f"the model's name selects {suffix}, but intact.method selects {method!r:.60}"
        raise ApiError(400, message, "intact.method")
    return MethodChoice(model, method or suffix or "", n)


def split(model: str) -> tuple[str, str | None, int | None]:
    """Split off a model name's suffix after the colon, and return the method and its n."""
    name, colon, suffix = model.rpartition(":")
    found = re.fullmatch(r"([a-z][a-z_-]*?)(?:-(\d{1,6}))?", suffix)
    if not colon or not found or found[1].replace("-", "_") not in served_methods():
        return model, None, None
    return name, found[1].replace("-", "_"), int(found[2]) if found[2] else None


def _check_suffix(model: str, names: Container[str]) -> None:
    """Raise ApiError if a model's name is known except for the part after its colon, which is not a method."""
    name, colon, suffix = model.rpartition(":")
    if not colon or not suffix or name not in names or model in names:
        return
    method = re.sub(r"-\d{1,6}$", "", suffix)
    problem, known = f"no method named {method!r:.60} for the model {name}", served_methods()
    message = unknown_among_many(problem, method, [one.replace("_", "-") for one in known], LISTED)
    raise ApiError(404, message, "model", "model_not_found")


def validate_choice(own: Extension, method: str, n: int | None) -> tuple[Method, dict[str, Any], Budget]:
    """Return a method with its parameters and budget, validated.

    Raises
    ------
    ApiError
        400, naming the field.
    """
    name = method.replace("-", "_")
    if name not in served_methods():
        message = unknown_among_many(f"no method named {method!r:.60}", name, served_methods(), LISTED)
        raise ApiError(400, message, "intact.method")
    found = served_methods()[name]
    parameters: dict[str, Any] = dict(own.parameters)
    if n is not None or own.n is not None:
        parameters["n"] = own.n if own.n is not None else n
    known_parameters = {parameter.name: parameter for parameter in found.parameters}
    for key, value in parameters.items():
        where = "intact.n" if key == "n" and "n" not in own.parameters else f"intact.parameters.{key:.60}"
        if key not in known_parameters:
            message = unknown_name(f"{found.name} has no parameter {key!r:.60}", key, known_parameters, "it takes")
            raise ApiError(400, message, where)
        parameters[key] = _validate_parameter(where, value, known_parameters[key])
        if known_parameters[key].names == "scorer" and value not in served_scorers():
            message = unknown_name(f"no scorer named {value!r:.60}", str(value), served_scorers())
            raise ApiError(400, message, where)
    try:
        budget = Budget.parse(own.budget or "")
    except ParameterError as error:
        raise ApiError(400, str(error), "intact.budget") from error
    tokens = MOST_TOKENS if budget.tokens is None else min(budget.tokens, MOST_TOKENS)
    return found, parameters, replace(budget, tokens=tokens)


def _validate_parameter(where: str, value: Any, parameter: Parameter) -> Any:
    """Return a parameter's value in its declared type, within the server's limits."""
    try:
        value = parameter.read(value)
    except ParameterError as error:
        raise ApiError(400, f"{where}: {error}", where) from error
    if parameter.kind is int and value is not None and value > _most(parameter):
        raise ApiError(400, f"{where} must be at most {_most(parameter)}, got {value}", where)
    if parameter.kind is str and len(value) > 4096:
        raise ApiError(400, f"{where} has {len(value):,} characters; expected at most 4,096", where)
    return value


def _most(parameter: Parameter) -> int:
    """Return the maximum of an integer parameter, which is higher for those that count tokens."""
    return MOST_TOKENS if parameter.default is not None and parameter.default > MOST // 2 else MOST
