"""The request in a receipt: prompt, the source of the prompt, and sampling parameters.

It contains every parameter that can change a token; decimals are written as strings.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from intact._base.errors import ParameterError, ReceiptError
from intact._base.strict_json import LARGEST, Fields, is_integer
from intact.engine.sampling.definitions import Definition
from intact.engine.sampling.parameters import CONSTRAINTS, DEFINITIONS, SamplingParameters
from intact.engine.sampling.rules import RULES
from intact.numerics.sampling import DECIMALS, millionths
from intact.receipts.decoding import Decoding
from intact.receipts.source import PromptSource

Branch = tuple[str | int, ...]
MOST_PARTS: Final = 16
"""Limit on the number of parts in a branch."""
MOST_STOPS: Final = 256
LONGEST_STOP: Final = 1024
"""Limit in characters: every token is matched against all stop strings, which the verifier cannot choose."""
NUMBERS: Final = {n: one for n, one in DEFINITIONS.items() if one.draws and one.kind in ("integer", "decimal", "flag")}
"""The sampling parameters that are numbers or booleans."""
_OPTIONAL: Final = {name for name, one in NUMBERS.items() if name in RULES or one.later}
"""Members that are omitted if they have their defaults: parameters of added rules, and those newer than version 1."""
_NAMES: Final = (*(name for name in NUMBERS if name not in _OPTIONAL), "stop", "logit_bias", "constraint")
"""The members that every receipt has."""
_DECIMAL: Final = re.compile(r"-?(?:0|[1-9]\d{0,3})(?:\.\d{0,5}[1-9])?", re.ASCII)
_INTEGER: Final = re.compile(r"0|-?[1-9]\d{0,19}", re.ASCII)
_NEVER: Final = "-inf"


@dataclass(frozen=True)
class AnswerRequest:
    """The request for one answer.

    Attributes
    ----------
    prompt : tuple of int
        Its tokens.
    parameters : SamplingParameters
        The sampling and stopping parameters, including the seed.
    branch : tuple of str and int
        Identifies the random draws together with the seed: by default the prompt's name and the sample's number.
    compiler : str or None
        The compiler of the constraint, such as `llguidance 1.3.0`; None without a constraint.
    source : PromptSource or None
        The source of the tokens, if known.
    decoding : Decoding or None
        The mix from which tokens are sampled, if any.
    """

    prompt: tuple[int, ...]
    parameters: SamplingParameters
    branch: Branch
    compiler: str | None = None
    source: PromptSource | None = None
    decoding: Decoding | None = None

    def to_document(self) -> dict[str, Any]:
        """Return the request as a JSON object for the receipt."""
        decoding = {} if self.decoding is None else {"decoding": self.decoding.to_document()}
        return decoding | {
            "prompt": list(self.prompt),
            "sampling": sampling_to_document(self.parameters),
            "branch": list(self.branch),
            "compiler": self.compiler,
            "source": self.source and self.source.to_document(),
        }

    @classmethod
    def from_document(cls, value: Any) -> AnswerRequest:
        """Parse the result of `to_document`."""
        fields = Fields(value, "request", ("prompt", "sampling", "branch", "compiler", "source"), ("decoding",))
        parameters = sampling_from_document(fields.values["sampling"], "request.sampling")
        branch = fields.values["branch"]
        if (
            not isinstance(branch, list)
            or len(branch) > MOST_PARTS
            or not all(isinstance(part, str) or is_integer(part, -LARGEST, LARGEST) for part in branch)
        ):
            fields.fail("branch", f"a list of at most {MOST_PARTS} strings and integers")
        compiler = fields.maybe("compiler", fields.text)
        if (compiler is None) != (parameters.constraint is None):
            fields.fail("compiler", "the name of the compiler of the constraint, or null without a constraint")
        source = fields.maybe("source", lambda name: PromptSource.from_document(fields.values[name], "request.source"))
        decoding = Decoding.from_document(value["decoding"]) if "decoding" in value else None
        return cls(
            fields.integers("prompt", shortest=1), parameters, tuple(branch), compiler, source=source, decoding=decoding
        )


@lru_cache(256)
def decimal_text(value: float) -> str:
    """Format a number with at most 6 decimal places in its shortest form: -2, 0.7, 1000."""
    whole, rest = divmod(abs(millionths(value)), DECIMALS)
    digits = f"{rest:06}".rstrip("0")
    return ("-" if value < 0 else "") + str(whole) + ("." + digits if digits else "")


def sampling_to_document(parameters: SamplingParameters) -> dict[str, Any]:
    """Return the members of a receipt's `sampling`.

    Raises
    ------
    ReceiptError
        If there are more stop strings than a receipt may have.
    """
    _check_stops(parameters.stop, "stop")
    written = [name for name in NUMBERS if name not in _OPTIONAL or name in parameters.changed]
    bias = parameters.biases
    constraint = parameters.constraint
    return {
        **{name: form_of(NUMBERS[name]).write(getattr(parameters, name)) for name in written},
        "stop": list(parameters.stop),
        "logit_bias": {
            "tokens": [token for token, _ in bias],
            "values": [_NEVER if value == -math.inf else decimal_text(value) for _, value in bias],
        },
        "constraint": None if constraint is None else {"kind": constraint.kind, "text": constraint.text},
    }


def sampling_from_document(value: Any, where: str) -> SamplingParameters:
    """Parse the result of `sampling_to_document`.

    Raises
    ------
    ReceiptError
        If a member is missing, unknown or invalid.
    """
    added = [name for name in _OPTIONAL if isinstance(value, dict) and name in value]
    fields = Fields(value, where, (*_NAMES, *added))
    given = {name: form_of(one).read(fields, name) for name, one in NUMBERS.items() if name in fields.values}
    stop = fields.items("stop", "a list of strings")
    _check_stops(stop, fields.place("stop"))
    given["stop"] = tuple(stop)
    given["logit_bias"] = _biases(Fields(fields.values["logit_bias"], fields.place("logit_bias"), ("tokens", "values")))
    if fields.values["constraint"] is not None:
        constraint = Fields(fields.values["constraint"], fields.place("constraint"), ("kind", "text"))
        given[constraint.choice("kind", CONSTRAINTS)] = constraint.text("text")
    try:
        return SamplingParameters(**given)
    except ParameterError as error:
        raise ReceiptError(f"{where}: {error}") from error


class NumberForm(NamedTuple):
    """The representation of a number or boolean in receipts: its JSON schema, its writer and its reader."""

    schema: dict[str, Any]
    write: Callable[[Any], Any]
    read: Callable[[Fields, str], Any]


def form_of(definition: Definition) -> NumberForm:
    """Return the representation in receipts of a parameter that is a number or a boolean."""
    if definition.kind == "flag":
        return NumberForm({"type": "boolean"}, bool, Fields.flag)
    if definition.kind == "decimal":
        return NumberForm({"$ref": "#/$defs/decimal"}, decimal_text, read_decimal)
    if definition.high > LARGEST:
        return NumberForm({"type": "string", "pattern": "^(0|-?[1-9][0-9]{0,19})$"}, str, _long)
    bounds = {"minimum": definition.low, "maximum": definition.high}
    return NumberForm({"type": "integer", **bounds}, int, Fields.integer)


def _long(fields: Fields, name: str) -> int:
    text = fields.text(name)
    if not _INTEGER.fullmatch(text):
        fields.fail(name, "an integer in decimal, as text")
    return int(text)


def _check_stops(stops: Sequence[Any], where: str) -> None:
    if len(stops) > MOST_STOPS or any(isinstance(stop, str) and len(stop) > LONGEST_STOP for stop in stops):
        raise ReceiptError(
            f"{where}: a receipt may have at most {MOST_STOPS} stop strings, of at most {LONGEST_STOP:,} characters"
        )


def _is_decimal(text: object) -> bool:
    return isinstance(text, str) and _DECIMAL.fullmatch(text) is not None and text != "-0"


def read_decimal(fields: Fields, name: str) -> float:
    """Parse the result of `decimal_text`."""
    text = fields.text(name)
    if not _is_decimal(text):
        fields.fail(name, "a decimal number of at most 6 decimals in its shortest form, as text")
    return float(text)


def _biases(fields: Fields) -> tuple[tuple[int, float], ...]:
    tokens, values = fields.ascending("tokens"), fields.items("values", "a list with a number for each token")
    if len(values) != len(tokens):
        fields.fail("values", "a list with a number for each token")
    for index, text in enumerate(values):
        if text != _NEVER and not _is_decimal(text):
            raise ReceiptError(f"{fields.place('values')}[{index}] must be a decimal number as text, or {_NEVER!r}")
    return tuple(zip(tokens, map(float, values), strict=True))
